//! The access list.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::sim::api::Row;
use crate::sim::fail::Fail;
use crate::sim::perm;
use crate::sim::reply::Call;
use crate::sim::state::AclRow;

pub(super) const ROUTES: &[Row] = &[("GET", "/access/acl", acl), ("PUT", "/access/acl", set_acl)];

fn acl(call: &mut Call<'_>) -> Result<Value, Fail> {
    let all = call.may("/access", "Sys.Audit");
    let rows = call
        .state
        .acl
        .iter()
        .filter(|row| all || perm::may_modify(call.state, call.user, &row.path));
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
