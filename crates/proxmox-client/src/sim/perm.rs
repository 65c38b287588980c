//! Privileges, roles and the check of permissions that endpoints declare.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::auth::Identity;
use super::fail::Fail;
use super::state::State;

const PRIVILEGES: [&str; 45] = [
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "Group.Allocate",
    "Mapping.Audit",
    "Mapping.Modify",
    "Mapping.Use",
    "Permissions.Modify",
    "Pool.Allocate",
    "Pool.Audit",
    "Realm.Allocate",
    "Realm.AllocateUser",
    "SDN.Allocate",
    "SDN.Audit",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Audit",
    "Sys.Console",
    "Sys.Incoming",
    "Sys.Modify",
    "Sys.PowerMgmt",
    "Sys.Syslog",
    "User.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Backup",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.Console",
    "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead",
    "VM.GuestAgent.FileSystemMgmt",
    "VM.GuestAgent.FileWrite",
    "VM.GuestAgent.Unrestricted",
    "VM.Migrate",
    "VM.PowerMgmt",
    "VM.Replicate",
];
const MORE: [&str; 3] = ["VM.Monitor", "VM.Snapshot", "VM.Snapshot.Rollback"];

/// Privileges of 8.4, or of 9: there the guest agent has its own.
fn all(old: bool) -> impl Iterator<Item = &'static str> {
    let is_new = |name: &str| name.starts_with("VM.GuestAgent.") || name == "VM.Replicate";
    let here = move |name: &&str| if old { !is_new(name) } else { *name != "VM.Monitor" };
    PRIVILEGES.into_iter().chain(MORE).filter(here)
}

/// Whether a privilege of this name exists in 8.4, or in 9.
pub(crate) fn is_privilege(name: &str, old: bool) -> bool {
    all(old).any(|known| known == name)
}

/// Names of the roles that exist without being made.
pub(crate) const BUILT_IN: [&str; 18] = [
    "Administrator",
    "NoAccess",
    "PVEAdmin",
    "PVEAuditor",
    "PVEDatastoreAdmin",
    "PVEDatastoreUser",
    "PVEMappingAdmin",
    "PVEMappingAuditor",
    "PVEMappingUser",
    "PVEPoolAdmin",
    "PVEPoolUser",
    "PVESDNAdmin",
    "PVESDNUser",
    "PVESysAdmin",
    "PVETemplateUser",
    "PVEUserAdmin",
    "PVEVMAdmin",
    "PVEVMUser",
];

/// Privileges of a role; `None` when there is no such role.
pub(crate) fn role(state: &State, name: &str) -> Option<BTreeSet<String>> {
    if let Some(own) = state.roles.get(name) {
        return Some(own.clone());
    }
    let pick = |test: &dyn Fn(&str) -> bool| {
        Some(all(state.old).filter(|name| test(name)).map(str::to_owned).collect())
    };
    let admin = |name: &str| {
        !matches!(
            name,
            "Permissions.Modify"
                | "Sys.Modify"
                | "Sys.PowerMgmt"
                | "Sys.Incoming"
                | "Sys.AccessNetwork"
        ) && !matches!(name, "Realm.Allocate" | "VM.GuestAgent.Unrestricted")
            || name == "VM.GuestAgent.Unrestricted"
    };
    let vm_user = |name: &str| {
        matches!(
            name,
            "VM.Audit"
                | "VM.Backup"
                | "VM.Config.CDROM"
                | "VM.Config.Cloudinit"
                | "VM.Console"
                | "VM.PowerMgmt"
                | "VM.GuestAgent.Audit"
                | "VM.GuestAgent.FileRead"
                | "VM.GuestAgent.FileSystemMgmt"
                | "VM.GuestAgent.FileWrite"
        )
    };
    match name {
        "Administrator" => pick(&|_| true),
        "NoAccess" => pick(&|_| false),
        "PVEAdmin" => pick(&admin),
        "PVEAuditor" => pick(&|name| name.ends_with(".Audit")),
        "PVEDatastoreAdmin" => pick(&|name| name.starts_with("Datastore.")),
        "PVEDatastoreUser" => {
            pick(&|name| matches!(name, "Datastore.AllocateSpace" | "Datastore.Audit"))
        }
        "PVEMappingAdmin" => pick(&|name| name.starts_with("Mapping.")),
        "PVEMappingAuditor" => pick(&|name| name == "Mapping.Audit"),
        "PVEMappingUser" => pick(&|name| matches!(name, "Mapping.Audit" | "Mapping.Use")),
        "PVEPoolAdmin" => pick(&|name| name.starts_with("Pool.")),
        "PVEPoolUser" => pick(&|name| name == "Pool.Audit"),
        "PVESDNAdmin" => pick(&|name| name.starts_with("SDN.")),
        "PVESDNUser" => pick(&|name| matches!(name, "SDN.Audit" | "SDN.Use")),
        "PVESysAdmin" => pick(&|name| matches!(name, "Sys.Audit" | "Sys.Console" | "Sys.Syslog")),
        "PVETemplateUser" => pick(&|name| matches!(name, "VM.Audit" | "VM.Clone")),
        "PVEUserAdmin" => {
            pick(&|name| matches!(name, "Group.Allocate" | "Realm.AllocateUser" | "User.Modify"))
        }
        "PVEVMAdmin" => pick(&|name| name.starts_with("VM.")),
        "PVEVMUser" => pick(&vm_user),
        _ => None,
    }
}

/// Paths from the root down to `path`.
fn ancestors(path: &str) -> Vec<String> {
    let mut all = vec!["/".to_owned()];
    let mut current = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        current = format!("{current}/{part}");
        all.push(current.clone());
    }
    all
}

/// Privileges of an entry of the access list on a path, with whether they go further down.
fn granted(
    state: &State,
    path: &str,
    users: &[(&str, &str)],
    groups: &BTreeSet<String>,
) -> BTreeMap<String, bool> {
    let mut roles: BTreeMap<String, bool> = BTreeMap::new();
    for step in ancestors(path) {
        let here =
            |row: &&super::state::AclRow| row.path == step && (row.propagate || step == path);
        let mut found: BTreeMap<String, bool> = BTreeMap::new();
        let direct =
            |row: &&super::state::AclRow| users.contains(&(row.kind.as_str(), row.id.as_str()));
        for row in state.acl.iter().filter(here).filter(direct) {
            found.insert(row.role.clone(), row.propagate);
        }
        if found.is_empty() {
            let grouped =
                |row: &&super::state::AclRow| row.kind == "group" && groups.contains(&row.id);
            for row in state.acl.iter().filter(here).filter(grouped) {
                found.insert(row.role.clone(), row.propagate);
            }
        }
        if !found.is_empty() {
            roles = found;
        }
    }
    if roles.contains_key("NoAccess") {
        return BTreeMap::new();
    }
    let mut privileges = BTreeMap::new();
    for (name, propagate) in roles {
        for privilege in role(state, &name).unwrap_or_default() {
            let entry = privileges.entry(privilege).or_insert(false);
            *entry = *entry || propagate;
        }
    }
    privileges
}

fn user_privileges(state: &State, userid: &str, path: &str) -> BTreeMap<String, bool> {
    if userid == "root@pam" {
        return all(state.old).map(|name| (name.to_owned(), true)).collect();
    }
    let groups = state.users.get(userid).map(|user| user.groups.clone()).unwrap_or_default();
    let mut rights = granted(state, path, &[("user", userid)], &groups);
    if let Some(pool) = pool_of(state, path) {
        for (name, propagate) in
            granted(state, &format!("/pool/{pool}"), &[("user", userid)], &groups)
        {
            rights.entry(name).or_insert(propagate);
        }
    }
    rights
}

/// The pool whose rights count on the path of a member.
fn pool_of<'a>(state: &'a State, path: &str) -> Option<&'a str> {
    let vmid = path.strip_prefix("/vms/").and_then(|id| id.parse::<u32>().ok());
    let storage = path.strip_prefix("/storage/");
    let member = |pool: &super::state::Pool| {
        vmid.is_some_and(|id| pool.vms.contains(&id))
            || storage.is_some_and(|id| pool.storages.contains(id))
    };
    state.pools.iter().find(|(_, pool)| member(pool)).map(|(name, _)| name.as_str())
}

/// Effective privileges on a path.
pub(crate) fn privileges(state: &State, who: &Identity, path: &str) -> BTreeMap<String, bool> {
    let user = user_privileges(state, &who.user, path);
    let Some(token) = who.token.as_ref() else { return user };
    let separated = state
        .users
        .get(&who.user)
        .and_then(|user| user.tokens.get(token))
        .is_some_and(|one| one.privsep);
    if !separated {
        return user;
    }
    let full = format!("{}!{token}", who.user);
    let mut own = granted(state, path, &[("token", full.as_str())], &BTreeSet::new());
    own.retain(|name, _| user.contains_key(name));
    own
}

/// Whether all (or any) of the privileges are there.
pub(crate) fn allows(
    state: &State,
    who: &Identity,
    path: &str,
    wanted: &[&str],
    every: bool,
) -> bool {
    if is_root(state, who) {
        return true;
    }
    let have = privileges(state, who, path);
    if every {
        wanted.iter().all(|name| have.contains_key(*name))
    } else {
        wanted.iter().any(|name| have.contains_key(*name))
    }
}

/// Whether the caller has all of root's rights (the ticket, or a token without separation).
pub(crate) fn is_root(state: &State, who: &Identity) -> bool {
    let separated = |token: &String| {
        state
            .users
            .get(&who.user)
            .and_then(|user| user.tokens.get(token))
            .is_none_or(|one| one.privsep)
    };
    who.user == "root@pam" && !who.token.as_ref().is_some_and(separated)
}

/// Evaluates the permission that an endpoint declares.
///
/// # Errors
/// 403 with the path and the privileges of the first check that failed.
pub(crate) fn check(
    state: &State,
    who: &Identity,
    rule: &Value,
    param: &dyn Fn(&str) -> String,
) -> Result<(), Fail> {
    match rule.get("check") {
        Some(check) => eval(state, who, check, param),
        None if rule.get("user").is_some() || is_root(state, who) => Ok(()),
        None => Err(Fail::denied("user != root@pam")),
    }
}

fn eval(
    state: &State,
    who: &Identity,
    check: &Value,
    param: &dyn Fn(&str) -> String,
) -> Result<(), Fail> {
    let Some(parts) = check.as_array() else { return Ok(()) };
    let word = |index: usize| parts.get(index).and_then(Value::as_str).unwrap_or_default();
    match word(0) {
        "and" => parts.iter().skip(1).try_for_each(|part| eval(state, who, part, param)),
        "or" => {
            let mut last = Ok(());
            for part in parts.iter().skip(1) {
                last = eval(state, who, part, param);
                if last.is_ok() {
                    break;
                }
            }
            last.map_err(|fail| {
                if parts.iter().any(|part| part.get(0) == Some(&Value::from("userid-param"))) {
                    Fail::denied("")
                } else {
                    fail
                }
            })
        }
        "perm" => {
            let path = expand(word(1), param);
            let wanted: Vec<&str> = parts
                .get(2)
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                .unwrap_or_default()
                .iter()
                .filter_map(Value::as_str)
                .collect();
            let any = word(3) == "any";
            if allows(state, who, &path, &wanted, !any) {
                return Ok(());
            }
            let missing =
                if any { wanted.join("|") } else { first_missing(state, who, &path, &wanted) };
            Err(Fail::denied(&format!("{path}, {missing}")))
        }
        "perm-modify" => {
            let path = expand(word(1), param);
            if may_modify(state, who, &path) {
                return Ok(());
            }
            let key = modify_privilege(&path).unwrap_or("Permissions.Modify");
            Err(Fail::denied(&format!("{path}, {key}")))
        }
        "userid-param" => userid_param(state, who, word(1), param),
        "userid-group" => {
            let wanted: Vec<&str> = parts
                .get(1)
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                .unwrap_or_default()
                .iter()
                .filter_map(Value::as_str)
                .collect();
            if state.users.contains_key(&param("userid"))
                || word(3) == "create"
                || is_root(state, who) && !word(2).is_empty()
            {
                if allows(state, who, "/access/groups", &wanted, false) {
                    return Ok(());
                }
                return Err(Fail::denied(&format!("/access/groups, {}", wanted.join("|"))));
            }
            Err(Fail::denied(""))
        }
        _ => Ok(()),
    }
}

fn userid_param(
    state: &State,
    who: &Identity,
    what: &str,
    param: &dyn Fn(&str) -> String,
) -> Result<(), Fail> {
    let userid = param("userid");
    if what == "self" {
        return if who.user == userid { Ok(()) } else { Err(Fail::denied("")) };
    }
    let realm = userid.rsplit('@').next().unwrap_or_default();
    let path = format!("/access/realm/{realm}");
    if allows(state, who, &path, &[what], true) {
        Ok(())
    } else {
        Err(Fail::denied(&format!("{path}, {what}")))
    }
}

fn first_missing(state: &State, who: &Identity, path: &str, wanted: &[&str]) -> String {
    let have = privileges(state, who, path);
    wanted
        .iter()
        .find(|name| !have.contains_key(**name))
        .map_or_else(String::new, |name| (*name).to_owned())
}

/// Whether somebody may see and change what is granted on a path.
pub(crate) fn may_modify(state: &State, who: &Identity, path: &str) -> bool {
    let wanted = modify_privilege(path).into_iter().chain(["Permissions.Modify"]);
    allows(state, who, path, &wanted.collect::<Vec<_>>(), false)
}

fn modify_privilege(path: &str) -> Option<&'static str> {
    // only what lies below: the kind as a whole is not for who manages some of it
    let (kind, _) = path.strip_prefix('/')?.split_once('/').filter(|(_, id)| !id.is_empty())?;
    match kind {
        "storage" => Some("Datastore.Allocate"),
        "vms" => Some("VM.Allocate"),
        "pool" => Some("Pool.Allocate"),
        _ => None,
    }
}

fn expand(path: &str, param: &dyn Fn(&str) -> String) -> String {
    let parts: Vec<String> = path
        .split('/')
        .map(|part| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) => param(name),
            None => part.to_owned(),
        })
        .collect();
    let joined = parts.join("/");
    if joined.starts_with("//") { joined.trim_start_matches('/').to_owned() } else { joined }
}
