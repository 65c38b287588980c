//! Configurations without what is empty: a node writes its configuration in its own way.

use serde_json::{Map, Value, json};

use super::machine::id_of;
use super::schema::{Name, Schema, schema};
use super::typed::bare;

/// Types whose presence says something, even when nothing is in them: a kind of key, of link, of
/// shared address, of proof.
const PRESENT: [&str; 16] = [
    "block.EncryptionKeyKMS",
    "block.EncryptionKeyNodeID",
    "block.EncryptionKeyStatic",
    "block.EncryptionKeyTPM",
    "network.BGPBFD",
    "security.ImageKeylessVerifierV1Alpha1",
    "security.ImagePublicKeyVerifierV1Alpha1",
    "v1alpha1.Bond",
    "v1alpha1.Bridge",
    "v1alpha1.DeviceWireguardConfig",
    "v1alpha1.EncryptionKeyKMS",
    "v1alpha1.EncryptionKeyNodeID",
    "v1alpha1.EncryptionKeyStatic",
    "v1alpha1.EncryptionKeyTPM",
    "v1alpha1.VIPEquinixMetalConfig",
    "v1alpha1.VIPHCloudConfig",
];

/// Lists whose emptiness says something: without registers a key is bound to none, where none are
/// named to one.
const EMPTY_LISTS: [(&str, &str); 1] = [("block.EncryptionKeyTPMOptions", "pcrs")];

/// A document without what means the same when it is not there. Keys that are the user's, as those
/// of labels, stay whatever their value, and so does what is free of form.
pub(super) fn pruned(document: &Value) -> Value {
    let Some(schema) = schema() else { return document.clone() };
    let kind = schema.kinds.get(&id_of(document).kind).map_or("", String::as_str);
    value(schema, kind, document)
}

fn value(schema: &Schema, kind: &str, old: &Value) -> Value {
    let kind = bare(kind);
    match old {
        Value::Object(map) => Value::Object(mapping(schema, kind, map)),
        Value::Array(items) => {
            let item = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let item = item.unwrap_or_default();
            Value::Array(items.iter().map(|old| value(schema, item, old)).collect())
        }
        other => other.clone(),
    }
}

fn mapping(schema: &Schema, kind: &str, map: &Map<String, Value>) -> Map<String, Value> {
    let one = |(name, old): (&String, &Value)| {
        let new = match schema.name(kind, name) {
            Name::Key("any") => old.clone(),
            // Nothing is read as an empty text.
            Name::Key("string" | "v1alpha1.ArgValue") if old.is_null() => json!(""),
            Name::Key(inner) => value(schema, inner, old),
            Name::Field(inner) => value(schema, inner, old),
            Name::Unknown => value(schema, "", old),
        };
        let is_kept = match schema.name(kind, name) {
            Name::Key(_) => true,
            Name::Field(inner) => says_something(kind, name, inner, &new),
            Name::Unknown => false,
        };
        (is_kept || !is_empty(&new)).then(|| (name.clone(), new))
    };
    map.iter().filter_map(one).collect()
}

/// Whether a field says something although nothing is in it.
fn says_something(owner: &str, name: &str, kind: &str, value: &Value) -> bool {
    match value {
        Value::Object(_) => PRESENT.contains(&bare(kind)),
        Value::Array(_) => EMPTY_LISTS.contains(&(owner, name)),
        _ => false,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MachineConfig;
    use super::*;

    fn changes(before: &str, after: &str) -> Vec<String> {
        let parsed = |text: &str| MachineConfig::parse(text).unwrap();
        parsed(before).diff(&parsed(after)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn keys_of_the_user_stay_without_a_value() {
        let label = "machine: {nodeLabels: {a: b, node-role.kubernetes.io/worker: ''}}";
        let (added, removed) = (
            changes("machine: {nodeLabels: {a: b}}", label),
            changes(label, "machine: {nodeLabels: {a: b}}"),
        );
        let path = "machine.nodeLabels.node-role.kubernetes.io/worker";
        assert_eq!(added, [format!("{path}: (unset) -> \"\"")]);
        assert_eq!(removed, [format!("{path}: \"\" -> (unset)")]);
        for section in [
            "machine: {sysctls: {a: ''}}",
            "machine: {env: {a: ''}}",
            "machine: {registries: {mirrors: {a: {}}}}",
            "machine: {kubelet: {extraConfig: {a: {}}}}",
            "cluster: {apiServer: {extraArgs: {a: ''}}}",
        ] {
            let none = section.replace("a: ''", "").replace("a: {}", "");
            assert_eq!(changes(&none, section).len(), 1, "{section}");
            assert_eq!(changes(section, &none).len(), 1, "{section}");
            assert!(changes(section, &section.replace("''", "")).is_empty(), "{section}");
        }
    }

    #[test]
    fn members_that_say_something_by_being_there_stay() {
        let volume = |key: &str| {
            format!(
                "apiVersion: v1alpha1\nkind: VolumeConfig\nname: STATE\n\
                 encryption: {{provider: luks2, keys: [{{slot: 0, {key}}}]}}\n"
            )
        };
        assert_eq!(changes(&volume("nodeID: {}"), &volume("tpm: {}")).len(), 1);
        assert!(changes(&volume("nodeID: {}"), &volume("nodeID: {}, tpm: null")).is_empty());
        let options = volume("tpm: {options: {pcrs: []}}");
        assert_eq!(changes(&volume("tpm: {options: {}}"), &options).len(), 1);
        let older = |key: &str| {
            format!("machine: {{systemDiskEncryption: {{state: {{keys: [{{slot: 0, {key}}}]}}}}}}")
        };
        assert_eq!(changes(&older("nodeID: {}"), &older("tpm: {}")).len(), 1);
        let link =
            |rest: &str| format!("machine: {{network: {{interfaces: [{{interface: a{rest}}}]}}}}");
        assert_eq!(changes(&link(""), &link(", bridge: {}")).len(), 1);
    }

    #[test]
    fn what_talos_drops_or_writes_as_empty_is_no_change() {
        let short = "machine: {type: worker, ca: {crt: YQ==}}\ncluster: {id: a}\n";
        let long = "machine: {type: worker, ca: {crt: YQ==, key: ''}, kubelet: {}, network: {}, certSANs: [], \
                    registries: {mirrors: {}, config: {}}, features: {}, nodeLabels: {}, sysctls: null}\n\
                    cluster: {id: a, secret: '', discovery: {registries: {kubernetes: {}, service: {}}}, proxy: {}}\n";
        assert!(changes(short, long).is_empty());
        let known: Vec<&String> = schema().unwrap().types.keys().collect();
        let scalars = ["EncryptionKeyNodeID"];
        for one in PRESENT {
            let is_known = known.iter().any(|name| *name == one)
                || scalars.iter().any(|name| one.ends_with(name));
            assert!(is_known, "{one}");
        }
    }
}
