//! The zone, its controller, VNets and subnets, as Proxmox should have them, and how what the tree
//! has no more goes.

mod removal;
mod sight;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proxmox_client::plan::sdn::{Kind, Object};

use crate::spec::site::{Cluster, Sdn, SdnController, Site, Vnet};
use crate::state::{LedgerEntry, ThingKind};

pub use removal::{
    REMOVAL, Removal, absent, clashes, left, name_of_left, present, removal, unapplied,
    unapplied_removals, users_count, vanished, vnets_that_go,
};

pub use sight::{SEES, seen_on};

/// The step that makes and changes networks.
pub const NETWORKS: &str = "networks";

/// What stands at the end of the alias of a VNet that is ours.
pub const MARK: &str = " (clusterctl)";

/// The objects that the tree asks for; `peers` are the addresses of the zone's Proxmox nodes, which
/// a VXLAN zone without a controller sends its packets to.
pub fn desired(site: &Site, peers: &[IpAddr]) -> Vec<Object> {
    let Some(sdn) = &site.sdn else { return Vec::new() };
    let mut objects: Vec<Object> = controller(sdn).into_iter().collect();
    objects.push(zone(sdn, peers));
    for vnet in sdn.vnets.values() {
        objects.extend(of_vnet(sdn, vnet));
    }
    objects.sort();
    objects
}

/// The objects that one cluster's machines need.
pub fn needed_by(site: &Site, cluster: &Cluster, peers: &[IpAddr]) -> Vec<Object> {
    let Some(sdn) = site.sdn.as_ref().filter(|_| cluster.segment.use_sdn) else {
        return Vec::new();
    };
    let Some(vnet) = sdn.vnets.get(&cluster.segment.bridge) else { return Vec::new() };
    let mut objects: Vec<Object> = controller(sdn).into_iter().collect();
    objects.push(zone(sdn, peers));
    objects.extend(of_vnet(sdn, vnet));
    objects
}

/// The ledger's line for an object.
pub fn ledger_entry(object: &Object) -> LedgerEntry {
    let kind = match object.kind {
        Kind::Zone => ThingKind::SdnZone,
        Kind::Controller => ThingKind::SdnController,
        Kind::Vnet => ThingKind::SdnVnet,
        Kind::Subnet => ThingKind::SdnSubnet,
    };
    LedgerEntry { kind, id: object.id.clone() }
}

/// Whether there may be networks that are this tree's: it describes some, or made some before.
pub fn has_any(site: &Site, ledger: &BTreeSet<LedgerEntry>) -> bool {
    let is_network = |entry: &LedgerEntry| kind_of(entry).is_some();
    site.sdn.is_some() || ledger.iter().any(is_network)
}

/// What kind of network a line of the ledger is about.
fn kind_of(entry: &LedgerEntry) -> Option<Kind> {
    match entry.kind {
        ThingKind::SdnZone => Some(Kind::Zone),
        ThingKind::SdnController => Some(Kind::Controller),
        ThingKind::SdnVnet => Some(Kind::Vnet),
        ThingKind::SdnSubnet => Some(Kind::Subnet),
        ThingKind::StorageFile => None,
    }
}

/// What a line of the ledger is called, as [`Object::title`] calls it.
pub fn title_of(entry: &LedgerEntry) -> Option<String> {
    Some(format!("{} {}", kind_of(entry)?.word(), entry.id))
}

/// Whether an object was made by this program: a VNet says so, of others the ledger does.
pub fn is_ours(object: &Object, ledger: &BTreeSet<LedgerEntry>) -> bool {
    match object.kind {
        Kind::Vnet => is_marked(object),
        Kind::Zone | Kind::Controller | Kind::Subnet => ledger.contains(&ledger_entry(object)),
    }
}

/// Whether an object carries our mark; only VNets can.
pub fn is_marked(object: &Object) -> bool {
    object.kind == Kind::Vnet
        && object.fields.get("alias").is_some_and(|alias| alias.ends_with(MARK.trim_start()))
}

/// The VNet that an object is, or lies in.
pub fn vnet_of(object: &Object) -> Option<&str> {
    match object.kind {
        Kind::Vnet => Some(&object.id),
        Kind::Subnet => object.vnet.as_deref(),
        Kind::Zone | Kind::Controller => None,
    }
}

fn fields(pairs: Vec<(&str, String)>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn controller(sdn: &Sdn) -> Option<Object> {
    let Some(SdnController::Created { id, asn, peers, fabric }) = &sdn.controller else {
        return None;
    };
    let mut pairs = vec![("type", "evpn".to_owned()), ("asn", asn.to_string())];
    match fabric {
        Some(fabric) => pairs.push(("fabric", fabric.clone())),
        None => pairs.push(("peers", peers.join(","))),
    }
    Some(Object { kind: Kind::Controller, id: id.clone(), vnet: None, fields: fields(pairs) })
}

fn zone(sdn: &Sdn, peers: &[IpAddr]) -> Object {
    let mut pairs = vec![("type", sdn.zone_type.clone())];
    let flag = |value: bool| u8::from(value).to_string();
    match &sdn.controller {
        Some(SdnController::Existing(id) | SdnController::Created { id, .. }) => {
            pairs.push(("controller", id.clone()));
        }
        None => {
            let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
            pairs.push(("peers", peers.join(",")));
        }
    }
    pairs.extend(sdn.mtu.map(|mtu| ("mtu", mtu.to_string())));
    pairs.push(("nodes", sdn.nodes.join(",")));
    if sdn.zone_type == "evpn" {
        pairs.extend(sdn.vrf_vxlan.map(|vni| ("vrf-vxlan", vni.to_string())));
        pairs.push(("exitnodes", sdn.exit_nodes.join(",")));
        pairs.push(("exitnodes-primary", sdn.primary_exit_node.clone().unwrap_or_default()));
        pairs.push(("rt-import", sdn.rt_import.clone().unwrap_or_default()));
        pairs.extend(
            sdn.disable_arp_nd_suppression.map(|value| ("disable-arp-nd-suppression", flag(value))),
        );
        pairs.extend(sdn.advertise_subnets.map(|value| ("advertise-subnets", flag(value))));
    }
    Object { kind: Kind::Zone, id: sdn.zone_id.clone(), vnet: None, fields: fields(pairs) }
}

fn of_vnet(sdn: &Sdn, vnet: &Vnet) -> Vec<Object> {
    let alias = format!("{}{MARK}", vnet.alias.as_deref().unwrap_or(&vnet.id));
    let mut pairs = vec![("zone", sdn.zone_id.clone()), ("alias", alias)];
    pairs.extend(vnet.tag.map(|tag| ("tag", tag.to_string())));
    let own = Object { kind: Kind::Vnet, id: vnet.id.clone(), vnet: None, fields: fields(pairs) };
    let subnets = vnet.subnets.iter().map(|subnet| Object {
        kind: Kind::Subnet,
        id: Object::subnet_id(&sdn.zone_id, &subnet.cidr.to_string()),
        vnet: Some(vnet.id.clone()),
        fields: fields(vec![(
            "gateway",
            subnet.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
        )]),
    });
    std::iter::once(own).chain(subnets).collect()
}
