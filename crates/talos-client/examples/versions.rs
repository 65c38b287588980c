//! What runs on every node of a cluster.
//!
//! `cargo run -p talos-client --example versions -- TALOSCONFIG [ADDRESS…]`: the addresses are those of
//! the nodes; without any, the endpoints and nodes of the current context are asked.

#![expect(clippy::print_stdout, reason = "an example")]

use std::net::IpAddr;

use futures_util::future::join_all;
use talos_client::{Client, ClientConfig, Error, Identity, TalosConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: versions TALOSCONFIG [ADDRESS…]")?;
    let config = TalosConfig::parse(&std::io::read_to_string(std::fs::File::open(path)?)?)?;
    let context = config.contexts.get(&config.context).ok_or("the context is not there")?;
    let identity = Identity::from_context(context)?;
    let mut names: Vec<String> = args.collect();
    if names.is_empty() {
        names = context.endpoints.iter().chain(&context.nodes).cloned().collect();
    }
    let mut addresses =
        names.iter().map(|name| name.parse()).collect::<Result<Vec<IpAddr>, _>>()?;
    addresses.sort_unstable();
    addresses.dedup();
    let answers = join_all(addresses.iter().map(|address| version(*address, &identity))).await;
    for (address, answer) in addresses.iter().zip(answers) {
        match answer {
            Ok(line) => println!("{address}  {line}"),
            Err(error) => println!("{address}  {}", error.message()),
        }
    }
    Ok(())
}

async fn version(address: IpAddr, identity: &Identity) -> Result<String, Error> {
    let node = Client::new(ClientConfig::new(address, identity.clone()))?;
    let version = node.version().await?;
    let status = node.machine_status().await?;
    let name = node.hostname().await?.unwrap_or_default();
    Ok(format!("{name}  {}  {}  ready: {}", version.tag, status.stage, status.ready))
}
