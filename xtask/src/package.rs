//! Packages every crate as a registry would get it, and builds each from its package alone.

use xshell::{Shell, cmd};

const CRATES: [&str; 5] =
    ["netplan", "proxmox-ve-client", "talos-client", "imagefactory", "clusterctl"];

/// Largest package that a registry takes, in bytes (compressed).
const LARGEST: u64 = 10 << 20;

pub(crate) fn run(sh: &Shell) -> anyhow::Result<()> {
    forget_unpacked()?;
    let packages = CRATES.iter().flat_map(|name| ["-p", name]);
    cmd!(sh, "cargo package -q --allow-dirty {packages...}").run()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    for name in CRATES {
        let file = sh.current_dir().join(&target).join(format!("package/{name}-0.1.0.crate"));
        let size = fs_err::metadata(&file)?.len();
        println!("{name}: {} kB", size / 1024);
        anyhow::ensure!(size <= LARGEST, "{name}: the package is too large: {size} bytes");
    }
    Ok(())
}

/// Removes what an earlier run unpacked: the version number stays, so cargo would build a package
/// against its neighbours as they were then. Such folders have no host in front of their hash.
fn forget_unpacked() -> anyhow::Result<()> {
    let home = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from).or_else(|| {
        std::env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".cargo"))
    });
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
