//! Reading a configuration: documents, their kinds, unknown keys, types; normal form.

use serde_json::{Map, Value, json};

use super::schema::{self, Type};
use super::yaml::{self, Kind, Node};

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    /// `apiVersion/kind/name`; the machine and cluster document has an empty version and kind `v1alpha1`.
    pub(crate) identity: (String, String, String),
    /// Its content in normal form.
    pub(crate) value: Value,
}

/// A machine configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Config {
    documents: Vec<Document>,
}

impl Config {
    /// The machine and cluster document.
    pub(crate) fn v1alpha1(&self) -> Option<&Value> {
        self.documents.iter().find(|d| d.identity.1 == "v1alpha1").map(|d| &d.value)
    }

    /// Documents of a kind.
    pub(crate) fn documents<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.documents.iter().filter(move |d| d.identity.1 == kind).map(|d| &d.value)
    }

    /// All documents but the machine and cluster document, with their kinds.
    pub(crate) fn others(&self) -> impl Iterator<Item = (&str, &Value)> {
        let rest = self.documents.iter().filter(|d| d.identity.1 != "v1alpha1");
        rest.map(|d| (d.identity.1.as_str(), &d.value))
    }

    /// A value of the machine and cluster document by its path.
    pub(crate) fn at(&self, path: &str) -> Option<&Value> {
        let mut value = self.v1alpha1()?;
        for key in path.split('.') {
            value = value.get(key)?;
        }
        Some(value)
    }

    /// A text of the machine and cluster document, empty when absent.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// A list of texts of the machine and cluster document.
    pub(crate) fn texts(&self, path: &str) -> Vec<String> {
        let list = self.at(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Whether it is for a control-plane node.
    pub(crate) fn is_control_plane(&self) -> bool {
        matches!(self.text("machine.type"), "controlplane" | "init")
    }

    /// The machine and cluster document replaced by another value.
    pub(crate) fn with_v1alpha1(&self, value: &Value) -> Self {
        let mut out = self.clone();
        for document in &mut out.documents {
            if document.identity.1 == "v1alpha1" {
                document.value = value.clone();
            }
        }
        out
    }

    /// The text that the node writes.
    pub(crate) fn encode(&self) -> String {
        let texts: Vec<_> = self.documents.iter().map(|d| yaml::write(&d.value)).collect();
        texts.join("---\n")
    }
}

/// Read a configuration for a node of Talos `1.minor`.
///
/// # Errors
/// The text with which the node refuses it.
pub(crate) fn load(text: &str, minor: u64) -> Result<Config, String> {
    let nodes = yaml::parse(text).map_err(|error| format!("decode error: {error}"))?;
    if nodes.is_empty() {
        return Err("config not found".to_owned());
    }
    let mut config = Config::default();
    for node in &nodes {
        let document = document(node, minor)?;
        if config.documents.iter().any(|d| d.identity == document.identity) {
            let (version, kind, name) = &document.identity;
            let line = node.line;
            return Err(format!(
                "duplicate document {version}/{kind}/{name} is not allowed (line {line})"
            ));
        }
        config.documents.push(document);
    }
    Ok(config)
}

fn document(node: &Node, minor: u64) -> Result<Document, String> {
    let Kind::Map(entries) = &node.kind else {
        return Err(format!("expected a YAML document at line {}", node.line));
    };
    let text = |key: &str| node.get(key).and_then(Node::text).unwrap_or_default().to_owned();
    let (version, mut kind, name) = (text("apiVersion"), text("kind"), text("name"));
    let legacy = entries
        .iter()
        .any(|(k, _)| matches!(k.as_str(), "machine" | "cluster" | "debug" | "persist"));
    let is_legacy = kind.is_empty() && (legacy || !version.is_empty());
    if kind.is_empty() {
        "v1alpha1".clone_into(&mut kind);
    }
    let at = |kind: &str| {
        format!("error decoding document {version}/{kind}/{name} (line {})", node.line)
    };
    if is_legacy {
        let value = decode(node, &Type::Struct("Config".to_owned()), "", "*v1alpha1.Config")
            .map_err(|error| {
                format!("{}: {error}", at(if version.is_empty() { "v1alpha1" } else { &kind }))
            })?;
        return Ok(Document { identity: (version, kind, name), value });
    }
    if text("kind").is_empty() {
        return Err(format!("{}: missing kind", at("v1alpha1")));
    }
    let keys = schema::document_keys(&kind, minor).filter(|_| version == "v1alpha1");
    let Some(keys) = keys else {
        return Err(format!("{}: {kind:?} {version:?}: not registered", at(&kind)));
    };
    let value = other(node, &keys).map_err(|error| format!("{}: {error}", at(&kind)))?;
    Ok(Document { identity: (version, kind, name), value })
}

fn other(node: &Node, keys: &[&str]) -> Result<Value, String> {
    let mut repeated = Vec::new();
    yaml::repeated_keys(node, &mut repeated);
    if !repeated.is_empty() {
        return Err(format!("yaml: construct errors:\n{}", repeated_text(&repeated)));
    }
    let Kind::Map(entries) = &node.kind else { return Err("not a mapping".to_owned()) };
    let unknown: Map<String, Value> = entries
        .iter()
        .filter(|(key, _)| !keys.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.value()))
        .collect();
    if !unknown.is_empty() {
        return Err(unknown_text(unknown));
    }
    let mut out = Map::new();
    for key in keys {
        let Some(value) = node.get(key) else { continue };
        let is_word = matches!(*key, "auto" | "name" | "hostname");
        let value = match value.text().filter(|_| is_word) {
            Some(text) => json!(text),
            None => value.value(),
        };
        if value != json!("") && !value.is_null() {
            out.insert((*key).to_owned(), value);
        }
    }
    Ok(Value::Object(out))
}

fn repeated_text(repeated: &[(usize, String, usize)]) -> String {
    let line = |(at, key, first): &(usize, String, usize)| {
        format!("  line {at}: mapping key {key:?} already defined at line {first}")
    };
    repeated.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn unknown_text(mut unknown: Map<String, Value>) -> String {
    unknown.sort_keys();
    format!("unknown keys found during decoding:\n{}", yaml::write(&Value::Object(unknown)))
}

fn decode(node: &Node, kind: &Type, from: &str, target: &str) -> Result<Value, String> {
    let mut repeated = Vec::new();
    yaml::repeated_keys(node, &mut repeated);
    let mut problems = Problems::default();
    let value = normal(node, kind, &mut problems);
    let mut lines: Vec<String> =
        repeated.iter().map(|r| repeated_text(std::slice::from_ref(r))).collect();
    lines.extend(problems.lines);
    if !lines.is_empty() {
        return Err(format!(
            "error decoding {from} to {target}: yaml: construct errors:\n{}",
            lines.join("\n")
        ));
    }
    let unknown = unknown(node, kind);
    match unknown {
        Some(Value::Object(map)) => Err(unknown_text(map)),
        _ => Ok(value),
    }
}

#[derive(Default)]
struct Problems {
    lines: Vec<String>,
}

impl Problems {
    fn add(&mut self, node: &Node, into: &str) {
        let what = match &node.kind {
            Kind::Scalar(text, _) => {
                let tag = match node.value() {
                    Value::Bool(_) => "!!bool",
                    Value::Number(n) if n.is_i64() => "!!int",
                    Value::Number(_) => "!!float",
                    _ => "!!str",
                };
                format!("{tag} `{text}`")
            }
            Kind::List(_) => "!!seq".to_owned(),
            Kind::Map(_) => "!!map".to_owned(),
        };
        self.lines.push(format!("  line {}: cannot construct {what} into {into}", node.line));
    }
}

/// The value as the schema wants it: fields in order, unset ones left out or written as empty.
fn normal(node: &Node, kind: &Type, problems: &mut Problems) -> Value {
    if node.is_null() && !matches!(kind, Type::Any) {
        return Value::Null;
    }
    match (kind, &node.kind) {
        (Type::Any, _) => node.value(),
        (Type::Text, Kind::Scalar(text, _)) => json!(text),
        (Type::Flag | Type::Tri, Kind::Scalar(..)) => {
            if let value @ Value::Bool(_) = node.value() {
                return value;
            }
            problems.add(node, "bool");
            Value::Null
        }
        (Type::Number, Kind::Scalar(..)) => {
            if let value @ Value::Number(_) = node.value() {
                return value;
            }
            problems.add(node, "int");
            Value::Null
        }
        (Type::List(inner), Kind::List(items)) => {
            Value::Array(items.iter().map(|item| normal(item, inner, problems)).collect())
        }
        (Type::Map(inner), Kind::Map(entries)) => {
            let mut map: Map<String, Value> =
                entries.iter().map(|(k, v)| (k.clone(), normal(v, inner, problems))).collect();
            map.sort_keys();
            Value::Object(map)
        }
        (Type::Struct(name), Kind::Map(_)) => structure(node, name, problems),
        _ => {
            problems.add(node, wanted(kind));
            Value::Null
        }
    }
}

fn wanted(kind: &Type) -> &str {
    match kind {
        Type::Text => "string",
        Type::Flag | Type::Tri => "bool",
        Type::Number => "int",
        Type::List(_) => "[]string",
        Type::Map(_) | Type::Any => "map[string]string",
        Type::Struct(name) => name,
    }
}

fn structure(node: &Node, name: &str, problems: &mut Problems) -> Value {
    let mut out = Map::new();
    for field in schema::fields(name) {
        let given = node.get(&field.name).map_or(Value::Null, |n| normal(n, &field.kind, problems));
        if field.always {
            let value = if given.is_null() { unset(&field.kind) } else { given };
            out.insert(field.name.clone(), value);
        } else if !is_zero(&given, &field.kind) {
            out.insert(field.name.clone(), given);
        }
    }
    Value::Object(out)
}

fn unset(kind: &Type) -> Value {
    match kind {
        Type::Text => json!(""),
        Type::Flag => json!(false),
        Type::Number => json!(0),
        Type::List(_) => json!([]),
        Type::Map(_) => json!({}),
        Type::Struct(name) if matches!(name.as_str(), "Disabled" | "DiscoveryService") => json!({}),
        Type::Struct(name) if name == "DiscoveryRegistries" => {
            json!({"kubernetes": {}, "service": {}})
        }
        _ => Value::Null,
    }
}

fn is_zero(value: &Value, kind: &Type) -> bool {
    match kind {
        Type::Tri | Type::Struct(_) => value.is_null(),
        _ => match value {
            Value::Null => true,
            Value::Bool(flag) => !flag,
            Value::Number(n) => n.as_i64() == Some(0),
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
        },
    }
}

/// Keys that the schema does not have, as a tree; none when all are known.
fn unknown(node: &Node, kind: &Type) -> Option<Value> {
    match (kind, &node.kind) {
        (Type::Struct(name), Kind::Map(entries)) => {
            let fields = schema::fields(name);
            let mut out = Map::new();
            for (key, value) in entries {
                let bad = match fields.iter().find(|f| f.name == *key) {
                    Some(field) => unknown(value, &field.kind),
                    None => Some(value.value()),
                };
                if let Some(bad) = bad {
                    out.insert(key.clone(), bad);
                }
            }
            out.sort_keys();
            (!out.is_empty()).then_some(Value::Object(out))
        }
        (Type::Map(inner), Kind::Map(entries)) => {
            let bad = entries.iter().filter_map(|(k, v)| Some((k.clone(), unknown(v, inner)?)));
            let mut out: Map<String, Value> = bad.collect();
            out.sort_keys();
            (!out.is_empty()).then_some(Value::Object(out))
        }
        (Type::List(inner), Kind::List(items)) => {
            let out: Vec<Value> = items.iter().filter_map(|item| unknown(item, inner)).collect();
            (!out.is_empty()).then_some(Value::Array(out))
        }
        _ => None,
    }
}
