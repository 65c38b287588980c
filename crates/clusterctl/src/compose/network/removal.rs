//! Networks that the tree has no more: what they are, who is on them, and what is left without them.

use std::collections::BTreeSet;

use proxmox_client::plan::sdn::{self, Kind, Object, SdnChange, SdnObserved, SdnPlan};

use super::{desired, is_ours, ledger_entry, title_of, vnet_of};
use crate::compose::draft::Problem;
use crate::compose::neighbour::NetworkUsers;
use crate::compose::sketch::Sketch;
use crate::compose::target::SDN;
use crate::compose::world::World;
use crate::engine::Impact;
use crate::spec::site::Site;
use crate::state::{LedgerEntry, ThingKind};

/// The step that removes networks.
pub const REMOVAL: &str = "networks/remove";

/// The state of what is removed and not applied.
const DELETED: &str = "deleted";

/// What an object lies in: a subnet has its id in each VNet of a zone, and a VNet has its own in each
/// zone.
fn room(object: &Object) -> Option<&String> {
    match object.kind {
        Kind::Subnet => object.vnet.as_ref(),
        Kind::Vnet => object.fields.get("zone"),
        Kind::Zone | Kind::Controller => None,
    }
}

/// What kind of thing that is.
fn kind_of_room(object: &Object) -> &'static str {
    if object.kind == Kind::Subnet { Kind::Vnet.word() } else { Kind::Zone.word() }
}

fn is_same(one: &Object, other: &Object) -> bool {
    (one.kind, &one.id) == (other.kind, &other.id)
}

/// Whether an object is where another one is. What only moves goes, and is made anew: nothing moves
/// with what is in it.
fn is_at(one: &Object, other: &Object) -> bool {
    is_same(one, other) && room(one) == room(other)
}

/// What people call something that is left: with its place, where the tree has it at another one.
pub fn name_of_left(object: &Object, desired: &[Object]) -> String {
    match room(object) {
        Some(room) if desired.iter().any(|other| is_same(other, object)) => {
            format!("{} (in {room})", object.title())
        }
        _ => object.title(),
    }
}

/// What is there, was made here and is not among `desired`. The mark of a VNet does not tell which
/// tree it is of: the ledger is this one's.
pub fn left(
    desired: &[Object],
    observed: &SdnObserved,
    ledger: &BTreeSet<LedgerEntry>,
) -> Vec<Object> {
    let is_wanted = |object: &Object| desired.iter().any(|other| is_at(object, other));
    let is_left = |object: &&Object| {
        !is_wanted(object) && ledger.contains(&ledger_entry(object)) && is_ours(object, ledger)
    };
    observed.objects.iter().filter(is_left).cloned().collect()
}

/// What of `desired` is not there. One subnet at most has an id: where that lies in another VNet, the
/// wanted one is not there, and cannot be made.
pub fn absent(desired: &[Object], observed: &SdnObserved) -> Vec<Object> {
    let is_there = |object: &Object| {
        let is_it = |other: &Object| match object.kind {
            Kind::Subnet => is_at(other, object),
            Kind::Zone | Kind::Controller | Kind::Vnet => is_same(other, object),
        };
        observed.objects.iter().any(is_it)
    };
    desired.iter().filter(|object| !is_there(object)).cloned().collect()
}

/// Networks that the ledger has and Proxmox has no more, neither in force nor saved: somebody
/// removed them, or the answer to their removal was lost. What others make under such an id is
/// theirs. Subnets of a VNet whose own removal waits cannot be seen.
pub fn vanished(ledger: &BTreeSet<LedgerEntry>, observed: &SdnObserved) -> BTreeSet<LedgerEntry> {
    let there: BTreeSet<String> = observed.objects.iter().map(Object::title).collect();
    let hides = observed.removed.iter().any(|object| object.kind == Kind::Vnet);
    let is_gone = |entry: &&LedgerEntry| {
        let may_be_hidden = hides && entry.kind == ThingKind::SdnSubnet;
        let is_seen =
            |title: &String| there.contains(title) || observed.pending.contains_key(title);
        title_of(entry).is_some_and(|title| !may_be_hidden && !is_seen(&title))
    };
    ledger.iter().filter(is_gone).cloned().collect()
}

/// All that a tree's networks are made of and that is there, with what it had before. What of it
/// others made is told where it is removed.
pub fn present(site: &Site, world: &World, ledger: &BTreeSet<LedgerEntry>) -> Vec<Object> {
    let desired = desired(site, &world.peers);
    let is_desired = |object: &&Object| desired.iter().any(|other| is_same(object, other));
    let mut found: Vec<Object> = world.sdn.objects.iter().filter(is_desired).cloned().collect();
    found.extend(left(&found, &world.sdn, ledger));
    found
}

/// A removal of networks, with what stays.
#[derive(Debug, Default)]
pub struct Removal {
    /// What goes, and what is saved already and is applied with it.
    pub plan: SdnPlan,
    /// Networks that stay, each with a guest that is on it.
    pub used: Vec<String>,
    /// What else stays, each with its reason.
    pub needed: Vec<String>,
}

impl Removal {
    /// Nothing goes.
    pub fn is_empty(&self) -> bool {
        self.plan.is_empty()
    }

    /// Lets it apply what is saved of `desired`: a run was cut before it did that. That one of them
    /// is removed is not for this to apply.
    pub fn apply_too(&mut self, desired: &[Object], observed: &SdnObserved) {
        if !self.is_empty() {
            let is_saved =
                |title: &String| observed.pending.get(title).is_some_and(|state| state != DELETED);
            self.plan.unapplied.extend(desired.iter().map(Object::title).filter(is_saved));
        }
    }

    /// What somebody else saved and did not apply: it would be applied with this.
    pub fn of_others(&self, observed: &SdnObserved) -> Vec<String> {
        if self.is_empty() {
            return Vec::new();
        }
        let pending = self.leaves(observed).pending.into_iter();
        pending
            .map(|(title, state)| {
                format!("{title} is {state} and not applied: somebody is at work")
            })
            .collect()
    }

    /// What is there once it is carried out.
    pub fn leaves(&self, observed: &SdnObserved) -> SdnObserved {
        let gone =
            |object: &Object| self.plan.changes.iter().any(|one| is_at(one.object(), object));
        let mut after = observed.clone();
        after.objects.retain(|object| !gone(object));
        let titles: BTreeSet<String> =
            self.plan.changes.iter().map(|change| change.object().title()).collect();
        after
            .pending
            .retain(|title, _| !titles.contains(title) && !self.plan.unapplied.contains(title));
        after
    }

    /// The VNets that it takes away, or takes a subnet from.
    pub fn vnets<'a>(&'a self, observed: &'a SdnObserved) -> BTreeSet<&'a str> {
        vnets_that_go(&self.plan, observed)
    }

    /// The step that carries it out, after the steps that have to be done before.
    pub(in crate::compose) fn step(&self, title: &str, after: Vec<String>) -> Sketch {
        let mut sketch = Sketch::new(REMOVAL, SDN, title)
            .impact(Impact::Destroy)
            .after(after)
            .token("cluster-file", "sdn")
            .seconds(15, 1500);
        for change in &self.plan.changes {
            sketch = sketch.because(change.to_string());
        }
        for title in &self.plan.unapplied {
            sketch = sketch.because(format!("{title} is saved and not applied"));
        }
        sketch
    }
}

/// The VNets that a plan takes away, or takes a subnet from.
pub fn vnets_that_go<'a>(plan: &'a SdnPlan, observed: &'a SdnObserved) -> BTreeSet<&'a str> {
    let changes = plan.changes.iter().filter(|one| matches!(one, SdnChange::Delete { .. }));
    let removed = observed.removed.iter().filter(|one| plan.unapplied.contains(&one.title()));
    changes.map(SdnChange::object).chain(removed).filter_map(vnet_of).collect()
}

/// How `unwanted` goes once the machines `gone` are gone: a network that a guest is on stays, with
/// all that it needs. What an earlier run removed and did not apply goes with it.
pub fn removal(
    unwanted: Vec<Object>,
    observed: &SdnObserved,
    ledger: &BTreeSet<LedgerEntry>,
    users: &NetworkUsers,
    gone: &BTreeSet<u32>,
) -> Removal {
    let user = |object: &Object| vnet_of(object).and_then(|vnet| users.of(vnet, gone));
    let (kept, unused): (Vec<Object>, Vec<Object>) =
        unwanted.into_iter().partition(|object| user(object).is_some());
    let is_told_with_its_vnet = |object: &Object| {
        object.kind == Kind::Subnet
            && kept
                .iter()
                .any(|one| one.kind == Kind::Vnet && Some(&one.id) == object.vnet.as_ref())
    };
    let told = kept.iter().filter(|object| !is_told_with_its_vnet(object));
    let mut used: Vec<String> = told
        .map(|object| {
            format!("{} stays: {} is on it", object.title(), user(object).unwrap_or_default())
        })
        .collect();
    let SdnPlan { changes, conflicts, .. } =
        sdn::removal(&unused, observed, |object| is_ours(object, ledger));
    let needed = conflicts.iter().map(|why| format!("networks: {why}; it stays")).collect();
    let mut unapplied = unapplied_removals(observed, ledger);
    unapplied.retain(|title| {
        let object = observed.removed.iter().find(|object| object.title() == *title);
        let user = object.and_then(user);
        used.extend(
            user.map(|user| format!("{title} is removed, and not applied: {user} is on it")),
        );
        user.is_none()
    });
    Removal { plan: SdnPlan { changes, unapplied, conflicts: Vec::new() }, used, needed }
}

/// What was made here, is removed, and waits to be applied: a run was cut between the two.
pub fn unapplied_removals(observed: &SdnObserved, ledger: &BTreeSet<LedgerEntry>) -> Vec<String> {
    let titles = ledger.iter().filter_map(title_of);
    titles
        .filter(|title| observed.pending.get(title).is_some_and(|state| state == DELETED))
        .collect()
}

/// What Proxmox would refuse of `desired`, since something that stays has it already.
pub fn clashes(desired: &[Object], stays: &SdnObserved) -> Vec<String> {
    let all = || desired.iter().chain(&stays.objects);
    let number = |one: &Object| sdn::number_of(one, all());
    let mut found = Vec::new();
    for object in desired {
        for other in stays.objects.iter().filter(|other| other.kind == object.kind) {
            let title = object.title();
            if other.id == object.id && room(other) != room(object) {
                let of = |one| room(one).cloned().unwrap_or_default();
                let (kind, before, after) = (kind_of_room(object), of(other), of(object));
                found
                    .push(format!("{title} is in {kind} {before}, and the tree has it in {after}"));
            }
            let Some((room, wanted)) = number(object) else { continue };
            let before = stays.objects.iter().find(|one| is_same(one, object));
            let has_it = before.and_then(number) == Some((room.clone(), wanted.clone()));
            // What the tree has too may be given another one before: the plan of changes tells.
            let goes_on = !desired.iter().any(|one| is_same(one, other));
            if !has_it && goes_on && number(other) == Some((room, wanted.clone())) {
                found.push(format!(
                    "{title} is to have the number {wanted}, which {} has",
                    other.title()
                ));
            }
        }
    }
    found
}

/// Changes of the nodes' own networks that wait to be applied would be applied with ours.
pub fn unapplied(world: &World) -> impl Iterator<Item = Problem> {
    world.pending_networks.iter().map(|node| Problem {
        text: format!("Proxmox node {node} has network changes that are not applied"),
        help:
            "apply or revert them there: applying the networks of the cluster would apply them too"
                .to_owned(),
    })
}

/// Whether it counts who is on networks, where these are to go.
pub fn users_count(
    going: &[Object],
    observed: &SdnObserved,
    ledger: &BTreeSet<LedgerEntry>,
) -> bool {
    going.iter().any(|object| vnet_of(object).is_some())
        || !unapplied_removals(observed, ledger).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::network::MARK;

    fn object(kind: Kind, id: &str, vnet: Option<&str>, fields: &[(&str, &str)]) -> Object {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Object { kind, id: id.to_owned(), vnet: vnet.map(str::to_owned), fields }
    }

    fn vnet(id: &str, tag: &str) -> Object {
        object(Kind::Vnet, id, None, &[("zone", "z1"), ("tag", tag), ("alias", MARK.trim())])
    }

    fn subnet(vnet: &str) -> Object {
        object(Kind::Subnet, "z1-10.100.0.0-24", Some(vnet), &[])
    }

    fn zone() -> Object {
        object(Kind::Zone, "z1", None, &[("type", "evpn"), ("vrf-vxlan", "4096")])
    }

    fn world(objects: &[Object]) -> (SdnObserved, BTreeSet<LedgerEntry>) {
        let observed = SdnObserved { objects: objects.to_vec(), ..SdnObserved::default() };
        (observed, objects.iter().map(ledger_entry).collect())
    }

    fn texts(plan: &SdnPlan) -> Vec<String> {
        plan.changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_goes_makes_room_for_what_comes_once_no_guest_is_on_it() {
        let (observed, ledger) =
            world(&[zone(), vnet("vnet100", "100"), vnet("vnet101", "101"), subnet("vnet100")]);
        let desired = [zone(), vnet("vnet101", "101"), vnet("vnet104", "100"), subnet("vnet104")];
        let left = || left(&desired, &observed, &ledger);
        let names: Vec<String> = left().iter().map(|one| name_of_left(one, &desired)).collect();
        // The subnet has its id in either VNet, and is in the one that goes.
        assert_eq!(names, ["vnet vnet100", "subnet z1-10.100.0.0-24 (in vnet100)"]);
        let clashing = [
            "vnet vnet104 is to have the number 100, which vnet vnet100 has",
            "subnet z1-10.100.0.0-24 is in vnet vnet100, and the tree has it in vnet104",
        ];
        assert_eq!(clashes(&desired, &observed), clashing);

        let users = NetworkUsers::of_all(&[("vnet100", 7, "VM 7 web")]);
        let stays = removal(left(), &observed, &ledger, &users, &BTreeSet::new());
        assert!(stays.is_empty());
        assert_eq!(stays.used, ["vnet vnet100 stays: VM 7 web is on it"]);
        assert_eq!(clashes(&desired, &stays.leaves(&observed)), clashing);

        let goes = removal(left(), &observed, &ledger, &users, &BTreeSet::from([7]));
        assert_eq!(texts(&goes.plan), ["delete subnet z1-10.100.0.0-24", "delete vnet vnet100"]);
        let after = goes.leaves(&observed);
        assert_eq!(clashes(&desired, &after), [""; 0]);
        let comes = sdn::diff(&desired, &after, |_| true, false);
        assert_eq!(texts(&comes), ["create vnet vnet104", "create subnet z1-10.100.0.0-24"]);
        assert_eq!(comes.conflicts, [""; 0]);
        // As long as nobody has looked, anybody may be on it.
        let unseen = NetworkUsers::default();
        assert!(removal(left(), &observed, &ledger, &unseen, &BTreeSet::from([7])).is_empty());
    }

    #[test]
    fn a_zone_gets_another_name_once_its_networks_are_empty() {
        let (observed, ledger) = world(&[zone(), vnet("vnet100", "100"), subnet("vnet100")]);
        let mut desired = [zone(), vnet("vnet100", "100")];
        desired[0].id = "z2".to_owned();
        desired[1].fields.insert("zone".to_owned(), "z2".to_owned());
        let left = || left(&desired, &observed, &ledger);
        assert_eq!(name_of_left(&left()[1], &desired), "vnet vnet100 (in z1)");
        let in_other_zone = "vnet vnet100 is in zone z1, and the tree has it in z2";
        let told = ["zone z2 is to have the number 4096, which zone z1 has", in_other_zone];
        assert_eq!(clashes(&desired, &observed), told);
        // Another number makes no difference: a VNet does not move under a guest.
        let mut other = desired.clone();
        other[0].fields.insert("vrf-vxlan".to_owned(), "4097".to_owned());
        let (empty, _) = world(&[zone(), vnet("vnet100", "100")]);
        assert_eq!(clashes(&other, &empty), [in_other_zone]);

        let users = NetworkUsers::of_all(&[("vnet100", 7, "VM 7 web")]);
        let used = removal(left(), &observed, &ledger, &users, &BTreeSet::new());
        assert!(used.is_empty());
        assert_eq!(used.needed, ["networks: zone z1 is used by vnet vnet100; it stays"]);
        let goes = removal(left(), &observed, &ledger, &users, &BTreeSet::from([7]));
        let after = goes.leaves(&observed);
        assert_eq!((clashes(&desired, &after).len(), after.objects.len()), (0, 0));
        let comes = sdn::diff(&desired, &after, |_| true, false);
        assert_eq!(texts(&comes), ["create zone z2", "create vnet vnet100"]);
    }

    #[test]
    fn a_subnet_that_goes_without_its_vnet_is_told_and_a_tag_counts_where_it_is() {
        let (observed, ledger) = world(&[zone(), vnet("vnet100", "100"), subnet("vnet100")]);
        let desired = [zone(), vnet("vnet100", "100")];
        let left = left(&desired, &observed, &ledger);
        let users = NetworkUsers::of_all(&[("vnet100", 7, "VM 7 web")]);
        let stays = removal(left, &observed, &ledger, &users, &BTreeSet::new());
        assert_eq!(stays.used, ["subnet z1-10.100.0.0-24 stays: VM 7 web is on it"]);

        let with = |kind: &str, vnet_zone: &str| {
            let zone = object(Kind::Zone, "z2", None, &[("type", kind), ("vrf-vxlan", "7")]);
            let other = object(Kind::Vnet, "other", None, &[("zone", vnet_zone), ("tag", "100")]);
            let objects = vec![self::zone(), zone, other];
            clashes(&desired, &SdnObserved { objects, ..SdnObserved::default() }).len()
        };
        // Overlays share their numbers, VLANs of another zone are others.
        assert_eq!((with("vxlan", "z2"), with("vlan", "z2"), with("vlan", "z1")), (1, 0, 1));
        let vrf = object(Kind::Zone, "z2", None, &[("type", "evpn"), ("vrf-vxlan", "4096")]);
        let observed = SdnObserved { objects: vec![vrf], ..SdnObserved::default() };
        let told = ["zone z1 is to have the number 4096, which zone z2 has"];
        assert_eq!(clashes(&desired, &observed), told);
    }

    #[test]
    fn what_a_cut_run_saved_is_applied_and_what_others_saved_is_told() {
        let (mut observed, mut ledger) = world(&[zone(), vnet("vnet100", "100")]);
        ledger.insert(ledger_entry(&vnet("vnet102", "102")));
        observed.removed = vec![vnet("vnet102", "102")];
        let pending = [("vnet vnet102", "deleted"), ("vnet vnet104", "new"), ("zone x", "deleted")];
        observed.pending = pending.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(unapplied_removals(&observed, &ledger), ["vnet vnet102"]);

        let users = NetworkUsers::of_all(&[]);
        let gone = BTreeSet::new();
        let mut found = removal(Vec::new(), &observed, &ledger, &users, &gone);
        assert_eq!(found.plan.unapplied, ["vnet vnet102"]);
        let mut x = zone();
        x.id = "x".to_owned();
        found.apply_too(&[x, vnet("vnet104", "104"), vnet("vnet105", "105")], &observed);
        assert_eq!(found.plan.unapplied, ["vnet vnet102", "vnet vnet104"]);
        let told = ["zone x is deleted and not applied: somebody is at work"];
        assert_eq!(found.of_others(&observed), told);
        // It is there until that is applied, and somebody may have come.
        let users = NetworkUsers::of_all(&[("vnet102", 7, "VM 7 web")]);
        let found = removal(Vec::new(), &observed, &ledger, &users, &gone);
        assert!(found.is_empty());
        let told = ["vnet vnet102 is removed, and not applied: VM 7 web is on it"];
        assert_eq!(found.used, told);
        // Where nothing goes, nothing of it is applied.
        let mut none = Removal::default();
        none.apply_too(&[vnet("vnet104", "104")], &observed);
        assert!(none.is_empty() && none.of_others(&observed).is_empty());
    }

    #[test]
    fn a_subnet_whose_removal_waits_is_in_force_for_the_guests_of_its_network() {
        let (mut observed, mut ledger) = world(&[zone(), vnet("vnet100", "100")]);
        ledger.insert(ledger_entry(&subnet("vnet100")));
        let title = subnet("vnet100").title();
        observed.pending.insert(title.clone(), DELETED.to_owned());
        observed.removed = vec![subnet("vnet100")];
        let found =
            |users: &NetworkUsers| removal(Vec::new(), &observed, &ledger, users, &BTreeSet::new());
        let on = found(&NetworkUsers::of_all(&[("vnet100", 7, "VM 7 web")]));
        assert!(on.is_empty());
        assert_eq!(on.used, [format!("{title} is removed, and not applied: VM 7 web is on it")]);
        let beside = found(&NetworkUsers::of_all(&[("vnet101", 7, "VM 7 web")]));
        assert_eq!(beside.plan.unapplied, [title]);
        // Whoever comes until it is carried out counts too.
        assert_eq!(beside.vnets(&observed), BTreeSet::from(["vnet100"]));
    }

    #[test]
    fn what_a_cluster_needs_and_is_there_clashes_with_nothing() {
        let (observed, _) = world(&[zone(), vnet("vnet101", "102"), vnet("vnet102", "101")]);
        let needed = [zone(), vnet("vnet101", "101"), subnet("vnet101")];
        // The tree exchanges two numbers: that is for the networks' own target to do.
        assert_eq!(clashes(&needed, &observed).len(), 1);
        let made = absent(&needed, &observed);
        assert_eq!(made, [subnet("vnet101")]);
        assert_eq!(clashes(&made, &observed), [""; 0]);
        let (observed, _) = world(&[zone(), vnet("vnet102", "101"), subnet("vnet102")]);
        let told = [
            "vnet vnet101 is to have the number 101, which vnet vnet102 has",
            "subnet z1-10.100.0.0-24 is in vnet vnet102, and the tree has it in vnet101",
        ];
        assert_eq!(clashes(&absent(&needed, &observed), &observed), told);
    }

    #[test]
    fn the_ledger_has_nothing_that_is_neither_there_nor_saved() {
        let (mut observed, mut ledger) = world(&[zone(), vnet("vnet100", "100")]);
        let (saved, gone) = (vnet("vnet102", "102"), subnet("vnet100"));
        ledger.extend([&saved, &gone].map(ledger_entry));
        let file = LedgerEntry { kind: ThingKind::StorageFile, id: "pve01/a:iso/b.iso".to_owned() };
        ledger.insert(file);
        observed.pending.insert(saved.title(), DELETED.to_owned());
        assert_eq!(vanished(&ledger, &observed), BTreeSet::from([ledger_entry(&gone)]));
        // It may be one of the VNet that waits for its removal.
        observed.removed.push(saved);
        assert_eq!(vanished(&ledger, &observed), BTreeSet::new());
    }
}
