//! The verbs, one file each: options in, a report out. Nothing here prints.

pub mod access;
pub mod apply;
pub mod config;
mod context;
pub mod destroy;
pub mod doctor;
pub mod eval;
pub mod graph;
pub mod health;
pub mod image;
pub mod init;
pub mod inventory;
pub mod lab;
pub mod mirror;
pub mod new_cluster;
pub mod output;
pub mod plan;
pub mod secrets;
pub mod session;
pub mod status;
pub mod unlock;
pub mod validate;
pub mod versions;
pub mod why;

pub use crate::error::{Error, ErrorKind, chain};
pub use context::Context;
