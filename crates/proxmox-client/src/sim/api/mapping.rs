//! Mappings of PCI and USB devices, and PCI devices of nodes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Row;
use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::schema::Input;
use crate::sim::state::{Mapping, State};

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/cluster/mapping/pci", |call| list(call, Class::Pci)),
    ("POST", "/cluster/mapping/pci", |call| create(call, Class::Pci)),
    ("GET", "/cluster/mapping/pci/{id}", |call| read(call, Class::Pci)),
    ("PUT", "/cluster/mapping/pci/{id}", |call| update(call, Class::Pci)),
    ("DELETE", "/cluster/mapping/pci/{id}", |call| delete(call, Class::Pci)),
    ("GET", "/cluster/mapping/usb", |call| list(call, Class::Usb)),
    ("POST", "/cluster/mapping/usb", |call| create(call, Class::Usb)),
    ("GET", "/cluster/mapping/usb/{id}", |call| read(call, Class::Usb)),
    ("PUT", "/cluster/mapping/usb/{id}", |call| update(call, Class::Usb)),
    ("DELETE", "/cluster/mapping/usb/{id}", |call| delete(call, Class::Usb)),
    ("GET", "/nodes/{node}/hardware/pci", devices),
];

/// What is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Pci,
    Usb,
}

impl Class {
    /// The word in paths and texts.
    fn word(self) -> &'static str {
        match self {
            Self::Pci => "pci",
            Self::Usb => "usb",
        }
    }

    fn table(self, state: &State) -> &BTreeMap<String, Mapping> {
        match self {
            Self::Pci => &state.mappings,
            Self::Usb => &state.usb_mappings,
        }
    }

    fn table_mut(self, state: &mut State) -> &mut BTreeMap<String, Mapping> {
        match self {
            Self::Pci => &mut state.mappings,
            Self::Usb => &mut state.usb_mappings,
        }
    }
}

fn digest_of(state: &State, class: Class) -> String {
    digest::sha1(serde_json::to_string(class.table(state)).unwrap_or_default().as_bytes())
}

fn row(state: &State, class: Class, id: &str, mapping: &Mapping) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("id".to_owned(), json!(id));
    map.insert("type".to_owned(), json!(class.word()));
    map.insert("map".to_owned(), json!(mapping.map));
    for (key, value) in &mapping.fields {
        let flag = matches!(key.as_str(), "mdev" | "live-migration-capable");
        map.insert(key.clone(), if flag { json!(u8::from(value == "1")) } else { json!(value) });
    }
    map.insert("digest".to_owned(), json!(digest_of(state, class)));
    map
}

fn visible(call: &Call<'_>, class: Class, id: &str) -> bool {
    let path = format!("/mapping/{}/{id}", class.word());
    ["Mapping.Use", "Mapping.Modify", "Mapping.Audit"]
        .iter()
        .any(|privilege| call.may(&path, privilege))
}

fn checks(call: &Call<'_>, class: Class, node: &str, mapping: &Mapping) -> Value {
    let mut found = Vec::new();
    let mut here = false;
    for entry in &mapping.map {
        let keys: BTreeMap<&str, &str> =
            entry.split(',').filter_map(|part| part.split_once('=')).collect();
        if keys.get("node").copied() != Some(node) {
            continue;
        }
        here = true;
        if class == Class::Usb {
            continue;
        }
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

fn list(call: &mut Call<'_>, class: Class) -> Result<Value, Fail> {
    let node = call.get("check-node").map(str::to_owned);
    let mut rows = Vec::new();
    for (id, mapping) in class.table(call.state).iter().filter(|(id, _)| visible(call, class, id)) {
        let mut map = row(call.state, class, id, mapping);
        if let Some(node) = &node {
            let key = if class == Class::Usb { "errors" } else { "checks" };
            map.insert(key.to_owned(), checks(call, class, node, mapping));
        }
        rows.push(Value::Object(map));
    }
    Ok(Value::Array(rows))
}

fn read(call: &mut Call<'_>, class: Class) -> Result<Value, Fail> {
    let id = call.text("id");
    let mapping = class
        .table(call.state)
        .get(&id)
        .ok_or_else(|| Fail::die(format!("mapping '{id}' not found")))?;
    let mut map = row(call.state, class, &id, mapping);
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

fn create(call: &mut Call<'_>, class: Class) -> Result<Value, Fail> {
    let id = call.text("id");
    if class.table(call.state).contains_key(&id) {
        let word = class.word();
        let text = format!("create {word} mapping failed: {word} ID '{id}' already defined");
        return Err(Fail::die(text));
    }
    let mapping = Mapping { map: map(call), fields: fields(call) };
    class.table_mut(call.state).insert(id, mapping);
    Ok(Value::Null)
}

fn update(call: &mut Call<'_>, class: Class) -> Result<Value, Fail> {
    let id = call.text("id");
    let word = class.word();
    let fail = |text: String| Fail::die(format!("update {word} mapping failed: {text}"));
    if !class.table(call.state).contains_key(&id) {
        return Err(fail(format!("{word} ID '{id}' does not exist")));
    }
    if call.get("digest").is_some_and(|digest| digest != digest_of(call.state, class)) {
        return Err(fail(
            "detected modified configuration - file changed by other user? Try again.".to_owned(),
        ));
    }
    let (rows, fields, removed) = (map(call), fields(call), call.list("delete"));
    if rows.is_empty() {
        return Err(Fail::die("missing value for required option 'map'"));
    }
    if let Some(mapping) = class.table_mut(call.state).get_mut(&id) {
        mapping.map = rows;
        mapping.fields.extend(fields);
        for key in removed {
            mapping.fields.remove(&key);
        }
    }
    Ok(Value::Null)
}

fn delete(call: &mut Call<'_>, class: Class) -> Result<Value, Fail> {
    let id = call.text("id");
    class.table_mut(call.state).remove(&id);
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
