//! Shows what it takes to have a machine, and with `--apply` does it:
//! `plan_vm https://pve01.example:8006 FINGERPRINT pve01 STORAGE 100 [--apply] < token`.
//!
//! The token, `user@realm!name=SECRET`, is read from standard input: arguments are visible to others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use proxmox_client::ensure::VmLimits;
use proxmox_client::plan::vm::{Disk, VmDesired, diff};
use proxmox_client::{Auth, Client, ClientConfig, Trust, VmId};

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn machine(vmid: VmId, node: String, storage: &str) -> VmDesired {
    let uuid = format!("5c1a0b2e-0000-4000-8000-{:012}", vmid.get());
    let mut keys = pairs(&[
        ("name", "example"),
        ("cores", "2"),
        ("memory", "2048"),
        ("scsihw", "virtio-scsi-single"),
        ("boot", "order=scsi0"),
        ("net0", "virtio,bridge=vmbr0"),
    ]);
    keys.insert("smbios1".into(), format!("uuid={uuid}"));
    let options = pairs(&[("discard", "on"), ("iothread", "1")]);
    VmDesired {
        vmid,
        node,
        uuid,
        tags: BTreeSet::from(["example".to_owned()]),
        keys,
        absent: BTreeSet::new(),
        disks: vec![Disk { key: "scsi0".into(), storage: storage.into(), size_gib: 8, options }],
        efi_storage: None,
        cloud_init: None,
        medium: None,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().ok_or("which endpoint?")?;
    let pin = arguments.next().ok_or("which SHA-256 fingerprint?")?.parse()?;
    let node = arguments.next().ok_or("which node?")?;
    let storage = arguments.next().ok_or("which storage?")?;
    let vmid = VmId::try_from(arguments.next().ok_or("which number?")?.parse::<u32>()?)?;
    let apply = arguments.next().as_deref() == Some("--apply");
    let token = std::io::read_to_string(std::io::stdin())?;
    let auth = Auth::token(token.trim()).ok_or("the token is not user@realm!name=SECRET")?;
    let client = Client::new(&ClientConfig::new(endpoint, auth).trust(Trust::Pins(vec![pin])))?;

    let desired = machine(vmid, node, &storage);
    let mut out = std::io::stdout();
    match client.vms().find(vmid).await? {
        None => {
            writeln!(out, "create machine {vmid} on {}:", desired.node)?;
            for (key, value) in desired.create_params() {
                writeln!(out, "  {key}: {value}")?;
            }
        }
        Some(observed) => {
            desired.owns(&observed).map_err(|foreign| foreign.reason)?;
            let plan = diff(&desired, &observed);
            if plan.is_empty() {
                writeln!(out, "machine {vmid} is as it should be")?;
            }
            for change in &plan.changes {
                writeln!(out, "  {change} ({:?})", change.impact_with(&plan.hotplug))?;
            }
            for reason in &plan.refused {
                writeln!(out, "  refused: {reason}")?;
            }
        }
    }
    if apply {
        let done = client.vms().ensure(&desired, &VmLimits::default()).await?;
        let text = if done.created { "made" } else { "there" };
        writeln!(out, "machine {vmid} is {text}; {} changes", done.changes.len())?;
    }
    Ok(())
}
