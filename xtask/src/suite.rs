//! Tests and doc tests, and the suites that are programs of `cluster-tests`.

use xshell::{Shell, cmd};

/// All tests and doc tests: the second command of the README.
pub(crate) fn test(sh: &Shell, args: &[String]) -> anyhow::Result<()> {
    cmd!(sh, "cargo test --workspace --all-features --no-fail-fast {args...}").run()?;
    Ok(())
}

/// Builds the programs of `cluster-tests` and runs one of them.
pub(crate) fn program(sh: &Shell, name: &str, args: &[String]) -> anyhow::Result<()> {
    // With the features of the tests nothing is built twice.
    cmd!(sh, "cargo build -q -p cluster-tests --bins --all-features").run()?;
    cmd!(sh, "cargo run -q -p cluster-tests --all-features --bin {name} -- {args...}").run()?;
    Ok(())
}
