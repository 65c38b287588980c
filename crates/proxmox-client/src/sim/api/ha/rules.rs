//! Rules: on which nodes resources run, and which of them together.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{digest_of, fresh, keys, old, typed};
use crate::sim::api::Row;
use crate::sim::fail::Fail;
use crate::sim::ha::{Ha, Rule};
use crate::sim::reply::Call;
use crate::sim::schema::split_list;
use crate::sim::state::State;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/cluster/ha/rules", rules),
    ("POST", "/cluster/ha/rules", create_rule),
    ("GET", "/cluster/ha/rules/{rule}", read_rule),
    ("PUT", "/cluster/ha/rules/{rule}", update_rule),
    ("DELETE", "/cluster/ha/rules/{rule}", delete_rule),
];

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
