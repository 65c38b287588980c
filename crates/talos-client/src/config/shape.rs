//! Documents as Talos writes them anew: fields in the order of the schema, and what is nothing left
//! out or written, as its type asks for.

use serde_json::{Map, Value, json};

use super::schema::{self, Schema};
use super::typed::bare;

/// Numbers and words that are held optionally: `0` and the first word are values. Truth values
/// say so in their type. Checked against the library's types of 1.13.
const OPTIONAL: [(&str, &[&str]); 8] = [
    ("network.EthernetRingsConfig", &[]),
    ("network.EthernetChannelsConfig", &[]),
    ("network.VLANConfigV1Alpha1", &["vlanMode"]),
    ("network.KubeSpanConfigV1Alpha1", &["mtu"]),
    ("network.HostnameConfigV1Alpha1", &["auto"]),
    ("network.AddressConfig", &["routePriority"]),
    ("block.ZswapConfigV1Alpha1", &["maxPoolPercent"]),
    ("v1alpha1.NetworkKubeSpan", &["mtu"]),
];

/// Whether a field of a type is there or not, whatever its value.
pub(super) fn is_optional_value(owner: &str, field: &str, kind: &str) -> bool {
    if kind.contains("|null") {
        return true;
    }
    let is_number = |kind: &str| kind.starts_with("uint") || kind == "int";
    let is_single = is_number(bare(kind)) || bare(kind).starts_with("nethelpers.");
    match owner {
        "network.BondConfigV1Alpha1" => is_single && !matches!(field, "hardwareAddr" | "mtu"),
        "network.DHCPv4ConfigV1Alpha1" | "network.DHCPv6ConfigV1Alpha1" => {
            field == "clientIdentifier"
        }
        _ => OPTIONAL.iter().any(|(name, fields)| {
            *name == owner && is_single && (fields.is_empty() || fields.contains(&field))
        }),
    }
}

/// Structures that are held by value: where they are missing they are written all the same.
const HELD: [&str; 4] = [
    "v1alpha1.DiscoveryRegistriesConfig",
    "v1alpha1.RegistryKubernetesConfig",
    "v1alpha1.RegistryServiceConfig",
    "network.RulePortSelector",
];

/// Structures and free forms that are left out as long as all within them is nothing.
const VANISHING: [&str; 16] = [
    "block.DiskSelector",
    "block.EncryptionSpec",
    "block.ExistingMountSpec",
    "block.ExternalMountSpec",
    "block.FilesystemSpec",
    "block.MountSpec",
    "block.ProvisioningSpec",
    "block.UserMountSpec",
    "block.VolumeDiscoverySpec",
    "block.VolumeSelector",
    "network.BridgeSTPConfig",
    "network.BridgeVLANConfig",
    "network.LinkSelector",
    "network.SearchDomainsConfig",
    "v1alpha1.RegistriesConfig",
    "v1alpha1.Unstructured",
];

/// A document as Talos writes it anew: fields in the order of the schema, empty ones left out or
/// written as their type asks for. What the schema does not know stays at the end.
pub(crate) fn shape(kind: &str, value: Value) -> Value {
    let Some(schema) = schema::schema() else { return value };
    match schema.kinds.get(kind) {
        Some(name) => shaped(schema, name, value),
        None => value,
    }
}

fn shaped(schema: &Schema, kind: &str, value: Value) -> Value {
    let kind = bare(kind);
    match value {
        Value::Array(items) => {
            let item =
                kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or("any");
            Value::Array(items.into_iter().map(|value| shaped(schema, item, value)).collect())
        }
        Value::Object(mut map) => {
            let inner = kind.strip_prefix("map<").and_then(|rest| rest.strip_suffix('>'));
            if let Some((_, inner)) = inner.and_then(|inner| inner.split_once(',')) {
                let entries =
                    map.into_iter().map(|(key, value)| (key, shaped(schema, inner, value)));
                return Value::Object(entries.collect());
            }
            let Some(fields) = schema.types.get(kind).filter(|fields| !fields.contains_key("*"))
            else {
                return Value::Object(map);
            };
            let (owner, mut out) = (kind, Map::new());
            for (name, kind) in fields {
                let kind = kind.as_str().unwrap_or("any");
                let is_optional = kind.ends_with('?');
                let vanishes = |value: &Value| is_optional && is_nothing(schema, bare(kind), value);
                match map.shift_remove(name).filter(|value| !value.is_null()) {
                    Some(value) if vanishes(&value) => {}
                    Some(value) => {
                        let value = shaped(schema, kind, value);
                        let is_kept = is_optional_value(owner, name, kind);
                        if is_kept || !(is_optional && is_empty(kind, &value)) {
                            out.insert(name.clone(), value);
                        }
                    }
                    None if is_optional => {}
                    None => drop(out.insert(name.clone(), zero(schema, kind))),
                }
            }
            out.extend(map);
            Value::Object(out)
        }
        Value::String(text) if kind == "v1alpha1.ArgValue" && text.is_empty() => Value::Null,
        Value::Null if kind == "string" => json!(""),
        other => other,
    }
}

/// Whether a structure that may vanish holds nothing but zeros.
fn is_nothing(schema: &Schema, kind: &str, value: &Value) -> bool {
    let Value::Object(map) = value else { return false };
    if !VANISHING.contains(&kind) {
        return false;
    }
    let Some(fields) = schema.types.get(kind) else { return map.is_empty() };
    // Without keys nothing is encrypted, whatever else is said.
    let has_keys = || map.get("keys").is_some_and(|keys| *keys != json!([]));
    if kind == "block.EncryptionSpec" && map.get("provider").is_none_or(|name| name == "none") {
        return !has_keys();
    }
    map.iter().all(|(name, value)| {
        let Some(field) = fields.get(name).and_then(Value::as_str) else { return false };
        let first = schema.enums.get(bare(field)).and_then(|words| words.first());
        let is_zero = is_empty(field, value) || first.is_some_and(|word| value == word);
        value.is_null()
            || (is_zero && !is_optional_value(kind, name, field))
            || is_nothing(schema, bare(field), value)
    })
}

fn is_empty(kind: &str, value: &Value) -> bool {
    if kind.ends_with("|null?") {
        return false;
    }
    match value {
        Value::String(text) if bare(kind) == "duration" => matches!(text.as_str(), "" | "0s"),
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(flag) => !flag,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty() && kind.starts_with("map<"),
        Value::Null => true,
    }
}

/// What is written for a field that is not there.
fn zero(schema: &Schema, kind: &str) -> Value {
    if kind.ends_with("|null") {
        return Value::Null;
    }
    match kind {
        "string" | "meta.URL" => json!(""),
        _ if kind.starts_with("netip.") => json!(""),
        "network.Addr" | "network.AddrPort" | "network.Prefix" => json!(""),
        "v1alpha1.Unstructured" => json!({}),
        // It has no word for nothing; a node refuses this one, and so does the reader here.
        "nethelpers.Protocol" => json!("Protocol(0)"),
        "v1alpha1.FileMode" | "int" | "uint" | "uint64" | "uint32" | "uint16" | "uint8" => json!(0),
        "bool" => json!(false),
        "duration" => json!("0s"),
        _ if kind.starts_with('[') => json!([]),
        _ if kind.starts_with("map<") => json!({}),
        _ if HELD.contains(&kind) => shaped(schema, kind, json!({})),
        _ => match schema.enums.get(kind).and_then(|words| words.first()) {
            Some(word) => json!(word),
            None => Value::Null,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_and_empty_is_not_written() {
        let config = json!({ "machine": { "type": "worker", "baseRuntimeSpecOverrides": {} } });
        assert_eq!(shape("v1alpha1", config)["machine"].get("baseRuntimeSpecOverrides"), None);
        let volume = json!({ "name": "a", "mount": {}, "encryption": { "provider": "none", "blockSize": 4096 } });
        assert_eq!(shape("RawVolumeConfig", volume).get("encryption"), None);
        let bridge = json!({ "name": "a", "stp": { "enabled": false }, "vlan": {} });
        let bridge = shape("BridgeConfig", bridge);
        assert_eq!(bridge["stp"], json!({ "enabled": false }));
        assert_eq!(bridge.get("vlan"), None);
        let link = shape("LinkConfig", json!({ "name": "a", "addresses": [{}] }));
        assert_eq!(link["addresses"][0]["address"], json!(""));
    }

    #[test]
    fn a_duration_of_nothing_is_not_written() {
        let probe = |interval: &str| {
            let probe = json!({
                "apiVersion": "v1alpha1", "kind": "TCPProbeConfig", "name": "a", "interval": interval, "endpoint": "b:80",
            });
            shape("TCPProbeConfig", probe).get("interval").cloned()
        };
        assert_eq!(probe("0s"), None);
        assert_eq!(probe("10s"), Some(json!("10s")));
    }
}
