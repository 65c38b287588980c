//! Roles, users, groups and grants that end as they should.

use secrecy::{ExposeSecret as _, SecretString};

use super::until;
use crate::api::{Access, AclRow, RoleRow, UserRow};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::access::{RoleChange, RoleState, diff_role};
use crate::plan::user::{GroupChange, GroupState, UserChange, UserState, diff_group, diff_user};
use crate::wire::split_list;

impl Access<'_> {
    /// Gets a role to have these privileges and no others, and gives what was done. It holds at
    /// once for all who have the role.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call); [`ErrorKind::Invalid`] for a role that comes with
    /// Proxmox VE and has other privileges.
    pub async fn ensure_role(&self, desired: &RoleState) -> Result<Vec<RoleChange>> {
        until::done(
            "change a role",
            || {
                Box::pin(async move {
                    let found = self.role(&desired.id).await?;
                    let observed = found.as_ref().map(role_state);
                    let change = diff_role(desired, observed.as_ref());
                    if change.is_some() && found.is_some_and(|found| found.special) {
                        let name = &desired.id;
                        let text = format!("{name} comes with Proxmox VE: it stays as it is");
                        return Err(Error::new(ErrorKind::Invalid, "change a role", text));
                    }
                    Ok((change.into_iter().collect(), ()))
                })
            },
            |change, ()| Box::pin(self.change_role(change)),
        )
        .await
    }

    async fn change_role(&self, change: RoleChange) -> Result<()> {
        let is_new = matches!(change, RoleChange::Create { .. });
        let (RoleChange::Create { role } | RoleChange::Set { role, .. }) = &change;
        let privileges: Vec<&str> = role.privileges.iter().map(String::as_str).collect();
        if is_new {
            self.create_role(&role.id, &privileges).await
        } else {
            self.set_role(&role.id, &privileges).await
        }
    }

    /// Removes a role, and gives whether it was there. What was granted by it is no longer.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn ensure_no_role(&self, id: &str) -> Result<bool> {
        until::gone(
            || Box::pin(async move { Ok(self.role(id).await?.is_some()) }),
            || Box::pin(self.delete_role(id)),
        )
        .await
    }

    async fn role(&self, id: &str) -> Result<Option<RoleRow>> {
        Ok(self.roles().await?.into_iter().find(|role| role.roleid == id))
    }

    /// Gets a user to be so, in these groups and no others, and gives what was done. What is not
    /// told of it is cleared where it was written: comment, mail address, first and last name. The
    /// password is set only where the user is made: whether one that is there has it, nobody can
    /// read.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn ensure_user(
        &self,
        desired: &UserState,
        password: Option<&SecretString>,
    ) -> Result<Vec<UserChange>> {
        until::done(
            "change a user",
            || {
                Box::pin(async move {
                    let observed = self.user(&desired.id).await?.map(user_state);
                    Ok((diff_user(desired, observed.as_ref()).into_iter().collect(), ()))
                })
            },
            |change, ()| Box::pin(self.change_user(change, password)),
        )
        .await
    }

    async fn change_user(&self, change: UserChange, password: Option<&SecretString>) -> Result<()> {
        match &change {
            UserChange::Create { user } => {
                let keys = user.keys();
                let keys = keys.iter().map(|(key, text)| (*key, text.as_str()));
                let mut keys: Vec<_> = keys.filter(|(_, text)| !text.is_empty()).collect();
                keys.extend(password.map(|text| ("password", text.expose_secret())));
                self.create_user(&user.id, &keys).await
            }
            UserChange::Set { id, keys } => {
                let keys = keys.iter().map(|(key, _, after)| (key.as_str(), after.as_str()));
                self.set_user(id, &keys.collect::<Vec<_>>()).await
            }
        }
    }

    /// Removes a user with its tokens and grants, and gives whether it was there.
    ///
    /// # Errors
    /// As [`Self::delete_user`]; [`ErrorKind::Forbidden`] where the caller may neither see nor remove
    /// it: it may be there.
    pub async fn ensure_no_user(&self, id: &str) -> Result<bool> {
        until::gone_unseen(|| Box::pin(self.has_user(id)), || Box::pin(self.delete_user(id))).await
    }

    /// Whether a user is there. None where the caller may not see it: the list leaves such ones out.
    pub(super) async fn has_user(&self, id: &str) -> Result<Option<bool>> {
        if self.user(id).await?.is_some() {
            return Ok(Some(true));
        }
        let path = "/access/groups";
        self.absent_if_allowed([(path, "User.Modify"), (path, "Sys.Audit")]).await
    }

    /// That something is absent which a list does not show: certain only for whoever has one of
    /// the privileges that the list asks for, each on its path.
    async fn absent_if_allowed<'p>(
        &self,
        asked: impl IntoIterator<Item = (&'p str, &'p str)>,
    ) -> Result<Option<bool>> {
        let held = self.permissions(&[]).await?;
        let sees = asked.into_iter().any(|(path, privilege)| held.has(path, privilege));
        Ok(sees.then_some(false))
    }

    /// Gets a group to be there with what is written on it, and gives what was done. Who is in it
    /// is told by the users.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn ensure_group(&self, desired: &GroupState) -> Result<Vec<GroupChange>> {
        until::done(
            "change a group",
            || {
                Box::pin(async move {
                    let observed = self.group(&desired.id).await?;
                    Ok((diff_group(desired, observed.as_ref()).into_iter().collect(), ()))
                })
            },
            |change, ()| Box::pin(self.change_group(change)),
        )
        .await
    }

    async fn change_group(&self, change: GroupChange) -> Result<()> {
        match &change {
            GroupChange::Create { group } => self.create_group(&group.id, &group.comment).await,
            GroupChange::Comment { id, after, .. } => self.set_group(id, after).await,
        }
    }

    /// Removes a group, and gives whether it was there. Who is in it loses what it was granted.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call); [`ErrorKind::Forbidden`] where the caller may
    /// neither see nor remove it: it may be there.
    pub async fn ensure_no_group(&self, id: &str) -> Result<bool> {
        until::gone_unseen(|| Box::pin(self.has_group(id)), || Box::pin(self.delete_group(id)))
            .await
    }

    async fn has_group(&self, id: &str) -> Result<Option<bool>> {
        if self.group(id).await?.is_some() {
            return Ok(Some(true));
        }
        let path = format!("/access/groups/{id}");
        let privileges = ["Group.Allocate", "User.Modify", "Sys.Audit"];
        self.absent_if_allowed(privileges.map(|privilege| (path.as_str(), privilege))).await
    }

    async fn group(&self, id: &str) -> Result<Option<GroupState>> {
        let found = self.groups().await?.into_iter().find(|group| group.groupid == id);
        Ok(found.map(|group| GroupState {
            id: group.groupid,
            comment: group.comment.unwrap_or_default(),
        }))
    }

    /// Gets a role to be granted, and gives whether it was not. Roles that were granted besides
    /// stay.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn ensure_grant(&self, grant: &AclRow) -> Result<bool> {
        let grant = &spelled(grant);
        if self.acl().await?.contains(grant) {
            return Ok(false);
        }
        // Not looked at again: granting ends the same however often it is done.
        until::answered(|| Box::pin(self.grant(grant, false))).await.answer?;
        Ok(true)
    }

    /// Takes a role back, for what lies below or not, and gives whether it was granted. What is
    /// granted on a path is seen by whoever may change it, and by whoever has `Sys.Audit` on
    /// `/access`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call); [`ErrorKind::Forbidden`] where the caller may
    /// neither see nor change it: it may be granted.
    pub async fn ensure_no_grant(&self, grant: &AclRow) -> Result<bool> {
        let grant = &spelled(grant);
        until::gone_unseen(|| Box::pin(self.has_grant(grant)), || Box::pin(self.grant(grant, true)))
            .await
    }

    async fn has_grant(&self, grant: &AclRow) -> Result<Option<bool>> {
        let same = |row: AclRow| AclRow { propagate: grant.propagate, ..row } == *grant;
        if self.acl().await?.into_iter().any(same) {
            return Ok(Some(true));
        }
        let changing = may_change(&grant.path).map(|privilege| (grant.path.as_str(), privilege));
        self.absent_if_allowed(changing.chain([("/access", "Sys.Audit")])).await
    }
}

/// Privileges of which one lets the caller see and change what is granted on a path.
fn may_change(path: &str) -> impl Iterator<Item = &'static str> {
    let of_kind = match path.trim_start_matches('/').split_once('/').map(|(kind, _)| kind) {
        Some("storage") => Some("Datastore.Allocate"),
        Some("vms") => Some("VM.Allocate"),
        Some("pool") => Some("Pool.Allocate"),
        _ => None,
    };
    std::iter::once("Permissions.Modify").chain(of_kind)
}

/// A grant with its path as the server spells it, by which it is found again.
fn spelled(grant: &AclRow) -> AclRow {
    let parts: Vec<&str> = grant.path.split('/').filter(|part| !part.is_empty()).collect();
    AclRow { path: format!("/{}", parts.join("/")), ..grant.clone() }
}

fn role_state(row: &RoleRow) -> RoleState {
    let privileges = row.privs.as_deref().map(split_list).unwrap_or_default();
    RoleState { id: row.roleid.clone(), privileges: privileges.into_iter().collect() }
}

fn user_state(row: UserRow) -> UserState {
    UserState {
        id: row.userid,
        enable: row.enable,
        expire: row.expire.unwrap_or(0),
        comment: row.comment.unwrap_or_default(),
        email: row.email.unwrap_or_default(),
        groups: row.groups.into_iter().collect(),
        first_name: row.first_name.unwrap_or_default(),
        last_name: row.last_name.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_change_what_is_granted_depends_on_the_path() {
        let of = |path: &str| may_change(path).collect::<Vec<_>>();
        assert_eq!(of("/vms/100"), ["Permissions.Modify", "VM.Allocate"]);
        assert_eq!(of("/storage/local"), ["Permissions.Modify", "Datastore.Allocate"]);
        assert_eq!(of("/pool/a/b"), ["Permissions.Modify", "Pool.Allocate"]);
        for path in ["/", "/vms", "/access/groups", "/sdn/zones/a/b"] {
            assert_eq!(of(path), ["Permissions.Modify"], "{path}");
        }
    }

    #[test]
    fn paths_are_spelled_as_the_server_does_it() {
        let table = [("/", "/"), ("", "/"), ("/vms/100/", "/vms/100"), ("vms//100", "/vms/100")];
        for (given, kept) in table {
            let grant = AclRow::new(given, "user", "ops@pve", "PVEAuditor", true);
            assert_eq!(spelled(&grant), AclRow { path: kept.to_owned(), ..grant });
        }
    }
}
