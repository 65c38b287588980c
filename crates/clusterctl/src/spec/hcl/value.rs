//! Values and types of the language, as Terraform has them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization as _;

use super::number::Number;

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Not known: what a bare `null` has.
    Dynamic,
    /// `bool`
    Bool,
    /// `number`
    Number,
    /// `string`
    String,
    /// `list(…)`
    List(Box<Self>),
    /// `set(…)`
    Set(Box<Self>),
    /// `map(…)`
    Map(Box<Self>),
    /// A tuple; its length and the types of its elements are part of the type.
    Tuple(Vec<Self>),
    /// An object; its attributes are part of the type.
    Object(BTreeMap<String, Self>),
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dynamic => f.write_str("dynamic"),
            Self::Bool => f.write_str("bool"),
            Self::Number => f.write_str("number"),
            Self::String => f.write_str("string"),
            Self::List(item) => write!(f, "list of {item}"),
            Self::Set(item) => write!(f, "set of {item}"),
            Self::Map(item) => write!(f, "map of {item}"),
            Self::Tuple(_) => f.write_str("tuple"),
            Self::Object(_) => f.write_str("object"),
        }
    }
}

/// What a value is, apart from whether it is sensitive.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Nothing; a bare `null` is of no type.
    Null(Type),
    /// Not known, for this reason: an encrypted value without a key, an output of another unit.
    Unknown(Arc<str>),
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text, in NFC.
    String(Arc<str>),
    /// A list with the type of its elements.
    List(Type, Arc<Vec<Value>>),
    /// A set: sorted, each value once.
    Set(Type, Arc<Vec<Value>>),
    /// A map with the type of its elements.
    Map(Type, Arc<BTreeMap<String, Value>>),
    /// A tuple.
    Tuple(Arc<Vec<Value>>),
    /// An object.
    Object(Arc<BTreeMap<String, Value>>),
}

/// A value. A sensitive one stays so through every expression; it is never printed.
#[derive(Clone, PartialEq)]
pub struct Value {
    /// What it is.
    pub kind: Kind,
    /// Whether it must not be shown.
    pub sensitive: bool,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sensitive { f.write_str("(sensitive value)") } else { self.kind.fmt(f) }
    }
}

impl From<Kind> for Value {
    fn from(kind: Kind) -> Self {
        Self { kind, sensitive: false }
    }
}

impl Value {
    /// `null`
    pub const NULL: Self = Self { kind: Kind::Null(Type::Dynamic), sensitive: false };

    /// `null` of a type.
    pub fn null(kind: Type) -> Self {
        Kind::Null(kind).into()
    }

    /// Text; normalised to NFC.
    pub fn string(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        if text.is_ascii() {
            return Kind::String(text.into()).into();
        }
        Kind::String(text.nfc().collect::<String>().into()).into()
    }

    /// A truth value.
    pub fn bool(flag: bool) -> Self {
        Kind::Bool(flag).into()
    }

    /// A number.
    pub fn number(number: impl Into<Number>) -> Self {
        Kind::Number(number.into()).into()
    }

    /// A tuple.
    pub fn tuple(items: Vec<Self>) -> Self {
        Kind::Tuple(Arc::new(items)).into()
    }

    /// An object.
    pub fn object(attributes: BTreeMap<String, Self>) -> Self {
        Kind::Object(Arc::new(attributes)).into()
    }

    /// A list of strings.
    pub fn strings(items: impl IntoIterator<Item = String>) -> Self {
        let items = items.into_iter().map(Self::string).collect();
        Kind::List(Type::String, Arc::new(items)).into()
    }

    /// A value that is not known.
    pub fn unknown(reason: &str) -> Self {
        Kind::Unknown(reason.into()).into()
    }

    /// The same value, sensitive if `flag` says so or it was already.
    #[must_use]
    pub fn marked(mut self, flag: bool) -> Self {
        self.sensitive |= flag;
        self
    }

    /// It is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null(_))
    }

    /// It is not known.
    pub fn is_unknown(&self) -> bool {
        matches!(self.kind, Kind::Unknown(_))
    }

    /// It, or anything in it, is not known: the reason of the first.
    pub fn unknown_reason(&self) -> Option<&str> {
        match &self.kind {
            Kind::Unknown(reason) => Some(reason),
            _ => self.children().find_map(Self::unknown_reason),
        }
    }

    /// It, or anything in it, is sensitive.
    pub fn has_sensitive(&self) -> bool {
        self.sensitive || self.children().any(Self::has_sensitive)
    }

    /// The values in it.
    pub fn children(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        match &self.kind {
            Kind::List(_, items) | Kind::Set(_, items) | Kind::Tuple(items) => {
                Box::new(items.iter())
            }
            Kind::Map(_, items) | Kind::Object(items) => Box::new(items.values()),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// The elements of a list, set or tuple.
    pub fn items(&self) -> Option<&Arc<Vec<Self>>> {
        match &self.kind {
            Kind::List(_, items) | Kind::Set(_, items) | Kind::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The attributes of an object, or the elements of a map.
    pub fn attributes(&self) -> Option<&Arc<BTreeMap<String, Self>>> {
        match &self.kind {
            Kind::Map(_, items) | Kind::Object(items) => Some(items),
            _ => None,
        }
    }

    /// An attribute or element by its name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.attributes()?.get(name)
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match &self.kind {
            Kind::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<&Number> {
        match &self.kind {
            Kind::Number(number) => Some(number),
            _ => None,
        }
    }

    /// Its type.
    pub fn type_of(&self) -> Type {
        match &self.kind {
            Kind::Null(kind) => kind.clone(),
            Kind::Unknown(_) => Type::Dynamic,
            Kind::Bool(_) => Type::Bool,
            Kind::Number(_) => Type::Number,
            Kind::String(_) => Type::String,
            Kind::List(item, _) => Type::List(Box::new(item.clone())),
            Kind::Set(item, _) => Type::Set(Box::new(item.clone())),
            Kind::Map(item, _) => Type::Map(Box::new(item.clone())),
            Kind::Tuple(items) => Type::Tuple(items.iter().map(Self::type_of).collect()),
            Kind::Object(items) => Type::Object(
                items.iter().map(|(name, value)| (name.clone(), value.type_of())).collect(),
            ),
        }
    }

    /// The name of its type, for messages.
    pub fn type_name(&self) -> String {
        match &self.kind {
            Kind::Null(_) => "null".to_owned(),
            Kind::Unknown(_) => "unknown".to_owned(),
            _ => self.type_of().to_string(),
        }
    }

    /// Without any mark, and whether there was one.
    #[must_use]
    pub fn unmark_deep(&self) -> (Self, bool) {
        if !self.has_sensitive() {
            return (self.clone(), false);
        }
        (self.map_children(&|child| child.unmark_deep().0).with_mark(false), true)
    }

    fn with_mark(mut self, flag: bool) -> Self {
        self.sensitive = flag;
        self
    }

    /// The same shape with every direct child replaced.
    #[must_use]
    pub fn map_children(&self, change: &dyn Fn(&Self) -> Self) -> Self {
        let list = |items: &Arc<Vec<Self>>| Arc::new(items.iter().map(change).collect::<Vec<_>>());
        let map = |items: &Arc<BTreeMap<String, Self>>| {
            Arc::new(
                items
                    .iter()
                    .map(|(name, value)| (name.clone(), change(value)))
                    .collect::<BTreeMap<_, _>>(),
            )
        };
        let kind = match &self.kind {
            Kind::List(item, items) => Kind::List(item.clone(), list(items)),
            Kind::Set(item, items) => Kind::Set(item.clone(), list(items)),
            Kind::Tuple(items) => Kind::Tuple(list(items)),
            Kind::Map(item, items) => Kind::Map(item.clone(), map(items)),
            Kind::Object(items) => Kind::Object(map(items)),
            other => other.clone(),
        };
        Self { kind, sensitive: self.sensitive }
    }

    /// As it comes back from a file that is read: sets and lists are tuples, maps are objects,
    /// and nothing is sensitive unless `keep_marks`.
    #[must_use]
    pub fn untyped(&self, keep_marks: bool) -> Self {
        let value = self.map_children(&|child| child.untyped(keep_marks));
        let sensitive = keep_marks && self.sensitive;
        let kind = match value.kind {
            Kind::List(_, items) | Kind::Set(_, items) => Kind::Tuple(items),
            Kind::Map(_, items) => Kind::Object(items),
            other => other,
        };
        Self { kind, sensitive }
    }

    /// As JSON text with every digit of its numbers; `None` when something in it is not known.
    /// Marks are ignored: the caller decides whether it may be shown.
    pub fn to_json(&self) -> Option<String> {
        let mut out = String::new();
        self.write_json(&mut out, false)?;
        Some(out)
    }

    /// As `jsonencode` writes it: `<`, `>` and `&` escaped.
    pub(super) fn to_json_escaped(&self) -> Option<String> {
        let mut out = String::new();
        self.write_json(&mut out, true)?;
        Some(out)
    }

    fn write_json(&self, out: &mut String, escape: bool) -> Option<()> {
        match &self.kind {
            Kind::Null(_) => out.push_str("null"),
            Kind::Unknown(_) => return None,
            Kind::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Kind::Number(number) => out.push_str(&number.to_string()),
            Kind::String(text) => write_json_text(out, text, escape),
            Kind::List(_, items) | Kind::Set(_, items) | Kind::Tuple(items) => {
                out.push('[');
                for (number, item) in items.iter().enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    item.write_json(out, escape)?;
                }
                out.push(']');
            }
            Kind::Map(_, items) | Kind::Object(items) => {
                out.push('{');
                for (number, (name, value)) in items.iter().enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    write_json_text(out, name, escape);
                    out.push(':');
                    value.write_json(out, escape)?;
                }
                out.push('}');
            }
        }
        Some(())
    }

    /// Makes a value of JSON, as `jsondecode` types it.
    pub fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::NULL,
            Json::Bool(flag) => Self::bool(*flag),
            Json::Number(number) => {
                Number::parse(&number.to_string()).map_or(Self::NULL, Self::number)
            }
            Json::String(text) => Self::string(text),
            Json::Array(items) => Self::tuple(items.iter().map(Self::from_json).collect()),
            Json::Object(items) => Self::object(
                items.iter().map(|(name, value)| (name.clone(), Self::from_json(value))).collect(),
            ),
        }
    }
}

/// Writes text as JSON with `<`, `>` and `&` escaped.
pub(super) fn write_escaped(out: &mut String, text: &str) {
    write_json_text(out, text, true);
}

fn write_json_text(out: &mut String, text: &str, escape: bool) {
    let quoted = serde_json::Value::from(text).to_string();
    if !escape {
        out.push_str(&quoted);
        return;
    }
    for letter in quoted.chars() {
        match letter {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
}
