//! Pools.

use serde_json::{Map, Value, json};

use super::Row;
use super::cluster::vm_resource;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::state::Pool;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/pools", list),
    ("POST", "/pools", create),
    ("PUT", "/pools", update),
    ("DELETE", "/pools", delete),
    ("GET", "/pools/{poolid}", read),
    ("PUT", "/pools/{poolid}", update),
    ("DELETE", "/pools/{poolid}", delete),
];

fn absent(id: &str) -> String {
    format!("pool '{id}' does not exist")
}

fn describe(call: &Call<'_>, id: &str, members: bool) -> Result<Map<String, Value>, Fail> {
    let pool = call.state.pools.get(id).ok_or_else(|| Fail::die(absent(id)))?;
    let mut map = Map::new();
    map.insert("poolid".to_owned(), json!(id));
    if let Some(comment) = pool.comment.as_ref().filter(|comment| !comment.is_empty()) {
        map.insert("comment".to_owned(), json!(comment));
    }
    if members {
        let kind = call.get("type");
        let mut rows = Vec::new();
        if kind.is_none_or(|kind| kind == "qemu") {
            let vms = pool.vms.iter().filter(|vmid| call.state.vms.contains_key(vmid));
            rows.extend(vms.map(|vmid| vm_resource(call, *vmid)));
        }
        if kind.is_none_or(|kind| kind == "storage") {
            for node in call.state.nodes.keys() {
                let known = pool.storages.iter().filter(|id| call.state.storages.contains_key(*id));
                rows.extend(known.map(|id| json!({"type": "storage", "id": format!("storage/{node}/{id}"), "storage": id, "node": node, "status": "available"})));
            }
        }
        map.insert("members".to_owned(), Value::Array(rows));
    }
    Ok(map)
}

fn list(call: &mut Call<'_>) -> Result<Value, Fail> {
    if let Some(id) = call.get("poolid").map(str::to_owned) {
        call.require(&format!("/pool/{id}"), "Pool.Audit")?;
        return Ok(json!([describe(call, &id, true)?]));
    }
    let mut rows = Vec::new();
    for id in call.state.pools.keys().filter(|id| call.may(&format!("/pool/{id}"), "Pool.Audit")) {
        rows.push(Value::Object(describe(call, id, false)?));
    }
    Ok(Value::Array(rows))
}

fn read(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("poolid");
    let mut map = describe(call, &id, true)?;
    map.remove("poolid");
    Ok(Value::Object(map))
}

fn create(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("poolid");
    let fail = |text: &str| Fail::die(format!("create pool failed: {text}"));
    if !id.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(fail("pool name must start with a letter"));
    }
    if call.state.pools.contains_key(&id) {
        return Err(fail(&format!("pool '{id}' already exists")));
    }
    if let Some((parent, _)) = id.rsplit_once('/')
        && !call.state.pools.contains_key(parent)
    {
        return Err(fail(&format!("parent '{parent}' of pool '{id}' does not exist")));
    }
    let comment = call.get("comment").map(str::to_owned);
    call.state.pools.insert(id, Pool { comment, ..Pool::default() });
    Ok(Value::Null)
}

fn update(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("poolid");
    let fail = |text: String| Fail::die(format!("update pools failed: {text}"));
    let mut pool = call.state.pools.get(&id).cloned().ok_or_else(|| fail(absent(&id)))?;
    let (remove, moving) = (call.flag("delete"), call.flag("allow-move"));
    let mut left = Vec::new();
    for vmid in call.list("vms").iter().filter_map(|text| text.parse::<u32>().ok()) {
        call.require(&format!("/vms/{vmid}"), "VM.Allocate")?;
        if remove {
            if !pool.vms.remove(&vmid) {
                return Err(fail(format!("VM {vmid} is not a pool member")));
            }
            continue;
        }
        if pool.vms.contains(&vmid) {
            return Err(fail(format!("VM {vmid} is already a pool member")));
        }
        let owner = call
            .state
            .pools
            .iter()
            .find(|(_, pool)| pool.vms.contains(&vmid))
            .map(|(name, _)| name.clone());
        if let Some(owner) = owner {
            if !moving {
                return Err(fail(format!(
                    "VM {vmid} belongs already to pool '{owner}' and 'allow-move' is not set"
                )));
            }
            left.push((owner, vmid));
        }
        pool.vms.insert(vmid);
    }
    for storage in call.list("storage") {
        call.require(&format!("/storage/{storage}"), "Datastore.Allocate")?;
        if remove {
            if !pool.storages.remove(&storage) {
                return Err(fail(format!("Storage '{storage}' is not a pool member")));
            }
        } else if !pool.storages.insert(storage.clone()) {
            return Err(fail(format!("Storage '{storage}' is already a pool member")));
        }
    }
    if let Some(comment) = call.get("comment") {
        pool.comment = Some(comment.to_owned());
    }
    for (owner, vmid) in left {
        if let Some(owner) = call.state.pools.get_mut(&owner) {
            owner.vms.remove(&vmid);
        }
    }
    call.state.pools.insert(id, pool);
    Ok(Value::Null)
}

fn delete(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("poolid");
    let fail = |text: String| Fail::die(format!("delete pool failed: {text}"));
    let pool = call.state.pools.get(&id).ok_or_else(|| fail(absent(&id)))?;
    let child = format!("{id}/");
    let inside = call
        .state
        .pools
        .keys()
        .find(|name| name.starts_with(&child))
        .map(|name| format!("pool '{name}'"));
    let machine = pool
        .vms
        .iter()
        .find(|vmid| call.state.vms.contains_key(vmid))
        .map(|vmid| format!("VM {vmid}"));
    let storage = pool
        .storages
        .iter()
        .find(|id| call.state.storages.contains_key(*id))
        .map(|id| format!("storage '{id}'"));
    if let Some(what) = inside.or(machine).or(storage) {
        return Err(fail(format!("pool '{id}' is not empty (contains {what})")));
    }
    call.state.pools.remove(&id);
    Ok(Value::Null)
}
