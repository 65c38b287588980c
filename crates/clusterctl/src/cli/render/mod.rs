//! Words for people: plans, progress, tables, failures.

pub mod diagnostic;
pub mod events;
pub mod failure;
pub mod inventory;
pub mod plan;
pub mod table;
