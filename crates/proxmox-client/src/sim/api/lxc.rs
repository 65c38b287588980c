//! Containers that others made: they take numbers and stand on networks. None can be made here.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Row;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::state::Container;

pub(super) const ROUTES: &[Row] =
    &[("GET", "/nodes/{node}/lxc", list), ("GET", "/nodes/{node}/lxc/{vmid}/pending", pending)];

fn name(vmid: u32, container: &Container) -> String {
    let named = container.conf.get("hostname").cloned();
    named.unwrap_or_else(|| format!("CT{vmid}"))
}

fn list(call: &mut Call<'_>) -> Result<Value, Fail> {
    let all = call.may("/vms", "VM.Audit");
    let here = call.state.containers.iter().filter(|(_, one)| one.node == call.node);
    let seen = here.filter(|(vmid, _)| all || call.may(&format!("/vms/{vmid}"), "VM.Audit"));
    let row = |(vmid, one): (&u32, &Container)| {
        json!({
            "vmid": vmid, "type": "lxc", "name": name(*vmid, one), "status": "stopped",
            "cpus": 1, "maxmem": 512 << 20, "mem": 0, "maxswap": 0, "swap": 0, "maxdisk": 0,
            "disk": 0, "uptime": 0, "cpu": 0, "netin": 0, "netout": 0, "diskread": 0,
            "diskwrite": 0,
        })
    };
    Ok(seen.map(row).collect())
}

fn pending(call: &mut Call<'_>) -> Result<Value, Fail> {
    let vmid = call.vmid();
    let found = call.state.containers.get(&vmid).filter(|one| one.node == call.node);
    let Some(container) = found else {
        let node = &call.node;
        let text = format!("Configuration file 'nodes/{node}/lxc/{vmid}.conf' does not exist");
        return Err(Fail::die(text));
    };
    let keys: BTreeSet<&String> = container.conf.keys().chain(container.pending.keys()).collect();
    let rows = keys.into_iter().map(|key| {
        let mut row = Map::from_iter([("key".to_owned(), json!(key))]);
        for (name, from) in [("value", &container.conf), ("pending", &container.pending)] {
            if let Some(value) = from.get(key) {
                row.insert(name.to_owned(), json!(value));
            }
        }
        Value::Object(row)
    });
    Ok(rows.collect())
}

/// The row of a container in the list of resources.
pub(super) fn resource(call: &Call<'_>, vmid: u32, container: &Container) -> Value {
    let online = call.state.nodes.get(&container.node).is_some_and(|node| node.online);
    json!({
        "id": format!("lxc/{vmid}"), "type": "lxc", "vmid": vmid, "node": container.node,
        "name": name(vmid, container), "status": if online { "stopped" } else { "unknown" },
        "template": 0, "maxcpu": 1, "maxmem": 512 << 20, "maxdisk": 0, "uptime": 0, "cpu": 0,
        "mem": 0, "disk": 0, "netin": 0, "netout": 0, "diskread": 0, "diskwrite": 0,
    })
}
