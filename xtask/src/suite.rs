//! Tests and the programs of `cluster-tests`.

use xshell::{Shell, cmd};

/// How a program is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// For suites.
    Debug,
    /// For measurements.
    Release,
}

/// All tests and doc tests: the second command of the README.
pub(crate) fn test(sh: &Shell, args: &[String]) -> anyhow::Result<()> {
    cmd!(sh, "cargo test --workspace --all-features --no-fail-fast {args...}").run()?;
    Ok(())
}

/// Runs a program of `cluster-tests`, with the binary under test built first.
pub(crate) fn program(
    sh: &Shell,
    name: &str,
    profile: Profile,
    args: &[String],
) -> anyhow::Result<()> {
    let release: &[&str] = if profile == Profile::Release { &["--release"] } else { &[] };
    cmd!(sh, "cargo build -q {release...} -p clusterctl --bin clusterctl").run()?;
    cmd!(sh, "cargo run -q {release...} -p cluster-tests --bin {name} -- {args...}").run()?;
    Ok(())
}

/// Measurements; only their lines go to standard output.
pub(crate) fn bench(sh: &Shell, args: &[String]) -> anyhow::Result<()> {
    program(sh, "bench", Profile::Release, args)
}
