//! What a node sees of the networks: bridges with who is on them, and routes.

use serde_json::{Value, json};

use super::Row;
use crate::sim::drive;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/nodes/{node}/sdn/zones/{zone}/bridges", bridges),
    ("GET", "/nodes/{node}/sdn/zones/{zone}/ip-vrf", routes),
    ("GET", "/nodes/{node}/sdn/vnets/{vnet}", index),
    ("GET", "/nodes/{node}/sdn/vnets/{vnet}/mac-vrf", neighbours),
];

/// A bridge with the cards of running machines.
fn bridge(call: &Call<'_>, name: &str) -> Value {
    let here = call.state.vms.iter().filter(|(_, vm)| vm.node == call.node && vm.running.is_some());
    let ports = here.flat_map(|(vmid, vm)| {
        let cards = vm.conf.iter().filter(|(key, _)| drive::is_net(key)).filter(|(_, text)| {
            drive::parse(&call.inner.schema, "net0", text)
                .is_some_and(|net| net.get("bridge").is_some_and(|bridge| bridge == name))
        });
        cards.map(move |(key, _)| {
            let number = key.trim_start_matches("net");
            json!({"name": format!("tap{vmid}i{number}"), "vmid": vmid, "index": key})
        })
    });
    json!({"name": name, "vlan_filtering": "0", "ports": ports.collect::<Vec<_>>()})
}

fn bridges(call: &mut Call<'_>) -> Result<Value, Fail> {
    let zone = call.text("zone");
    let Some(node) = call.state.nodes.get(&call.node) else { return Ok(json!([])) };
    if zone == "localnetwork" {
        return Ok(node.bridges.keys().map(|name| bridge(call, name)).collect());
    }
    let own = node.vnets.iter().filter(|(_, (of, _))| *of == zone);
    Ok(own.map(|(name, _)| bridge(call, name)).collect())
}

fn zone_is_evpn(call: &Call<'_>, zone: &str) -> bool {
    let keys = call.state.sdn.running.get("zones").and_then(|rows| rows.get(zone));
    keys.and_then(|keys| keys.get("type")) == Some(&json!("evpn"))
}

/// Routes of a zone: its own subnets.
fn routes(call: &mut Call<'_>) -> Result<Value, Fail> {
    let zone = call.text("zone");
    if !zone_is_evpn(call, &zone) {
        return Err(Fail::die(format!("zone '{zone}' is not an EVPN zone")));
    }
    let prefix = format!("{zone}-");
    let subnets = call.state.sdn.running.get("subnets").into_iter().flatten();
    let nets = subnets.filter_map(|(id, keys)| {
        let (address, length) = id.strip_prefix(&prefix)?.rsplit_once('-')?;
        let vnet = keys.get("vnet").and_then(Value::as_str).unwrap_or_default();
        Some(json!({"ip": format!("{address}/{length}"), "metric": 0, "protocol": "connected", "nexthops": [vnet]}))
    });
    Ok(nets.collect())
}

fn index(_: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(json!([{"subdir": "mac-vrf"}]))
}

/// Neighbours of other nodes, of which none is simulated.
fn neighbours(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vnet = call.text("vnet");
    let keys = call.state.sdn.running.get("vnets").and_then(|rows| rows.get(&vnet));
    let zone = keys.and_then(|keys| keys.get("zone")?.as_str());
    match zone {
        Some(zone) if zone_is_evpn(call, zone) => Ok(json!([])),
        Some(_) => Err(Fail::die(format!("vnet '{vnet}' is not in an EVPN zone"))),
        None => Err(Fail::die(format!("sdn '{vnet}' does not exist"))),
    }
}
