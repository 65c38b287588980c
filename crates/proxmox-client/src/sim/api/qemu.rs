//! Machines: lists, status, cloud-init.

use serde_json::{Map, Value, json};

use super::Row;
use super::agent::is_configured;
use crate::sim::builder::Dialect;
use crate::sim::cloudinit;
use crate::sim::drive;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::state::Vm;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/nodes/{node}/qemu", list),
    ("GET", "/nodes/{node}/qemu/{vmid}/status/current", current),
    ("GET", "/nodes/{node}/qemu/{vmid}/status", status_index),
    ("GET", "/nodes/{node}/qemu/{vmid}/cloudinit", cloud_init),
    ("PUT", "/nodes/{node}/qemu/{vmid}/cloudinit", regenerate),
    ("GET", "/nodes/{node}/qemu/{vmid}/cloudinit/dump", dump),
    ("POST", "/nodes/{node}/qemu/{vmid}/monitor", monitor),
    ("PUT", "/nodes/{node}/qemu/{vmid}/sendkey", send_key),
    ("GET", "/nodes/{node}/qemu/{vmid}/feature", feature),
    ("GET", "/nodes/{node}/qemu/{vmid}/rrddata", history),
];

/// The text for a machine that is not on a node.
pub(super) fn absent(vmid: u32, node: &str) -> String {
    format!("Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist")
}

/// The machine of a call, which must be on its node.
///
/// # Errors
/// 500 when it is not there.
pub(super) fn existing(call: &Call<'_>) -> Result<u32, Fail> {
    let vmid = call.vmid();
    match call.state.vms.get(&vmid) {
        Some(vm) if vm.node == call.node => Ok(vmid),
        _ => Err(Fail::die(absent(vmid, &call.node))),
    }
}

/// The machine of a call.
///
/// # Errors
/// 500 when it is not there.
pub(super) fn machine<'a>(call: &'a Call<'_>) -> Result<&'a Vm, Fail> {
    let vmid = existing(call)?;
    call.state.vms.get(&vmid).ok_or_else(|| Fail::die(absent(vmid, &call.node)))
}

/// Refuses a machine whose configuration is locked.
///
/// # Errors
/// The text about the lock.
pub(super) fn free_of_lock(vm: &Vm) -> Result<(), String> {
    match vm.conf.get("lock") {
        Some(lock) => Err(format!("VM is locked ({lock})")),
        None => Ok(()),
    }
}

fn row(call: &Call<'_>, vmid: u32, vm: &Vm) -> Map<String, Value> {
    let mut map = Map::new();
    let running = vm.running.as_ref();
    let memory = vm.memory() << 20;
    let used = if running.is_some() { memory / 2 } else { 0 };
    map.insert("vmid".to_owned(), json!(vmid));
    map.insert(
        "name".to_owned(),
        json!(vm.conf.get("name").cloned().unwrap_or_else(|| format!("VM {vmid}"))),
    );
    map.insert("status".to_owned(), json!(if running.is_some() { "running" } else { "stopped" }));
    map.insert("cpus".to_owned(), json!(vm.cpus()));
    map.insert("maxmem".to_owned(), json!(memory));
    map.insert("mem".to_owned(), json!(used));
    map.insert("memhost".to_owned(), json!(used));
    map.insert("maxdisk".to_owned(), json!(drive::boot_disk(&vm.conf).map_or(0, drive::size_of)));
    map.insert(
        "uptime".to_owned(),
        json!(running.map_or(0, |running| call.now().saturating_sub(running.since))),
    );
    for key in ["cpu", "disk", "netin", "netout"] {
        map.insert(key.to_owned(), json!(0));
    }
    if let Some(tags) = vm.conf.get("tags").filter(|tags| !tags.trim().is_empty()) {
        map.insert("tags".to_owned(), json!(tags));
    }
    if vm.conf.keys().any(|key| key.starts_with("serial")) {
        map.insert("serial".to_owned(), json!(1));
    }
    if vm.conf.get("template").is_some_and(|flag| flag == "1") {
        map.insert("template".to_owned(), json!(1));
    }
    if let Some(lock) = vm.conf.get("lock") {
        map.insert("lock".to_owned(), json!(lock));
    }
    if let Some(running) = running {
        map.insert("pid".to_owned(), json!(running.pid));
        map.insert("diskread".to_owned(), json!(0));
        map.insert("diskwrite".to_owned(), json!(0));
    }
    map
}

fn list(call: &mut Call<'_>) -> Result<Value, Fail> {
    let all = call.may("/vms", "VM.Audit");
    let here = call.state.vms.iter().filter(|(_, vm)| vm.node == call.node);
    let seen = here.filter(|(vmid, _)| all || call.may(&format!("/vms/{vmid}"), "VM.Audit"));
    Ok(seen.map(|(vmid, vm)| Value::Object(row(call, *vmid, vm))).collect())
}

fn current(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vmid = existing(call)?;
    let vm = machine(call)?;
    let mut map = row(call, vmid, vm);
    let paused = vm.running.as_ref().is_some_and(|running| running.paused);
    let status = match (&vm.running, paused) {
        (Some(_), true) => "paused",
        (Some(_), false) => "running",
        (None, _) => "stopped",
    };
    map.insert("qmpstatus".to_owned(), json!(status));
    let ha = match call.state.ha.managed(vmid) {
        Some(found) => {
            let seen = found.service.as_ref().map_or("queued", |service| service.state.as_str());
            json!({"managed": 1, "state": seen})
        }
        None => json!({"managed": 0}),
    };
    map.insert("ha".to_owned(), ha);
    map.insert("clipboard".to_owned(), Value::Null);
    if is_configured(vm) {
        map.insert("agent".to_owned(), json!(1));
    }
    if vm.running.is_some() {
        map.insert("running-qemu".to_owned(), json!("10.1.2"));
        map.insert("running-machine".to_owned(), json!("pc-q35-10.1+pve0"));
    }
    if call.inner.config.dialect == Dialect::V8_4 {
        map.remove("memhost");
    }
    Ok(Value::Object(map))
}

fn status_index(_: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(["current", "start", "stop", "reset", "shutdown", "suspend", "reboot"]
        .map(|name| json!({"subdir": name}))
        .into_iter()
        .collect())
}

fn cloud_init(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vm = machine(call)?;
    let mut rows = Vec::new();
    let keys = [
        "cicustom",
        "cipassword",
        "citype",
        "ciuser",
        "ciupgrade",
        "nameserver",
        "searchdomain",
        "sshkeys",
    ];
    let nets = (0..32).map(|number| format!("ipconfig{number}"));
    for key in keys.map(str::to_owned).into_iter().chain(nets) {
        let mask = |text: &String| {
            if key == "cipassword" { "**********".to_owned() } else { text.clone() }
        };
        let (old, new) = (vm.cloud_init.get(&key), vm.conf.get(&key));
        let never = vm.cloud_init.is_empty();
        match (old, new) {
            (Some(old), Some(new)) if old == new => {
                rows.push(json!({"key": key, "value": mask(new)}));
            }
            (Some(old), Some(new)) => {
                rows.push(json!({"key": key, "value": mask(old), "pending": mask(new)}));
            }
            (Some(old), None) => rows.push(json!({"key": key, "value": mask(old), "delete": 1})),
            (None, Some(new)) if never && !key.starts_with("ipconfig") => {
                rows.push(json!({"key": key, "value": mask(new)}));
            }
            (None, Some(new)) if !never => rows.push(json!({"key": key, "pending": mask(new)})),
            _ => {}
        }
    }
    Ok(Value::Array(rows))
}

fn regenerate(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vmid = existing(call)?;
    if let Some(vm) = call.state.vms.get_mut(&vmid) {
        vm.cloud_init = vm.conf.clone();
    }
    Ok(Value::Null)
}

fn dump(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vmid = existing(call)?;
    let conf = &machine(call)?.conf;
    let text = match call.get("type") {
        Some("user") => cloudinit::user(conf, vmid),
        Some("network") => cloudinit::network(conf),
        _ => cloudinit::meta(conf, vmid),
    };
    Ok(json!(text))
}

fn monitor(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vmid = existing(call)?;
    if machine(call)?.running.is_none() {
        return Ok(json!(format!("ERROR: VM {vmid} not running\n")));
    }
    Ok(json!(""))
}

fn send_key(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vmid = existing(call)?;
    if machine(call)?.running.is_none() {
        return Err(Fail::die(format!("VM {vmid} not running")));
    }
    Ok(Value::Null)
}

/// Whether the disks of a machine can do something, and on which nodes it could be then.
fn feature(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vm = machine(call)?;
    let (state, what) = (&*call.state, call.get("feature").unwrap_or_default());
    let is_template = vm.conf.get("template").is_some_and(|flag| flag == "1");
    let drives = || {
        let all = vm.conf.iter().filter(|(key, _)| drive::is_drive(key));
        all.map(|(_, text)| text).filter(|text| !drive::is_cdrom(text))
    };
    let can = |text: &String| {
        let Some(volume) = state.volume(drive::file_of(text), &vm.node) else { return true };
        let storage = drive::file_of(text).split(':').next().unwrap_or_default();
        match what {
            "snapshot" => !state.is_file_storage(storage) || volume.format == "qcow2",
            "clone" => is_template,
            _ => true,
        }
    };
    let has = drives().all(can);
    let shared = drives()
        .all(|text| state.is_shared(drive::file_of(text).split(':').next().unwrap_or_default()));
    let nodes: Vec<&String> =
        state.nodes.keys().filter(|name| shared || **name == call.node).collect();
    Ok(json!({"hasFeature": u8::from(has), "nodes": if has { nodes } else { Vec::new() }}))
}

/// No history is kept.
fn history(call: &mut Call<'_>) -> Result<Value, Fail> {
    existing(call)?;
    Ok(json!([]))
}
