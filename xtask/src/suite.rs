//! Tests and doc tests.

use xshell::{Shell, cmd};

/// All tests and doc tests: the second command of the README.
pub(crate) fn test(sh: &Shell, args: &[String]) -> anyhow::Result<()> {
    cmd!(sh, "cargo test --workspace --all-features --no-fail-fast {args...}").run()?;
    Ok(())
}
