//! Users, tokens, roles, groups, the access list and login.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Row;
use crate::sim::auth;
use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::perm;
use crate::sim::reply::Call;
use crate::sim::state::{AclRow, Token, User};

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/access/ticket", nothing),
    ("POST", "/access/ticket", login),
    ("POST", "/access/vncticket", refused),
    ("GET", "/access/domains", domains),
    ("GET", "/access/permissions", permissions),
    ("GET", "/access/users", users),
    ("POST", "/access/users", create_user),
    ("GET", "/access/users/{userid}", read_user),
    ("PUT", "/access/users/{userid}", update_user),
    ("DELETE", "/access/users/{userid}", delete_user),
    ("GET", "/access/users/{userid}/token", tokens),
    ("GET", "/access/users/{userid}/token/{tokenid}", read_token),
    ("POST", "/access/users/{userid}/token/{tokenid}", create_token),
    ("PUT", "/access/users/{userid}/token/{tokenid}", update_token),
    ("DELETE", "/access/users/{userid}/token/{tokenid}", delete_token),
    ("GET", "/access/roles", roles),
    ("POST", "/access/roles", create_role),
    ("GET", "/access/roles/{roleid}", read_role),
    ("PUT", "/access/roles/{roleid}", update_role),
    ("DELETE", "/access/roles/{roleid}", delete_role),
    ("GET", "/access/groups", groups),
    ("POST", "/access/groups", create_group),
    ("GET", "/access/groups/{groupid}", read_group),
    ("PUT", "/access/groups/{groupid}", update_group),
    ("DELETE", "/access/groups/{groupid}", delete_group),
    ("GET", "/access/acl", acl),
    ("PUT", "/access/acl", set_acl),
];

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

fn token_row(token: &Token) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("privsep".to_owned(), json!(u8::from(token.privsep)));
    map.insert("expire".to_owned(), json!(token.expire));
    if let Some(comment) = &token.comment {
        map.insert("comment".to_owned(), json!(comment));
    }
    map
}

fn user_row(user: &User) -> Map<String, Value> {
    let mut map: Map<String, Value> =
        user.fields.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    map.insert("enable".to_owned(), json!(u8::from(user.enable)));
    map.insert("expire".to_owned(), json!(user.expire));
    map
}

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

fn missing_token(call: &Call<'_>) -> Fail {
    Fail::die(format!(
        "no such token '{}' for user '{}'",
        call.text("tokenid"),
        call.text("userid")
    ))
}

fn token_of<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Token, Fail> {
    let (user, id) = (call.text("userid"), call.text("tokenid"));
    let absent = missing_token(call);
    if !call.state.users.contains_key(&user) {
        return Err(Fail::denied(""));
    }
    call.state.users.get_mut(&user).and_then(|user| user.tokens.get_mut(&id)).ok_or(absent)
}

fn tokens(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("userid");
    let user = call.state.users.get(&id).ok_or_else(|| Fail::denied(""))?;
    let rows = user.tokens.iter().map(|(id, token)| {
        let mut row = token_row(token);
        row.insert("tokenid".to_owned(), json!(id));
        Value::Object(row)
    });
    Ok(rows.collect())
}

fn read_token(call: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(Value::Object(token_row(token_of(call)?)))
}

/// What was sent, echoed as it came.
fn echo(call: &Call<'_>, map: &mut Map<String, Value>) {
    for key in ["privsep", "expire", "comment"] {
        if let Some(text) = call.get(key) {
            map.insert(key.to_owned(), json!(text));
        }
    }
}

fn create_token(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (user, id) = (call.text("userid"), call.text("tokenid"));
    let Some(owner) = call.state.users.get(&user) else { return Err(Fail::denied("")) };
    if owner.tokens.contains_key(&id) {
        return Err(Fail::param("tokenid", "Token already exists."));
    }
    let secret = uuid::Uuid::new_v4().to_string();
    let token = Token {
        privsep: call.get("privsep") != Some("0"),
        expire: call.number("expire").unwrap_or(0),
        comment: call.get("comment").map(str::to_owned),
        secret_sha256: digest::sha256(secret.as_bytes()),
    };
    let mut info = Map::new();
    info.insert("privsep".to_owned(), json!(u8::from(token.privsep)));
    echo(call, &mut info);
    if let Some(owner) = call.state.users.get_mut(&user) {
        owner.tokens.insert(id.clone(), token);
    }
    Ok(json!({"full-tokenid": format!("{user}!{id}"), "value": secret, "info": info}))
}

fn update_token(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut token = token_of(call)?.clone();
    if let Some(flag) = call.get("privsep") {
        token.privsep = flag == "1";
    }
    token.expire = call.number("expire").unwrap_or(token.expire);
    if let Some(comment) = call.get("comment") {
        token.comment = Some(comment.to_owned());
    }
    for key in call.list("delete") {
        match key.as_str() {
            "comment" => token.comment = None,
            "expire" => token.expire = 0,
            _ => {}
        }
    }
    let mut map = token_row(&token);
    echo(call, &mut map);
    if call.flag("regenerate") {
        let secret = uuid::Uuid::new_v4().to_string();
        token.secret_sha256 = digest::sha256(secret.as_bytes());
        map.insert("value".to_owned(), json!(secret));
        map.insert(
            "full-tokenid".to_owned(),
            json!(format!("{}!{}", call.text("userid"), call.text("tokenid"))),
        );
    }
    *token_of(call)? = token;
    Ok(Value::Object(map))
}

fn delete_token(call: &mut Call<'_>) -> Result<Value, Fail> {
    token_of(call)?;
    let (user, id) = (call.text("userid"), call.text("tokenid"));
    if let Some(owner) = call.state.users.get_mut(&user) {
        owner.tokens.remove(&id);
    }
    let full = format!("{user}!{id}");
    call.state.acl.retain(|row| row.id != full);
    Ok(Value::Null)
}

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

fn acl(call: &mut Call<'_>) -> Result<Value, Fail> {
    let rows = call
        .state
        .acl
        .iter()
        .filter(|row| call.may(&row.path, "Permissions.Modify") || row.id == call.user.full());
    Ok(rows.map(|row| json!({"path": row.path, "type": row.kind, "ugid": row.id, "roleid": row.role, "propagate": u8::from(row.propagate)})).collect())
}

fn acl_path(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    let path = format!("/{}", parts.join("/"));
    let first = path.split('/').nth(1).unwrap_or_default();
    let known = ["", "access", "mapping", "nodes", "pool", "sdn", "storage", "vms"];
    known.contains(&first).then_some(path)
}

fn set_acl(call: &mut Call<'_>) -> Result<Value, Fail> {
    let subjects: Vec<(&str, String)> =
        [("user", "users"), ("group", "groups"), ("token", "tokens")]
            .into_iter()
            .flat_map(|(kind, key)| call.list(key).into_iter().map(move |id| (kind, id)))
            .collect();
    if subjects.is_empty() {
        let text = "either 'users', 'groups' or 'tokens' is required.".to_owned();
        let keys = ["users", "groups", "tokens"].map(|key| (key.to_owned(), text.clone()));
        return Err(Fail::params(BTreeMap::from(keys)));
    }
    let given = call.text("path");
    let path = acl_path(&given)
        .ok_or_else(|| Fail::param("path", format!("invalid ACL path '{given}'")))?;
    let fail = |text: String| Fail::die(format!("ACL update failed: {text}"));
    let (remove, propagate) = (call.flag("delete"), call.get("propagate") != Some("0"));
    let mut rows = Vec::new();
    for role in call.list("roles") {
        if perm::role(call.state, &role).is_none() {
            return Err(fail(format!("role '{role}' does not exist")));
        }
        for (kind, id) in &subjects {
            match *kind {
                "user" if !call.state.users.contains_key(id) => {
                    return Err(fail(format!("user '{id}' does not exist")));
                }
                "group" if !call.state.groups.contains_key(id) => {
                    return Err(fail(format!("group '{id}' does not exist")));
                }
                "token" => {
                    let (user, token) = id.split_once('!').unwrap_or((id, ""));
                    if !call
                        .state
                        .users
                        .get(user)
                        .is_some_and(|user| user.tokens.contains_key(token))
                    {
                        return Err(fail(format!("no such token '{token}' for user '{user}'")));
                    }
                }
                _ => {}
            }
            rows.push(AclRow {
                path: path.clone(),
                kind: (*kind).to_owned(),
                id: id.clone(),
                role: role.clone(),
                propagate,
            });
        }
    }
    for row in rows {
        call.state.acl.retain(|old| {
            old.path != row.path || old.kind != row.kind || old.id != row.id || old.role != row.role
        });
        if !remove {
            call.state.acl.push(row);
        }
    }
    Ok(Value::Null)
}
