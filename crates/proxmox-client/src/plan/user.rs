//! Users and groups: what is written on them, and who is in which.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A user as it should be, or as it is. The password is not part of it: nobody can read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserState {
    /// `name@realm`.
    pub id: String,
    /// Whether the user can log in.
    pub enable: bool,
    /// When it ends, in seconds since 1970; never where 0.
    pub expire: u64,
    /// What is written on it.
    pub comment: String,
    /// Where mail for it goes.
    pub email: String,
    /// Groups that it is in.
    pub groups: BTreeSet<String>,
    /// What people call whoever it is.
    #[serde(default)]
    pub first_name: String,
    /// And by family.
    #[serde(default)]
    pub last_name: String,
}

impl UserState {
    /// A user that can log in, is in no group, and of which nothing else is told.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            enable: true,
            expire: 0,
            comment: String::new(),
            email: String::new(),
            groups: BTreeSet::new(),
            first_name: String::new(),
            last_name: String::new(),
        }
    }

    /// Keys as the server takes them.
    pub(crate) fn keys(&self) -> [(&'static str, String); 7] {
        let groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        [
            ("enable", if self.enable { "1" } else { "0" }.to_owned()),
            ("expire", self.expire.to_string()),
            ("comment", self.comment.trim_end().to_owned()),
            ("email", self.email.clone()),
            ("groups", groups.join(",")),
            ("firstname", self.first_name.clone()),
            ("lastname", self.last_name.clone()),
        ]
    }
}

/// What it takes: one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum UserChange {
    /// The user is made.
    Create {
        /// As it will be.
        user: UserState,
    },
    /// Keys of it change.
    Set {
        /// Its id.
        id: String,
        /// Keys with their values before and after.
        keys: Vec<(String, String, String)>,
    },
}

impl fmt::Display for UserChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { user } => write!(f, "create user {}", user.id),
            Self::Set { id, keys } => {
                let keys: Vec<String> = keys
                    .iter()
                    .map(|(key, before, after)| format!("{key} {before:?} -> {after:?}"))
                    .collect();
                write!(f, "user {id}: {}", keys.join(", "))
            }
        }
    }
}

/// What it takes to have a user that is so, in these groups and no others. None where it is.
pub fn diff_user(desired: &UserState, observed: Option<&UserState>) -> Option<UserChange> {
    let Some(now) = observed else { return Some(UserChange::Create { user: desired.clone() }) };
    let pairs = now.keys().into_iter().zip(desired.keys());
    let keys: Vec<_> = pairs
        .filter(|(before, after)| before != after)
        .map(|((key, before), (_, after))| (key.to_owned(), before, after))
        .collect();
    (!keys.is_empty()).then(|| UserChange::Set { id: desired.id.clone(), keys })
}

/// A group of users as it should be, or as it is. Who is in it stands with the users.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    /// Its id.
    pub id: String,
    /// What is written on it.
    pub comment: String,
}

/// What it takes: one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum GroupChange {
    /// The group is made, with nobody in it.
    Create {
        /// As it will be.
        group: GroupState,
    },
    /// Something else is written on it.
    Comment {
        /// Its id.
        id: String,
        /// What was written on it.
        before: String,
        /// What will be.
        after: String,
    },
}

impl fmt::Display for GroupChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { group } => write!(f, "create group {}", group.id),
            Self::Comment { id, before, after } => {
                write!(f, "group {id}: comment {before:?} -> {after:?}")
            }
        }
    }
}

/// What it takes to have a group that is so. None where it is.
pub fn diff_group(desired: &GroupState, observed: Option<&GroupState>) -> Option<GroupChange> {
    let Some(now) = observed else { return Some(GroupChange::Create { group: desired.clone() }) };
    let (before, after) = (now.comment.trim_end(), desired.comment.trim_end());
    (before != after).then(|| GroupChange::Comment {
        id: desired.id.clone(),
        before: before.to_owned(),
        after: after.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_in_its_groups_and_no_others() {
        let mut wanted = UserState::new("ops@pve");
        wanted.groups = ["b".to_owned(), "a".to_owned()].into();
        assert_eq!(diff_user(&wanted, None).unwrap().to_string(), "create user ops@pve");
        assert_eq!(diff_user(&wanted, Some(&wanted)), None);
        let mut now = UserState { enable: false, comment: "old\n".into(), ..wanted.clone() };
        now.groups.insert("c".into());
        assert_eq!(
            diff_user(&wanted, Some(&now)).unwrap().to_string(),
            "user ops@pve: enable \"0\" -> \"1\", comment \"old\" -> \"\", groups \"a,b,c\" -> \"a,b\""
        );
    }

    #[test]
    fn a_group_has_a_comment() {
        let group = |comment: &str| GroupState { id: "ops".into(), comment: comment.into() };
        assert_eq!(diff_group(&group("x"), Some(&group("x\n"))), None);
        let texts = [None, Some(group("y"))]
            .map(|now| diff_group(&group("x"), now.as_ref()).unwrap().to_string());
        assert_eq!(texts, ["create group ops", "group ops: comment \"y\" -> \"x\""]);
    }
}
