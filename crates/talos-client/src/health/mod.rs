//! Is a cluster well, and what is it waiting for?
//!
//! [`observe`] asks every node for what the machine API tells; [`check`] is a pure function over
//! that: named checks, each with the real reason while it does not hold. A [`Level`] says which of them count. Of Kubernetes it is what the
//! nodes themselves know: that they are registered, ready and open to pods, and how the pods of the
//! control plane are.

mod check;
mod etcd;
mod level;
mod observe;
#[cfg(test)]
mod tests;

use std::fmt;

pub use check::check;
pub use level::Level;
pub use observe::{Target, observe, wait};

use crate::api::{
    Alarm, Disk, EtcdMember, EtcdStatus, MachineStatus, NodeStatus, Service, StaticPod, Version,
};
use crate::error::{Error, ErrorKind};

/// Why something about a node is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// In words, without the node's name.
    pub reason: String,
    /// Waiting does not help.
    pub is_final: bool,
}

impl Gap {
    /// It may be known later.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_final: false }
    }

    /// It will not be known later either.
    pub fn ended(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_final: true }
    }
}

impl From<&Error> for Gap {
    fn from(error: &Error) -> Self {
        let is_final = matches!(
            error.kind(),
            ErrorKind::Config
                | ErrorKind::Pin
                | ErrorKind::WrongNode
                | ErrorKind::Unauthenticated
                | ErrorKind::PermissionDenied
        );
        Self { reason: format!("{}: {}", error.operation(), error.message()), is_final }
    }
}

/// Something about a node, or why it is not known.
pub type Fact<T> = Result<T, Gap>;

/// What is known of one node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeFacts {
    /// Host name that the node is expected to have.
    pub name: String,
    /// It is expected to be a control plane.
    pub control_plane: bool,
    /// What runs on it: that it answers at all.
    pub version: Fact<Version>,
    /// Stage and readiness.
    pub status: Fact<MachineStatus>,
    /// Its services.
    pub services: Fact<Vec<Service>>,
    /// Members of etcd, as this control plane sees them.
    pub etcd_members: Fact<Vec<EtcdMember>>,
    /// Status of this control plane's member.
    pub etcd_status: Fact<EtcdStatus>,
    /// Alarms of etcd, as this control plane sees them.
    pub etcd_alarms: Fact<Vec<Alarm>>,
    /// Bytes of memory.
    pub memory: Fact<u64>,
    /// Its disks.
    pub disks: Fact<Vec<Disk>>,
    /// Problems that it sees itself.
    pub diagnostics: Fact<Vec<String>>,
    /// Its clock is in sync.
    pub time_synced: Fact<bool>,
    /// The node as Kubernetes has it; none until it is registered.
    pub kubernetes: Fact<Option<NodeStatus>>,
    /// Pods of the control plane on it.
    pub static_pods: Fact<Vec<StaticPod>>,
}

impl NodeFacts {
    /// A node of which nothing is known, for that reason.
    pub fn unknown(name: impl Into<String>, control_plane: bool, gap: &Gap) -> Self {
        Self {
            name: name.into(),
            control_plane,
            version: Err(gap.clone()),
            status: Err(gap.clone()),
            services: Err(gap.clone()),
            etcd_members: Err(gap.clone()),
            etcd_status: Err(gap.clone()),
            etcd_alarms: Err(gap.clone()),
            memory: Err(gap.clone()),
            disks: Err(gap.clone()),
            diagnostics: Err(gap.clone()),
            time_synced: Err(gap.clone()),
            kubernetes: Err(gap.clone()),
            static_pods: Err(gap.clone()),
        }
    }
}

/// What is known of all nodes of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// The nodes that the cluster is expected to have.
    pub nodes: Vec<NodeFacts>,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds.
    Ok,
    /// It does not hold yet, for this reason.
    Waiting(String),
    /// It does not hold, and waiting does not help.
    Failed(String),
}

/// A check and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckResult {
    /// Name of the check: one of [`CHECKS`].
    pub name: &'static str,
    /// What came of it.
    pub state: State,
}

impl CheckResult {
    /// It holds.
    pub fn is_ok(&self) -> bool {
        self.state == State::Ok
    }

    /// Why it does not hold.
    pub fn reason(&self) -> Option<&str> {
        match &self.state {
            State::Ok => None,
            State::Waiting(reason) | State::Failed(reason) => Some(reason),
        }
    }
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Ok => write!(f, "{}: ok", self.name),
            State::Waiting(reason) => write!(f, "{}: {reason}", self.name),
            State::Failed(reason) => write!(f, "{}: failed: {reason}", self.name),
        }
    }
}

/// Names of the checks with what they mean, in the order in which a cluster comes up.
pub const CHECKS: [(&str, &str); 17] = [
    ("apid", "every node answers"),
    ("time", "every node's clock is in sync"),
    ("memory", "every node has enough memory"),
    ("disk", "every node has a disk that is large enough"),
    ("etcd-service", "etcd is healthy on every control plane"),
    ("etcd-consistent", "all control planes see the same members of etcd"),
    ("etcd-members", "the members of etcd are the control planes, and all of them vote"),
    ("etcd-leader", "all members of etcd follow one leader"),
    ("etcd-alarms", "etcd has no alarms"),
    ("kubelet", "the kubelet is healthy on every node"),
    ("services", "every service is up"),
    ("boot", "every node has booted"),
    ("diagnostics", "no node sees a problem"),
    ("registered", "every node is registered in Kubernetes"),
    ("static-pods", "the pods of every control plane are ready"),
    ("schedulable", "every node takes pods"),
    ("ready", "every machine is ready, Kubernetes' view of the node included"),
];

/// The first check that does not hold, leaving out those with the names given.
pub fn first_problem<'a>(results: &'a [CheckResult], except: &[&str]) -> Option<&'a CheckResult> {
    let mut open =
        results.iter().filter(|result| !result.is_ok() && !except.contains(&result.name));
    let first = open.clone().next();
    // What waiting does not help is told first.
    open.find(|result| matches!(result.state, State::Failed(_))).or(first)
}
