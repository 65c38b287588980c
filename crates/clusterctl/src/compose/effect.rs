//! What a step is to whoever counts what a plan does: a thing that is added is one thing, waiting
//! for it is another.

use serde::Serialize;

use super::action::Action;
use crate::engine::{Impact, Plan, Step};

/// What a step does to what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Something comes to be.
    Add,
    /// Something that exists changes.
    Change,
    /// Something is made anew.
    Replace,
    /// Something goes.
    Destroy,
    /// Something that is there, or that the plan adds, is put to work; it stays what it is.
    Run,
    /// Nothing is done but to wait and look.
    Wait,
}

impl Effect {
    /// The effect of a step.
    pub fn of(step: &Step<Action>) -> Self {
        match (&step.action, step.impact) {
            (Action::AwaitCluster { .. } | Action::Reach { .. }, _) => Self::Wait,
            (Action::StartMachine { .. } | Action::EjectMedium { .. }, _) => Self::Run,
            (_, Impact::None) => Self::Add,
            (_, Impact::Live | Impact::RestartService | Impact::Reboot) => Self::Change,
            (_, Impact::Replace) => Self::Replace,
            (_, Impact::Destroy) => Self::Destroy,
        }
    }

    /// The sign that stands before a step.
    pub fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Change => '~',
            Self::Replace => '!',
            Self::Destroy => '-',
            Self::Run => '>',
            Self::Wait => '.',
        }
    }
}

/// How many steps of a plan have which effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Steps that add.
    pub add: usize,
    /// Steps that change.
    pub change: usize,
    /// Steps that make something anew.
    pub replace: usize,
    /// Steps that destroy.
    pub destroy: usize,
    /// Steps that put something to work: machines started, media ejected.
    pub run: usize,
    /// Steps that wait.
    pub wait: usize,
}

impl Counts {
    /// Counts the steps of a plan.
    pub fn of(plan: &Plan<Action>) -> Self {
        let mut counts = Self::default();
        for step in plan.steps.values() {
            *match Effect::of(step) {
                Effect::Add => &mut counts.add,
                Effect::Change => &mut counts.change,
                Effect::Replace => &mut counts.replace,
                Effect::Destroy => &mut counts.destroy,
                Effect::Run => &mut counts.run,
                Effect::Wait => &mut counts.wait,
            } += 1;
        }
        counts
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { add, change, replace, destroy, run, wait } = self;
        write!(f, "{add} to add, {change} to change, {replace} to replace, {destroy} to destroy")?;
        let rest = [(run, "to start or eject"), (wait, "to wait for")];
        let rest: Vec<String> = rest
            .iter()
            .filter(|(count, _)| **count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if !rest.is_empty() {
            write!(f, "; {}", rest.join(", "))?;
        }
        Ok(())
    }
}
