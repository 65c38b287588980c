//! Follows the members of a cluster, as discovery finds and loses them.
//!
//! `cargo run -p talos-client --example watch_members -- TALOSCONFIG ADDRESS`

#![expect(clippy::print_stdout, reason = "an example")]

use talos_client::api::{EventKind, WatchOptions, kinds};
use talos_client::{Client, ClientConfig, Identity, TalosConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(path), Some(address)) = (args.next(), args.next()) else {
        return Err("usage: watch_members TALOSCONFIG ADDRESS".into());
    };
    let config = TalosConfig::parse(&std::io::read_to_string(std::fs::File::open(path)?)?)?;
    let context = config.contexts.get(&config.context).ok_or("the context is not there")?;
    let identity = Identity::from_context(context)?;
    let node = Client::connect(ClientConfig::new(address.parse()?, identity)).await?;
    let (namespace, kind) = kinds::MEMBER;
    let mut watch = node.watch(namespace, kind, WatchOptions::default()).await?;
    while let Some(event) = watch.next().await {
        let event = event?;
        let member = &event.resource;
        match event.kind {
            EventKind::Created => println!("+ {} {}", member.id, member.spec),
            EventKind::Updated => println!("~ {} {}", member.id, member.spec),
            EventKind::Destroyed => println!("- {}", member.id),
            EventKind::Bootstrapped => println!("these are all; waiting for changes"),
            _ => {}
        }
    }
    Ok(())
}
