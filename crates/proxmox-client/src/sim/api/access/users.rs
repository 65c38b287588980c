//! Users.

use serde_json::{Map, Value, json};

use super::tokens::token_row;
use crate::sim::api::Row;
use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::state::User;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/access/users", users),
    ("POST", "/access/users", create_user),
    ("GET", "/access/users/{userid}", read_user),
    ("PUT", "/access/users/{userid}", update_user),
    ("DELETE", "/access/users/{userid}", delete_user),
];

fn users(call: &mut Call<'_>) -> Result<Value, Fail> {
    let full = call.flag("full");
    let all = call.may("/access/groups", "User.Modify") || call.may("/access/groups", "Sys.Audit");
    let mut rows = Vec::new();
    for (id, user) in call.state.users.iter().filter(|(id, _)| all || **id == call.user.user) {
        let mut map = user_row(user);
        map.insert("userid".to_owned(), json!(id));
        map.insert("realm-type".to_owned(), json!(id.rsplit('@').next()));
        if full {
            map.insert(
                "groups".to_owned(),
                json!(user.groups.iter().cloned().collect::<Vec<_>>().join(",")),
            );
            let tokens = user.tokens.iter().map(|(id, token)| {
                let mut row = token_row(token);
                row.insert("tokenid".to_owned(), json!(id));
                Value::Object(row)
            });
            map.insert("tokens".to_owned(), tokens.collect());
        }
        rows.push(Value::Object(map));
    }
    Ok(Value::Array(rows))
}

fn user_row(user: &User) -> Map<String, Value> {
    let mut map: Map<String, Value> =
        user.fields.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    map.insert("enable".to_owned(), json!(u8::from(user.enable)));
    map.insert("expire".to_owned(), json!(user.expire));
    map
}

fn apply_user(call: &Call<'_>, user: &mut User) {
    for key in ["comment", "email", "firstname", "lastname", "keys"] {
        match call.get(key) {
            Some("") => drop(user.fields.remove(key)),
            Some(text) => drop(user.fields.insert(key.to_owned(), text.to_owned())),
            None => {}
        }
    }
    if let Some(enable) = call.get("enable") {
        user.enable = enable == "1";
    }
    if let Some(expire) = call.number("expire") {
        user.expire = expire;
    }
    if call.get("groups").is_some() {
        if !call.flag("append") {
            user.groups.clear();
        }
        user.groups.extend(call.list("groups"));
    }
}

fn create_user(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("userid");
    if call.state.users.contains_key(&id) {
        return Err(Fail::die(format!("create user failed: user '{id}' already exists")));
    }
    let mut user = User { enable: true, ..User::default() };
    apply_user(call, &mut user);
    user.password_sha256 = call.get("password").map(|text| digest::sha256(text.as_bytes()));
    call.state.users.insert(id, user);
    Ok(Value::Null)
}

fn read_user(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("userid");
    let user =
        call.state.users.get(&id).ok_or_else(|| Fail::die(format!("no such user ('{id}')")))?;
    let mut map = user_row(user);
    map.insert("groups".to_owned(), json!(user.groups));
    if !user.tokens.is_empty() {
        let tokens: Map<String, Value> = user
            .tokens
            .iter()
            .map(|(id, token)| (id.clone(), Value::Object(token_row(token))))
            .collect();
        map.insert("tokens".to_owned(), Value::Object(tokens));
    }
    Ok(Value::Object(map))
}

fn update_user(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("userid");
    let Some(mut user) = call.state.users.get(&id).cloned() else {
        return Err(Fail::die(format!("update user failed: no such user ('{id}')")));
    };
    apply_user(call, &mut user);
    call.state.users.insert(id, user);
    Ok(Value::Null)
}

fn delete_user(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("userid");
    if id == "root@pam" {
        if let Some(root) = call.state.users.get_mut(&id) {
            root.tokens.clear();
        }
    } else if call.state.users.remove(&id).is_none() {
        return Err(Fail::die(format!("delete user failed: no such user ('{id}')")));
    }
    let tokens = format!("{id}!");
    call.state.acl.retain(|row| row.id != id && !row.id.starts_with(&tokens));
    Ok(Value::Null)
}
