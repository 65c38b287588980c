//! Who gives addresses and names to networks: IPAMs, DNS servers, and single addresses. They are in
//! force when they are saved.

use serde_json::{Map, Value, json};

use super::Row;
use super::sdn::check_lock;
use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::state::State;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/cluster/sdn/ipams", |call| list(call, IPAM)),
    ("POST", "/cluster/sdn/ipams", |call| create(call, IPAM)),
    ("GET", "/cluster/sdn/ipams/{ipam}", |call| read(call, IPAM)),
    ("PUT", "/cluster/sdn/ipams/{ipam}", |call| update(call, IPAM)),
    ("DELETE", "/cluster/sdn/ipams/{ipam}", |call| delete(call, IPAM)),
    ("GET", "/cluster/sdn/ipams/{ipam}/status", status),
    ("GET", "/cluster/sdn/dns", |call| list(call, DNS)),
    ("POST", "/cluster/sdn/dns", |call| create(call, DNS)),
    ("GET", "/cluster/sdn/dns/{dns}", |call| read(call, DNS)),
    ("PUT", "/cluster/sdn/dns/{dns}", |call| update(call, DNS)),
    ("DELETE", "/cluster/sdn/dns/{dns}", |call| delete(call, DNS)),
    ("POST", "/cluster/sdn/vnets/{vnet}/ips", |call| address(call, true)),
    ("PUT", "/cluster/sdn/vnets/{vnet}/ips", |call| address(call, true)),
    ("DELETE", "/cluster/sdn/vnets/{vnet}/ips", |call| address(call, false)),
];

/// The word in paths, keys and texts.
const IPAM: &str = "ipam";
const DNS: &str = "dns";
/// The IPAM that is there without being made.
const OWN: &str = "pve";

fn rows<'a>(
    state: &'a State,
    word: &str,
) -> impl Iterator<Item = (&'a String, &'a Map<String, Value>)> {
    state.sdn.services.get(word).into_iter().flatten()
}

fn digest_of(state: &State, word: &str) -> String {
    let all: Vec<_> = rows(state, word).collect();
    digest::sha1(serde_json::to_string(&all).unwrap_or_default().as_bytes())
}

fn row(state: &State, word: &str, id: &str, keys: &Map<String, Value>) -> Value {
    let mut map = keys.clone();
    map.insert(word.to_owned(), json!(id));
    map.insert("digest".to_owned(), json!(digest_of(state, word)));
    Value::Object(map)
}

fn list(call: &mut Call<'_>, word: &str) -> Result<Value, Fail> {
    let kind = call.get("type").map(str::to_owned);
    let mut all = Vec::new();
    if word == IPAM && kind.as_deref().is_none_or(|kind| kind == OWN) {
        all.push(json!({"ipam": OWN, "type": OWN, "digest": null}));
    }
    for (id, keys) in rows(call.state, word) {
        let path = format!("/sdn/{}/{id}", folder(word));
        let seen = call.may(&path, "SDN.Audit") || call.may(&path, "SDN.Allocate");
        let wanted = kind.as_ref().is_none_or(|kind| keys.get("type") == Some(&json!(kind)));
        if seen && wanted {
            all.push(row(call.state, word, id, keys));
        }
    }
    Ok(Value::Array(all))
}

fn folder(word: &str) -> &'static str {
    if word == IPAM { "ipams" } else { DNS }
}

fn absent(id: &str) -> Fail {
    Fail::die(format!("sdn '{id}' does not exist"))
}

fn read(call: &mut Call<'_>, word: &str) -> Result<Value, Fail> {
    let id = call.text(word);
    if word == IPAM && id == OWN {
        return Ok(json!({"ipam": OWN, "type": OWN}));
    }
    let found = call.state.sdn.services.get(word).and_then(|rows| rows.get(&id));
    found.map(|keys| row(call.state, word, &id, keys)).ok_or_else(|| absent(&id))
}

fn keys(call: &Call<'_>, word: &str) -> Map<String, Value> {
    let control = |key: &str| key == word || matches!(key, "digest" | "delete" | "lock-token");
    let texts = call.params.iter().filter(|(key, _)| !control(key.as_str()));
    let number = |key: &str| matches!(key, "section" | "ttl" | "reversemaskv6" | "reversev6mask");
    texts
        .filter_map(|(key, value)| {
            let text = value.as_text()?;
            let value = text.parse::<i64>().ok().filter(|_| number(key));
            Some((key.clone(), value.map_or_else(|| json!(text), |number| json!(number))))
        })
        .collect()
}

fn create(call: &mut Call<'_>, word: &str) -> Result<Value, Fail> {
    let (id, keys) = (call.text(word), keys(call, word));
    let wrap = |fail: Fail| fail.wrap(&format!("create sdn {word} object failed"));
    let required: &[&str] = match keys.get("type").and_then(Value::as_str) {
        Some("netbox") => &["url", "token"],
        Some("phpipam") => &["url", "token", "section"],
        Some("powerdns") => &["url", "key"],
        _ => &[],
    };
    if let Some(missing) = required.iter().find(|key| !keys.contains_key(**key)) {
        return Err(Fail::die(format!("missing value for required option '{missing}'")));
    }
    check_lock(call).map_err(wrap)?;
    let taken = rows(call.state, word).any(|(other, _)| *other == id) || word == IPAM && id == OWN;
    if taken {
        return Err(wrap(Fail::die(format!("sdn {word} object ID '{id}' already defined"))));
    }
    call.state.sdn.services.entry(word.to_owned()).or_default().insert(id, keys);
    Ok(Value::Null)
}

fn update(call: &mut Call<'_>, word: &str) -> Result<Value, Fail> {
    let (id, sent, removed) = (call.text(word), keys(call, word), call.list("delete"));
    let wrap = |fail: Fail| fail.wrap(&format!("update sdn {word} object failed"));
    check_lock(call).map_err(wrap)?;
    if call.get("digest").is_some_and(|digest| digest != digest_of(call.state, word)) {
        let text = "detected modified configuration - file changed by other user? Try again.";
        return Err(wrap(Fail::die(text)));
    }
    let found = call.state.sdn.services.get_mut(word).and_then(|rows| rows.get_mut(&id));
    let Some(keys) = found else { return Err(wrap(absent(&id))) };
    keys.extend(sent);
    keys.retain(|key, _| !removed.contains(key));
    Ok(Value::Null)
}

fn delete(call: &mut Call<'_>, word: &str) -> Result<Value, Fail> {
    let id = call.text(word);
    let wrap = |fail: Fail| fail.wrap(&format!("delete sdn {word} object failed"));
    check_lock(call).map_err(wrap)?;
    let rows = call.state.sdn.services.get_mut(word);
    if rows.and_then(|rows| rows.remove(&id)).is_none() {
        return Err(wrap(absent(&id)));
    }
    Ok(Value::Null)
}

/// Addresses that the IPAM of the cluster knows.
fn status(call: &mut Call<'_>) -> Result<Value, Fail> {
    if call.text(IPAM) != OWN {
        return Ok(json!([]));
    }
    let mut rows = Vec::new();
    for (key, mac) in &call.state.sdn.addresses {
        let parts: Vec<&str> = key.split(' ').collect();
        let [zone, vnet, ip] = parts.as_slice() else { continue };
        let path = format!("/sdn/zones/{zone}/{vnet}");
        if call.may(&path, "SDN.Audit") || call.may(&path, "SDN.Allocate") {
            rows.push(json!({"zone": zone, "vnet": vnet, "ip": ip, "mac": mac}));
        }
    }
    Ok(Value::Array(rows))
}

fn address(call: &mut Call<'_>, set: bool) -> Result<Value, Fail> {
    let (zone, vnet) = (call.text("zone"), call.text("vnet"));
    let keys = call.state.sdn.saved.get("vnets").and_then(|rows| rows.get(&vnet));
    if keys.and_then(|keys| keys.get("zone")) != Some(&json!(zone)) {
        return Err(absent(&vnet));
    }
    let key = format!("{zone} {vnet} {}", call.text("ip"));
    if set {
        let mac = call.text("mac");
        call.state.sdn.addresses.insert(key, mac);
    } else {
        call.state.sdn.addresses.remove(&key);
    }
    Ok(Value::Null)
}
