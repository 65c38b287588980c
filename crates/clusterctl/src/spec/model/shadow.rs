//! Keys that a stage's own file says again: the shared ones have no say then.

use super::common::Context;
use super::key::Section::{
    self, Images, Network, Prefixes, Proxmox, Registry, Schematic, Sdn, Vnets,
};
use super::tree::Gathered;

/// A key of a stage, and the shared one that it stands in front of.
const PAIRS: &[(Section, &str, Section, &str)] = &[
    (Images, "official_extensions", Schematic, "install_system_extensions"),
    (Images, "custom_extensions", Schematic, "install_custom_extensions"),
    (Images, "kernel_args", Schematic, "install_kernel_args"),
    (Registry, "proxmox_datastore_id", Proxmox, "storage.datastore_id"),
    (Sdn, "zone_id", Network, "sdn.zone_id"),
    (Sdn, "vrf_vxlan", Network, "sdn.vrf_vxlan"),
    (Sdn, "mtu", Network, "sdn.mtu"),
    (Sdn, "disable_arp_nd_suppression", Network, "sdn.disable_arp_nd_suppression"),
    (Sdn, "advertise_subnets", Network, "sdn.advertise_subnets"),
    (Sdn, "vnets", Vnets, "vnets"),
    (Sdn, "delegated_prefixes", Prefixes, "delegated_prefixes"),
    (Sdn, "delegated_prefixes", Prefixes, "delegated_gateways"),
];

/// Notes at every shared value that a stage replaces by another where that is. A stage that reads the
/// shared value and says the same hides nothing.
pub(super) fn mark(context: &Context<'_>, gathered: &mut Gathered) {
    for (section, key, shared, hidden) in PAIRS {
        let file = context.file(*section);
        let path: Vec<&str> = hidden.split('.').collect();
        let (own, other) = (file.get(&[key]), context.file(*shared).get(&path));
        if own.is_none() || own == other {
            continue;
        }
        let sources = gathered.sources();
        let by = file.place(&[key]).map(|place| sources.locate(&place));
        let front = format!("{}.{hidden}", context.file(*shared).front());
        for origin in &mut gathered.origins {
            let rest = origin.path.strip_prefix(&front);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
                origin.overridden_by.clone_from(&by);
            }
        }
    }
}
