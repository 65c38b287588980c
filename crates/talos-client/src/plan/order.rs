//! In which order nodes are upgraded, and what each of them takes.

use super::quorum::same_host;
use super::{Etcd, Refusal, version};

/// A node that may have to be upgraded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// Host name.
    pub name: String,
    /// It is a control plane.
    pub control_plane: bool,
    /// Tag of the version that it runs, such as `v1.13.9`; empty if that is not known.
    pub runs: String,
}

impl Candidate {
    /// A node.
    pub fn new(name: impl Into<String>, control_plane: bool, runs: impl Into<String>) -> Self {
        Self { name: name.into(), control_plane, runs: runs.into() }
    }
}

/// Nodes that are upgraded at the same time. The quorum is asked for again before each one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wave {
    /// Their names.
    pub nodes: Vec<String>,
    /// They are control planes: then it is one.
    pub control_plane: bool,
    /// It leads etcd, and gives that up first.
    pub forfeit: bool,
}

/// The nodes in the order in which they are upgraded: control planes one by one, the leader of etcd
/// last, then workers, so many at once. Nodes that run the target already are left out, so that a run
/// that was interrupted goes on where it was.
///
/// # Errors
/// The target is no version; a node is newer than it by a minor version and `back` is not said; or a
/// node's version is not known.
pub fn upgrade_order(
    nodes: &[Candidate],
    etcd: &Etcd,
    target: &str,
    workers_at_once: usize,
    back: bool,
) -> Result<Vec<Wave>, Refusal> {
    let goal = version("Talos", target)?;
    let mut open = Vec::new();
    for node in nodes {
        if node.runs.is_empty() {
            let text = format!("the version of {} is not known: it does not answer", node.name);
            return Err(Refusal::now(text));
        }
        let runs = version("Talos", &node.runs)?;
        if (runs.major, runs.minor) > (goal.major, goal.minor) && !back {
            let text = format!("{} runs {}, which is newer than {target}", node.name, node.runs);
            return Err(Refusal::ever(text));
        }
        if runs != goal {
            open.push(node);
        }
    }
    let leader = etcd.leader_name().unwrap_or_default();
    let mut control: Vec<&&Candidate> = open.iter().filter(|node| node.control_plane).collect();
    control.sort_by_key(|node| (same_host(leader, &node.name), &node.name));
    let mut workers: Vec<&str> =
        open.iter().filter(|node| !node.control_plane).map(|node| node.name.as_str()).collect();
    workers.sort_unstable();
    let first = control.into_iter().map(|node| Wave {
        nodes: vec![node.name.clone()],
        control_plane: true,
        forfeit: same_host(leader, &node.name) && etcd.voters() > 1,
    });
    let then = workers.chunks(workers_at_once.max(1)).map(|chunk| Wave {
        nodes: chunk.iter().map(ToString::to_string).collect(),
        control_plane: false,
        forfeit: false,
    });
    Ok(first.chain(then).collect())
}

/// By which calls a node is upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeWay {
    /// One call, in which the node does everything by itself; all versions have it.
    Node,
    /// Pull, install and reboot as calls of their own, from 1.13 on; the client looks after the rest.
    Client,
}

impl UpgradeWay {
    /// The way for a node that runs this version.
    ///
    /// # Errors
    /// It is no version.
    pub fn of(runs: &str) -> Result<Self, Refusal> {
        let runs = version("Talos", runs)?;
        // What came before this preview of 1.13 has the calls in another form, or not at all.
        let last = version("Talos", "1.13.0-alpha.2")?;
        Ok(if runs > last { Self::Client } else { Self::Node })
    }
}

/// What the upgrade of one node takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeStep {
    /// [`Etcd::may_stop`] must allow it, now.
    AskQuorum,
    /// It gives up the leadership of etcd.
    Forfeit,
    /// It pulls the installer's image.
    Pull,
    /// No new pods for it.
    Cordon,
    /// Its pods move, with their disruption budgets kept.
    Drain,
    /// The older call: pull, drain, install and reboot in one.
    Upgrade,
    /// The installer writes the slot that does not run.
    Install,
    /// It reboots.
    Reboot,
    /// It runs in another boot.
    WaitBoot,
    /// It runs the version that was wanted: else it went back by itself.
    CheckVersion,
    /// Its member of etcd votes again and has caught up.
    WaitMember,
    /// Kubernetes sees it as ready.
    WaitReady,
    /// New pods for it again.
    Uncordon,
}

/// What the upgrade of one node takes, in order. `kubernetes` says that there is one that answers.
pub fn upgrade_steps(
    way: UpgradeWay,
    control_plane: bool,
    forfeit: bool,
    kubernetes: bool,
) -> Vec<NodeStep> {
    let mut steps = Vec::new();
    if control_plane {
        steps.push(NodeStep::AskQuorum);
    }
    if way == UpgradeWay::Client {
        steps.push(NodeStep::Pull);
        if kubernetes {
            steps.extend([NodeStep::Cordon, NodeStep::Drain]);
        }
        // Pulling and draining may have taken long, and what forbids the reboot must not come up after the
        // installation.
        if control_plane {
            steps.push(NodeStep::AskQuorum);
        }
        steps.push(NodeStep::Install);
        // So may that.
        if control_plane {
            steps.push(NodeStep::AskQuorum);
        }
    }
    if control_plane && forfeit {
        steps.push(NodeStep::Forfeit);
    }
    steps.push(match way {
        UpgradeWay::Client => NodeStep::Reboot,
        UpgradeWay::Node => NodeStep::Upgrade,
    });
    steps.extend([NodeStep::WaitBoot, NodeStep::CheckVersion]);
    if control_plane {
        steps.push(NodeStep::WaitMember);
    }
    if kubernetes {
        // A node that drained itself ends that, but not one that went back to its old version.
        steps.extend([NodeStep::WaitReady, NodeStep::Uncordon]);
    }
    steps
}
