//! What it takes to see that a network is not there: lists of networks leave out what one may not see.

use std::collections::BTreeSet;

use proxmox_client::plan::sdn::{Kind, SdnObserved};

use crate::state::{LedgerEntry, ThingKind};

/// Either of these shows a network.
pub const SEES: [&str; 2] = ["SDN.Audit", "SDN.Allocate"];

/// The paths on which one of [`SEES`] has to hold, so that nothing of the ledger's networks is
/// hidden. One that is granted nearer takes the place of one from above, so each of ours is asked
/// for by itself, a VNet in every zone that it may be in: the ledger does not tell which that is.
pub fn seen_on(
    ledger: &BTreeSet<LedgerEntry>,
    seen: &SdnObserved,
    zone_of_tree: Option<&str>,
) -> BTreeSet<String> {
    let of = |kind: ThingKind| {
        ledger.iter().filter(move |entry| entry.kind == kind).map(|entry| entry.id.as_str())
    };
    // A subnet is seen where its VNet is; its id begins with its zone.
    let of_subnets = of(ThingKind::SdnSubnet).filter_map(|id| Some(id.split_once('-')?.0));
    let observed = seen.objects.iter().chain(&seen.removed);
    let observed = observed.filter(|object| object.kind == Kind::Zone).map(|one| one.id.as_str());
    let zones: BTreeSet<&str> =
        of(ThingKind::SdnZone).chain(of_subnets).chain(observed).chain(zone_of_tree).collect();

    // Those that nobody was given anything on.
    let mut paths = BTreeSet::from(["/sdn/zones/-", "/sdn/controllers/-"].map(str::to_owned));
    paths.extend(of(ThingKind::SdnController).map(|id| format!("/sdn/controllers/{id}")));
    for zone in zones {
        paths.insert(format!("/sdn/zones/{zone}"));
        let vnets = of(ThingKind::SdnVnet).chain(["-"]);
        paths.extend(vnets.map(|vnet| format!("/sdn/zones/{zone}/{vnet}")));
    }
    paths
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proxmox_client::plan::sdn::Object;

    use super::*;

    #[test]
    fn each_zone_and_each_vnet_in_it_has_to_be_seen() {
        let entry = |kind, id: &str| LedgerEntry { kind, id: id.to_owned() };
        let ledger = BTreeSet::from([
            entry(ThingKind::SdnController, "c1"),
            entry(ThingKind::SdnZone, "z1"),
            entry(ThingKind::SdnVnet, "vnet101"),
            entry(ThingKind::SdnSubnet, "z2-10.100.0.0-24"),
            entry(ThingKind::StorageFile, "pve01/a:iso/b.iso"),
        ]);
        let theirs =
            Object { kind: Kind::Zone, id: "z3".into(), vnet: None, fields: BTreeMap::new() };
        let seen = SdnObserved { objects: vec![theirs], ..SdnObserved::default() };
        let mut wanted = vec![
            "/sdn/controllers/-".to_owned(),
            "/sdn/controllers/c1".into(),
            "/sdn/zones/-".into(),
        ];
        for zone in ["z1", "z2", "z3", "z4"] {
            wanted.extend(["", "/-", "/vnet101"].map(|rest| format!("/sdn/zones/{zone}{rest}")));
        }
        assert_eq!(seen_on(&ledger, &seen, Some("z4")), wanted.into_iter().collect());
        let none = seen_on(&BTreeSet::new(), &SdnObserved::default(), None);
        assert_eq!(none, BTreeSet::from(["/sdn/controllers/-".into(), "/sdn/zones/-".into()]));
    }
}
