//! SDN fabrics: underlays of several protocols with their nodes.
//!
//! Fabrics and nodes are two layers of the SDN configuration, so that apply and rollback see them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Row;
use super::fabricrules::{self, FABRICS, NODES};
use super::sdn::check_lock;
use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::schema::Input;
use crate::sim::state::{Layer, State};

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/cluster/sdn/fabrics", index),
    ("GET", "/cluster/sdn/fabrics/all", all),
    ("GET", "/cluster/sdn/fabrics/fabric", |call| list(call, FABRICS)),
    ("POST", "/cluster/sdn/fabrics/fabric", |call| write(call, "adding fabric", add_fabric)),
    ("GET", "/cluster/sdn/fabrics/fabric/{id}", read_fabric),
    ("PUT", "/cluster/sdn/fabrics/fabric/{id}", |call| {
        write(call, "updating fabric", update_fabric)
    }),
    ("DELETE", "/cluster/sdn/fabrics/fabric/{id}", |call| {
        write(call, "deleting fabric", delete_fabric)
    }),
    ("GET", "/cluster/sdn/fabrics/node", |call| list(call, NODES)),
    ("GET", "/cluster/sdn/fabrics/node/{fabric_id}", |call| list(call, NODES)),
    ("POST", "/cluster/sdn/fabrics/node/{fabric_id}", |call| write(call, "adding node", add_node)),
    ("GET", "/cluster/sdn/fabrics/node/{fabric_id}/{node_id}", read_node),
    ("PUT", "/cluster/sdn/fabrics/node/{fabric_id}/{node_id}", |call| {
        write(call, "updating node", update_node)
    }),
    ("DELETE", "/cluster/sdn/fabrics/node/{fabric_id}/{node_id}", |call| {
        write(call, "deleting node", delete_node)
    }),
];

type Keys = Map<String, Value>;

fn index(_: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(json!([{"subdir": "fabric"}, {"subdir": "node"}, {"subdir": "all"}]))
}

/// SHA-256 of the file that holds fabrics and nodes.
fn digest_of(state: &State) -> String {
    let parts = [FABRICS, NODES].map(|kind| state.sdn.saved.get(kind));
    digest::sha256(serde_json::to_string(&parts).unwrap_or_default().as_bytes())
}

fn rows<'a>(layer: &'a Layer, kind: &str) -> impl Iterator<Item = (&'a String, &'a Keys)> {
    layer.get(kind).into_iter().flatten()
}

/// The row of differences; keys of a new object stand in `pending` only.
pub(super) fn difference(old: Option<&Keys>, new: Option<&Keys>) -> Keys {
    let empty = Keys::new();
    let before = old.unwrap_or(&empty);
    let mut changes = Keys::new();
    for (key, value) in new.unwrap_or(&empty) {
        if before.get(key) != Some(value) {
            changes.insert(key.clone(), value.clone());
        }
    }
    if let Some(new) = new {
        for key in before.keys().filter(|key| !new.contains_key(*key)) {
            changes.insert(key.clone(), json!("deleted"));
        }
    }
    let state = match (old, new) {
        (None, _) => "new",
        (Some(_), None) => "deleted",
        (Some(_), Some(_)) if changes.is_empty() => return before.clone(),
        _ => "changed",
    };
    let mut row = before.clone();
    row.insert("state".to_owned(), json!(state));
    row.insert("pending".to_owned(), Value::Object(changes));
    row
}

fn listing(call: &Call<'_>, kind: &str) -> Value {
    let (pending, running) = (call.flag("pending"), call.flag("running"));
    let wanted = call.get("fabric_id");
    let sdn = &call.state.sdn;
    let get = |layer: &'_ Layer, id: &str| layer.get(kind).and_then(|map| map.get(id)).cloned();
    let mut ids = BTreeSet::new();
    if !running || pending {
        ids.extend(rows(&sdn.saved, kind).map(|(id, _)| id));
    }
    if running || pending {
        ids.extend(rows(&sdn.running, kind).map(|(id, _)| id));
    }
    let digest = digest_of(call.state);
    let mut out = Vec::new();
    for id in ids {
        let (old, new) = (get(&sdn.running, id), get(&sdn.saved, id));
        let Some(shown) = (if running && !pending { &old } else { &new }).as_ref().or(old.as_ref())
        else {
            continue;
        };
        let name = if kind == FABRICS { "id" } else { "fabric_id" };
        let fabric = shown.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let path = format!("/sdn/fabrics/{fabric}");
        let seen = call.may(&path, "SDN.Audit") || call.may(&path, "SDN.Allocate");
        if !seen || wanted.is_some_and(|wanted| wanted != fabric) {
            continue;
        }
        let mut row = if pending { difference(old.as_ref(), new.as_ref()) } else { shown.clone() };
        if !running {
            row.insert("digest".to_owned(), json!(digest));
        }
        out.push(Value::Object(row));
    }
    Value::Array(out)
}

fn list(call: &mut Call<'_>, kind: &str) -> Result<Value, Fail> {
    if let Some(id) = call.get("fabric_id").map(str::to_owned) {
        fabricrules::fabric(call.state, &id)?;
    }
    Ok(listing(call, kind))
}

fn all(call: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(json!({"fabrics": listing(call, FABRICS), "nodes": listing(call, NODES)}))
}

fn with_digest(state: &State, keys: &Keys) -> Value {
    let mut row = keys.clone();
    row.insert("digest".to_owned(), json!(digest_of(state)));
    Value::Object(row)
}

fn read_fabric(call: &mut Call<'_>) -> Result<Value, Fail> {
    let keys = fabricrules::fabric(call.state, &call.text("id"))?;
    Ok(with_digest(call.state, keys))
}

fn read_node(call: &mut Call<'_>) -> Result<Value, Fail> {
    let keys = fabricrules::node(call.state, &call.text("fabric_id"), &call.text("node_id"))?;
    Ok(with_digest(call.state, keys))
}

/// A change of the saved file: lock, digest, then the rules over the whole of it.
fn write(
    call: &mut Call<'_>,
    what: &str,
    change: fn(&mut Call<'_>) -> Result<(), Fail>,
) -> Result<Value, Fail> {
    let wrap = |fail: Fail| fail.wrap(&format!("{what} failed"));
    check_lock(call).map_err(wrap)?;
    if call.get("digest").is_some_and(|digest| digest != digest_of(call.state)) {
        return Err(wrap(Fail::die(
            "detected modified configuration - file changed by other user? Try again.",
        )));
    }
    let before = call.state.sdn.saved.clone();
    let outcome = change(call).and_then(|()| fabricrules::validate(&call.state.sdn.saved));
    if let Err(fail) = outcome {
        call.state.sdn.saved = before;
        return Err(wrap(fail));
    }
    Ok(json!(""))
}

/// The keys of a request that the protocol knows; others are dropped in silence.
fn sent(call: &Call<'_>, known: &[&str]) -> Keys {
    let mut keys = Keys::new();
    for key in known {
        let value = match call.params.get(*key) {
            Some(Input::Text(text)) => match *key {
                "hello_interval" | "csnp_interval" | "persistent_keepalive" => {
                    text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number))
                }
                _ => json!(text),
            },
            Some(Input::List(list)) => {
                list.iter().map(|text| json!(fabricrules::property(text))).collect()
            }
            _ => continue,
        };
        keys.insert((*key).to_owned(), value);
    }
    keys
}

fn insert(call: &mut Call<'_>, kind: &str, id: String, keys: Keys) {
    call.state.sdn.saved.entry(kind.to_owned()).or_default().insert(id, keys);
}

fn add_fabric(call: &mut Call<'_>) -> Result<(), Fail> {
    let (id, protocol) = (call.text("id"), call.text("protocol"));
    if fabricrules::fabric(call.state, &id).is_ok() {
        return Err(Fail::die(format!("fabric '{id}' already exists in config")));
    }
    let mut keys = sent(call, fabricrules::fabric_keys(&protocol));
    if protocol == "ospf" && !keys.contains_key("area") {
        return Err(Fail::die("missing field `area`"));
    }
    for key in ["ip_prefix", "ip6_prefix"] {
        if let Some(net) = keys.get(key).and_then(fabricrules::network) {
            keys.insert(key.to_owned(), json!(net.trunc().to_string()));
        }
    }
    keys.insert("id".to_owned(), json!(id));
    keys.insert("protocol".to_owned(), json!(protocol));
    insert(call, FABRICS, id, keys);
    Ok(())
}

fn merge(call: &Call<'_>, old: &Keys, known: &[&str]) -> Result<Keys, Fail> {
    if old.get("protocol").and_then(Value::as_str) != call.get("protocol") {
        return Err(Fail::die("node has a different protocol than the referenced fabric"));
    }
    let mut keys = old.clone();
    keys.append(&mut sent(call, known));
    for key in call.list("delete") {
        match key.as_str() {
            "interfaces" => drop(keys.insert(key, json!([]))),
            _ => drop(keys.remove(&key)),
        }
    }
    Ok(keys)
}

fn update_fabric(call: &mut Call<'_>) -> Result<(), Fail> {
    let id = call.text("id");
    let old = fabricrules::fabric(call.state, &id)?.clone();
    let keys = merge(call, &old, fabricrules::fabric_keys(&call.text("protocol")))?;
    insert(call, FABRICS, id, keys);
    Ok(())
}

fn delete_fabric(call: &mut Call<'_>) -> Result<(), Fail> {
    let id = call.text("id");
    in_use(call.state, &id)?;
    fabricrules::fabric(call.state, &id)?;
    if let Some(map) = call.state.sdn.saved.get_mut(FABRICS) {
        map.remove(&id);
    }
    if let Some(map) = call.state.sdn.saved.get_mut(NODES) {
        map.retain(|_, keys| keys.get("fabric_id") != Some(&json!(id)));
    }
    Ok(())
}

/// A fabric stays while a controller or a zone is built on it.
fn in_use(state: &State, id: &str) -> Result<(), Fail> {
    for (kind, layer, word) in
        [("evpn", "controllers", "EVPN controller"), ("vxlan", "zones", "VXLAN zone")]
    {
        let user = rows(&state.sdn.saved, layer).find(|(_, keys)| {
            keys.get("type") == Some(&json!(kind)) && keys.get("fabric") == Some(&json!(id))
        });
        if let Some((name, _)) = user {
            let text = format!("this fabric is still used in the {word} \"{name}\"");
            return Err(Fail::perl(text, "API2/Network/SDN/Fabrics/Fabric"));
        }
    }
    Ok(())
}

fn add_node(call: &mut Call<'_>) -> Result<(), Fail> {
    let (fabric_id, node_id) = (call.text("fabric_id"), call.text("node_id"));
    let protocol = call.text("protocol");
    let fabric = fabricrules::fabric(call.state, &fabric_id)?;
    if fabric.get("protocol") != Some(&json!(protocol)) {
        return Err(Fail::die("node has a different protocol than the referenced fabric"));
    }
    if fabricrules::node(call.state, &fabric_id, &node_id).is_ok() {
        return Err(Fail::die(format!(
            "node '{node_id}' already exists in config for fabric {fabric_id}"
        )));
    }
    let mut keys = sent(call, fabricrules::node_keys(&protocol));
    keys.entry("interfaces").or_insert_with(|| json!([]));
    let id = format!("{fabric_id}_{node_id}");
    for (key, value) in [("fabric_id", fabric_id), ("node_id", node_id), ("protocol", protocol)] {
        keys.insert(key.to_owned(), json!(value));
    }
    insert(call, NODES, id, keys);
    Ok(())
}

fn update_node(call: &mut Call<'_>) -> Result<(), Fail> {
    let (fabric_id, node_id) = (call.text("fabric_id"), call.text("node_id"));
    let old = fabricrules::node(call.state, &fabric_id, &node_id)?.clone();
    let keys = merge(call, &old, fabricrules::node_keys(&call.text("protocol")))?;
    insert(call, NODES, format!("{fabric_id}_{node_id}"), keys);
    Ok(())
}

fn delete_node(call: &mut Call<'_>) -> Result<(), Fail> {
    let (fabric_id, node_id) = (call.text("fabric_id"), call.text("node_id"));
    fabricrules::node(call.state, &fabric_id, &node_id)?;
    if let Some(map) = call.state.sdn.saved.get_mut(NODES) {
        map.remove(&format!("{fabric_id}_{node_id}"));
    }
    Ok(())
}
