//! How steps are written down: a builder with what most of them have in common.

use std::collections::BTreeSet;

use super::action::Action;
use crate::engine::{Impact, Step, StepId, Token};

/// What a step is made from, beside its action.
pub(super) struct Sketch {
    pub(super) id: String,
    stage: String,
    title: String,
    impact: Impact,
    reasons: Vec<String>,
    after: Vec<String>,
    tokens: Vec<Token>,
    /// How long it usually takes and may take, in seconds.
    seconds: (u64, u64),
}

impl Sketch {
    pub(super) fn new(
        id: impl Into<String>,
        stage: impl Into<String>,
        title: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            stage: stage.into(),
            title: title.into(),
            impact: Impact::None,
            reasons: Vec::new(),
            after: Vec::new(),
            tokens: Vec::new(),
            seconds: (1, 300),
        }
    }

    pub(super) fn impact(mut self, impact: Impact) -> Self {
        self.impact = impact;
        self
    }

    pub(super) fn because(mut self, reason: impl Into<String>) -> Self {
        self.reasons.push(reason.into());
        self
    }

    pub(super) fn after(mut self, ids: impl IntoIterator<Item = String>) -> Self {
        self.after.extend(ids);
        self
    }

    pub(super) fn token(mut self, class: &str, key: impl Into<String>) -> Self {
        self.tokens.push(Token::new(class, key));
        self
    }

    pub(super) fn seconds(mut self, usual: u64, longest: u64) -> Self {
        self.seconds = (usual, longest);
        self
    }
}

/// Steps in the making; what a step waits for counts only as far as it is there.
#[derive(Debug, Default)]
pub(super) struct Steps {
    steps: Vec<Step<Action>>,
    ids: BTreeSet<StepId>,
}

impl Steps {
    /// Adds a step.
    pub(super) fn add(&mut self, sketch: Sketch, action: Action) {
        let id = StepId::new(sketch.id);
        let after = sketch
            .after
            .into_iter()
            .map(StepId::new)
            .filter(|other| self.ids.contains(other))
            .collect();
        self.ids.insert(id.clone());
        self.steps.push(Step {
            id,
            stage: sketch.stage,
            title: sketch.title,
            action,
            impact: sketch.impact,
            reasons: sketch.reasons,
            after,
            tokens: sketch.tokens.into_iter().collect(),
            estimate_ms: sketch.seconds.0 * 1000,
            budget_ms: sketch.seconds.1 * 1000,
        });
    }

    /// Whether a step is there.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.contains(&StepId::new(id))
    }

    /// What all of them do.
    pub(super) fn actions(&self) -> impl Iterator<Item = &Action> {
        self.steps.iter().map(|step| &step.action)
    }

    /// The numbers of machines that they remove.
    pub(super) fn machines_that_go(&self) -> BTreeSet<u32> {
        let number = |action: &Action| match action {
            Action::DestroyMachine { vmid, .. } => Some(*vmid),
            _ => None,
        };
        self.actions().filter_map(number).collect()
    }

    /// The steps that remove machines with such numbers.
    pub(super) fn removing(&self, is_meant: impl Fn(u32) -> bool) -> Vec<String> {
        let removes = |step: &&Step<Action>| match step.action {
            Action::DestroyMachine { vmid, .. } => is_meant(vmid),
            _ => false,
        };
        self.steps.iter().filter(removes).map(|step| step.id.to_string()).collect()
    }

    /// Names of all.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(StepId::as_str)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// All of them.
    pub(super) fn into_steps(self) -> Vec<Step<Action>> {
        self.steps
    }
}
