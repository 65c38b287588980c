//! Machines that go to another node.

use serde_json::{Value, json};

use super::Row;
use super::copy::{free_name, split, with_volume};
use super::qemu::{existing, free_of_lock, machine};
use super::{ha, volume};
use crate::sim::drive;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::state::{State, Vm};
use crate::sim::task::once;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/nodes/{node}/qemu/{vmid}/migrate", preconditions),
    ("POST", "/nodes/{node}/qemu/{vmid}/migrate", migrate),
];

/// What ties a machine to its node.
fn local_resources(vm: &Vm) -> Vec<String> {
    let local = vm.conf.iter().filter(|(key, text)| {
        let device = key.starts_with("hostpci") || key.starts_with("usb");
        let serial = key.starts_with("serial") && text.starts_with("/dev/");
        device && !text.contains("mapping=") && !text.contains("spice") || serial
    });
    local.map(|(key, _)| key.clone()).collect()
}

fn mapped(vm: &Vm) -> Vec<String> {
    let rows = vm.conf.iter().filter(|(key, text)| {
        (key.starts_with("hostpci") || key.starts_with("usb")) && text.contains("mapping=")
    });
    rows.map(|(key, _)| key.clone()).collect()
}

fn preconditions(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vm = machine(call)?;
    let mut local = Vec::new();
    for (key, text) in vm.conf.iter().filter(|(key, _)| drive::is_drive(key)) {
        let volid = drive::file_of(text);
        let (storage, _) = split(volid);
        let Some(volume) = call.state.volume(volid, &call.node) else { continue };
        if !call.state.is_shared(storage) {
            local.push(json!({
                "volid": volid, "drivename": key, "size": volume.size, "cdrom": u8::from(drive::is_cdrom(text)),
                "is_attached": 1, "is_unused": 0, "is_vmstate": 0, "is_tpmstate": u8::from(key == "tpmstate0"), "shared": 0, "replicate": 1,
            }));
        }
    }
    let others: Vec<&String> = call
        .state
        .nodes
        .iter()
        .filter(|(name, node)| **name != call.node && node.online)
        .map(|(name, _)| name)
        .collect();
    Ok(json!({
        "running": u8::from(vm.running.is_some()), "local_disks": local, "local_resources": local_resources(vm),
        "mapped-resources": mapped(vm), "mapped-resource-info": {}, "allowed_nodes": others, "not_allowed_nodes": {},
        "has-dbus-vmstate": 1,
    }))
}

fn migrate(call: &mut Call<'_>) -> Result<Value, Fail> {
    let target = call.text("target");
    if target == call.node {
        return Err(Fail::param("target", "target is local node."));
    }
    match call.state.nodes.get(&target) {
        None => return Err(Fail::die(format!("no such cluster node '{target}'"))),
        Some(node) if !node.online => {
            return Err(Fail::die(format!("node '{target}' seems to be offline")));
        }
        Some(_) => {}
    }
    for key in ["force", "migration_type", "migration_network"] {
        if call.get(key).is_some() && (call.user.user != "root@pam" || call.user.token.is_some()) {
            return Err(Fail::param(key, "Only root may use this option."));
        }
    }
    let vmid = existing(call)?;
    let vm = machine(call)?;
    free_of_lock(vm).map_err(Fail::die)?;
    let running = vm.running.is_some();
    if running && !call.flag("online") {
        return Err(Fail::die("can't migrate running VM without --online"));
    }
    if call.state.ha.managed(vmid).is_some() {
        let sid = format!("vm:{vmid}");
        return Ok(call.start(
            "hamigrate",
            &vmid.to_string(),
            None,
            once(move |state, inner, _| {
                ha::move_later(state, &sid, "migrate", &target, inner.clock.now_ms());
                Ok(())
            }),
        ));
    }
    let (node, moving) = (call.node.clone(), call.flag("with-local-disks") || !running);
    let storage = call.get("targetstorage").filter(|text| !text.contains(':') && *text != "1");
    let storage = storage.map(str::to_owned);
    if let Some(vm) = call.state.vms.get_mut(&vmid) {
        vm.conf.insert("lock".to_owned(), "migrate".to_owned());
    }
    Ok(call.start(
        "qmigrate",
        &vmid.to_string(),
        Some(vmid),
        once(move |state, _, number| {
            if let Some(vm) = state.vms.get_mut(&vmid) {
                vm.conf.remove("lock");
            }
            let done = moved(state, vmid, (&node, &target), moving, storage.as_deref());
            done.map_err(|line| {
                state.task_log(number, format!("ERROR: {line}"));
                "migration aborted".to_owned()
            })
        }),
    ))
}

fn moved(
    state: &mut State,
    vmid: u32,
    (node, target): (&str, &str),
    moving: bool,
    onto: Option<&str>,
) -> Result<(), String> {
    let Some(vm) = state.vms.get(&vmid).cloned() else { return Ok(()) };
    let local = local_resources(&vm);
    if !local.is_empty() {
        return Err(format!("can't migrate VM which uses local devices: {}", local.join(", ")));
    }
    if vm.running.is_some() && !mapped(&vm).is_empty() {
        let keys = mapped(&vm).join(", ");
        return Err(format!("can't migrate running VM which uses mapped devices: {keys}"));
    }
    if !state.nodes.get(target).is_some_and(|node| node.online) {
        return Err(format!("can't connect to node '{target}'"));
    }
    let mut moves = Vec::new();
    for (key, text) in vm.conf.iter().chain(&vm.pending) {
        let volid = drive::file_of(text);
        let owned = drive::is_drive(key) || key.starts_with("unused");
        let (storage, _) = split(volid);
        if !owned || !volid.contains(':') || state.is_shared(storage) {
            continue;
        }
        if drive::is_cdrom(text) && !drive::is_cloud_init(volid) {
            return Err(format!("can't migrate local cdrom '{volid}'"));
        }
        if !moving && !drive::is_cloud_init(volid) {
            return Err(format!(
                "can't live migrate attached local disks without with-local-disks option: {volid}"
            ));
        }
        volume::usable(state, onto.unwrap_or(storage), target).map_err(|fail| fail.task_text())?;
        moves.push((key.clone(), volid.to_owned()));
    }
    for (key, volid) in moves {
        let (storage, name) = split(&volid);
        let Some(volume) = state.volume_remove(&volid, node) else { continue };
        let store = onto.unwrap_or(storage);
        let name = if store == storage {
            name.to_owned()
        } else {
            free_name(state, (store, target), vmid, &volume.format, None)
        };
        let place = state.place(store, target);
        state.volumes.entry(place).or_default().insert(name.clone(), volume);
        if let Some(text) = state.vms.get_mut(&vmid).and_then(|vm| vm.conf.get_mut(&key)) {
            *text = with_volume(text, &format!("{store}:{name}"));
        }
    }
    if let Some(vm) = state.vms.get_mut(&vmid) {
        target.clone_into(&mut vm.node);
    }
    Ok(())
}
