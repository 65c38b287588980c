//! Users, tokens and what they may do.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::{Client, Parameters, escape};
use crate::error::Result;

/// What a user or token may do: `GET /access/permissions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions(BTreeMap<String, BTreeMap<String, bool>>);

impl Permissions {
    /// Privileges by path; the flag says whether a privilege holds for what lies below too.
    pub fn new(paths: BTreeMap<String, BTreeMap<String, bool>>) -> Self {
        Self(paths)
    }

    /// Paths with their privileges.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, bool>)> {
        self.0.iter().map(|(path, rights)| (path.as_str(), rights))
    }

    /// Whether a privilege holds on a path. What is granted on a path itself stands in place of
    /// what would come down to it from above.
    pub fn has(&self, path: &str, privilege: &str) -> bool {
        let mut at = path;
        loop {
            if let Some(rights) = self.0.get(at) {
                return rights.get(privilege).is_some_and(|down| *down || at == path);
            }
            if at == "/" {
                return false;
            }
            at = match at.rsplit_once('/') {
                Some(("", _)) | None => "/",
                Some((above, _)) => above,
            };
        }
    }

    /// Those of the needed pairs of path and privilege that do not hold.
    pub fn missing<'a>(
        &self,
        needed: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Vec<(&'a str, &'a str)> {
        let mut seen = BTreeSet::new();
        needed
            .into_iter()
            .filter(|(path, privilege)| {
                !self.has(path, privilege) && seen.insert((*path, *privilege))
            })
            .collect()
    }
}

/// A token of a user: `GET /access/users/{userid}/token`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct TokenRow {
    /// Its name.
    pub tokenid: String,
    /// It has only what is granted to it and to its user, not all that its user has.
    #[serde(default, deserialize_with = "crate::loose::flag")]
    pub privsep: bool,
    /// When it ends, in seconds since 1970; 0: never.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub expire: Option<u64>,
    /// What is written on it.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub comment: Option<String>,
}

/// A user: `GET /access/users`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct UserRow {
    /// `name@realm`.
    pub userid: String,
    /// The user can log in.
    #[serde(default, deserialize_with = "crate::loose::flag")]
    pub enable: bool,
    /// When it ends, in seconds since 1970; 0: never.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub expire: Option<u64>,
    /// What is written on it.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub comment: Option<String>,
    /// Where mail for it goes.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub email: Option<String>,
    /// What people call whoever it is.
    #[serde(default, rename = "firstname", deserialize_with = "crate::loose::text")]
    pub first_name: Option<String>,
    /// And by family.
    #[serde(default, rename = "lastname", deserialize_with = "crate::loose::text")]
    pub last_name: Option<String>,
    /// Groups that it is in; told by [`Access::user`].
    #[serde(default, deserialize_with = "crate::loose::names")]
    pub groups: Vec<String>,
}

/// A role: `GET /access/roles`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct RoleRow {
    /// Its name.
    pub roleid: String,
    /// Its privileges, separated by commas.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub privs: Option<String>,
    /// It comes with Proxmox VE and cannot be changed.
    #[serde(default, deserialize_with = "crate::loose::flag")]
    pub special: bool,
}

/// A grant: `GET /access/acl`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct AclRow {
    /// Where it holds.
    pub path: String,
    /// `user`, `group` or `token`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whom it is for.
    pub ugid: String,
    /// What it gives.
    pub roleid: String,
    /// It holds for what lies below too.
    #[serde(default, deserialize_with = "crate::loose::flag")]
    pub propagate: bool,
}

/// Users, tokens, roles and grants.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    pub(crate) client: &'a Client,
}

impl Client {
    /// Users, tokens, roles and grants.
    pub fn access(&self) -> Access<'_> {
        Access { client: self }
    }

    /// What whoever calls may do: `GET /access/permissions`.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn permissions(&self) -> Result<Permissions> {
        self.access().permissions(&[]).await
    }
}

impl Access<'_> {
    /// `GET /access/permissions`, of a `userid` (a user or `user@realm!token`), of one `path`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn permissions(&self, keys: &Parameters<'_>) -> Result<Permissions> {
        // Nobody has anything: an empty list stands for an empty map.
        let answer: Value = self.client.get("/access/permissions", keys).await?;
        let paths = answer.as_object().into_iter().flatten().map(|(path, rights)| {
            let rights = rights.as_object().into_iter().flatten();
            let rights = rights.map(|(name, down)| {
                (name.clone(), crate::loose::number_of(down).is_some_and(|down| down != 0))
            });
            (path.clone(), rights.collect())
        });
        Ok(Permissions(paths.collect()))
    }

    /// The first of these paths on which whoever calls has none of the privileges. Lists leave out
    /// what one has no privilege on: that something is not in them tells nothing until this is none.
    ///
    /// Each path is asked for by itself. The list of all leaves out those on which nothing is held,
    /// so what is granted above them would seem to hold there too.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn first_hidden(
        &self,
        paths: impl IntoIterator<Item = String>,
        privileges: &[&str],
    ) -> Result<Option<String>> {
        let asked = paths.into_iter().map(|path| async move {
            let held = self.permissions(&[("path", &path)]).await?;
            let sees = privileges.iter().any(|privilege| held.has(&path, privilege));
            Ok::<_, crate::error::Error>((!sees).then_some(path))
        });
        // Of futures, not of what they are made from: so a task of any thread can hold this one.
        let asked: Vec<_> = asked.collect();
        let hidden = futures_util::stream::iter(asked).buffered(self.client.concurrency());
        let hidden = std::pin::pin!(hidden.try_filter_map(|path| std::future::ready(Ok(path))));
        hidden.into_future().await.0.transpose()
    }

    /// `GET /access/users`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn users(&self) -> Result<Vec<UserRow>> {
        self.client.get("/access/users", &[]).await
    }

    /// `GET /access/users/{userid}/token`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn tokens(&self, user: &str) -> Result<Vec<TokenRow>> {
        self.client.get(&format!("/access/users/{}/token", escape(user)), &[]).await
    }

    /// `GET /access/roles`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn roles(&self) -> Result<Vec<RoleRow>> {
        self.client.get("/access/roles", &[]).await
    }

    /// `POST /access/roles`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn create_role(&self, role: &str, privileges: &[&str]) -> Result<()> {
        let privileges = privileges.join(",");
        let keys = [("roleid", role), ("privs", privileges.as_str())];
        self.client.call::<Option<Value>>(Method::POST, "/access/roles", &keys).await.map(drop)
    }

    /// `PUT /access/roles/{roleid}`: the privileges of a role are these and no others.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn set_role(&self, role: &str, privileges: &[&str]) -> Result<()> {
        let privileges = privileges.join(",");
        let path = format!("/access/roles/{}", escape(role));
        let keys = [("privs", privileges.as_str())];
        self.client.call::<Option<Value>>(Method::PUT, &path, &keys).await.map(drop)
    }

    /// `GET /access/acl`: what the user may see of it.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn acl(&self) -> Result<Vec<AclRow>> {
        self.client.get("/access/acl", &[]).await
    }

    /// `PUT /access/acl`: grants a role, or takes it back with `remove`. Roles that were granted
    /// before stay.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn grant(&self, grant: &AclRow, remove: bool) -> Result<()> {
        let whom = match grant.kind.as_str() {
            "group" => "groups",
            "token" => "tokens",
            _ => "users",
        };
        let keys = [
            ("path", grant.path.as_str()),
            ("roles", grant.roleid.as_str()),
            (whom, grant.ugid.as_str()),
            ("propagate", if grant.propagate { "1" } else { "0" }),
            ("delete", if remove { "1" } else { "0" }),
        ];
        self.client.call::<Option<Value>>(Method::PUT, "/access/acl", &keys).await.map(drop)
    }
}

impl AclRow {
    /// A grant: `kind` is `user`, `group` or `token`.
    pub fn new(
        path: impl Into<String>,
        kind: impl Into<String>,
        ugid: impl Into<String>,
        roleid: impl Into<String>,
        propagate: bool,
    ) -> Self {
        Self {
            path: path.into(),
            kind: kind.into(),
            ugid: ugid.into(),
            roleid: roleid.into(),
            propagate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(rows: &[(&str, &str, bool)]) -> Permissions {
        let mut paths: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
        for (path, privilege, down) in rows {
            paths.entry((*path).to_owned()).or_default().insert((*privilege).to_owned(), *down);
        }
        Permissions::new(paths)
    }

    #[test]
    fn a_privilege_comes_down_unless_something_stands_nearer() {
        let held = permissions(&[
            ("/", "Sys.Audit", true),
            ("/vms", "VM.Allocate", true),
            ("/vms/100", "VM.Audit", true),
            ("/storage", "Datastore.Audit", false),
        ]);
        for (path, privilege, holds) in [
            ("/nodes/pve01", "Sys.Audit", true),
            ("/vms/101", "VM.Allocate", true),
            ("/vms/100", "VM.Allocate", false),
            ("/vms", "Sys.Audit", false),
            ("/storage", "Datastore.Audit", true),
            ("/storage/local", "Datastore.Audit", false),
            ("/", "VM.Allocate", false),
        ] {
            assert_eq!(held.has(path, privilege), holds, "{privilege} on {path}");
        }
    }

    #[test]
    fn what_is_missing_is_told_once() {
        let held = permissions(&[("/", "Sys.Audit", true)]);
        let needed = [("/vms/1", "VM.Audit"), ("/x", "Sys.Audit"), ("/vms/1", "VM.Audit")];
        assert_eq!(held.missing(needed), [("/vms/1", "VM.Audit")]);
    }
}
