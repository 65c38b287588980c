//! Reading and writing the configuration of machines, with pending values of running ones.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Row;
use super::create::{canonical, check, settings};
use super::disk::{self, Maker};
use super::hotplug::{self, Problems};
use super::qemu::{existing, free_of_lock, machine};
use crate::sim::cloudinit;
use crate::sim::drive;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::schema::Kind;
use crate::sim::server::Inner;
use crate::sim::state::{State, Vm};
use crate::sim::task::once;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/nodes/{node}/qemu/{vmid}/config", read),
    ("PUT", "/nodes/{node}/qemu/{vmid}/config", update),
    ("POST", "/nodes/{node}/qemu/{vmid}/config", update_task),
    ("GET", "/nodes/{node}/qemu/{vmid}/pending", pending),
];

/// A value with the type that the schema declares.
pub(super) fn typed(inner: &Inner, key: &str, text: &str) -> Value {
    if key == "cipassword" {
        return json!("**********");
    }
    match inner.schema.vm_key(key).map(|prop| prop.kind) {
        Some(Kind::Integer | Kind::Boolean) => {
            text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number))
        }
        _ => json!(text),
    }
}

fn read(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vm = machine(call)?;
    if call.get("snapshot").is_some() {
        let name = call.text("snapshot");
        if call.flag("current") {
            let text = "cannot use 'snapshot' parameter with 'current'";
            return Err(Fail::param("snapshot", text));
        }
        let Some(conf) = vm.snapshots.get(&name) else {
            return Err(Fail::die(format!("snapshot '{name}' does not exist")));
        };
        let mut map = super::snapshot::section(call, conf);
        map.insert("digest".to_owned(), json!(vm.digest()));
        return Ok(Value::Object(map));
    }
    let mut map = Map::new();
    let current = call.flag("current");
    for (key, text) in &vm.conf {
        if current || !vm.removed.contains_key(key) {
            map.insert(key.clone(), typed(call.inner, key, text));
        }
    }
    if !current {
        for (key, text) in &vm.pending {
            map.insert(key.clone(), typed(call.inner, key, text));
        }
    }
    map.insert("digest".to_owned(), json!(vm.digest()));
    Ok(Value::Object(map))
}

fn pending(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vm = machine(call)?;
    let keys: BTreeSet<&String> = vm.conf.keys().chain(vm.pending.keys()).collect();
    let mut rows = Vec::new();
    for key in keys {
        let mut map = Map::new();
        map.insert("key".to_owned(), json!(key));
        if let Some(text) = vm.conf.get(key) {
            map.insert("value".to_owned(), typed(call.inner, key, text));
        }
        if let Some(text) = vm.pending.get(key) {
            map.insert("pending".to_owned(), typed(call.inner, key, text));
        }
        if let Some(force) = vm.removed.get(key) {
            map.insert("delete".to_owned(), json!(force));
        }
        rows.push(Value::Object(map));
    }
    rows.push(json!({"key": "digest", "value": vm.digest()}));
    Ok(Value::Array(rows))
}

/// A checked change of a configuration.
#[derive(Debug, Clone)]
struct Change {
    set: BTreeMap<String, String>,
    removed: Vec<String>,
    revert: Vec<String>,
    force: bool,
}

fn prepare(call: &mut Call<'_>) -> Result<(u32, Change), Fail> {
    let vmid = existing(call)?;
    let mut change = Change {
        set: settings(call),
        removed: call.list("delete"),
        revert: call.list("revert"),
        force: call.flag("force"),
    };
    let named = call
        .params
        .keys()
        .any(|key| !matches!(key.as_str(), "node" | "vmid" | "digest" | "skiplock"));
    if !named {
        return Err(Fail::die("no options specified"));
    }
    for key in change.removed.iter().chain(&change.revert) {
        if call.inner.schema.vm_key(key).is_none() {
            return Err(Fail::param("delete", format!("unknown option '{key}'")));
        }
        if change.set.contains_key(key) {
            return Err(Fail::param(
                "delete",
                format!("you can't use '-{key}' and -delete {key}' at the same time"),
            ));
        }
    }
    if call.get("skiplock").is_some() && (call.user.user != "root@pam" || call.user.token.is_some())
    {
        return Err(Fail::param("skiplock", "Only root may use this option."));
    }
    if change.set.get("cipassword").is_some_and(|text| text == "**********") {
        change.set.remove("cipassword");
    }
    check(call, vmid, &change.set)?;
    if call.state.flocks.contains_key(&vmid) {
        return Err(Fail::locked(vmid));
    }
    let vm = machine(call)?;
    if call.get("digest").is_some_and(|digest| digest != vm.digest()) {
        return Err(Fail::die("checksum mismatch (file change by other user?)"));
    }
    if !call.flag("skiplock") {
        free_of_lock(vm).map_err(Fail::die)?;
    }
    checks(vm, &change)?;
    Ok((vmid, change))
}

fn checks(vm: &Vm, change: &Change) -> Result<(), Fail> {
    if let Some(order) = change.set.get("boot").and_then(|boot| boot.strip_prefix("order=")) {
        for key in crate::sim::schema::split_list(order) {
            let known = change.set.contains_key(key) || vm.wanted(key).is_some();
            if !known || change.removed.iter().any(|removed| removed == key) {
                return Err(Fail::die(format!(
                    "invalid bootorder: device '{key}' does not exist'"
                )));
            }
        }
    }
    let number = |key: &str| {
        change
            .set
            .get(key)
            .map(String::as_str)
            .or_else(|| vm.wanted(key))
            .and_then(|text| text.parse::<u64>().ok())
    };
    let touched = change.set.contains_key("balloon") || change.set.contains_key("memory");
    if let Some(balloon) = number("balloon").filter(|_| touched)
        && balloon > number("memory").unwrap_or(512)
    {
        return Err(Fail::die("balloon value too large (must be smaller than assigned memory)"));
    }
    Ok(())
}

fn update(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (vmid, change) = prepare(call)?;
    apply(call.state, call.inner, vmid, &change)?;
    Ok(Value::Null)
}

fn update_task(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (vmid, change) = prepare(call)?;
    if call.get("background_delay").is_some() {
        apply(call.state, call.inner, vmid, &change)?;
        return Ok(Value::Null);
    }
    Ok(call.start(
        "qmconfig",
        &vmid.to_string(),
        Some(vmid),
        once(move |state, inner, _| {
            apply(state, inner, vmid, &change).map_err(|fail| fail.task_text())
        }),
    ))
}

/// How a change of a key reaches a running machine.
fn is_live(vm: &Vm, key: &str, new: Option<&str>, cdrom: bool) -> bool {
    const LIVE: [&str; 11] = [
        "description",
        "hookscript",
        "name",
        "onboot",
        "protection",
        "shares",
        "startup",
        "tags",
        "vmstatestorage",
        "migrate_downtime",
        "migrate_speed",
    ];
    let features = vm.conf.get("hotplug").map_or("network,disk,usb", String::as_str);
    let features = if features == "1" { "network,disk,usb" } else { features };
    let hot = |feature: &str| features.split(',').any(|one| one == feature);
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    LIVE.contains(&key)
        || cloudinit::is_key(key)
        || key.starts_with("unused")
        || cdrom
        || matches!(key, "lock" | "cpuunits" | "cpulimit")
        || key == "hotplug" && !hotplug::needs_a_start(vm, new)
        // the device itself is not plugged
        || key == "balloon"
            && (vm.conf.get(key).is_some_and(|text| text == "0")) == (new == Some("0"))
        || key == "vcpus" && hot("cpu")
        || key == "memory" && hot("memory") && vm.conf.get("numa").is_some_and(|on| on == "1")
        || stem == "net" && hot("network")
        || matches!(stem, "scsi" | "virtio" | "ide" | "sata")
            && stem != key
            && match (vm.conf.get(key), new) {
                (Some(old), Some(new)) if drive::file_of(old) == drive::file_of(new) => {
                    hotplug::same_drive(old, new)
                }
                _ => matches!(stem, "scsi" | "virtio") && hot("disk"),
            }
        || stem == "usb" && hot("usb") && hotplug::takes_usb(vm)
}

fn apply(state: &mut State, inner: &Inner, vmid: u32, change: &Change) -> Result<(), Fail> {
    let mut problems = Problems::new();
    for key in &change.revert {
        if let Some(vm) = state.vms.get_mut(&vmid) {
            vm.pending.remove(key);
            vm.removed.remove(key);
        }
    }
    for key in &change.removed {
        let Some(vm) = state.vms.get_mut(&vmid) else { return Ok(()) };
        vm.pending.remove(key);
        let Some(old) = vm.conf.get(key).cloned() else { continue };
        let live = vm.running.is_none()
            || is_live(
                vm,
                key,
                None,
                drive::is_drive(key) && drive::is_cdrom(&old) && !key.starts_with("ide"),
            );
        let problem = if live { hotplug::busy(inner, vm, key) } else { None };
        let failed = problem.is_some();
        problems.extend(problem.map(|text| (key.clone(), text)));
        if failed {
            vm.removed.insert(key.clone(), if change.force { 2 } else { 1 });
            drop_from_boot(state, vmid, key);
            continue;
        }
        if !live {
            vm.removed.insert(key.clone(), if change.force { 2 } else { 1 });
            continue;
        }
        if drive::is_drive(key) || key.starts_with("unused") {
            disk::detach(state, inner, vmid, key, change.force).map_err(Fail::die)?;
        } else {
            vm.conf.remove(key);
        }
        drop_from_boot(state, vmid, key);
    }
    for (key, text) in &change.set {
        let problem = set(state, inner, vmid, key, text, &change.set).map_err(Fail::die)?;
        problems.extend(problem.map(|text| (key.clone(), text)));
    }
    for key in change.set.keys().filter(|key| drive::is_drive(key)) {
        let Some(vm) = state.vms.get(&vmid) else { continue };
        let value = vm.wanted(key).unwrap_or_default();
        let problem = hotplug::missing_texts(state, vm, value);
        problems.extend(problem.map(|text| (key.clone(), text)));
    }
    hotplug::outcome(problems)
}

#[expect(clippy::too_many_arguments, reason = "one key of a change and the whole change")]
fn set(
    state: &mut State,
    inner: &Inner,
    vmid: u32,
    key: &str,
    text: &str,
    all: &BTreeMap<String, String>,
) -> Result<Option<String>, String> {
    let Some(vm) = state.vms.get(&vmid).cloned() else { return Ok(None) };
    let printed = if drive::is_drive(key) {
        let parsed = drive::parse(&inner.schema, key, text).unwrap_or_default();
        let mut others = vm.conf.clone();
        others.extend(all.clone());
        let mut maker = Maker { state, inner, vmid, node: &vm.node, made: Vec::new() };
        maker.drive(key, parsed, &others)?
    } else {
        canonical(inner, state, key, text)
    };
    let Some(vm) = state.vms.get_mut(&vmid) else { return Ok(None) };
    let medium = |text: &String| drive::is_drive(key) && drive::is_cdrom(text);
    let swap = medium(&printed) && vm.conf.get(key).is_some_and(medium);
    vm.removed.remove(key);
    if vm.running.is_some() && !is_live(vm, key, Some(&printed), swap) {
        if vm.conf.get(key) == Some(&printed) {
            vm.pending.remove(key);
        } else {
            vm.pending.insert(key.to_owned(), printed.clone());
        }
        return Ok(hotplug::other_media(vm, key, &printed));
    }
    let problem = hotplug::busy_for(inner, vm, key, &printed)
        .or_else(|| hotplug::too_many(vm, key, &printed))
        .or_else(|| hotplug::other_media(vm, key, &printed));
    if problem.is_some() {
        vm.pending.insert(key.to_owned(), printed);
        return Ok(problem);
    }
    vm.pending.remove(key);
    let old = vm.conf.insert(key.to_owned(), printed.clone());
    if drive::is_drive(key)
        && let Some(old) = old
    {
        let volid = drive::file_of(&old).to_owned();
        if volid.contains(':') && volid != drive::file_of(&printed) {
            let node = vm.node.clone();
            if drive::is_cloud_init(&volid) {
                disk::destroy(state, inner, &volid, &node);
            } else if !drive::is_cdrom(&old) {
                disk::keep_unused(&mut vm.conf, &volid);
            }
        }
    }
    if let Some(vm) = state.vms.get_mut(&vmid) {
        let volid = drive::file_of(&printed).to_owned();
        vm.conf.retain(|other, text| {
            !(drive::is_drive(key) && other.starts_with("unused") && *text == volid)
        });
    }
    Ok(None)
}

/// A removed device leaves the boot order.
pub(super) fn drop_from_boot(state: &mut State, vmid: u32, key: &str) {
    let Some(vm) = state.vms.get_mut(&vmid) else { return };
    let Some(order) =
        vm.wanted("boot").and_then(|boot| boot.strip_prefix("order=")).map(str::to_owned)
    else {
        return;
    };
    let left: Vec<&str> = order.split(';').filter(|device| *device != key).collect();
    let joined = left.join(";");
    if joined == order {
        return;
    }
    let text = if joined.is_empty() { " ".to_owned() } else { format!("order={joined}") };
    if vm.running.is_some() {
        vm.pending.insert("boot".to_owned(), text);
    } else {
        vm.conf.insert("boot".to_owned(), text);
    }
}
