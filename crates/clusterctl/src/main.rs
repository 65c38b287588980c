//! The command line program; everything is in the library.

fn main() -> std::process::ExitCode {
    clusterctl::cli::main(std::env::args_os().collect())
}
