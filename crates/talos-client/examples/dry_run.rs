//! Shows which keys of a node's configuration a file would change, and how it would take effect.
//!
//! `cargo run -p talos-client --example dry_run -- TALOSCONFIG ADDRESS CONFIG`

#![expect(clippy::print_stdout, reason = "an example")]

use talos_client::api::ApplyMode;
use talos_client::{Client, ClientConfig, Identity, TalosConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, address, config] = args.as_slice() else {
        return Err("usage: dry_run TALOSCONFIG ADDRESS CONFIG".into());
    };
    let read = |path: &str| std::fs::File::open(path).and_then(std::io::read_to_string);
    let talosconfig = TalosConfig::parse(&read(path)?)?;
    let context = talosconfig.contexts.get(&talosconfig.context).ok_or("no such context")?;
    let identity = Identity::from_context(context)?;
    let node = Client::connect(ClientConfig::new(address.parse()?, identity)).await?;
    let answer = node.apply(read(config)?.as_bytes(), ApplyMode::Auto, true).await?;
    println!("{}", answer.mode_details);
    for warning in &answer.warnings {
        println!("warning: {warning}");
    }
    match answer.difference {
        Some(difference) if !difference.is_empty() => print!("{}", difference.redacted()),
        _ => println!("nothing would change"),
    }
    Ok(())
}
