//! The builder: extensions, installers and ISOs made on this machine, without Docker.

pub mod format;
mod tree;

pub use tree::{Node, Tree};
