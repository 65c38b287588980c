//! Listings: what a rule can refer to, macros, log and indexes.

use serde_json::{Value, json};

use super::super::Row;
use super::sdn_sets;
use crate::sim::fail::Fail;
use crate::sim::firewall::{Conf, Place, macros};
use crate::sim::reply::Call;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/cluster/firewall", |_| {
        Ok(index(&["aliases", "rules", "options", "groups", "ipset", "macros", "refs"]))
    }),
    ("GET", "/nodes/{node}/firewall", |_| Ok(index(&["rules", "options", "log"]))),
    ("GET", "/nodes/{node}/qemu/{vmid}/firewall", |_| {
        Ok(index(&["rules", "aliases", "ipset", "refs", "options"]))
    }),
    ("GET", "/cluster/sdn/vnets/{vnet}/firewall", |_| Ok(index(&["rules", "options"]))),
    ("GET", "/cluster/firewall/macros", list_macros),
    ("GET", "/cluster/firewall/refs", of_cluster),
    ("GET", "/nodes/{node}/qemu/{vmid}/firewall/refs", of_vm),
    ("GET", "/nodes/{node}/firewall/log", log),
    ("GET", "/nodes/{node}/qemu/{vmid}/firewall/log", log),
];

fn index(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name})).collect()
}

fn list_macros(_: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(macros::all().map(|(name, text)| json!({"macro": name, "descr": text})).collect())
}

fn reference(kind: &str, name: &str, scope: &str, comment: Option<&String>) -> Value {
    let sign = if kind == "ipset" { "+" } else { "" };
    let mut row =
        json!({"type": kind, "name": name, "ref": format!("{sign}{name}"), "scope": scope});
    if let (Some(text), Some(map)) = (comment, row.as_object_mut()) {
        map.insert("comment".to_owned(), json!(text));
    }
    row
}

fn wants(call: &Call<'_>, kind: &str) -> bool {
    call.get("type").is_none_or(|wanted| wanted == kind)
}

fn names(call: &Call<'_>, conf: &Conf, scope: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    if wants(call, "ipset") {
        let sets = conf.ipsets.iter();
        rows.extend(sets.map(|(name, set)| reference("ipset", name, scope, set.comment.as_ref())));
    }
    if wants(call, "alias") {
        let all = conf.aliases.iter();
        rows.extend(all.map(|(name, one)| reference("alias", name, scope, one.comment.as_ref())));
    }
    rows
}

fn of_sdn(call: &Call<'_>) -> Vec<Value> {
    if !wants(call, "ipset") {
        return Vec::new();
    }
    sdn_sets(call).iter().map(|name| reference("ipset", name, "sdn", None)).collect()
}

fn of_cluster(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut rows = of_sdn(call);
    rows.extend(names(call, &call.state.firewall.cluster, "dc"));
    Ok(Value::Array(rows))
}

fn of_vm(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut rows = names(call, &call.state.firewall.cluster, "dc");
    rows.extend(of_sdn(call));
    let own = super::conf(call.state, &Place::Vm(call.vmid()));
    rows.extend(names(call, own, "guest"));
    Ok(Value::Array(rows))
}

/// No packet is filtered, so that there is no log file.
fn log(call: &mut Call<'_>) -> Result<Value, Fail> {
    if call.get("since").is_some() || call.get("until").is_some() {
        call.envelope.push(("total", json!(0)));
        return Ok(json!([]));
    }
    call.envelope.push(("total", json!(1)));
    Ok(json!([{"n": 1, "t": "unable to open file - No such file or directory"}]))
}
