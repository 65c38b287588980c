//! What changes between two configurations, field by field, without telling a secret.

use std::collections::BTreeSet;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::machine::{MachineConfig, fingerprint, id_of};
use super::prune::pruned;
use super::shown::shown;

/// Shortest secret that is looked for within texts, in bytes.
const SHORTEST_PART: usize = 4;

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
        let text = |value: &Option<String>| match value.as_deref() {
            None => "(unset)".to_owned(),
            Some("") => "\"\"".to_owned(),
            Some(value) => value.to_owned(),
        };
        let place = match (self.document.as_str(), self.path.as_str()) {
            ("v1alpha1", path) => path.to_owned(),
            (document, "") => document.to_owned(),
            (document, path) => format!("{document}: {path}"),
        };
        write!(f, "{place}: {} -> {}", text(&self.before), text(&self.after))
    }
}

/// Values that are secret wherever they stand in a configuration, beside those whose field says
/// so: what a user's patch takes out of an encrypted file.
#[derive(Clone, Default)]
pub struct Hidden(Vec<SecretString>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hidden").field("values", &self.0.len()).finish_non_exhaustive()
    }
}

impl FromIterator<SecretString> for Hidden {
    fn from_iter<I: IntoIterator<Item = SecretString>>(values: I) -> Self {
        Self(values.into_iter().filter(|value| !value.expose_secret().is_empty()).collect())
    }
}

impl Hidden {
    /// Whether one of them is a text or, unless it is very short, part of it.
    pub(super) fn are_part_of(&self, text: &str) -> bool {
        self.0
            .iter()
            .map(ExposeSecret::expose_secret)
            .any(|one| text == one || (one.len() >= SHORTEST_PART && text.contains(one)))
    }

    /// Whether one of them is in a value.
    fn are_in(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.are_part_of(text),
            Value::Number(number) => self.are_part_of(&number.to_string()),
            Value::Array(items) => items.iter().any(|item| self.are_in(item)),
            Value::Object(map) => map.values().any(|item| self.are_in(item)),
            Value::Bool(_) | Value::Null => false,
        }
    }
}

impl MachineConfig {
    /// What it takes to get from this configuration to another. The order of keys does not count,
    /// and neither does what is empty where that means the same as nothing; a label without a
    /// value and a key of a disk that only names its kind do count.
    ///
    /// Secrets, and texts that may hold some, are told as fingerprints: a change of one is seen. Of
    /// URLs that holds for the user and for the values of the query.
    pub fn diff(&self, after: &Self) -> Vec<FieldChange> {
        self.diff_hiding(after, &Hidden::default())
    }

    /// As [`Self::diff`], with more values that are told as fingerprints. What stood in the place
    /// of one of them is not told either: it is likely to be its forerunner.
    pub fn diff_hiding(&self, after: &Self, hidden: &Hidden) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let ids: BTreeSet<_> = self.ids().chain(after.ids()).collect();
        for id in ids {
            let find =
                |config: &Self| config.documents().iter().find(|one| id_of(one) == id).map(pruned);
            let (one, other) = (find(self), find(after));
            let place = Place { document: id.to_string(), path: Vec::new() };
            compare(one.as_ref(), other.as_ref(), place, hidden, &mut changes);
        }
        changes
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
    hidden: &Hidden,
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
            compare(one.get(key), other.get(key), inner, hidden, changes);
        }
        return;
    }
    let is_hidden = before.into_iter().chain(after).any(|value| hidden.are_in(value));
    let show = |value: &Value| match value {
        Value::String(text) if is_hidden => fingerprint(text),
        Value::Object(_) | Value::Array(_) if is_hidden => veiled(value).to_string(),
        other if is_hidden => fingerprint(&other.to_string()),
        other => shown(&place.path, other),
    };
    changes.push(FieldChange {
        document: place.document.clone(),
        path: place.path.join("."),
        before: before.map(show),
        after: after.map(show),
    });
}

/// A value of which only the names of fields are told.
fn veiled(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), veiled(value))).collect(),
        Value::Array(items) => items.iter().map(veiled).collect(),
        Value::String(text) => fingerprint(text).into(),
        other => fingerprint(&other.to_string()).into(),
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

    #[test]
    fn values_out_of_encrypted_files_and_texts_of_the_user_are_not_told() {
        let one = MachineConfig::parse(
            "machine: {env: {http_proxy: 'http://u:alt@p'}, sysctls: {a: vorher, b: '1'}, \
             files: [{path: /a, content: inhalt}], nodeLabels: {pin: 4711}}\n",
        )
        .unwrap();
        let other = MachineConfig::parse(
            "machine: {env: {http_proxy: 'http://u:frisch@p'}, sysctls: {a: nachher, b: '2'}, \
             nodeLabels: {pin: 4712}, kernel: {modules: [{name: m, parameters: [x, nachher]}]}}\n",
        )
        .unwrap();
        let hidden: Hidden = ["nachher", "4712", ""].map(SecretString::from).into_iter().collect();
        let texts: Vec<String> =
            one.diff_hiding(&other, &hidden).iter().map(ToString::to_string).collect();
        let all = texts.join("\n");
        for secret in ["alt", "frisch", "vorher", "nachher", "inhalt", "4711", "4712"] {
            assert!(!all.contains(secret), "{secret}: {all}");
        }
        assert!(all.contains("machine.sysctls.b: 1 -> 2"), "{all}");
        let labels = |text: &str| MachineConfig::parse(&format!("machine: {text}\n")).unwrap();
        let (none, one) =
            (labels("{type: worker}"), labels("{type: worker, nodeLabels: {env: x}}"));
        let two = labels("{type: worker, nodeLabels: {env: y}}");
        assert_eq!(none.diff(&one)[0].after.as_deref(), Some("{\"env\":\"x\"}"));
        assert_eq!(one.diff(&two)[0].to_string(), "machine.nodeLabels.env: x -> y");
        assert!(all.contains("machine.sysctls.a: (secret sha256:"), "{all}");
        assert!(!format!("{hidden:?}").contains("nachher"));
    }

    #[test]
    fn a_value_that_must_not_be_told_is_not_told_as_a_part_either() {
        let with = |word: &str| {
            let text = format!("machine: {{sysctls: {{a: 'x={word},y'}}}}\n");
            MachineConfig::parse(&text).unwrap()
        };
        let hidden: Hidden = [SecretString::from("geheimwort")].into_iter().collect();
        let changes = with("offen").diff_hiding(&with("geheimwort"), &hidden);
        assert_eq!(changes.len(), 1);
        assert!(!changes[0].to_string().contains("geheimwort"), "{}", changes[0]);
    }
}
