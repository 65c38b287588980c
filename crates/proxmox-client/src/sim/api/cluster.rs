//! The cluster: status, resources, ids, options.

use serde_json::{Map, Value, json};

use super::Row;
use super::storage::node_row;
use crate::sim::builder::Dialect;
use crate::sim::drive;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/cluster/status", status),
    ("GET", "/cluster/resources", resources),
    ("GET", "/cluster/nextid", nextid),
    ("GET", "/cluster/options", options),
    ("PUT", "/cluster/options", set_options),
    ("GET", "/cluster/log", log),
    ("GET", "/cluster/config/nodes", members),
    ("GET", "/cluster/config/join", join),
];

fn status(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut rows = Vec::new();
    if let Some(name) = &call.state.cluster_name {
        let quorate = u8::from(call.state.quorate());
        rows.push(json!({"type": "cluster", "id": "cluster", "name": name, "nodes": call.state.nodes.len(), "quorate": quorate, "version": call.state.nodes.len()}));
    }
    for (name, node) in &call.state.nodes {
        let clustered = call.state.cluster_name.is_some();
        rows.push(json!({
            "type": "node", "id": format!("node/{name}"), "name": name, "level": "",
            "nodeid": if clustered { node.number } else { 0 }, "ip": format!("10.99.0.{}", node.number),
            "online": u8::from(node.online), "local": u8::from(*name == call.node),
        }));
    }
    Ok(Value::Array(rows))
}

/// Whether the broadcast of states has not yet seen a machine.
pub(super) fn unseen(call: &Call<'_>, created_ms: u64) -> bool {
    let lag =
        u64::try_from(call.inner.clock.work(call.inner.config.stats_lag).as_millis()).unwrap_or(0);
    call.inner.clock.now_ms() < created_ms.saturating_add(lag)
}

/// The row of a machine in the list of resources.
pub(super) fn vm_resource(call: &Call<'_>, vmid: u32) -> Value {
    let Some(vm) = call.state.vms.get(&vmid) else { return Value::Null };
    let mut map = Map::new();
    map.insert("id".to_owned(), json!(format!("qemu/{vmid}")));
    map.insert("type".to_owned(), json!("qemu"));
    map.insert("vmid".to_owned(), json!(vmid));
    map.insert("node".to_owned(), json!(vm.node));
    if unseen(call, vm.created_ms) {
        map.insert("status".to_owned(), json!("unknown"));
        return Value::Object(map);
    }
    let running = vm.running.as_ref();
    let online = call.state.nodes.get(&vm.node).is_some_and(|node| node.online);
    let status = match running {
        _ if !online => "unknown",
        Some(_) => "running",
        None => "stopped",
    };
    map.insert("status".to_owned(), json!(status));
    map.insert(
        "name".to_owned(),
        json!(vm.conf.get("name").cloned().unwrap_or_else(|| format!("VM {vmid}"))),
    );
    if let Some(tags) = vm.conf.get("tags").filter(|tags| !tags.trim().is_empty()) {
        map.insert("tags".to_owned(), json!(tags));
    }
    if let Some(lock) = vm.conf.get("lock") {
        map.insert("lock".to_owned(), json!(lock));
    }
    if let Some(pool) = call.state.pools.iter().find(|(_, pool)| pool.vms.contains(&vmid)) {
        map.insert("pool".to_owned(), json!(pool.0));
    }
    let memory = vm.memory() << 20;
    map.insert(
        "template".to_owned(),
        json!(u8::from(vm.conf.get("template").is_some_and(|flag| flag == "1"))),
    );
    map.insert("maxcpu".to_owned(), json!(vm.cpus()));
    map.insert("maxmem".to_owned(), json!(memory));
    map.insert("maxdisk".to_owned(), json!(drive::boot_disk(&vm.conf).map_or(0, drive::size_of)));
    map.insert(
        "uptime".to_owned(),
        json!(running.map_or(0, |running| call.now().saturating_sub(running.since))),
    );
    let used = if running.is_some() { memory / 2 } else { 0 };
    map.insert("cpu".to_owned(), json!(0));
    map.insert("mem".to_owned(), json!(used));
    map.insert("memhost".to_owned(), json!(used));
    for key in ["disk", "netin", "netout", "diskread", "diskwrite"] {
        map.insert(key.to_owned(), json!(0));
    }
    Value::Object(map)
}

fn resources(call: &mut Call<'_>) -> Result<Value, Fail> {
    let kind = call.get("type").map(str::to_owned);
    let wants = |one: &str| kind.as_deref().is_none_or(|kind| kind == one);
    let mut rows = Vec::new();
    if wants("vm") {
        let all = call.may("/vms", "VM.Audit");
        let seen = |vmid: &u32| all || call.may(&format!("/vms/{vmid}"), "VM.Audit");
        rows.extend(
            call.state.vms.keys().filter(|vmid| seen(vmid)).map(|vmid| vm_resource(call, *vmid)),
        );
        let containers = call.state.containers.iter().filter(|(vmid, _)| seen(vmid));
        rows.extend(containers.map(|(vmid, one)| super::lxc::resource(call, *vmid, one)));
    }
    if wants("node") {
        for (name, node) in &call.state.nodes {
            let mut row = super::node::numbers(call, name);
            row.insert("type".to_owned(), json!("node"));
            row.insert("id".to_owned(), json!(format!("node/{name}")));
            row.insert("node".to_owned(), json!(name));
            row.insert("level".to_owned(), json!(""));
            row.insert("status".to_owned(), json!(if node.online { "online" } else { "offline" }));
            row.insert("cgroup-mode".to_owned(), json!(2));
            rows.push(Value::Object(row));
        }
    }
    if wants("storage") {
        for node in call.state.nodes.keys() {
            for id in call
                .state
                .storages
                .keys()
                .filter(|id| call.may(&format!("/storage/{id}"), "Datastore.Audit"))
            {
                let from = node_row(call, id, node);
                let pick = |key: &str| from.get(key).cloned().unwrap_or(Value::Null);
                rows.push(json!({
                    "type": "storage", "id": format!("storage/{node}/{id}"), "storage": id, "node": node,
                    "status": if from.get("active") == Some(&json!(1)) { "available" } else { "unknown" },
                    "plugintype": pick("type"), "content": pick("content"), "shared": pick("shared"),
                    "disk": pick("used"), "maxdisk": pick("total"),
                }));
            }
        }
    }
    if kind.as_deref().is_none_or(|kind| kind == "sdn") {
        sdn_rows(call, kind.is_some(), &mut rows);
    }
    Ok(Value::Array(rows))
}

fn sdn_rows(call: &Call<'_>, filtered: bool, rows: &mut Vec<Value>) {
    let old = call.inner.config.dialect == Dialect::V8_4;
    if filtered && !old {
        return;
    }
    let zones = call.state.sdn.running.get("zones");
    let names = zones
        .into_iter()
        .flat_map(|zones| zones.keys().cloned())
        .chain(std::iter::once("localnetwork".to_owned()));
    for zone in names {
        for node in call.state.nodes.keys() {
            if old {
                rows.push(json!({"type": "sdn", "id": format!("sdn/{node}/{zone}"), "sdn": zone, "node": node, "status": "ok"}));
            } else {
                rows.push(json!({
                    "type": "network", "id": format!("network/{node}/zone/{zone}"), "network": zone,
                    "network-type": "zone", "node": node, "status": "ok",
                }));
            }
        }
    }
}

fn nextid(call: &mut Call<'_>) -> Result<Value, Fail> {
    if let Some(vmid) = call.number("vmid") {
        let taken = u32::try_from(vmid).is_ok_and(|vmid| call.state.has_guest(vmid));
        if taken {
            return Err(Fail::param("vmid", format!("VM {vmid} already exists")));
        }
        return Ok(json!(vmid.to_string()));
    }
    let range = call.state.datacenter.get("next-id").cloned().unwrap_or_default();
    let bound = |key: &str, default: u32| {
        let text = range.split(',').find_map(|part| part.strip_prefix(key)?.strip_prefix('='));
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (lower, upper) = (bound("lower", 100), bound("upper", 1_000_000));
    let free = (lower..upper).find(|vmid| !call.state.has_guest(*vmid));
    match free {
        Some(vmid) => Ok(json!(vmid.to_string())),
        None => Err(Fail::die(format!("unable to get any free VMID in range [{lower}, {upper}]"))),
    }
}

fn options(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut map: Map<String, Value> = Map::new();
    map.insert("mac_prefix".to_owned(), json!("BC:24:11"));
    for (key, value) in &call.state.datacenter {
        map.insert(key.clone(), json!(value));
    }
    Ok(Value::Object(map))
}

fn set_options(call: &mut Call<'_>) -> Result<Value, Fail> {
    let removed = call.list("delete");
    let texts: Vec<(String, String)> = call
        .params
        .iter()
        .filter(|(key, _)| *key != "delete")
        .filter_map(|(key, value)| Some((key.clone(), value.as_text()?.to_owned())))
        .collect();
    call.state.datacenter.extend(texts);
    for key in removed {
        call.state.datacenter.remove(&key);
    }
    Ok(Value::Null)
}

fn log(call: &mut Call<'_>) -> Result<Value, Fail> {
    let max = call.number("max").and_then(|max| usize::try_from(max).ok()).unwrap_or(50);
    let ended = call
        .state
        .tasks
        .iter()
        .rev()
        .filter_map(|(number, task)| Some((number, task, task.exit.as_ref()?)));
    let rows = ended.take(max).map(|(number, task, exit)| {
        let text = format!("end task {} {exit}", task.upid);
        json!({"uid": number, "time": task.end, "pri": if exit == "OK" { 6 } else { 3 }, "tag": "pvedaemon",
            "pid": task.pid, "node": task.node, "user": task.user, "msg": text})
    });
    Ok(rows.collect())
}

fn members(call: &mut Call<'_>) -> Result<Value, Fail> {
    if call.state.cluster_name.is_none() {
        return Ok(json!([]));
    }
    let nodes = call.state.nodes.iter();
    Ok(nodes.map(|(name, node)| json!({"node": name, "name": name, "nodeid": node.number.to_string(), "quorum_votes": "1", "ring0_addr": format!("10.99.0.{}", node.number)})).collect())
}

fn join(call: &mut Call<'_>) -> Result<Value, Fail> {
    if call.state.cluster_name.is_none() {
        return Err(Fail::status(424, "node is not in a cluster, no join info available!"));
    }
    let print = &call.inner.fingerprint;
    let rows: Vec<Value> = call.state.nodes.iter().map(|(name, node)| json!({"name": name, "nodeid": node.number.to_string(), "pve_addr": format!("10.99.0.{}", node.number), "pve_fp": print})).collect();
    Ok(
        json!({"nodelist": rows, "preferred_node": call.node, "config_digest": call.state.cluster_name, "totem": {}}),
    )
}
