//! The firewall: rules in their order, sets of addresses, options.
//!
//! ```
//! use proxmox_client::plan::firewall::{Rule, apply, diff};
//!
//! let ssh = Rule::new("in", "ACCEPT").with("proto", "tcp").with("dport", "22");
//! let web = Rule::new("in", "ACCEPT").with("proto", "tcp").with("dport", "443");
//! let (before, after) = (vec![ssh.clone(), web.clone()], vec![web, ssh]);
//! let changes = diff(&before, &after);
//! assert_eq!(changes.len(), 1, "one rule moves");
//! assert_eq!(apply(&changes, &before), after);
//! ```

mod naming;
mod rules;
mod set;
mod spelling;

use std::collections::BTreeMap;

pub use naming::Named;
pub(crate) use naming::Scope;
pub use rules::{Rule, RuleChange, apply, diff};
pub use set::{Entry, EntryChange, apply_set, diff_set, normal};
pub(crate) use spelling::one_comment;

/// Options: what is sent and what is taken away, where anything differs. Options that are not
/// named stay as they are; an empty text takes its option away.
pub fn diff_options(
    desired: &BTreeMap<String, String>,
    observed: &BTreeMap<String, String>,
) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut set, mut removed) = (BTreeMap::new(), Vec::new());
    for (key, value) in desired {
        match (value.is_empty(), observed.get(key)) {
            (true, Some(_)) => removed.push(key.clone()),
            (false, old) if old != Some(value) => {
                set.insert(key.clone(), value.clone());
            }
            _ => {}
        }
    }
    (set, removed)
}
