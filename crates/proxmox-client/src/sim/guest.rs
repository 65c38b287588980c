//! Machines that run: start with its checks, stop, and what the handle may do to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::builder::AcpiReaction;
use super::cloudinit;
use super::drive;
use super::event::{BootDisk, BootMedium, BootNic, GuestEvent, GuestStart};
use super::schema::split_list;
use super::server::Inner;
use super::state::{Running, State, Vm};

/// Brings pending values into force, as a start does.
pub(crate) fn apply_pending(vm: &mut Vm) {
    for key in std::mem::take(&mut vm.removed).into_keys() {
        vm.conf.remove(&key);
    }
    vm.conf.append(&mut vm.pending);
}

/// The MTU of a bridge or `VNet` on a node.
fn bridge_mtu(state: &State, node: &str, bridge: &str) -> Option<u32> {
    let node = state.nodes.get(node)?;
    node.bridges.get(bridge).copied().or_else(|| node.vnets.get(bridge).map(|(_, mtu)| *mtu))
}

fn check_nets(state: &State, inner: &Inner, vm: &Vm) -> Result<(), String> {
    for (key, text) in vm.conf.iter().filter(|(key, _)| drive::is_net(key)) {
        let net = drive::parse(&inner.schema, key, text).unwrap_or_default();
        let Some(bridge) = net.get("bridge") else { continue };
        let Some(mtu) = bridge_mtu(state, &vm.node, bridge) else {
            return Err(format!("bridge '{bridge}' does not exist"));
        };
        let wanted = net.get("mtu").and_then(|mtu| mtu.parse::<u32>().ok()).unwrap_or(1);
        if wanted > mtu {
            return Err(format!(
                "netdev {key}: MTU '{wanted}' is bigger than the bridge MTU '{mtu}' - adjust the MTU for the network device in the VM configuration, while ensuring that the bridge is configured as desired."
            ));
        }
    }
    Ok(())
}

fn check_pci(state: &State, inner: &Inner, vmid: u32, vm: &Vm) -> Result<(), String> {
    for (key, text) in vm.conf.iter().filter(|(key, _)| key.starts_with("hostpci")) {
        let device = drive::parse(&inner.schema, key, text).unwrap_or_default();
        let addresses: Vec<String> = if let Some(name) = device.get("mapping") {
            let Some(mapping) = state.mappings.get(name) else {
                return Err(format!("PCI device mapping not found for '{name}'"));
            };
            let parsed = mapping.map.iter().map(|entry| {
                entry.split(',').filter_map(|part| part.split_once('=')).collect::<BTreeMap<_, _>>()
            });
            let here: Vec<String> = parsed
                .filter(|entry| entry.get("node").copied() == Some(vm.node.as_str()))
                .filter_map(|entry| entry.get("path").map(|path| (*path).to_owned()))
                .collect();
            if here.is_empty() {
                return Err(format!("PCI device mapping not found for '{name}'"));
            }
            match here.iter().find(|path| !in_use(state, vmid, &vm.node, path)) {
                Some(free) => vec![free.clone()],
                None => return Err(format!("couldn't find a free device in mapping '{name}'")),
            }
        } else {
            device
                .get("host")
                .map(|host| host.split(';').map(str::to_owned).collect())
                .unwrap_or_default()
        };
        let present = state.nodes.get(&vm.node).map(|node| node.pci.as_slice()).unwrap_or_default();
        for address in addresses {
            let full =
                if address.matches(':').count() == 1 { format!("0000:{address}") } else { address };
            if !present
                .iter()
                .any(|device| device.id == full || device.id.starts_with(&format!("{full}.")))
            {
                return Err(format!("no PCI device found for '{full}'"));
            }
            if in_use(state, vmid, &vm.node, &full) {
                return Err(format!("PCI device '{full}' already in use"));
            }
        }
    }
    Ok(())
}

fn in_use(state: &State, vmid: u32, node: &str, path: &str) -> bool {
    state.vms.iter().any(|(other, vm)| {
        *other != vmid
            && vm.running.is_some()
            && vm.node == node
            && vm.conf.iter().any(|(key, text)| key.starts_with("hostpci") && text.contains(path))
    })
}

fn check_media(state: &State, vm: &Vm) -> Result<(), String> {
    for (_, text) in vm.conf.iter().filter(|(key, _)| drive::is_drive(key)) {
        let volid = drive::file_of(text);
        if matches!(volid, "none" | "cdrom") || volid.starts_with('/') {
            continue;
        }
        let storage = volid.split(':').next().unwrap_or_default();
        super::api::volume::usable(state, storage, &vm.node).map_err(|fail| fail.task_text())?;
        if state.volume(volid, &vm.node).is_none() && !drive::is_cloud_init(volid) {
            return Err(format!("volume '{volid}' does not exist"));
        }
    }
    if let Some(custom) = vm.conf.get("cicustom")
        && vm.conf.values().any(|text| drive::is_cloud_init(drive::file_of(text)))
    {
        for volid in
            custom.split(',').filter_map(|part| part.split_once('=')).map(|(_, volid)| volid)
        {
            if state.volume(volid, &vm.node).is_none() {
                return Err(format!("volume '{volid}' does not exist"));
            }
        }
    }
    Ok(())
}

/// Starts a machine: checks, pending values, event.
///
/// # Errors
/// The text of the task.
pub(crate) fn start(state: &mut State, inner: &Arc<Inner>, vmid: u32) -> Result<(), String> {
    let Some(vm) = state.vms.get_mut(&vmid) else {
        return Err(format!("unable to find VM {vmid}"));
    };
    if vm.conf.get("template").is_some_and(|flag| flag == "1") {
        return Err("you can't start a vm if it's a template".to_owned());
    }
    if vm.running.is_some() {
        return Err(format!("VM {vmid} already running"));
    }
    apply_pending(vm);
    vm.cloud_init = vm.conf.clone();
    let vm = vm.clone();
    check_media(state, &vm)?;
    check_nets(state, inner, &vm)?;
    check_pci(state, inner, vmid, &vm)?;
    let pid = u32::try_from(0x2000 + state.next() % 0xFFFF).unwrap_or(4242);
    let since = inner.clock.now();
    if let Some(vm) = state.vms.get_mut(&vmid) {
        vm.running = Some(Running { pid, since, paused: false });
    }
    drop(inner.events.send(GuestEvent::Start(Box::new(describe(state, inner, vmid)))));
    inner.save_soon();
    Ok(())
}

/// Stops a machine; nothing when it does not run.
pub(crate) fn stop(state: &mut State, inner: &Inner, vmid: u32) -> bool {
    let Some(vm) = state.vms.get_mut(&vmid) else { return false };
    if vm.running.take().is_none() {
        return false;
    }
    apply_pending(vm);
    drop(inner.events.send(GuestEvent::Stop { node: vm.node.clone(), vmid }));
    inner.save_soon();
    true
}

/// What a starting guest finds.
#[expect(clippy::disallowed_methods, reason = "a snippet that may be gone")]
pub(crate) fn describe(state: &State, inner: &Inner, vmid: u32) -> GuestStart {
    let Some(vm) = state.vms.get(&vmid) else {
        return GuestStart { vmid, ..GuestStart::default() };
    };
    let conf = &vm.conf;
    let mut start = GuestStart {
        node: vm.node.clone(),
        vmid,
        name: conf.get("name").cloned().unwrap_or_else(|| format!("VM {vmid}")),
        uuid: uuid_of(conf).unwrap_or_default(),
        memory_mib: vm.memory(),
        cpus: u32::try_from(vm.cpus()).unwrap_or(1),
        bios: conf.get("bios").cloned().unwrap_or_else(|| "seabios".to_owned()),
        boot: boot_order(conf),
        ..GuestStart::default()
    };
    for (key, text) in conf.iter().filter(|(key, _)| drive::is_drive(key)) {
        let volid = drive::file_of(text).to_owned();
        if drive::is_cloud_init(&volid) {
            let custom = |volid: &str| {
                let file = state.volume(volid, &vm.node)?.file.clone()?;
                std::fs::read_to_string(inner.files.join(file)).ok()
            };
            start.cloud_init = Some(cloudinit::texts(&vm.cloud_init, vmid, custom));
            continue;
        }
        let Some(volume) = state.volume(&volid, &vm.node) else { continue };
        if drive::is_cdrom(text) {
            let path = volume.file.as_ref().map(|file| inner.files.join(file)).unwrap_or_default();
            let (sha256, size) = (volume.sha256.clone(), volume.size);
            start.media.push(BootMedium { key: key.clone(), volid, sha256, size, path });
        } else if !key.starts_with("efidisk") && !key.starts_with("tpmstate") {
            let options = drive::parse(&inner.schema, key, text).unwrap_or_default();
            start.disks.push(BootDisk {
                key: key.clone(),
                wwn: options.get("wwn").cloned(),
                serial: options.get("serial").cloned(),
                size: volume.size,
                content_id: volume.content_id.clone(),
                tag: volume.tag.clone(),
                volid,
            });
        }
    }
    for (key, text) in conf.iter().filter(|(key, _)| drive::is_net(key)) {
        let net = drive::parse(&inner.schema, key, text).unwrap_or_default();
        let bridge = net.get("bridge").cloned().unwrap_or_default();
        let set = net.get("mtu").and_then(|mtu| mtu.parse::<u32>().ok()).filter(|mtu| *mtu > 1);
        start.nics.push(BootNic {
            key: key.clone(),
            mac: net.get("macaddr").cloned().unwrap_or_default(),
            tag: net.get("tag").and_then(|tag| tag.parse().ok()),
            mtu: set.or_else(|| bridge_mtu(state, &vm.node, &bridge)).unwrap_or(1500),
            bridge,
        });
    }
    start
}

/// The SMBIOS UUID of a configuration.
pub(crate) fn uuid_of(conf: &BTreeMap<String, String>) -> Option<String> {
    let text = conf.get("smbios1")?;
    text.split(',').find_map(|part| part.strip_prefix("uuid=")).map(str::to_lowercase)
}

fn boot_order(conf: &BTreeMap<String, String>) -> Vec<String> {
    let order = conf.get("boot").and_then(|boot| boot.strip_prefix("order=")).unwrap_or_default();
    split_list(order).into_iter().filter(|key| conf.contains_key(*key)).map(str::to_owned).collect()
}

/// Start events of everything that runs.
pub(crate) fn running(inner: &Arc<Inner>) -> Vec<GuestEvent> {
    let state = inner.lock();
    let ids: Vec<u32> =
        state.vms.iter().filter(|(_, vm)| vm.running.is_some()).map(|(id, _)| *id).collect();
    ids.into_iter().map(|id| GuestEvent::Start(Box::new(describe(&state, inner, id)))).collect()
}

/// Switches a machine on or off without an API call.
pub(crate) fn force(inner: &Arc<Inner>, vmid: u32, on: bool) -> bool {
    let mut state = inner.lock();
    if !state.vms.contains_key(&vmid) {
        return false;
    }
    if on {
        drop(start(&mut state, inner, vmid));
    } else {
        stop(&mut state, inner, vmid);
    }
    true
}

/// The guest powers itself off.
pub(crate) fn poweroff(inner: &Arc<Inner>, vmid: u32) -> bool {
    stop(&mut inner.lock(), inner, vmid)
}

/// Sends a shutdown request to a guest.
pub(crate) fn acpi(inner: &Arc<Inner>, node: &str, vmid: u32) {
    drop(inner.events.send(GuestEvent::Shutdown { node: node.to_owned(), vmid }));
    if let AcpiReaction::PowerOff(time) = inner.config.acpi {
        let (inner, time) = (Arc::clone(inner), inner.clock.work(time));
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            poweroff(&inner, vmid);
        });
    }
}

/// Holds the lock of a machine for a while.
pub(crate) fn hold_lock(inner: &Arc<Inner>, vmid: u32, time: Duration) {
    let owner = {
        let mut state = inner.lock();
        let owner = state.next();
        state.flocks.insert(vmid, owner);
        owner
    };
    let inner = Arc::clone(inner);
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        inner.lock().flocks.retain(|_, holder| *holder != owner);
    });
}
