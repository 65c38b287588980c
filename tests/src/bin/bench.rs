//! The benchmarks.
//!
//! ```text
//! bench [--json] [--smoke] [NAME…]
//! ```
//!
//! Peers that are not installed lie in the folder that `CLUSTER_SHARED` names, else in `../shared`
//! of the repository.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use cluster_tests::bench::{Scale, chosen, plan_alone, row, serve, serve_fleet, serve_stream};

const USAGE: &str = "usage: bench [--json] [--smoke] [NAME…]";

#[expect(clippy::disallowed_methods, reason = "a program of its own")]
fn shared() -> PathBuf {
    match std::env::var("CLUSTER_SHARED") {
        Ok(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
    }
}

fn run() -> anyhow::Result<bool> {
    let (mut json, mut smoke, mut names) = (false, false, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => json = true,
            "--smoke" => smoke = true,
            // Parts that are processes of their own.
            "--serve" => {
                serve(Path::new(&args.next().context(USAGE)?))?;
                return Ok(true);
            }
            "--serve-fleet" => {
                serve_fleet(args.next().context(USAGE)?.parse()?)?;
                return Ok(true);
            }
            "--serve-stream" => {
                serve_stream(args.next().context(USAGE)?.parse()?)?;
                return Ok(true);
            }
            "--plan-alone" => {
                let (live, place) = (args.next().context(USAGE)?, args.next().context(USAGE)?);
                println!("{}", plan_alone(Path::new(&live), &place)?);
                return Ok(true);
            }
            flag if flag.starts_with('-') => bail!("unknown option {flag}\n{USAGE}"),
            name => names.push(name.to_owned()),
        }
    }
    let scale = Scale { smoke, shared: shared() };
    let mut whole = true;
    let all = chosen(&names)?;
    if all.len() > 1 {
        // A process for each, so that the memory of one is not that of another.
        for bench in all {
            let mut alone = Command::new(std::env::current_exe()?);
            alone.args(json.then_some("--json")).args(smoke.then_some("--smoke"));
            whole &= alone.arg(bench.name).status()?.success();
        }
        return Ok(whole);
    }
    for bench in all {
        match bench.run(&scale) {
            Ok(lines) => {
                for line in lines {
                    println!("{}", if json { serde_json::to_string(&line)? } else { row(&line) });
                }
            }
            Err(error) => {
                whole = false;
                eprintln!("{}: {error:#}", bench.name);
            }
        }
    }
    Ok(whole)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
