//! Patches: partial documents that are merged into a configuration.

use std::collections::BTreeSet;

use secrecy::SecretString;
use serde_json::Value;
use zeroize::Zeroizing;

use super::erase::{self, is_directive};
use super::machine::{ConfigError, MachineConfig, id_of};
use super::operation::{self, Operation};
use super::{json, load, merge, shape, text, typed};
use crate::yaml;

/// A patch: partial documents that are merged (strategic merge), or a list of operations
/// (RFC 6902) for a configuration of one document.
#[derive(Clone, PartialEq)]
pub struct Patch {
    origin: String,
    change: Change,
}

#[derive(Clone, PartialEq)]
enum Change {
    Documents(Vec<Value>),
    Operations(Vec<Operation>),
}

impl std::fmt::Debug for Patch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patch").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Patch {
    /// Reads a patch; `origin` stands before its errors. A text that the reader of `talosctl`
    /// takes for the name of a file is refused: what is in the file is the patch.
    ///
    /// As that reader does it: partial documents first, then a list of operations as JSON, then
    /// one as YAML, of which a text without anything is an empty one.
    ///
    /// # Errors
    /// The text is no YAML, or it has an unknown kind, field or operation.
    pub fn parse(origin: &str, source: &str) -> Result<Self, ConfigError> {
        let change = change_of(source).map_err(|error| error.at(origin))?;
        Ok(Self { origin: origin.to_owned(), change })
    }

    /// The texts and numbers that it brings in, for [`Hidden`](super::Hidden) of a patch whose
    /// whole text is secret.
    pub fn scalars(&self) -> Vec<SecretString> {
        let mut found = Vec::new();
        match &self.change {
            Change::Documents(documents) => {
                documents.iter().for_each(|document| scalars(document, &mut found));
            }
            Change::Operations(operations) => {
                operations.iter().for_each(|operation| scalars(operation.value(), &mut found))
            }
        }
        found
    }

    /// A patch out of documents that are data already.
    ///
    /// # Errors
    /// A document has an unknown kind or field.
    pub fn of_documents(origin: &str, documents: &[Value]) -> Result<Self, ConfigError> {
        Self::parse(origin, &text::write(documents))
    }
}

fn scalars(value: &Value, found: &mut Vec<SecretString>) {
    match value {
        Value::String(text) => found.push(text.clone().into()),
        Value::Number(number) => found.push(number.to_string().into()),
        Value::Array(items) => items.iter().for_each(|item| scalars(item, found)),
        Value::Object(map) => map.values().for_each(|item| scalars(item, found)),
        Value::Bool(_) | Value::Null => {}
    }
}

fn change_of(source: &str) -> Result<Change, ConfigError> {
    let is_one_word = !source.starts_with(['[', '{']) && !source.contains([' ', '\n']);
    if source.starts_with('@') || is_one_word {
        let text = "it is the name of a file, not a patch";
        return Err(ConfigError::classed("patch-file-missing", text));
    }
    let refused = match documents(source) {
        Ok(documents) => return Ok(Change::Documents(documents)),
        Err(refused) => refused,
    };
    if let Ok(list) = serde_json::from_str::<Value>(source) {
        return match operation::parse(&list) {
            Ok(operations) => Ok(Change::Operations(operations)),
            Err(error) if source.trim_start().starts_with('[') => Err(error),
            Err(_) => Err(refused),
        };
    }
    match json::operations(source).and_then(|list| operation::parse(&list)) {
        Ok(operations) => Ok(Change::Operations(operations)),
        Err(_) if source.starts_with('[') => {
            Err(ConfigError::classed("json-bad-patch", "it is no JSON"))
        }
        Err(error) if error.class() == "json-bad-operation" => Err(error),
        Err(error) if matches!(yaml::first_document(source), Ok(Some(yaml::Node::List(_)))) => {
            Err(error)
        }
        Err(_) => Err(refused),
    }
}

/// The partial documents of a patch, each value of its type; directives stay where they stand.
fn documents(source: &str) -> Result<Vec<Value>, ConfigError> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for node in yaml::documents(source)? {
        if node.is_null() {
            continue;
        }
        erase::check(&node, false)?;
        let has_version = node.get("apiVersion").is_some();
        let is_root = node.get(erase::DIRECTIVE).and_then(yaml::Node::text) == Some("delete");
        if is_root && (!has_version || node.get("kind").is_none()) {
            let text = "a document is deleted by its apiVersion and kind: one of them is missing";
            return Err(ConfigError::classed("delete-missing-identity", text));
        }
        if erase::is_below(&node) && has_version != node.get("kind").is_some() {
            let text = "a field is deleted from a document by its apiVersion and kind: one of them is missing";
            return Err(ConfigError::classed("delete-half-identity", text));
        }
        if is_root {
            // What else it says does not matter; a document that is not known is not there.
            let keys = ["apiVersion", "kind", "name", erase::DIRECTIVE];
            let named =
                keys.iter().filter_map(|key| Some(((*key).to_owned(), node.get(key)?.clone())));
            found.push(text::value(yaml::Node::Map(named.collect())));
            continue;
        }
        let plain = erase::without(node.clone());
        let is_erasing = erase::is_below(&node);
        if load::is_bare(&plain) && !is_erasing {
            continue;
        }
        let kind = match load::kind_of(&plain) {
            // Whatever it had was taken away.
            Err(_) if is_erasing && node.get("kind").is_none() => "v1alpha1".to_owned(),
            kind => kind?,
        };
        let typed = typed::document(&kind, &plain)?;
        load::add(&mut seen, &kind, &load::name_of(&kind, &node))?;
        found.push(erase::with(typed, text::value(node)));
    }
    if found.is_empty() {
        return Err(ConfigError::classed("empty-config", "there is no document"));
    }
    Ok(found)
}

/// A configuration on its way from patch to patch.
enum State {
    Text(Zeroizing<String>),
    Documents(Vec<Value>),
}

impl State {
    /// The documents of a configuration that loads.
    fn documents(self) -> Result<Vec<Value>, ConfigError> {
        match self {
            Self::Text(text) => Ok(MachineConfig::load(&text)?.into_documents()),
            Self::Documents(documents) => Ok(documents),
        }
    }

    fn text(self) -> Zeroizing<String> {
        match self {
            Self::Text(text) => text,
            Self::Documents(documents) => Zeroizing::new(text::write(&shaped(documents))),
        }
    }

    /// The errors of a patch have its origin, those of the configuration none.
    fn patched(self, patch: &Patch) -> Result<Self, ConfigError> {
        let at = |error: ConfigError| error.at(&patch.origin);
        match &patch.change {
            Change::Documents(changes) => {
                let mut documents = self.documents()?;
                // The main document is changed before the others.
                let (main, others): (Vec<&Value>, Vec<&Value>) =
                    changes.iter().partition(|document| document.get("kind").is_none());
                for document in main.into_iter().chain(others) {
                    merge_document(&mut documents, document).map_err(at)?;
                }
                Ok(Self::Documents(documents))
            }
            Change::Operations(operations) => {
                let document = json::read(&self.text()).map_err(at)?;
                let changed = json::sorted(operation::apply(&document, operations).map_err(at)?);
                Ok(Self::Text(Zeroizing::new(text::write(std::slice::from_ref(&changed)))))
            }
        }
    }
}

/// Documents as they are written anew.
fn shaped(documents: Vec<Value>) -> Vec<Value> {
    let shape = |document: Value| shape::shape(&id_of(&document).kind, document);
    documents.into_iter().map(shape).collect()
}

/// Neighbouring lists of operations are one.
fn joined(patches: &[Patch]) -> Vec<Patch> {
    let mut all: Vec<Patch> = Vec::new();
    for patch in patches {
        match (all.last_mut().map(|last| &mut last.change), &patch.change) {
            (Some(Change::Operations(list)), Change::Operations(more)) => list.extend(more.clone()),
            _ => all.push(patch.clone()),
        }
    }
    all
}

/// A configuration's text with patches applied in their order, as `talosctl machineconfig patch`
/// does it: without any the text stays as it is; operations (RFC 6902) work on the text, so that
/// what is not known passes; partial documents need a configuration that loads, and write it anew.
///
/// # Errors
/// The configuration cannot be read, a directive or path names nothing, or types do not fit.
pub fn patch_text(config: &str, patches: &[Patch]) -> Result<Zeroizing<String>, ConfigError> {
    let mut state = State::Text(Zeroizing::new(config.to_owned()));
    for patch in joined(patches) {
        state = state.patched(&patch)?;
    }
    Ok(state.text())
}

impl MachineConfig {
    /// The configuration with patches merged into it, in their order.
    ///
    /// Maps are merged key by key, lists are appended, scalars replaced; an empty text, zero or
    /// null changes nothing. Pod and service ranges and the audit policy are replaced as a whole;
    /// interfaces are matched by name or selector, VLANs by number, admission plug-ins by name. A
    /// document that matches none by kind and name is added.
    ///
    /// # Errors
    /// A directive names something that is not there, or types do not fit.
    pub fn patched(&self, patches: &[Patch]) -> Result<Self, ConfigError> {
        let mut state = State::Documents(self.clone().into_documents());
        for patch in joined(patches) {
            state = state.patched(&patch)?;
        }
        // Whatever came of operations must be a configuration.
        let origin = patches.last().map_or("the patch", |patch| &patch.origin);
        let documents = state.documents().map_err(|error| error.at(origin))?;
        Ok(Self::of_documents(shaped(documents)))
    }
}

fn merge_document(documents: &mut Vec<Value>, patch: &Value) -> Result<(), ConfigError> {
    let id = id_of(patch);
    let version = |value: &Value| value.get("apiVersion").cloned();
    let position = documents
        .iter()
        .position(|document| id_of(document) == id && version(document) == version(patch));
    if is_directive(patch) {
        if let Some(position) = position {
            documents.remove(position);
        }
        return Ok(());
    }
    let mut patch = patch.clone();
    let Some(target) = position.and_then(|position| documents.get_mut(position)) else {
        // Nothing is there to be taken away.
        erase::forget(&mut patch);
        let mut seen = BTreeSet::new();
        for id in documents.iter().map(id_of).chain([id.clone()]) {
            load::add(&mut seen, &id.kind, &id.name)?;
        }
        match id.kind.as_str() {
            "v1alpha1" => documents.insert(0, patch),
            _ => documents.push(patch),
        }
        return Ok(());
    };
    erase::carry_out(&id.kind, target, &mut patch, &id.to_string())?;
    merge::document(&id.kind, target, patch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(config: &Value, patch: &str) -> Result<Value, ConfigError> {
        let config = MachineConfig::of_documents(vec![config.clone()]);
        let patch = Patch::parse("a patch", patch)?;
        Ok(config.patched(&[patch])?.documents()[0].clone())
    }

    #[test]
    fn maps_merge_and_lists_append() {
        let config = json!({"machine": {"certSANs": ["a"], "install": {"wipe": true}}});
        let found =
            patched(&config, "machine: {certSANs: [b], install: {image: x, wipe: false}}").unwrap();
        assert_eq!(found["machine"]["certSANs"], json!(["a", "b"]));
        assert_eq!(found["machine"]["install"], json!({"image": "x", "wipe": false}));
        // What is written anew has every field that is not optional.
        assert_eq!((&found["version"], &found["cluster"]), (&json!(""), &Value::Null));
    }

    #[test]
    fn a_field_of_any_type_is_deleted() {
        let config = json!({
            "debug": true,
            "machine": {"sysctls": {"a": "1", "b": "2"}, "network": {"interfaces": [
                {"interface": "eth0", "mtu": 9000}, {"interface": "eth1"}]}},
        });
        let patch = "debug: {$patch: delete}\nmachine:\n  sysctls: {a: {$patch: delete}, c: \"3\"}\n  network:\n    interfaces:\n      - {interface: eth0, $patch: delete}\n      - {interface: eth1, mtu: 1400}\n";
        let found = patched(&config, patch).unwrap();
        assert_eq!(found.get("debug"), None);
        assert_eq!(found["machine"]["sysctls"], json!({"b": "2", "c": "3"}));
        let links = json!([{"interface": "eth1", "mtu": 1400}]);
        assert_eq!(found["machine"]["network"]["interfaces"], links);
        let error = patched(&config, "machine: {sysctls: {z: {$patch: delete}}}").unwrap_err();
        assert_eq!(error.class(), "delete-lookup-failed");
        let error = patched(&config, "$patch: delete\nmachine: {}\n").unwrap_err();
        assert_eq!(error.class(), "delete-missing-identity");
        assert!(Patch::parse("a patch", "machine: {install: {$patch: remove}}").is_err());
        let error = Patch::parse("a patch", "kind: EventSinkConfig\n$patch: delete\n").unwrap_err();
        assert_eq!(error.class(), "delete-missing-identity");
    }

    #[test]
    fn a_certificate_without_a_key_takes_the_old_key_away() {
        let config = json!({"machine": {"ca": {"crt": "b2xk", "key": "b2xka2V5"}}});
        let expected = json!({"crt": "bmV3", "key": ""});
        for patch in ["{crt: bmV3}", "{crt: bmV3, key: \"\"}"] {
            let found = patched(&config, &format!("machine: {{ca: {patch}}}")).unwrap();
            assert_eq!(found["machine"]["ca"], expected, "{patch}");
        }
    }

    #[test]
    fn ranges_are_replaced_and_interfaces_matched() {
        let config = json!({
            "machine": {"network": {"interfaces": [{"interface": "eth0", "addresses": ["a"]}]}},
            "cluster": {"network": {"podSubnets": ["10.244.0.0/16"]}},
        });
        let patch = "machine: {network: {interfaces: [{interface: eth0, mtu: 9000}, {interface: eth1}]}}\ncluster: {network: {podSubnets: [fd00::/64]}}\n";
        let found = patched(&config, patch).unwrap();
        assert_eq!(found["cluster"]["network"]["podSubnets"], json!(["fd00::/64"]));
        assert_eq!(
            found["machine"]["network"]["interfaces"],
            json!([{"interface": "eth0", "addresses": ["a"], "mtu": 9000}, {"interface": "eth1"}])
        );
    }

    #[test]
    fn directives_delete_what_is_there_and_complain_of_what_is_not() {
        let config = json!({"machine": {"network": {"nameservers": ["x"]},
                                        "kernel": {"modules": [{"name": "a"}, {"name": "b"}]}}});
        let found = patched(&config, "machine: {network: {$patch: delete}}").unwrap();
        assert!(found["machine"].get("network").is_none());
        let patch = "machine: {kernel: {modules: [{name: a, $patch: delete}]}}";
        let found = patched(&config, patch).unwrap();
        assert_eq!(found["machine"]["kernel"]["modules"], json!([{"name": "b"}]));
        // An empty field of a section that is there may be deleted; a section that is not may not.
        assert!(patched(&config, "machine: {time: {$patch: delete}}").is_ok());
        let patch = "machine: {time: {servers: {$patch: delete}}}";
        let error = patched(&config, patch).unwrap_err();
        let text = "a patch: v1alpha1.machine.time.servers: there is nothing to delete";
        assert_eq!(error.to_string(), text);
        assert!(patched(&config, "machine: {nothing: {$patch: delete}}").is_err());
    }

    #[test]
    fn a_document_that_matches_none_is_added() {
        let config = MachineConfig::of_documents(vec![json!({"machine": {}})]);
        let text = "apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: a\nauto: off\n";
        let patch = Patch::parse("p", text).unwrap();
        let found = config.patched(std::slice::from_ref(&patch)).unwrap();
        assert_eq!(found.ids().count(), 2);
        assert_eq!(found.patched(&[patch]).unwrap(), found);
    }

    #[test]
    fn unknown_fields_and_operations_are_refused() {
        assert!(Patch::parse("p", "machine: {nonsense: 1}").is_err());
        assert!(Patch::parse("p", "[{op: nonsense, path: /machine/x}]").is_err());
    }
}
