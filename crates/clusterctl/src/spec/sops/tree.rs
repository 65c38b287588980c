//! A file as an ordered tree of values, with the text of each value that SOPS seals and hashes.

use std::fmt;

use zeroize::Zeroize as _;

/// A value of a file.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number of at most 63 bits.
    Int(i64),
    /// A whole number of more bits, which SOPS cannot carry.
    Huge(String),
    /// Any other number.
    Float(f64),
    /// Text.
    Str(String),
    /// A time, as RFC 3339.
    Time(String),
    /// Text that is not UTF-8.
    Bytes(Vec<u8>),
    /// A comment that stands in the place of a value.
    Comment(String),
    /// Named values in their order.
    Map(Vec<(Key, Self)>),
    /// Values in their order.
    List(Vec<Self>),
}

/// The name of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Text.
    Str(String),
    /// Something else, such as `true`; SOPS refuses it.
    Other(&'static str),
}

/// A file: one document, or several of a YAML stream.
pub type Tree = Vec<Value>;

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is in a tree may be secret; its shape is not.
        match self {
            Self::Map(entries) => {
                f.debug_map().entries(entries.iter().map(|(key, value)| (key, value))).finish()
            }
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Null => f.write_str("null"),
            _ => f.write_str("…"),
        }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        match self {
            Self::Str(text) | Self::Time(text) | Self::Huge(text) | Self::Comment(text) => {
                text.zeroize();
            }
            Self::Bytes(bytes) => bytes.zeroize(),
            Self::Int(number) => number.zeroize(),
            Self::Float(number) => number.zeroize(),
            _ => {}
        }
    }
}

impl Value {
    /// A value of a map by its name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries
            .iter()
            .find(|(key, _)| matches!(key, Key::Str(key) if key == name))
            .map(|(_, value)| value)
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Whether SOPS never encrypts it: nothing, an empty text, an empty map or list.
    pub(super) fn is_empty_leaf(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Str(text) => text.is_empty(),
            Self::Map(entries) => entries.is_empty(),
            Self::List(items) => items.is_empty(),
            _ => false,
        }
    }

    /// The text that is sealed and hashed, with the name of its type.
    pub(super) fn sealed_text(&self) -> Option<(Vec<u8>, &'static str)> {
        let (text, kind) = match self {
            Self::Bytes(bytes) => return Some((bytes.clone(), "str")),
            Self::Bool(true) => ("True".to_owned(), "bool"),
            Self::Bool(false) => ("False".to_owned(), "bool"),
            Self::Int(number) => (number.to_string(), "int"),
            Self::Float(number) => (float_text(*number), "float"),
            Self::Str(text) => (text.clone(), "str"),
            Self::Time(text) => (text.clone(), "time"),
            Self::Comment(text) => (text.clone(), "comment"),
            Self::Null | Self::Huge(_) | Self::Map(_) | Self::List(_) => return None,
        };
        Some((text.into_bytes(), kind))
    }

    /// The value as JSON; a comment is left out of its list, `None` for what JSON cannot say.
    pub fn to_json(&self) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        Some(match self {
            Self::Null => Json::Null,
            Self::Comment(text) => serde_json::json!({ "Value": text, "Inline": false }),
            Self::Bytes(bytes) => Json::String(lossy(bytes)),
            Self::Bool(flag) => Json::Bool(*flag),
            Self::Int(number) => Json::from(*number),
            Self::Huge(text) => serde_json::from_str(text).ok()?,
            Self::Float(number) => Json::Number(serde_json::Number::from_f64(*number)?),
            Self::Str(text) | Self::Time(text) => Json::String(text.clone()),
            Self::Map(entries) => Json::Object(
                entries
                    .iter()
                    .filter_map(|(key, value)| match key {
                        Key::Str(key) => Some(value.to_json().map(|value| (key.clone(), value))),
                        Key::Other(_) => None,
                    })
                    .collect::<Option<_>>()?,
            ),
            Self::List(items) => Json::Array(
                items
                    .iter()
                    .filter(|item| !matches!(item, Self::Comment(_)))
                    .map(Self::to_json)
                    .collect::<Option<_>>()?,
            ),
        })
    }

    /// Whether two values are the same to sops: a number loses its form when it is written.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(whole), Self::Float(number)) | (Self::Float(number), Self::Int(whole)) => {
                float_text(*number) == whole.to_string()
            }
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((x, a), (y, b))| x == y && a.is_same(b))
            }
            (Self::List(a), Self::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same(b))
            }
            (Self::Float(a), Self::Float(b)) => float_text(*a) == float_text(*b),
            (a, b) => a == b,
        }
    }

    /// Makes a value of JSON.
    pub fn of_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(*flag),
            // What is no whole number of 64 bits is a fraction to sops, as to Go.
            Json::Number(number) => match number.as_i64() {
                Some(number) => Self::Int(number),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Str(text.clone()),
            Json::Array(items) => Self::List(items.iter().map(Self::of_json).collect()),
            Json::Object(entries) => Self::Map(
                entries
                    .iter()
                    .map(|(key, value)| (Key::Str(key.clone()), Self::of_json(value)))
                    .collect(),
            ),
        }
    }
}

/// Text with one replacement character for each byte that is no UTF-8.
fn lossy(bytes: &[u8]) -> String {
    bytes.utf8_chunks().fold(String::new(), |mut text, chunk| {
        text.push_str(chunk.valid());
        text.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, chunk.invalid().len()));
        text
    })
}

/// A number as SOPS writes it: the shortest decimal that reads back, never with an exponent.
pub(super) fn float_text(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        // Rust's Display for floats is the shortest round-trip form and never uses an exponent.
        format!("{number}")
    }
}
