//! Words for people: plans, progress, tables, failures.

pub mod events;
pub mod failure;
pub mod plan;
pub mod table;
