//! The command line: arguments in, words and exit codes out.

pub mod args;
pub mod env;
pub mod exit;
pub mod render;
