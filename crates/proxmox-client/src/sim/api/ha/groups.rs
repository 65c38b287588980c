//! Groups of nodes, which rules have replaced in 9.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{digest_of, fresh, keys, old, typed};
use crate::sim::api::Row;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::state::State;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/cluster/ha/groups", groups),
    ("POST", "/cluster/ha/groups", create_group),
    ("GET", "/cluster/ha/groups/{group}", read_group),
    ("PUT", "/cluster/ha/groups/{group}", update_group),
    ("DELETE", "/cluster/ha/groups/{group}", delete_group),
];

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
