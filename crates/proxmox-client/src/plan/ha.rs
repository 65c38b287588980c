//! High availability: resources, and where they belong: rules (9) or groups (8).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::split_list;

/// What of high availability is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HaKind {
    /// Resources, named by `sid`: `vm:100`.
    Resource,
    /// Rules of PVE 9, named by `rule`.
    Rule,
    /// Groups of PVE 8, named by `group`.
    Group,
}

impl fmt::Display for HaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resource => "HA resource",
            Self::Rule => "HA rule",
            Self::Group => "HA group",
        })
    }
}

/// An entry as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaState {
    /// What it is.
    pub kind: HaKind,
    /// Its name.
    pub name: String,
    /// Keys as the server takes them. One that is empty goes, one that is not here stays as it is.
    pub keys: BTreeMap<String, String>,
}

/// What it takes: one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum HaChange {
    /// The entry is made.
    Create {
        /// As it will be.
        entry: HaState,
    },
    /// Keys of it change.
    Set {
        /// What it is.
        kind: HaKind,
        /// Its name.
        name: String,
        /// Keys with their values before and after; none where a key is not there.
        keys: Vec<(String, Option<String>, Option<String>)>,
    },
}

impl fmt::Display for HaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { entry } => write!(f, "create {} {}", entry.kind, entry.name),
            Self::Set { kind, name, keys } => {
                let text = |value: &Option<String>| {
                    value.as_ref().map_or_else(|| "none".to_owned(), |text| format!("{text:?}"))
                };
                let keys: Vec<String> = keys
                    .iter()
                    .map(|(key, before, after)| {
                        format!("{key} {} -> {}", text(before), text(after))
                    })
                    .collect();
                write!(f, "{kind} {name}: {}", keys.join(", "))
            }
        }
    }
}

/// What a key is where nothing is said of it.
fn default_of(key: &str) -> &'static str {
    match key {
        "state" => "started",
        "max_restart" | "max_relocate" | "failback" => "1",
        "strict" | "disable" | "restricted" | "nofailback" => "0",
        _ => "",
    }
}

/// The one spelling of a value: sets in their order, and no priority where it is that of all.
fn normal(key: &str, value: Option<&str>) -> String {
    let value = value.filter(|text| !text.is_empty()).unwrap_or_else(|| default_of(key));
    let list: BTreeSet<String> = match key {
        "resources" => split_list(value).iter().map(|one| sid_of(one)).collect(),
        "nodes" => {
            let bare = |one: &String| one.strip_suffix(":0").unwrap_or(one).to_owned();
            split_list(value).iter().map(bare).collect()
        }
        "state" if value == "enabled" => return "started".to_owned(),
        "comment" => return value.trim_end().to_owned(),
        _ => return value.to_owned(),
    };
    list.into_iter().collect::<Vec<_>>().join(",")
}

/// The whole name of a resource: a bare number is that of a machine.
fn sid_of(text: &str) -> String {
    if text.contains(':') { text.to_owned() } else { format!("vm:{text}") }
}

/// What it takes to have an entry with these keys; `observed` are those that it has. None where it
/// is so.
pub fn diff(desired: &HaState, observed: Option<&BTreeMap<String, String>>) -> Option<HaChange> {
    let Some(now) = observed else { return Some(HaChange::Create { entry: desired.clone() }) };
    let keys: Vec<_> = desired
        .keys
        .iter()
        .filter_map(|(key, wanted)| {
            let before = now.get(key);
            let after = normal(key, Some(wanted));
            if normal(key, before.map(String::as_str)) == after {
                return None;
            }
            // The server takes a rule for disabled while the key is there, whatever its value.
            let goes = wanted.is_empty() || (key == "disable" && after == "0");
            Some((key.clone(), before.cloned(), (!goes).then(|| wanted.clone())))
        })
        .collect();
    let (kind, name) = (desired.kind, desired.name.clone());
    (!keys.is_empty()).then_some(HaChange::Set { kind, name, keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    fn entry(kind: HaKind, name: &str, pairs: &[(&str, &str)]) -> HaState {
        HaState { kind, name: name.into(), keys: keys(pairs) }
    }

    #[test]
    fn what_the_server_spells_in_another_way_is_the_same() {
        let wanted = [("state", "enabled"), ("max_restart", "1"), ("comment", "x"), ("group", "")];
        let resource = entry(HaKind::Resource, "vm:100", &wanted);
        assert_eq!(diff(&resource, Some(&keys(&[("comment", "x\n"), ("failback", "0")]))), None);
        let wanted = [("nodes", "b,a:2"), ("resources", "101,vm:100"), ("strict", "0")];
        let rule = entry(HaKind::Rule, "near", &wanted);
        let now = [("nodes", "a:2,b:0"), ("resources", "vm:100,vm:101"), ("order", "3")];
        assert_eq!(diff(&rule, Some(&keys(&now))), None);
    }

    #[test]
    fn keys_come_change_and_go() {
        let wanted = [("state", "stopped"), ("max_restart", "3"), ("comment", "")];
        let resource = entry(HaKind::Resource, "vm:100", &wanted);
        let told = |now: Option<&BTreeMap<String, String>>| diff(&resource, now).unwrap();
        assert_eq!(told(None).to_string(), "create HA resource vm:100");
        let now = keys(&[("comment", "old"), ("max_restart", "2")]);
        assert_eq!(
            told(Some(&now)).to_string(),
            "HA resource vm:100: comment \"old\" -> none, max_restart \"2\" -> \"3\", state none -> \"stopped\""
        );
    }

    #[test]
    fn a_rule_is_in_force_once_the_key_is_gone() {
        let rule = entry(HaKind::Rule, "near", &[("disable", "0")]);
        let change = diff(&rule, Some(&keys(&[("disable", "1")]))).unwrap();
        assert_eq!(change.to_string(), "HA rule near: disable \"1\" -> none");
        assert_eq!(diff(&rule, Some(&keys(&[]))), None);
    }
}
