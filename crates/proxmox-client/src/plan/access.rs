//! Roles and tokens: what they may do, and how long.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A role as it should be, or as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleState {
    /// Its id.
    pub id: String,
    /// Its privileges.
    pub privileges: BTreeSet<String>,
}

/// What it takes: one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum RoleChange {
    /// The role is made.
    Create {
        /// As it will be.
        role: RoleState,
    },
    /// It gets other privileges, at once for all who have it.
    Set {
        /// As it will be.
        role: RoleState,
        /// Privileges that are new in it.
        added: BTreeSet<String>,
        /// Privileges that are no longer in it.
        removed: BTreeSet<String>,
    },
}

impl fmt::Display for RoleChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { role } => {
                let names: Vec<&str> = role.privileges.iter().map(String::as_str).collect();
                write!(f, "create role {}: {}", role.id, names.join(", "))
            }
            Self::Set { role, added, removed } => {
                let added = added.iter().map(|name| format!("+{name}"));
                let all = added.chain(removed.iter().map(|name| format!("-{name}")));
                write!(f, "role {}: {}", role.id, all.collect::<Vec<_>>().join(" "))
            }
        }
    }
}

/// What it takes to have a role with these privileges and no others. None where it is there.
pub fn diff_role(desired: &RoleState, observed: Option<&RoleState>) -> Option<RoleChange> {
    let role = desired.clone();
    let Some(now) = observed else { return Some(RoleChange::Create { role }) };
    let only = |one: &RoleState, other: &RoleState| -> BTreeSet<String> {
        one.privileges.difference(&other.privileges).cloned().collect()
    };
    let (added, removed) = (only(desired, now), only(now, desired));
    (!(added.is_empty() && removed.is_empty())).then_some(RoleChange::Set { role, added, removed })
}

/// A token as it should be, or as it is. Its secret is not part of it: nobody can read it again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenState {
    /// `user@realm`.
    pub user: String,
    /// Its name.
    pub name: String,
    /// Whether it may only do what it is granted itself.
    pub privsep: bool,
    /// When it ends, in seconds since 1970; never where 0.
    pub expire: u64,
    /// What is written on it.
    pub comment: String,
}

/// What it takes: one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum TokenChange {
    /// The token is made; the answer has its secret.
    Create {
        /// As it will be.
        token: TokenState,
    },
    /// Keys of it change; its secret stays.
    Set {
        /// As it will be.
        token: TokenState,
        /// Keys with their values before and after.
        keys: Vec<(String, String, String)>,
    },
}

impl fmt::Display for TokenChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { token } => write!(f, "create token {}!{}", token.user, token.name),
            Self::Set { token, keys } => {
                let keys: Vec<String> = keys
                    .iter()
                    .map(|(key, before, after)| format!("{key} {before:?} -> {after:?}"))
                    .collect();
                write!(f, "token {}!{}: {}", token.user, token.name, keys.join(", "))
            }
        }
    }
}

/// What it takes to have a token that is so. None where it is.
pub fn diff_token(desired: &TokenState, observed: Option<&TokenState>) -> Option<TokenChange> {
    let token = desired.clone();
    let Some(now) = observed else { return Some(TokenChange::Create { token }) };
    let flag = |flag: bool| if flag { "1" } else { "0" }.to_owned();
    let all = [
        ("privsep", flag(now.privsep), flag(desired.privsep)),
        ("expire", now.expire.to_string(), desired.expire.to_string()),
        ("comment", now.comment.trim_end().to_owned(), desired.comment.trim_end().to_owned()),
    ];
    let changed = all.into_iter().filter(|(_, before, after)| before != after);
    let keys: Vec<_> =
        changed.map(|(key, before, after)| (key.to_owned(), before, after)).collect();
    (!keys.is_empty()).then_some(TokenChange::Set { token, keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_have_what_is_named_and_nothing_else() {
        let role = |names: &[&str]| RoleState {
            id: "ops".into(),
            privileges: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let wanted = role(&["VM.Audit", "VM.PowerMgmt"]);
        assert_eq!(diff_role(&wanted, Some(&wanted)), None);
        let texts = [None, Some(role(&["VM.Audit", "Sys.Audit"]))]
            .map(|seen| diff_role(&wanted, seen.as_ref()).unwrap().to_string());
        assert_eq!(
            texts,
            ["create role ops: VM.Audit, VM.PowerMgmt", "role ops: +VM.PowerMgmt -Sys.Audit"]
        );
    }

    #[test]
    fn a_token_keeps_its_secret() {
        let wanted = TokenState { user: "a@pve".into(), name: "t".into(), ..TokenState::default() };
        assert_eq!(diff_token(&wanted, Some(&wanted)), None);
        let now = TokenState { privsep: true, comment: "old".into(), ..wanted.clone() };
        assert_eq!(
            diff_token(&wanted, Some(&now)).unwrap().to_string(),
            "token a@pve!t: privsep \"1\" -> \"0\", comment \"old\" -> \"\""
        );
        assert_eq!(diff_token(&wanted, None).unwrap().to_string(), "create token a@pve!t");
    }
}
