//! Snapshots of machines.

use serde_json::{Map, Value, json};

use super::Row;
use super::config::typed;
use super::qemu::{absent, existing, free_of_lock, machine};
use crate::sim::drive;
use crate::sim::fail::Fail;
use crate::sim::guest;
use crate::sim::reply::Call;
use crate::sim::state::{State, Vm};
use crate::sim::task::once;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/nodes/{node}/qemu/{vmid}/snapshot", list),
    ("POST", "/nodes/{node}/qemu/{vmid}/snapshot", create),
    ("GET", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}", index),
    ("DELETE", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}", delete),
    ("GET", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", read),
    ("PUT", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", describe),
    ("POST", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback", rollback),
];

fn missing(name: &str) -> String {
    format!("snapshot '{name}' does not exist")
}

fn list(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vm = machine(call)?;
    let mut rows = Vec::new();
    for (name, conf) in &vm.snapshots {
        let mut map = Map::new();
        map.insert("name".to_owned(), json!(name));
        let text = |key: &str| conf.get(key).cloned();
        map.insert("description".to_owned(), json!(text("description").unwrap_or_default()));
        map.insert("vmstate".to_owned(), json!(u8::from(conf.contains_key("vmstate"))));
        let time = text("snaptime").and_then(|time| time.parse::<u64>().ok()).unwrap_or(0);
        map.insert("snaptime".to_owned(), json!(time));
        if let Some(parent) = text("parent") {
            map.insert("parent".to_owned(), json!(parent));
        }
        rows.push(Value::Object(map));
    }
    let running = u8::from(vm.running.is_some());
    let mut current = json!({"name": "current", "description": "You are here!", "digest": vm.digest(), "running": running});
    if let (Some(parent), Some(map)) = (vm.conf.get("parent"), current.as_object_mut()) {
        map.insert("parent".to_owned(), json!(parent));
    }
    rows.push(current);
    Ok(Value::Array(rows))
}

fn index(_: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(json!([{"cmd": "rollback"}, {"cmd": "config"}]))
}

/// Whether every disk is on a storage, in a format, that has snapshots.
fn possible(state: &State, vm: &Vm) -> bool {
    vm.conf.iter().filter(|(key, text)| drive::is_drive(key) && !drive::is_cdrom(text)).all(
        |(_, text)| {
            let volid = drive::file_of(text);
            let storage = volid.split(':').next().unwrap_or_default();
            let kind = state.storages.get(storage).and_then(|keys| keys.get("type"));
            let format = state.volume(volid, &vm.node).map(|volume| volume.format.as_str());
            match kind.map(String::as_str) {
                Some("lvm" | "iscsi") => false,
                _ => !state.is_file_storage(storage) || format == Some("qcow2"),
            }
        },
    )
}

fn here<'a>(state: &'a mut State, vmid: u32, node: &str) -> Result<&'a mut Vm, String> {
    state.vms.get_mut(&vmid).filter(|vm| vm.node == node).ok_or_else(|| absent(vmid, node))
}

fn create(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (vmid, name, node) = (call.vmid(), call.text("snapname"), call.node.clone());
    if matches!(name.as_str(), "current" | "pending") {
        return Err(Fail::die(format!("unable to use snapshot name '{name}' (reserved name)")));
    }
    let (description, with_state) = (call.text("description"), call.flag("vmstate"));
    let lock = call.state.vms.contains_key(&vmid).then_some(vmid);
    Ok(call.start(
        "qmsnapshot",
        &vmid.to_string(),
        lock,
        once(move |state, inner, _| {
            let vm = here(state, vmid, &node)?.clone();
            free_of_lock(&vm)?;
            if vm.conf.get("template").is_some_and(|flag| flag == "1") {
                return Err("you can't take a snapshot if it's a template".to_owned());
            }
            if vm.snapshots.contains_key(&name) {
                return Err(format!("snapshot name '{name}' already used"));
            }
            if !possible(state, &vm) {
                return Err("snapshot feature is not available".to_owned());
            }
            let mut conf = vm.conf.clone();
            conf.retain(|key, _| !key.starts_with("unused"));
            conf.remove("description");
            if !description.is_empty() {
                conf.insert("description".to_owned(), description.trim_end().to_owned());
            }
            conf.insert("snaptime".to_owned(), inner.clock.now().to_string());
            if with_state && vm.running.is_some() {
                conf.insert(
                    "vmstate".to_owned(),
                    format!("local:{vmid}/vm-{vmid}-state-{name}.raw"),
                );
            }
            let vm = here(state, vmid, &node)?;
            vm.snapshots.insert(name.clone(), conf);
            vm.conf.insert("parent".to_owned(), name);
            Ok(())
        }),
    ))
}

fn delete(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (vmid, name, node) = (call.vmid(), call.text("snapname"), call.node.clone());
    let lock = call.state.vms.contains_key(&vmid).then_some(vmid);
    Ok(call.start(
        "qmdelsnapshot",
        &vmid.to_string(),
        lock,
        once(move |state, _, _| {
            let vm = here(state, vmid, &node)?;
            free_of_lock(vm)?;
            let Some(gone) = vm.snapshots.remove(&name) else { return Err(missing(&name)) };
            let children = vm.snapshots.values_mut().chain(std::iter::once(&mut vm.conf));
            for conf in children.filter(|conf| conf.get("parent") == Some(&name)) {
                match gone.get("parent") {
                    Some(parent) => drop(conf.insert("parent".to_owned(), parent.clone())),
                    None => drop(conf.remove("parent")),
                }
            }
            Ok(())
        }),
    ))
}

fn read(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (vm, name) = (machine(call)?, call.text("snapname"));
    let conf = vm.snapshots.get(&name).ok_or_else(|| Fail::die(missing(&name)))?;
    Ok(Value::Object(section(call, conf)))
}

/// A section of a configuration as an answer shows it.
pub(super) fn section(
    call: &Call<'_>,
    conf: &std::collections::BTreeMap<String, String>,
) -> Map<String, Value> {
    let value = |key: &String, text: &String| match text.parse::<u64>() {
        Ok(number) if key == "snaptime" => json!(number),
        _ => typed(call.inner, key, text),
    };
    conf.iter().map(|(key, text)| (key.clone(), value(key, text))).collect()
}

fn describe(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (vmid, name) = (existing(call)?, call.text("snapname"));
    free_of_lock(machine(call)?).map_err(Fail::die)?;
    let text = call.get("description").map(|text| text.trim_end().to_owned());
    let conf = call.state.vms.get_mut(&vmid).and_then(|vm| vm.snapshots.get_mut(&name));
    let conf = conf.ok_or_else(|| Fail::die(missing(&name)))?;
    if let Some(text) = text {
        conf.insert("description".to_owned(), text);
    }
    Ok(Value::Null)
}

fn rollback(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (vmid, name, node) = (call.vmid(), call.text("snapname"), call.node.clone());
    let starts = call.flag("start");
    let lock = call.state.vms.contains_key(&vmid).then_some(vmid);
    Ok(call.start(
        "qmrollback",
        &vmid.to_string(),
        lock,
        once(move |state, inner, _| {
            let vm = here(state, vmid, &node)?.clone();
            free_of_lock(&vm)?;
            let Some(conf) = vm.snapshots.get(&name).cloned() else { return Err(missing(&name)) };
            if vm.running.is_some() {
                guest::stop(state, inner, vmid);
            }
            let resumes = conf.contains_key("vmstate");
            let mut new = conf;
            for key in ["snaptime", "vmstate", "snapstate", "description"] {
                new.remove(key);
            }
            if let Some(text) = vm.conf.get("description") {
                new.insert("description".to_owned(), text.clone());
            }
            let unused = vm.conf.iter().filter(|(key, _)| key.starts_with("unused"));
            new.extend(unused.map(|(key, text)| (key.clone(), text.clone())));
            new.insert("parent".to_owned(), name.clone());
            new.insert("vmgenid".to_owned(), uuid::Uuid::new_v4().to_string());
            let vm = here(state, vmid, &node)?;
            vm.conf = new;
            vm.pending.clear();
            vm.removed.clear();
            if starts || resumes { guest::start(state, inner, vmid) } else { Ok(()) }
        }),
    ))
}
