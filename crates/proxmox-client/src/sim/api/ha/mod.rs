//! High availability: resources, rules, groups, state.

mod groups;
mod resources;
mod rules;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub(super) use resources::{move_later, purge, register};

use super::Row;
use crate::sim::builder::Dialect;
use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;

const OWN: &[Row] = &[
    ("GET", "/cluster/ha", index),
    ("GET", "/cluster/ha/status", status_index),
    ("GET", "/cluster/ha/status/current", status),
    ("GET", "/cluster/ha/status/manager_status", manager),
    ("POST", "/cluster/ha/status/arm-ha", |call| arm(call, false)),
    ("POST", "/cluster/ha/status/disarm-ha", |call| arm(call, true)),
];

/// The handlers.
pub(super) fn routes() -> impl Iterator<Item = &'static Row> {
    [OWN, resources::ROUTES, rules::ROUTES, groups::ROUTES].into_iter().flatten()
}

/// Digest of a file, as far as it is simulated.
fn digest_of(part: &impl serde::Serialize) -> String {
    digest::sha1(serde_json::to_string(part).unwrap_or_default().as_bytes())
}

/// A write that names another digest is refused.
fn fresh(call: &Call<'_>, digest: &str) -> Result<(), Fail> {
    match call.get("digest") {
        Some(wanted) if wanted != digest => Err(Fail::die(
            "detected modified configuration - file changed by other user? Try again.",
        )),
        _ => Ok(()),
    }
}

fn old(call: &Call<'_>) -> bool {
    call.inner.config.dialect == Dialect::V8_4
}

/// Keys of a resource in a request.
fn keys(call: &Call<'_>, control: &[&str]) -> BTreeMap<String, String> {
    let texts = call.params.iter().filter(|(key, _)| !control.contains(&key.as_str()));
    texts.filter_map(|(key, value)| Some((key.clone(), value.as_text()?.to_owned()))).collect()
}

fn typed(keys: &BTreeMap<String, String>, numbers: &[&str]) -> Map<String, Value> {
    let value = |key: &String, text: &String| {
        let number = text.parse::<i64>().ok().filter(|_| numbers.contains(&key.as_str()));
        number.map_or_else(|| json!(text), |number| json!(number))
    };
    keys.iter().map(|(key, text)| (key.clone(), value(key, text))).collect()
}

fn index(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut names = vec!["status", "resources", "groups"];
    if !old(call) {
        names.push("rules");
    }
    Ok(names.into_iter().map(|name| json!({"id": name})).collect())
}

fn status_index(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut names = vec!["current", "manager_status"];
    if !old(call) {
        names.extend(["arm-ha", "disarm-ha"]);
    }
    Ok(names.into_iter().map(|name| json!({"name": name})).collect())
}

fn arm(call: &mut Call<'_>, off: bool) -> Result<Value, Fail> {
    call.state.ha.disarmed = off;
    Ok(Value::Null)
}

fn status(call: &mut Call<'_>) -> Result<Value, Fail> {
    let quorum = if call.state.quorate() { "OK" } else { "No quorum on node!" };
    let mut rows = vec![
        json!({"id": "quorum", "type": "quorum", "node": call.node, "status": quorum, "quorate": u8::from(call.state.quorate())}),
    ];
    let ha = &call.state.ha;
    if ha.resources.is_empty() {
        return Ok(Value::Array(rows));
    }
    let now = call.now();
    rows.push(json!({"id": "master", "type": "master", "node": call.node, "timestamp": now, "status": format!("{} (active, simulated)", call.node)}));
    for (name, node) in &call.state.nodes {
        let state = if node.online { "active" } else { "old timestamp - dead?" };
        rows.push(json!({"id": format!("lrm:{name}"), "type": "lrm", "node": name, "timestamp": now, "status": format!("{name} ({state}, simulated)")}));
    }
    if call.inner.config.dialect >= Dialect::V9_1 {
        let armed = if ha.disarmed { "disarmed" } else { "armed" };
        rows.push(json!({"id": "fencing", "type": "fencing", "node": call.node, "status": armed, "armed-state": armed}));
    }
    for (sid, found) in &ha.resources {
        // Services appear when the manager has seen them.
        let Some(service) = &found.service else { continue };
        let mut map = typed(&found.keys, &resources::NUMBERS);
        for (key, default) in [("max_restart", 1), ("max_relocate", 1)] {
            map.entry(key).or_insert_with(|| json!(default));
        }
        map.insert("id".to_owned(), json!(format!("service:{sid}")));
        map.insert("type".to_owned(), json!("service"));
        map.insert("sid".to_owned(), json!(sid));
        map.insert("node".to_owned(), json!(service.node));
        map.insert("state".to_owned(), json!(service.state));
        map.insert("crm_state".to_owned(), json!(service.state));
        map.insert("request_state".to_owned(), json!(found.wanted()));
        map.insert(
            "status".to_owned(),
            json!(format!("{sid} ({}, {})", service.node, service.state)),
        );
        rows.push(Value::Object(map));
    }
    Ok(Value::Array(rows))
}

fn manager(call: &mut Call<'_>) -> Result<Value, Fail> {
    let nodes: Map<String, Value> = call
        .state
        .nodes
        .iter()
        .map(|(name, node)| (name.clone(), json!(if node.online { "online" } else { "unknown" })))
        .collect();
    let services: Map<String, Value> = call
        .state
        .ha
        .resources
        .iter()
        .filter_map(|(sid, found)| {
            let service = found.service.as_ref()?;
            Some((sid.clone(), json!({"node": service.node, "state": service.state, "running": 1})))
        })
        .collect();
    Ok(json!({
        "manager_status": {"master_node": call.node, "node_status": nodes, "service_status": services, "timestamp": call.now()},
        "quorum": {"node": call.node, "quorate": u8::from(call.state.quorate()).to_string()}, "lrm_status": {},
    }))
}
