//! The table of messages, enums and methods.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;

/// How often a field occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// At most once, absent when it has the default value.
    Single,
    /// At most once, presence is kept (`optional` and members of a oneof).
    Presence,
    /// Any number of times.
    Repeated,
    /// A map from text to text.
    Map,
}

/// One field of a message.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// Name in JSON.
    pub(crate) json: String,
    /// Name in the `.proto` text.
    pub(crate) name: String,
    /// Field number.
    pub(crate) number: u64,
    /// Scalar name, or full name of a message or enum.
    pub(crate) kind: String,
    /// How often it occurs.
    pub(crate) label: Label,
}

/// One method of a service.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    /// Full name of the request message.
    pub(crate) input: String,
    /// Full name of the reply message.
    pub(crate) output: String,
    /// Whether the server answers with a stream.
    pub(crate) server_stream: bool,
    /// First minor version of Talos 1.x that has it, if not all that are simulated.
    pub(crate) since: u64,
    /// Last minor version that has it.
    pub(crate) until: u64,
}

/// Everything that goes over the wire.
#[derive(Debug, Default)]
pub(crate) struct Table {
    messages: HashMap<String, Vec<Field>>,
    enums: HashMap<String, Vec<(String, i64)>>,
    methods: HashMap<String, Method>,
}

impl Table {
    /// Fields of a message, in the order of their numbers.
    pub(crate) fn message(&self, name: &str) -> Option<&[Field]> {
        self.messages.get(name).map(Vec::as_slice)
    }

    /// Names and numbers of an enum.
    pub(crate) fn values(&self, name: &str) -> Option<&[(String, i64)]> {
        self.enums.get(name).map(Vec::as_slice)
    }

    /// A method by its path, for a node of Talos `1.minor`.
    pub(crate) fn method(&self, path: &str, minor: u64) -> Option<&Method> {
        self.methods.get(path).filter(|m| m.since <= minor && minor <= m.until)
    }

    /// Whether a service exists at Talos `1.minor`.
    pub(crate) fn has_service(&self, service: &str, minor: u64) -> bool {
        let prefix = format!("/{service}/");
        self.methods
            .iter()
            .any(|(path, m)| path.starts_with(&prefix) && m.since <= minor && minor <= m.until)
    }
}

/// The table, read once.
pub(crate) fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        serde_json::from_str::<Value>(include_str!("api.json"))
            .map(|v| build(&v))
            .unwrap_or_default()
    })
}

fn build(value: &Value) -> Table {
    let mut out = Table::default();
    for (name, fields) in entries(value, "messages") {
        let list = fields.as_array().map(Vec::as_slice).unwrap_or_default();
        out.messages.insert(name.clone(), list.iter().filter_map(field).collect());
    }
    for (name, values) in entries(value, "enums") {
        let list = values.as_array().map(Vec::as_slice).unwrap_or_default();
        let pair = |v: &Value| Some((v.get(0)?.as_str()?.to_owned(), v.get(1)?.as_i64()?));
        out.enums.insert(name.clone(), list.iter().filter_map(pair).collect());
    }
    for (path, m) in entries(value, "methods") {
        let text = |key: &str| m.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |key: &str, or: u64| m.get(key).and_then(Value::as_u64).unwrap_or(or);
        let method = Method {
            input: text("in"),
            output: text("out"),
            server_stream: m.get("ss").is_some(),
            since: number("since", 0),
            until: number("until", u64::MAX),
        };
        out.methods.insert(path.clone(), method);
    }
    out
}

fn entries<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.get(key).and_then(Value::as_object).into_iter().flatten()
}

fn field(value: &Value) -> Option<Field> {
    let name = value.get(0)?.as_str()?.to_owned();
    let label = match value.get(3).and_then(Value::as_str) {
        Some("repeated") => Label::Repeated,
        Some("map") => Label::Map,
        Some(_) => Label::Presence,
        None => Label::Single,
    };
    Some(Field {
        json: camel(&name),
        number: value.get(1)?.as_u64()?,
        kind: value.get(2)?.as_str()?.to_owned(),
        name,
        label,
    })
}

fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else if upper {
            out.extend(c.to_uppercase());
            upper = false;
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_json_names() {
        assert_eq!(camel("bus_path"), "busPath");
        assert_eq!(camel("raft_applied_index"), "raftAppliedIndex");
    }

    #[test]
    fn services_come_and_go_with_versions() {
        assert!(table().method("/machine.ImageService/Pull", 13).is_some());
        assert!(table().method("/machine.ImageService/Pull", 12).is_none());
        assert!(!table().has_service("machine.LifecycleService", 12));
        assert!(table().method("/machine.MachineService/GenerateConfiguration", 13).is_none());
        assert!(table().method("/machine.MachineService/GenerateConfiguration", 12).is_some());
    }
}
