//! Nodes: list, status, DNS, time, hosts, network.

use serde_json::{Map, Value, json};

use super::Row;
use super::indexes::packages;
use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::state::Node;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/nodes", list),
    ("GET", "/nodes/{node}/status", status),
    ("POST", "/nodes/{node}/status", command),
    ("GET", "/nodes/{node}/dns", dns),
    ("PUT", "/nodes/{node}/dns", set_dns),
    ("GET", "/nodes/{node}/time", time),
    ("PUT", "/nodes/{node}/time", set_time),
    ("GET", "/nodes/{node}/hosts", hosts),
    ("POST", "/nodes/{node}/hosts", set_hosts),
    ("GET", "/nodes/{node}/config", config),
    ("PUT", "/nodes/{node}/config", set_config),
    ("GET", "/nodes/{node}/certificates/info", certificates),
];

/// Counters of a node.
pub(super) fn numbers(call: &Call<'_>, name: &str) -> Map<String, Value> {
    let node = call.state.nodes.get(name);
    let uptime = node.map_or(0, |node| call.now().saturating_sub(node.started) + 3600);
    let values = json!({
        "cpu": 0.02, "maxcpu": 32, "mem": 8_u64 << 30, "maxmem": 256_u64 << 30, "disk": 8_u64 << 30,
        "maxdisk": 100_u64 << 30, "uptime": uptime,
    });
    values.as_object().cloned().unwrap_or_default()
}

fn list(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut rows = Vec::new();
    for (name, node) in &call.state.nodes {
        let mut row = Map::new();
        if node.online && call.may(&format!("/nodes/{name}"), "Sys.Audit") {
            row = numbers(call, name);
        }
        row.insert("type".to_owned(), json!("node"));
        row.insert("id".to_owned(), json!(format!("node/{name}")));
        row.insert("node".to_owned(), json!(name));
        row.insert("level".to_owned(), json!(""));
        row.insert("status".to_owned(), json!(if node.online { "online" } else { "offline" }));
        row.insert("ssl_fingerprint".to_owned(), json!(call.inner.fingerprint));
        rows.push(Value::Object(row));
    }
    Ok(Value::Array(rows))
}

fn status(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (version, _, id) = packages(call.inner.config.dialect);
    let counters = numbers(call, &call.node);
    let pick = |key: &str| counters.get(key).cloned().unwrap_or(Value::Null);
    Ok(json!({
        "pveversion": format!("pve-manager/{version}/{id}"), "boot-info": {"mode": "legacy-bios"},
        "uptime": pick("uptime"), "cpu": pick("cpu"), "wait": 0, "idle": 0,
        "cpuinfo": {"cpus": 32, "cores": 16, "sockets": 1, "model": "Simulated CPU", "mhz": "3000.000", "hvm": "1", "flags": "", "user_hz": 100},
        "memory": {"total": pick("maxmem"), "used": pick("mem"), "free": 248_u64 << 30, "available": 248_u64 << 30},
        "rootfs": {"total": pick("maxdisk"), "used": pick("disk"), "free": 92_u64 << 30, "avail": 92_u64 << 30},
        "swap": {"total": 0, "used": 0, "free": 0}, "loadavg": ["0.10", "0.10", "0.10"], "ksm": {"shared": 0},
        "kversion": "Linux 6.17.0-1-pve", "current-kernel": {"sysname": "Linux", "release": "6.17.0-1-pve", "machine": "x86_64", "version": "#1 SMP"},
    }))
}

fn command(_: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(Value::Null)
}

fn own<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Node, Fail> {
    let name = call.node.clone();
    call.state
        .nodes
        .get_mut(&name)
        .ok_or_else(|| Fail::die(format!("no such cluster node '{name}'")))
}

fn dns(call: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(json!(own(call)?.dns))
}

fn set_dns(call: &mut Call<'_>) -> Result<Value, Fail> {
    let keys = ["search", "dns1", "dns2", "dns3"];
    let new = keys
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), call.get(key)?.to_owned())))
        .collect();
    own(call)?.dns = new;
    Ok(Value::Null)
}

fn time(call: &mut Call<'_>) -> Result<Value, Fail> {
    let now = call.now();
    let zone = own(call)?.timezone.clone();
    Ok(json!({"time": now, "localtime": now, "timezone": zone}))
}

fn set_time(call: &mut Call<'_>) -> Result<Value, Fail> {
    const AREAS: [&str; 10] = [
        "Africa",
        "America",
        "Antarctica",
        "Asia",
        "Atlantic",
        "Australia",
        "Europe",
        "Indian",
        "Pacific",
        "Etc",
    ];
    let zone = call.text("timezone");
    let known = zone == "UTC"
        || zone
            .split_once('/')
            .is_some_and(|(area, city)| AREAS.contains(&area) && !city.is_empty());
    if !known {
        return Err(Fail::param("timezone", "No such timezone"));
    }
    own(call)?.timezone = Some(zone);
    Ok(Value::Null)
}

fn hosts(call: &mut Call<'_>) -> Result<Value, Fail> {
    let text = own(call)?.hosts.clone();
    Ok(json!({"digest": digest::sha1(text.as_bytes()), "data": text}))
}

fn set_hosts(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (data, wanted) = (call.text("data"), call.get("digest").map(str::to_owned));
    let node = own(call)?;
    if wanted.is_some_and(|wanted| wanted != digest::sha1(node.hosts.as_bytes())) {
        return Err(Fail::die(
            "detected modified configuration - file changed by other user? Try again.",
        ));
    }
    node.hosts = data;
    Ok(Value::Null)
}

fn config(call: &mut Call<'_>) -> Result<Value, Fail> {
    let config = own(call)?.config.clone();
    let mut map: Map<String, Value> =
        config.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    if !config.is_empty() {
        let text = serde_json::to_string(&config).unwrap_or_default();
        map.insert("digest".to_owned(), json!(digest::sha1(text.as_bytes())));
    }
    Ok(Value::Object(map))
}

fn set_config(call: &mut Call<'_>) -> Result<Value, Fail> {
    let removed = call.list("delete");
    let new: Vec<(String, String)> = call
        .params
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "delete" | "digest" | "node"))
        .filter_map(|(key, value)| Some((key.clone(), value.as_text()?.to_owned())))
        .collect();
    let node = own(call)?;
    for (key, mut value) in new {
        if key == "description" && !value.ends_with('\n') {
            value.push('\n');
        }
        node.config.insert(key, value);
    }
    for key in removed {
        node.config.remove(&key);
    }
    Ok(Value::Null)
}

fn certificates(call: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(
        json!([{"filename": "pve-ssl.pem", "fingerprint": call.inner.fingerprint, "subject": format!("/CN={}", call.node), "san": ["127.0.0.1", "localhost"]}]),
    )
}
