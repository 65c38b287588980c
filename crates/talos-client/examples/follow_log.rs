//! Follows the log of a service.
//!
//! `cargo run -p talos-client --example follow_log -- TALOSCONFIG ADDRESS SERVICE`

use std::io::Write as _;

use talos_client::api::LogOptions;
use talos_client::{Client, ClientConfig, Identity, TalosConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, address, service] = args.as_slice() else {
        return Err("usage: follow_log TALOSCONFIG ADDRESS SERVICE".into());
    };
    let config = TalosConfig::parse(&std::io::read_to_string(std::fs::File::open(path)?)?)?;
    let context = config.contexts.get(&config.context).ok_or("the context is not there")?;
    let identity = Identity::from_context(context)?;
    let node = Client::connect(ClientConfig::new(address.parse()?, identity)).await?;
    let mut log = node.logs(service, &LogOptions::default().tail(20).follow()).await?;
    let mut out = std::io::stdout();
    while let Some(chunk) = log.next().await {
        out.write_all(&chunk?)?;
        out.flush()?;
    }
    Ok(())
}
