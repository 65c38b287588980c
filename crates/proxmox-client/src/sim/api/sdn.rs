//! SDN: zones, `VNets`, subnets, controllers, lock, apply.

use serde_json::{Map, Value, json};

use super::Row;
use super::sdnrules::{check_type, rules};
use super::sdnview::{self, Kind, get};
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::schema::{Input, Kind as Type, is_cidr};
use crate::sim::state::State;
use crate::sim::task::once;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/cluster/sdn/zones", |call| list(call, Kind::Zone)),
    ("POST", "/cluster/sdn/zones", |call| create(call, Kind::Zone)),
    ("GET", "/cluster/sdn/zones/{zone}", |call| read(call, Kind::Zone)),
    ("PUT", "/cluster/sdn/zones/{zone}", |call| update(call, Kind::Zone)),
    ("DELETE", "/cluster/sdn/zones/{zone}", |call| delete(call, Kind::Zone)),
    ("GET", "/cluster/sdn/vnets", |call| list(call, Kind::Vnet)),
    ("POST", "/cluster/sdn/vnets", |call| create(call, Kind::Vnet)),
    ("GET", "/cluster/sdn/vnets/{vnet}", |call| read(call, Kind::Vnet)),
    ("PUT", "/cluster/sdn/vnets/{vnet}", |call| update(call, Kind::Vnet)),
    ("DELETE", "/cluster/sdn/vnets/{vnet}", |call| delete(call, Kind::Vnet)),
    ("GET", "/cluster/sdn/vnets/{vnet}/subnets", |call| list(call, Kind::Subnet)),
    ("POST", "/cluster/sdn/vnets/{vnet}/subnets", |call| create(call, Kind::Subnet)),
    ("GET", "/cluster/sdn/vnets/{vnet}/subnets/{subnet}", |call| read(call, Kind::Subnet)),
    ("PUT", "/cluster/sdn/vnets/{vnet}/subnets/{subnet}", |call| update(call, Kind::Subnet)),
    ("DELETE", "/cluster/sdn/vnets/{vnet}/subnets/{subnet}", |call| delete(call, Kind::Subnet)),
    ("GET", "/cluster/sdn/controllers", |call| list(call, Kind::Controller)),
    ("POST", "/cluster/sdn/controllers", |call| create(call, Kind::Controller)),
    ("GET", "/cluster/sdn/controllers/{controller}", |call| read(call, Kind::Controller)),
    ("PUT", "/cluster/sdn/controllers/{controller}", |call| update(call, Kind::Controller)),
    ("DELETE", "/cluster/sdn/controllers/{controller}", |call| delete(call, Kind::Controller)),
    ("GET", "/cluster/sdn/dry-run", dry_run),
    ("POST", "/cluster/sdn/lock", lock),
    ("DELETE", "/cluster/sdn/lock", unlock),
    ("POST", "/cluster/sdn/rollback", rollback),
    ("PUT", "/cluster/sdn", apply),
    ("GET", "/nodes/{node}/sdn/zones", node_zones),
    ("GET", "/nodes/{node}/sdn/zones/{zone}", node_zone),
    ("GET", "/nodes/{node}/sdn/zones/{zone}/content", node_content),
];

fn id_of(call: &Call<'_>, kind: Kind) -> String {
    let id = call.text(kind.word());
    if kind == Kind::Subnet && is_cidr(&id) {
        let zone = get(&call.state.sdn.saved, Kind::Vnet, &call.text("vnet"))
            .and_then(|vnet| vnet.get("zone")?.as_str())
            .unwrap_or_default();
        return format!("{zone}-{}", id.replace('/', "-"));
    }
    id
}

fn in_vnet(call: &Call<'_>, kind: Kind, layer: &crate::sim::state::Layer, id: &str) -> bool {
    kind != Kind::Subnet
        || get(layer, kind, id)
            .is_some_and(|keys| keys.get("vnet") == Some(&json!(call.text("vnet"))))
}

/// Path on which the privileges of an object count.
fn acl_path(state: &State, kind: Kind, id: &str, vnet: &str) -> String {
    let zone_of = |vnet: &str| {
        let keys = get(&state.sdn.saved, Kind::Vnet, vnet)
            .or_else(|| get(&state.sdn.running, Kind::Vnet, vnet));
        keys.and_then(|keys| keys.get("zone")?.as_str()).unwrap_or_default().to_owned()
    };
    match kind {
        Kind::Zone => format!("/sdn/zones/{id}"),
        Kind::Controller => format!("/sdn/controllers/{id}"),
        Kind::Vnet => format!("/sdn/zones/{}/{id}", zone_of(id)),
        Kind::Subnet => format!("/sdn/zones/{}/{vnet}", zone_of(vnet)),
    }
}

fn view(call: &Call<'_>, kind: Kind, id: &str) -> Option<Value> {
    if call.flag("pending") {
        sdnview::pending(call.state, kind, id)
    } else if call.flag("running") {
        sdnview::running(call.state, kind, id)
    } else {
        sdnview::saved(call.state, kind, id)
    }
}

fn list(call: &mut Call<'_>, kind: Kind) -> Result<Value, Fail> {
    let vnet = call.text("vnet");
    if kind == Kind::Subnet
        && get(&call.state.sdn.saved, Kind::Vnet, &vnet).is_none()
        && get(&call.state.sdn.running, Kind::Vnet, &vnet).is_none()
    {
        return Err(Fail::die(Kind::Vnet.absent(&vnet)));
    }
    let mut ids = std::collections::BTreeSet::new();
    for layer in [&call.state.sdn.saved, &call.state.sdn.running] {
        let rows = layer.get(kind.layer()).into_iter().flatten();
        ids.extend(rows.map(|(id, _)| id.clone()).filter(|id| in_vnet(call, kind, layer, id)));
    }
    let wanted = call.get("type").map(str::to_owned);
    let mut rows = Vec::new();
    for id in ids {
        let path = acl_path(call.state, kind, &id, &vnet);
        let seen = call.may(&path, "SDN.Audit") || call.may(&path, "SDN.Allocate");
        let Some(row) = view(call, kind, &id).filter(|_| seen) else { continue };
        if wanted.as_ref().is_none_or(|wanted| row.get("type") == Some(&json!(wanted))) {
            rows.push(row);
        }
    }
    Ok(Value::Array(rows))
}

fn read(call: &mut Call<'_>, kind: Kind) -> Result<Value, Fail> {
    let id = id_of(call, kind);
    let found = view(call, kind, &id).ok_or_else(|| Fail::die(kind.absent(&id)))?;
    let path = acl_path(call.state, kind, &id, &call.text("vnet"));
    call.require_any(&path, &["SDN.Audit", "SDN.Allocate"])?;
    Ok(found)
}

/// Keys of a request with the types of the schema.
fn fields(call: &Call<'_>, kind: Kind, path: &str, method: &str) -> Map<String, Value> {
    let parts: Vec<String> =
        path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let endpoint = call.inner.schema.find(method, &parts).map(|(endpoint, _)| endpoint);
    let mut map = Map::new();
    for (key, input) in &call.params {
        let control = matches!(key.as_str(), "digest" | "delete" | "lock-token" | "node")
            && !(key == "node" && kind == Kind::Controller);
        if control || key == kind.word() || kind == Kind::Subnet && key == "vnet" {
            continue;
        }
        let number = endpoint
            .and_then(|one| one.param(key))
            .is_some_and(|prop| matches!(prop.kind, Type::Integer | Type::Boolean | Type::Number));
        let value = match input {
            Input::Text(text) if number => {
                text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number))
            }
            Input::Text(text)
                if matches!(key.as_str(), "nodes" | "exitnodes" | "peers" | "rt-import") =>
            {
                json!(crate::sim::schema::split_list(text).join(","))
            }
            Input::Text(text) => json!(text),
            Input::List(rows) => json!(rows),
            _ => continue,
        };
        map.insert(key.clone(), value);
    }
    map
}

pub(super) fn check_lock(call: &Call<'_>) -> Result<(), Fail> {
    match (&call.state.sdn.lock, call.get("lock-token")) {
        (Some(lock), Some(token)) if lock == token => Ok(()),
        (None, None) => Ok(()),
        _ => Err(Fail::perl("invalid lock token provided!", "Network/SDN")),
    }
}

fn path_of(kind: Kind, one: bool) -> String {
    let tail = if one { format!("/{{{}}}", kind.word()) } else { String::new() };
    match kind {
        Kind::Subnet => format!("/cluster/sdn/vnets/{{vnet}}/subnets{tail}"),
        _ => format!("/cluster/sdn/{}{tail}", kind.layer()),
    }
}

fn create(call: &mut Call<'_>, kind: Kind) -> Result<Value, Fail> {
    let id = id_of(call, kind);
    let mut keys = fields(call, kind, &path_of(kind, false), "POST");
    let vnet = call.text("vnet");
    match kind {
        Kind::Vnet => drop(keys.insert("type".to_owned(), json!("vnet"))),
        Kind::Subnet => {
            keys.insert("vnet".to_owned(), json!(vnet));
            call.require(&acl_path(call.state, kind, &id, &vnet), "SDN.Allocate")?;
        }
        Kind::Zone | Kind::Controller => check_type(kind, &keys, true)?,
    }
    let wrap = |fail: Fail| fail.wrap(&format!("create sdn {} object failed", kind.word()));
    check_lock(call).map_err(wrap)?;
    if get(&call.state.sdn.saved, kind, &id).is_some() {
        return Err(wrap(Fail::die(format!(
            "sdn {} object ID '{id}' already defined",
            kind.word()
        ))));
    }
    if kind == Kind::Zone && keys.get("type") == Some(&json!("evpn")) {
        let random = uuid::Uuid::new_v4().as_u128();
        let octet = |shift: u32| (random >> shift) & 0xFF;
        let mac = format!("BC:24:11:{:02X}:{:02X}:{:02X}", octet(0), octet(8), octet(16));
        keys.entry("mac").or_insert_with(|| json!(mac));
    }
    rules(call.state, kind, &id, &keys).map_err(wrap)?;
    call.state.sdn.saved.entry(kind.layer().to_owned()).or_default().insert(id, keys);
    Ok(Value::Null)
}

fn update(call: &mut Call<'_>, kind: Kind) -> Result<Value, Fail> {
    let id = id_of(call, kind);
    let word = kind.word();
    let wrap = |fail: Fail| fail.wrap(&format!("update sdn {word} object failed"));
    let Some(old) = get(&call.state.sdn.saved, kind, &id).cloned() else {
        let fail = Fail::die(kind.absent(&id));
        return Err(if kind == Kind::Vnet { fail } else { wrap(fail) });
    };
    call.require(&acl_path(call.state, kind, &id, &call.text("vnet")), "SDN.Allocate")?;
    check_lock(call).map_err(wrap)?;
    if call.get("digest").is_some_and(|digest| digest != sdnview::digest_of(call.state, kind)) {
        return Err(wrap(Fail::die(
            "detected modified configuration - file changed by other user? Try again.",
        )));
    }
    let mut new = old.clone();
    let mut sent = fields(call, kind, &path_of(kind, true), "PUT");
    let mut checked = sent.clone();
    checked.insert("type".to_owned(), old.get("type").cloned().unwrap_or(Value::Null));
    check_type(kind, &checked, false)?;
    new.append(&mut sent);
    for key in call.list("delete") {
        new.remove(&key);
    }
    if kind == Kind::Vnet && old.get("zone") != new.get("zone") {
        let used = call
            .state
            .sdn
            .saved
            .get("subnets")
            .is_some_and(|rows| rows.values().any(|keys| keys.get("vnet") == Some(&json!(id))));
        if used {
            return Err(wrap(Fail::param("zone", "can't change zone if subnets exist")));
        }
    }
    rules(call.state, kind, &id, &new).map_err(wrap)?;
    call.state.sdn.saved.entry(kind.layer().to_owned()).or_default().insert(id, new);
    Ok(Value::Null)
}

fn delete(call: &mut Call<'_>, kind: Kind) -> Result<Value, Fail> {
    let id = id_of(call, kind);
    let wrap = |fail: Fail| fail.wrap(&format!("delete sdn {} object failed", kind.word()));
    if get(&call.state.sdn.saved, kind, &id).is_none() {
        let fail = Fail::die(kind.absent(&id));
        return Err(if kind == Kind::Vnet { fail } else { wrap(fail) });
    }
    call.require(&acl_path(call.state, kind, &id, &call.text("vnet")), "SDN.Allocate")?;
    check_lock(call).map_err(wrap)?;
    let users = |layer: &str, key: &str| {
        let rows = call.state.sdn.saved.get(layer).into_iter().flatten();
        rows.filter(|(_, keys)| keys.get(key) == Some(&json!(id)))
            .map(|(name, _)| name.clone())
            .next()
    };
    match kind {
        Kind::Zone => {
            if let Some(vnet) = users("vnets", "zone") {
                return Err(wrap(Fail::perl(
                    format!("zone {id} is used by vnet {vnet}"),
                    "Network/SDN/Zones/Plugin",
                )));
            }
        }
        Kind::Controller => {
            if let Some(zone) = users("zones", "controller") {
                return Err(wrap(Fail::perl(
                    format!("controller {id} is used by {zone}"),
                    "Network/SDN/Controllers/EvpnPlugin",
                )));
            }
        }
        Kind::Vnet => {
            if users("subnets", "vnet").is_some() {
                return Err(wrap(Fail::param("vnet", "Can't delete vnet if subnets exists")));
            }
        }
        Kind::Subnet => {}
    }
    if let Some(rows) = call.state.sdn.saved.get_mut(kind.layer()) {
        rows.remove(&id);
    }
    Ok(Value::Null)
}

fn dry_run(call: &mut Call<'_>) -> Result<Value, Fail> {
    let changed = sdnview::has_pending(call.state);
    let diff = if changed {
        "--- /etc/network/interfaces.d/sdn\n+++ /etc/network/interfaces.d/sdn\n"
    } else {
        ""
    };
    Ok(json!({"frr-diff": "", "interfaces-diff": diff}))
}

fn lock(call: &mut Call<'_>) -> Result<Value, Fail> {
    let prefix = "could not acquire lock for SDN config";
    if call.state.sdn.lock.is_some() {
        return Err(Fail::perl("invalid lock token provided!", "Network/SDN").wrap(prefix));
    }
    if sdnview::has_pending(call.state) && !call.flag("allow-pending") {
        return Err(Fail::die("configuration has pending changes").wrap(prefix));
    }
    let token = uuid::Uuid::new_v4().to_string();
    call.state.sdn.lock = Some(token.clone());
    Ok(json!(token))
}

fn unlock(call: &mut Call<'_>) -> Result<Value, Fail> {
    if !call.flag("force") {
        check_lock(call)?;
    }
    call.state.sdn.lock = None;
    Ok(Value::Null)
}

fn release(call: &mut Call<'_>) {
    if call.get("lock-token").is_some() && call.get("release-lock") != Some("0") {
        call.state.sdn.lock = None;
    }
}

fn rollback(call: &mut Call<'_>) -> Result<Value, Fail> {
    check_lock(call)?;
    call.state.sdn.saved = call.state.sdn.running.clone();
    release(call);
    Ok(Value::Null)
}

fn apply(call: &mut Call<'_>) -> Result<Value, Fail> {
    check_lock(call)?;
    call.state.sdn.running = call.state.sdn.saved.clone();
    call.state.sdn.version += 1;
    release(call);
    let user = call.user.clone();
    Ok(call.start(
        "reloadnetworkall",
        "",
        None,
        once(move |state, inner, number| {
            let names: Vec<String> = state.nodes.keys().cloned().collect();
            let now = inner.clock.now();
            for name in names {
                let online = state.nodes.get(&name).is_some_and(|node| node.online);
                if !online {
                    continue;
                }
                let (reload, upid) = state.task_new(&name, "srvreload", "networking", &user, now);
                state.task_log(number, format!("{name}: reloading network config ({upid})"));
                let works = reload_node(state, &name);
                state.task_end(
                    reload,
                    if works { "OK" } else { "command 'ifreload -a' failed: exit code 1" },
                    now,
                );
                if !works {
                    state.task_log(number, format!("{name}: reload network failed"));
                }
            }
            Ok(())
        }),
    ))
}

/// Makes the bridges of the running configuration on a node. False when its reload fails.
pub(crate) fn reload_node(state: &mut State, name: &str) -> bool {
    let zones = state.sdn.running.get("zones").cloned().unwrap_or_default();
    let vnets = state.sdn.running.get("vnets").cloned().unwrap_or_default();
    let Some(node) = state.nodes.get_mut(name).filter(|node| node.reload_works) else {
        return false;
    };
    super::ifaces::activate(node);
    node.vnets.clear();
    for (id, vnet) in vnets {
        let zone_id = vnet.get("zone").and_then(Value::as_str).unwrap_or_default();
        let Some(zone) = zones.get(zone_id) else { continue };
        let here = zone
            .get("nodes")
            .and_then(Value::as_str)
            .is_none_or(|nodes| nodes.split(',').any(|one| one == name));
        let overlay = matches!(zone.get("type").and_then(Value::as_str), Some("vxlan" | "evpn"));
        let mtu = zone.get("mtu").and_then(Value::as_u64).and_then(|mtu| u32::try_from(mtu).ok());
        if here {
            node.vnets
                .insert(id, (zone_id.to_owned(), mtu.unwrap_or(if overlay { 1450 } else { 1500 })));
        }
    }
    true
}

/// `VNets` of the running configuration that a zone has on a node, with whether they are there.
fn vnets_of(call: &Call<'_>, zone: &str) -> Vec<(String, bool)> {
    let node = call.state.nodes.get(&call.node);
    let rows = call.state.sdn.running.get("vnets").into_iter().flatten();
    rows.filter(|(_, keys)| keys.get("zone") == Some(&json!(zone)))
        .map(|(id, _)| (id.clone(), node.is_some_and(|node| node.vnets.contains_key(id))))
        .collect()
}

fn node_zones(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut rows = Vec::new();
    for (id, zone) in call.state.sdn.running.get("zones").into_iter().flatten() {
        let here = zone
            .get("nodes")
            .and_then(Value::as_str)
            .is_none_or(|nodes| nodes.split(',').any(|one| one == call.node));
        if here && call.may(&format!("/sdn/zones/{id}"), "SDN.Audit") {
            let good = vnets_of(call, id).iter().all(|(_, there)| *there);
            rows.push(json!({"zone": id, "status": if good { "available" } else { "error" }}));
        }
    }
    if call.may("/sdn/zones/localnetwork", "SDN.Audit") {
        rows.push(json!({"zone": "localnetwork", "status": "available"}));
    }
    Ok(Value::Array(rows))
}

fn node_zone(_: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(json!([{"subdir": "content"}, {"subdir": "bridges"}, {"subdir": "ip-vrf"}]))
}

fn node_content(call: &mut Call<'_>) -> Result<Value, Fail> {
    let rows = vnets_of(call, &call.text("zone")).into_iter().map(|(id, there)| {
        if there {
            return json!({"vnet": id, "status": "available"});
        }
        json!({"vnet": id, "status": "error", "statusmsg": "vnet is not generated. Please check the 'reload network' task log."})
    });
    Ok(rows.collect())
}
