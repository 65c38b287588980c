//! Virtual machines of the simulated Proxmox as Talos nodes: what a machine finds when it starts,
//! and what each side hears of the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imagefactory::sim::lab_iso::{self, LabMark};
use ipnet::IpNet;
use proxmox_client::sim::{BootDisk, BootMedium, GuestEvent, GuestStart, SimHandle};
use serde_json::Value;
use talos_client::sim::{
    BootDevice, BootMark, CloudInit, DiskSpec, NicSpec, NodeEvent, NodeEventKind, NodeSpec, Segment,
};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::super::world::World;
use super::site::LabSite;

/// Processors that lack what Talos is built for (x86-64-v2); the first is Proxmox' own default.
const OLD_PROCESSORS: [&str; 5] = ["kvm64", "qemu64", "kvm32", "qemu32", "x86-64-v1"];

/// What is known of a guest.
#[derive(Debug, Clone, Default)]
pub(super) struct Guest {
    /// SMBIOS UUID: what it is called on the other side.
    pub(super) uuid: String,
    /// Why it is no node.
    pub(super) problem: Option<String>,
    /// Volumes by what identifies their content.
    volumes: BTreeMap<String, String>,
    /// Talos version of the medium.
    medium: Option<String>,
}

/// All guests by VM id.
#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<BTreeMap<u32, Guest>>);

impl Guests {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Guest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a guest.
    pub(super) fn get(&self, vmid: u32) -> Option<Guest> {
        self.lock().get(&vmid).cloned()
    }

    fn by_uuid(&self, uuid: &str) -> Option<(u32, Guest)> {
        let all = self.lock();
        all.iter().find(|(_, guest)| guest.uuid == uuid).map(|(id, guest)| (*id, guest.clone()))
    }
}

/// Joins both sides until the lab ends.
pub(super) fn attach(site: Arc<LabSite>, stop: CancellationToken) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let nodes = tokio::spawn(hear_nodes(Arc::clone(&site), stop.clone()));
        hear_proxmox(&site, &stop).await;
        drop(nodes.await);
    })
}

/// Follows the simulated Proxmox, through its restarts.
async fn hear_proxmox(site: &LabSite, stop: &CancellationToken) {
    let mut starts = site.pve_starts.subscribe();
    loop {
        let events = site.pve.read().await.as_ref().map(SimHandle::events);
        starts.mark_unchanged();
        let Some(mut events) = events else {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = starts.changed() => continue,
            }
        };
        catch_up(site).await;
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => event,
            };
            match event {
                Ok(event) => on_guest_event(site, event).await,
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "guests are looked at anew");
                    catch_up(site).await;
                }
                Err(RecvError::Closed) => break,
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = starts.changed() => {}
        }
    }
}

/// Attaches what runs and is not attached, and switches off what does not run.
async fn catch_up(site: &LabSite) {
    let running = match site.pve.read().await.as_ref() {
        Some(pve) => pve.running_guests(),
        None => return,
    };
    let ids: BTreeSet<u32> = running.iter().map(GuestEvent::vmid).collect();
    for event in running {
        let on = |uuid: &str| site.net.node(uuid).is_some_and(|node| node.is_on());
        let known = site.guests.get(event.vmid()).is_some_and(|guest| on(&guest.uuid));
        if !known {
            on_guest_event(site, event).await;
        }
    }
    let gone: Vec<Guest> = {
        let all = site.guests.lock();
        all.iter().filter(|(id, _)| !ids.contains(id)).map(|(_, guest)| guest.clone()).collect()
    };
    for guest in gone {
        if let Some(node) = site.net.node(&guest.uuid) {
            node.power_off();
        }
    }
}

async fn on_guest_event(site: &LabSite, event: GuestEvent) {
    let node = site.guests.get(event.vmid()).and_then(|guest| site.net.node(&guest.uuid));
    match event {
        GuestEvent::Start(start) => {
            site.refresh_segments().await;
            start_guest(site, &start).await;
        }
        GuestEvent::Stop { .. } => {
            if let Some(node) = node {
                node.power_off();
            }
        }
        GuestEvent::Reset { vmid, .. } => {
            if let Some(node) = node {
                node.power_off();
            }
            if let Some(start) = description(site, vmid).await {
                start_guest(site, &start).await;
            }
        }
        // A guest without a system does not hear its power button: the request times out.
        GuestEvent::Shutdown { .. } => {
            if let Some(node) = node.filter(talos_client::sim::SimNode::is_on) {
                node.shutdown_acpi();
            }
        }
        GuestEvent::Destroy { vmid, .. } => {
            if let Some(guest) = site.guests.lock().remove(&vmid) {
                site.net.forget(&guest.uuid);
            }
        }
        // A reboot is a shutdown, a stop and a start, each of which is told.
        _ => {}
    }
}

/// A running guest as it would find itself now.
async fn description(site: &LabSite, vmid: u32) -> Option<GuestStart> {
    let slot = site.pve.read().await;
    slot.as_ref()?.running_guests().into_iter().find_map(|event| match event {
        GuestEvent::Start(start) if start.vmid == vmid => Some(*start),
        _ => None,
    })
}

async fn start_guest(site: &LabSite, start: &GuestStart) {
    let conf = {
        let slot = site.pve.read().await;
        let state = slot.as_ref().map(SimHandle::snapshot).unwrap_or_default();
        state.pointer(&format!("/vms/{}/conf", start.vmid)).cloned().unwrap_or_default()
    };
    let medium = medium_of(start);
    let mut guest = Guest {
        uuid: start.uuid.clone(),
        problem: medium.as_ref().err().cloned(),
        volumes: start.disks.iter().map(|d| (d.content_id.clone(), d.volid.clone())).collect(),
        medium: medium.as_ref().ok().map(|(_, mark)| mark.talos.clone()),
    };
    let twin = site.guests.by_uuid(&start.uuid).filter(|(vmid, _)| *vmid != start.vmid);
    let refusal = match twin {
        Some((vmid, _)) => Some(format!("its SMBIOS UUID is that of VM {vmid}")),
        None => machine_problem(start, &conf),
    };
    if refusal.is_some() {
        guest.problem = refusal;
        tracing::warn!(vmid = start.vmid, problem = guest.problem, "a guest does not boot");
        guest.uuid = String::new();
        site.guests.lock().insert(start.vmid, guest);
        return;
    }
    site.guests.lock().insert(start.vmid, guest);
    tracing::info!(vmid = start.vmid, name = start.name, node = start.node, "a guest starts");
    drop(site.net.power_on(node_spec(start, medium.ok())));
}

/// Why no Talos runs on a machine, whatever it boots from.
fn machine_problem(start: &GuestStart, conf: &Value) -> Option<String> {
    let key = |name: &str| conf.get(name).and_then(Value::as_str);
    if start.uuid.is_empty() {
        return Some("it has no SMBIOS UUID".to_owned());
    }
    let cpu = key("cpu").unwrap_or("kvm64");
    let model = cpu.split(',').find(|part| !part.contains('=')).unwrap_or_else(|| {
        cpu.split(',').find_map(|part| part.strip_prefix("cputype=")).unwrap_or("kvm64")
    });
    if OLD_PROCESSORS.contains(&model) {
        return Some(format!("its processor type {model} lacks x86-64-v2"));
    }
    let keys_enrolled = key("efidisk0").is_some_and(|disk| disk.contains("pre-enrolled-keys=1"));
    if start.bios == "ovmf" && keys_enrolled {
        return Some("Secure Boot refuses its boot medium: efidisk0 has pre-enrolled keys".into());
    }
    None
}

/// The first medium of the boot order that boots, with its key; else why there is none.
fn medium_of(start: &GuestStart) -> Result<(String, LabMark), String> {
    let in_order: Vec<&BootMedium> = start
        .boot
        .iter()
        .filter_map(|key| start.media.iter().find(|medium| medium.key == *key))
        .collect();
    let mut why = match start.media.first() {
        None => "no boot medium is inserted".to_owned(),
        Some(medium) => format!("{} ({}) is not in its boot order", medium.key, medium.volid),
    };
    for medium in in_order {
        match lab_iso::read_mark_of(&medium.path) {
            Ok(Some(mark)) if mark.architecture == "amd64" => {
                return Ok((medium.key.clone(), mark));
            }
            Ok(Some(mark)) => {
                why =
                    format!("{} is for {}, the machine is amd64", medium.volid, mark.architecture);
            }
            Ok(None) => why = format!("{} is no lab image: nothing boots from it", medium.volid),
            Err(error) => why = format!("{} cannot be read: {error}", medium.volid),
        }
    }
    Err(why)
}

fn node_spec(start: &GuestStart, medium: Option<(String, LabMark)>) -> NodeSpec {
    let (cdrom, mark) = medium.unzip();
    let boot = start.boot.iter().filter_map(|key| {
        if start.disks.iter().any(|disk| disk.key == *key) {
            Some(BootDevice::Disk(key.clone()))
        } else {
            (cdrom.as_ref() == Some(key)).then_some(BootDevice::Cdrom)
        }
    });
    let mut disks: Vec<&BootDisk> = start.disks.iter().collect();
    disks.sort_by_key(|disk| order_of(&disk.key));
    let mut named: BTreeMap<&str, u8> = BTreeMap::new();
    let disks = disks.into_iter().map(|disk| {
        let (prefix, is_virtio) = match disk.key.starts_with("virtio") {
            true => ("vd", true),
            false => ("sd", false),
        };
        let number = named.entry(prefix).or_default();
        let letter = char::from(b'a'.saturating_add(*number));
        *number += 1;
        DiskSpec {
            key: disk.key.clone(),
            dev: format!("{prefix}{letter}"),
            size: disk.size,
            wwn: disk.wwn.clone(),
            // The serial of a SCSI disk stays invisible to the guest.
            serial: disk.serial.clone().filter(|_| is_virtio),
            content_id: disk.content_id.clone(),
        }
    });
    let mut nics: Vec<_> = start.nics.iter().collect();
    nics.sort_by_key(|nic| order_of(&nic.key));
    let nics = nics.into_iter().enumerate().map(|(number, nic)| NicSpec {
        name: format!("eth{number}"),
        mac: nic.mac.clone(),
        bridge: nic.bridge.clone(),
        tag: nic.tag,
        mtu: Some(nic.mtu),
        ..NicSpec::default()
    });
    // The platform reads a drive of its own kind only.
    let drive = start.cloud_init.as_ref().filter(|drive| drive.kind == "nocloud");
    NodeSpec {
        uuid: start.uuid.clone(),
        name: start.name.clone(),
        boot: boot.collect(),
        disks: disks.collect(),
        nics: nics.collect(),
        media: mark.map(|mark| BootMark {
            talos: mark.talos,
            schematic: mark.schematic,
            platform: mark.platform,
            architecture: mark.architecture,
        }),
        cloud_init: drive.map(|drive| CloudInit {
            user: drive.user.clone(),
            meta: drive.meta.clone(),
            network: drive.network.clone(),
        }),
        memory_mib: start.memory_mib,
        cpus: start.cpus,
    }
}

/// Kind and number of a key: `scsi2` comes before `scsi10`.
fn order_of(key: &str) -> (String, u32) {
    let kind = key.trim_end_matches(|c: char| c.is_ascii_digit());
    (kind.to_owned(), key.strip_prefix(kind).and_then(|n| n.parse().ok()).unwrap_or(0))
}

/// Follows the nodes.
async fn hear_nodes(site: Arc<LabSite>, stop: CancellationToken) {
    let mut events = site.net.events();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.recv() => event,
        };
        match event {
            Ok(event) => on_node_event(&site, event).await,
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "events of nodes are lost"),
            Err(RecvError::Closed) => return,
        }
    }
}

async fn on_node_event(site: &LabSite, event: NodeEvent) {
    let Some((vmid, guest)) = site.guests.by_uuid(&event.uuid) else { return };
    match event.kind {
        NodeEventKind::Installed { content_id, .. } => {
            let slot = site.pve.read().await;
            if let (Some(pve), Some(volume)) = (slot.as_ref(), guest.volumes.get(&content_id)) {
                let version = guest.medium.as_deref().unwrap_or("Talos");
                pve.set_disk_tag(volume, &format!("installed from {version}"));
            }
        }
        NodeEventKind::GuestPowerOff => {
            if let Some(pve) = site.pve.read().await.as_ref() {
                pve.guest_poweroff(vmid);
            }
        }
        NodeEventKind::BootFailed(why) => {
            tracing::warn!(vmid, why, "a guest does not boot");
            if let Some(guest) = site.guests.lock().get_mut(&vmid) {
                let medium = guest.problem.take().filter(|known| *known != why);
                guest.problem = Some(match medium {
                    Some(medium) if !medium.starts_with(&why) => format!("{why}: {medium}"),
                    _ => why,
                });
            }
        }
        NodeEventKind::Stage(stage) => {
            // What was changed while it ran, such as an ejected medium, counts at the next boot.
            let leaves = ["rebooting", "resetting", "upgrading"].contains(&stage.as_str());
            if leaves && let Some(start) = description(site, vmid).await {
                drop(site.net.power_on(node_spec(&start, medium_of(&start).ok())));
            }
            let lives = ["maintenance", "installing", "running"].contains(&stage.as_str());
            if lives && let Some(guest) = site.guests.lock().get_mut(&vmid) {
                guest.problem = None;
            }
        }
        _ => {}
    }
}

/// Networks as they are now: a VNet carries the subnets that SDN has in force, and what of the
/// plan lies in them; a bridge carries what the tree says.
pub(super) fn segments(world: &World, state: &Value) -> Vec<Segment> {
    let in_force = |bridge: &str| -> Vec<IpNet> {
        let subnets = state.pointer("/sdn/running/subnets").and_then(Value::as_object);
        let of_vnet = subnets.into_iter().flatten().filter(|(_, row)| row["vnet"] == bridge);
        of_vnet.filter_map(|(id, _)| subnet_of(id)).collect()
    };
    let mut out = Vec::new();
    for segment in &world.segments {
        let prefixes: Vec<IpNet> = if segment.is_vnet {
            let there = in_force(&segment.bridge);
            let planned = |net: &IpNet| {
                segment.prefixes.iter().any(|wider| wider != net && wider.contains(net))
            };
            // What lies in no subnet of the plan, such as a loopback, is announced by the nodes.
            let announced = |net: &IpNet| net.prefix_len() == net.max_prefix_len() && !planned(net);
            let ours = segment.prefixes.iter().copied().filter(announced);
            ours.chain(there).collect()
        } else {
            segment.prefixes.iter().copied().collect()
        };
        out.push(Segment {
            name: segment.bridge.clone(),
            bridge: segment.bridge.clone(),
            tag: segment.tag,
            prefixes,
        });
    }
    if out.is_empty() {
        // None at all would mean that everything reaches everything.
        out.push(Segment { name: "nothing".into(), ..Segment::default() });
    }
    out
}

/// The prefix in the id of a subnet: `ZONE-10.101.0.0-24`.
fn subnet_of(id: &str) -> Option<IpNet> {
    let (_zone, rest) = id.split_once('-')?;
    let (network, length) = rest.rsplit_once('-')?;
    format!("{network}/{length}").parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::world::Segment as Wanted;
    use super::*;

    fn machine(media: Vec<BootMedium>) -> GuestStart {
        let disk = |key: &str| BootDisk {
            key: key.to_owned(),
            size: 40 << 30,
            serial: Some("s".to_owned()),
            ..BootDisk::default()
        };
        GuestStart {
            uuid: "u".to_owned(),
            bios: "ovmf".to_owned(),
            boot: ["scsi0", "ide0", "net0"].map(str::to_owned).to_vec(),
            disks: ["scsi10", "scsi2", "scsi0", "virtio1"].map(disk).to_vec(),
            media,
            ..GuestStart::default()
        }
    }

    fn medium(dir: &std::path::Path, key: &str, architecture: &str) -> BootMedium {
        let mark = LabMark {
            talos: "v1.11.5".to_owned(),
            schematic: "ab".to_owned(),
            platform: "nocloud".to_owned(),
            architecture: architecture.to_owned(),
        };
        let path = dir.join(format!("{key}.iso"));
        fs_err::write(&path, lab_iso::render(&mark, 1 << 16)).unwrap();
        BootMedium { key: key.to_owned(), volid: key.to_owned(), path, ..BootMedium::default() }
    }

    #[test]
    fn a_machine_boots_from_a_marked_medium_of_its_order_and_its_kind_only() {
        let dir = tempfile::tempdir().unwrap();
        let good = medium(dir.path(), "ide0", "amd64");
        let spec = |start: &GuestStart| node_spec(start, medium_of(start).ok());
        let start = machine(vec![good.clone()]);
        let boot = spec(&start).boot;
        assert_eq!(boot, [BootDevice::Disk("scsi0".to_owned()), BootDevice::Cdrom]);

        let mut elsewhere = machine(vec![good.clone()]);
        elsewhere.boot.retain(|key| key != "ide0");
        assert!(medium_of(&elsewhere).unwrap_err().contains("boot order"));
        assert_eq!(spec(&elsewhere).media, None);

        let other = machine(vec![medium(dir.path(), "ide0", "arm64")]);
        assert!(medium_of(&other).unwrap_err().contains("arm64"));

        fs_err::write(&good.path, vec![0; 1 << 16]).unwrap();
        assert!(medium_of(&machine(vec![good])).unwrap_err().contains("no lab image"));
        assert!(medium_of(&machine(vec![])).unwrap_err().contains("no boot medium"));
    }

    #[test]
    fn disks_are_named_in_the_order_of_their_numbers_and_scsi_serials_are_hidden() {
        let disks = node_spec(&machine(vec![]), None).disks;
        let named: Vec<_> = disks.iter().map(|d| (d.key.as_str(), d.dev.as_str())).collect();
        let wanted = [("scsi0", "sda"), ("scsi2", "sdb"), ("scsi10", "sdc"), ("virtio1", "vda")];
        assert_eq!(named, wanted);
        assert!(disks.iter().all(|disk| disk.serial.is_some() == (disk.dev == "vda")));
    }

    #[test]
    fn a_drive_of_another_kind_is_not_read() {
        let drive = |kind: &str| {
            let cloud_init = proxmox_client::sim::CloudInit {
                kind: kind.to_owned(),
                ..proxmox_client::sim::CloudInit::default()
            };
            GuestStart { cloud_init: Some(cloud_init), ..machine(vec![]) }
        };
        assert!(node_spec(&drive("nocloud"), None).cloud_init.is_some());
        assert!(node_spec(&drive("configdrive2"), None).cloud_init.is_none());
    }

    #[test]
    fn old_processors_and_enrolled_keys_keep_talos_from_booting() {
        let start = machine(vec![]);
        let problem = |conf: Value| machine_problem(&start, &conf);
        assert_eq!(problem(json!({"cpu": "host"})), None);
        assert_eq!(problem(json!({"cpu": "flags=+aes,cputype=host"})), None);
        assert!(problem(json!({})).unwrap().contains("kvm64"));
        assert!(problem(json!({"cpu": "cputype=qemu64"})).unwrap().contains("qemu64"));
        let enrolled = json!({"cpu": "host", "efidisk0": "s:d,pre-enrolled-keys=1,size=4M"});
        assert!(problem(enrolled).unwrap().contains("Secure Boot"));
    }

    #[test]
    fn a_vnet_carries_nothing_before_sdn_has_its_subnets() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let prefixes = ["10.101.0.0/24", "10.101.0.10/32", "10.255.101.11/32"].map(net);
        let wanted = Wanted {
            bridge: "vnet101".to_owned(),
            tag: None,
            prefixes: prefixes.into(),
            is_vnet: true,
        };
        let world = World { segments: vec![wanted], ..World::default() };
        let prefixes = |state: Value| segments(&world, &state).remove(0).prefixes;
        assert_eq!(prefixes(json!({})), [net("10.255.101.11/32")]);
        let state = json!({"sdn": {"running": {"subnets": {
            "evpn-10.101.0.0-24": {"vnet": "vnet101"},
            "evpn-fd00:101::-64": {"vnet": "vnet101"},
            "evpn-10.102.0.0-24": {"vnet": "vnet102"},
        }}}});
        let there = prefixes(state);
        assert_eq!(there, ["10.255.101.11/32", "10.101.0.0/24", "fd00:101::/64"].map(net));
        assert_eq!(segments(&World::default(), &json!({})).len(), 1);
    }
}
