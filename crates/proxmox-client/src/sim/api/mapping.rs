//! PCI mappings and PCI devices of nodes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Row;
use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::schema::Input;
use crate::sim::state::{Mapping, State};

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/cluster/mapping/pci", list),
    ("POST", "/cluster/mapping/pci", create),
    ("GET", "/cluster/mapping/pci/{id}", read),
    ("PUT", "/cluster/mapping/pci/{id}", update),
    ("DELETE", "/cluster/mapping/pci/{id}", delete),
    ("GET", "/nodes/{node}/hardware/pci", devices),
];

fn digest_of(state: &State) -> String {
    digest::sha1(serde_json::to_string(&state.mappings).unwrap_or_default().as_bytes())
}

fn row(state: &State, id: &str, mapping: &Mapping, with_id: bool) -> Map<String, Value> {
    let mut map = Map::new();
    if with_id {
        map.insert("id".to_owned(), json!(id));
        map.insert("type".to_owned(), json!("pci"));
    }
    map.insert("map".to_owned(), json!(mapping.map));
    for (key, value) in &mapping.fields {
        let flag = matches!(key.as_str(), "mdev" | "live-migration-capable");
        map.insert(key.clone(), if flag { json!(u8::from(value == "1")) } else { json!(value) });
    }
    map.insert("digest".to_owned(), json!(digest_of(state)));
    map
}

fn visible(call: &Call<'_>, id: &str) -> bool {
    let path = format!("/mapping/pci/{id}");
    ["Mapping.Use", "Mapping.Modify", "Mapping.Audit"]
        .iter()
        .any(|privilege| call.may(&path, privilege))
}

fn checks(call: &Call<'_>, node: &str, mapping: &Mapping) -> Value {
    let mut found = Vec::new();
    let mut here = false;
    for entry in &mapping.map {
        let keys: BTreeMap<&str, &str> =
            entry.split(',').filter_map(|part| part.split_once('=')).collect();
        if keys.get("node").copied() != Some(node) {
            continue;
        }
        here = true;
        let path = keys.get("path").copied().unwrap_or_default();
        let device = call
            .state
            .nodes
            .get(node)
            .and_then(|node| node.pci.iter().find(|device| device.id.starts_with(path)));
        let Some(device) = device else {
            found.push(
                json!({"severity": "error", "message": format!("pci device '{path}' not found")}),
            );
            continue;
        };
        let actual = format!(
            "{}:{}",
            device.vendor.trim_start_matches("0x"),
            device.device.trim_start_matches("0x")
        );
        if keys.get("id").copied() != Some(actual.as_str()) {
            let text = format!(
                "PCI device mapping invalid (hardware probably changed): 'id' does not match for '{path}' ({} != {actual})",
                keys.get("id").copied().unwrap_or_default()
            );
            found.push(json!({"severity": "error", "message": text}));
        }
    }
    if !here {
        found.push(
            json!({"severity": "warning", "message": format!("No mapping for node {node}.")}),
        );
    }
    Value::Array(found)
}

fn list(call: &mut Call<'_>) -> Result<Value, Fail> {
    let node = call.get("check-node").map(str::to_owned);
    let mut rows = Vec::new();
    for (id, mapping) in call.state.mappings.iter().filter(|(id, _)| visible(call, id)) {
        let mut map = row(call.state, id, mapping, true);
        if let Some(node) = &node {
            map.insert("checks".to_owned(), checks(call, node, mapping));
        }
        rows.push(Value::Object(map));
    }
    Ok(Value::Array(rows))
}

fn read(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("id");
    let mapping = call
        .state
        .mappings
        .get(&id)
        .ok_or_else(|| Fail::die(format!("mapping '{id}' not found")))?;
    let mut map = row(call.state, &id, mapping, true);
    map.remove("type");
    Ok(Value::Object(map))
}

fn fields(call: &Call<'_>) -> BTreeMap<String, String> {
    let keys = ["description", "mdev", "live-migration-capable"];
    keys.iter().filter_map(|key| Some(((*key).to_owned(), call.get(key)?.to_owned()))).collect()
}

fn map(call: &Call<'_>) -> Vec<String> {
    match call.params.get("map") {
        Some(Input::List(rows)) => rows.clone(),
        _ => Vec::new(),
    }
}

fn create(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("id");
    if call.state.mappings.contains_key(&id) {
        return Err(Fail::die(format!("create pci mapping failed: pci ID '{id}' already defined")));
    }
    let mapping = Mapping { map: map(call), fields: fields(call) };
    call.state.mappings.insert(id, mapping);
    Ok(Value::Null)
}

fn update(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("id");
    let fail = |text: String| Fail::die(format!("update pci mapping failed: {text}"));
    if !call.state.mappings.contains_key(&id) {
        return Err(fail(format!("pci ID '{id}' does not exist")));
    }
    if call.get("digest").is_some_and(|digest| digest != digest_of(call.state)) {
        return Err(fail(
            "detected modified configuration - file changed by other user? Try again.".to_owned(),
        ));
    }
    let (rows, fields, removed) = (map(call), fields(call), call.list("delete"));
    if rows.is_empty() {
        return Err(Fail::die("missing value for required option 'map'"));
    }
    if let Some(mapping) = call.state.mappings.get_mut(&id) {
        mapping.map = rows;
        mapping.fields.extend(fields);
        for key in removed {
            mapping.fields.remove(&key);
        }
    }
    Ok(Value::Null)
}

fn delete(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("id");
    call.state.mappings.remove(&id);
    Ok(Value::Null)
}

fn devices(call: &mut Call<'_>) -> Result<Value, Fail> {
    let hidden = match call.get("pci-class-blacklist") {
        Some(text) => crate::sim::schema::split_list(text).into_iter().map(str::to_owned).collect(),
        None => vec!["05".to_owned(), "06".to_owned(), "0b".to_owned()],
    };
    let devices =
        call.state.nodes.get(&call.node).map(|node| node.pci.as_slice()).unwrap_or_default();
    let shown = devices.iter().filter(|device| {
        !hidden.iter().any(|class| {
            device.class.trim_start_matches("0x").starts_with(class.trim_start_matches("0x"))
        })
    });
    Ok(shown.map(|device| json!(device)).collect())
}
