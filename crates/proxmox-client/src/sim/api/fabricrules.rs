//! What must fit together in the fabrics of SDN.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde_json::{Map, Value};

use crate::sim::fail::Fail;
use crate::sim::state::{Layer, State};

/// Layer of fabrics, by their id.
pub(super) const FABRICS: &str = "fabrics";
/// Layer of nodes, by `FABRIC_NODE`.
pub(super) const NODES: &str = "fabric-nodes";

type Keys = Map<String, Value>;

/// Keys of a fabric beside its id and protocol.
pub(super) fn fabric_keys(protocol: &str) -> &'static [&'static str] {
    match protocol {
        "openfabric" => {
            &["ip_prefix", "ip6_prefix", "hello_interval", "csnp_interval", "route_filter"]
        }
        "ospf" => &["ip_prefix", "ip6_prefix", "area", "redistribute", "route_filter"],
        "wireguard" => &["ip_prefix", "ip6_prefix", "persistent_keepalive"],
        _ => &["ip_prefix", "ip6_prefix", "redistribute", "route_filter"],
    }
}

/// Keys of a node beside its ids and protocol.
pub(super) fn node_keys(protocol: &str) -> &'static [&'static str] {
    match protocol {
        "wireguard" => {
            &["ip", "ip6", "interfaces", "allowed_ips", "endpoint", "peers", "public_key", "role"]
        }
        _ => &["ip", "ip6", "interfaces"],
    }
}

/// A property string as the server prints it: the name first, then the others as they are declared.
pub(super) fn property(text: &str) -> String {
    let mut parts: Vec<&str> = text.split(',').filter(|part| !part.is_empty()).collect();
    let rank = |part: &str| match part.split('=').next().unwrap_or_default() {
        "name" | "source" => 0,
        "hello_multiplier" => 1,
        "ip" => 2,
        "ip6" => 3,
        _ => 4,
    };
    parts.sort_by_key(|part| rank(part));
    parts.join(",")
}

pub(super) fn network(value: &Value) -> Option<IpNet> {
    value.as_str()?.parse().ok()
}

/// A saved fabric.
pub(super) fn fabric<'a>(state: &'a State, id: &str) -> Result<&'a Keys, Fail> {
    let found = state.sdn.saved.get(FABRICS).and_then(|map| map.get(id));
    found.ok_or_else(|| Fail::die(format!("fabric '{id}' does not exist in configuration")))
}

/// A saved node of a fabric.
pub(super) fn node<'a>(state: &'a State, fabric_id: &str, id: &str) -> Result<&'a Keys, Fail> {
    fabric(state, fabric_id)?;
    let found = state.sdn.saved.get(NODES).and_then(|map| map.get(&format!("{fabric_id}_{id}")));
    found.ok_or_else(|| Fail::die(format!("node '{id}' does not exist in fabric '{fabric_id}'")))
}

fn text<'a>(keys: &'a Keys, key: &str) -> &'a str {
    keys.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// An area as an address: `1` is `0.0.0.1`.
fn area(text: &str) -> Option<Ipv4Addr> {
    text.parse::<u32>().map(Ipv4Addr::from).ok().or_else(|| text.parse().ok())
}

/// Checks fabrics and nodes as a whole.
pub(super) fn validate(saved: &Layer) -> Result<(), Fail> {
    let empty = BTreeMap::new();
    let fabrics = saved.get(FABRICS).unwrap_or(&empty);
    let nodes = saved.get(NODES).unwrap_or(&empty);
    overlaps(fabrics)?;
    let (mut areas, mut interfaces) = (BTreeSet::new(), BTreeSet::new());
    for (id, fabric) in fabrics {
        if text(fabric, "protocol") == "ospf" {
            let own = text(fabric, "area");
            let Some(addr) = area(own) else {
                return Err(Fail::die(format!("invalid OSPF area '{own}'")));
            };
            if !areas.insert(addr) {
                return Err(Fail::die("duplicate OSPF area"));
            }
        }
        let own: Vec<_> =
            nodes.iter().filter(|(_, node)| text(node, "fabric_id") == id.as_str()).collect();
        for (_, node) in &own {
            let list = node.get("interfaces").and_then(Value::as_array);
            for entry in list.into_iter().flatten().filter_map(Value::as_str) {
                let name = entry.split(',').find_map(|part| part.strip_prefix("name="));
                if !interfaces.insert((text(node, "node_id"), name.unwrap_or(entry))) {
                    return Err(Fail::die("interface is already in use by another fabric"));
                }
            }
        }
        let mut addresses = BTreeSet::new();
        for (section, node) in own {
            check_node(id, fabric, section, node, &mut addresses)?;
        }
        check_fabric(id, fabric)?;
    }
    Ok(())
}

fn overlaps(fabrics: &BTreeMap<String, Keys>) -> Result<(), Fail> {
    let rows: Vec<_> = fabrics.iter().collect();
    for (index, (one, first)) in rows.iter().enumerate() {
        for (two, second) in rows.iter().skip(index + 1) {
            for (key, start, word) in [("ip_prefix", "IP", "IPv4"), ("ip6_prefix", "IPv6", "IPv6")]
            {
                let nets = (first.get(key).and_then(network), second.get(key).and_then(network));
                let (Some(a), Some(b)) = nets else { continue };
                if a.contains(&b.network()) || b.contains(&a.network()) {
                    return Err(Fail::die(format!(
                        "{start} prefix {b} in fabric '{two}' overlaps with {word} prefix {a} in fabric '{one}'"
                    )));
                }
            }
        }
    }
    Ok(())
}

fn check_node(
    id: &str,
    fabric: &Keys,
    section: &str,
    node: &Keys,
    addresses: &mut BTreeSet<IpAddr>,
) -> Result<(), Fail> {
    let mut own = Vec::new();
    for (prefix_key, ip_key) in [("ip_prefix", "ip"), ("ip6_prefix", "ip6")] {
        let prefix = fabric.get(prefix_key).and_then(network);
        let ip = node.get(ip_key).and_then(|ip| ip.as_str()?.parse::<IpAddr>().ok());
        match (prefix, ip) {
            (None, Some(ip)) => {
                return Err(Fail::die(format!(
                    "fabric '{id}' does not have an IP prefix configured for the node IP {ip}"
                )));
            }
            (Some(prefix), None) => {
                return Err(Fail::die(format!(
                    "node '{section}' does not have an IP configured for this fabric prefix {prefix}"
                )));
            }
            (Some(prefix), Some(ip)) if !prefix.contains(&ip) => {
                return Err(Fail::die(format!(
                    "node IP {ip} is outside the IP prefix {prefix} of the fabric"
                )));
            }
            _ => own.extend(ip),
        }
    }
    if own.iter().any(|ip| !addresses.insert(*ip)) {
        return Err(Fail::die(format!("fabric {id} contains nodes with duplicated IPs")));
    }
    let protocol = text(fabric, "protocol");
    if protocol == "ospf" && node.contains_key("ip6") {
        return Err(Fail::die("IPv6 is currently not supported for protocol ospf"));
    }
    if matches!(protocol, "ospf" | "openfabric") && own.is_empty() {
        return Err(Fail::die(format!("node '{section}' does not have an IP configured")));
    }
    Ok(())
}

fn check_fabric(id: &str, fabric: &Keys) -> Result<(), Fail> {
    let has = |key: &str| fabric.contains_key(key);
    match text(fabric, "protocol") {
        "ospf" if has("ip6_prefix") => {
            Err(Fail::die("IPv6 is currently not supported for protocol ospf"))
        }
        "ospf" if !has("ip_prefix") => {
            Err(Fail::die(format!("fabric '{id}' does not have an IP prefix configured")))
        }
        "openfabric" if !has("ip_prefix") && !has("ip6_prefix") => {
            Err(Fail::die(format!("fabric '{id}' does not have an IP prefix configured")))
        }
        _ => Ok(()),
    }
}
