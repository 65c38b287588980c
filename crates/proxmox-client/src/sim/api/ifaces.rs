//! The network of a node: what is saved, what is applied, and the reload between the two.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Row;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::state::{Iface, Node, State};
use crate::sim::task::once;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/nodes/{node}/network", list),
    ("POST", "/nodes/{node}/network", create),
    ("PUT", "/nodes/{node}/network", apply),
    ("DELETE", "/nodes/{node}/network", revert),
    ("GET", "/nodes/{node}/network/{iface}", read),
    ("PUT", "/nodes/{node}/network/{iface}", update),
    ("DELETE", "/nodes/{node}/network/{iface}", delete),
];

type Table = BTreeMap<String, Iface>;

/// What the configuration of the simulator gives a node: a bridge over a card each.
fn given(node: &Node) -> Table {
    let mut table = Table::new();
    for (index, (name, mtu)) in node.bridges.iter().enumerate() {
        let card = format!("eno{}", index + 1);
        let mut keys = BTreeMap::from([
            ("type".to_owned(), "bridge".to_owned()),
            ("autostart".to_owned(), "1".to_owned()),
            ("bridge_ports".to_owned(), card.clone()),
        ]);
        if index == 0 {
            keys.insert("cidr".to_owned(), format!("10.99.0.{}/24", node.number));
            keys.insert("gateway".to_owned(), "10.99.0.254".to_owned());
        }
        if *mtu != 1500 {
            keys.insert("mtu".to_owned(), mtu.to_string());
        }
        table.insert(name.clone(), keys);
        table.insert(card, BTreeMap::from([("type".to_owned(), "eth".to_owned())]));
    }
    table
}

/// What is applied.
fn applied(node: &Node) -> Table {
    node.ifaces.clone().unwrap_or_else(|| given(node))
}

/// What is saved, applied or not.
fn saved(node: &Node) -> Table {
    node.ifaces_new.clone().unwrap_or_else(|| applied(node))
}

fn own<'a>(call: &'a Call<'_>) -> Result<&'a Node, Fail> {
    call.state.nodes.get(&call.node).ok_or_else(|| Fail::die("no such node"))
}

fn number(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number))
}

fn row(name: &str, keys: &Iface, index: usize, active: bool) -> Value {
    let mut row: Map<String, Value> = keys
        .iter()
        .map(|(key, text)| {
            // an MTU is read back as it was written
            let value = if key == "mtu" { json!(text) } else { number(text) };
            (key.clone(), value)
        })
        .collect();
    row.insert("iface".to_owned(), json!(name));
    let addressed = |key: &str| if keys.contains_key(key) { "static" } else { "manual" };
    row.entry("method").or_insert_with(|| json!(addressed("cidr")));
    row.entry("method6").or_insert_with(|| json!(addressed("cidr6")));
    row.insert("priority".to_owned(), json!(index + 3));
    for (cidr, address, mask) in [("cidr", "address", "netmask"), ("cidr6", "address6", "netmask6")]
    {
        if let Some((ip, length)) = keys.get(cidr).and_then(|cidr| cidr.split_once('/')) {
            row.insert(address.to_owned(), json!(ip));
            row.insert(mask.to_owned(), json!(length));
        }
    }
    let families =
        if keys.contains_key("cidr6") { json!(["inet", "inet6"]) } else { json!(["inet"]) };
    row.insert("families".to_owned(), families);
    match keys.get("type").map(String::as_str) {
        Some("bridge") => {
            row.entry("bridge_stp").or_insert_with(|| json!("off"));
            row.entry("bridge_fd").or_insert_with(|| json!("0"));
        }
        Some("eth") => drop(row.insert("exists".to_owned(), json!(1))),
        _ => {}
    }
    if active {
        row.insert("active".to_owned(), json!(1));
    }
    Value::Object(row)
}

fn rows(node: &Node) -> Vec<Value> {
    let active = applied(node);
    let one = |(index, (name, keys)): (usize, (&String, &Iface))| {
        row(name, keys, index, active.contains_key(name))
    };
    saved(node).iter().enumerate().map(one).collect()
}

/// The differences of what is saved from what is applied.
fn changes(node: &Node) -> Option<String> {
    let new = node.ifaces_new.as_ref()?;
    let old = applied(node);
    let stanza = |name: &str, keys: &Iface, sign: char| {
        let method = if keys.contains_key("cidr") { "static" } else { "manual" };
        let mut lines = vec![format!("{sign}iface {name} inet {method}")];
        lines.extend(
            keys.iter().filter(|(key, _)| *key != "type").map(|(k, v)| format!("{sign}\t{k} {v}")),
        );
        lines.join("\n") + "\n"
    };
    let mut text = String::from("--- /etc/network/interfaces\n+++ /etc/network/interfaces.new\n");
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (before, after) = (old.get(name), new.get(name));
        if before != after {
            text.extend(before.map(|keys| stanza(name, keys, '-')));
            text.extend(after.map(|keys| stanza(name, keys, '+')));
        }
    }
    Some(text)
}

fn list(call: &mut Call<'_>) -> Result<Value, Fail> {
    let wanted = call.get("type").map(str::to_owned);
    let sdn = wanted.as_deref() == Some("include_sdn") || wanted.as_deref() == Some("any_bridge");
    let node = own(call)?;
    let mut all = rows(node);
    all.retain(|row| match wanted.as_deref() {
        None | Some("include_sdn") => true,
        Some("any_bridge" | "any_local_bridge") => row.get("type") == Some(&json!("bridge")),
        Some(kind) => row.get("type") == Some(&json!(kind)),
    });
    if sdn {
        let vnet = |name: &String| json!({"iface": name, "type": "vnet", "active": 1});
        all.extend(node.vnets.keys().map(vnet));
    }
    if let Some(text) = changes(node) {
        call.envelope.push(("changes", json!(text)));
    }
    Ok(Value::Array(all))
}

fn absent() -> Fail {
    Fail::param("iface", "interface does not exist")
}

fn read(call: &mut Call<'_>) -> Result<Value, Fail> {
    let name = json!(call.text("iface"));
    let found = rows(own(call)?).into_iter().find(|row| row.get("iface") == Some(&name));
    let mut row = found.ok_or_else(absent)?;
    if let Some(map) = row.as_object_mut() {
        map.remove("iface");
    }
    Ok(row)
}

/// The keys of a call; an address with its mask is a network.
fn sent(call: &Call<'_>) -> Iface {
    let control = |key: &str| matches!(key, "node" | "iface" | "delete");
    let mut keys: Iface = call
        .params
        .iter()
        .filter(|(key, _)| !control(key))
        .filter_map(|(key, value)| Some((key.clone(), value.as_text()?.to_owned())))
        .collect();
    for (cidr, address, mask) in [("cidr", "address", "netmask"), ("cidr6", "address6", "netmask6")]
    {
        if let (Some(ip), Some(length)) = (keys.remove(address), keys.remove(mask)) {
            keys.entry(cidr.to_owned()).or_insert_with(|| format!("{ip}/{length}"));
        }
    }
    keys
}

/// Only one interface leads out.
fn one_gateway(table: &Table, name: &str, keys: &Iface) -> Result<(), Fail> {
    for key in ["gateway", "gateway6"] {
        let other = table.iter().find(|(other, old)| *other != name && old.contains_key(key));
        if let (true, Some((other, _))) = (keys.contains_key(key), other) {
            let text = format!("Default gateway already exists on interface '{other}'.");
            return Err(Fail::param(key, text));
        }
    }
    Ok(())
}

fn save(call: &mut Call<'_>, table: Table) -> Result<Value, Fail> {
    if let Some(node) = call.state.nodes.get_mut(&call.node) {
        node.ifaces_new = (table != applied(node)).then_some(table);
    }
    Ok(Value::Null)
}

fn create(call: &mut Call<'_>) -> Result<Value, Fail> {
    let name = call.text("iface");
    let mut table = saved(own(call)?);
    if table.contains_key(&name) {
        return Err(Fail::param("iface", "interface already exists"));
    }
    let keys = sent(call);
    one_gateway(&table, &name, &keys)?;
    table.insert(name, keys);
    save(call, table)
}

fn update(call: &mut Call<'_>) -> Result<Value, Fail> {
    let name = call.text("iface");
    let mut table = saved(own(call)?);
    let old = table.get(&name).ok_or_else(absent)?.clone();
    let new = sent(call);
    one_gateway(&table, &name, &new)?;
    let mut keys = old;
    // without its address in the call the interface is not configured any more, although the
    // address is still shown
    for (cidr, method) in [("cidr", "method"), ("cidr6", "method6")] {
        if new.contains_key(cidr) {
            keys.remove(method);
        } else {
            keys.insert(method.to_owned(), "manual".to_owned());
        }
    }
    keys.extend(new);
    for key in call.list("delete") {
        keys.remove(&key);
    }
    table.insert(name, keys);
    save(call, table)
}

fn delete(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut table = saved(own(call)?);
    table.remove(&call.text("iface")).ok_or_else(absent)?;
    save(call, table)
}

fn revert(call: &mut Call<'_>) -> Result<Value, Fail> {
    if let Some(node) = call.state.nodes.get_mut(&call.node) {
        node.ifaces_new = None;
    }
    Ok(Value::Null)
}

/// Puts what is saved into force: every reload of a node's network does.
pub(super) fn activate(node: &mut Node) {
    let Some(table) = node.ifaces_new.take() else { return };
    let bridges = table.iter().filter(|(_, keys)| {
        matches!(keys.get("type").map(String::as_str), Some("bridge" | "OVSBridge"))
    });
    let mtu = |keys: &Iface| keys.get("mtu").and_then(|mtu| mtu.parse().ok()).unwrap_or(1500);
    node.bridges = bridges.map(|(name, keys)| (name.clone(), mtu(keys))).collect();
    node.ifaces = Some(table);
}

fn apply(call: &mut Call<'_>) -> Result<Value, Fail> {
    let name = call.node.clone();
    let work = move |state: &mut State, _: &_, _| {
        let Some(node) = state.nodes.get_mut(&name) else { return Ok(()) };
        if !node.reload_works {
            return Err("command 'ifreload -a' failed: exit code 1".to_owned());
        }
        activate(node);
        Ok(())
    };
    Ok(call.start("srvreload", "networking", None, once(work)))
}
