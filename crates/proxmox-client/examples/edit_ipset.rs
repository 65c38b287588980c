//! Gets a set of addresses of the cluster's firewall to have these networks and no others, without
//! ever being without the set: `edit_ipset https://pve01.example:8006 FINGERPRINT SET < file`.
//!
//! The first line of standard input is the token, `user@realm!name=SECRET`: arguments are visible to
//! others. Each other line is a network, `!` before it leaves it out, a text behind it is its comment.

use std::collections::BTreeMap;
use std::io::Write as _;

use proxmox_client::plan::firewall::Entry;
use proxmox_client::{Auth, Client, ClientConfig, FirewallLevel, Trust};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().ok_or("which endpoint?")?;
    let pin = arguments.next().ok_or("which SHA-256 fingerprint?")?.parse()?;
    let name = arguments.next().ok_or("which set?")?;
    let text = std::io::read_to_string(std::io::stdin())?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let token = lines.next().ok_or("no token on standard input")?;
    let auth = Auth::token(token).ok_or("the token is not user@realm!name=SECRET")?;
    let client = Client::new(&ClientConfig::new(endpoint, auth).trust(Trust::Pins(vec![pin])))?;

    let entries: BTreeMap<String, Entry> = lines
        .map(|line| {
            let (net, comment) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let comment = Some(comment.trim().to_owned()).filter(|text| !text.is_empty());
            let plain = net.trim_start_matches('!');
            (plain.to_owned(), Entry { nomatch: net.starts_with('!'), comment })
        })
        .collect();
    let firewall = client.firewall(FirewallLevel::Cluster);
    let mut out = std::io::stdout();
    for change in firewall.ensure_set(&name, &entries).await? {
        writeln!(out, "{change}")?;
    }
    Ok(())
}
