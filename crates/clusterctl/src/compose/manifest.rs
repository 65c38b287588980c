//! Kubernetes manifests within machine configurations: which objects a change adds or changes, and
//! where. No value is told, only the paths that lead to it: manifests hold what users put there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;
use sha2::Digest as _;
use talos_client::config::{FieldChange, MachineConfig};

/// How many paths of an object are named.
const NAMED: usize = 8;

/// What becomes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectFate {
    /// It comes to be.
    Added,
    /// It changes at these paths.
    Changed(Vec<String>),
    /// It is in the manifests no more.
    Dropped,
}

/// A difference of manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectChange {
    /// Kind and name, such as `Deployment web/app`.
    pub object: String,
    /// What becomes of it.
    pub fate: ObjectFate,
}

impl fmt::Display for ObjectChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, fate } = self;
        match fate {
            ObjectFate::Added => write!(f, "manifests: {object} is added"),
            ObjectFate::Dropped => write!(f, "manifests: {object} is in them no more; it stays"),
            ObjectFate::Changed(paths) => {
                write!(f, "manifests: {object} changes")?;
                for (number, path) in paths.iter().take(NAMED).enumerate() {
                    f.write_str(if number == 0 { " at " } else { ", " })?;
                    f.write_str(path)?;
                }
                match paths.len().saturating_sub(NAMED) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
        }
    }
}

/// Whether a field holds manifests.
pub fn is_manifest(change: &FieldChange) -> bool {
    let main = change.document == "v1alpha1" && change.path == "cluster.inlineManifests";
    main || change.document.split('/').next() == Some(DOCUMENT)
}

/// The document that one manifest is, from 1.14 on.
const DOCUMENT: &str = "KubeInlineManifestConfig";

/// The objects whose manifests differ between two configurations.
pub fn changes(before: &MachineConfig, after: &MachineConfig) -> Vec<ObjectChange> {
    let (before, after) = (objects(before), objects(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        let fate = match (before.get(name), after.get(name)) {
            (None, Some(_)) => ObjectFate::Added,
            (Some(_), None) => ObjectFate::Dropped,
            (Some(one), Some(other)) if one != other => {
                let mut paths = Vec::new();
                differing(one, other, "", &mut paths);
                ObjectFate::Changed(paths)
            }
            _ => continue,
        };
        found.push(ObjectChange { object: name.clone(), fate });
    }
    found
}

/// The objects of a configuration by kind and name.
pub fn objects(config: &MachineConfig) -> BTreeMap<String, Value> {
    let listed = config.value("/cluster/inlineManifests").and_then(Value::as_array);
    let listed = listed.into_iter().flatten().map(|one| (one, "/contents"));
    let own = config.documents().iter().filter(|one| text_at(one, "/kind") == Some(DOCUMENT));
    let mut found = BTreeMap::new();
    for (entry, key) in listed.chain(own.map(|one| (one, "/manifest"))) {
        let text = text_at(entry, key).unwrap_or_default();
        match serde_saphyr::from_multiple::<Value>(text) {
            Ok(documents) => documents.into_iter().for_each(|one| collect(one, &mut found)),
            // What cannot be read is compared as a whole, by its hash.
            Err(_) => {
                let name = text_at(entry, "/name").unwrap_or_default();
                let digest = format!("{:x?}", sha2::Sha256::digest(text));
                found.insert(format!("{name} (no YAML of Kubernetes)"), digest.into());
            }
        }
    }
    found
}

fn text_at<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// An object, or those of a list.
fn collect(object: Value, found: &mut BTreeMap<String, Value>) {
    let kind = text_at(&object, "/kind").unwrap_or_default();
    if kind.ends_with("List")
        && let Some(items) = object.pointer("/items").and_then(Value::as_array)
    {
        items.iter().for_each(|one| collect(one.clone(), found));
        return;
    }
    let name = text_at(&object, "/metadata/name").unwrap_or_default();
    if kind.is_empty() || name.is_empty() {
        return;
    }
    // Two groups may have a kind of one name; those of Kubernetes itself need no telling.
    let group = text_at(&object, "/apiVersion").and_then(|text| text.split_once('/'));
    let kind = match group {
        Some((group, _)) if group.contains('.') && !group.ends_with(".k8s.io") => {
            format!("{kind}.{group}")
        }
        _ => kind.to_owned(),
    };
    let key = match text_at(&object, "/metadata/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    };
    found.insert(key, object);
}

/// The paths at which two values differ; items of lists go by name where they have one.
fn differing(one: &Value, other: &Value, path: &str, found: &mut Vec<String>) {
    if one == other {
        return;
    }
    let parts = match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let dot = if path.is_empty() { "" } else { "." };
            let part = |key: &String| (format!("{path}{dot}{key}"), one.get(key), other.get(key));
            keys.into_iter().map(part).collect::<Vec<_>>()
        }
        (Value::Array(one), Value::Array(other)) => match (named(one), named(other)) {
            (Some(one), Some(other)) => {
                let keys: BTreeSet<&str> = one.keys().chain(other.keys()).copied().collect();
                let part = |key: &str| {
                    (format!("{path}[{key}]"), one.get(key).copied(), other.get(key).copied())
                };
                keys.into_iter().map(part).collect()
            }
            _ if one.len() == other.len() => {
                let pairs = one.iter().zip(other).enumerate();
                pairs.map(|(at, (a, b))| (format!("{path}[{at}]"), Some(a), Some(b))).collect()
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    if parts.is_empty() {
        found.push(path.to_owned());
        return;
    }
    for (path, one, other) in parts {
        match (one, other) {
            (Some(one), Some(other)) => differing(one, other, &path, found),
            _ => found.push(path),
        }
    }
}

/// Items by their names, when each has one of its own.
fn named(items: &[Value]) -> Option<BTreeMap<&str, &Value>> {
    let by_name: BTreeMap<&str, &Value> =
        items.iter().filter_map(|item| Some((text_at(item, "/name")?, item))).collect();
    (by_name.len() == items.len() && !items.is_empty()).then_some(by_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(manifests: &[(&str, &str)]) -> MachineConfig {
        let list: Vec<Value> = manifests
            .iter()
            .map(|(name, text)| serde_json::json!({ "name": name, "contents": text }))
            .collect();
        let document = serde_json::json!({
            "version": "v1alpha1",
            "machine": { "type": "controlplane" },
            "cluster": { "clusterName": "sol", "inlineManifests": list },
        });
        MachineConfig::parse(&document.to_string()).unwrap()
    }

    fn told(before: &[(&str, &str)], after: &[(&str, &str)]) -> Vec<String> {
        changes(&config(before), &config(after)).iter().map(ToString::to_string).collect()
    }

    const APP: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app, namespace: web}\nspec:\n  replicas: 1\n  template:\n    spec:\n      containers:\n      - {name: app, image: 'a:1', args: [x]}\n      - {name: side, image: 'b:1'}\n";

    #[test]
    fn objects_are_told_with_the_paths_that_change() {
        let other = APP.replace("replicas: 1", "replicas: 3").replace("b:1", "b:2");
        let more = format!("{other}---\nkind: Namespace\nmetadata: {{name: web}}\n");
        assert_eq!(
            told(&[("one", APP)], &[("one", &more)]),
            [
                "manifests: Deployment web/app changes at spec.replicas, spec.template.spec.containers[side].image",
                "manifests: Namespace web is added",
            ]
        );
        // An object that moved to another manifest is the same one.
        assert_eq!(told(&[("one", APP)], &[("two", &format!("---\n{APP}"))]), Vec::<String>::new());
        assert_eq!(
            told(&[("one", APP)], &[]),
            ["manifests: Deployment web/app is in them no more; it stays"]
        );
        let lists = |args: &str| APP.replace("args: [x]", args);
        assert_eq!(
            told(&[("one", &lists("args: [x, y]"))], &[("one", &lists("args: [x, z]"))]),
            ["manifests: Deployment web/app changes at spec.template.spec.containers[app].args[1]"]
        );
    }

    #[test]
    fn a_manifest_is_a_document_or_in_the_list_of_the_cluster() {
        let document = |text: &str| {
            let kind = "apiVersion: v1alpha1\nkind: KubeInlineManifestConfig\nname: web";
            MachineConfig::parse(&format!("{kind}\nmanifest: |\n  {}", text.replace('\n', "\n  ")))
        };
        let (one, other) = (document(APP).unwrap(), document(&APP.replace("a:1", "a:2")).unwrap());
        for (before, after) in [(one, other), (config(&[("web", APP)]), config(&[]))] {
            let fields = before.diff(&after);
            assert!(!fields.is_empty() && fields.iter().all(is_manifest), "{fields:?}");
            assert_eq!(changes(&before, &after).len(), 1);
        }
    }

    #[test]
    fn no_value_is_told() {
        let secret = |text: &str| {
            format!(
                "apiVersion: v1\nkind: List\nitems:\n- kind: Secret\n  metadata: {{name: s, namespace: a}}\n  stringData: {{token: {text}}}\n- kind: ConfigMap\n  metadata: {{name: c}}\n  data: {{k: {text}}}\n"
            )
        };
        let (one, other) = (secret("hush1"), secret("hush2"));
        let shown = told(&[("s", &one)], &[("s", &other)]);
        assert_eq!(
            shown,
            [
                "manifests: ConfigMap c changes at data.k",
                "manifests: Secret a/s changes at stringData.token"
            ]
        );
        assert!(!shown.join("\n").contains("hush"));
        let broken = told(&[("x", "a: [hush1")], &[("x", "a: [hush2")]);
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(broken[0].starts_with("manifests: x (no YAML of Kubernetes) changes"));
        assert!(!broken[0].contains("hush"));
    }

    #[test]
    fn many_paths_are_counted_and_kinds_of_others_have_their_group() {
        let object = |value: u8| {
            let data: Vec<String> = (0..11).map(|key| format!("  k{key:02}: v{value}")).collect();
            let data = data.join("\n");
            format!("apiVersion: example.io/v1\nkind: Thing\nmetadata: {{name: t}}\nspec:\n{data}")
        };
        let told = told(&[("t", &object(1))], &[("t", &object(2))]);
        assert!(told[0].starts_with("manifests: Thing.example.io t changes at spec.k00, "));
        assert!(told[0].ends_with("spec.k07 and 3 more"), "{told:?}");
    }
}
