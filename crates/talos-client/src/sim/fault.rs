//! Faults that a test injects, by an explicit handle.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultAction {
    /// The call is refused with a gRPC status.
    Refuse {
        /// Status code.
        code: i32,
        /// Message.
        message: String,
    },
    /// The connection is cut before the call is done.
    DropBefore,
    /// The call is done, the connection is cut before the answer.
    DropAfter,
    /// The call takes this much longer.
    Slow(Duration),
    /// The call is done, the node reboots before the answer.
    RebootMidCall,
    /// New connections are cut (method `*`).
    RefuseConnect,
    /// The first two disks exchange their device names at boot (method `*`).
    SwapDisks,
    /// The installer fails, of an installation or an upgrade (method `*`).
    InstallFails,
    /// The disk is full: installers fail, and images cannot be pulled (method `*`).
    DiskFull,
    /// A system that was just installed beside another one does not come up (method `*`).
    TrialFails,
    /// etcd of a node stops for so long (method `*`).
    EtcdStall(Duration),
    /// etcd of a node that has data pulls its image for so long before it starts (method `*`).
    EtcdPull(Duration),
    /// The clock of a node is wrong from a boot on, for so long, and it knows (method `*`).
    ClockSkew(Duration),
}

/// A fault with its conditions.
#[derive(Clone, Debug)]
pub struct Fault {
    action: FaultAction,
    node: String,
    method: String,
    after: u64,
    times: u64,
}

impl Fault {
    /// A fault on every call of every node, once.
    pub fn new(action: FaultAction) -> Self {
        Self { action, node: "*".into(), method: "*".into(), after: 0, times: 1 }
    }

    /// Only on this node (name, host name or UUID; `*` is any).
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = node.into();
        self
    }

    /// Only for methods of this form: a full path, or `*/Name`.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = method.into();
        self
    }

    /// Not for the first `count` matching calls.
    #[must_use]
    pub fn after(mut self, count: u64) -> Self {
        self.after = count;
        self
    }

    /// For so many calls.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = count;
        self
    }
}

/// The faults of a fabric, and what was called.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Vec<Fault>>,
    calls: Mutex<Vec<(Vec<String>, String)>>,
}

impl Faults {
    /// Add a fault.
    pub fn add(&self, fault: Fault) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// Remove all faults.
    pub fn clear(&self) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How often a method was called on a node (`*` is any).
    pub fn calls(&self, node: &str, method: &str) -> usize {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|(names, path)| is_node(node, names) && fits(method, path)).count()
    }

    pub(crate) fn record(&self, names: &[String], path: &str) {
        let entry = (names.to_vec(), path.to_owned());
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// The next fault for a call, used up by this.
    pub(crate) fn take(&self, names: &[String], path: &str) -> Option<FaultAction> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        for rule in rules.iter_mut() {
            let places = special_paths(&rule.action);
            let special = !places.is_empty();
            if special != path.starts_with('@') || rule.times == 0 || !is_node(&rule.node, names) {
                continue;
            }
            if special {
                if !places.contains(&path) {
                    continue;
                }
            } else if !fits(&rule.method, path) {
                continue;
            }
            if rule.after > 0 {
                rule.after -= 1;
                continue;
            }
            rule.times -= 1;
            return Some(rule.action.clone());
        }
        None
    }
}

/// Where faults strike that are none of a call.
fn special_paths(action: &FaultAction) -> &'static [&'static str] {
    match action {
        FaultAction::RefuseConnect => &["@connect"],
        FaultAction::SwapDisks => &["@boot"],
        FaultAction::InstallFails => &["@install"],
        FaultAction::DiskFull => &["@install", "@pull"],
        FaultAction::TrialFails => &["@trial"],
        FaultAction::EtcdStall(_) => &["@etcd"],
        FaultAction::EtcdPull(_) => &["@etcd-image"],
        FaultAction::ClockSkew(_) => &["@clock"],
        _ => &[],
    }
}

fn is_node(wanted: &str, names: &[String]) -> bool {
    wanted == "*" || names.iter().any(|n| n == wanted)
}

fn fits(wanted: &str, path: &str) -> bool {
    wanted == "*"
        || wanted == path
        || wanted.strip_prefix('*').is_some_and(|tail| path.ends_with(tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_used_up() {
        let faults = Faults::default();
        faults.add(Fault::new(FaultAction::DropAfter).node("a").method("*/Bootstrap").after(1));
        let names = ["a".to_owned()];
        assert_eq!(faults.take(&names, "/m/Version"), None);
        assert_eq!(faults.take(&names, "/m/Bootstrap"), None);
        assert_eq!(faults.take(&names, "/m/Bootstrap"), Some(FaultAction::DropAfter));
        assert_eq!(faults.take(&names, "/m/Bootstrap"), None);
        assert_eq!(faults.take(&["b".to_owned()], "/m/Bootstrap"), None);
    }
}
