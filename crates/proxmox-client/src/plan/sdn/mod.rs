//! Software-defined networking: zones, controllers, VNets and subnets as one transaction.
//!
//! Upstream: `/cluster/sdn/{zones,controllers,vnets}`, `/cluster/sdn/vnets/{vnet}/subnets`.

mod numbers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::split_list;

pub use numbers::number_of;

/// Kinds of objects, in the order in which they are made; they are removed in reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `/cluster/sdn/controllers`
    Controller,
    /// `/cluster/sdn/zones`
    Zone,
    /// `/cluster/sdn/vnets`
    Vnet,
    /// `/cluster/sdn/vnets/{vnet}/subnets`
    Subnet,
}

impl Kind {
    /// All kinds, in order.
    pub const ALL: [Self; 4] = [Self::Controller, Self::Zone, Self::Vnet, Self::Subnet];

    /// The kind's word, which is also the parameter that names an object.
    pub fn word(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Zone => "zone",
            Self::Vnet => "vnet",
            Self::Subnet => "subnet",
        }
    }
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its id. That of a subnet is `ZONE-ADDRESS-LENGTH`.
    pub id: String,
    /// The VNet of a subnet.
    pub vnet: Option<String>,
    /// Its values as text; lists are separated by commas, truth is `1` or `0`.
    pub fields: BTreeMap<String, String>,
}

impl Object {
    /// What a person calls it.
    pub fn title(&self) -> String {
        format!("{} {}", self.kind.word(), self.id)
    }

    /// The id of a subnet in a zone.
    pub fn subnet_id(zone: &str, cidr: &str) -> String {
        format!("{zone}-{}", cidr.replacen('/', "-", 1))
    }
}

/// What the networks are like now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SdnObserved {
    /// What is saved.
    pub objects: Vec<Object>,
    /// What is saved and not applied yet, by title, with its state: `new`, `changed`, `deleted`.
    pub pending: BTreeMap<String, String>,
    /// What is removed and still in force, as it was: that is not applied yet. Subnets of a VNet
    /// that is removed itself are not among it.
    #[serde(default)]
    pub removed: Vec<Object>,
}

impl SdnObserved {
    fn find(&self, object: &Object) -> Option<&Object> {
        self.objects.iter().find(|other| other.kind == object.kind && other.id == object.id)
    }
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum SdnChange {
    /// An object is made.
    Create {
        /// The object.
        object: Object,
    },
    /// Values of an object change.
    Update {
        /// The object as it will be.
        object: Object,
        /// What changes: key, value before (none: unset), value after (none: removed).
        fields: Vec<(String, Option<String>, Option<String>)>,
    },
    /// An object is removed.
    Delete {
        /// The object as it is.
        object: Object,
    },
}

impl SdnChange {
    /// The object.
    pub fn object(&self) -> &Object {
        match self {
            Self::Create { object } | Self::Update { object, .. } | Self::Delete { object } => {
                object
            }
        }
    }
}

impl fmt::Display for SdnChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { object } => write!(f, "create {}", object.title()),
            Self::Delete { object } => write!(f, "delete {}", object.title()),
            Self::Update { object, fields } => {
                write!(f, "change {}:", object.title())?;
                for (key, before, after) in fields {
                    let text = |value: &Option<String>| {
                        value.clone().unwrap_or_else(|| "(unset)".to_owned())
                    };
                    write!(f, " {key} {} -> {}", text(before), text(after))?;
                }
                Ok(())
            }
        }
    }
}

/// What it takes to make the networks what they should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SdnPlan {
    /// The writes, in order.
    pub changes: Vec<SdnChange>,
    /// What is saved as it should be and waits only to be applied.
    pub unapplied: Vec<String>,
    /// What stands in the way.
    pub conflicts: Vec<String>,
}

impl SdnPlan {
    /// Nothing is to be done, and nothing is in the way.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.unapplied.is_empty() && self.conflicts.is_empty()
    }
}

/// What it takes. Objects that are not desired are left alone.
///
/// `is_ours` tells of an object that exists and differs whether it may be changed; an object that
/// is as desired is taken as it is, whoever made it. With `only_absent` what exists stays. A number
/// is given up before another object takes it; objects that exchange theirs are a conflict, since the
/// server takes one change after the other.
pub fn diff(
    desired: &[Object],
    observed: &SdnObserved,
    is_ours: impl Fn(&Object) -> bool,
    only_absent: bool,
) -> SdnPlan {
    let mut plan = SdnPlan::default();
    let mut wanted: Vec<&Object> = desired.iter().collect();
    wanted.sort();
    let mut titles = BTreeSet::new();
    for object in wanted {
        titles.insert(object.title());
        let Some(current) = observed.find(object) else {
            plan.changes.push(SdnChange::Create { object: object.clone() });
            continue;
        };
        let fields = differences(object, current);
        if fields.is_empty() {
            if observed.pending.contains_key(&object.title()) {
                plan.unapplied.push(object.title());
            }
        } else if is_ours(current) {
            if let Some(why) = impossible(object, &fields, observed) {
                plan.conflicts.push(why);
            } else if !only_absent {
                plan.changes.push(SdnChange::Update { object: object.clone(), fields });
            }
        } else {
            let update = SdnChange::Update { object: object.clone(), fields };
            plan.conflicts.push(format!("{} is not ours; it would need: {update}", object.title()));
        }
    }
    numbers::arrange(&mut plan, observed);
    let foreign = observed.pending.iter().filter(|(title, _)| !titles.contains(*title));
    for (title, state) in foreign {
        plan.conflicts.push(format!("{title} is {state} and not applied: somebody is at work"));
    }
    // What nobody applied does no harm while nothing is applied.
    if plan.changes.is_empty() && plan.unapplied.is_empty() {
        plan.conflicts.retain(|text| !text.ends_with("somebody is at work"));
    }
    plan
}

/// Why the server refuses a change of an object, where it does.
fn impossible(
    object: &Object,
    fields: &[(String, Option<String>, Option<String>)],
    observed: &SdnObserved,
) -> Option<String> {
    let title = object.title();
    let change = |key: &str| fields.iter().find(|(name, ..)| name == key);
    if let Some((_, before, after)) = change("type") {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let (before, after) = (text(before), text(after));
        return Some(format!("{title} is of type {before}; one cannot become {after}"));
    }
    let has_subnets = || {
        let mut objects = observed.objects.iter();
        objects.any(|other| other.vnet.as_ref() == Some(&object.id))
    };
    if object.kind == Kind::Vnet && change("zone").is_some() && has_subnets() {
        return Some(format!("{title} has subnets: it cannot go to another zone with them"));
    }
    None
}

/// What it takes to remove objects: subnets first, then VNets, zones and controllers.
///
/// An object that is not there needs nothing. One that `is_ours` does not vouch for stays, and so
/// does a zone or controller that something else still uses; each with its reason in
/// [`SdnPlan::conflicts`].
pub fn removal(
    unwanted: &[Object],
    observed: &SdnObserved,
    is_ours: impl Fn(&Object) -> bool,
) -> SdnPlan {
    let mut plan = SdnPlan::default();
    let mut present: Vec<&Object> =
        unwanted.iter().filter_map(|object| observed.find(object)).collect();
    present.sort();
    present.reverse();
    let mut gone: BTreeSet<String> = BTreeSet::new();
    for object in present {
        let user = observed.objects.iter().find(|other| {
            !gone.contains(&other.title())
                && match (object.kind, other.kind) {
                    (Kind::Zone, Kind::Vnet) => other.fields.get("zone") == Some(&object.id),
                    (Kind::Controller, Kind::Zone) => {
                        other.fields.get("controller") == Some(&object.id)
                    }
                    (Kind::Vnet, Kind::Subnet) => other.vnet.as_ref() == Some(&object.id),
                    _ => false,
                }
        });
        if !is_ours(object) {
            plan.conflicts.push(format!("{} was not made here", object.title()));
        } else if let Some(user) = user {
            plan.conflicts.push(format!("{} is used by {}", object.title(), user.title()));
        } else {
            gone.insert(object.title());
            plan.changes.push(SdnChange::Delete { object: object.clone() });
        }
    }
    plan
}

/// Fields of `wanted` that an object has otherwise; a key with an empty value must be absent.
fn differences(wanted: &Object, current: &Object) -> Vec<(String, Option<String>, Option<String>)> {
    let mut found = Vec::new();
    for (key, value) in &wanted.fields {
        let now = current.fields.get(key).filter(|now| !now.is_empty());
        if value.is_empty() {
            if let Some(now) = now {
                found.push((key.clone(), Some(now.clone()), None));
            }
            continue;
        }
        let is_same = match now {
            Some(now) => is_same(key, value, now),
            // A flag that is not there is off.
            None => value == "0",
        };
        if !is_same {
            found.push((key.clone(), now.cloned(), Some(value.clone())));
        }
    }
    found
}

fn is_same(key: &str, one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let set = |text: &str| split_list(text).into_iter().collect::<BTreeSet<_>>();
    match key {
        "nodes" | "exitnodes" | "peers" | "rt-import" => set(one) == set(other),
        "gateway" => match (one.parse::<std::net::IpAddr>(), other.parse::<std::net::IpAddr>()) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: Kind, id: &str, fields: &[(&str, &str)]) -> Object {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Object { kind, id: id.into(), vnet: None, fields }
    }

    #[test]
    fn objects_are_made_in_order_and_taken_as_they_are() {
        let zone = object(Kind::Zone, "z1", &[("type", "evpn"), ("nodes", "a,b"), ("mtu", "1450")]);
        let vnet = object(Kind::Vnet, "vnet101", &[("zone", "z1"), ("tag", "10101")]);
        let controller = object(Kind::Controller, "c1", &[("type", "evpn"), ("asn", "65000")]);
        let desired = [vnet, zone.clone(), controller];
        let plan = diff(&desired, &SdnObserved::default(), |_| false, false);
        let texts: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["create controller c1", "create zone z1", "create vnet vnet101"]);

        let mut there = zone;
        there.fields.insert("nodes".into(), "b,a".into());
        there.fields.insert("mac".into(), "BC:24:11:00:00:01".into());
        let observed = SdnObserved { objects: vec![there.clone()], ..SdnObserved::default() };
        let plan = diff(&desired, &observed, |_| false, false);
        assert!(!plan.changes.iter().any(|change| change.object().kind == Kind::Zone));

        there.fields.insert("mtu".into(), "9000".into());
        let observed = SdnObserved { objects: vec![there], ..SdnObserved::default() };
        let foreign = diff(&desired, &observed, |_| false, false);
        assert_eq!(foreign.conflicts.len(), 1);
        let ours = diff(&desired, &observed, |_| true, false);
        assert!(ours.conflicts.is_empty());
        assert!(ours.changes.iter().any(|c| c.to_string() == "change zone z1: mtu 9000 -> 1450"));
    }

    #[test]
    fn objects_are_removed_from_the_leaves_and_what_others_use_stays() {
        let zone = object(Kind::Zone, "z1", &[("type", "evpn"), ("controller", "c1")]);
        let vnet = object(Kind::Vnet, "vnet101", &[("zone", "z1")]);
        let other = object(Kind::Vnet, "theirs", &[("zone", "z1")]);
        let controller = object(Kind::Controller, "c1", &[("type", "evpn")]);
        let mut subnet = object(Kind::Subnet, "z1-10.0.0.0-24", &[]);
        subnet.vnet = Some("vnet101".into());
        let unwanted = [controller.clone(), zone.clone(), vnet.clone(), subnet.clone()];
        let texts = |plan: &SdnPlan| -> Vec<String> {
            plan.changes.iter().map(ToString::to_string).collect()
        };
        let mut observed = SdnObserved { objects: unwanted.to_vec(), ..SdnObserved::default() };
        let plan = removal(&unwanted, &observed, |_| true);
        assert_eq!(
            texts(&plan),
            [
                "delete subnet z1-10.0.0.0-24",
                "delete vnet vnet101",
                "delete zone z1",
                "delete controller c1"
            ]
        );
        observed.objects.push(other);
        let plan = removal(&unwanted, &observed, |_| true);
        assert_eq!(texts(&plan), ["delete subnet z1-10.0.0.0-24", "delete vnet vnet101"]);
        assert_eq!(
            plan.conflicts,
            ["zone z1 is used by vnet theirs", "controller c1 is used by zone z1"]
        );
        assert!(removal(&unwanted, &SdnObserved::default(), |_| true).is_empty());
        let plan = removal(&unwanted, &observed, |object| object.kind == Kind::Vnet);
        assert_eq!(plan.changes.len(), 0, "a VNet keeps its foreign subnet");
    }

    #[test]
    fn what_the_server_refuses_is_told_instead_of_planned() {
        let zone = object(Kind::Zone, "z1", &[("type", "evpn")]);
        let vnet = object(Kind::Vnet, "vnet101", &[("zone", "z1")]);
        let mut observed = SdnObserved { objects: vec![zone, vnet], ..SdnObserved::default() };
        let moved = [object(Kind::Vnet, "vnet101", &[("zone", "z2")])];
        let texts = |observed: &SdnObserved, desired: &[Object]| {
            let plan = diff(desired, observed, |_| true, false);
            (plan.changes.len(), plan.conflicts)
        };
        assert_eq!(texts(&observed, &moved), (1, vec![]));
        let mut subnet = object(Kind::Subnet, "z1-10.0.0.0-24", &[]);
        subnet.vnet = Some("vnet101".into());
        observed.objects.push(subnet);
        let told = "vnet vnet101 has subnets: it cannot go to another zone with them";
        assert_eq!(texts(&observed, &moved), (0, vec![told.to_owned()]));
        let other = [object(Kind::Zone, "z1", &[("type", "vxlan")])];
        let told = "zone z1 is of type evpn; one cannot become vxlan";
        assert_eq!(texts(&observed, &other), (0, vec![told.to_owned()]));
    }

    #[test]
    fn what_somebody_else_left_pending_stops_an_apply() {
        let vnet = object(Kind::Vnet, "vnet101", &[("zone", "z1")]);
        let pending = BTreeMap::from([("zone other".to_owned(), "new".to_owned())]);
        let mut observed = SdnObserved { pending, ..SdnObserved::default() };
        let plan = diff(std::slice::from_ref(&vnet), &observed, |_| true, false);
        assert_eq!(plan.conflicts, ["zone other is new and not applied: somebody is at work"]);
        observed.objects.push(vnet.clone());
        assert!(diff(std::slice::from_ref(&vnet), &observed, |_| true, false).is_empty());
        observed.pending = BTreeMap::from([("vnet vnet101".to_owned(), "new".to_owned())]);
        let plan = diff(&[vnet], &observed, |_| true, false);
        assert_eq!(plan.unapplied, ["vnet vnet101"]);
    }
}
