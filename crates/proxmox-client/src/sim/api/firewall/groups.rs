//! Security groups.

use serde_json::{Map, Value};

use super::super::Row;
use super::rules::missing;
use super::{comment, commented, digest, objects, row, unchanged, with_digest};
use crate::sim::fail::Fail;
use crate::sim::firewall::{Group, Rule};
use crate::sim::reply::Call;
use crate::sim::state::State;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/cluster/firewall/groups", list),
    ("POST", "/cluster/firewall/groups", create),
    ("DELETE", "/cluster/firewall/groups/{group}", delete),
];

fn rows(state: &State) -> Vec<Map<String, Value>> {
    let groups = state.firewall.cluster.groups.iter();
    groups.map(|(name, group)| commented(row("group", name), group.comment.as_ref())).collect()
}

fn list(call: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(objects(with_digest(rows(call.state))))
}

fn create(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (name, comment) = (call.text("group"), comment(call));
    if let Some(old) = call.get("rename").filter(|old| !old.is_empty()).map(str::to_owned) {
        return rename(call, &old, &name);
    }
    let groups = &mut call.state.firewall.cluster.groups;
    if groups.contains_key(&name) {
        return Err(Fail::param("group", format!("Security group '{name}' already exists")));
    }
    // the file's reader knows names in lower case only
    groups.entry(name.to_ascii_lowercase()).or_insert_with(|| Group { comment, rules: Vec::new() });
    Ok(Value::Null)
}

fn rename(call: &mut Call<'_>, old: &str, name: &str) -> Result<Value, Fail> {
    unchanged(call, || digest(&rows(call.state)))?;
    let renewed = call.get("comment").is_some().then(|| comment(call));
    let groups = &mut call.state.firewall.cluster.groups;
    let Some(mut group) = groups.get(old).cloned() else {
        return Err(Fail::param("group", format!("Security group '{old}' does not exist")));
    };
    if name != old && groups.contains_key(name) {
        return Err(Fail::param("group", format!("Security group '{name}' does already exist")));
    }
    if let Some(comment) = renewed {
        group.comment = comment;
    }
    groups.remove(old);
    groups.insert(name.to_ascii_lowercase(), group);
    if name != old {
        follow(call.state, old, name);
    }
    Ok(Value::Null)
}

/// Rules of cluster, nodes and machines follow a new name; those of `VNets` do not.
fn follow(state: &mut State, old: &str, name: &str) {
    let change = |rules: &mut Vec<Rule>| {
        let uses = |rule: &&mut Rule| {
            rule.get("type").is_some_and(|kind| kind == "group")
                && rule.get("action").is_some_and(|action| action == old)
        };
        for rule in rules.iter_mut().filter(uses) {
            rule.insert("action".to_owned(), name.to_owned());
        }
    };
    let firewall = &mut state.firewall;
    change(&mut firewall.cluster.rules);
    firewall.nodes.values_mut().for_each(|conf| change(&mut conf.rules));
    let vms = firewall.vms.iter_mut().filter(|(vmid, _)| state.vms.contains_key(*vmid));
    vms.for_each(|(_, conf)| change(&mut conf.rules));
}

fn delete(call: &mut Call<'_>) -> Result<Value, Fail> {
    let name = call.text("group");
    let groups = &mut call.state.firewall.cluster.groups;
    let group = groups.get(&name).ok_or_else(|| missing(&name))?;
    if !group.rules.is_empty() {
        return Err(Fail::die(format!("Security group '{name}' is not empty")));
    }
    groups.remove(&name);
    Ok(Value::Null)
}
