//! etcd made again from a snapshot.

use super::Refusal;
use crate::api::Snapshot;

/// What etcd has on a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EtcdData {
    /// Nothing: it waits for its bootstrap.
    None,
    /// Data, but it does not work: there is no quorum.
    Stalled,
    /// Data, and it works.
    Works,
    /// Its node answers, but it neither follows a leader nor stays without one: it is slowly on its way, or
    /// crashes again and again.
    Unsettled,
    /// Its node cannot be asked.
    Unknown,
}

/// A control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreNode {
    /// Host name.
    pub name: String,
    /// What etcd has there.
    pub etcd: EtcdData,
}

impl RestoreNode {
    /// A control plane.
    pub fn new(name: impl Into<String>, etcd: EtcdData) -> Self {
        Self { name: name.into(), etcd }
    }
}

/// A step of a restoration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreStep {
    /// The node's `EPHEMERAL` partition, where etcd's data lies, is wiped, without leaving etcd first; it
    /// reboots with its configuration.
    Wipe(String),
    /// etcd of the node waits for its bootstrap.
    WaitEmpty(String),
    /// The snapshot is uploaded to the node.
    Upload(String),
    /// The node starts etcd with it.
    Bootstrap {
        /// Host name.
        node: String,
        /// The data has no sum that could be compared.
        skip_check: bool,
    },
    /// The node is a voting member.
    WaitMember(String),
    /// All checks of health hold.
    WaitHealthy,
}

/// What a restoration from a snapshot takes, in order. `node` is the control plane that it begins with;
/// none for the first one by name. `discard` allows that a cluster that still works, or may, is given up.
///
/// # Errors
/// The snapshot is none; etcd still works on a node, may come back on one where it is unsettled, or may work on one
/// that cannot be asked: two clusters with the same certificates would be the result.
pub fn restore_steps(
    control_planes: &[RestoreNode],
    snapshot: Snapshot,
    node: Option<&str>,
    discard: bool,
) -> Result<Vec<RestoreStep>, Refusal> {
    if snapshot.length == 0 {
        return Err(Refusal::ever("the snapshot is empty"));
    }
    let mut nodes: Vec<&RestoreNode> = control_planes.iter().collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let Some(first) = nodes.first() else {
        return Err(Refusal::ever("the cluster has no control plane"));
    };
    let first = match node {
        None => *first,
        Some(name) => *nodes
            .iter()
            .find(|node| node.name == name)
            .ok_or_else(|| Refusal::ever(format!("{name} is no control plane of the cluster")))?,
    };
    for node in &nodes {
        match node.etcd {
            EtcdData::Unknown => {
                return Err(Refusal::now(format!(
                    "{} cannot be asked: if its etcd still works, there would be two clusters",
                    node.name
                )));
            }
            EtcdData::Works if !discard => {
                return Err(Refusal::ever(format!(
                    "etcd works on {}: a restoration would give up what it has",
                    node.name
                )));
            }
            EtcdData::Unsettled if !discard => {
                return Err(Refusal::now(format!(
                    "etcd on {} neither follows a leader nor stays without one: it may still come back; its \
                     log says what it does. Restore when it has settled, or discard what it has",
                    node.name
                )));
            }
            _ => {}
        }
    }
    let mut steps = Vec::new();
    let full = |node: &&&RestoreNode| node.etcd != EtcdData::None;
    steps.extend(nodes.iter().filter(full).map(|node| RestoreStep::Wipe(node.name.clone())));
    steps.extend(nodes.iter().map(|node| RestoreStep::WaitEmpty(node.name.clone())));
    let name = first.name.clone();
    steps.push(RestoreStep::Upload(name.clone()));
    steps.push(RestoreStep::Bootstrap { node: name.clone(), skip_check: !snapshot.verified });
    // The others join by themselves, and none of them is bootstrapped.
    let others = nodes.iter().filter(|node| node.name != first.name);
    steps.extend(finish_steps(std::iter::once(name).chain(others.map(|node| node.name.clone()))));
    Ok(steps)
}

/// What is left of a restoration once etcd was started from the snapshot: nothing that changes a node.
pub fn finish_steps(control_planes: impl IntoIterator<Item = String>) -> Vec<RestoreStep> {
    let members = control_planes.into_iter().map(RestoreStep::WaitMember);
    members.chain([RestoreStep::WaitHealthy]).collect()
}
