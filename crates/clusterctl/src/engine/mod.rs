//! The engine: order, limits, journal, resume and events of a plan's steps.
//!
//! It knows nothing of Proxmox, Talos or networks. A plan is a set of [`Step`]s over a closed,
//! serialisable action type; [`run()`] lets an [`Executor`] carry them out in an order that
//! depends on nothing but the plan, within the limits of the steps' [`Token`]s, and writes every
//! fact to a [`Journal`] before anything depends on it.
//!
//! A step is carried out in three parts: `check` (is it done already, can it start?), `perform`,
//! and `verify` (did it have the effect it is there for?). After an uncertain reply the engine
//! checks again before it repeats anything.

mod drive;
mod event;
mod graph;
mod journal;
mod plan;
mod run;
mod step;

pub use event::{Event, EventKind, Outcome, Summary};
pub use graph::{GraphError, Order};
pub use journal::{
    Clock, Interrupted, JOURNAL_FORMAT, Journal, JournalError, Past, Record, RecordKind, look_back,
};
pub use plan::{Base, PLAN_FORMAT, Plan, PlanError};
pub use run::{Executor, Limits, RunOptions, StepContext, run};
pub use step::{Action, Check, Impact, Step, StepError, StepId, Token};

#[cfg(test)]
mod tests;
