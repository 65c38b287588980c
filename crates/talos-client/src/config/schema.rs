//! The fields of every document kind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::yaml::{Node, YamlError};

/// Why a text is no machine configuration. It names fields and holds no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SchemaError {
    pub(crate) line: usize,
    pub(crate) message: String,
    /// The field, behind the kind of its document; empty where none is meant.
    pub(super) path: String,
    /// A name that there is, and that looks like the one that there is not.
    near: Option<String>,
}

impl SchemaError {
    pub(super) fn new(message: String) -> Self {
        Self { line: 0, message, path: String::new(), near: None }
    }

    fn shape(path: &str, what: &str) -> Self {
        Self { path: path.to_owned(), ..Self::new(format!("{path} is not a {what}")) }
    }

    fn unknown(path: &str, name: &str, known: &[&str]) -> Self {
        Self {
            path: format!("{path}.{name}"),
            near: nearest(name, known),
            ..Self::new(format!("{path} has no field {name:?}"))
        }
    }

    /// What was meant, where that can be guessed.
    pub(super) fn hint(&self) -> Option<String> {
        self.near.as_ref().map(|name| format!("did you mean `{name}`?"))
    }
}

/// Of the names that there are the one that most looks like another, if one does.
pub(super) fn nearest(name: &str, known: &[&str]) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let limit = 1.max(name.len() / 3);
    // Every letter that one has more is a change; names of foreign texts may be very long.
    let near = known.iter().filter(|known| known.len().abs_diff(name.len()) <= limit);
    let distances = near.map(|known| (distance(&name, &known.to_ascii_lowercase()), *known));
    let (far, near) = distances.min_by_key(|(far, _)| *far)?;
    (far <= limit).then(|| near.to_owned())
}

/// How many letters must change, be added or taken away.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, left) in one.chars().enumerate() {
        let mut diagonal = above;
        let mut last = above + 1;
        if let Some(first) = row.first_mut() {
            *first = last;
        }
        for (cell, right) in row.iter_mut().skip(1).zip(&other) {
            let changed = diagonal + usize::from(left != *right);
            diagonal = *cell;
            last = changed.min(*cell + 1).min(last + 1);
            *cell = last;
        }
    }
    row.last().copied().unwrap_or_default()
}

impl From<YamlError> for SchemaError {
    fn from(error: YamlError) -> Self {
        Self { line: error.line, ..Self::new(error.message.to_owned()) }
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The fields of a type with their types, in the order in which they are written.
type Fields = serde_json::Map<String, serde_json::Value>;

#[derive(Deserialize)]
pub(super) struct Schema {
    /// Kind to type.
    pub(super) kinds: BTreeMap<String, String>,
    /// Type to its fields.
    pub(super) types: BTreeMap<String, Fields>,
    /// Words of an enumeration.
    pub(super) enums: BTreeMap<String, Vec<String>>,
}

/// What a version adds to the one before.
#[derive(Deserialize)]
struct Addition {
    kinds: BTreeMap<String, String>,
    types: BTreeMap<String, Fields>,
    /// Further fields of older types.
    fields: BTreeMap<String, Fields>,
    enums: BTreeMap<String, Vec<String>>,
    /// Further words of older enumerations.
    words: BTreeMap<String, Vec<String>>,
}

/// What 1.14 adds.
fn newest() -> Option<&'static Addition> {
    static ADDITION: OnceLock<Option<Addition>> = OnceLock::new();
    ADDITION.get_or_init(|| serde_json::from_str(include_str!("kinds-1.14.json")).ok()).as_ref()
}

/// The schema of the newest version that is known.
pub(super) fn schema() -> Option<&'static Schema> {
    static SCHEMA: OnceLock<Option<Schema>> = OnceLock::new();
    SCHEMA.get_or_init(whole).as_ref()
}

fn whole() -> Option<Schema> {
    let mut schema: Schema = serde_json::from_str(include_str!("kinds-1.13.json")).ok()?;
    let addition = newest()?;
    let clone = |(name, value): (&String, &String)| (name.clone(), value.clone());
    schema.kinds.extend(addition.kinds.iter().map(clone));
    schema.types.extend(addition.types.iter().map(|(name, one)| (name.clone(), one.clone())));
    for (name, fields) in &addition.fields {
        schema.types.entry(name.clone()).or_default().extend(fields.clone());
    }
    schema.enums.extend(addition.enums.iter().map(|(name, one)| (name.clone(), one.clone())));
    for (name, words) in &addition.words {
        schema.enums.entry(name.clone()).or_default().extend(words.iter().cloned());
    }
    Some(schema)
}

/// Whether a kind came with 1.14.
pub(super) fn is_newest_kind(kind: &str) -> bool {
    newest().is_some_and(|addition| addition.kinds.contains_key(kind))
}

/// Whether a field of an older type came with 1.14.
pub(super) fn is_newest_field(owner: &str, field: &str) -> bool {
    newest().is_some_and(|one| one.fields.get(owner).is_some_and(|all| all.contains_key(field)))
}

/// Whether a word of an older enumeration came with 1.14.
pub(super) fn is_newest_word(owner: &str, word: &str) -> bool {
    newest().is_some_and(|one| {
        one.words.get(owner).is_some_and(|all| all.iter().any(|other| other == word))
    })
}

/// Checks that a document has only fields that its kind knows, in the shape that they have.
pub(super) fn check(kind: &str, node: &Node) -> Result<(), SchemaError> {
    let schema = schema().ok_or_else(|| SchemaError::new("the schema is damaged".to_owned()))?;
    let Some(name) = schema.kinds.get(kind) else {
        return Err(SchemaError::new(format!("there is no document kind {kind:?}")));
    };
    schema.value(name, node, kind)
}

/// Parts of a certificate and key in base64, where a type is such a pair.
pub(super) fn pem_parts(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "x509.PEMEncodedCertificateAndKey" => Some(&["crt", "key"]),
        "x509.PEMEncodedCertificate" => Some(&["crt"]),
        "x509.PEMEncodedKey" => Some(&["key"]),
        _ => None,
    }
}

/// What a name in a mapping of a type is.
pub(super) enum Name<'a> {
    /// A field, with its type.
    Field(&'a str),
    /// A key of the user's, with the type of its value.
    Key(&'a str),
    /// Neither.
    Unknown,
}

impl Schema {
    /// What a name in a mapping of a type, without its marks of being optional, is.
    pub(super) fn name<'a>(&'a self, owner: &'a str, name: &str) -> Name<'a> {
        let fields = self.types.get(owner);
        let of = |name: &str| fields.and_then(|fields| fields.get(name)?.as_str());
        if let Some(kind) = of(name).filter(|_| name != "*") {
            return Name::Field(kind);
        }
        let map = of("*").unwrap_or(owner).strip_prefix("map<");
        let inner = map.and_then(|rest| rest.strip_suffix('>')?.split_once(','));
        inner.map_or(Name::Unknown, |(_, kind)| Name::Key(kind))
    }

    fn value(&self, kind: &str, node: &Node, path: &str) -> Result<(), SchemaError> {
        let kind = kind.strip_suffix('?').unwrap_or(kind);
        if node.is_null() {
            return Ok(());
        }
        if let Some(item) = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let Node::List(items) = node else {
                return Err(SchemaError::shape(path, "list"));
            };
            return items
                .iter()
                .enumerate()
                .try_for_each(|(index, node)| self.value(item, node, &format!("{path}[{index}]")));
        }
        if let Some(parts) = pem_parts(kind) {
            let Node::Map(entries) = node else {
                return Err(SchemaError::shape(path, "map"));
            };
            return match entries.iter().find(|(name, _)| !parts.contains(&name.as_str())) {
                Some((name, _)) => Err(SchemaError::unknown(path, name, parts)),
                None => Ok(()),
            };
        }
        let fields = self.types.get(kind);
        // `*` stands for a map whose keys lie among the fields.
        let rest = fields.and_then(|fields| fields.get("*")?.as_str()).unwrap_or(kind);
        let inner = rest.strip_prefix("map<").and_then(|rest| rest.strip_suffix('>'));
        let further = inner.and_then(|inner| inner.split_once(',')).map(|(_, value)| value);
        if further.is_none() && fields.is_none() {
            return Ok(());
        }
        let Node::Map(entries) = node else {
            return Err(SchemaError::shape(path, "map"));
        };
        entries.iter().try_for_each(|(name, node)| {
            let known = fields.and_then(|fields| fields.get(name));
            match known.and_then(serde_json::Value::as_str).or(further) {
                Some(kind) => self.value(kind, node, &format!("{path}.{name}")),
                None => {
                    let known = fields.into_iter().flatten().map(|(name, _)| name.as_str());
                    Err(SchemaError::unknown(path, name, &known.collect::<Vec<_>>()))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::documents;

    #[test]
    fn unknown_fields_and_kinds_are_named() {
        let refused = |text: &str| documents(text).unwrap_err().to_string();
        assert_eq!(refused("machine: {nonsense: 1}"), "v1alpha1.machine has no field \"nonsense\"");
        assert_eq!(refused("machine: 1"), "v1alpha1.machine is not a map");
        assert_eq!(refused("kind: Nonsense"), "there is no document kind \"Nonsense\"");
        assert_eq!(
            refused("machine: {network: {interfaces: [{interfac: eth0}]}}"),
            "v1alpha1.machine.network.interfaces[0] has no field \"interfac\""
        );
        assert_eq!(refused("machine: {}\n---\ncluster: {}"), "there are two documents v1alpha1");
    }

    #[test]
    fn a_slip_is_told() {
        let near = |name: &str| super::nearest(name, &["interface", "dhcp", "mtu"]);
        assert_eq!(near("interfac").as_deref(), Some("interface"));
        assert_eq!(near("DHCP").as_deref(), Some("dhcp"));
        assert_eq!(near("dchp"), None);
        assert_eq!(near("hostname"), None);
    }

    #[test]
    fn free_maps_take_every_name() {
        let text = "machine: {sysctls: {a.b: '1'}, nodeLabels: {x/y: z}, seccompProfiles: [{name: a, value: {b: c}}]}\n---\napiVersion: v1alpha1\nkind: HostnameConfig\nauto: stable\n";
        assert_eq!(documents(text).unwrap().len(), 2);
    }
}
