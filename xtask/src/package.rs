//! Packages every crate as a registry would get it, and builds each from its package alone.

use std::path::Path;

use xshell::{Shell, cmd};

use crate::{root, target};

const CRATES: [&str; 5] =
    ["netplan", "proxmox-ve-client", "talos-client", "imagefactory", "clusterctl"];

/// Largest package that a registry takes, in bytes (compressed).
const LARGEST: u64 = 10 << 20;

pub(crate) fn run(sh: &Shell) -> anyhow::Result<()> {
    forget_unpacked()?;
    let target = target(sh)?;
    forget_built(&target.join("debug/.fingerprint"))?;
    let packages = CRATES.iter().flat_map(|name| ["-p", name]);
    let profile = target.join("package-profile.toml");
    fs_err::write(&profile, dev_profile(&fs_err::read_to_string(root().join("Cargo.toml"))?))?;
    // Otherwise each package is built in a folder of its own, with all that it depends on.
    let _target = sh.push_env("CARGO_TARGET_DIR", &target);
    cmd!(sh, "cargo package -q --allow-dirty {packages...} --config {profile}").run()?;
    for name in CRATES {
        let file = target.join(format!("package/{name}-0.1.0.crate"));
        let size = fs_err::metadata(&file)?.len();
        println!("{name}: {} kB", size / 1024);
        anyhow::ensure!(size <= LARGEST, "{name}: the package is too large: {size} bytes");
    }
    Ok(())
}

/// The tables of a manifest that say how the `dev` profile builds: a package leaves them out, and
/// without them what the tests have built of its dependencies would be built again.
fn dev_profile(manifest: &str) -> String {
    let mut is_in = false;
    let lines = manifest.lines().filter(|line| {
        if line.starts_with('[') {
            is_in = line.starts_with("[profile.dev");
        }
        is_in
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Removes what was built of our crates: of a package that comes from a registry cargo compares the
/// version alone, so it would take those of an earlier run. What is built next compiles them anew.
fn forget_built(fingerprints: &Path) -> anyhow::Result<()> {
    let Ok(entries) = fs_err::read_dir(fingerprints) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.rsplit_once('-').is_some_and(|(package, _)| CRATES.contains(&package)) {
            fs_err::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Removes what an earlier run unpacked: the version number stays, so cargo would build a package
/// against its neighbours as they were then. Such folders have no host in front of their hash.
fn forget_unpacked() -> anyhow::Result<()> {
    let home = std::env::var_os("CARGO_HOME")
        .map(std::path::PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let Some(sources) = home.map(|home| home.join("registry/src")) else { return Ok(()) };
    let Ok(entries) = fs_err::read_dir(&sources) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('-') {
            continue;
        }
        for name in CRATES {
            let unpacked = entry.path().join(format!("{name}-0.1.0"));
            if unpacked.exists() {
                fs_err::remove_dir_all(unpacked)?;
            }
        }
    }
    Ok(())
}
