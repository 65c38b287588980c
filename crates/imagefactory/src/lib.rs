#![doc = include_str!("../README.md")]

pub mod schematic;

pub use schematic::{Schematic, SchematicError, SchematicId};
