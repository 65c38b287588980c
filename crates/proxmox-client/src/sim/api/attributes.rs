//! What else is told of volumes, storages and devices. Backups are not made here: nobody has notes,
//! and nothing is pruned.

use serde_json::{Value, json};

use super::Row;
use super::content::volume_name;
use super::volume::usable;
use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::task::once;

pub(super) const ROUTES: &[Row] = &[
    ("PUT", "/nodes/{node}/storage/{storage}/content/{volume}", update),
    ("GET", "/nodes/{node}/storage/{storage}/identity", identity),
    ("GET", "/nodes/{node}/storage/{storage}/prunebackups", nothing_of_storage),
    ("DELETE", "/nodes/{node}/storage/{storage}/prunebackups", prune),
    ("GET", "/nodes/{node}/storage/{storage}/rrddata", nothing_of_storage),
    ("GET", "/nodes/{node}/hardware/pci/{pci-id-or-mapping}", device),
    ("GET", "/nodes/{node}/hardware/pci/{pci-id-or-mapping}/mdev", mediated),
];

/// Only backups have notes and can be protected, and only where files are kept.
fn update(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (storage, name) = volume_name(call);
    usable(call.state, &storage, &call.node)?;
    let volid = format!("{storage}:{name}");
    let is_backup =
        call.state.volume(&volid, &call.node).is_some_and(|volume| volume.content == "backup");
    let files = call.state.is_file_storage(&storage);
    for key in ["notes", "protected"] {
        if call.get(key).is_none() {
            continue;
        }
        if !files {
            let kind = call.state.storages.get(&storage).and_then(|keys| keys.get("type"));
            let kind = kind.map(String::as_str).unwrap_or_default();
            let text = format!("attribute '{key}' is not supported for storage type '{kind}'");
            return Err(Fail::die(text));
        }
        if !is_backup {
            return Err(Fail::die(match key {
                "notes" => "only backups can have notes".to_owned(),
                other => format!("only backups support attribute '{other}'"),
            }));
        }
    }
    let notes = call.get("notes").map(str::to_owned);
    if let (Some(notes), Some(volume)) = (notes, call.state.volume_mut(&volid, &call.node)) {
        volume.notes = Some(notes);
    }
    Ok(Value::Null)
}

fn identity(call: &mut Call<'_>) -> Result<Value, Fail> {
    let storage = call.text("storage");
    usable(call.state, &storage, &call.node)?;
    let kind = call.state.storages.get(&storage).and_then(|keys| keys.get("type"));
    let place = call.state.place(&storage, &call.node);
    Ok(json!({"id": digest::sha1(place.as_bytes()), "type": kind}))
}

fn nothing_of_storage(call: &mut Call<'_>) -> Result<Value, Fail> {
    usable(call.state, &call.text("storage"), &call.node)?;
    Ok(json!([]))
}

fn prune(call: &mut Call<'_>) -> Result<Value, Fail> {
    let storage = call.text("storage");
    usable(call.state, &storage, &call.node)?;
    call.require(&format!("/storage/{storage}"), "Datastore.Allocate")?;
    Ok(call.start("prunebackups", &storage, None, once(|_, _, _| Ok(()))))
}

fn known(call: &Call<'_>) -> Result<(), Fail> {
    let id = call.text("pci-id-or-mapping");
    let node = call.state.nodes.get(&call.node);
    let is_device = node.is_some_and(|node| node.pci.iter().any(|one| one.id.starts_with(&id)));
    if is_device || call.state.mappings.contains_key(&id) {
        return Ok(());
    }
    Err(Fail::die(format!("pci device '{id}' not found")))
}

fn device(call: &mut Call<'_>) -> Result<Value, Fail> {
    known(call)?;
    Ok(json!([{"method": "mdev"}]))
}

/// No device is shared out.
fn mediated(call: &mut Call<'_>) -> Result<Value, Fail> {
    known(call)?;
    Ok(json!([]))
}
