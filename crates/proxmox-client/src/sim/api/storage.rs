//! Storage definitions and what a node sees of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Row;
use super::volume::{content_of, total, used};
use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::state::State;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/storage", list),
    ("POST", "/storage", create),
    ("GET", "/storage/{storage}", read),
    ("PUT", "/storage/{storage}", update),
    ("DELETE", "/storage/{storage}", delete),
    ("GET", "/nodes/{node}/storage", on_node),
    ("GET", "/nodes/{node}/storage/{storage}/status", status),
];

const COMMON: [&str; 7] =
    ["content", "disable", "nodes", "shared", "prune-backups", "max-protected-backups", "bwlimit"];
const FILES: [&str; 8] = [
    "preallocation",
    "mkdir",
    "create-base-path",
    "create-subdirs",
    "is_mountpoint",
    "content-dirs",
    "maxfiles",
    "format",
];

/// Required and optional keys of a type.
fn keys_of(kind: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        "dir" => (&["path"], &["snapshot-as-volume-chain"]),
        "nfs" => (&["server", "export"], &["path", "options", "snapshot-as-volume-chain"]),
        "cifs" => (
            &["server", "share"],
            &["path", "username", "password", "domain", "smbversion", "subdir", "options"],
        ),
        "cephfs" => (
            &[],
            &["monhost", "path", "username", "fuse", "subdir", "fs-name", "keyring", "options"],
        ),
        "btrfs" => (&["path"], &["nocow"]),
        "lvm" => (
            &["vgname"],
            &[
                "base",
                "saferemove",
                "saferemove_throughput",
                "saferemove-stepsize",
                "tagged_only",
                "snapshot-as-volume-chain",
            ],
        ),
        "lvmthin" => (&["vgname", "thinpool"], &[]),
        "zfspool" => (&["pool"], &["blocksize", "sparse", "mountpoint", "zfs-base-path"]),
        "rbd" => (&["pool"], &["monhost", "username", "krbd", "namespace", "data-pool", "keyring"]),
        "iscsi" | "iscsidirect" => (&["portal", "target"], &[]),
        "zfs" => (
            &["pool", "portal", "target", "iscsiprovider"],
            &["blocksize", "sparse", "nowritecache", "comstar_hg", "comstar_tg", "lio_tpg"],
        ),
        "pbs" => (
            &["server", "datastore"],
            &[
                "port",
                "username",
                "password",
                "namespace",
                "fingerprint",
                "encryption-key",
                "master-pubkey",
            ],
        ),
        "esxi" => (&["server", "username"], &["password", "skip-cert-verification"]),
        _ => (&[], &[]),
    }
}

fn digest_of(state: &State) -> String {
    digest::sha1(serde_json::to_string(&state.storages).unwrap_or_default().as_bytes())
}

fn row(state: &State, id: &str, keys: &BTreeMap<String, String>) -> Value {
    let mut map = Map::new();
    map.insert("storage".to_owned(), json!(id));
    map.insert("digest".to_owned(), json!(digest_of(state)));
    for (key, value) in keys {
        let number = matches!(
            key.as_str(),
            "disable"
                | "shared"
                | "max-protected-backups"
                | "sparse"
                | "krbd"
                | "port"
                | "mkdir"
                | "saferemove"
                | "fuse"
        );
        let value = match value.parse::<i64>() {
            Ok(value) if number => json!(value),
            _ => json!(value),
        };
        map.insert(key.clone(), value);
    }
    Value::Object(map)
}

fn list(call: &mut Call<'_>) -> Result<Value, Fail> {
    let kind = call.get("type");
    let mut rows = Vec::new();
    for (id, keys) in &call.state.storages {
        let path = format!("/storage/{id}");
        let wanted = kind.is_none_or(|kind| keys.get("type").is_some_and(|own| own == kind));
        if wanted
            && (call.may(&path, "Datastore.Audit") || call.may(&path, "Datastore.AllocateSpace"))
        {
            rows.push(row(call.state, id, keys));
        }
    }
    Ok(Value::Array(rows))
}

fn read(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("storage");
    match call.state.storages.get(&id) {
        Some(keys) => Ok(row(call.state, &id, keys)),
        None => Err(Fail::die(format!("storage '{id}' does not exist"))),
    }
}

fn normal(key: &str, value: &str) -> String {
    match key {
        "content" | "nodes" => crate::sim::schema::split_list(value).join(","),
        _ => value.to_owned(),
    }
}

fn check_type(kind: &str, keys: &BTreeMap<String, String>, create: bool) -> Result<(), Fail> {
    let (required, optional) = keys_of(kind);
    let files = matches!(kind, "dir" | "nfs" | "cifs" | "cephfs" | "btrfs");
    if create && let Some(missing) = required.iter().find(|key| !keys.contains_key(**key)) {
        return Err(Fail::die(format!("missing value for required option '{missing}'")));
    }
    for key in keys.keys().map(String::as_str) {
        let known = required.contains(&key)
            || optional.contains(&key)
            || COMMON.contains(&key)
            || files && FILES.contains(&key);
        if !known && key != "type" {
            return Err(Fail::die(format!("unexpected property '{key}'")));
        }
    }
    Ok(())
}

fn fields(call: &Call<'_>) -> BTreeMap<String, String> {
    let skip = |key: &str| {
        matches!(
            key,
            "storage" | "type" | "digest" | "delete" | "password" | "keyring" | "encryption-key"
        )
    };
    let texts = call.params.iter().filter_map(|(key, value)| Some((key, value.as_text()?)));
    texts
        .filter(|(key, _)| !skip(key))
        .map(|(key, value)| (key.clone(), normal(key, value)))
        .collect()
}

fn create(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (id, kind) = (call.text("storage"), call.text("type"));
    let mut keys = fields(call);
    check_type(&kind, &keys, true)?;
    if call.state.storages.contains_key(&id) {
        return Err(Fail::die(format!("create storage failed: storage ID '{id}' already defined")));
    }
    keys.entry("content".to_owned()).or_insert_with(|| match kind.as_str() {
        "dir" | "nfs" | "cifs" | "btrfs" => {
            "images,rootdir,vztmpl,iso,snippets,backup,import".to_owned()
        }
        "cephfs" => "vztmpl,iso,snippets,backup,import".to_owned(),
        "pbs" => "backup".to_owned(),
        "esxi" => "import".to_owned(),
        _ => "images,rootdir".to_owned(),
    });
    if kind == "cephfs" {
        keys.entry("path".to_owned()).or_insert_with(|| format!("/mnt/pve/{id}"));
    }
    keys.insert("type".to_owned(), kind.clone());
    call.state.storages.insert(id.clone(), keys);
    Ok(json!({"storage": id, "type": kind}))
}

fn update(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("storage");
    let fail = |text: &str| Fail::die(format!("update storage failed: {text}"));
    let Some(old) = call.state.storages.get(&id) else {
        return Err(fail(&format!("storage '{id}' does not exist")));
    };
    if call.get("digest").is_some_and(|digest| digest != digest_of(call.state)) {
        return Err(fail(
            "detected modified configuration - file changed by other user? Try again.",
        ));
    }
    let kind = old.get("type").cloned().unwrap_or_default();
    let new = fields(call);
    check_type(&kind, &new, false)?;
    let removed = call.list("delete");
    let required = keys_of(&kind).0;
    for key in &removed {
        if required.contains(&key.as_str()) {
            return Err(fail(&format!("unable to delete required option '{key}'")));
        }
        if new.contains_key(key) {
            return Err(fail(&format!(
                "unable to set and delete property '{key}' at the same time!"
            )));
        }
    }
    if let Some(keys) = call.state.storages.get_mut(&id) {
        keys.extend(new);
        for key in removed {
            keys.remove(&key);
        }
    }
    Ok(json!({"storage": id, "type": kind}))
}

fn delete(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("storage");
    if call.state.storages.remove(&id).is_none() {
        return Err(Fail::die(format!("delete storage failed: storage '{id}' does not exist")));
    }
    Ok(Value::Null)
}

/// A row of the node's view without the id.
pub(super) fn node_row(call: &Call<'_>, id: &str, node: &str) -> Map<String, Value> {
    let state = &*call.state;
    let keys = state.storages.get(id);
    let enabled = keys.is_none_or(|keys| keys.get("disable").is_none_or(|flag| flag != "1"));
    let (used, total) = (used(state, &state.place(id, node)), total(call.inner, id));
    let (used, total) = if enabled { (used, total) } else { (0, 0) };
    let mut map = Map::new();
    map.insert("type".to_owned(), json!(keys.and_then(|keys| keys.get("type"))));
    map.insert("content".to_owned(), json!(content_of(state, id)));
    map.insert("enabled".to_owned(), json!(u8::from(enabled)));
    map.insert("active".to_owned(), json!(u8::from(enabled)));
    map.insert("shared".to_owned(), json!(u8::from(state.is_shared(id))));
    map.insert("used".to_owned(), json!(used));
    map.insert("total".to_owned(), json!(total));
    map.insert("avail".to_owned(), json!(total.saturating_sub(used)));
    map
}

fn on_node(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut rows = Vec::new();
    let (wanted, only) = (call.list("content"), call.get("storage").map(str::to_owned));
    let enabled = call.flag("enabled");
    for (id, keys) in &call.state.storages {
        let path = format!("/storage/{id}");
        let here =
            keys.get("nodes").is_none_or(|nodes| nodes.split(',').any(|node| node == call.node));
        let seen = call.may(&path, "Datastore.Audit") || call.may(&path, "Datastore.AllocateSpace");
        let content = content_of(call.state, id);
        let kinds = wanted.is_empty()
            || wanted.iter().any(|kind| content.split(',').any(|own| own == kind));
        if !here || !seen || !kinds || only.as_ref().is_some_and(|only| only != id) {
            continue;
        }
        let mut row = node_row(call, id, &call.node);
        if enabled && row.get("enabled") != Some(&json!(1)) {
            continue;
        }
        let ratio = |key: &str| row.get(key).and_then(Value::as_f64).unwrap_or(0.0);
        let fraction = if ratio("total") > 0.0 { ratio("used") / ratio("total") } else { 0.0 };
        row.insert("used_fraction".to_owned(), json!(fraction));
        row.insert("storage".to_owned(), json!(id));
        rows.push(Value::Object(row));
    }
    Ok(Value::Array(rows))
}

fn status(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("storage");
    if !call.state.storages.contains_key(&id) {
        return Err(Fail::param("storage", "No such storage."));
    }
    Ok(Value::Object(node_row(call, &id, &call.node)))
}
