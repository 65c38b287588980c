//! Groups of users.

use serde_json::{Map, Value, json};

use crate::sim::api::Row;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/access/groups", groups),
    ("POST", "/access/groups", create_group),
    ("GET", "/access/groups/{groupid}", read_group),
    ("PUT", "/access/groups/{groupid}", update_group),
    ("DELETE", "/access/groups/{groupid}", delete_group),
];

fn groups(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut rows = Vec::new();
    for (id, comment) in &call.state.groups {
        let path = format!("/access/groups/{id}");
        let rights = ["User.Modify", "Sys.Audit", "Group.Allocate"];
        if !rights.iter().any(|privilege| call.may(&path, privilege)) {
            continue;
        }
        let users = call.state.users.iter().filter(|(_, user)| user.groups.contains(id));
        let users: Vec<&str> = users.map(|(id, _)| id.as_str()).collect();
        let mut row = Map::new();
        row.insert("groupid".to_owned(), json!(id));
        row.insert("users".to_owned(), json!(users.join(",")));
        if let Some(comment) = comment {
            row.insert("comment".to_owned(), json!(comment));
        }
        rows.push(Value::Object(row));
    }
    Ok(Value::Array(rows))
}

fn group_exists(call: &Call<'_>, prefix: &str) -> Result<String, Fail> {
    let id = call.text("groupid");
    if call.state.groups.contains_key(&id) {
        return Ok(id);
    }
    Err(Fail::die(format!("{prefix}group '{id}' does not exist")))
}

fn create_group(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("groupid");
    if call.state.groups.contains_key(&id) {
        return Err(Fail::die(format!("create group failed: group '{id}' already exists")));
    }
    let comment = call.get("comment").map(str::to_owned);
    call.state.groups.insert(id, comment);
    Ok(Value::Null)
}

fn read_group(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = group_exists(call, "")?;
    let members: Vec<&String> = call
        .state
        .users
        .iter()
        .filter(|(_, user)| user.groups.contains(&id))
        .map(|(id, _)| id)
        .collect();
    let mut map = json!({"members": members});
    if let (Some(comment), Some(map)) =
        (call.state.groups.get(&id).cloned().flatten(), map.as_object_mut())
    {
        map.insert("comment".to_owned(), json!(comment));
    }
    Ok(map)
}

fn update_group(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = group_exists(call, "update group failed: ")?;
    let comment = call.get("comment").map(str::to_owned);
    call.state.groups.insert(id, comment);
    Ok(Value::Null)
}

fn delete_group(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = group_exists(call, "delete group failed: ")?;
    call.state.groups.remove(&id);
    for user in call.state.users.values_mut() {
        user.groups.remove(&id);
    }
    call.state.acl.retain(|row| row.kind != "group" || row.id != id);
    Ok(Value::Null)
}
