//! The command line: arguments in, words and exit codes out.

pub mod args;
mod change;
mod config;
mod dispatch;
pub mod env;
pub mod exit;
mod form;
mod image;
mod lab;
pub mod render;
mod site;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use args::Cli;
use env::Environment;
use exit::Exit;

use crate::ops::ErrorKind;

/// Stack of the thread that works, in bytes: trees nest, and evaluation follows them.
const STACK: usize = 64 << 20;

/// Runs the program with these arguments.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let worker = std::thread::Builder::new().stack_size(STACK).spawn(move || run(arguments));
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(_)) | Err(_) => {
            say("bug: clusterctl stopped where it should not have");
            Exit::Failure(ErrorKind::Bug).into()
        }
    }
}

fn run(arguments: Vec<OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let is_help = !error.use_stderr();
            // A closed pipe is no reason to fail.
            drop(error.print());
            return if is_help { Exit::Success } else { Exit::Failure(ErrorKind::Usage) };
        }
    };
    let environment = Environment::of_process();
    if !matches!(cli.verb, args::Verb::Lab(args::Lab::Serve(_))) {
        log(&cli.global);
    }
    match dispatch::dispatch(cli, &environment) {
        Ok(exit) => exit,
        Err(error) => {
            say(render::failure::text(&error).trim_end());
            Exit::Failure(error.kind())
        }
    }
}

/// What the program and its libraries tell of their work, on standard error; those of others stay
/// silent, for they may tell what is secret.
fn log(global: &args::Global) {
    let level = match global.verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let ours = ["clusterctl", "proxmox_client", "talos_client", "imagefactory", "netplan"];
    let filter = ours.map(|name| format!("{name}={level}")).join(",");
    let log = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false);
    // The lab's own process has set up its log already.
    drop(match global.log_format {
        args::LogFormat::Json => log.json().try_init(),
        args::LogFormat::Text => log.without_time().with_target(false).try_init(),
    });
}

/// Data goes to standard output; a reader that went away is no failure.
pub(crate) fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Everything else goes to standard error.
pub(crate) fn say(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}
