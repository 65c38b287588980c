//! Numbers that only one network may have at a time. The server looks at each change by itself, with
//! what is saved until then, and not at what all of a transaction come to.

use std::collections::BTreeMap;

use super::{Kind, Object, SdnChange, SdnObserved, SdnPlan};

/// The number of a network, after the room in which no other of its kind may have it: the tag of a
/// VNet among all overlays (`evpn` and `vxlan`), or in its zone; the VRF of a zone. `all` are
/// networks with the zones among them.
pub fn number_of<'a>(
    object: &'a Object,
    mut all: impl Iterator<Item = &'a Object>,
) -> Option<(String, String)> {
    let field = |key: &str| object.fields.get(key).filter(|value| !value.is_empty()).cloned();
    match object.kind {
        Kind::Zone => Some(("VRFs".to_owned(), field("vrf-vxlan")?)),
        Kind::Vnet => {
            let (zone, tag) = (field("zone")?, field("tag")?);
            let found = all.find(|one| one.kind == Kind::Zone && one.id == zone);
            let kind = found.and_then(|zone| zone.fields.get("type")).map(String::as_str);
            let is_overlay = matches!(kind, Some("evpn" | "vxlan"));
            Some((if is_overlay { "overlays".to_owned() } else { zone }, tag))
        }
        Kind::Controller | Kind::Subnet => None,
    }
}

/// A change, with the numbers that it gives up and takes.
struct Move {
    change: SdnChange,
    before: Option<(String, String)>,
    after: Option<(String, String)>,
}

impl Move {
    fn id(&self) -> &str {
        &self.change.object().id
    }
}

/// Who has which number.
type Holders = BTreeMap<(String, String), String>;

/// Puts changes in an order in which each number is given up before another network takes it. Where
/// networks exchange theirs there is none: they are told as a conflict instead.
pub(super) fn arrange(plan: &mut SdnPlan, observed: &SdnObserved) {
    let changes = std::mem::take(&mut plan.changes);
    let mut moves = moves(changes, observed);
    for kind in Kind::ALL {
        let of_kind = |object: &&Object| object.kind == kind;
        let numbers = observed.objects.iter().filter(of_kind).filter_map(|object| {
            Some((number_of(object, observed.objects.iter())?, object.id.clone()))
        });
        let mut holders: Holders = numbers.collect();
        let (mut waiting, others) =
            moves.into_iter().partition(|one: &Move| one.change.object().kind == kind);
        moves = others;
        while let Some(at) = waiting.iter().position(|one| holder(one, &holders).is_none()) {
            let one = waiting.remove(at);
            if let Some(before) = &one.before {
                holders.remove(before);
            }
            if let Some(after) = &one.after {
                holders.insert(after.clone(), one.id().to_owned());
            }
            plan.changes.push(one.change);
        }
        // What stays keeps its number: whoever wants that is told so by the server.
        let is_held_for_good = |one: &Move, waiting: &[Move]| {
            let holder = holder(one, &holders);
            !holder.is_some_and(|id| waiting.iter().any(|other| other.id() == id))
        };
        while let Some(at) = waiting.iter().position(|one| is_held_for_good(one, &waiting)) {
            plan.changes.push(waiting.remove(at).change);
        }
        plan.conflicts.extend(exchange(&waiting));
    }
}

fn moves(changes: Vec<SdnChange>, observed: &SdnObserved) -> Vec<Move> {
    let wanted: Vec<Object> = changes.iter().map(|change| change.object().clone()).collect();
    let all = || wanted.iter().chain(&observed.objects);
    let made = |change: SdnChange| {
        let object = change.object();
        let before = observed.find(object);
        // What a change does not tell stays.
        let mut after = before.cloned().unwrap_or_else(|| object.clone());
        after.fields.extend(object.fields.clone());
        let before = before.and_then(|before| number_of(before, observed.objects.iter()));
        let after = number_of(&after, all());
        Move { change, before, after }
    };
    changes.into_iter().map(made).collect()
}

/// Another network that has the number that one is to take.
fn holder<'a>(one: &Move, holders: &'a Holders) -> Option<&'a str> {
    let holder = holders.get(one.after.as_ref()?)?;
    (holder != one.id()).then_some(holder)
}

/// What networks are told that are left waiting for each other.
fn exchange(waiting: &[Move]) -> Option<String> {
    let number = |of: &Option<(String, String)>| of.as_ref().map_or("none", |(_, n)| n).to_owned();
    let told = waiting.iter().map(|one| {
        let title = one.change.object().title();
        format!("{title} ({} -> {})", number(&one.before), number(&one.after))
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| {
        format!(
            "{} exchange numbers, and Proxmox takes one change after the other: give one of them \
             a free number and apply that, then the number that it should have",
            told.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::diff;
    use super::*;

    fn object(kind: Kind, id: &str, fields: &[(&str, &str)]) -> Object {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Object { kind, id: id.into(), vnet: None, fields }
    }

    fn vnet(id: &str, zone: &str, tag: &str) -> Object {
        object(Kind::Vnet, id, &[("zone", zone), ("tag", tag)])
    }

    /// What a plan changes, in order, and what stands in its way.
    fn planned(before: &[Object], after: &[Object]) -> (Vec<String>, Vec<String>) {
        let mut objects = vec![
            object(Kind::Zone, "over", &[("type", "vxlan")]),
            object(Kind::Zone, "also", &[("type", "evpn"), ("vrf-vxlan", "900")]),
            object(Kind::Zone, "lan1", &[("type", "vlan")]),
            object(Kind::Zone, "lan2", &[("type", "vlan")]),
        ];
        objects.extend(before.to_vec());
        let observed = SdnObserved { objects, ..SdnObserved::default() };
        let plan = diff(after, &observed, |_| true, false);
        let ids = plan.changes.iter().map(|change| change.object().id.clone());
        (ids.collect(), plan.conflicts)
    }

    #[test]
    fn a_number_is_given_up_before_it_is_taken() {
        let before = [vnet("a", "over", "1"), vnet("b", "over", "2"), vnet("c", "also", "3")];
        let after = [
            vnet("a", "over", "2"),
            vnet("b", "over", "3"),
            vnet("c", "also", "4"),
            vnet("aa", "over", "1"),
        ];
        let order = ["c", "b", "a", "aa"].map(str::to_owned).to_vec();
        assert_eq!(planned(&before, &after), (order, vec![]));
        let zones = |one: &str, other: &str| {
            let zone = |id, vrf| object(Kind::Zone, id, &[("type", "evpn"), ("vrf-vxlan", vrf)]);
            [zone("also", one), zone("z", other)]
        };
        let before = &zones("900", "901")[1..];
        let order = ["z", "also"].map(str::to_owned).to_vec();
        assert_eq!(planned(before, &zones("901", "902")), (order, vec![]));
    }

    #[test]
    fn networks_that_exchange_their_numbers_are_told_how_to() {
        let before = [vnet("a", "over", "1"), vnet("b", "also", "2"), vnet("c", "over", "3")];
        // One waits for those that wait for each other, one does not.
        let after = [
            vnet("a", "over", "2"),
            vnet("b", "also", "1"),
            vnet("c", "over", "4"),
            vnet("d", "over", "3"),
        ];
        let (changes, conflicts) = planned(&before, &after);
        assert_eq!(changes, ["c", "d"]);
        let [told] = conflicts.as_slice() else { panic!("{conflicts:?}") };
        assert!(told.starts_with("vnet a (1 -> 2), vnet b (2 -> 1) exchange numbers"), "{told}");
        let (changes, conflicts) = planned(&before, &[vnet("a", "over", "2")]);
        // Nobody planned that the other one gives it up: that is for the server to refuse.
        assert_eq!((changes.len(), conflicts.len()), (1, 0));
    }

    #[test]
    fn zones_of_vlans_have_numbers_of_their_own() {
        let before = [vnet("a", "lan1", "1"), vnet("b", "lan2", "2"), vnet("c", "over", "3")];
        let after = [vnet("a", "lan1", "2"), vnet("b", "lan2", "3"), vnet("c", "over", "1")];
        let order = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(planned(&before, &after), (order, vec![]));
        let before = [vnet("a", "lan1", "1"), vnet("b", "lan1", "2")];
        let (changes, conflicts) =
            planned(&before, &[vnet("a", "lan1", "2"), vnet("b", "lan1", "1")]);
        assert_eq!((changes.len(), conflicts.len()), (0, 1));
    }
}
