//! Disks that move to another storage or to another machine.

use serde_json::Value;

use super::Row;
use super::copy::{free_name, split, with_volume};
use super::disk::{self, keep_unused};
use super::qemu::{existing, free_of_lock, machine};
use super::{config, volume};
use crate::sim::drive;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::state::Volume;
use crate::sim::task::once;

pub(super) const ROUTES: &[Row] = &[("POST", "/nodes/{node}/qemu/{vmid}/move_disk", move_disk)];

fn move_disk(call: &mut Call<'_>) -> Result<Value, Fail> {
    if call.get("target-vmid").is_some() {
        return reassign(call);
    }
    let Some(storage) = call.get("storage").map(str::to_owned) else {
        let text = "both 'storage' and 'target-vmid' missing, either needs to be set";
        let both = ["storage", "target-vmid"].map(|key| (key.to_owned(), text.to_owned()));
        return Err(Fail::params(both.into()));
    };
    let (vmid, key) = (existing(call)?, call.text("disk"));
    let vm = machine(call)?;
    free_of_lock(vm).map_err(Fail::die)?;
    if call.get("digest").is_some_and(|digest| digest != vm.digest()) {
        return Err(Fail::die("checksum mismatch (file change by other user?)"));
    }
    let Some(text) = vm.conf.get(&key).cloned() else {
        return Err(Fail::die(format!("disk '{key}' does not exist")));
    };
    let volid = drive::file_of(&text).to_owned();
    let snapshot =
        vm.snapshots.values().any(|conf| conf.values().any(|text| drive::file_of(text) == volid));
    volume::usable(call.state, &storage, &call.node)?;
    call.require(&format!("/storage/{storage}"), "Datastore.AllocateSpace")?;
    if !volid.contains(':') {
        return Err(Fail::die(format!("disk '{key}' has no associated volume")));
    }
    if drive::is_cdrom(&text) && !drive::is_cloud_init(&volid) {
        return Err(Fail::die("you can't move a cdrom"));
    }
    let old = call.state.volume(&volid, &call.node).cloned().unwrap_or_default();
    let (from, _) = split(&volid);
    let format = if call.state.is_file_storage(&storage) {
        call.get("format").map_or_else(|| old.format.clone(), str::to_owned)
    } else {
        "raw".to_owned()
    };
    if from == storage && (call.get("format").is_none() || old.format == format) {
        return Err(Fail::die("you can't move to the same storage with same format"));
    }
    let remove = call.flag("delete");
    if remove && snapshot {
        return Err(Fail::die("you can't move a disk with snapshots and delete the source"));
    }
    let node = call.node.clone();
    Ok(call.start(
        "qmmove",
        &vmid.to_string(),
        Some(vmid),
        once(move |state, inner, _| {
            let Some(old) = state.volume(&volid, &node).cloned() else {
                return Err(format!("storage migration failed: volume '{volid}' does not exist"));
            };
            let name = if drive::is_cloud_init(&volid) {
                let files = state.is_file_storage(&storage);
                if files {
                    format!("{vmid}/vm-{vmid}-cloudinit.{format}")
                } else {
                    format!("vm-{vmid}-cloudinit")
                }
            } else {
                free_name(state, (&storage, &node), vmid, &format, None)
            };
            let new = format!("{storage}:{name}");
            let volume = Volume { format: format.clone(), ..old };
            volume::store(state, inner, &node, &storage, (name, volume))
                .map_err(|text| format!("storage migration failed: {text}"))?;
            if let Some(vm) = state.vms.get_mut(&vmid) {
                vm.conf.insert(key.clone(), with_volume(&text, &new));
                if !remove && !drive::is_cloud_init(&volid) {
                    keep_unused(&mut vm.conf, &volid);
                }
            }
            if remove || drive::is_cloud_init(&volid) {
                disk::destroy(state, inner, &volid, &node);
            }
            Ok(())
        }),
    ))
}

/// Gives a disk to another machine.
fn reassign(call: &mut Call<'_>) -> Result<Value, Fail> {
    if call.get("storage").is_some() {
        let text = "Storage must not be set when a target VM is given";
        return Err(Fail::param("storage", text));
    }
    let (vmid, key) = (existing(call)?, call.text("disk"));
    let target = call.number("target-vmid").and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
    let target_key = call.get("target-disk").unwrap_or(&key).to_owned();
    call.require(&format!("/vms/{target}"), "VM.Config.Disk")?;
    let vm = machine(call)?;
    free_of_lock(vm).map_err(Fail::die)?;
    let Some(text) = vm.conf.get(&key).cloned() else {
        return Err(Fail::die(format!("disk '{key}' does not exist")));
    };
    let Some(other) = call.state.vms.get(&target) else {
        return Err(Fail::die(format!("could not find target VM {target}")));
    };
    if other.node != call.node {
        return Err(Fail::die("Both VMs need to be on the same node"));
    }
    free_of_lock(other).map_err(Fail::die)?;
    if target == vmid {
        return Err(Fail::param(
            "target-vmid",
            "must be different than source VMID to reassign disk",
        ));
    }
    if other.conf.contains_key(&target_key) {
        let text = format!("Target disk key '{target_key}' is already in use for VM {target}");
        return Err(Fail::die(text));
    }
    if drive::is_cdrom(&text) {
        return Err(Fail::die("you can't reassign a cdrom"));
    }
    let node = call.node.clone();
    let id = format!("{vmid}-{key}>{target}-{target_key}");
    Ok(call.start(
        "qmmove",
        &id,
        Some(vmid),
        once(move |state, _, _| {
            let volid = drive::file_of(&text).to_owned();
            let (storage, _) = split(&volid);
            let Some(mut volume) = state.volume_remove(&volid, &node) else {
                return Err(format!("volume '{volid}' does not exist"));
            };
            let name = free_name(state, (storage, &node), target, &volume.format, None);
            volume.vmid = Some(target);
            let place = state.place(storage, &node);
            state.volumes.entry(place).or_default().insert(name.clone(), volume);
            if let Some(vm) = state.vms.get_mut(&vmid) {
                vm.conf.remove(&key);
            }
            config::drop_from_boot(state, vmid, &key);
            if let Some(vm) = state.vms.get_mut(&target) {
                let new = format!("{storage}:{name}");
                let text =
                    if target_key.starts_with("unused") { new } else { with_volume(&text, &new) };
                vm.conf.insert(target_key, text);
            }
            Ok(())
        }),
    ))
}
