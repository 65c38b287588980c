//! What changes between two configurations, field by field, without telling a secret.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::machine::{MachineConfig, fingerprint, id_of, is_secret};

/// Longest value that is shown as it is, in characters.
const LONGEST: usize = 120;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The document: kind and name.
    pub document: String,
    /// Path of the field, such as `machine.install.image`; empty for a whole document.
    pub path: String,
    /// The value before; none when it was not there. Secrets are fingerprints.
    pub before: Option<String>,
    /// The value after; none when it is removed.
    pub after: Option<String>,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "(unset)".to_owned());
        let place = match (self.document.as_str(), self.path.as_str()) {
            ("v1alpha1", path) => path.to_owned(),
            (document, "") => document.to_owned(),
            (document, path) => format!("{document}: {path}"),
        };
        write!(f, "{place}: {} -> {}", text(&self.before), text(&self.after))
    }
}

impl MachineConfig {
    /// What it takes to get from this configuration to another. The order of keys and what is
    /// empty do not count.
    pub fn diff(&self, after: &Self) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let ids: BTreeSet<_> = self.ids().chain(after.ids()).collect();
        for id in ids {
            let find =
                |config: &Self| config.documents().iter().find(|one| id_of(one) == id).map(pruned);
            let (one, other) = (find(self), find(after));
            let place = Place { document: id.to_string(), path: Vec::new() };
            compare(one.as_ref(), other.as_ref(), place, &mut changes);
        }
        changes
    }
}

/// A value without what is empty: a node writes its configuration in its own way.
fn pruned(value: &Value) -> Value {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| (key.clone(), pruned(value)))
                .filter(|(_, value)| !is_empty(value))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(pruned).collect()),
        other => other.clone(),
    }
}

#[derive(Clone)]
struct Place {
    document: String,
    path: Vec<String>,
}

fn compare(
    before: Option<&Value>,
    after: Option<&Value>,
    place: Place,
    changes: &mut Vec<FieldChange>,
) {
    if before == after {
        return;
    }
    if let (Some(Value::Object(one)), Some(Value::Object(other))) = (before, after) {
        let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        for key in keys {
            let mut inner = place.clone();
            inner.path.push(key.clone());
            compare(one.get(key), other.get(key), inner, changes);
        }
        return;
    }
    let name = place.path.last().map(String::as_str).unwrap_or_default();
    changes.push(FieldChange {
        document: place.document.clone(),
        path: place.path.join("."),
        before: before.map(|value| shown(name, value)),
        after: after.map(|value| shown(name, value)),
    });
}

/// A value for people.
fn shown(name: &str, value: &Value) -> String {
    let text = match value {
        Value::String(text) if is_secret(name) => return fingerprint(text),
        Value::String(text) => text.clone(),
        Value::Object(_) | Value::Array(_) => hidden(value).to_string(),
        other => other.to_string(),
    };
    // A long text, such as a manifest, is told apart by its hash.
    if text.chars().count() > LONGEST || text.contains('\n') {
        return format!("{} of {} bytes", fingerprint(&text).replace("secret ", ""), text.len());
    }
    text
}

/// A value with the secrets in it replaced.
fn hidden(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| match value {
                    Value::String(text) if is_secret(key) => {
                        (key.clone(), Value::String(fingerprint(text)))
                    }
                    other => (key.clone(), hidden(other)),
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(hidden).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_its_field_and_tells_no_secret() {
        let one = MachineConfig::parse(
            "machine: {token: abc, ca: {key: geheim}, network: {}, certSANs: [a]}\n---\nkind: HostnameConfig\nauto: stable\n",
        )
        .unwrap();
        let other = MachineConfig::parse(
            "machine: {certSANs: [a, b], token: def, ca: {key: neu}}\n---\nkind: LinkConfig\nname: x\nkeys: [{key: innen}]\n",
        )
        .unwrap();
        assert!(one.diff(&one).is_empty());
        let texts: Vec<String> = one.diff(&other).iter().map(ToString::to_string).collect();
        let all = texts.join("\n");
        assert_eq!(texts.len(), 5, "{all}");
        assert!(all.contains("machine.certSANs: [\"a\"] -> [\"a\",\"b\"]"), "{all}");
        for secret in ["abc", "def", "geheim", "neu", "innen"] {
            assert!(!all.contains(secret), "{all}");
        }
    }
}
