//! What happens during a run, as one stream: terminal, log and report all read it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::step::StepId;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Outcome {
    /// It was carried out and verified.
    Changed,
    /// Its effect was there already.
    Unchanged {
        /// How that was seen.
        reason: String,
    },
    /// It failed.
    Failed {
        /// What happened.
        message: String,
        /// What to do next.
        help: Option<String>,
    },
    /// It was carried out, and the run was stopped before its effect was seen: the next one looks.
    Unverified {
        /// What it waited for.
        reason: String,
    },
    /// It was not started.
    Skipped {
        /// Why not.
        reason: String,
    },
}

impl Outcome {
    /// The step's effect is there.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Changed | Self::Unchanged { .. })
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The step it happened to; none for the run as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepId>,
    /// Milliseconds since the run began.
    pub elapsed_ms: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum EventKind {
    /// The run began.
    RunStarted {
        /// The run's id.
        run: String,
        /// How many steps there are.
        steps: usize,
    },
    /// A step began.
    Started,
    /// A step waits, for this reason.
    Waiting {
        /// The real reason.
        reason: String,
    },
    /// A step goes on, and whoever started the run should know this.
    Remark {
        /// What.
        text: String,
    },
    /// A step moved bytes.
    Progress {
        /// Bytes so far.
        done: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// A step ended.
    Finished {
        /// How.
        outcome: Outcome,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// No new step is started any more.
    Stopping,
    /// The run ended.
    RunFinished {
        /// What came of it.
        summary: Summary,
    },
}

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// How each step ended.
    pub outcomes: BTreeMap<StepId, Outcome>,
    /// Whether the run was asked to stop.
    pub cancelled: bool,
    /// Milliseconds from begin to end.
    pub elapsed_ms: u64,
}

impl Summary {
    fn count(&self, wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.outcomes.values().filter(|outcome| wanted(outcome)).count()
    }

    /// Steps carried out.
    pub fn changed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Changed))
    }

    /// Steps whose effect was there already.
    pub fn unchanged(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Unchanged { .. }))
    }

    /// Steps that failed.
    pub fn failed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Failed { .. }))
    }

    /// Steps that were carried out and not verified.
    pub fn unverified(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Unverified { .. }))
    }

    /// Steps that were not started.
    pub fn skipped(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Skipped { .. }))
    }

    /// Every step's effect is there.
    pub fn is_success(&self) -> bool {
        self.outcomes.values().all(Outcome::is_success)
    }
}
