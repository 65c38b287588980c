//! Documents as Talos' loader takes them: every field of its type, in the order of the schema.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::schema::{self, Schema};
use super::text;
use super::url::GoUrl;
use super::validate::volume::is_size;
use crate::yaml::Node;

/// Why a document is refused: a word that stays the same, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) class: &'static str,
    pub(crate) message: String,
    /// The field, behind the kind of its document; empty where none is meant.
    pub(crate) path: String,
    /// What was meant, where that can be guessed.
    pub(crate) hint: Option<String>,
}

fn refused(class: &'static str, message: impl Into<String>) -> Refused {
    Refused { class, message: message.into(), path: String::new(), hint: None }
}

impl Refused {
    /// Names the field.
    pub(super) fn of(class: &'static str, path: &str, message: String) -> Self {
        Self { path: path.to_owned(), ..refused(class, message) }
    }
}

/// A document of a kind, typed; unknown fields are refused after everything else.
pub(crate) fn document(kind: &str, node: &Node) -> Result<Value, Refused> {
    let schema =
        schema::schema().ok_or_else(|| refused("unknown-document", "the schema is damaged"))?;
    let Some(name) = schema.kinds.get(kind) else {
        let near =
            schema::nearest(kind, &schema.kinds.keys().map(String::as_str).collect::<Vec<_>>());
        let hint = near.map(|name| format!("did you mean `{name}`?"));
        let message = format!("there is no document kind {kind:?}");
        return Err(Refused {
            hint,
            ..Refused::of("unknown-document", &format!("{kind}.kind"), message)
        });
    };
    let value = typed(schema, name, node, kind)?;
    if let Err(error) = schema::check(kind, node) {
        let path = error.path.clone();
        return Err(Refused { path, hint: error.hint(), ..refused("unknown-keys", error.message) });
    }
    Ok(value)
}

/// Whether there are documents of a kind.
pub(super) fn is_kind(kind: &str) -> bool {
    schema::schema().is_some_and(|schema| schema.kinds.contains_key(kind))
}

fn wrong<T>(path: &str, what: &str) -> Result<T, Refused> {
    Err(Refused::of("wrong-type", path, format!("{path} is no {what}")))
}

fn bad<T>(path: &str, what: &str) -> Result<T, Refused> {
    Err(Refused::of("bad-value", path, format!("{path} is no {what}")))
}

/// What is read part by part: what has the wrong type is told before any value that is bad.
#[derive(Default)]
struct Bad(Option<Refused>);

impl Bad {
    fn keep(&mut self, part: Result<Value, Refused>) -> Result<Value, Refused> {
        match part {
            Err(refused) if refused.class == "bad-value" => {
                self.0.get_or_insert(refused);
                Ok(Value::Null)
            }
            other => other,
        }
    }

    fn whole(self, value: Value) -> Result<Value, Refused> {
        self.0.map_or(Ok(value), Err)
    }
}

fn typed(schema: &Schema, kind: &str, node: &Node, path: &str) -> Result<Value, Refused> {
    let (kind, mut bad) = (bare(kind), Bad::default());
    if node.is_null() {
        return Ok(Value::Null);
    }
    if let Some(item) = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let Node::List(items) = node else { return wrong(path, "list") };
        let mut out = Vec::new();
        for (index, node) in items.iter().enumerate() {
            let value = bad.keep(typed(schema, item, node, &format!("{path}[{index}]")))?;
            // Nothing is no text.
            if !(value.is_null() && bare(item) == "string") {
                out.push(value);
            }
        }
        return bad.whole(Value::Array(out));
    }
    if let Some((_, inner)) = kind
        .strip_prefix("map<")
        .and_then(|rest| rest.strip_suffix('>'))
        .and_then(|inner| inner.split_once(','))
    {
        let Node::Map(entries) = node else { return wrong(path, "map") };
        let mut out = Map::new();
        for (key, node) in entries {
            let value = match inner {
                "any" => text::free(node.clone()),
                inner => bad.keep(typed(schema, inner, node, &format!("{path}.{key}")))?,
            };
            out.insert(key.clone(), value);
        }
        return bad.whole(Value::Object(out));
    }
    if let Some(fields) = schema.types.get(kind) {
        if let Some(rest) = fields.get("*").and_then(Value::as_str) {
            return typed(schema, rest, node, path);
        }
        let Node::Map(entries) = node else { return wrong(path, "map") };
        let mut out = Map::new();
        for (name, node) in entries {
            let place = format!("{path}.{name}");
            let value = match fields.get(name).and_then(Value::as_str) {
                Some(kind) => bad.keep(typed(schema, kind, node, &place))?,
                // Told later: what does not fit comes first.
                None => text::value(node.clone()),
            };
            out.insert(name.clone(), value);
        }
        return bad.whole(Value::Object(out));
    }
    scalar(schema, kind, node, path)
}

/// A type without its marks of being optional.
pub(super) fn bare(kind: &str) -> &str {
    let kind = kind.strip_suffix('?').unwrap_or(kind);
    kind.strip_suffix("|null").unwrap_or(kind)
}

fn scalar(schema: &Schema, kind: &str, node: &Node, path: &str) -> Result<Value, Refused> {
    if let Some(parts) = schema::pem_parts(kind) {
        return pair(node, path, parts);
    }
    match kind {
        "any" => return Ok(text::free(node.clone())),
        "block.EncryptionKeyNodeID" | "v1alpha1.EncryptionKeyNodeID" => {
            return Ok(text::value(node.clone()));
        }
        "v1alpha1.ClusterInlineManifests" => {
            let Node::List(items) = node else { return wrong(path, "list") };
            return items.iter().map(|item| manifest(item, path)).collect();
        }
        "v1alpha1.ArgValue" => {
            if let Node::List(items) = node {
                if !items.iter().all(|item| matches!(item, Node::Scalar { .. })) {
                    return bad(path, "text or list of texts");
                }
                let texts = items.iter().filter_map(Node::text).collect::<Vec<_>>();
                return Ok(json!(texts));
            }
            if let Node::Map(_) = node {
                return bad(path, "text or list of texts");
            }
        }
        _ => {}
    }
    let Node::Scalar { text, plain } = node else { return wrong(path, "single value") };
    let (text, plain) = (text.as_str(), *plain);
    let number = || match text::value(node.clone()) {
        Value::Number(number) if plain => number.as_i64(),
        _ => None,
    };
    let limits = match kind {
        "int" => Some((i64::MIN, i64::MAX)),
        "uint" | "uint64" => Some((0, i64::MAX)),
        "uint32" => Some((0, i64::from(u32::MAX))),
        "uint16" => Some((0, i64::from(u16::MAX))),
        "uint8" => Some((0, i64::from(u8::MAX))),
        _ => None,
    };
    if let Some((low, high)) = limits {
        return match number() {
            Some(number) if (low..=high).contains(&number) => Ok(json!(number)),
            _ => wrong(path, "whole number of its size"),
        };
    }
    if let Some(words) = schema.enums.get(kind) {
        let table = Some(text).filter(|_| kind == "nethelpers.RoutingTable");
        let table = table.and_then(|text| text.parse::<u32>().ok());
        return match () {
            // Those with a name are not taken by their number.
            () if table.is_some_and(|table| (1..253).contains(&table)) => Ok(json!(text)),
            () if words.iter().any(|word| word == text) => Ok(json!(text)),
            // One of them is read by other code, which takes nothing for the first word.
            () if kind == "nethelpers.FailOverMAC" => match text {
                "" => Ok(json!(words.first())),
                _ => bad(path, "word that it takes"),
            },
            () => match words.iter().find(|word| **word == text.to_lowercase()) {
                Some(word) => Ok(json!(word)),
                None => bad(path, "word that it takes"),
            },
        };
    }
    match kind {
        // The words of YAML 1.1 count in quotes too, those of 1.2 do not.
        "bool" => match text {
            "true" | "True" | "TRUE" if plain => Ok(json!(true)),
            "false" | "False" | "FALSE" if plain => Ok(json!(false)),
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Ok(json!(true)),
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Ok(json!(false)),
            _ => wrong(path, "truth value"),
        },
        "duration" => match crate::talosconfig::lifetime(text) {
            Ok(seconds) if !text.is_empty() && text != "0" => Ok(json!(duration(text, seconds))),
            _ => wrong(path, "duration such as 1h30m"),
        },
        "netip.Addr" | "network.Addr" => match text.parse::<IpAddr>() {
            Ok(address) => Ok(json!(address.to_string())),
            Err(_) if text.is_empty() => Ok(json!("")),
            Err(_) => match text.split_once('%').map(|(address, zone)| (address.parse(), zone)) {
                Some((Ok(IpAddr::V6(address)), zone)) if !zone.is_empty() => {
                    Ok(json!(format!("{address}%{zone}")))
                }
                _ => bad(path, "address"),
            },
        },
        "netip.Prefix" | "network.Prefix" => match text.parse::<IpNet>() {
            Ok(net) if text.contains('/') => Ok(json!(net.to_string())),
            _ if text.is_empty() => Ok(json!("")),
            _ => bad(path, "prefix"),
        },
        "netip.AddrPort" | "network.AddrPort" => match text.parse::<std::net::SocketAddr>() {
            Ok(address) => Ok(json!(address.to_string())),
            Err(_) if text.is_empty() => Ok(json!("")),
            Err(_) => bad(path, "address with a port"),
        },
        "meta.URL" | "v1alpha1.Endpoint" => match GoUrl::parse(text) {
            Ok(url) => Ok(json!(url.to_string())),
            Err(error) => Err(Refused::of("bad-value", path, format!("{path} is no URL: {error}"))),
        },
        "v1alpha1.Base64Bytes" => match STANDARD.decode(text) {
            Ok(bytes) => Ok(json!(STANDARD.encode(bytes))),
            Err(_) => bad(path, "base64"),
        },
        "nethelpers.HardwareAddr" => match mac(text) {
            Some(mac) => Ok(json!(mac)),
            None => bad(path, "hardware address"),
        },
        "v1alpha1.FileMode" => match number().and_then(|number| u32::try_from(number).ok()) {
            Some(mode) => Ok(json!(mode)),
            None => wrong(path, "mode of a file"),
        },
        "v1alpha1.DiskSize" => match number() {
            Some(number) => Ok(json!(number)),
            None if is_size(text, false) => Ok(json!(text)),
            None => bad(path, "size"),
        },
        "v1alpha1.InstallDiskSizeMatcher" => {
            let operators = [">=", "<=", "==", ">", "<"];
            let rest = operators.iter().find_map(|operator| text.strip_prefix(operator));
            let size = rest.unwrap_or(text).trim();
            if is_size(size, false) { Ok(json!(text)) } else { bad(path, "comparison of a size") }
        }
        "block.ByteSize" if !is_size(text, false) => bad(path, "size"),
        "block.Size" if !is_size(text, true) => bad(path, "size or percentage"),
        "network.PortRange" => match number() {
            Some(number) if u16::try_from(number).is_ok() => Ok(json!(number)),
            Some(_) => bad(path, "port"),
            None => match text.split_once('-') {
                Some((low, high)) if low.parse::<u16>().is_ok() && high.parse::<u16>().is_ok() => {
                    Ok(json!(text))
                }
                _ => bad(path, "port or range of ports"),
            },
        },
        _ => Ok(json!(text)),
    }
}

/// A manifest that stands in the configuration: its fields are texts, however they are written.
fn manifest(node: &Node, path: &str) -> Result<Value, Refused> {
    let Node::Map(entries) = node else { return Ok(text::value(node.clone())) };
    let field = |(name, node): &(String, Node)| {
        let value = match (name.as_str(), node) {
            ("name" | "contents", Node::Map(_) | Node::List(_)) => {
                return wrong(&format!("{path}.{name}"), "single value");
            }
            ("name" | "contents", Node::Scalar { text, .. }) if !node.is_null() => json!(text),
            _ => text::value(node.clone()),
        };
        Ok((name.clone(), value))
    };
    entries.iter().map(field).collect::<Result<Map<_, _>, _>>().map(Value::Object)
}

/// A certificate and a key in base64; a part that is not there is empty.
fn pair(node: &Node, path: &str, parts: &[&str]) -> Result<Value, Refused> {
    let Node::Map(_) = node else { return wrong(path, "map") };
    let mut out = Map::new();
    for part in parts {
        let place = format!("{path}.{part}");
        if matches!(node.get(part), Some(Node::Map(_) | Node::List(_))) {
            return wrong(&place, "single value");
        }
        let text = node.get(part).and_then(Node::text).unwrap_or_default();
        match STANDARD.decode(text) {
            Ok(bytes) => drop(out.insert((*part).to_owned(), json!(STANDARD.encode(bytes)))),
            // What stands in the place of a key that is not shown.
            Err(_) if !text.is_empty() && text.chars().all(|c| c == '*') => {
                drop(out.insert((*part).to_owned(), json!(text)));
            }
            Err(_) => return bad(&place, "base64"),
        }
    }
    Ok(Value::Object(out))
}

/// Pairs of hexadecimal digits; colons may stand anywhere, and nothing is an address too.
fn mac(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let fits = rest.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs = pairs.iter().map(|pair| String::from_utf8_lossy(pair).to_ascii_lowercase());
    fits.then(|| pairs.collect::<Vec<_>>().join(":"))
}

/// A duration as Go writes it; fractions of a second stay as they were written.
fn duration(text: &str, seconds: i64) -> String {
    if text.contains("ms") || text.contains("us") || text.contains("ns") || text.contains('.') {
        return text.to_owned();
    }
    let sign = if seconds < 0 { "-" } else { "" };
    let all = seconds.unsigned_abs();
    match (all / 3600, all / 60 % 60, all % 60) {
        (0, 0, s) => format!("{sign}{s}s"),
        (0, m, s) => format!("{sign}{m}m{s}s"),
        (h, m, s) => format!("{sign}{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, text: &str) -> Result<Value, &'static str> {
        let node = crate::yaml::first_document(text).unwrap().unwrap();
        document(kind, &node).map_err(|refused| refused.class)
    }

    #[test]
    fn what_has_the_wrong_type_is_told_before_a_bad_value() {
        let bad = "name: a\naddresses: [{address: x}]\n";
        assert_eq!(read("LinkConfig", bad), Err("bad-value"));
        assert_eq!(read("LinkConfig", &format!("{bad}mtu: x\n")), Err("wrong-type"));
        assert_eq!(read("LinkConfig", &format!("{bad}nothing: 1\n")), Err("bad-value"));
    }

    #[test]
    fn words_are_taken_as_the_library_takes_them() {
        let field = |kind: &str, name: &str, text: &str| {
            read(kind, &format!("name: a\n{name}: {text}\n")).map(|value| value[name].clone())
        };
        for (text, wanted) in [("yes", true), ("'On'", true), ("\"n\"", false), ("True", true)] {
            assert_eq!(field("LinkConfig", "up", text), Ok(json!(wanted)), "{text}");
        }
        assert_eq!(field("LinkConfig", "up", "'true'"), Err("wrong-type"));
        assert_eq!(field("BondConfig", "bondMode", "802.3AD"), Ok(json!("802.3ad")));
        assert_eq!(field("BondConfig", "bondMode", "''"), Err("bad-value"));
        assert_eq!(field("BondConfig", "failOverMac", "''"), Ok(json!("none")));
        assert_eq!(field("BondConfig", "failOverMac", "NONE"), Err("bad-value"));
        assert!(field("BondConfig", "arpIpTargets", "['fe80::1%eth0', '']").is_ok());
        for (text, wanted) in [("'0200'", Ok("02:00")), ("''", Ok("")), ("02-00", Err("bad-value"))]
        {
            let mac = field("DummyLinkConfig", "hardwareAddr", text);
            assert_eq!(mac, wanted.map(|text| json!(text)), "{text}");
        }
        let mode = |text: &str| {
            let file = format!("machine: {{files: [{{permissions: {text}}}]}}\n");
            read("v1alpha1", &file).map(|value| value["machine"]["files"][0]["permissions"].clone())
        };
        assert_eq!(mode("0644"), Ok(json!(420)));
        assert_eq!(mode("'0644'"), Err("wrong-type"));
        assert_eq!(mode("-1"), Err("wrong-type"));
    }
}
