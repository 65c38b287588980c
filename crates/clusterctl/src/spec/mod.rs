//! The tree: text to typed values, each with its origin.

pub mod site;
pub mod sops;
