//! Developer commands: `cargo xtask COMMAND`.
//!
//! Depends on none of the workspace's libraries; suites are programs of `cluster-tests`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

mod ci;
mod codegen;
mod metrics;
mod package;
mod suite;
mod tidy;

use std::process::ExitCode;

use anyhow::Context as _;

const USAGE: &str = "usage: cargo xtask COMMAND

  ci                      everything that CI runs, in order
  tidy                    layers, manifests, texts
  test [ARGS…]            all tests and doc tests
  e2e                     the example tree in the lab, from nothing to nothing
  crash [--all] [POINT…]  runs are killed and cut at many points, and go on
  bench [--json] [--smoke] [NAME…]
                          speed and memory, against peers and limits
  codegen [--check]       code of the machine API from its description
  package                 package every crate and build it alone
  metrics                 sizes of files and functions";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    match run(&command, &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, rest: &[String]) -> anyhow::Result<()> {
    let sh = xshell::Shell::new()?;
    sh.change_dir(root());
    match command {
        "ci" => ci::run(&sh),
        "tidy" => tidy::run(&root()),
        "test" => suite::test(&sh, rest),
        "e2e" => suite::program(&sh, "e2e", rest),
        "crash" => suite::program(&sh, "crash", rest),
        "bench" => suite::bench(&sh, rest),
        "codegen" => codegen::run(&sh, &root(), rest),
        "package" => package::run(&sh),
        "metrics" => metrics::run(&root()),
        _ => anyhow::bail!("no such command\n{USAGE}"),
    }
}

/// The folder of the workspace.
fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(std::path::Path::to_path_buf)
        .unwrap_or_default()
}

/// The folder of what is built, as cargo's configuration and environment name it.
fn target(sh: &xshell::Shell) -> anyhow::Result<std::path::PathBuf> {
    let text = xshell::cmd!(sh, "cargo metadata -q --no-deps --format-version 1").read()?;
    let metadata: serde_json::Value = serde_json::from_str(&text)?;
    let folder = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    folder.map(std::path::PathBuf::from).context("cargo names no folder of what is built")
}
