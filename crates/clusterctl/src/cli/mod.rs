//! The command line: arguments in, words and exit codes out.

pub mod args;
mod change;
mod dispatch;
pub mod env;
pub mod exit;
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
    match dispatch::dispatch(cli, &environment) {
        Ok(exit) => exit,
        Err(error) => {
            say(render::failure::text(&error).trim_end());
            Exit::Failure(error.kind())
        }
    }
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
