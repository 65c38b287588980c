//! High availability: resources, rules, groups, state.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Row;
use crate::sim::builder::Dialect;
use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::ha::{Ha, Resource, Rule, Service};
use crate::sim::reply::Call;
use crate::sim::schema::split_list;
use crate::sim::state::State;

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

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/cluster/ha", index),
    ("GET", "/cluster/ha/resources", resources),
    ("POST", "/cluster/ha/resources", create),
    ("GET", "/cluster/ha/resources/{sid}", read),
    ("PUT", "/cluster/ha/resources/{sid}", update),
    ("DELETE", "/cluster/ha/resources/{sid}", delete),
    ("POST", "/cluster/ha/resources/{sid}/migrate", |call| relocate(call, "migrate")),
    ("POST", "/cluster/ha/resources/{sid}/relocate", |call| relocate(call, "relocate")),
    ("GET", "/cluster/ha/rules", rules),
    ("POST", "/cluster/ha/rules", create_rule),
    ("GET", "/cluster/ha/rules/{rule}", read_rule),
    ("PUT", "/cluster/ha/rules/{rule}", update_rule),
    ("DELETE", "/cluster/ha/rules/{rule}", delete_rule),
    ("GET", "/cluster/ha/groups", groups),
    ("POST", "/cluster/ha/groups", create_group),
    ("GET", "/cluster/ha/groups/{group}", read_group),
    ("PUT", "/cluster/ha/groups/{group}", update_group),
    ("DELETE", "/cluster/ha/groups/{group}", delete_group),
    ("GET", "/cluster/ha/status", status_index),
    ("GET", "/cluster/ha/status/current", status),
    ("GET", "/cluster/ha/status/manager_status", manager),
    ("POST", "/cluster/ha/status/arm-ha", |call| arm(call, false)),
    ("POST", "/cluster/ha/status/disarm-ha", |call| arm(call, true)),
];

fn old(call: &Call<'_>) -> bool {
    call.inner.config.dialect == Dialect::V8_4
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

/// The whole id of a resource: a bare number is a machine.
fn sid_of(text: &str) -> String {
    if text.contains(':') { text.to_owned() } else { format!("vm:{text}") }
}

/// What the file of resources holds: the manager's knowledge is not in it.
fn file(ha: &Ha) -> Vec<(&String, &BTreeMap<String, String>)> {
    ha.resources.iter().map(|(sid, found)| (sid, &found.keys)).collect()
}

fn typed(keys: &BTreeMap<String, String>, numbers: &[&str]) -> Map<String, Value> {
    let value = |key: &String, text: &String| {
        let number = text.parse::<i64>().ok().filter(|_| numbers.contains(&key.as_str()));
        number.map_or_else(|| json!(text), |number| json!(number))
    };
    keys.iter().map(|(key, text)| (key.clone(), value(key, text))).collect()
}

const NUMBERS: [&str; 4] = ["max_restart", "max_relocate", "failback", "auto-rebalance"];

fn row(ha: &Ha, sid: &str, resource: &Resource) -> Value {
    let mut map = typed(&resource.keys, &NUMBERS);
    let kind = sid.split(':').next().unwrap_or_default();
    map.insert("sid".to_owned(), json!(sid));
    map.insert("type".to_owned(), json!(kind));
    map.insert("digest".to_owned(), json!(digest_of(&file(ha))));
    Value::Object(map)
}

fn resources(call: &mut Call<'_>) -> Result<Value, Fail> {
    let kind = call.get("type").map(|kind| format!("{kind}:"));
    let ha = &call.state.ha;
    let wanted = ha
        .resources
        .iter()
        .filter(|(sid, _)| kind.as_ref().is_none_or(|kind| sid.starts_with(kind.as_str())));
    Ok(wanted.map(|(sid, found)| row(ha, sid, found)).collect())
}

fn unmanaged(sid: &str) -> String {
    format!("no such resource '{sid}'")
}

fn read(call: &mut Call<'_>) -> Result<Value, Fail> {
    let sid = sid_of(&call.text("sid"));
    let ha = &call.state.ha;
    match ha.resources.get(&sid) {
        Some(found) => Ok(row(ha, &sid, found)),
        None => Err(Fail::die(unmanaged(&sid))),
    }
}

/// Keys of a resource in a request.
fn keys(call: &Call<'_>, control: &[&str]) -> BTreeMap<String, String> {
    let texts = call.params.iter().filter(|(key, _)| !control.contains(&key.as_str()));
    texts.filter_map(|(key, value)| Some((key.clone(), value.as_text()?.to_owned()))).collect()
}

fn alias_of_state(keys: &mut BTreeMap<String, String>) {
    if keys.get("state").is_some_and(|state| state == "enabled") {
        keys.insert("state".to_owned(), "started".to_owned());
    }
}

fn check_group(call: &Call<'_>, prefix: &str) -> Result<(), Fail> {
    let Some(group) = call.get("group") else { return Ok(()) };
    if !old(call) {
        return Err(Fail::die("invalid parameter 'group': ha groups have been migrated to rules"));
    }
    if call.state.ha.groups.contains_key(group) {
        return Ok(());
    }
    Err(Fail::die(format!("{prefix}ha group '{group}' does not exist")))
}

fn create(call: &mut Call<'_>) -> Result<Value, Fail> {
    let sid = sid_of(&call.text("sid"));
    let (kind, id) = sid.split_once(':').unwrap_or_default();
    if !matches!(kind, "vm" | "ct") {
        return Err(Fail::die(format!("unknown section type '{kind}'")));
    }
    let vmid = id.parse::<u32>().unwrap_or(0);
    if !call.state.vms.contains_key(&vmid) {
        return Err(Fail::die(format!("resource '{sid}' does not exist in cluster")));
    }
    if kind == "ct" {
        let text = format!("resource '{sid}' - guest with ID {vmid} is not a container");
        return Err(Fail::die(text));
    }
    check_group(call, "create resource failed: ")?;
    if call.state.ha.resources.contains_key(&sid) {
        let text = format!("create resource failed: resource ID '{sid}' already defined");
        return Err(Fail::die(text));
    }
    let mut keys = keys(call, &["sid", "type"]);
    alias_of_state(&mut keys);
    let since_ms = call.inner.clock.now_ms();
    call.state.ha.resources.insert(sid, Resource { keys, service: None, since_ms });
    Ok(Value::Null)
}

fn update(call: &mut Call<'_>) -> Result<Value, Fail> {
    let sid = sid_of(&call.text("sid"));
    let prefix = "update resources config failed";
    check_group(call, "update resources config failed: ")?;
    let Some(found) = call.state.ha.resources.get(&sid) else {
        return Err(Fail::die(format!("{prefix}: {}", unmanaged(&sid))));
    };
    fresh(call, &digest_of(&file(&call.state.ha))).map_err(|fail| fail.wrap(prefix))?;
    let mut keys = keys(call, &["sid", "digest", "delete"]);
    alias_of_state(&mut keys);
    let in_error = found.service.as_ref().is_some_and(|service| service.state == "error");
    if in_error
        && keys.get("state").is_some_and(|state| !matches!(state.as_str(), "disabled" | "ignored"))
    {
        return Err(Fail::die(format!(
            "{prefix}: service '{sid}' in error state, must be disabled and fixed first"
        )));
    }
    let (removed, now) = (call.list("delete"), call.inner.clock.now_ms());
    if let Some(found) = call.state.ha.resources.get_mut(&sid) {
        found.keys.extend(keys);
        for key in removed {
            found.keys.remove(&key);
        }
        found.since_ms = now;
    }
    Ok(Value::Null)
}

/// Puts a machine that was just made under the manager.
pub(super) fn register(state: &mut State, vmid: u32, wanted: &str, since_ms: u64) {
    let keys = BTreeMap::from([("state".to_owned(), wanted.to_owned())]);
    state.ha.resources.insert(format!("vm:{vmid}"), Resource { keys, service: None, since_ms });
}

/// Takes a resource out of the rules, which go when nothing is left of them.
pub(super) fn purge(state: &mut State, sid: &str) {
    state.ha.resources.remove(sid);
    for rule in state.ha.rules.values_mut() {
        let text = rule.keys.get("resources").cloned().unwrap_or_default();
        let left: Vec<&str> = split_list(&text).into_iter().filter(|one| *one != sid).collect();
        rule.keys.insert("resources".to_owned(), left.join(","));
    }
    state.ha.rules.retain(|_, rule| {
        let left = rule.keys.get("resources").map_or(0, |text| split_list(text).len());
        let pair = rule.keys.get("type").is_some_and(|kind| kind == "resource-affinity");
        left > usize::from(pair)
    });
}

fn delete(call: &mut Call<'_>) -> Result<Value, Fail> {
    let sid = sid_of(&call.text("sid"));
    if !call.state.ha.resources.contains_key(&sid) {
        return Err(Fail::die(format!("cannot delete service '{sid}', not HA managed!")));
    }
    if call.get("purge") == Some("0") || old(call) {
        call.state.ha.resources.remove(&sid);
    } else {
        purge(call.state, &sid);
    }
    Ok(Value::Null)
}

fn relocate(call: &mut Call<'_>, kind: &str) -> Result<Value, Fail> {
    let (sid, node) = (sid_of(&call.text("sid")), call.text("node"));
    let managed = call.state.ha.resources.get(&sid).filter(|found| found.wanted() != "ignored");
    if managed.is_none() {
        return Err(Fail::die(format!("resource '{sid}' is not HA managed")));
    }
    if !call.state.nodes.contains_key(&node) {
        return Err(Fail::die(format!("no such cluster node '{node}'")));
    }
    let now = call.inner.clock.now_ms();
    move_later(call.state, &sid, kind, &node, now);
    if old(call) {
        return Ok(Value::Null);
    }
    Ok(json!({"sid": sid, "requested-node": node}))
}

/// Records that a resource shall move.
pub(super) fn move_later(state: &mut State, sid: &str, kind: &str, node: &str, now: u64) {
    let vmid = sid.strip_prefix("vm:").and_then(|id| id.parse::<u32>().ok());
    let here = vmid.and_then(|vmid| state.vms.get(&vmid)).map(|vm| vm.node.clone());
    if let Some(found) = state.ha.resources.get_mut(sid) {
        let service = found.service.get_or_insert_with(Service::default);
        kind.clone_into(&mut service.state);
        service.node = here.unwrap_or_default();
        service.target = Some(node.to_owned());
        found.since_ms = now;
    }
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
        let mut map = typed(&found.keys, &NUMBERS);
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

fn not_migrated(call: &Call<'_>, what: &str) -> Result<(), Fail> {
    if old(call) {
        return Err(Fail::die(format!("{what}: ha groups have not been migrated yet")));
    }
    Ok(())
}

fn rule_row(ha: &Ha, id: &str, rule: &Rule) -> Value {
    let mut map = typed(&rule.keys, &["strict", "disable"]);
    map.insert("rule".to_owned(), json!(id));
    map.insert("order".to_owned(), json!(rule.order));
    if rule.keys.get("type").is_some_and(|kind| kind == "node-affinity") {
        map.entry("strict").or_insert_with(|| json!(0));
    }
    map.insert("digest".to_owned(), json!(digest_of(&ha.rules)));
    Value::Object(map)
}

fn rules(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (kind, sid) = (call.get("type"), call.get("resource"));
    let ha = &call.state.ha;
    let text = |rule: &Rule, key: &str| rule.keys.get(key).cloned().unwrap_or_default();
    let mut hits: Vec<(&String, &Rule)> = ha
        .rules
        .iter()
        .filter(|(_, rule)| kind.is_none_or(|kind| text(rule, "type") == kind))
        .filter(|(_, rule)| {
            sid.is_none_or(|sid| split_list(&text(rule, "resources")).contains(&sid))
        })
        .collect();
    hits.sort_by_key(|(_, rule)| rule.order);
    Ok(hits.into_iter().map(|(id, rule)| rule_row(ha, id, rule)).collect())
}

fn read_rule(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("rule");
    let ha = &call.state.ha;
    match ha.rules.get(&id) {
        Some(rule) => Ok(rule_row(ha, &id, rule)),
        None => Err(Fail::die(format!("no such ha rule '{id}'"))),
    }
}

/// What must hold for a rule by itself and with the others.
fn check_rule(state: &State, id: &str, keys: &BTreeMap<String, String>) -> Result<(), String> {
    let text = |key: &str| keys.get(key).map(String::as_str).unwrap_or_default();
    let sids = split_list(text("resources"));
    if sids.is_empty() {
        return Err("no resources were specified".to_owned());
    }
    let foreign: Vec<&str> =
        sids.iter().copied().filter(|sid| !state.ha.resources.contains_key(*sid)).collect();
    if !foreign.is_empty() {
        return Err(format!("cannot use unmanaged resource(s) {}.", foreign.join(", ")));
    }
    let invalid = |line: String| Err(format!("400 Rule '{id}' is invalid.\n{line}"));
    if text("type") == "node-affinity" {
        let nodes = split_list(text("nodes"));
        if nodes.is_empty() {
            return Err("no nodes were specified".to_owned());
        }
        let name = |node: &str| node.split(':').next().unwrap_or_default().to_owned();
        let unknown: Vec<String> = nodes
            .iter()
            .map(|node| name(node))
            .filter(|node| !state.nodes.contains_key(node))
            .collect();
        if !unknown.is_empty() {
            return Err(format!("cannot use non-existent node(s) {}.", unknown.join(", ")));
        }
        for sid in &sids {
            let other = state.ha.rules.iter().find(|(other, rule)| {
                let get = |key: &str| rule.keys.get(key).map(String::as_str).unwrap_or_default();
                *other != id
                    && get("type") == "node-affinity"
                    && split_list(get("resources")).contains(sid)
            });
            if other.is_some() {
                return invalid(format!(
                    "resources: resource '{sid}' is already used in another node affinity rule"
                ));
            }
        }
    } else if sids.len() < 2 {
        return invalid(
            "resources: rule is ineffective as there are less than two resources".to_owned(),
        );
    } else if text("affinity") == "negative" && sids.len() > state.nodes.len() {
        return invalid("resources: rule defines more resources than available nodes".to_owned());
    }
    Ok(())
}

fn create_rule(call: &mut Call<'_>) -> Result<Value, Fail> {
    not_migrated(call, "cannot create ha rule")?;
    let id = call.text("rule");
    let fail = |text: String| Fail::die(format!("create ha rule failed: {text}"));
    if call.state.ha.rules.contains_key(&id) {
        return Err(fail(format!("HA rule '{id}' already defined")));
    }
    let keys = keys(call, &["rule"]);
    check_rule(call.state, &id, &keys).map_err(fail)?;
    let order = call.state.ha.rules.values().map(|rule| rule.order).max().unwrap_or(0) + 1;
    call.state.ha.rules.insert(id, Rule { order, keys });
    Ok(Value::Null)
}

fn update_rule(call: &mut Call<'_>) -> Result<Value, Fail> {
    not_migrated(call, "cannot update ha rule")?;
    let id = call.text("rule");
    let fail = |text: String| Fail::die(format!("update HA rules failed: {text}"));
    let Some(rule) = call.state.ha.rules.get(&id).cloned() else {
        return Err(fail(format!("HA rule '{id}' does not exist")));
    };
    fresh(call, &digest_of(&call.state.ha.rules))
        .map_err(|fail| fail.wrap("update HA rules failed"))?;
    let sent = keys(call, &["rule", "digest", "delete"]);
    let kind = rule.keys.get("type").cloned().unwrap_or_default();
    if sent.get("type").is_some_and(|sent| *sent != kind) {
        return Err(fail(format!("HA rule '{id}' is of type '{kind}'")));
    }
    let foreign: &[&str] =
        if kind == "node-affinity" { &["affinity"] } else { &["nodes", "strict"] };
    if let Some(key) = foreign.iter().find(|key| sent.contains_key(**key)) {
        return Err(fail(format!("unexpected property '{key}'")));
    }
    let mut new = rule.keys;
    new.extend(sent.into_iter().filter(|(key, text)| key != "disable" || text == "1"));
    for key in call.list("delete") {
        new.remove(&key);
    }
    check_rule(call.state, &id, &new).map_err(fail)?;
    if let Some(rule) = call.state.ha.rules.get_mut(&id) {
        rule.keys = new;
    }
    Ok(Value::Null)
}

fn delete_rule(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("rule");
    call.state.ha.rules.remove(&id);
    Ok(Value::Null)
}

fn migrated(call: &Call<'_>, what: &str) -> Result<(), Fail> {
    if old(call) {
        return Ok(());
    }
    Err(Fail::die(format!("cannot {what}: ha groups have been migrated to rules")))
}

fn group_row(state: &State, id: &str, keys: &BTreeMap<String, String>) -> Value {
    let mut map = typed(keys, &["restricted", "nofailback"]);
    map.insert("group".to_owned(), json!(id));
    map.insert("type".to_owned(), json!("group"));
    map.insert("digest".to_owned(), json!(digest_of(&state.ha.groups)));
    Value::Object(map)
}

fn groups(call: &mut Call<'_>) -> Result<Value, Fail> {
    migrated(call, "index groups")?;
    let state = &*call.state;
    Ok(state.ha.groups.iter().map(|(id, keys)| group_row(state, id, keys)).collect())
}

fn read_group(call: &mut Call<'_>) -> Result<Value, Fail> {
    migrated(call, "read group")?;
    let id = call.text("group");
    match call.state.ha.groups.get(&id) {
        Some(keys) => Ok(group_row(call.state, &id, keys)),
        None => Err(Fail::die(format!("no such ha group '{id}'"))),
    }
}

fn create_group(call: &mut Call<'_>) -> Result<Value, Fail> {
    migrated(call, "create group")?;
    let (id, keys) = (call.text("group"), keys(call, &["group", "type"]));
    if call.state.ha.groups.contains_key(&id) {
        let text = format!("create ha group failed: ha group ID '{id}' already defined");
        return Err(Fail::die(text));
    }
    call.state.ha.groups.insert(id, keys);
    Ok(Value::Null)
}

fn update_group(call: &mut Call<'_>) -> Result<Value, Fail> {
    migrated(call, "update group")?;
    let (id, keys) = (call.text("group"), keys(call, &["group", "digest", "delete"]));
    let prefix = "update ha group failed";
    fresh(call, &digest_of(&call.state.ha.groups)).map_err(|fail| fail.wrap(prefix))?;
    let removed = call.list("delete");
    let Some(group) = call.state.ha.groups.get_mut(&id) else {
        return Err(Fail::die(format!("{prefix}: no such ha group '{id}'")));
    };
    group.extend(keys);
    for key in removed {
        group.remove(&key);
    }
    Ok(Value::Null)
}

fn delete_group(call: &mut Call<'_>) -> Result<Value, Fail> {
    migrated(call, "delete group")?;
    let id = call.text("group");
    let users = &call.state.ha.resources;
    if let Some((sid, _)) = users.iter().find(|(_, found)| found.keys.get("group") == Some(&id)) {
        let text = format!("delete ha group failed: ha group is used by service '{sid}'");
        return Err(Fail::die(text));
    }
    call.state.ha.groups.remove(&id);
    Ok(Value::Null)
}
