//! What a real server answered is read by the types that the client has for it.

use std::collections::BTreeMap;
use std::path::Path;

use proxmox_client::{
    AclRow, ClusterRow, LogLine, NodeRow, PendingRow, Pool, ResourceRow, RoleRow, StorageStatus,
    TaskRow, TokenRow, UserRow, Version, VmRow, Volume, ZoneStatus,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Something that a matcher of a recording accepts.
fn sample(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sample).collect(),
        Value::Object(map) => match map.iter().next().filter(|(key, _)| key.starts_with('$')) {
            Some((key, inner)) => match key.as_str() {
                "$has" | "$contains" => sample(inner),
                "$int" => json!(7),
                _ => json!("x"),
            },
            None => {
                let fields: Map<String, Value> =
                    map.iter().map(|(key, value)| (key.clone(), sample(value))).collect();
                Value::Object(fields)
            }
        },
        other => other.clone(),
    }
}

fn read<T: DeserializeOwned>(data: Value) -> Result<(), String> {
    serde_json::from_value::<T>(data).map(drop).map_err(|error| error.to_string())
}

type Reader = fn(Value) -> Result<(), String>;

/// Paths, `*` for one part, and who reads their answers.
const READERS: &[(&str, Reader)] = &[
    ("/version", read::<Version>),
    ("/nodes", read::<Vec<NodeRow>>),
    ("/cluster/status", read::<Vec<ClusterRow>>),
    ("/cluster/resources", read::<Vec<ResourceRow>>),
    ("/nodes/*/tasks", read::<Vec<TaskRow>>),
    ("/nodes/*/tasks/*/log", read::<Vec<LogLine>>),
    ("/nodes/*/qemu", read::<Vec<VmRow>>),
    ("/nodes/*/qemu/*/status/current", read::<VmRow>),
    ("/nodes/*/qemu/*/pending", read::<Vec<PendingRow>>),
    ("/nodes/*/storage", read::<Vec<StorageStatus>>),
    ("/nodes/*/storage/*/status", read::<StorageStatus>),
    ("/nodes/*/storage/*/content", read::<Vec<Volume>>),
    ("/nodes/*/sdn/zones", read::<Vec<ZoneStatus>>),
    ("/pools", read::<Vec<Pool>>),
    ("/access/users", read::<Vec<UserRow>>),
    ("/access/users/*/token", read::<Vec<TokenRow>>),
    ("/access/roles", read::<Vec<RoleRow>>),
    ("/access/acl", read::<Vec<AclRow>>),
];

fn reader(path: &str) -> Option<(&'static str, Reader)> {
    let parts: Vec<&str> = path.split('/').collect();
    let found = READERS.iter().find(|(pattern, _)| {
        let wanted: Vec<&str> = pattern.split('/').collect();
        wanted.len() == parts.len()
            && wanted.iter().zip(&parts).all(|(wanted, part)| *wanted == "*" || wanted == part)
    });
    found.copied()
}

#[test]
fn answers_of_a_real_server_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pve/recordings");
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in fs_err::read_dir(folder).expect("recordings") {
        let path = entry.expect("an entry").path();
        let text = fs_err::read_to_string(&path).expect("a recording");
        let recording: Value = serde_json::from_str(&text).expect("JSON");
        let steps = recording.get("steps").and_then(Value::as_array).expect("steps");
        for step in steps {
            let is_read = step.get("method").is_some_and(|method| method == "GET");
            let path = step.get("path").and_then(Value::as_str).unwrap_or_default();
            let answer = step.pointer("/expect/body/data").filter(|data| !data.is_null());
            let well = step.pointer("/expect/status").is_some_and(|status| status == 200);
            let (Some((pattern, read)), Some(answer), true, true) =
                (reader(path), answer, is_read, well)
            else {
                continue;
            };
            let answer = sample(answer);
            if let Err(error) = read(answer.clone()) {
                // Some answers are only matched in part: what is not there is not looked for.
                let in_part = error.starts_with("missing field") || answer == "x";
                assert!(in_part, "{path}: {error}: {answer}");
                continue;
            }
            *seen.entry(pattern).or_default() += 1;
        }
    }
    let unread: Vec<&str> = READERS
        .iter()
        .map(|(pattern, _)| *pattern)
        .filter(|path| !seen.contains_key(path))
        .collect();
    assert!(unread.is_empty(), "nothing was read of {unread:?}; {seen:?}");
}
