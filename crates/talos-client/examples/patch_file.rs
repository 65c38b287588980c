//! A patch merged into a configuration, as `talosctl machineconfig patch` does it.
//!
//! `cargo run -p talos-client --example patch_file -- CONFIG PATCH…`: prints the outcome, and on standard error
//! what Talos would say of it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example")]

use std::fs::File;
use std::io::read_to_string;

use talos_client::config::{Lines, MachineConfig, Mode, Patch, patch_text};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let config =
        read_to_string(File::open(args.next().ok_or("usage: patch_file CONFIG PATCH…")?)?)?;
    let read = |path: String| -> Result<Patch, Box<dyn std::error::Error>> {
        Ok(Patch::parse(&path, &read_to_string(File::open(&path)?)?)?)
    };
    let patches = args.map(read).collect::<Result<Vec<_>, _>>()?;
    let patched = patch_text(&config, &patches)?;
    print!("{}", *patched);
    let (config, lines) = (MachineConfig::load(&patched)?, Lines::of(&patched));
    let found = config.validate(Mode::Metal, 13, false);
    for one in found.errors.iter().chain(&found.warnings).chain(&config.lint(13)) {
        let line = lines.line(&one.document, &one.path).unwrap_or_default();
        eprintln!("{line}: {} ({})", one.text, one.hint().unwrap_or("no hint"));
    }
    Ok(())
}
