//! Starts a machine and follows the log of its task:
//! `follow_task https://pve01.example:8006 FINGERPRINT pve01 100 < token`.
//!
//! The token, `user@realm!name=SECRET`, is read from standard input: arguments are visible to others.

use std::io::Write as _;
use std::time::Duration;

use proxmox_client::{Auth, Client, ClientConfig, NodeName, TaskEnd, Trust, VmId};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().ok_or("which endpoint?")?;
    let pin = arguments.next().ok_or("which SHA-256 fingerprint?")?.parse()?;
    let node: NodeName = arguments.next().ok_or("which node?")?.parse()?;
    let vm = VmId::try_from(arguments.next().ok_or("which machine?")?.parse::<u32>()?)?;
    let token = std::io::read_to_string(std::io::stdin())?;
    let auth = Auth::token(token.trim()).ok_or("the token is not user@realm!name=SECRET")?;
    let client = Client::new(&ClientConfig::new(endpoint, auth).trust(Trust::Pins(vec![pin])))?;

    let task = client.qemu(&node).power(vm, "start", &[]).await?;
    let mut out = std::io::stdout();
    let mut failed = None;
    let ended = client
        .tasks()
        .follow(&task, Duration::from_mins(5), &mut |line| {
            if let Err(error) = writeln!(out, "{line}") {
                failed = Some(error);
            }
        })
        .await?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let text = if ended == TaskEnd::Warnings { "runs, with warnings" } else { "runs" };
    writeln!(out, "machine {vm} {text}")?;
    Ok(())
}
