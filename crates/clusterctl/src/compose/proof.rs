//! Whose a machine is: tags alone prove nothing, since a clone has those of its original.

use netplan::identity::node_uuid;
use netplan::{ClusterId, Suffix};
use proxmox_client::plan::vm::VmObserved;

use super::machine::TAG;
use crate::spec::site::{Cluster, Site};

/// Whether a machine carries the tags that machines of a cluster get.
pub(super) fn has_tags_of(cluster: &Cluster, machine: &VmObserved) -> bool {
    let tags = machine.tags();
    tags.contains(TAG) && tags.contains(&format!("cluster-{}", cluster.id))
}

/// The suffix of the node that a machine was made for, be it one that the tree has no more: it has
/// the cluster's tags, and the UUID of one of its nodes. Proxmox gives a clone another UUID.
pub(super) fn made_for(site: &Site, cluster: &Cluster, machine: &VmObserved) -> Option<Suffix> {
    let (uuid, id) = (machine.uuid()?, ClusterId::new(cluster.id.into()).ok()?);
    if !has_tags_of(cluster, machine) {
        return None;
    }
    (u64::from(Suffix::MIN.get())..=u64::from(Suffix::MAX.get()))
        .filter_map(|suffix| Suffix::new(suffix).ok())
        .find(|suffix| node_uuid(&site.name, id, *suffix).to_string() == uuid)
}
