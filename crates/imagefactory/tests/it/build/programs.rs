//! Programs of other hands that read what the builder wrote.

use std::path::PathBuf;
use std::process::Command;

/// A program, or `None` with a line that says so; in CI a missing one fails the test.
pub(crate) fn program(name: &str, package: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(more).map(|dir| dir.join(name));
    let found = found.into_iter().find(|path| path.is_file());
    found.map(Command::new).or_else(|| missing(name, package))
}

/// Files that a package installs.
pub(crate) fn installed(path: &str, package: &str) -> Option<PathBuf> {
    let found = PathBuf::from(path);
    if found.exists() { Some(found) } else { missing(path, package) }
}

fn missing<T>(what: &str, package: &str) -> Option<T> {
    let text = format!("skipped: {what} is missing (Debian's package {package})");
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{text}");
    report(&text);
    None
}

#[expect(clippy::print_stderr, reason = "a skipped check must be seen")]
fn report(text: &str) {
    eprintln!("{text}");
}

/// Runs it; both outputs as one text.
pub(crate) fn output(command: &mut Command) -> Result<String, Box<dyn std::error::Error>> {
    let output = command.output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{command:?}: {}\n{text}", output.status).into())
}
