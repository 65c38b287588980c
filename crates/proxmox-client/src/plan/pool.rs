//! Resource pools: what is written on them and which machines are in them.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::VmId;

/// A pool as it should be, or as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolState {
    /// Its id.
    pub id: String,
    /// What is written on it.
    pub comment: String,
    /// Machines in it.
    pub machines: BTreeSet<VmId>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum PoolChange {
    /// The pool is made, empty.
    Create {
        /// Its id.
        id: String,
        /// What is written on it.
        comment: String,
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
    /// Machines are put into it.
    Add {
        /// Its id.
        id: String,
        /// The machines.
        machines: Vec<VmId>,
    },
}

impl fmt::Display for PoolChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { id, .. } => write!(f, "create pool {id}"),
            Self::Comment { id, before, after } => {
                write!(f, "pool {id}: comment {before:?} -> {after:?}")
            }
            Self::Add { id, machines } => {
                let list: Vec<String> = machines.iter().map(ToString::to_string).collect();
                write!(f, "pool {id}: add {}", list.join(", "))
            }
        }
    }
}

/// What it takes. Machines that are in the pool besides stay in it.
pub fn diff(desired: &PoolState, observed: Option<&PoolState>) -> Vec<PoolChange> {
    let id = &desired.id;
    let mut changes = Vec::new();
    match observed {
        None => {
            let comment = desired.comment.clone();
            changes.push(PoolChange::Create { id: id.clone(), comment });
        }
        Some(now) if now.comment.trim_end() != desired.comment.trim_end() => {
            let (before, after) = (now.comment.clone(), desired.comment.clone());
            changes.push(PoolChange::Comment { id: id.clone(), before, after });
        }
        Some(_) => {}
    }
    let there = observed.map(|pool| pool.machines.clone()).unwrap_or_default();
    let machines: Vec<VmId> = desired.machines.difference(&there).copied().collect();
    if !machines.is_empty() {
        changes.push(PoolChange::Add { id: id.clone(), machines });
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(comment: &str, machines: &[u32]) -> PoolState {
        let machines = machines.iter().map(|id| VmId::try_from(*id).unwrap()).collect();
        PoolState { id: "sol".into(), comment: comment.into(), machines }
    }

    #[test]
    fn what_is_in_a_pool_besides_stays() {
        let texts = |desired: &PoolState, observed: Option<&PoolState>| -> Vec<String> {
            diff(desired, observed).iter().map(ToString::to_string).collect()
        };
        let wanted = pool("ours", &[100, 101]);
        assert_eq!(texts(&wanted, None), ["create pool sol", "pool sol: add 100, 101"]);
        assert_eq!(diff(&wanted, Some(&pool("ours\n", &[100, 101, 102]))), []);
        assert_eq!(
            texts(&wanted, Some(&pool("theirs", &[101]))),
            ["pool sol: comment \"theirs\" -> \"ours\"", "pool sol: add 100"]
        );
    }
}
