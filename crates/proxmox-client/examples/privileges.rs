//! Shows which privileges making, running and destroying a machine takes, and which of them lack:
//! `privileges https://pve01.example:8006 FINGERPRINT STORAGE BRIDGE 100 < token`.
//!
//! The token, `user@realm!name=SECRET`, is read from standard input: arguments are visible to others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use proxmox_client::plan::rights::Rights;
use proxmox_client::plan::sdn::Kind;
use proxmox_client::plan::vm::{Disk, VmDesired};
use proxmox_client::{Auth, Client, ClientConfig, Trust, VmId};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().ok_or("which endpoint?")?;
    let pin = arguments.next().ok_or("which SHA-256 fingerprint?")?.parse()?;
    let storage = arguments.next().ok_or("which storage?")?;
    let bridge = arguments.next().ok_or("which bridge or VNet?")?;
    let vmid = VmId::try_from(arguments.next().ok_or("which number?")?.parse::<u32>()?)?;
    let token = std::io::read_to_string(std::io::stdin())?;
    let auth = Auth::token(token.trim()).ok_or("the token is not user@realm!name=SECRET")?;
    let client = Client::new(&ClientConfig::new(endpoint, auth).trust(Trust::Pins(vec![pin])))?;

    let observed = client.sdn().observe().await?;
    let vnets = observed.objects.into_iter().filter(|object| object.kind == Kind::Vnet);
    let zones: BTreeMap<String, String> =
        vnets.filter_map(|mut vnet| Some((vnet.id, vnet.fields.remove("zone")?))).collect();
    let keys = BTreeMap::from([
        ("cores".to_owned(), "2".to_owned()),
        ("memory".to_owned(), "2048".to_owned()),
        ("net0".to_owned(), format!("virtio,bridge={bridge}")),
    ]);
    let disk = Disk { key: "scsi0".into(), storage, size_gib: 8, options: BTreeMap::new() };
    let desired = VmDesired {
        vmid,
        node: "any".into(),
        uuid: String::new(),
        tags: BTreeSet::new(),
        keys,
        absent: BTreeSet::new(),
        disks: vec![disk],
        efi_storage: None,
        cloud_init: None,
        medium: None,
    };
    let mut rights = Rights::new(zones);
    rights.create_vm(&desired);
    rights.destroy_vm(vmid);
    let held = client.permissions().await?;
    let mut out = std::io::stdout();
    for right in rights.iter() {
        let mark = if held.has(&right.path, right.privilege) { "has  " } else { "lacks" };
        writeln!(out, "{mark} {right}")?;
    }
    Ok(())
}
