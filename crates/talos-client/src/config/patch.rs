//! Patches: partial documents that are merged into a configuration.

use serde_json::{Map, Value};

use super::machine::{ConfigError, MachineConfig, id_of};
use super::operation::{self, Operation};
use super::{text, typed};
use crate::yaml;

/// The directive that removes what it stands in.
const DIRECTIVE: &str = "$patch";

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
    /// Reads a patch; `origin` stands before its errors.
    ///
    /// # Errors
    /// The text is no YAML, or it has an unknown kind, field or operation.
    pub fn parse(origin: &str, source: &str) -> Result<Self, ConfigError> {
        if source.is_empty() {
            let error = ConfigError::classed("patch-file-missing", "the patch is empty");
            return Err(error.at(origin));
        }
        let nodes = yaml::documents(source).map_err(|error| ConfigError::from(error).at(origin))?;
        let mut documents = Vec::new();
        for node in nodes {
            if node.is_null() {
                continue;
            }
            if let yaml::Node::List(_) = node {
                let operations =
                    operation::parse(&text::value(node)).map_err(|error| error.at(origin))?;
                return Ok(Self {
                    origin: origin.to_owned(),
                    change: Change::Operations(operations),
                });
            }
            let Value::Object(map) = text::value(node.clone()) else {
                let text = "it is neither a partial document nor a list of operations";
                return Err(ConfigError::classed("not-a-mapping", text).at(origin));
            };
            let id = id_of(&Value::Object(map.clone()));
            if map.contains_key("kind") && is_deleted(&map) && !map.contains_key("apiVersion") {
                let text =
                    "a document is deleted by its apiVersion and kind: apiVersion is missing";
                return Err(ConfigError::classed("delete-missing-identity", text).at(origin));
            }
            let plain = without_directives(node.clone());
            let typed = typed::document(&id.kind, &plain)
                .map_err(|error| ConfigError::from(error).at(origin))?;
            // Directives stay where they stand; everything else has its type.
            documents.push(with_directives(typed, Value::Object(map)));
        }
        Ok(Self { origin: origin.to_owned(), change: Change::Documents(documents) })
    }

    /// A patch out of documents that are data already.
    ///
    /// # Errors
    /// A document has an unknown kind or field.
    pub fn of_documents(origin: &str, documents: &[Value]) -> Result<Self, ConfigError> {
        Self::parse(origin, &text::write(documents))
    }
}

/// A typed patch with the directives of the one as it was written.
fn with_directives(typed: Value, written: Value) -> Value {
    match (typed, written) {
        (Value::Object(mut typed), Value::Object(written)) => {
            let mut out = Map::new();
            for (key, value) in written {
                match typed.shift_remove(&key) {
                    _ if key == DIRECTIVE || is_directive(&value) => drop(out.insert(key, value)),
                    Some(inner) => drop(out.insert(key, with_directives(inner, value))),
                    None => {}
                }
            }
            // Parts that reading adds, such as the key of a certificate.
            out.extend(typed);
            Value::Object(out)
        }
        (Value::Array(typed), Value::Array(written)) => {
            let count = written.iter().filter(|item| !is_directive(item)).count();
            if typed.len() != count {
                return Value::Array(typed);
            }
            let mut typed = typed.into_iter();
            let items = written.into_iter().filter_map(|item| match is_directive(&item) {
                true => Some(item),
                false => typed.next().map(|typed| with_directives(typed, item)),
            });
            Value::Array(items.collect())
        }
        (typed, _) => typed,
    }
}

/// Something that a patch takes away. Any other word is an ordinary field.
fn is_directive(value: &Value) -> bool {
    value.as_object().is_some_and(is_deleted)
}

fn is_deleted(map: &Map<String, Value>) -> bool {
    map.get(DIRECTIVE).and_then(Value::as_str) == Some("delete")
}

/// A document as its kind must have it: what it takes away has no type, such as a number that is
/// named only to be removed.
fn without_directives(node: yaml::Node) -> yaml::Node {
    use yaml::Node;
    let deletes = |node: &Node| node.get(DIRECTIVE).and_then(Node::text) == Some("delete");
    match node {
        Node::Map(entries) => {
            let is_root =
                entries.iter().any(|(key, node)| key == DIRECTIVE && node.text() == Some("delete"));
            let kept = entries
                .into_iter()
                .filter(|(key, node)| !(deletes(node) || is_root && key == DIRECTIVE));
            Node::Map(kept.map(|(key, node)| (key, without_directives(node))).collect())
        }
        Node::List(items) => {
            let kept = items.into_iter().filter(|item| !deletes(item));
            Node::List(kept.map(without_directives).collect())
        }
        scalar @ Node::Scalar { .. } => scalar,
    }
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
        let mut documents = self.clone().into_documents();
        for patch in patches {
            match &patch.change {
                Change::Documents(changes) => {
                    for document in changes {
                        merge_document(&mut documents, document)
                            .map_err(|error| error.at(&patch.origin))?;
                    }
                }
                Change::Operations(operations) => {
                    let [document] = documents.as_mut_slice() else {
                        let text = "a list of operations (RFC 6902) cannot patch a configuration of several documents: write a partial document";
                        let error = ConfigError::classed("multi-document-json6902", text);
                        return Err(error.at(&patch.origin));
                    };
                    *document = operation::apply(document, operations)
                        .map_err(|error| error.at(&patch.origin))?;
                    // Whatever came of it must be a configuration.
                    let text = text::write(std::slice::from_ref(document));
                    documents = Self::load(&text)
                        .map_err(|error| error.at(&patch.origin))?
                        .into_documents();
                }
            }
        }
        let shaped = documents.into_iter().map(|document| {
            let kind = id_of(&document).kind;
            typed::shape(&kind, document)
        });
        Ok(Self::of_documents(shaped.collect()))
    }
}

fn merge_document(documents: &mut Vec<Value>, patch: &Value) -> Result<(), ConfigError> {
    let id = id_of(patch);
    let position = documents.iter().position(|document| id_of(document) == id);
    if is_directive(patch) {
        match position {
            _ if id.kind == "v1alpha1" => {
                let text = "the main document cannot be deleted: a document is deleted by its apiVersion and kind";
                return Err(ConfigError::classed("delete-missing-identity", text));
            }
            Some(position) => drop(documents.remove(position)),
            None => {}
        }
        return Ok(());
    }
    let mut patch = patch.clone();
    let Some(target) = position.and_then(|position| documents.get_mut(position)) else {
        if id.kind == "v1alpha1" {
            return Err(ConfigError::new("the configuration has no main document"));
        }
        documents.push(patch);
        return Ok(());
    };
    delete(target, &mut patch, &id.to_string())?;
    merge(target, patch, &mut Vec::new(), &id.kind)
}

/// A directive that finds nothing.
fn absent_at(path: &str) -> ConfigError {
    ConfigError::classed("delete-lookup-failed", format!("{path}: there is nothing to delete"))
}

/// Carries out the directives of a patch and takes them out of it.
fn delete(target: &mut Value, patch: &mut Value, path: &str) -> Result<(), ConfigError> {
    let Value::Object(entries) = patch else { return Ok(()) };
    let mut done: Vec<String> = Vec::new();
    for (key, value) in entries.iter_mut() {
        let place = format!("{path}.{key}");
        let absent = || absent_at(&place);
        match value {
            directive if is_directive(directive) => {
                let Value::Object(current) = target else { return Err(absent()) };
                current.shift_remove(key).ok_or_else(absent)?;
                done.push(key.clone());
            }
            Value::Object(_) => {
                let mut nothing = Value::Null;
                let inner = target.get_mut(key.as_str()).unwrap_or(&mut nothing);
                delete(inner, value, &place)?;
            }
            Value::Array(items) => {
                let current = target.get_mut(key.as_str()).and_then(Value::as_array_mut);
                delete_items(current, items, &place)?;
                if items.is_empty() {
                    done.push(key.clone());
                }
            }
            _ => {}
        }
    }
    for key in done {
        entries.shift_remove(&key);
    }
    Ok(())
}

fn delete_items(
    current: Option<&mut Vec<Value>>,
    items: &mut Vec<Value>,
    path: &str,
) -> Result<(), ConfigError> {
    if !items.iter().any(is_directive) {
        return Ok(());
    }
    let absent = || absent_at(path);
    let current = current.ok_or_else(absent)?;
    for item in items.iter().filter(|item| is_directive(item)) {
        let selector = item
            .as_object()
            .and_then(|map| map.iter().find(|(key, _)| *key != DIRECTIVE))
            .ok_or_else(|| {
                let text = format!("{path}: a directive needs a selector");
                ConfigError::classed("delete-list-selector", text)
            })?;
        let position = current
            .iter()
            .position(|one| one.get(selector.0.as_str()) == Some(selector.1))
            .ok_or_else(absent)?;
        current.remove(position);
    }
    items.retain(|item| !is_directive(item));
    Ok(())
}

/// Lists that a patch replaces as a whole.
fn is_replaced(kind: &str, path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(
        (kind, path.as_slice()),
        (
            "v1alpha1",
            ["cluster", "network", "podSubnets" | "serviceSubnets"]
                | ["cluster", "apiServer", "auditPolicy"],
        ) | ("NetworkRuleConfig", ["ingress"] | ["portSelector", "ports"])
    )
}

/// The field by which items of a list are matched.
fn item_key(kind: &str, path: &[String]) -> Option<&'static [&'static str]> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (kind, path.as_slice()) {
        ("v1alpha1", ["machine", "network", "interfaces"]) => {
            Some(&["interface", "deviceSelector"])
        }
        ("v1alpha1", ["machine", "network", "interfaces", "vlans"]) => Some(&["vlanId"]),
        ("v1alpha1", ["cluster", "apiServer", "admissionControl"]) => Some(&["name"]),
        ("ExtensionServiceConfig", ["configFiles"]) => Some(&["mountPath"]),
        _ => None,
    }
}

fn merge(
    target: &mut Value,
    patch: Value,
    path: &mut Vec<String>,
    kind: &str,
) -> Result<(), ConfigError> {
    if is_replaced(kind, path) && !patch.is_null() {
        *target = patch;
        return Ok(());
    }
    let is_set = !target.is_null();
    match (&mut *target, patch) {
        (_, Value::Null) => Ok(()),
        (Value::Object(current), Value::Object(entries)) => merge_map(current, entries, path, kind),
        (Value::Array(current), Value::Array(items)) => merge_list(current, items, path, kind),
        // An empty text and zero cannot be told from what is not there.
        (_, Value::String(text)) if text.is_empty() && is_set => Ok(()),
        (_, Value::Number(number)) if number.as_f64() == Some(0.0) && is_set => Ok(()),
        (Value::Object(_) | Value::Array(_), _) => {
            Err(ConfigError::new(format!("{}: the types do not fit", path.join("."))))
        }
        (_, other) => {
            *target = other;
            Ok(())
        }
    }
}

fn merge_map(
    current: &mut Map<String, Value>,
    entries: Map<String, Value>,
    path: &mut Vec<String>,
    kind: &str,
) -> Result<(), ConfigError> {
    // A certificate without its key clears the key.
    let is_pair = entries.contains_key("crt") && current.contains_key("crt");
    let has_key = entries.get("key").and_then(Value::as_str).is_some_and(|key| !key.is_empty());
    if is_pair && !has_key && current.contains_key("key") {
        current.insert("key".to_owned(), Value::String(String::new()));
    }
    for (key, value) in entries {
        match current.get_mut(&key) {
            Some(inner) => {
                path.push(key);
                merge(inner, value, path, kind)?;
                path.pop();
            }
            None if value.is_null() => {}
            None => {
                current.insert(key, value);
            }
        }
    }
    Ok(())
}

fn merge_list(
    current: &mut Vec<Value>,
    items: Vec<Value>,
    path: &mut Vec<String>,
    kind: &str,
) -> Result<(), ConfigError> {
    let Some(keys) = item_key(kind, path) else {
        current.extend(items);
        return Ok(());
    };
    for item in items {
        let key = keys.iter().find(|key| item.get(**key).is_some_and(|value| !value.is_null()));
        let found = key.and_then(|key| {
            current
                .iter_mut()
                .find(|one| one.get(*key).is_some() && one.get(*key) == item.get(*key))
        });
        match found {
            Some(one) => merge(one, item, path, kind)?,
            None => current.push(item),
        }
    }
    Ok(())
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
        let error = patched(&config, "machine: {time: {$patch: delete}}").unwrap_err();
        assert_eq!(error.to_string(), "a patch: v1alpha1.machine.time: there is nothing to delete");
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
