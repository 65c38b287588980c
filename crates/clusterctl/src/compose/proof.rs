//! Whose a machine is: tags alone prove nothing, since a clone has those of its original.

use std::collections::BTreeSet;

use netplan::identity::node_uuid;
use netplan::{ClusterId, Suffix};
use proxmox_client::plan::vm::{VmDesired, VmObserved};

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
    has_tags_of(cluster, machine).then(|| suffix_of(site, cluster, machine)).flatten()
}

/// The suffix of the node of a cluster whose UUID a machine has.
fn suffix_of(site: &Site, cluster: &Cluster, machine: &VmObserved) -> Option<Suffix> {
    let (uuid, id) = (machine.uuid()?, ClusterId::new(cluster.id.into()).ok()?);
    (u64::from(Suffix::MIN.get())..=u64::from(Suffix::MAX.get()))
        .filter_map(|suffix| Suffix::new(suffix).ok())
        .find(|suffix| node_uuid(&site.name, id, *suffix).to_string() == uuid)
}

/// Whether a machine is ours by its UUID and has lost tags: by itself that proves too little to
/// touch it, and it is nothing of others that could be removed.
pub(super) fn lost_its_tags(site: &Site, cluster: &Cluster, machine: &VmObserved) -> bool {
    !has_tags_of(cluster, machine) && suffix_of(site, cluster, machine).is_some()
}

/// What is wrong with the machine under the number of a node that is not proven to be the node's,
/// and what to do about it.
pub(super) fn why_not_ours(wanted: &VmDesired, machine: &VmObserved) -> Option<(String, String)> {
    let foreign = wanted.owns(machine).err()?;
    if machine.uuid().as_deref() == Some(wanted.uuid.as_str()) {
        let text = format!("its machine is ours without its tags: {}", foreign.reason);
        return Some((text, tags_back(&wanted.tags)));
    }
    Some((
        format!("its number is taken: {}", foreign.reason),
        "remove that machine, or give the node another number in the tree".to_owned(),
    ))
}

/// What to do about a machine of ours that lost its tags.
fn tags_back(tags: &BTreeSet<String>) -> String {
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    format!(
        "put the tags {} back, beside those that it has: a machine without them is not touched",
        tags.join(";")
    )
}

/// The same for a machine of a cluster.
pub(super) fn tags_back_of(cluster: &Cluster) -> String {
    tags_back(&[TAG.to_owned(), format!("cluster-{}", cluster.id)].into())
}
