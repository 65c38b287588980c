//! What a node shows of the fabrics that are applied: interfaces, neighbours, routes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Row;
use super::fabricrules::NODES;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/nodes/{node}/sdn/fabrics/{fabric}", index),
    ("GET", "/nodes/{node}/sdn/fabrics/{fabric}/interfaces", interfaces),
    ("GET", "/nodes/{node}/sdn/fabrics/{fabric}/neighbors", neighbors),
    ("GET", "/nodes/{node}/sdn/fabrics/{fabric}/routes", routes),
];

type Keys = Map<String, Value>;

fn index(_: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(json!([{"subdir": "interfaces"}, {"subdir": "neighbors"}, {"subdir": "routes"}]))
}

fn text<'a>(keys: &'a Keys, key: &str) -> Option<&'a str> {
    keys.get(key).and_then(Value::as_str)
}

/// This node in the fabric, where it is applied.
fn own<'a>(call: &'a Call<'_>) -> Option<&'a Keys> {
    let id = format!("{}_{}", call.text("fabric"), call.node);
    call.state.sdn.running.get(NODES)?.get(&id)
}

/// The other nodes of the fabric that are up; none where this one is not in it or has no interface
/// to reach them.
fn others<'a>(call: &'a Call<'_>) -> Vec<&'a Keys> {
    let links = |keys: &Keys| {
        keys.get("interfaces").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
    };
    if !own(call).is_some_and(links) {
        return Vec::new();
    }
    let fabric = call.text("fabric");
    let rows = call.state.sdn.running.get(NODES).into_iter().flatten().map(|(_, keys)| keys);
    let there = rows.filter(|keys| {
        let name = text(keys, "node_id").unwrap_or_default();
        text(keys, "fabric_id") == Some(fabric.as_str())
            && name != call.node
            && links(keys)
            && call.state.nodes.get(name).is_some_and(|node| node.online)
    });
    there.collect()
}

fn interfaces(call: &mut Call<'_>) -> Result<Value, Fail> {
    let list = own(call).and_then(|keys| keys.get("interfaces")?.as_array());
    let parsed = list.into_iter().flatten().filter_map(Value::as_str).filter_map(|text| {
        let parts: BTreeMap<&str, &str> =
            text.split(',').filter_map(|part| part.split_once('=')).collect();
        parts.get("name").map(|name| (*name).to_owned())
    });
    Ok(parsed.map(|name| json!({"name": name, "type": "Point-To-Point", "state": "up"})).collect())
}

fn neighbors(call: &mut Call<'_>) -> Result<Value, Fail> {
    let now = call.now();
    let rows = others(call).into_iter().map(|keys| {
        let name = text(keys, "node_id").unwrap_or_default();
        let since = call.state.nodes.get(name).map_or(now, |node| node.started);
        let up = now.saturating_sub(since);
        // OSPF knows its neighbours by their address, OpenFabric by their name
        let (neighbor, status) = match text(keys, "protocol") {
            Some("ospf") => (text(keys, "ip").unwrap_or(name), "Full/-"),
            _ => (name, "Up"),
        };
        let uptime = format!("{}h{}m{}s", up / 3600, up / 60 % 60, up % 60);
        json!({"neighbor": neighbor, "status": status, "uptime": uptime})
    });
    Ok(rows.collect())
}

fn routes(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut rows = Vec::new();
    for keys in others(call) {
        for (key, length) in [("ip", 32), ("ip6", 128)] {
            if let Some(address) = text(keys, key) {
                rows.push(json!({"route": format!("{address}/{length}"), "via": [address]}));
            }
        }
    }
    Ok(Value::Array(rows))
}
