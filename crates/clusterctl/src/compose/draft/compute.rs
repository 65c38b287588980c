//! Virtual machines.

use std::collections::BTreeSet;

use proxmox_client::plan::vm::{self, VmChange, VmDesired, VmObserved};

use super::{Draft, Sketch, has_agent};
use crate::compose::action::Action;
use crate::compose::machine::{self, Ground};
use crate::compose::network::NETWORKS;
use crate::compose::proof::{made_for, why_not_ours};
use crate::compose::target::{Extent, Stage};
use crate::compose::world::NodeSeen;
use crate::engine::Impact;
use crate::spec::site::{Cluster, Node};

impl<'a> Draft<'a> {
    pub(super) fn compute(&mut self, cluster: &'a Cluster, node: &'a Node, pin: Option<&str>) {
        let extent = self.wish.target.stage(&cluster.folder, Stage::Compute);
        if extent == Extent::None {
            return;
        }
        let stage = Stage::Compute.path(&cluster.folder);
        let names = (cluster.folder.clone(), node.name.clone());
        let observed = self.machine(node);
        if let Some(container) = self.world.containers.get(&node.vmid) {
            let is_made =
                self.lock_file.cluster(cluster.id).is_some() || self.has_machines(cluster);
            self.problem(
                format!("{}: its number is that of {container}", node.name),
                taken_number(cluster, is_made, node.vmid),
            );
            return;
        }
        let is_making = observed.is_some_and(is_making);
        match observed {
            Some(observed) if !is_making => self.existing(cluster, node, observed, extent),
            _ => {
                let file = self.crew.images.iso_of(cluster).unwrap_or_default();
                let version = &cluster.versions.talos;
                let title =
                    format!("create {} (VM {}) on {}", node.name, node.vmid, node.proxmox_node);
                let mut uploads: Vec<String> = vec![format!("upload/{}/{file}", node.proxmox_node)];
                if self.world.iso_is_shared {
                    uploads = self
                        .steps
                        .ids()
                        .filter(|id| id.starts_with("upload/") && id.ends_with(file))
                        .map(str::to_owned)
                        .collect();
                }
                let mut sketch = Sketch::new(format!("vm/{}/create", node.name), &stage, title)
                    .because(format!(
                        "{} cores, {} MiB, {} GiB, Talos v{version}",
                        node.cores, node.memory_mib, node.disk_gib
                    ))
                    .after([format!("secrets/{}", cluster.folder)])
                    .after(pin.map(str::to_owned))
                    .after(uploads)
                    .token("vmid", node.vmid.to_string())
                    .token("storage", self.storage_lock(node))
                    .seconds(5, 1800);
                if cluster.segment.use_sdn {
                    sketch = sketch.after([NETWORKS.to_owned()]);
                }
                if extent == Extent::IfAbsent {
                    sketch = sketch.because("added: the target needs it and it is not there");
                }
                let (cluster, node) = names.clone();
                self.step(sketch, Action::CreateMachine { cluster, node });
            }
        }
        let runs = observed.is_some_and(|machine| machine.running) && !is_making;
        if !runs && !self.problems_of(node) {
            let title = format!("start {}", node.name);
            let reason = if observed.is_some() { "it is stopped" } else { "it is new" };
            let sketch = Sketch::new(format!("vm/{}/start", node.name), stage, title)
                .because(reason)
                .after([format!("vm/{}/create", node.name), format!("vm/{}/change", node.name)])
                .token("vmid", node.vmid.to_string())
                .seconds(2, 600);
            let (cluster, node) = names;
            self.step(sketch, Action::StartMachine { cluster, node });
        }
    }

    /// What allocations of a node's disks queue for: a local storage has a lock on each node.
    fn storage_lock(&self, node: &Node) -> String {
        let storage = &self.world.storages.vm;
        if self.world.vm_is_shared {
            storage.clone()
        } else {
            format!("{}:{storage}", node.proxmox_node)
        }
    }

    fn existing(&mut self, cluster: &Cluster, node: &Node, observed: &VmObserved, extent: Extent) {
        let ground = Ground {
            site: &self.crew.site,
            storages: &self.world.storages,
            guest_agent: has_agent(self.crew),
        };
        let desired = match machine::desired(ground, cluster, node, "") {
            Ok(desired) => desired,
            Err(error) => {
                self.problem(format!("{}: {error}", node.name), "see the tree");
                return;
            }
        };
        if let Some((text, help)) = why_not_ours(&desired, observed) {
            self.problem(format!("{}: {text}", node.name), help);
            return;
        }
        if let Some(lock) = &observed.lock {
            self.problem(
                format!("{}: its machine is locked ({lock})", node.name),
                "wait for what holds it; a lock that nothing holds any more is removed with `qm unlock`",
            );
            return;
        }
        if observed.node != node.proxmox_node {
            self.notes.push(format!(
                "{} lives on {}, the tree makes it on {}: it stays where it is",
                node.name, observed.node, node.proxmox_node
            ));
        }
        let found = vm::diff(&desired, observed);
        // Whatever is asked for: what else is planned would be planned for the new addresses.
        let moves = moves(&found.changes);
        if !moves.is_empty() && self.was_configured(cluster, node) {
            self.problem(
                format!(
                    "{}: its addresses or network would change ({}): a cluster that runs keeps them",
                    node.name,
                    moves.join("; ")
                ),
                "set back what was changed, in the tree or in Proxmox; a cluster moves by being made anew",
            );
            return;
        }
        if extent != Extent::Full {
            return;
        }
        for (key, value) in left_over(&desired, observed) {
            self.notes.push(format!(
                "{}: {key} ({value}) is no disk of the tree: it stays attached with its data; `qm \
                 unlink {} --idlist {key}` on {} takes it off",
                node.name, node.vmid, observed.node
            ));
        }
        for refused in &found.refused {
            self.problem(format!("{}: {refused}", node.name), "see node_overrides and vm_sizing");
        }
        if found.changes.is_empty() && found.waiting.is_empty() {
            return;
        }
        let stop = observed.running && found.impact() == Some(vm::Impact::StopStart);
        let mut sketch = Sketch::new(
            format!("vm/{}/change", node.name),
            Stage::Compute.path(&cluster.folder),
            format!("change {} (VM {})", node.name, node.vmid),
        )
        .impact(if stop { Impact::Reboot } else { Impact::Live })
        .token("vmid", node.vmid.to_string())
        .seconds(5, 1800);
        if stop {
            sketch = sketch.token("disruption", cluster.folder.clone());
        }
        for change in &found.changes {
            sketch = sketch.because(change.to_string());
        }
        if !found.waiting.is_empty() {
            let keys = found.waiting.join(", ");
            sketch = sketch.because(format!("{keys}: set, and in force from the next restart on"));
        }
        let (folder, name) = (cluster.folder.clone(), node.name.clone());
        let changes = found.changes;
        self.step(sketch, Action::ChangeMachine { cluster: folder, node: name, changes });
    }

    /// Whether a node's cluster was configured once: its certificates, etcd and the kubelets have
    /// the addresses from then.
    fn was_configured(&self, cluster: &Cluster, node: &Node) -> bool {
        self.lock_file.cluster(cluster.id).is_some()
            || matches!(self.world.nodes.get(&node.name), Some(NodeSeen::Configured(_)))
    }

    /// Machines of the cluster that the tree has no more.
    pub(super) fn removals(&mut self, cluster: &Cluster) {
        if self.wish.target.stage(&cluster.folder, Stage::Compute) != Extent::Full {
            return;
        }
        let tag = format!("cluster-{}", cluster.id);
        let planned: BTreeSet<u32> = cluster.nodes.iter().map(|node| node.vmid).collect();
        let carriers = self.carriers.get(&tag).map(Vec::as_slice).unwrap_or_default();
        let strays: Vec<&VmObserved> = carriers
            .iter()
            .copied()
            .filter(|machine| !planned.contains(&machine.vmid.get()))
            .collect();
        for machine in strays {
            let name = machine.config.get("name").cloned().unwrap_or_default();
            let Some(suffix) = made_for(&self.crew.site, cluster, machine) else {
                self.notes.push(format!(
                    "VM {} {name} on {} has the tags of cluster {} and was not made here, as a \
                     clone: it stays",
                    machine.vmid, machine.node, cluster.name
                ));
                continue;
            };
            // Its name is what somebody may have changed; its UUID says which node it is.
            if suffix.get() < self.crew.site.network.worker_offset {
                self.problem(
                    format!(
                        "the tree has no {name} any more: a control plane has to leave etcd first"
                    ),
                    "this version does not remove control planes; raise controlplanes again",
                );
                continue;
            }
            if !self.wish.allow_remove {
                self.problem(
                    format!("the tree has no {name} (VM {}) any more", machine.vmid),
                    format!(
                        "drain it (`kubectl drain {name}`), then `--allow-remove` removes it with its disks; \
                         its entry in Kubernetes stays until `kubectl delete node {name}`"
                    ),
                );
                continue;
            }
            let sketch = Sketch::new(
                format!("vm/{name}/destroy"),
                Stage::Compute.path(&cluster.folder),
                format!("destroy {name} (VM {}) with its disks", machine.vmid),
            )
            .impact(Impact::Destroy)
            .because("the tree has it no more")
            .token("vmid", machine.vmid.to_string())
            .seconds(10, 900);
            let action = Action::DestroyMachine {
                node: machine.node.clone(),
                vmid: machine.vmid.get(),
                uuid: machine.uuid().unwrap_or_default(),
                name,
            };
            self.step(sketch, action);
            self.clusters.insert(cluster.name.clone());
        }
    }
}

/// What to do where a container has the number of a node. No number changes in place: that of a
/// container goes with a backup, that of a cluster's machines with its id while there are none.
fn taken_number(cluster: &Cluster, is_made: bool, number: u32) -> String {
    let container = format!(
        "give the container another number: back it up with `vzdump {number}`, bring it back with \
         `pct restore NUMBER ARCHIVE`, remove it under the old one with `pct destroy {number}`"
    );
    if is_made {
        return format!("cluster {} is made and keeps its numbers: {container}", cluster.name);
    }
    format!(
        "nothing is made of cluster {} yet: change its cluster_id in clusters/{}/cluster.hcl; or \
         {container}",
        cluster.name, cluster.folder
    )
}

/// Whether a machine is one that nobody finished making.
pub(super) fn is_making(machine: &VmObserved) -> bool {
    machine.lock.as_deref() == Some("create")
}

/// What changes put a machine onto another network or give it other addresses, each for people.
/// What is only put back where nothing is moves nothing.
fn moves(changes: &[VmChange]) -> Vec<String> {
    let mut found = Vec::new();
    for change in changes {
        let (key, before, after) = match change {
            VmChange::Set { key, before: Some(before), after } => (key, before, after.as_str()),
            VmChange::Delete { key, before } => (key, before, ""),
            VmChange::Set { before: None, .. } | VmChange::Grow { .. } => continue,
        };
        let numbered = |start: &str| {
            key.strip_prefix(start).is_some_and(|number| number.parse::<u32>().is_ok())
        };
        if numbered("ipconfig") {
            found.push(change.to_string());
        } else if numbered("net") {
            for part in ["bridge", "tag"] {
                let of = |text: &str| {
                    let mut parts = text.split(',').filter_map(|part| part.split_once('='));
                    parts.find(|(name, _)| *name == part).map(|(_, value)| value.to_owned())
                };
                let (before, after) = (of(before), of(after));
                if before != after {
                    let shown = |value: Option<String>| value.unwrap_or_else(|| "(unset)".into());
                    found.push(format!("{key} {part} {} -> {}", shown(before), shown(after)));
                }
            }
        }
    }
    found
}

/// Disks of a machine that the tree does not have, by their keys; what was never the tree's too.
fn left_over<'a>(
    desired: &VmDesired,
    observed: &'a VmObserved,
) -> impl Iterator<Item = (&'a String, &'a String)> {
    let wanted: BTreeSet<String> = desired.disks.iter().map(|disk| disk.key.clone()).collect();
    observed.config.iter().filter(move |(key, value)| {
        let is_bus = |bus: &str| {
            let number = key.strip_prefix(bus);
            number.is_some_and(|number| !number.is_empty() && number.parse::<u8>().is_ok())
        };
        ["scsi", "virtio", "sata"].into_iter().any(is_bus)
            && !value.contains("media=cdrom")
            && !wanted.contains(*key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_network_or_address_moves_a_machine_and_nothing_else_does() {
        let set = |key: &str, before: Option<&str>, after: &str| {
            let (key, before) = (key.to_owned(), before.map(str::to_owned));
            VmChange::Set { key, before, after: after.to_owned() }
        };
        let net = "virtio=BC:24:11:00:00:01,bridge=vnet103,mtu=1";
        let still = [
            set("net0", Some(net), "virtio=BC:24:11:00:00:01,bridge=vnet103,mtu=1400,rate=5"),
            set("net0", None, net),
            set("ipconfig0", None, "ip=10.0.0.1/24"),
            set("netmask", Some("a"), "b"),
            set("cores", Some("1"), "2"),
        ];
        assert_eq!(moves(&still), Vec::<String>::new());
        let moved = [
            set("net0", Some(net), "virtio=BC:24:11:00:00:01,bridge=vnet150,tag=7,mtu=1"),
            set("ipconfig0", Some("ip=10.0.0.1/24"), "ip=10.0.1.1/24"),
        ];
        let told = [
            "net0 bridge vnet103 -> vnet150",
            "net0 tag (unset) -> 7",
            "ipconfig0: ip=10.0.0.1/24 -> ip=10.0.1.1/24",
        ];
        assert_eq!(moves(&moved), told);
    }
}
