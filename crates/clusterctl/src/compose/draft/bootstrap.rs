//! etcd, Kubernetes, the files to reach them.

use std::collections::BTreeMap;

use super::{Draft, Sketch};
use crate::compose::access::{Flaw, Kind};
use crate::compose::action::{Action, Level};
use crate::compose::kubernetes::NodeState;
use crate::compose::target::{Extent, Stage};
use crate::compose::world::NodeSeen;
use crate::spec::site::{Cluster, Cni, Node, Role};

impl Draft<'_> {
    pub(super) fn bootstrap(&mut self, cluster: &Cluster) {
        if self.wish.target.stage(&cluster.folder, Stage::Bootstrap) != Extent::Full {
            return;
        }
        let Some(seen) = self.world.clusters.get(&cluster.folder) else { return };
        let stage = Stage::Bootstrap.path(&cluster.folder);
        let folder = cluster.folder.clone();
        let controlplanes: Vec<&Node> =
            cluster.nodes.iter().filter(|node| node.role == Role::ControlPlane).collect();
        // One that ran before is never started anew: its members find each other.
        if !self.had_etcd(cluster) {
            // What cannot be seen is no proof that there is none: the step asks every control
            // plane before it starts anything.
            let unseen =
                controlplanes.iter().find_map(|node| match self.world.nodes.get(&node.name) {
                    Some(NodeSeen::Unknown(why)) => Some(format!("{}: {why}", node.name)),
                    Some(NodeSeen::Off) if self.machine(node).is_some() => {
                        Some(format!("{} is not running", node.name))
                    }
                    _ => None,
                });
            let (title, reason) = match unseen {
                None => ("bootstrap etcd of cluster", "no control plane has it".to_owned()),
                Some(why) => (
                    "bootstrap etcd, unless a control plane has it, of cluster",
                    format!("it cannot be told whether it was started: {why}"),
                ),
            };
            let title = format!("{title} {}", cluster.name);
            let sketch = Sketch::new(format!("bootstrap/{folder}"), &stage, title)
                .because(reason)
                .after(controlplanes.iter().map(|node| format!("config/{}", node.name)))
                .seconds(10, 900);
            self.step(sketch, Action::Bootstrap { cluster: folder.clone() });
        }
        let level = match cluster.cni {
            Cni::None => Level::NodesRegistered,
            Cni::Cilium | Cni::Flannel => Level::NodesReady,
        };
        let lacking = lacking(cluster, level, seen.kubernetes.as_ref());
        let changes = |node: &Node| {
            ["config/{}", "reconfig/{}", "vm/{}/start", "vm/{}/change"]
                .map(|form| form.replace("{}", &node.name))
        };
        let changing = cluster.nodes.iter().flat_map(changes).any(|id| self.has(&id));
        if lacking.is_some() || changing {
            let title = format!("wait until cluster {} is at {level}", cluster.name);
            let after = cluster.nodes.iter().flat_map(changes);
            let sketch = Sketch::new(format!("await/{folder}"), &stage, title)
                .because(lacking.unwrap_or_else(|| "nodes of it change".to_owned()))
                .after(after)
                .after([format!("bootstrap/{folder}")])
                .seconds(60, 1800);
            self.step(sketch, Action::AwaitCluster { cluster: folder.clone(), level });
        }
        let mut reasons = Vec::new();
        let mut names = Vec::new();
        for (kind, flaw) in
            [(Kind::Kubeconfig, &seen.kubeconfig), (Kind::Talosconfig, &seen.talosconfig)]
        {
            match flaw {
                None => {}
                Some(flaw @ Flaw::Foreign) => self.notes.push(format!(
                    "{}: {flaw}: it is left as it is; move it away, and an apply writes one that fits",
                    kind.path(&self.crew.layout, &folder).display()
                )),
                Some(flaw) => {
                    names.push(kind.name());
                    reasons.push(format!("{}: {flaw}", kind.name()));
                }
            }
        }
        if !reasons.is_empty() {
            let title = format!("write {} of cluster {}", names.join(" and "), cluster.name);
            let mut sketch = Sketch::new(format!("access/{folder}"), &stage, title)
                .after([format!("bootstrap/{folder}"), format!("secrets/{folder}")])
                .after(controlplanes.iter().map(|node| format!("config/{}", node.name)))
                .seconds(1, 600);
            for reason in reasons {
                sketch = sketch.because(reason);
            }
            self.step(sketch, Action::WriteAccess { cluster: folder });
        }
    }
}

/// Why a cluster is not at a level yet; none when it is.
pub fn lacking(
    cluster: &Cluster,
    level: Level,
    kubernetes: Result<&BTreeMap<String, NodeState>, &String>,
) -> Option<String> {
    let nodes = match kubernetes {
        Err(why) => return Some(format!("its API server does not answer: {why}")),
        Ok(nodes) => nodes,
    };
    if level == Level::Api {
        return None;
    }
    for node in &cluster.nodes {
        match nodes.get(&node.name) {
            None => return Some(format!("{} is not registered", node.name)),
            Some(state) if level == Level::NodesReady && !state.ready => {
                return Some(format!("{} is not ready: {}", node.name, state.reason));
            }
            Some(_) => {}
        }
    }
    None
}
