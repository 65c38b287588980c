//! Login and what whoever calls may do; users, tokens, roles, groups and the access list.

mod acl;
mod groups;
mod roles;
mod tokens;
mod users;

use serde_json::{Map, Value, json};

use super::Row;
use crate::sim::auth;
use crate::sim::fail::Fail;
use crate::sim::perm;
use crate::sim::reply::Call;

const OWN: &[Row] = &[
    ("GET", "/access/ticket", nothing),
    ("POST", "/access/ticket", login),
    ("POST", "/access/vncticket", refused),
    ("GET", "/access/domains", domains),
    ("GET", "/access/permissions", permissions),
];

/// The handlers.
pub(super) fn routes() -> impl Iterator<Item = &'static Row> {
    let tables = [OWN, users::ROUTES, tokens::ROUTES, roles::ROUTES, groups::ROUTES, acl::ROUTES];
    tables.into_iter().flatten()
}

fn nothing(_: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(Value::Null)
}

fn refused(_: &mut Call<'_>) -> Result<Value, Fail> {
    Err(Fail::status(401, "authentication failure\n"))
}

fn login(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut user = call.text("username");
    if !user.contains('@') {
        user = format!("{user}@{}", call.get("realm").unwrap_or("pam"));
    }
    let now = call.now();
    let (password, refused) =
        (call.text("password"), Fail::status(401, "authentication failure\n"));
    if let Some(challenge) = call.get("tfa-challenge") {
        let known = auth::verify_challenge(call.state, challenge, &user, now);
        let codes = call.state.users.get_mut(&user).and_then(|user| user.codes.as_mut());
        let code = password.strip_prefix("totp:").filter(|_| known);
        let found = codes
            .as_ref()
            .zip(code)
            .and_then(|(codes, code)| codes.iter().position(|other| other == code));
        match (codes, found) {
            (Some(codes), Some(index)) => drop(codes.remove(index)),
            _ => return Err(refused),
        }
    } else if !auth::verify_password(call.state, &user, &password, now) {
        return Err(refused);
    } else if !password.starts_with("PVE:")
        && call.state.users.get(&user).is_some_and(|user| user.codes.is_some())
    {
        let ticket = auth::challenge(call.state, &user, now);
        return Ok(json!({"username": user, "ticket": ticket, "NeedTFA": 1, "cap": {}}));
    }
    let (ticket, csrf) = auth::ticket(call.state, &user, now);
    let mut map =
        json!({"username": user, "ticket": ticket, "CSRFPreventionToken": csrf, "cap": {}});
    if let (Some(name), Some(map)) = (&call.state.cluster_name, map.as_object_mut()) {
        map.insert("clustername".to_owned(), json!(name));
    }
    Ok(map)
}

fn domains(_: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(json!([
        {"realm": "pam", "type": "pam", "comment": "Linux PAM standard authentication"},
        {"realm": "pve", "type": "pve", "comment": "Proxmox VE authentication server"},
    ]))
}

fn permissions(call: &mut Call<'_>) -> Result<Value, Fail> {
    let who = match call.get("userid") {
        Some(text) => match text.split_once('!') {
            Some((user, token)) => {
                auth::Identity { user: user.to_owned(), token: Some(token.to_owned()) }
            }
            None => auth::Identity { user: text.to_owned(), token: None },
        },
        None => call.user.clone(),
    };
    if who.user != call.user.user {
        call.require("/access", "Sys.Audit")?;
    }
    let paths: Vec<String> = match call.get("path") {
        Some(path) => vec![path.to_owned()],
        None if perm::is_root(call.state, &who) => {
            ["/", "/access", "/nodes", "/pool", "/sdn", "/storage", "/vms"]
                .map(str::to_owned)
                .to_vec()
        }
        None => call.state.acl.iter().map(|row| row.path.clone()).collect(),
    };
    let mut map = Map::new();
    for path in paths {
        let rights = perm::privileges(call.state, &who, &path);
        if !rights.is_empty() {
            let rights: Map<String, Value> =
                rights.into_iter().map(|(name, down)| (name, json!(u8::from(down)))).collect();
            map.insert(path, Value::Object(rights));
        }
    }
    Ok(Value::Object(map))
}
