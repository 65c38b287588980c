//! The order of clusters: what disturbs one of a later ring waits for those before it.

use std::collections::{BTreeMap, BTreeSet};

use crate::compose::action::Action;
use crate::compose::network::REMOVAL;
use crate::engine::{Impact, Step, StepId};
use crate::spec::site::Site;

/// The ring of each cluster by folder, from 0; clusters that no ring names come last.
pub(super) fn rings(site: &Site) -> BTreeMap<String, usize> {
    let ring = |name: &String| site.rings.iter().position(|ring| ring.contains(name));
    site.clusters
        .iter()
        .map(|cluster| (cluster.folder.clone(), ring(&cluster.name).unwrap_or(site.rings.len())))
        .collect()
}

/// Makes disruptive steps of a ring wait for those of the ring before it, and until its clusters
/// are well again. Steps that disturb nobody wait for no ring, and none waits for what waits for it:
/// machines that go make room for networks that those of an earlier ring may need.
pub(super) fn order(steps: &mut [Step<Action>], rings: &BTreeMap<String, usize>) {
    let folder = |step: &Step<Action>| -> Option<String> {
        step.stage.strip_prefix("clusters/")?.split('/').next().map(str::to_owned)
    };
    let is_disruptive = |step: &Step<Action>| step.impact >= Impact::RestartService;
    let mut disturbed: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for step in steps.iter().filter(|step| is_disruptive(step)) {
        if let Some(folder) = folder(step)
            && let Some(ring) = rings.get(&folder)
        {
            disturbed.entry(*ring).or_default().insert(folder);
        }
    }
    let mut room = Room::of(steps);
    let mut before: Option<(Vec<StepId>, String)> = None;
    for folders in disturbed.values() {
        let mut ends = Vec::new();
        for step in steps.iter_mut() {
            let Some(folder) = folder(step).filter(|folder| folders.contains(folder)) else {
                continue;
            };
            if is_disruptive(step) {
                if let Some((earlier, names)) = &before {
                    let ends = earlier.iter().filter(|end| room.lets(&step.id, end));
                    let ends: Vec<StepId> = ends.cloned().collect();
                    if !ends.is_empty() {
                        step.reasons.push(format!("after {names}, which is in an earlier ring"));
                    }
                    step.after.extend(ends);
                }
                ends.push(step.id.clone());
            } else if matches!(&step.action, Action::AwaitCluster { cluster, .. } if *cluster == folder)
            {
                ends.push(step.id.clone());
            }
        }
        let names: Vec<&str> = folders.iter().map(String::as_str).collect();
        before = Some((ends, names.join(", ")));
        room.look_again(steps);
    }
}

/// A removal of networks: what it waits for, and what waits for it.
#[derive(Default)]
struct Room {
    makes: BTreeSet<StepId>,
    behind: BTreeSet<StepId>,
}

impl Room {
    fn of(steps: &[Step<Action>]) -> Self {
        let removal = steps.iter().find(|step| step.id.as_str() == REMOVAL);
        let found = removal.map(|step| (step.after.clone(), BTreeSet::from([step.id.clone()])));
        let (makes, behind) = found.unwrap_or_default();
        let mut room = Self { makes, behind };
        room.look_again(steps);
        room
    }

    /// After steps were made to wait for others.
    fn look_again(&mut self, steps: &[Step<Action>]) {
        let mut count = 0;
        while self.behind.len() > count {
            count = self.behind.len();
            for step in steps {
                if step.after.iter().any(|id| self.behind.contains(id)) {
                    self.behind.insert(step.id.clone());
                }
            }
        }
    }

    /// Whether a step can wait for another one.
    fn lets(&self, step: &StepId, wait_for: &StepId) -> bool {
        !(self.makes.contains(step) && self.behind.contains(wait_for))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::action::Level;
    use crate::compose::network::NETWORKS;
    use crate::engine::{Base, Plan};

    fn step(id: &str, folder: &str, impact: Impact, action: Action) -> Step<Action> {
        Step {
            id: StepId::new(id),
            stage: format!("clusters/{folder}/config"),
            title: String::new(),
            action,
            impact,
            reasons: Vec::new(),
            after: BTreeSet::new(),
            tokens: BTreeSet::new(),
            estimate_ms: 1,
            budget_ms: 1,
        }
    }

    fn change(id: &str, folder: &str, impact: Impact) -> Step<Action> {
        let (cluster, node) = (folder.to_owned(), id.to_owned());
        step(id, folder, impact, Action::StartMachine { cluster, node })
    }

    /// The plan of steps whose clusters are in these rings.
    fn plan_of(mut steps: Vec<Step<Action>>, rings: &[(&str, usize)]) -> Plan<Action> {
        let rings = rings.iter().map(|(folder, ring)| ((*folder).to_owned(), *ring)).collect();
        order(&mut steps, &rings);
        let base = Base { tree: String::new(), observation: String::new() };
        Plan::new(base, Vec::new(), steps).unwrap()
    }

    fn after<'a>(plan: &'a Plan<Action>, id: &str) -> Vec<&'a str> {
        plan.steps[&StepId::new(id)].after.iter().map(StepId::as_str).collect()
    }

    #[test]
    fn a_later_ring_is_disturbed_once_the_one_before_is_well_again() {
        let level = Level::NodesReady;
        let wait = Action::AwaitCluster { cluster: "c1".into(), level };
        let steps = vec![
            change("a", "c1", Impact::Reboot),
            step("well", "c1", Impact::None, wait),
            change("quiet", "c1", Impact::Live),
            change("b", "c3", Impact::Reboot),
            change("new", "c3", Impact::None),
            change("c", "c4", Impact::Destroy),
        ];
        // Nothing of the second ring is disturbed: the third waits for the first.
        let plan = plan_of(steps, &[("c1", 0), ("c2", 1), ("c3", 2), ("c4", 3)]);
        for id in ["a", "quiet", "new"] {
            assert!(after(&plan, id).is_empty(), "{id}");
        }
        assert_eq!(after(&plan, "b"), ["a", "well"]);
        assert_eq!(after(&plan, "c"), ["b"]);
        let reasons = &plan.steps[&StepId::new("b")].reasons;
        assert_eq!(reasons, &["after c1, which is in an earlier ring"]);
    }

    #[test]
    fn a_machine_that_makes_room_does_not_wait_for_what_needs_it() {
        let level = Level::NodesReady;
        let wait = |folder: &str| Action::AwaitCluster { cluster: folder.into(), level };
        let waits = |mut step: Step<Action>, ids: &[&str]| {
            step.after = ids.iter().map(|id| StepId::new(*id)).collect();
            step
        };
        let networks = || Action::Networks { plan: proxmox_client::plan::sdn::SdnPlan::default() };
        let common =
            |id: &str| Step { stage: "common".into(), ..step(id, "", Impact::Live, networks()) };
        let steps = vec![
            change("gone", "c3", Impact::Destroy),
            waits(common(REMOVAL), &["gone"]),
            waits(common(NETWORKS), &[REMOVAL]),
            change("a", "c1", Impact::Reboot),
            waits(step("well1", "c1", Impact::None, wait("c1")), &["a", NETWORKS]),
            change("b", "c2", Impact::Reboot),
            waits(step("well2", "c2", Impact::None, wait("c2")), &["b"]),
            change("c", "c3", Impact::Reboot),
        ];
        let plan = plan_of(steps, &[("c1", 0), ("c2", 1), ("c3", 2)]);
        assert_eq!(after(&plan, "b"), ["a", "well1"]);
        assert_eq!(after(&plan, "c"), ["b", "well2"]);
        // Every end of the ring before needs the networks that it makes room for.
        assert!(after(&plan, "gone").is_empty());
        let reasons = |id: &str| plan.steps[&StepId::new(id)].reasons.clone();
        assert_eq!(reasons("c"), ["after c2, which is in an earlier ring"]);
        assert_eq!(reasons("gone"), [""; 0]);
    }
}
