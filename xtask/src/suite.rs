//! Tests and doc tests, and the suites that are programs of `cluster-tests`.

use xshell::{Shell, cmd};

use crate::target;

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

/// Runs a program of `cluster-tests` that the tests have built. For one package alone cargo would
/// build much of it once more, since dependencies have fewer features then.
pub(crate) fn built(sh: &Shell, name: &str) -> anyhow::Result<()> {
    let program = target(sh)?.join("debug").join(name);
    cmd!(sh, "{program}").run()?;
    Ok(())
}

/// Builds the programs for release and runs the benchmarks: only their output is on stdout. The
/// smoke form takes what the other suites have built.
pub(crate) fn bench(sh: &Shell, args: &[String]) -> anyhow::Result<()> {
    let profile = if args.iter().any(|arg| arg == "--smoke") { "dev" } else { "release" };
    build_benches(sh, profile)?;
    let run = ["-p", "cluster-tests", "--all-features", "--bin", "bench"];
    cmd!(sh, "cargo run -q --profile {profile} {run...} -- {args...}").quiet().run()?;
    Ok(())
}

fn build_benches(sh: &Shell, profile: &str) -> anyhow::Result<()> {
    let packages = ["-p", "clusterctl", "-p", "cluster-tests", "--all-features"];
    let programs = ["--bin", "clusterctl", "--bin", "operator", "--bin", "bench"];
    cmd!(sh, "cargo build -q --profile {profile} {packages...} {programs...}").quiet().run()?;
    Ok(())
}

/// Every benchmark in its smallest form, as the tests have built it; what is looked at is the shape
/// of the output, not times.
pub(crate) fn bench_smoke(sh: &Shell) -> anyhow::Result<()> {
    let program = target(sh)?.join("debug/bench");
    let text = cmd!(sh, "{program} --smoke --json").read()?;
    let mut lines = 0;
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line)?;
        let has = |key: &str| value.get(key).is_some();
        let number =
            |key: &str| value.get(key).is_some_and(|value| value.is_null() || value.is_number());
        let text = |key: &str| value.get(key).is_some_and(serde_json::Value::is_string);
        let better = value.get("better").and_then(serde_json::Value::as_str);
        anyhow::ensure!(
            has("value")
                && number("value")
                && number("target")
                && ["name", "unit", "note"].into_iter().all(text)
                && matches!(better, Some("less" | "more")),
            "a line of another shape: {line}"
        );
        lines += 1;
    }
    anyhow::ensure!(lines > 0, "no benchmark gave a line");
    println!("{lines} lines of the right shape");
    Ok(())
}
