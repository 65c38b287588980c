//! Roles.

use serde_json::{Map, Value, json};

use crate::sim::api::Row;
use crate::sim::fail::Fail;
use crate::sim::perm;
use crate::sim::reply::Call;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/access/roles", roles),
    ("POST", "/access/roles", create_role),
    ("GET", "/access/roles/{roleid}", read_role),
    ("PUT", "/access/roles/{roleid}", update_role),
    ("DELETE", "/access/roles/{roleid}", delete_role),
];

fn roles(call: &mut Call<'_>) -> Result<Value, Fail> {
    let own = call.state.roles.keys().map(String::as_str);
    let rows = perm::BUILT_IN.into_iter().chain(own).map(|name| {
        let privileges: Vec<String> =
            perm::role(call.state, name).unwrap_or_default().into_iter().collect();
        let special = u8::from(perm::BUILT_IN.contains(&name));
        json!({"roleid": name, "privs": privileges.join(","), "special": special})
    });
    Ok(rows.collect())
}

fn create_role(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("roleid");
    if perm::role(call.state, &id).is_some() {
        return Err(Fail::die(format!("create role failed: role '{id}' already exists")));
    }
    let privileges = call.list("privs").into_iter().collect();
    call.state.roles.insert(id, privileges);
    Ok(Value::Null)
}

fn read_role(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("roleid");
    let privileges = perm::role(call.state, &id)
        .ok_or_else(|| Fail::die(format!("role '{id}' does not exist")))?;
    let map: Map<String, Value> = privileges.into_iter().map(|name| (name, json!(1))).collect();
    Ok(Value::Object(map))
}

fn update_role(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("roleid");
    if perm::BUILT_IN.contains(&id.as_str()) {
        return Err(Fail::die(format!("auto-generated role '{id}' cannot be modified")));
    }
    let (privileges, append) = (call.list("privs"), call.flag("append"));
    let Some(role) = call.state.roles.get_mut(&id) else {
        return Err(Fail::die(format!("update role failed: role '{id}' does not exist")));
    };
    if !append {
        role.clear();
    }
    role.extend(privileges);
    Ok(Value::Null)
}

fn delete_role(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("roleid");
    if perm::BUILT_IN.contains(&id.as_str()) {
        return Err(Fail::die(format!("auto-generated role '{id}' cannot be deleted")));
    }
    if call.state.roles.remove(&id).is_none() {
        return Err(Fail::die(format!("delete role failed: role '{id}' does not exist")));
    }
    call.state.acl.retain(|row| row.role != id);
    Ok(Value::Null)
}
