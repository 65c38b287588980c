//! Lists the nodes of a cluster: `list_nodes https://pve01.example:8006 FINGERPRINT < token`.
//!
//! The token, `user@realm!name=SECRET`, is read from standard input: arguments are visible to others.

use std::io::Write as _;

use proxmox_client::{Auth, Client, ClientConfig, Trust};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().ok_or("which endpoint?")?;
    let pin = arguments.next().ok_or("which SHA-256 fingerprint?")?.parse()?;
    let token = std::io::read_to_string(std::io::stdin())?;
    let auth = Auth::token(token.trim()).ok_or("the token is not user@realm!name=SECRET")?;
    let client = Client::new(&ClientConfig::new(endpoint, auth).trust(Trust::Pins(vec![pin])))?;
    let mut out = std::io::stdout().lock();
    for node in client.nodes().await? {
        writeln!(out, "{} {}", node.node, node.status.as_deref().unwrap_or("unknown"))?;
    }
    Ok(())
}
