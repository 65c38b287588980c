//! The tree: text to typed values, each with its origin.

pub mod hcl;
pub mod model;
mod patch;
pub mod root;
pub mod site;
pub mod sops;
