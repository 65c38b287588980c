//! Manifests inherit versions and lints; the libraries do not depend on one another.

use std::path::Path;

use super::Breach;

const LIBRARIES: [&str; 4] = ["proxmox-client", "talos-client", "netplan", "imagefactory"];

pub(crate) fn check(root: &Path, breaches: &mut Vec<Breach>) -> anyhow::Result<()> {
    let mut manifests = vec![root.join("tests/Cargo.toml"), root.join("xtask/Cargo.toml")];
    for entry in fs_err::read_dir(root.join("crates"))? {
        let dir = entry?.path();
        manifests.push(dir.join("Cargo.toml"));
        for needed in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            if !dir.join(needed).is_file() {
                let place = dir.strip_prefix(root).unwrap_or(&dir).display().to_string();
                breaches.push(Breach { place, what: format!("{needed} is missing") });
            }
        }
    }
    for manifest in manifests {
        one(root, &manifest, breaches)?;
    }
    Ok(())
}

fn one(root: &Path, manifest: &Path, breaches: &mut Vec<Breach>) -> anyhow::Result<()> {
    let text = fs_err::read_to_string(manifest)?;
    let place = manifest.strip_prefix(root).unwrap_or(manifest).display().to_string();
    let mut breach = |line: usize, what: String| {
        breaches.push(Breach { place: format!("{place}:{line}"), what });
    };
    if !text.contains("[lints]\nworkspace = true") {
        breach(1, "the workspace's lints are not inherited".into());
    }
    let library = LIBRARIES.iter().find(|name| place.contains(&format!("crates/{name}/")));
    let mut section = String::new();
    for (number, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            line.trim_matches(['[', ']']).clone_into(&mut section);
            continue;
        }
        let is_dependency = section.ends_with("dependencies") && line.contains('=');
        if !is_dependency || line.starts_with('#') {
            continue;
        }
        let own = line.contains("path = \"../");
        if !own && !line.contains("workspace = true") {
            breach(number + 1, "the version is not inherited from the workspace".into());
        }
        let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
        if library.is_some_and(|library| library != &name) && LIBRARIES.contains(&name) {
            breach(number + 1, "the libraries do not depend on one another".into());
        }
    }
    Ok(())
}
