//! The command line program, for suites of this package to start as operators do.

fn main() -> std::process::ExitCode {
    clusterctl::cli::main(std::env::args_os().collect())
}
