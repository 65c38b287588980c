//! Shows what a VNet in a zone would take, and what else waits to be applied; changes nothing:
//! `preview_sdn https://pve01.example:8006 FINGERPRINT ZONE VNET TAG < token`.
//!
//! The token, `user@realm!name=SECRET`, is read from standard input: arguments are visible to others.

use std::collections::BTreeMap;
use std::io::Write as _;

use proxmox_client::plan::sdn::{Kind, Object, diff};
use proxmox_client::{Auth, Client, ClientConfig, Trust};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().ok_or("which endpoint?")?;
    let pin = arguments.next().ok_or("which SHA-256 fingerprint?")?.parse()?;
    let zone = arguments.next().ok_or("which zone?")?;
    let id = arguments.next().ok_or("which VNet?")?;
    let tag = arguments.next().ok_or("which tag?")?;
    let token = std::io::read_to_string(std::io::stdin())?;
    let auth = Auth::token(token.trim()).ok_or("the token is not user@realm!name=SECRET")?;
    let client = Client::new(&ClientConfig::new(endpoint, auth).trust(Trust::Pins(vec![pin])))?;

    let fields = BTreeMap::from([("zone".to_owned(), zone), ("tag".to_owned(), tag)]);
    let desired = [Object { kind: Kind::Vnet, id, vnet: None, fields }];
    let plan = diff(&desired, &client.sdn().observe().await?, |_| false, false);
    let mut out = std::io::stdout();
    for change in &plan.changes {
        writeln!(out, "{change}")?;
    }
    for title in &plan.unapplied {
        writeln!(out, "{title} is saved and waits to be applied")?;
    }
    for conflict in &plan.conflicts {
        writeln!(out, "in the way: {conflict}")?;
    }
    for node in client.vms().nodes().await? {
        if let Some(changes) = client.node(&node).network_changes().await? {
            writeln!(out, "{node} would apply changes of its own too:\n{changes}")?;
        }
    }
    if plan.is_empty() {
        writeln!(out, "nothing to do")?;
    }
    Ok(())
}
