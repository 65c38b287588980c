//! Texts: no path of one machine, no forgotten test file, no attribute that hides a warning.

use std::path::Path;

use super::Breach;
use crate::metrics::rust_files;

pub(crate) fn check(root: &Path, breaches: &mut Vec<Breach>) -> anyhow::Result<()> {
    for dir in ["crates", "tests", "xtask"] {
        for file in rust_files(&root.join(dir))? {
            if !file.ends_with("tidy/text.rs") {
                one(root, &file, breaches)?;
            }
        }
    }
    forgotten_tests(root, breaches)?;
    readme(root, breaches)
}

fn one(root: &Path, file: &Path, breaches: &mut Vec<Breach>) -> anyhow::Result<()> {
    let text = fs_err::read_to_string(file)?;
    let place = file.strip_prefix(root).unwrap_or(file).display();
    let words = [
        ("#[allow(", "use #[expect(…, reason = …)]"),
        ("#![allow(", "use #![expect(…, reason = …)]"),
        ("```ignore", "a doc example is compiled"),
        ("#[ignore]", "an ignored test says why"),
        ("/work/", "a path of one machine"),
        ("/root/", "a path of one machine"),
    ];
    for (number, line) in text.lines().enumerate() {
        for (word, why) in words {
            if line.contains(word) {
                breaches.push(Breach {
                    place: format!("{place}:{}", number + 1),
                    what: format!("{word:?}: {why}"),
                });
            }
        }
        let todo = ["TODO", "FIXME", "XXX"].iter().any(|word| {
            line.contains(&format!("// {word}")) && !line.contains(&format!("// {word}(#"))
        });
        if todo {
            let place = format!("{place}:{}", number + 1);
            breaches.push(Breach { place, what: "a note without a number".into() });
        }
    }
    Ok(())
}

/// Every file beside a test binary's `main.rs` is one of its modules.
fn forgotten_tests(root: &Path, breaches: &mut Vec<Breach>) -> anyhow::Result<()> {
    for entry in fs_err::read_dir(root.join("crates"))? {
        let dir = entry?.path().join("tests/it");
        let Ok(main) = fs_err::read_to_string(dir.join("main.rs")) else { continue };
        for entry in fs_err::read_dir(&dir)? {
            let path = entry?.path();
            let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            let is_module = path.extension().is_some_and(|extension| extension == "rs");
            if is_module && stem != "main" && !main.contains(&format!("mod {stem};")) {
                let place = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                breaches.push(Breach { place, what: "no test binary has this module".into() });
            }
        }
    }
    Ok(())
}

/// The README has exactly two commands: unindented lines that start with `cargo `.
fn readme(root: &Path, breaches: &mut Vec<Breach>) -> anyhow::Result<()> {
    let text = fs_err::read_to_string(root.join("README.md"))?;
    let commands: Vec<&str> = text.lines().filter(|line| line.starts_with("cargo ")).collect();
    let expected = commands.len() == 2
        && commands.first().is_some_and(|line| line.contains("examples/homelab/live"))
        && commands.last() == Some(&"cargo xtask test");
    if !expected {
        let what = format!(
            "expected a command on the example tree and `cargo xtask test`, found {commands:?}"
        );
        breaches.push(Breach { place: "README.md".into(), what });
    }
    Ok(())
}
