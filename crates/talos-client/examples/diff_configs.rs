//! What it takes to get from one configuration to another.
//!
//! `cargo run -p talos-client --example diff_configs -- BEFORE AFTER`: each change, with what a node of Talos 1.13
//! does with it. Secrets are told by fingerprints.

#![expect(clippy::print_stdout, reason = "an example")]

use std::fs::File;
use std::io::read_to_string;

use talos_client::config::{MachineConfig, Prediction};

/// The version of Talos that the node runs.
const MINOR: u32 = 13;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [before, after] = args.as_slice() else {
        return Err("usage: diff_configs BEFORE AFTER".into());
    };
    let before = MachineConfig::parse(&read_to_string(File::open(before)?)?)?;
    let after = MachineConfig::parse(&read_to_string(File::open(after)?)?)?;
    let changes = before.diff(&after);
    for change in &changes {
        println!("{change}  [{:?}]", change.prediction(MINOR).effect);
    }
    let all = Prediction::of(&changes, MINOR);
    println!("together: {:?}, to be applied as {:?}", all.effect, all.mode());
    Ok(())
}
