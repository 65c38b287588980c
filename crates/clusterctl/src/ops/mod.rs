//! The verbs, one file each: options in, a report out. Nothing here prints.

pub mod apply;
mod context;
pub mod eval;
pub mod graph;
pub mod init;
pub mod inventory;
pub mod lab;
pub mod new_cluster;
pub mod plan;
pub mod secrets;
pub mod session;
pub mod validate;
pub mod versions;
pub mod why;

pub use crate::error::{Error, ErrorKind, chain};
pub use context::Context;
