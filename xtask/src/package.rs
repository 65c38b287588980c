//! Packages every crate as a registry would get it, and builds each from its package alone.

use xshell::{Shell, cmd};

const CRATES: [&str; 5] =
    ["netplan", "proxmox-ve-client", "talos-client", "imagefactory", "clusterctl"];

/// Largest package that a registry takes, in bytes (compressed).
const LARGEST: u64 = 10 << 20;

pub(crate) fn run(sh: &Shell) -> anyhow::Result<()> {
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
