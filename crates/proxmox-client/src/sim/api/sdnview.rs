//! The three views of SDN objects: saved, running, and what differs.

use serde_json::{Map, Value, json};

use crate::sim::digest;
use crate::sim::state::{Layer, State};

/// A kind of SDN object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Zone,
    Vnet,
    Subnet,
    Controller,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Zone, Self::Vnet, Self::Subnet, Self::Controller];

    pub(super) fn layer(self) -> &'static str {
        match self {
            Self::Zone => "zones",
            Self::Vnet => "vnets",
            Self::Subnet => "subnets",
            Self::Controller => "controllers",
        }
    }

    /// The word in texts, which is also the parameter of the id.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Vnet => "vnet",
            Self::Subnet => "subnet",
            Self::Controller => "controller",
        }
    }

    /// The text for an object that is not there.
    pub(super) fn absent(self, id: &str) -> String {
        match self {
            Self::Zone | Self::Controller => format!("sdn '{id}' does not exist"),
            Self::Vnet => format!("sdn vnet '{id}' does not exist"),
            Self::Subnet => format!("sdn subnet '{id}' does not exist"),
        }
    }
}

pub(super) fn get<'a>(layer: &'a Layer, kind: Kind, id: &str) -> Option<&'a Map<String, Value>> {
    layer.get(kind.layer())?.get(id)
}

/// Digest of the file of a kind.
pub(super) fn digest_of(state: &State, kind: Kind) -> String {
    let rows = state.sdn.saved.get(kind.layer());
    digest::sha1(serde_json::to_string(&rows).unwrap_or_default().as_bytes())
}

/// Zone, address and length of a subnet's id.
fn split_id(id: &str) -> (&str, &str, &str) {
    let (rest, mask) = id.rsplit_once('-').unwrap_or((id, ""));
    let (zone, network) = rest.split_once('-').unwrap_or(("", rest));
    (zone, network, mask)
}

fn ranges(value: Option<&Value>) -> Value {
    let rows = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let parsed = rows.iter().filter_map(Value::as_str).map(|text| {
        let map: Map<String, Value> = text
            .split(',')
            .filter_map(|part| part.split_once('='))
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .collect();
        Value::Object(map)
    });
    parsed.collect()
}

fn base(kind: Kind, id: &str, keys: &Map<String, Value>) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert(kind.word().to_owned(), json!(id));
    if kind == Kind::Subnet {
        let (zone, network, mask) = split_id(id);
        map.insert("id".to_owned(), json!(id));
        map.insert("cidr".to_owned(), json!(format!("{network}/{mask}")));
        map.insert("network".to_owned(), json!(network));
        map.insert("mask".to_owned(), json!(mask));
        map.insert("zone".to_owned(), json!(zone));
        map.insert("vnet".to_owned(), keys.get("vnet").cloned().unwrap_or(Value::Null));
    }
    map.insert("type".to_owned(), keys.get("type").cloned().unwrap_or(Value::Null));
    map
}

fn full(kind: Kind, id: &str, keys: &Map<String, Value>) -> Map<String, Value> {
    let mut map = base(kind, id, keys);
    for (key, value) in keys {
        map.insert(key.clone(), value.clone());
    }
    if kind == Kind::Subnet {
        map.insert("dhcp-range".to_owned(), ranges(keys.get("dhcp-range")));
    }
    map
}

/// The saved view of one object.
pub(super) fn saved(state: &State, kind: Kind, id: &str) -> Option<Value> {
    let mut map = full(kind, id, get(&state.sdn.saved, kind, id)?);
    map.insert("digest".to_owned(), json!(digest_of(state, kind)));
    Some(Value::Object(map))
}

/// The running view of one object.
pub(super) fn running(state: &State, kind: Kind, id: &str) -> Option<Value> {
    let mut map = full(kind, id, get(&state.sdn.running, kind, id)?);
    map.insert("digest".to_owned(), Value::Null);
    Some(Value::Object(map))
}

fn fixed(kind: Kind, key: &str) -> bool {
    key == "type" || kind == Kind::Subnet && key == "vnet"
}

/// The view of differences of one object.
pub(super) fn pending(state: &State, kind: Kind, id: &str) -> Option<Value> {
    let (new, old) = (get(&state.sdn.saved, kind, id), get(&state.sdn.running, kind, id));
    let mut map = match (old, new) {
        (Some(old), _) => full(kind, id, old),
        (None, Some(new)) => {
            let mut map = base(kind, id, new);
            if kind == Kind::Subnet {
                map.insert("dhcp-range".to_owned(), json!([]));
            }
            map
        }
        (None, None) => return None,
    };
    map.insert("digest".to_owned(), Value::Null);
    let empty = Map::new();
    let mut changes = Map::new();
    let before = old.unwrap_or(&empty);
    if let Some(new) = new {
        for (key, value) in
            new.iter().filter(|(key, value)| !fixed(kind, key) && before.get(*key) != Some(value))
        {
            changes.insert(key.clone(), value.clone());
        }
        for key in before.keys().filter(|key| !new.contains_key(*key)) {
            changes.insert(key.clone(), json!("deleted"));
        }
    }
    let state = match (old, new) {
        (None, _) => "new",
        (Some(_), None) => "deleted",
        (Some(_), Some(_)) if changes.is_empty() => return Some(Value::Object(map)),
        _ => "changed",
    };
    map.insert("state".to_owned(), json!(state));
    map.insert("pending".to_owned(), Value::Object(changes));
    Some(Value::Object(map))
}

/// Whether anything is saved that does not run.
pub(super) fn has_pending(state: &State) -> bool {
    let others = [
        super::fabricrules::FABRICS,
        super::fabricrules::NODES,
        super::routing::LISTS,
        super::routing::MAPS,
    ];
    Kind::ALL.iter().map(|kind| kind.layer()).chain(others).any(|kind| {
        let rows = |layer: &Layer| layer.get(kind).cloned().unwrap_or_default();
        rows(&state.sdn.saved) != rows(&state.sdn.running)
    })
}
