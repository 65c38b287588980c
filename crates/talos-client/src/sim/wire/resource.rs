//! Resources: how each type is shown and named, and its specification in protobuf.
//!
//! A node sends a specification twice, as YAML and as a message. The table tells the number of each field; it is
//! made by the program in `tests/peer/facts` from what Talos' machinery library registers: that of 1.13 for the types
//! of `types.txt`, that of 1.14 for those of `types-1.14.txt`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::codec::{put_bytes, put_pair, put_varint};

/// What is known about one type.
#[derive(Debug, Default)]
struct Kind {
    definition: Value,
    message: String,
}

#[derive(Debug, Default)]
struct Kinds {
    types: BTreeMap<String, Kind>,
    messages: BTreeMap<String, Vec<Field>>,
    enums: BTreeMap<String, BTreeMap<String, u64>>,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    number: u64,
    kind: String,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    One,
    List,
    Map,
}

/// Definitions of all types that Talos `1.minor` has, by type.
pub(crate) fn definitions(minor: u64) -> impl Iterator<Item = (&'static str, &'static Value)> {
    let known = kinds().types.iter().filter(move |(name, _)| is_known(name, minor));
    known.map(|(name, kind)| (name.as_str(), &kind.definition))
}

/// Types that came after 1.11, with the minor version that has them first.
const SINCE: [(&str, u64); 11] = [
    ("APIServiceConfigs.runtime.talos.dev", 13),
    ("Environments.runtime.talos.dev", 13),
    ("ImageVerificationRules.security.talos.dev", 13),
    ("KubeletKubeconfigs.kubernetes.talos.dev", 12),
    ("LinkAliasSpecs.net.talos.dev", 12),
    ("OOMActions.talos.dev", 12),
    ("PlatformConfigs.net.talos.dev", 12),
    ("RoutingRuleSpecs.net.talos.dev", 13),
    ("RoutingRuleStatuses.net.talos.dev", 13),
    ("ServicePIDs.runtime.talos.dev", 13),
    ("TUFTrustedRoots.security.talos.dev", 13),
];

/// Types that came with 1.14.
const NEWEST: &str = include_str!("types-1.14.txt");

/// Whether a type exists at Talos `1.minor`.
pub(crate) fn is_known(kind: &str, minor: u64) -> bool {
    let since = match SINCE.iter().find(|(name, _)| *name == kind) {
        Some((_, since)) => *since,
        None if NEWEST.lines().any(|name| name == kind) => 14,
        None => 0,
    };
    since <= minor && kinds().types.contains_key(kind)
}

/// Whether only an administrator may read a type.
pub(crate) fn is_sensitive(kind: &str) -> bool {
    let found = kinds().types.get(kind);
    found.is_some_and(|k| {
        k.definition.get("sensitivity").and_then(Value::as_str) == Some("sensitive")
    })
}

/// A specification in protobuf; empty for types whose message is empty.
pub(crate) fn encode(kind: &str, spec: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match kind {
        // These have messages of their own, with another form than their YAML.
        "MachineConfigs.config.talos.dev" => {
            put_bytes(1, spec.as_str().unwrap_or_default().as_bytes(), &mut out);
        }
        "MachineTypes.config.talos.dev" => {
            put_number(1, number("machine.Type", spec), &mut out);
        }
        "Namespaces.meta.cosi.dev" => {
            put_bytes(1, spec["description"].as_str().unwrap_or_default().as_bytes(), &mut out);
        }
        "ResourceDefinitions.meta.cosi.dev" => write_definition(spec, &mut out),
        // Their texts show the objects alone.
        "Manifests.kubernetes.talos.dev" => {
            let items = spec.as_array().into_iter().flatten();
            let items: Vec<Value> = items.map(|object| json!({"object": object})).collect();
            write_kind(kind, &json!({"items": items}), &mut out);
        }
        "StaticPods.kubernetes.talos.dev" => write_kind(kind, &json!({"pod": spec}), &mut out),
        "StaticPodStatuses.kubernetes.talos.dev" => {
            write_kind(kind, &json!({"podstatus": spec}), &mut out);
        }
        _ => write_kind(kind, spec, &mut out),
    }
    out
}

fn write_kind(kind: &str, spec: &Value, out: &mut Vec<u8>) {
    if let Some(kind) = kinds().types.get(kind) {
        write(&kind.message, spec, out);
    }
}

fn kinds() -> &'static Kinds {
    static KINDS: OnceLock<Kinds> = OnceLock::new();
    KINDS.get_or_init(|| {
        let value = serde_json::from_str::<Value>(include_str!("resources.json"));
        value.map(|v| read(&v)).unwrap_or_default()
    })
}

fn read(value: &Value) -> Kinds {
    let entries =
        |key: &str| value.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    let text = |v: Option<&Value>| v.and_then(Value::as_str).unwrap_or_default().to_owned();
    let field = |v: &Value| {
        let shape = match v.get(3).and_then(Value::as_str) {
            Some("list") => Shape::List,
            Some(_) => Shape::Map,
            None => Shape::One,
        };
        Some(Field {
            name: text(v.get(0)),
            number: v.get(1)?.as_u64()?,
            kind: text(v.get(2)),
            shape,
        })
    };
    let kind = |v: Value| Kind {
        message: text(v.get("message")),
        definition: v.get("definition").cloned().unwrap_or_default(),
    };
    let fields = |v: &Value| v.as_array().into_iter().flatten().filter_map(field).collect();
    let values = |v: &Value| {
        let all = v.as_object().into_iter().flatten();
        all.filter_map(|(name, n)| Some((name.clone(), n.as_u64()?))).collect()
    };
    Kinds {
        types: entries("types").into_iter().map(|(name, v)| (name, kind(v))).collect(),
        messages: entries("messages").iter().map(|(name, v)| (name.clone(), fields(v))).collect(),
        enums: entries("enums").iter().map(|(name, v)| (name.clone(), values(v))).collect(),
    }
}

fn write(message: &str, value: &Value, out: &mut Vec<u8>) {
    let (Some(fields), Some(map)) = (kinds().messages.get(message), value.as_object()) else {
        return;
    };
    for field in fields {
        let Some(item) = map.get(&field.name).filter(|v| !v.is_null()) else { continue };
        match (field.shape, item) {
            (Shape::One, item) if is_zero(item) => {}
            (Shape::One, item) => write_item(field.number, &field.kind, item, out),
            (Shape::List, Value::Array(list)) => write_list(field, list, out),
            (Shape::Map, Value::Object(entries)) => {
                for (key, item) in entries {
                    let mut entry = Vec::new();
                    put_bytes(1, key.as_bytes(), &mut entry);
                    write_item(2, &field.kind, item, &mut entry);
                    put_bytes(field.number, &entry, out);
                }
            }
            _ => {}
        }
    }
}

/// Numbers of a list lie in one piece, all else one by one.
fn write_list(field: &Field, list: &[Value], out: &mut Vec<u8>) {
    let kind = field.kind.as_str();
    if matches!(kind, "int" | "bool") || kinds().enums.contains_key(kind) {
        let mut packed = Vec::new();
        list.iter().for_each(|item| put_varint(number(kind, item), &mut packed));
        if !packed.is_empty() {
            put_bytes(field.number, &packed, out);
        }
        return;
    }
    list.iter().for_each(|item| write_item(field.number, kind, item, out));
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn write_item(at: u64, kind: &str, value: &Value, out: &mut Vec<u8>) {
    let text = value.as_str().unwrap_or_default();
    let mut inner = Vec::new();
    match kind {
        "int" | "bool" => return put_number(at, number(kind, value), out),
        "double" => {
            put_varint(at << 3 | 1, out);
            out.extend_from_slice(&value.as_f64().unwrap_or_default().to_le_bytes());
            return;
        }
        "string" => match value {
            Value::String(text) => inner.extend_from_slice(text.as_bytes()),
            other => inner.extend_from_slice(other.to_string().as_bytes()),
        },
        "bytes" => inner = STANDARD.decode(text).unwrap_or_else(|_| text.as_bytes().to_vec()),
        "hardware" => {
            inner.extend(text.split(':').filter_map(|b| u8::from_str_radix(b, 16).ok()));
        }
        "address" => put_address(text.parse().ok(), &mut inner),
        "crt" | "key" => {
            let part = value.get(kind).and_then(Value::as_str).unwrap_or_default();
            put_bytes(1, &STANDARD.decode(part).unwrap_or_default(), &mut inner);
        }
        "prefix" => {
            if let Ok(prefix) = text.parse::<ipnet::IpNet>() {
                put_address(Some(prefix.addr()), &mut inner);
                put_number(2, u64::from(prefix.prefix_len()), &mut inner);
            }
        }
        "endpoint" => {
            if let Ok(endpoint) = text.parse::<SocketAddr>() {
                put_address(Some(endpoint.ip()), &mut inner);
                put_number(2, u64::from(endpoint.port()), &mut inner);
            }
        }
        "url" => put_bytes(1, text.as_bytes(), &mut inner),
        "duration" => {
            let nanos = go_duration(text);
            let second = 1_000_000_000;
            put_pair(nanos / second, i32::try_from(nanos % second).unwrap_or(0), &mut inner);
        }
        "time" => {
            if let Ok(time) = text.parse::<jiff::Timestamp>() {
                put_pair(time.as_second(), time.subsec_nanosecond(), &mut inner);
            }
        }
        "pair" => {
            for (number, key) in [(1, "crt"), (2, "key")] {
                let part = value.get(key).and_then(Value::as_str).unwrap_or_default();
                put_bytes(number, &STANDARD.decode(part).unwrap_or_default(), &mut inner);
            }
        }
        "struct" => {
            if let Value::Object(map) = value {
                write_struct(map, &mut inner);
            }
        }
        _ if kinds().enums.contains_key(kind) => return put_number(at, number(kind, value), out),
        _ => write(kind, value, &mut inner),
    }
    put_bytes(at, &inner, out);
}

fn put_number(at: u64, number: u64, out: &mut Vec<u8>) {
    put_varint(at << 3, out);
    put_varint(number, out);
}

fn put_address(address: Option<IpAddr>, out: &mut Vec<u8>) {
    match address {
        Some(IpAddr::V4(v4)) => put_bytes(1, &v4.octets(), out),
        Some(IpAddr::V6(v6)) => put_bytes(1, &v6.octets(), out),
        None => {}
    }
}

/// A number, by name or as such; several names are flags.
fn number(kind: &str, value: &Value) -> u64 {
    match value {
        Value::Bool(flag) => u64::from(*flag),
        Value::Number(n) => n.as_u64().or_else(|| n.as_i64().map(i64::cast_unsigned)).unwrap_or(0),
        Value::String(text) => {
            let names = kinds().enums.get(kind);
            let one = |name: &str| {
                let name = name.trim();
                names.and_then(|n| n.get(name)).copied().or_else(|| name.parse().ok()).unwrap_or(0)
            };
            one(text).max(text.split([',', '|']).fold(0, |all, name| all | one(name)))
        }
        _ => 0,
    }
}

/// Nanoseconds of a duration as Go writes it.
fn go_duration(text: &str) -> i64 {
    let (mut total, mut digits, mut unit) = (0.0, String::new(), String::new());
    let scale = |unit: &str| match unit {
        "h" => 3.6e12,
        "m" => 6e10,
        "s" => 1e9,
        "ms" => 1e6,
        "us" | "µs" => 1e3,
        _ => 1.0,
    };
    for c in text.chars().chain(['0']) {
        if (c.is_ascii_digit() || c == '.') && !unit.is_empty() {
            total += digits.parse::<f64>().unwrap_or(0.0) * scale(&unit);
            (digits, unit) = (String::new(), String::new());
        }
        if c.is_ascii_digit() || c == '.' { digits.push(c) } else { unit.push(c) }
    }
    // Durations of resources are far below the 2^53 nanoseconds that a double keeps.
    format!("{total:.0}").parse().unwrap_or(0)
}

/// `google.protobuf.Struct`.
fn write_struct(map: &Map<String, Value>, out: &mut Vec<u8>) {
    for (key, value) in map {
        let (mut entry, mut inner) = (Vec::new(), Vec::new());
        put_bytes(1, key.as_bytes(), &mut entry);
        write_value(value, &mut inner);
        put_bytes(2, &inner, &mut entry);
        put_bytes(1, &entry, out);
    }
}

/// `google.protobuf.Value`.
fn write_value(value: &Value, out: &mut Vec<u8>) {
    let mut inner = Vec::new();
    match value {
        Value::Null => put_number(1, 0, out),
        Value::Number(n) => {
            put_varint(2 << 3 | 1, out);
            out.extend_from_slice(&n.as_f64().unwrap_or_default().to_le_bytes());
        }
        Value::String(text) => put_bytes(3, text.as_bytes(), out),
        Value::Bool(flag) => put_number(4, u64::from(*flag), out),
        Value::Object(map) => {
            write_struct(map, &mut inner);
            put_bytes(5, &inner, out);
        }
        Value::Array(list) => {
            for item in list {
                let mut entry = Vec::new();
                write_value(item, &mut entry);
                put_bytes(1, &entry, &mut inner);
            }
            put_bytes(6, &inner, out);
        }
    }
}

/// `cosi.resource.meta.ResourceDefinitionSpec`.
fn write_definition(spec: &Value, out: &mut Vec<u8>) {
    let text = |key: &str| spec.get(key).and_then(Value::as_str).unwrap_or_default();
    let list = |key: &str| spec.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    put_bytes(1, text("type").as_bytes(), out);
    put_bytes(2, text("displayType").as_bytes(), out);
    put_bytes(3, text("defaultNamespace").as_bytes(), out);
    for (number, key) in [(4, "aliases"), (5, "allAliases")] {
        for name in list(key) {
            put_bytes(number, name.as_str().unwrap_or_default().as_bytes(), out);
        }
    }
    for column in list("printColumns") {
        let mut entry = Vec::new();
        for (number, key) in [(1, "name"), (2, "jsonPath")] {
            let part = column.get(key).and_then(Value::as_str).unwrap_or_default();
            put_bytes(number, part.as_bytes(), &mut entry);
        }
        put_bytes(6, &entry, out);
    }
    if text("sensitivity") == "sensitive" {
        put_number(7, 1, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_its_message() {
        let spec = json!({
            "nodeId": "n", "addresses": ["10.5.0.11"], "hostname": "cp1", "machineType": "controlplane",
            "operatingSystem": "", "controlPlane": {"port": 6443},
        });
        let wanted = [
            &[0x0a, 1, b'n', 0x12, 6, 0x0a, 4, 10, 5, 0, 11, 0x1a, 3][..],
            b"cp1",
            &[0x20, 2, 0x32, 3, 0x08, 0xab, 0x32],
        ]
        .concat();
        assert_eq!(encode("Members.cluster.talos.dev", &spec), wanted);
    }

    #[test]
    fn durations_and_flags_are_read_as_go_writes_them() {
        assert_eq!(go_duration("1m0.5s"), 60_500_000_000);
        assert_eq!(go_duration("3h"), 10_800_000_000_000);
        assert_eq!(number("nethelpers.LinkFlags", &json!("UP,RUNNING")), 1 | 0x40);
    }

    #[test]
    fn types_come_with_versions() {
        assert!(!is_known("PlatformConfigs.net.talos.dev", 11));
        assert!(is_known("PlatformConfigs.net.talos.dev", 12));
        // Each of them is a type at all.
        let newest = NEWEST.lines().map(|kind| (kind, 14));
        for (kind, since) in SINCE.into_iter().chain(newest) {
            assert!(is_known(kind, since) && !is_known(kind, since - 1), "{kind}");
        }
    }

    #[test]
    fn secrets_are_known_as_such() {
        assert!(is_sensitive("OSRootSecrets.secrets.talos.dev"));
        assert!(
            is_known("Members.cluster.talos.dev", 11) && !is_sensitive("Members.cluster.talos.dev")
        );
    }
}
