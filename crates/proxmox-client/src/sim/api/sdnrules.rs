//! Rules of SDN objects: keys of each type and what must fit together.

use serde_json::{Map, Value, json};

use super::sdnview::{Kind, get};
use crate::sim::fail::Fail;
use crate::sim::state::State;

fn keys_of(kind: Kind, name: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match (kind, name) {
        (Kind::Zone, "simple") => (&[], &["dhcp"]),
        (Kind::Zone, "vlan") => (&["bridge"], &["bridge-disable-mac-learning"]),
        (Kind::Zone, "qinq") => (&["bridge", "tag"], &["vlan-protocol"]),
        (Kind::Zone, "vxlan") => (&[], &["peers", "fabric", "vxlan-port"]),
        (Kind::Zone, "evpn") => (
            &["controller", "vrf-vxlan"],
            &[
                "exitnodes",
                "exitnodes-primary",
                "exitnodes-local-routing",
                "advertise-subnets",
                "disable-arp-nd-suppression",
                "rt-import",
                "mac",
                "secondary-controllers",
            ],
        ),
        (Kind::Controller, "evpn") => (
            &["asn"],
            &[
                "peers",
                "fabric",
                "peer-group-name",
                "route-map-in",
                "route-map-out",
                "bgp-mode",
                "nodes",
            ],
        ),
        (Kind::Controller, "bgp") => (
            &["node", "asn"],
            &[
                "peers",
                "ebgp",
                "ebgp-multihop",
                "loopback",
                "bgp-multipath-as-path-relax",
                "bgp-multipath-as-relax",
                "bgp-mode",
                "nodes",
                "peer-group-name",
                "route-map-in",
                "route-map-out",
            ],
        ),
        (Kind::Controller, "isis") => {
            (&["node", "isis-domain", "isis-ifaces", "isis-net"], &["loopback"])
        }
        _ => (&[], &["dp-id"]),
    }
}

const COMMON: [&str; 7] = ["type", "nodes", "mtu", "ipam", "dns", "reversedns", "dnszone"];

pub(super) fn check_type(kind: Kind, keys: &Map<String, Value>, create: bool) -> Result<(), Fail> {
    if !matches!(kind, Kind::Zone | Kind::Controller) {
        return Ok(());
    }
    let name = keys.get("type").and_then(Value::as_str).unwrap_or_default();
    let (required, optional) = keys_of(kind, name);
    if create && let Some(missing) = required.iter().find(|key| !keys.contains_key(**key)) {
        return Err(Fail::die(format!("missing value for required option '{missing}'")));
    }
    for key in keys.keys().map(String::as_str) {
        let common = kind == Kind::Zone && COMMON.contains(&key) || key == "type";
        if !common && !required.contains(&key) && !optional.contains(&key) {
            return Err(Fail::die(format!("unexpected property '{key}'")));
        }
    }
    Ok(())
}

pub(super) fn rules(
    state: &State,
    kind: Kind,
    id: &str,
    keys: &Map<String, Value>,
) -> Result<(), Fail> {
    let text = |key: &str| keys.get(key).and_then(Value::as_str).unwrap_or_default();
    let rows = |layer: &str| {
        state
            .sdn
            .saved
            .get(layer)
            .into_iter()
            .flatten()
            .filter(|(other, _)| *other != id)
            .collect::<Vec<_>>()
    };
    let one_of = || {
        let both = keys.contains_key("peers") == keys.contains_key("fabric");
        let line = "must have exactly one of peers / fabric defined".to_owned();
        if both {
            return Err(Fail::params(
                [("peers".to_owned(), line.clone()), ("fabric".to_owned(), line)].into(),
            ));
        }
        Ok(())
    };
    match (kind, text("type")) {
        (Kind::Zone, "vxlan") => one_of(),
        (Kind::Zone, "evpn") => {
            let name = text("controller");
            let Some(controller) = get(&state.sdn.saved, Kind::Controller, name) else {
                return Err(Fail::perl(
                    format!("controller {name} don't exist"),
                    "Network/SDN/Zones/EvpnPlugin",
                ));
            };
            if controller.get("type") != Some(&json!("evpn")) {
                return Err(Fail::perl(
                    format!("{name} is not a evpn controller type"),
                    "Network/SDN/Zones/EvpnPlugin",
                ));
            }
            let vrf = keys.get("vrf-vxlan");
            if let Some((other, _)) = rows("zones")
                .into_iter()
                .find(|(_, other)| vrf.is_some() && other.get("vrf-vxlan") == vrf)
            {
                let number = vrf.map(Value::to_string).unwrap_or_default();
                return Err(Fail::perl(
                    format!("vrf-vxlan {number} is already declared in {other}"),
                    "Network/SDN/Zones/EvpnPlugin",
                ));
            }
            Ok(())
        }
        (Kind::Controller, "evpn") => {
            if rows("controllers")
                .iter()
                .any(|(_, other)| other.get("type") == Some(&json!("evpn")))
            {
                return Err(Fail::perl(
                    "only 1 global evpn controller can be defined",
                    "Network/SDN/Controllers/EvpnPlugin",
                ));
            }
            one_of()
        }
        (Kind::Vnet, _) => vnet_rules(state, id, keys),
        (Kind::Subnet, _) => subnet_rules(state, id, keys),
        _ => Ok(()),
    }
}

/// Saved VNets but one.
fn others<'a>(
    state: &'a State,
    id: &'a str,
) -> impl Iterator<Item = (&'a String, &'a Map<String, Value>)> {
    state.sdn.saved.get("vnets").into_iter().flatten().filter(move |(other, _)| *other != id)
}

fn vnet_rules(state: &State, id: &str, keys: &Map<String, Value>) -> Result<(), Fail> {
    let zone = keys.get("zone").and_then(Value::as_str).unwrap_or_default();
    let tag = keys.get("tag");
    let Some(found) = get(&state.sdn.saved, Kind::Zone, zone) else {
        return Err(Fail::perl("cannot lookup undefined type!", "SectionConfig"));
    };
    let aware = keys.get("vlanaware") == Some(&json!(1));
    let kind = found.get("type").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "simple" if tag.is_some() => {
            Err(Fail::param("tag", "vlan tag is not allowed on simple zone"))
        }
        "vlan" if tag.is_none() => Err(Fail::param("tag", "missing vlan tag")),
        "vlan" if tag.and_then(Value::as_u64).is_some_and(|tag| tag > 4096) => {
            Err(Fail::param("tag", "vlan tag max value is 4096"))
        }
        "vlan" | "qinq" => {
            let Some((other, _)) = others(state, id).find(|(_, row)| {
                row.get("zone").and_then(Value::as_str) == Some(zone) && row.get("tag") == tag
            }) else {
                return Ok(());
            };
            Err(Fail::param(
                "tag",
                match tag {
                    Some(tag) if kind == "vlan" => {
                        format!("tag {tag} already exist in vnet {other}")
                    }
                    Some(tag) => format!("tag {tag} already exist in zone {zone} vnet {other}"),
                    None => format!("tag-less vnet already exists in zone {zone} vnet {other}"),
                },
            ))
        }
        "evpn" if aware => {
            Err(Fail::param("vlan-aware", "vlan-aware option can't be enabled with evpn"))
        }
        "vxlan" | "evpn" => {
            let Some(tag) = tag else { return Err(Fail::param("tag", "missing vxlan tag")) };
            let overlay = |zone: &str| {
                get(&state.sdn.saved, Kind::Zone, zone)
                    .and_then(|zone| zone.get("type")?.as_str())
                    .is_some_and(|kind| matches!(kind, "vxlan" | "evpn"))
            };
            for (other, row) in others(state, id) {
                let own = row.get("zone").and_then(Value::as_str).unwrap_or_default();
                if row.get("tag") == Some(tag) && overlay(own) {
                    return Err(Fail::param(
                        "tag",
                        format!("vxlan tag {tag} already exist in vnet {other} in zone {own} "),
                    ));
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn subnet_rules(state: &State, id: &str, keys: &Map<String, Value>) -> Result<(), Fail> {
    let vnet = keys.get("vnet").and_then(Value::as_str).unwrap_or_default();
    let Some(found) = get(&state.sdn.saved, Kind::Vnet, vnet) else {
        return Err(Fail::die(Kind::Vnet.absent(vnet)));
    };
    if found.get("vlanaware") == Some(&json!(1)) {
        return Err(Fail::param("vnet", "you can't add a subnet on a vlanaware vnet"));
    }
    let cidr = id
        .split_once('-')
        .map(|(_, rest)| rest)
        .and_then(|rest| rest.rsplit_once('-'))
        .map(|(net, len)| format!("{net}/{len}"))
        .unwrap_or_default();
    let Some(gateway) = keys.get("gateway").and_then(Value::as_str) else { return Ok(()) };
    let net = cidr.parse::<ipnet::IpNet>().ok();
    let inside = match (net, gateway.parse::<std::net::IpAddr>()) {
        (Some(net), Ok(addr)) => net.contains(&addr) || net.prefix_len() == net.max_prefix_len(),
        _ => true,
    };
    if inside {
        Ok(())
    } else {
        Err(Fail::param("gateway", format!("{gateway} is not in subnet {cidr}")))
    }
}
