//! Takes a snapshot of etcd, in constant memory.
//!
//! `cargo run -p talos-client --example etcd_snapshot -- TALOSCONFIG ADDRESS FILE`

#![expect(clippy::print_stdout, reason = "an example")]

use talos_client::{Client, ClientConfig, Identity, TalosConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, address, target] = args.as_slice() else {
        return Err("usage: etcd_snapshot TALOSCONFIG ADDRESS FILE".into());
    };
    let config = TalosConfig::parse(&std::io::read_to_string(std::fs::File::open(path)?)?)?;
    let context = config.contexts.get(&config.context).ok_or("the context is not there")?;
    let identity = Identity::from_context(context)?;
    let node = Client::connect(ClientConfig::new(address.parse()?, identity)).await?;
    let part = format!("{target}.part");
    let snapshot = node.etcd_snapshot(tokio::fs::File::create_new(&part).await?).await?;
    tokio::fs::rename(&part, target).await?;
    println!("{target}: {} bytes, verified: {}", snapshot.length, snapshot.verified);
    Ok(())
}
