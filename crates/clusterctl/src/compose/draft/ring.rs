//! The order of clusters: what disturbs one of a later ring waits for those before it.

use std::collections::{BTreeMap, BTreeSet};

use crate::compose::action::Action;
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
/// are well again. Steps that disturb nobody wait for no ring.
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
    let mut before: Option<(Vec<StepId>, String)> = None;
    for folders in disturbed.values() {
        let mut ends = Vec::new();
        for step in steps.iter_mut() {
            let Some(folder) = folder(step).filter(|folder| folders.contains(folder)) else {
                continue;
            };
            if is_disruptive(step) {
                if let Some((earlier, names)) = &before {
                    step.after.extend(earlier.iter().cloned());
                    step.reasons.push(format!("after {names}, which is in an earlier ring"));
                }
                ends.push(step.id.clone());
            } else if matches!(&step.action, Action::AwaitCluster { cluster, .. } if *cluster == folder)
            {
                ends.push(step.id.clone());
            }
        }
        let names: Vec<&str> = folders.iter().map(String::as_str).collect();
        before = Some((ends, names.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::action::Level;
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

    #[test]
    fn a_later_ring_is_disturbed_once_the_one_before_is_well_again() {
        let level = Level::NodesReady;
        let wait = Action::AwaitCluster { cluster: "c1".into(), level };
        let mut steps = vec![
            change("a", "c1", Impact::Reboot),
            step("well", "c1", Impact::None, wait),
            change("quiet", "c1", Impact::Live),
            change("b", "c3", Impact::Reboot),
            change("new", "c3", Impact::None),
            change("c", "c4", Impact::Destroy),
        ];
        // Nothing of the second ring is disturbed: the third waits for the first.
        let rings = [("c1", 0), ("c2", 1), ("c3", 2), ("c4", 3)];
        let rings = rings.map(|(folder, ring)| (folder.to_owned(), ring)).into();
        order(&mut steps, &rings);
        let base = Base { tree: String::new(), observation: String::new() };
        let plan = Plan::new(base, Vec::new(), steps).unwrap();
        let after = |id: &str| -> Vec<&str> {
            plan.steps[&StepId::new(id)].after.iter().map(StepId::as_str).collect()
        };
        assert!(after("a").is_empty() && after("quiet").is_empty() && after("new").is_empty());
        assert_eq!(after("b"), ["a", "well"]);
        assert_eq!(after("c"), ["b"]);
        let reasons = &plan.steps[&StepId::new("b")].reasons;
        assert_eq!(reasons, &["after c1, which is in an earlier ring"]);
    }
}
