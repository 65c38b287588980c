//! The API writes the same field as a number, a text or a bool: all of them are read.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

enum Scalar {
    Null,
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a text, a bool or null")
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Uint(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Uint(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ScalarVisitor)
    }
}

/// A whole number that is not negative; anything else is as good as absent.
pub(crate) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(match Scalar::deserialize(from)? {
        Scalar::Uint(value) => Some(value),
        Scalar::Int(value) => u64::try_from(value).ok(),
        Scalar::Float(value) => format!("{value:.0}").parse().ok(),
        Scalar::Text(text) => text.parse().ok(),
        Scalar::Null => None,
    })
}

/// `1` and its other spellings.
pub(crate) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(match Scalar::deserialize(from)? {
        Scalar::Uint(value) => value != 0,
        Scalar::Int(value) => value != 0,
        Scalar::Float(value) => value != 0.0,
        Scalar::Text(text) => {
            matches!(text.to_ascii_lowercase().as_str(), "1" | "on" | "yes" | "true")
        }
        Scalar::Null => false,
    })
}

/// Any scalar as a text.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(match Scalar::deserialize(from)? {
        Scalar::Uint(value) => Some(value.to_string()),
        Scalar::Int(value) => Some(value.to_string()),
        Scalar::Float(value) => Some(value.to_string()),
        Scalar::Text(text) => Some(text),
        Scalar::Null => None,
    })
}

/// Names as a list, or as one text with separators; anything else is none.
pub(crate) fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(from)? {
        serde_json::Value::Array(rows) => rows.iter().filter_map(text_of).collect(),
        other => text_of(&other).as_deref().map(crate::wire::split_list).unwrap_or_default(),
    })
}

/// As [`number`], of a value that was read already.
pub(crate) fn number_of(value: &serde_json::Value) -> Option<u64> {
    number(value).unwrap_or_default()
}

/// As [`text`], of a value that was read already.
pub(crate) fn text_of(value: &serde_json::Value) -> Option<String> {
    text(value).unwrap_or_default()
}
