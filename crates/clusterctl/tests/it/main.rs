//! Integration tests.
#![expect(clippy::unwrap_used, reason = "a test may stop on what it did not expect")]

mod bad_trees;
mod config;
mod image;
#[cfg(feature = "lab")]
mod lab;
mod reference;
mod secrets;
#[cfg(feature = "lab")]
mod site;

use std::path::Path;
use std::process::{Command, Output};

/// Runs the program in a folder, which is its home too, with nothing else of the environment.
fn run(args: &[&str], cwd: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_clusterctl"))
        .args(args)
        .current_dir(cwd)
        .env_clear()
        .env("HOME", cwd)
        .output()
        .unwrap()
}
