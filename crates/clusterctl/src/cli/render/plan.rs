//! A plan for people: a tree of changes, counts, and what is at stake.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::compose::action::Action;
use crate::compose::effect::{Counts, Effect};
use crate::engine::{Impact, Plan, Step};

/// What a plan is about besides its steps.
#[derive(Debug, Clone, Default)]
pub struct Stakes {
    /// Clusters whose machines or configuration change.
    pub clusters: Vec<String>,
    /// Requests that carrying it out will make, about.
    pub calls: u64,
    /// How many things stand in its way.
    pub problems: usize,
    /// It removes things, whatever the tree says.
    pub removal: bool,
}

/// The plan as text.
pub fn text(plan: &Plan<Action>, stakes: &Stakes) -> String {
    let mut out = String::new();
    if plan.is_empty() {
        let _ = writeln!(out, "{}", nothing(plan, stakes));
        notes(&mut out, &plan.notes, "");
        return out;
    }
    for (stage, steps) in by_stage(plan) {
        let _ = writeln!(out, "{stage}");
        for step in steps {
            let impact = match step.impact {
                Impact::None => String::new(),
                other => format!("  [{other}]"),
            };
            let _ = writeln!(out, "  {} {}{impact}", Effect::of(step).sign(), step.title);
            for reason in &step.reasons {
                for line in reason.lines() {
                    let _ = writeln!(out, "      {line}");
                }
            }
        }
        out.push('\n');
    }
    notes(&mut out, &plan.notes, "\n");
    out.push_str(&counts(plan, stakes));
    out
}

/// What a plan without steps means.
fn nothing(plan: &Plan<Action>, stakes: &Stakes) -> String {
    match (stakes.problems, stakes.removal, plan.target.as_slice()) {
        (0, true, _) => "Nothing to remove: nothing that is ours is left of it.".to_owned(),
        (0, false, []) => "No changes. The site is as the tree says.".to_owned(),
        (0, false, [one]) => format!("No changes. {one} is as the tree says."),
        (0, false, all) => format!("No changes. {} are as the tree says.", all.join(", ")),
        _ => "Nothing can be planned: see what stands in the way.".to_owned(),
    }
}

fn notes(out: &mut String, notes: &[String], after: &str) {
    for note in notes {
        let _ = writeln!(out, "note: {note}");
    }
    if !notes.is_empty() {
        out.push_str(after);
    }
}

fn by_stage(plan: &Plan<Action>) -> Vec<(String, Vec<&Step<Action>>)> {
    let sequence = plan.order().map(|order| order.sequence).unwrap_or_default();
    let mut steps: BTreeMap<&str, Vec<&Step<Action>>> = BTreeMap::new();
    for step in sequence.iter().filter_map(|id| plan.steps.get(id)) {
        steps.entry(step.stage.as_str()).or_default().push(step);
    }
    plan.stages()
        .into_iter()
        .filter_map(|(stage, _)| {
            let steps = steps.remove(stage.as_str())?;
            Some((stage, steps))
        })
        .collect()
}

fn counts(plan: &Plan<Action>, stakes: &Stakes) -> String {
    let mut out = format!("Plan: {}.\n", Counts::of(plan));
    let reached = match stakes.clusters.as_slice() {
        [] => "no cluster".to_owned(),
        clusters => clusters.join(", "),
    };
    let _ = writeln!(
        out,
        "Blast radius: {reached}; worst impact {}; about {} requests.",
        plan.worst_impact(),
        stakes.calls
    );
    out
}

/// The plan as a document in Markdown.
pub fn markdown(plan: &Plan<Action>, stakes: &Stakes) -> String {
    if plan.is_empty() {
        let mut out = format!("{}\n", nothing(plan, stakes));
        notes(&mut out, &plan.notes, "");
        return out;
    }
    let mut out = String::from("# Plan\n\n");
    for (stage, steps) in by_stage(plan) {
        let _ = writeln!(out, "## {stage}\n\n| | step | impact | why |\n|---|---|---|---|");
        for step in steps {
            let why = step.reasons.join("; ").replace('\n', " ").replace('|', "\\|");
            let title = step.title.replace('|', "\\|");
            let _ = writeln!(
                out,
                "| {} | {title} | {} | {why} |",
                Effect::of(step).sign(),
                step.impact
            );
        }
        out.push('\n');
    }
    notes(&mut out, &plan.notes, "\n");
    out.push_str(&counts(plan, stakes));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::action::Level;
    use crate::engine::{Base, StepId};

    #[test]
    fn a_plan_reads_as_a_tree_with_counts() {
        let node = |name: &str| ("cluster-101".to_owned(), name.to_owned());
        let step = |id: &str, stage: &str, impact, (action, reason): (Action, &str)| Step {
            id: StepId::new(id),
            stage: stage.into(),
            title: format!("create {id}"),
            action,
            impact,
            reasons: vec![reason.into()],
            after: [].into(),
            tokens: [].into(),
            estimate_ms: 1,
            budget_ms: 1,
        };
        let (cluster, name) = node("solcp01");
        let create = Action::CreateMachine { cluster, node: name };
        let (cluster, name) = node("solcp02");
        let change = Action::ChangeMachine { cluster, node: name, changes: vec![] };
        let (cluster, name) = node("solcp01");
        let eject = Action::EjectMedium { cluster, node: name };
        let (cluster, name) = node("solcp03");
        let reach = Action::Reach { cluster, node: name };
        let wait = Action::AwaitCluster { cluster: "cluster-101".into(), level: Level::Api };
        let base = Base { tree: String::new(), observation: String::new() };
        let plan = Plan::new(
            base,
            vec![],
            vec![
                step("a", "one", Impact::None, (create, "it is not there")),
                step("b", "two", Impact::Reboot, (change, "cores 4 -> 6")),
                step("c", "two", Impact::Live, (eject, "it is installed")),
                step("d", "two", Impact::None, (wait, "nodes change")),
                step("e", "two", Impact::None, (reach, "it is stopped")),
            ],
        )
        .unwrap();
        let stakes = Stakes { clusters: vec!["sol".into()], calls: 7, ..Stakes::default() };
        assert_eq!(
            text(&plan, &stakes),
            "one\n  + create a\n      it is not there\n\ntwo\n  ~ create b  [reboot]\n      cores 4 -> 6\n\
             \x20 > create c  [live]\n      it is installed\n\
             \x20 . create d\n      nodes change\n\
             \x20 . create e\n      it is stopped\n\n\
             Plan: 1 to add, 1 to change, 0 to replace, 0 to destroy; 1 to start or eject, 2 to wait for.\n\
             Blast radius: sol; worst impact reboot; about 7 requests.\n"
        );
        let page = markdown(&plan, &stakes);
        assert!(page.contains("| ~ | create b | reboot | cores 4 -> 6 |"));
        assert!(page.contains("| . | create d | none | nodes change |"));
        assert!(page.contains("destroy; 1 to start or eject, 2 to wait for.\n"));
    }
    #[test]
    fn a_plan_without_steps_says_what_that_means_and_no_more() {
        let said = |target: &[&str], problems, removal| {
            let base = Base { tree: String::new(), observation: String::new() };
            let target = target.iter().map(ToString::to_string).collect();
            let plan = Plan::new(base, target, vec![]).unwrap();
            let stakes = Stakes { problems, removal, ..Stakes::default() };
            assert_eq!(text(&plan, &stakes), markdown(&plan, &stakes));
            text(&plan, &stakes)
        };
        assert_eq!(said(&[], 0, false), "No changes. The site is as the tree says.\n");
        assert_eq!(said(&["artifacts"], 0, false), "No changes. artifacts is as the tree says.\n");
        assert!(!said(&[], 1, false).contains("as the tree says"));
        assert!(said(&["clusters/cluster-101"], 0, true).starts_with("Nothing to remove"));
    }
}
