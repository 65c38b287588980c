//! Invariants that a compiler does not hold: layers, manifests, texts, tests that nobody runs.

mod layer;
mod manifest;
mod text;

use std::path::Path;

/// One breach: where, and what.
#[derive(Debug)]
pub(crate) struct Breach {
    pub(crate) place: String,
    pub(crate) what: String,
}

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let mut breaches = Vec::new();
    layer::check(root, &mut breaches)?;
    manifest::check(root, &mut breaches)?;
    text::check(root, &mut breaches)?;
    for breach in &breaches {
        eprintln!("{}: {}", breach.place, breach.what);
    }
    anyhow::ensure!(breaches.is_empty(), "{} breach(es)", breaches.len());
    Ok(())
}
