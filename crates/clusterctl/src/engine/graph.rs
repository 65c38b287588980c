//! The order of steps: checks edges, finds cycles, weighs chains.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::step::{Step, StepId};

/// Why steps have no order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphError {
    /// A step waits for one that is not in the plan.
    Missing {
        /// The step that waits.
        step: StepId,
        /// The step that is not there.
        needs: StepId,
    },
    /// Steps wait for one another; the path starts and ends with the same step.
    Cycle(Vec<StepId>),
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { step, needs } => {
                write!(f, "step {step} waits for {needs}, which is not in the plan")
            }
            Self::Cycle(path) => {
                let path: Vec<&str> = path.iter().map(StepId::as_str).collect();
                write!(f, "steps wait for one another: {}", path.join(" -> "))
            }
        }
    }
}

impl std::error::Error for GraphError {}

/// The steps of a plan in order, with who waits for whom and how long the chain behind each is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Every step after all that it waits for; ties by id.
    pub sequence: Vec<StepId>,
    /// For each step, those that wait for it.
    pub dependents: BTreeMap<StepId, BTreeSet<StepId>>,
    /// For each step, the estimated milliseconds from its start to the end of the longest chain
    /// that it begins.
    pub weight: BTreeMap<StepId, u64>,
}

impl Order {
    /// Orders steps (Kahn's algorithm over ordered collections: the result depends on ids, not
    /// on insertion).
    ///
    /// # Errors
    /// A step waits for one that is not there, or steps wait for one another.
    pub fn of<A>(steps: &BTreeMap<StepId, Step<A>>) -> Result<Self, GraphError> {
        let mut dependents: BTreeMap<StepId, BTreeSet<StepId>> = BTreeMap::new();
        let mut waiting: BTreeMap<&StepId, usize> = BTreeMap::new();
        for (id, step) in steps {
            waiting.insert(id, step.after.len());
            for needs in &step.after {
                if !steps.contains_key(needs) {
                    return Err(GraphError::Missing { step: id.clone(), needs: needs.clone() });
                }
                dependents.entry(needs.clone()).or_default().insert(id.clone());
            }
        }
        let mut ready: BTreeSet<&StepId> =
            waiting.iter().filter(|(_, count)| **count == 0).map(|(id, _)| *id).collect();
        let mut sequence = Vec::with_capacity(steps.len());
        while let Some(id) = ready.pop_first() {
            sequence.push(id.clone());
            for next in dependents.get(id).into_iter().flatten() {
                if let Some((key, count)) = steps.get_key_value(next).and_then(|(key, _)| {
                    waiting.get_mut(key).map(|count| {
                        *count -= 1;
                        (key, *count)
                    })
                }) && count == 0
                {
                    ready.insert(key);
                }
            }
        }
        if sequence.len() < steps.len() {
            let done: BTreeSet<&StepId> = sequence.iter().collect();
            let stuck = steps.keys().filter(|id| !done.contains(id)).collect();
            return Err(GraphError::Cycle(cycle_among(&stuck, steps)));
        }
        let weight = weights(&sequence, &dependents, steps);
        Ok(Self { sequence, dependents, weight })
    }
}

fn weights<A>(
    sequence: &[StepId],
    dependents: &BTreeMap<StepId, BTreeSet<StepId>>,
    steps: &BTreeMap<StepId, Step<A>>,
) -> BTreeMap<StepId, u64> {
    let mut weight: BTreeMap<StepId, u64> = BTreeMap::new();
    for id in sequence.iter().rev() {
        let behind = dependents
            .get(id)
            .into_iter()
            .flatten()
            .filter_map(|next| weight.get(next))
            .max()
            .copied()
            .unwrap_or(0);
        let own = steps.get(id).map_or(0, |step| step.estimate_ms);
        weight.insert(id.clone(), behind.saturating_add(own.max(1)));
    }
    weight
}

/// Walks backwards from the smallest stuck step until one repeats.
fn cycle_among<A>(stuck: &BTreeSet<&StepId>, steps: &BTreeMap<StepId, Step<A>>) -> Vec<StepId> {
    let mut path: Vec<StepId> = Vec::new();
    let mut current = stuck.first().copied();
    while let Some(id) = current {
        if let Some(start) = path.iter().position(|seen| seen == id) {
            let mut cycle = path.split_off(start);
            cycle.push(id.clone());
            cycle.reverse();
            return cycle;
        }
        path.push(id.clone());
        current =
            steps.get(id).and_then(|step| step.after.iter().find(|needs| stuck.contains(needs)));
    }
    path
}
