//! Answers golden files and checks our answers.
//!
//! ```text
//! conform answer FILE [--tree DIR]
//! conform check FILE… [--tree DIR] [--where KEY=VALUE,VALUE…] [--show N]
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use cluster_tests::conform::{Filter, Golden, Tally, check};

const USAGE: &str = "usage: conform answer FILE [--tree DIR]
       conform check FILE… [--tree DIR] [--where KEY=VALUE,VALUE…]… [--show N]";

/// Stack of the thread that evaluates: cases nest deeply on purpose.
const STACK_BYTES: usize = 256 << 20;

fn main() -> ExitCode {
    let worker = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run);
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(code))) => code,
        Ok(Ok(Err(error))) => {
            eprintln!("conform: {error:#}");
            ExitCode::from(2)
        }
        Ok(Err(_)) | Err(_) => ExitCode::from(70),
    }
}

struct Options {
    files: Vec<PathBuf>,
    tree: Option<PathBuf>,
    filters: Vec<Filter>,
    show: usize,
}

fn options(mut args: impl Iterator<Item = String>) -> anyhow::Result<Options> {
    let mut options = Options { files: Vec::new(), tree: None, filters: Vec::new(), show: 20 };
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--tree" => options.tree = Some(value()?.into()),
            "--where" => options.filters.push(value()?.parse()?),
            "--show" => options.show = value()?.parse()?,
            flag if flag.starts_with("--") => bail!("unknown option {flag}\n{USAGE}"),
            file => options.files.push(file.into()),
        }
    }
    if options.files.is_empty() {
        bail!("{USAGE}");
    }
    Ok(options)
}

fn run() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("answer") => answers(&options(args)?),
        Some("check") => checks(&options(args)?),
        _ => bail!("{USAGE}"),
    }
}

fn answers(options: &Options) -> anyhow::Result<ExitCode> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for file in &options.files {
        let golden = Golden::read(file)?;
        for (id, case) in golden.cases() {
            let answer = golden.answer(id, case, options.tree.as_deref())?;
            writeln!(out, "{{\"id\":{},\"out\":{answer}}}", serde_json::to_string(id)?)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn checks(options: &Options) -> anyhow::Result<ExitCode> {
    let mut total = Tally::default();
    for file in &options.files {
        let golden = Golden::read(file)?;
        let mut shown = 0;
        let tally = check(&golden, options.tree.as_deref(), &options.filters, |id, why| {
            shown += 1;
            if shown <= options.show {
                println!("{id} ({}): {why}", golden.kind);
            }
        })?;
        total.passed += tally.passed;
        total.failed += tally.failed;
        total.skipped += tally.skipped;
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
