//! `status`: what is there beside what the tree wants.

use std::collections::BTreeMap;

use serde::Serialize;

use super::session::{Session, onlooker};
use super::{Context, Error};
use crate::compose::draft::Wish;
use crate::compose::target::Target;
use crate::compose::world::{NodeSeen, World};
use crate::spec::site::{Cluster, Node, Role, Unmanaged};

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeRow {
    /// Its name.
    pub name: String,
    /// `controlplane` or `worker`.
    pub role: &'static str,
    /// Number of its machine.
    pub vmid: u32,
    /// The Proxmox node that its machine is on; that of the tree while there is none.
    pub proxmox_node: String,
    /// `running`, `stopped`, `absent`, `foreign`, or the lock that it has.
    pub machine: String,
    /// Stage of Talos, `maintenance`, `off`, or `unknown`.
    pub talos: String,
    /// Version of Talos that runs.
    pub version: Option<String>,
    /// Whether etcd was started on it; none for workers and where it cannot be told.
    pub etcd: Option<bool>,
    /// `Ready`, why it is not, or none where Kubernetes does not know it.
    pub kubernetes: Option<String>,
    /// Fields of its configuration that differ from the tree.
    pub config_changes: usize,
    /// Why something cannot be told.
    pub reason: Option<String>,
}

/// One cluster.
#[derive(Debug, Clone, Serialize)]
pub struct ClusterRow {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: String,
    /// Its id.
    pub id: u16,
    /// Nodes that are ready.
    pub ready: usize,
    /// Why Kubernetes could not be asked.
    pub kubernetes_problem: Option<String>,
    /// Its nodes.
    pub nodes: Vec<NodeRow>,
}

/// What is there.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of Proxmox VE.
    pub proxmox_version: String,
    /// Steps that `apply` would take, by stage.
    pub steps: BTreeMap<String, usize>,
    /// What would stop it.
    pub problems: Vec<String>,
    /// The clusters.
    pub clusters: Vec<ClusterRow>,
    /// Cluster folders that describe something else.
    pub unmanaged: Vec<Unmanaged>,
    /// What the reader should know beside that, such as machines of clusters that the tree lacks.
    pub notes: Vec<String>,
}

/// Looks at the site.
///
/// # Errors
/// The tree has errors, a cluster is not in it, or Proxmox cannot be seen.
pub fn status(context: &Context, clusters: &[String], lab: bool) -> Result<Report, Error> {
    let session = Session::open_for(context, lab, clusters)?;
    let meant = session.clusters(clusters)?;
    let wish = Wish { target: Target::everything(&session.crew.site), allow_remove: false };
    let made = onlooker()?.block_on(session.make(&wish))?;
    let mut steps: BTreeMap<String, usize> = BTreeMap::new();
    for step in made.drafted.plan.steps.values() {
        *steps.entry(step.stage.clone()).or_default() += 1;
    }
    Ok(Report {
        proxmox_version: made.world.version.clone(),
        unmanaged: session.crew.site.unmanaged.clone(),
        notes: made.drafted.plan.notes,
        steps,
        problems: made.drafted.problems.into_iter().map(|problem| problem.text).collect(),
        clusters: meant.into_iter().map(|cluster| row(&made.world, cluster)).collect(),
    })
}

fn row(world: &World, cluster: &Cluster) -> ClusterRow {
    let seen = world.clusters.get(&cluster.folder);
    let states = seen.and_then(|seen| seen.kubernetes.as_ref().ok());
    let nodes: Vec<NodeRow> = cluster
        .nodes
        .iter()
        .map(|node| {
            let state = states.and_then(|states| states.get(&node.name));
            let kubernetes = state.map(|state| {
                if state.ready { "Ready".to_owned() } else { format!("NotReady: {}", state.reason) }
            });
            node_row(world, node, kubernetes)
        })
        .collect();
    ClusterRow {
        name: cluster.name.clone(),
        folder: cluster.folder.clone(),
        id: cluster.id,
        ready: nodes.iter().filter(|node| node.kubernetes.as_deref() == Some("Ready")).count(),
        kubernetes_problem: seen.and_then(|seen| seen.kubernetes.as_ref().err().cloned()),
        nodes,
    }
}

fn node_row(world: &World, node: &Node, kubernetes: Option<String>) -> NodeRow {
    let machine = world.machines.values().find(|machine| machine.vmid.get() == node.vmid);
    let state = match machine {
        None => "absent".to_owned(),
        Some(machine) if machine.lock.is_some() => {
            format!("locked ({})", machine.lock.as_deref().unwrap_or_default())
        }
        Some(machine) if machine.uuid() != Some(node.uuid.to_string()) => "foreign".to_owned(),
        Some(machine) if machine.running => "running".to_owned(),
        Some(_) => "stopped".to_owned(),
    };
    let mut row = NodeRow {
        name: node.name.clone(),
        role: match node.role {
            Role::ControlPlane => "controlplane",
            Role::Worker => "worker",
        },
        vmid: node.vmid,
        proxmox_node: machine.map_or_else(|| node.proxmox_node.clone(), |one| one.node.clone()),
        machine: state,
        talos: "off".to_owned(),
        version: None,
        etcd: None,
        kubernetes,
        config_changes: 0,
        reason: None,
    };
    match world.nodes.get(&node.name) {
        None | Some(NodeSeen::Off) => {}
        Some(NodeSeen::Maintenance) => "maintenance".clone_into(&mut row.talos),
        Some(NodeSeen::Unknown(why)) => {
            "unknown".clone_into(&mut row.talos);
            row.reason = Some(why.clone());
        }
        Some(NodeSeen::Configured(running)) => {
            row.talos.clone_from(&running.stage);
            row.version = Some(running.version.clone());
            row.etcd = (node.role == Role::ControlPlane).then_some(running.has_etcd());
            row.config_changes = if running.staged { 0 } else { running.changes.len() };
            row.reason.clone_from(&running.uncompared);
            if running.staged {
                let count = running.changes.len();
                row.reason = Some(format!("{count} change(s) are staged, wait for a reboot"));
            }
        }
    }
    row
}
