//! Machines that are copied: clone, template.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Row;
use super::create::canonical;
use super::qemu::{existing, free_of_lock, machine};
use super::volume;
use crate::sim::drive;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::server::Inner;
use crate::sim::state::{State, Vm, Volume};
use crate::sim::task::once;

pub(super) const ROUTES: &[Row] = &[
    ("POST", "/nodes/{node}/qemu/{vmid}/clone", clone),
    ("POST", "/nodes/{node}/qemu/{vmid}/template", template),
];

/// Disks with volumes: no optical drives.
fn disks(vm: &Vm) -> Vec<(String, String)> {
    let all = vm.conf.iter().filter(|(key, text)| {
        drive::is_drive(key) && !drive::is_cdrom(text) && drive::file_of(text).contains(':')
    });
    all.map(|(key, text)| (key.clone(), drive::file_of(text).to_owned())).collect()
}

pub(super) fn split(volid: &str) -> (&str, &str) {
    volid.split_once(':').unwrap_or((volid, ""))
}

/// A drive string with another volume.
pub(super) fn with_volume(text: &str, volid: &str) -> String {
    match text.split_once(',') {
        Some((_, options)) => format!("{volid},{options}"),
        None => volid.to_owned(),
    }
}

/// The next free name of a disk on a storage; a linked clone stands below its base.
pub(super) fn free_name(
    state: &State,
    (storage, node): (&str, &str),
    vmid: u32,
    format: &str,
    base: Option<&str>,
) -> String {
    let files = state.is_file_storage(storage);
    let rows = state.volumes.get(&state.place(storage, node));
    for number in 0_u32.. {
        let stem = format!("vm-{vmid}-disk-{number}");
        let start = format!("{stem}.");
        let taken = rows.into_iter().flatten().any(|(name, _)| {
            let last = name.rsplit('/').next().unwrap_or_default();
            last == stem || last.starts_with(&start)
        });
        if !taken {
            let name = if files { format!("{vmid}/{stem}.{format}") } else { stem };
            return base.map_or_else(|| name.clone(), |base| format!("{base}/{name}"));
        }
    }
    String::new()
}

fn is_template(vm: &Vm) -> bool {
    vm.conf.get("template").is_some_and(|flag| flag == "1")
}

/// Whether a storage can make a linked clone of a volume.
fn clonable(state: &State, volid: &str, node: &str) -> bool {
    let (storage, name) = split(volid);
    let base = name.rsplit('/').next().unwrap_or_default().starts_with("base-");
    let format = state.volume(volid, node).map(|volume| volume.format.as_str());
    base && (!state.is_file_storage(storage) || format == Some("qcow2"))
}

/// What a clone was asked for.
struct Wish {
    source: u32,
    newid: u32,
    node: String,
    target: String,
    full: bool,
    storage: Option<String>,
    format: Option<String>,
    name: Option<String>,
    description: Option<String>,
    conf: BTreeMap<String, String>,
}

fn clone(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vmid = existing(call)?;
    let newid = call.number("newid").and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
    let target = call.get("target").unwrap_or(&call.node).to_owned();
    if !call.state.nodes.contains_key(&target) {
        return Err(Fail::die(format!("no such cluster node '{target}'")));
    }
    let pool = call.get("pool").map(str::to_owned);
    if let Some(pool) = pool.as_ref().filter(|pool| !call.state.pools.contains_key(*pool)) {
        return Err(Fail::denied(&format!("pool '{pool}' does not exist")));
    }
    let storage = call.get("storage").map(str::to_owned);
    if let Some(storage) = &storage {
        volume::usable(call.state, storage, &target)?;
        call.require(&format!("/storage/{storage}"), "Datastore.AllocateSpace")?;
    }
    let vm = machine(call)?.clone();
    free_of_lock(&vm).map_err(Fail::die)?;
    let conf = match call.get("snapname") {
        None => vm.conf.clone(),
        Some(name) => match vm.snapshots.get(name) {
            Some(conf) => conf.clone(),
            None => return Err(Fail::die(format!("snapshot '{name}' does not exist"))),
        },
    };
    let full = call.get("full").map_or_else(|| !is_template(&vm), |flag| flag == "1");
    if !full {
        for key in ["storage", "format"] {
            if call.get(key).is_some() {
                let text = format!("parameter '{key}' not allowed for linked clones");
                return Err(Fail::die(text));
            }
        }
    }
    if call.state.vms.contains_key(&newid) {
        return Err(Fail::die(format!("unable to create VM {newid}: config file already exists")));
    }
    for (key, volid) in disks(&vm) {
        let (store, _) = split(&volid);
        if target != call.node && !call.state.is_shared(store) {
            return Err(Fail::die(format!(
                "can't clone VM to node '{target}' (VM uses local storage)"
            )));
        }
        if !full && !clonable(call.state, &volid, &call.node) {
            let text = format!("Linked clone feature is not supported for '{volid}' ({key})");
            return Err(Fail::die(text));
        }
    }
    let lock = BTreeMap::from([("lock".to_owned(), "clone".to_owned())]);
    let created_ms = call.inner.clock.now_ms();
    let node = target.clone();
    call.state.vms.insert(newid, Vm { node, conf: lock, created_ms, ..Vm::default() });
    if let Some(pool) = pool.and_then(|pool| call.state.pools.get_mut(&pool)) {
        pool.vms.insert(newid);
    }
    let wish = Wish {
        source: vmid,
        newid,
        node: call.node.clone(),
        target,
        full,
        storage,
        format: call.get("format").map(str::to_owned),
        name: call.get("name").map(str::to_owned),
        description: call.get("description").map(str::to_owned),
        conf,
    };
    let upid = call.start(
        "qmclone",
        &vmid.to_string(),
        Some(vmid),
        once(move |state, inner, _| match cloned(state, inner, &wish) {
            Ok(conf) => {
                if let Some(vm) = state.vms.get_mut(&wish.newid) {
                    vm.conf = conf;
                }
                Ok(())
            }
            Err(text) => {
                state.vms.remove(&wish.newid);
                Err(format!("clone failed: {text}"))
            }
        }),
    );
    if let Some(job) = call.jobs.last_mut() {
        job.makes = Some(newid);
    }
    Ok(upid)
}

/// The configuration of a clone, whose disks are made.
fn cloned(
    state: &mut State,
    inner: &Inner,
    wish: &Wish,
) -> Result<BTreeMap<String, String>, String> {
    const LEFT: [&str; 7] =
        ["template", "lock", "parent", "snaptime", "vmstate", "snapstate", "vmgenid"];
    let random = || uuid::Uuid::new_v4().to_string();
    let mut conf = BTreeMap::new();
    let mut made: Vec<(String, String)> = Vec::new();
    for (key, text) in &wish.conf {
        if LEFT.contains(&key.as_str()) || key.starts_with("unused") {
            continue;
        }
        let volid = drive::file_of(text);
        let value = if drive::is_net(key) {
            let mut net = drive::parse(&inner.schema, key, text).unwrap_or_default();
            net.remove("macaddr");
            canonical(inner, state, key, &drive::print_net(&net))
        } else if drive::is_drive(key) && drive::is_cloud_init(volid) {
            let (storage, _) = split(volid);
            let files = state.is_file_storage(storage);
            let id = wish.newid;
            let name = if files {
                format!("{id}/vm-{id}-cloudinit.qcow2")
            } else {
                format!("vm-{id}-cloudinit")
            };
            let volume = state.volume(volid, &wish.node).cloned().unwrap_or_default();
            let volume = Volume { vmid: Some(id), ..volume };
            let new = format!("{storage}:{name}");
            volume::store(state, inner, &wish.target, storage, (name, volume))?;
            with_volume(text, &new)
        } else if drive::is_drive(key) && !drive::is_cdrom(text) && volid.contains(':') {
            let old = state.volume(volid, &wish.node).cloned();
            let Some(old) = old else {
                for (storage, name) in &made {
                    state.volume_remove(&format!("{storage}:{name}"), &wish.target);
                }
                return Err(format!("volume '{volid}' does not exist"));
            };
            let (from, base) = split(volid);
            let storage = wish.storage.as_deref().unwrap_or(from).to_owned();
            let format = if !state.is_file_storage(&storage) {
                "raw".to_owned()
            } else if wish.full {
                wish.format.clone().unwrap_or_else(|| old.format.clone())
            } else {
                "qcow2".to_owned()
            };
            let base = (!wish.full).then_some(base);
            let place = (storage.as_str(), wish.target.as_str());
            let name = free_name(state, place, wish.newid, &format, base);
            let id = state.next();
            let new = volume::image(wish.newid, &format, old.size, inner.clock.now(), id);
            let volume = Volume { tag: old.tag.clone(), ..new };
            volume::store(state, inner, &wish.target, &storage, (name.clone(), volume))?;
            made.push((storage.clone(), name.clone()));
            with_volume(text, &format!("{storage}:{name}"))
        } else {
            text.clone()
        };
        conf.insert(key.clone(), value);
    }
    let uuid = format!("uuid={}", random());
    let smbios = conf.get("smbios1").map(|text| {
        let rest = text.split(',').filter(|part| !part.starts_with("uuid="));
        std::iter::once(uuid.as_str()).chain(rest).collect::<Vec<_>>().join(",")
    });
    conf.insert("smbios1".to_owned(), smbios.unwrap_or(uuid));
    conf.insert("vmgenid".to_owned(), random());
    conf.insert("meta".to_owned(), format!("creation-qemu=10.1.2,ctime={}", inner.clock.now()));
    let name = wish.name.clone().unwrap_or_else(|| {
        let old = wish.conf.get("name").cloned().unwrap_or_else(|| wish.source.to_string());
        format!("Copy-of-VM-{old}")
    });
    conf.insert("name".to_owned(), name);
    if let Some(text) = &wish.description {
        conf.insert("description".to_owned(), text.trim_end().to_owned());
    }
    Ok(conf)
}

fn template(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vmid = existing(call)?;
    let vm = machine(call)?;
    free_of_lock(vm).map_err(Fail::die)?;
    if !vm.snapshots.is_empty() {
        return Err(Fail::die("unable to create template, because VM contains snapshots"));
    }
    if is_template(vm) && call.get("disk").is_none() {
        return Err(Fail::die("you can't convert a template to a template"));
    }
    if vm.running.is_some() {
        return Err(Fail::die("you can't convert a VM to template if VM is running"));
    }
    if let Some(key) = call.get("disk").filter(|key| !vm.conf.contains_key(*key)) {
        return Err(Fail::die(format!("disk '{key}' does not exist")));
    }
    let only = call.get("disk").map(str::to_owned);
    let node = call.node.clone();
    Ok(call.start(
        "qmtemplate",
        &vmid.to_string(),
        Some(vmid),
        once(move |state, _, _| {
            let Some(vm) = state.vms.get(&vmid).cloned() else { return Ok(()) };
            for (key, volid) in disks(&vm) {
                if only.as_ref().is_some_and(|only| *only != key) {
                    continue;
                }
                let (storage, name) = split(&volid);
                let based = name.replace(&format!("vm-{vmid}-"), &format!("base-{vmid}-"));
                let Some(volume) = state.volume_remove(&volid, &node) else { continue };
                let place = state.place(storage, &node);
                state.volumes.entry(place).or_default().insert(based.clone(), volume);
                let new = format!("{storage}:{based}");
                if let Some(text) = state.vms.get_mut(&vmid).and_then(|vm| vm.conf.get_mut(&key)) {
                    *text = with_volume(text, &new);
                }
            }
            if let Some(vm) = state.vms.get_mut(&vmid) {
                vm.conf.insert("template".to_owned(), "1".to_owned());
            }
            Ok(())
        }),
    ))
}
