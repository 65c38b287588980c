//! Sizes of files, so that the reader of a change sees where rooms get too small.

use std::path::{Path, PathBuf};

/// Every Rust file below a folder, generated code left out.
pub(crate) fn rust_files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs_err::read_dir(&dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !matches!(name, "target" | "generated" | ".git") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    for name in ["netplan", "proxmox-client", "talos-client", "imagefactory", "clusterctl"] {
        let mut sizes = Vec::new();
        let (mut code, mut tests) = (0, 0);
        for file in rust_files(&root.join("crates").join(name))? {
            let text = fs_err::read_to_string(&file)?;
            let lines = text.lines().count();
            let in_tests = text
                .find("#[cfg(test)]")
                .map_or(0, |at| text.get(at..).map_or(0, |rest| rest.lines().count()));
            let is_test = file.components().any(|part| part.as_os_str() == "tests")
                || file.ends_with("tests.rs");
            if is_test {
                tests += lines;
            } else {
                code += lines - in_tests;
                tests += in_tests;
                sizes.push((lines - in_tests, file));
            }
        }
        sizes.sort();
        let at = |part: usize| sizes.get(sizes.len() * part / 100).map_or(0, |(lines, _)| *lines);
        println!("{name}: {code} lines, {tests} of tests; file median {} p90 {}", at(50), at(90));
        for (lines, file) in sizes.iter().rev().take_while(|(lines, _)| *lines > 500) {
            println!("  {lines} {}", file.strip_prefix(root).unwrap_or(file).display());
        }
    }
    Ok(())
}
