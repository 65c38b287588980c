//! Code that is generated and checked in.

#[cfg(feature = "codegen")]
mod talos;

use xshell::Shell;

/// Writes the generated code, or with `--check` compares it with what is checked in.
#[cfg(feature = "codegen")]
pub(crate) fn run(_: &Shell, args: &[String]) -> anyhow::Result<()> {
    let check = args.iter().any(|arg| arg == "--check");
    for arg in args.iter().filter(|arg| *arg != "--check") {
        anyhow::ensure!(arg == "talos", "no generator {arg:?}; there is: talos");
    }
    talos::run(check)
}

/// The generators are a feature of their own: they cost every other command half a minute.
#[cfg(not(feature = "codegen"))]
pub(crate) fn run(sh: &Shell, args: &[String]) -> anyhow::Result<()> {
    xshell::cmd!(sh, "cargo run -q -p xtask -F codegen -- codegen {args...}").run()?;
    Ok(())
}
