//! Serve simulated Talos nodes in a state that recordings ask for, until ended.
//!
//! `talos_sim --for-replay maintenance|nocloud|configured|etcd|cluster [--secrets BUNDLE] --configs DIR`

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;

use talos_client::sim::{ReplayGroup, replay};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (mut group, mut configs) = (None, PathBuf::from("."));
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--for-replay" => group = Some(value.parse::<ReplayGroup>()?),
            "--configs" => configs = value.into(),
            // The configurations hold the keys; the bundle is for who replays.
            "--secrets" => {}
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let group = group.ok_or("--for-replay GROUP is needed")?;
    let (net, nodes) = replay(group, &configs).await?;
    let mut endpoints = BTreeMap::new();
    for (name, node) in &nodes {
        endpoints.insert(name.clone(), node.listen().await?.to_string());
    }
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::json!({"endpoints": endpoints}))?;
    out.flush()?;
    tokio::signal::ctrl_c().await?;
    net.shutdown();
    Ok(())
}
