//! What was seen of a site: what plans are made from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proxmox_client::plan::sdn::SdnObserved;
use proxmox_client::plan::vm::VmObserved;
use proxmox_client::{VmId, Volume};
use talos_client::api::EtcdPhase;
use talos_client::config::FieldChange;

use super::access::Flaw;
use super::kubernetes::NodeState;
use super::machine::Storages;
use super::manifest::ObjectChange;
use super::neighbour::NetworkUsers;
use crate::spec::site::Cluster;

/// What is known of the site.
#[derive(Debug, Clone)]
pub struct World {
    /// The version of Proxmox VE.
    pub version: String,
    /// The storages that are used.
    pub storages: Storages,
    /// Zones, controllers, VNets, subnets.
    pub sdn: SdnObserved,
    /// Proxmox nodes whose own network has changes that are not applied.
    pub pending_networks: Vec<String>,
    /// Addresses of the Proxmox nodes that a VXLAN zone is on; none for a zone with a controller.
    pub peers: Vec<IpAddr>,
    /// Machines under planned numbers, and all others that carry our tag.
    pub machines: BTreeMap<VmId, VmObserved>,
    /// Containers by their numbers, which no machine can have, each for people.
    pub containers: BTreeMap<u32, String>,
    /// Who is on which network; looked at only where networks may go.
    pub network_users: NetworkUsers,
    /// ISO files by Proxmox node.
    pub files: BTreeMap<String, Vec<Volume>>,
    /// Proxmox nodes on which the ISO storage is one and the same.
    pub iso_is_shared: bool,
    /// The storage of disks is one and the same on all Proxmox nodes, and so is its lock.
    pub vm_is_shared: bool,
    /// The nodes of clusters by name.
    pub nodes: BTreeMap<String, NodeSeen>,
    /// The clusters by folder.
    pub clusters: BTreeMap<String, ClusterSeen>,
}

impl World {
    /// Whether etcd of a cluster starts or runs.
    pub fn has_etcd(&self, cluster: &Cluster) -> bool {
        self.etcd(cluster) != Etcd::None
    }

    /// The image with which a cluster installs Cilium, as its first control plane that shows one has
    /// it.
    pub fn cilium_image(&self, cluster: &Cluster) -> Option<&str> {
        cluster.nodes.iter().find_map(|node| match self.nodes.get(&node.name) {
            Some(NodeSeen::Configured(one)) => one.cilium_image.as_deref(),
            _ => None,
        })
    }

    /// How far etcd of a cluster is on the node where it is farthest.
    pub fn etcd(&self, cluster: &Cluster) -> Etcd {
        let seen = cluster.nodes.iter().map(|node| match self.nodes.get(&node.name) {
            Some(NodeSeen::Configured(one)) => one.etcd,
            _ => Etcd::None,
        });
        seen.max().unwrap_or(Etcd::None)
    }

    /// Tells one state of the site from another.
    pub fn fingerprint(&self) -> String {
        use std::fmt::Write as _;
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .map(|(name, seen)| match seen {
                NodeSeen::Off => (name, "off".to_owned(), None),
                NodeSeen::Maintenance => (name, "maintenance".to_owned(), None),
                NodeSeen::Unknown(_) => (name, "unknown".to_owned(), None),
                NodeSeen::Configured(one) => {
                    (name, format!("{} {}", one.version, one.has_etcd()), Some(&one.changes))
                }
            })
            .collect();
        let mut seal = Seal::default();
        for machine in self.machines.values() {
            seal.machine(machine);
        }
        // A hash cannot fail to be written to.
        let _ = write!(seal, "{:?} {:?} {:?} {nodes:?}", self.storages, self.sdn, self.files);
        seal.close()
    }
}

/// A digest of text that is never held as a whole.
#[derive(Default)]
struct Seal(sha2::Sha256);

impl std::fmt::Write for Seal {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        sha2::Digest::update(&mut self.0, text.as_bytes());
        Ok(())
    }
}

impl Seal {
    /// A text with its length in front: two of them cannot be taken for one.
    fn part(&mut self, text: &str) {
        sha2::Digest::update(&mut self.0, text.len().to_le_bytes());
        sha2::Digest::update(&mut self.0, text.as_bytes());
    }

    /// Field by field: printing thousands of machines would take longer than hashing them.
    fn machine(&mut self, machine: &VmObserved) {
        let VmObserved { vmid, node, running, lock, config, pending } = machine;
        let counts = [config.len(), pending.len()].map(usize::to_le_bytes).concat();
        sha2::Digest::update(&mut self.0, vmid.get().to_le_bytes());
        sha2::Digest::update(&mut self.0, [u8::from(*running), u8::from(lock.is_some())]);
        sha2::Digest::update(&mut self.0, counts);
        self.part(node);
        lock.iter().for_each(|lock| self.part(lock));
        for (key, value) in config {
            self.part(key);
            self.part(value);
        }
        pending.iter().for_each(|key| self.part(key));
    }

    fn close(self) -> String {
        use std::fmt::Write as _;
        let digest = sha2::Digest::finalize(self.0);
        digest.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// What is known of a node of a cluster.
#[derive(Debug, Clone)]
pub enum NodeSeen {
    /// Its machine is not there or does not run.
    Off,
    /// It waits for its configuration.
    Maintenance,
    /// It has a configuration.
    Configured(Box<Running>),
    /// It cannot be told; why.
    Unknown(String),
}

/// A node that has a configuration.
#[derive(Debug, Clone)]
pub struct Running {
    /// The version of Talos on it, such as `v1.11.5`.
    pub version: String,
    /// Where its life is, such as `running`.
    pub stage: String,
    /// What its configuration would have to change.
    pub changes: Vec<FieldChange>,
    /// The objects whose manifests are among that.
    pub manifests: Vec<ObjectChange>,
    /// All of that is staged: it comes into force with the next reboot.
    pub staged: bool,
    /// Why the two could not be compared.
    pub uncompared: Option<String>,
    /// How far its etcd is.
    pub etcd: Etcd,
    /// The image that its configuration has for the installation of Cilium, by tag or by digest,
    /// where it is the tree's. Workers have none.
    pub cilium_image: Option<String>,
}

impl Running {
    /// Whether etcd starts or runs on it.
    pub fn has_etcd(&self) -> bool {
        self.etcd != Etcd::None
    }
}

/// How far etcd is on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Etcd {
    /// There is none, or it waits for a bootstrap or for members to join.
    None,
    /// It starts: the disk may have nothing of it yet.
    Starts,
    /// It runs.
    Runs,
}

impl Etcd {
    /// As a control plane tells it.
    pub fn of(phase: &EtcdPhase) -> Self {
        match phase {
            EtcdPhase::Started(etcd) if matches!(etcd.state.as_str(), "Running" | "Stopping") => {
                Self::Runs
            }
            // Also one that starts again and again: it waits for no bootstrap.
            EtcdPhase::Started(_) | EtcdPhase::Returning(_) => Self::Starts,
            _ => Self::None,
        }
    }
}

/// What is known of a cluster.
#[derive(Debug, Clone)]
pub struct ClusterSeen {
    /// Whether its secrets are there.
    pub secrets: SecretsSeen,
    /// Why its kubeconfig does not serve; none when it does.
    pub kubeconfig: Option<Flaw>,
    /// Why its talosconfig does not serve; none when it does.
    pub talosconfig: Option<Flaw>,
    /// The nodes that Kubernetes knows; an error when it could not be asked.
    pub kubernetes: Result<BTreeMap<String, NodeState>, String>,
}

/// Whether the secrets of a cluster are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretsSeen {
    /// There are none.
    Absent,
    /// They are there and open.
    Open,
    /// They are there and cannot be opened.
    Sealed(String),
}

#[cfg(test)]
mod tests {
    use talos_client::api::Service;

    use super::*;

    #[test]
    fn an_etcd_that_comes_back_or_starts_again_waits_for_no_bootstrap() {
        let etcd = |state: &str| {
            let mut etcd = Service::default();
            state.clone_into(&mut etcd.state);
            etcd
        };
        let started = |state| Etcd::of(&EtcdPhase::Started(etcd(state)));
        assert_eq!(["Running", "Stopping"].map(started), [Etcd::Runs, Etcd::Runs]);
        assert_eq!(["Starting", "Waiting"].map(started), [Etcd::Starts, Etcd::Starts]);
        assert_eq!(Etcd::of(&EtcdPhase::Returning(etcd("Preparing"))), Etcd::Starts);
        assert_eq!(Etcd::of(&EtcdPhase::Empty), Etcd::None);
        assert_eq!(Etcd::of(&EtcdPhase::Absent), Etcd::None);
    }
}
