//! What CI runs, in order; the first failure ends it.

use std::time::Instant;

use xshell::{Shell, cmd};

use crate::{codegen, package, root, suite, tidy};

type Part<'a> = (&'a str, Box<dyn Fn() -> anyhow::Result<()> + 'a>);

pub(crate) fn run(sh: &Shell) -> anyhow::Result<()> {
    let parts: Vec<Part<'_>> = vec![
        ("fmt", Box::new(|| Ok(cmd!(sh, "cargo fmt --all --check").run()?))),
        ("tidy", Box::new(|| tidy::run(&root()))),
        ("codegen", Box::new(|| codegen::run(sh, &root(), &["--check".to_owned()]))),
        (
            "clippy",
            Box::new(|| {
                let clippy = "cargo clippy -q --workspace --all-targets --all-features";
                let words = clippy.split(' ').skip(1);
                Ok(cmd!(sh, "cargo {words...} -- -D warnings").run()?)
            }),
        ),
        (
            "doc",
            Box::new(|| {
                let _flags = sh.push_env("RUSTDOCFLAGS", "-D warnings");
                Ok(cmd!(sh, "cargo doc -q --workspace --no-deps --all-features").run()?)
            }),
        ),
        ("test", Box::new(|| suite::test(sh, &[]))),
        ("e2e", Box::new(|| suite::built(sh, "e2e"))),
        ("crash", Box::new(|| suite::built(sh, "crash"))),
        ("bench", Box::new(|| suite::bench_smoke(sh))),
        ("package", Box::new(|| package::run(sh))),
    ];
    let begun = Instant::now();
    for (name, part) in parts {
        let since = Instant::now();
        println!("== {name}");
        part().map_err(|error| error.context(format!("{name} failed")))?;
        println!("== {name}: {} s", since.elapsed().as_secs());
    }
    println!("== all: {} s", begun.elapsed().as_secs());
    Ok(())
}
