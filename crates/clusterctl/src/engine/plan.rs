//! A plan: steps with what they were made from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::graph::{GraphError, Order};
use super::step::{Action, Impact, Step, StepId};

/// Format of a saved plan.
pub const PLAN_FORMAT: u32 = 1;

/// What a plan was made from. A plan is applied only while both are still the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Fingerprint of the text that was evaluated.
    pub tree: String,
    /// Fingerprint of what was observed.
    pub observation: String,
}

/// Everything that will be done, complete before anything is: execution chooses nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan<A> {
    /// [`PLAN_FORMAT`].
    pub format: u32,
    /// What it was made from.
    pub base: Base,
    /// What was asked for.
    pub target: Vec<String>,
    /// The steps.
    #[serde(bound(deserialize = "A: Action"))]
    pub steps: BTreeMap<StepId, Step<A>>,
    /// What the reader should know beside the steps.
    pub notes: Vec<String>,
}

/// Why a plan cannot be made or read.
#[derive(Debug)]
pub enum PlanError {
    /// Two steps have one id.
    Duplicate(StepId),
    /// The steps have no order.
    Graph(GraphError),
    /// The text is no plan.
    Text(serde_json::Error),
    /// The plan is of another format.
    Format(u64),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(id) => write!(f, "two steps are called {id}"),
            Self::Graph(_) => f.write_str("the steps have no order"),
            Self::Text(_) => f.write_str("the text is not a saved plan"),
            Self::Format(format) => {
                write!(f, "the plan has format {format}; this program reads {PLAN_FORMAT}")
            }
        }
    }
}

impl std::error::Error for PlanError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Graph(error) => Some(error),
            Self::Text(error) => Some(error),
            Self::Duplicate(_) | Self::Format(_) => None,
        }
    }
}

impl<A: Action> Plan<A> {
    /// Makes a plan and proves that its steps have an order.
    ///
    /// # Errors
    /// Two steps have one id, a step waits for one that is not there, or steps wait for one
    /// another.
    pub fn new(base: Base, target: Vec<String>, steps: Vec<Step<A>>) -> Result<Self, PlanError> {
        let mut map = BTreeMap::new();
        for step in steps {
            let id = step.id.clone();
            if map.insert(id.clone(), step).is_some() {
                return Err(PlanError::Duplicate(id));
            }
        }
        Order::of(&map).map_err(PlanError::Graph)?;
        Ok(Self { format: PLAN_FORMAT, base, target, steps: map, notes: Vec::new() })
    }

    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The order of the steps.
    ///
    /// # Errors
    /// As [`Plan::new`]; a plan that was made by it has an order.
    pub fn order(&self) -> Result<Order, PlanError> {
        Order::of(&self.steps).map_err(PlanError::Graph)
    }

    /// The stages with their number of steps, in the order in which they begin.
    pub fn stages(&self) -> Vec<(String, usize)> {
        let sequence = self.order().map(|order| order.sequence).unwrap_or_default();
        let mut seen = BTreeSet::new();
        sequence
            .iter()
            .filter_map(|id| self.steps.get(id))
            .filter(|step| seen.insert(step.stage.clone()))
            .map(|step| {
                let count = self.steps.values().filter(|other| other.stage == step.stage).count();
                (step.stage.clone(), count)
            })
            .collect()
    }

    /// The worst that any step does.
    pub fn worst_impact(&self) -> Impact {
        self.steps.values().map(|step| step.impact).max().unwrap_or(Impact::None)
    }

    /// The plan as text that [`Plan::from_json`] reads.
    ///
    /// # Errors
    /// An action does not serialise.
    pub fn to_json(&self) -> Result<String, PlanError> {
        serde_json::to_string_pretty(self).map_err(PlanError::Text)
    }

    /// Reads a saved plan.
    ///
    /// # Errors
    /// The text is no plan, of another format, or its steps have no order.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(PlanError::Text)?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format != u64::from(PLAN_FORMAT) => {
                return Err(PlanError::Format(format));
            }
            _ => {}
        }
        let plan: Self = serde_json::from_value(value).map_err(PlanError::Text)?;
        plan.order()?;
        Ok(plan)
    }
}
