//! Serves a simulated Proxmox VE cluster.
//!
//! `--for-replay` serves one node `pve1` with the storage `local` and prints one JSON line with
//! address and credentials; otherwise `--nodes`, `--listen`, `--state`, `--dialect`, `--seed` choose.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use proxmox_client::sim::{AcpiReaction, Dialect, SimCluster, SimStorage};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = SimCluster::builder();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        builder = match arg.as_str() {
            "--for-replay" => builder
                .acpi(AcpiReaction::ByGuest)
                .network_reload(false)
                .fabrics_of(Dialect::V9_1)
                .unplug_needs_guest(true)
                .lock_timeout(Duration::from_secs(3))
                .stats_lag(Duration::from_secs(3)),
            "--nodes" => {
                let nodes: Vec<String> = value()?.split(',').map(str::to_owned).collect();
                builder.nodes(nodes).storages([
                    SimStorage::dir("local", "backup,images,import,iso,rootdir,snippets,vztmpl"),
                    SimStorage::cephfs("resources", "iso,snippets,import,vztmpl"),
                    SimStorage::rbd("rbd-vm", "images,rootdir"),
                ])
            }
            "--listen" => builder.listen(value()?.parse::<SocketAddr>()?),
            "--seed" => builder.seed(value()?.parse()?),
            "--state" => builder.state_dir(value()?),
            "--dialect" => builder.dialect(match value()?.as_str() {
                "8.4" => Dialect::V8_4,
                "9.1" => Dialect::V9_1,
                "9.2" => Dialect::V9_2,
                other => return Err(format!("unknown version {other}: 8.4, 9.1 or 9.2").into()),
            }),
            other => return Err(format!("unknown argument {other}: --for-replay, --nodes A,B, --listen ADDR, --state DIR, --dialect 9.2, --seed 1").into()),
        };
    }
    let sim = builder.start().await?;
    let line = serde_json::json!({
        "base": sim.base_url(), "token": sim.token(), "user": "root@pam", "password": sim.password(),
    });
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    drop(out);
    ended().await?;
    sim.shutdown().await;
    Ok(())
}

/// Waits until the process is asked to end.
async fn ended() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
