//! Jobs that others made: backups and replication. They are read, and lose the machines that go.

use serde_json::{Map, Value, json};

use super::Row;
use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::schema::split_list;
use crate::sim::state::State;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/cluster/backup", backups),
    ("GET", "/cluster/backup/{id}", backup),
    ("GET", "/cluster/replication", replications),
    ("GET", "/cluster/replication/{id}", replication),
    ("GET", "/nodes/{node}/replication", on_node),
];

fn row(id: &str, keys: &Map<String, Value>) -> Map<String, Value> {
    let mut map = keys.clone();
    map.insert("id".to_owned(), json!(id));
    map
}

fn backups(call: &mut Call<'_>) -> Result<Value, Fail> {
    let jobs = call.state.backup_jobs.iter();
    Ok(jobs
        .map(|(id, keys)| {
            let mut map = row(id, keys);
            map.entry("enabled").or_insert_with(|| json!(1));
            map.insert("type".to_owned(), json!("vzdump"));
            Value::Object(map)
        })
        .collect())
}

fn backup(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("id");
    match call.state.backup_jobs.get(&id) {
        Some(keys) => Ok(Value::Object(row(&id, keys))),
        None => Err(Fail::param("id", format!("No such job '{id}'"))),
    }
}

fn guest_of(id: &str) -> Option<u32> {
    id.split('-').next()?.parse().ok()
}

fn replicated(call: &Call<'_>, id: &str, keys: &Map<String, Value>) -> Map<String, Value> {
    let mut map = row(id, keys);
    let (guest, number) = id.split_once('-').unwrap_or((id, "0"));
    map.insert("guest".to_owned(), json!(guest.parse::<u32>().ok()));
    map.insert("jobnum".to_owned(), json!(number));
    map.insert("type".to_owned(), json!("local"));
    let text = serde_json::to_string(&call.state.replication_jobs).unwrap_or_default();
    map.insert("digest".to_owned(), json!(digest::sha1(text.as_bytes())));
    map
}

fn visible<'a>(call: &'a Call<'_>) -> impl Iterator<Item = (&'a String, &'a Map<String, Value>)> {
    call.state.replication_jobs.iter().filter(|(id, _)| {
        guest_of(id).is_some_and(|vmid| call.may(&format!("/vms/{vmid}"), "VM.Audit"))
    })
}

fn replications(call: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(visible(call).map(|(id, keys)| Value::Object(replicated(call, id, keys))).collect())
}

fn replication(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("id");
    match visible(call).find(|(other, _)| **other == id) {
        Some((id, keys)) => Ok(Value::Object(replicated(call, id, keys))),
        None => Err(Fail::die(format!("no such replication job '{id}'"))),
    }
}

/// Jobs of the machines of a node, with how they went.
fn on_node(call: &mut Call<'_>) -> Result<Value, Fail> {
    let here = |id: &str| {
        let vm = guest_of(id).and_then(|vmid| call.state.vms.get(&vmid));
        vm.is_some_and(|vm| vm.node == call.node)
    };
    let rows = visible(call).filter(|(id, _)| here(id));
    Ok(rows
        .map(|(id, keys)| {
            let mut map = replicated(call, id, keys);
            map.insert("source".to_owned(), json!(call.node));
            map.insert("vmtype".to_owned(), json!("qemu"));
            for key in ["last_sync", "last_try", "fail_count", "duration"] {
                map.insert(key.to_owned(), json!(0));
            }
            Value::Object(map)
        })
        .collect())
}

/// Takes a machine out of the jobs.
pub(super) fn purge(state: &mut State, vmid: u32) {
    state.replication_jobs.retain(|id, _| guest_of(id) != Some(vmid));
    let gone = vmid.to_string();
    state.backup_jobs.retain(|_, keys| {
        let Some(text) = keys.get("vmid").and_then(Value::as_str) else { return true };
        let left: Vec<&str> = split_list(text).into_iter().filter(|one| *one != gone).collect();
        let left = left.join(",");
        let keeps = !left.is_empty();
        keys.insert("vmid".to_owned(), json!(left));
        keeps
    });
}
