//! Resources: what the manager looks after.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{digest_of, fresh, keys, old, typed};
use crate::sim::api::Row;
use crate::sim::fail::Fail;
use crate::sim::ha::{Ha, Resource, Service};
use crate::sim::reply::Call;
use crate::sim::schema::split_list;
use crate::sim::state::State;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/cluster/ha/resources", resources),
    ("POST", "/cluster/ha/resources", create),
    ("GET", "/cluster/ha/resources/{sid}", read),
    ("PUT", "/cluster/ha/resources/{sid}", update),
    ("DELETE", "/cluster/ha/resources/{sid}", delete),
    ("POST", "/cluster/ha/resources/{sid}/migrate", |call| relocate(call, "migrate")),
    ("POST", "/cluster/ha/resources/{sid}/relocate", |call| relocate(call, "relocate")),
];

/// The whole id of a resource: a bare number is a machine.
fn sid_of(text: &str) -> String {
    if text.contains(':') { text.to_owned() } else { format!("vm:{text}") }
}

/// What the file of resources holds: the manager's knowledge is not in it.
fn file(ha: &Ha) -> Vec<(&String, &BTreeMap<String, String>)> {
    ha.resources.iter().map(|(sid, found)| (sid, &found.keys)).collect()
}

pub(super) const NUMBERS: [&str; 4] = ["max_restart", "max_relocate", "failback", "auto-rebalance"];

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
pub(in crate::sim::api) fn register(state: &mut State, vmid: u32, wanted: &str, since_ms: u64) {
    let keys = BTreeMap::from([("state".to_owned(), wanted.to_owned())]);
    state.ha.resources.insert(format!("vm:{vmid}"), Resource { keys, service: None, since_ms });
}

/// Takes a resource out of the rules, which go when nothing is left of them.
pub(in crate::sim::api) fn purge(state: &mut State, sid: &str) {
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
pub(in crate::sim::api) fn move_later(
    state: &mut State,
    sid: &str,
    kind: &str,
    node: &str,
    now: u64,
) {
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
