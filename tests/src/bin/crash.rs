//! The crash sweep.
//!
//! ```text
//! crash [--all] [--seeded N] [--seed N] [--at-once N] [--part K/N] [POINT…]
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use cluster_tests::crash::{Point, points, reference, sweep};

const USAGE: &str =
    "usage: crash [--all] [--seeded N] [--seed N] [--at-once N] [--part K/N] [POINT…]";

struct Options {
    all: bool,
    seeded: usize,
    seed: u64,
    at_once: usize,
    part: (usize, usize),
    points: Vec<Point>,
}

fn options() -> anyhow::Result<Options> {
    let mut options = Options {
        all: false,
        seeded: 60,
        seed: 1,
        at_once: std::thread::available_parallelism().map_or(2, std::num::NonZero::get) * 2,
        part: (1, 1),
        points: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "--all" => options.all = true,
            "--seeded" => options.seeded = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--at-once" => options.at_once = value()?.parse()?,
            "--part" => {
                let text = value()?;
                let (part, of) = text.split_once('/').context("write --part K/N")?;
                options.part = (part.parse()?, of.parse::<usize>()?.max(1));
            }
            flag if flag.starts_with("--") => bail!("unknown option {flag}\n{USAGE}"),
            point => options.points.push(point.parse()?),
        }
    }
    Ok(options)
}

fn run() -> anyhow::Result<bool> {
    let options = options()?;
    let reference = reference().context("the undisturbed run")?;
    println!(
        "undisturbed: {} journal lines, {} calls to Proxmox, {} ms",
        reference.journal_lines,
        reference.calls,
        reference.took.as_millis()
    );
    let mut chosen = options.points;
    if chosen.is_empty() {
        let all = points(
            reference.journal_lines,
            reference.calls,
            options.seeded,
            options.seed,
            options.all,
        );
        let (part, of) = options.part;
        chosen = all
            .into_iter()
            .enumerate()
            .filter(|(i, _)| i % of == part % of)
            .map(|(_, p)| p)
            .collect();
    }
    let count = chosen.len();
    let failed =
        sweep(&reference, &chosen, options.at_once, &|index, point, outcome| match outcome {
            Ok(()) if index % 20 != 19 => {}
            Ok(()) => println!("{} of {count} begun", index + 1),
            Err(why) => eprintln!("FAILED {point}\n{why}\n  again: cargo xtask crash {point}"),
        });
    println!("{} of {count} points end as the undisturbed run", count - failed.len());
    Ok(failed.is_empty())
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("crash: {error:#}");
            ExitCode::from(2)
        }
    }
}
