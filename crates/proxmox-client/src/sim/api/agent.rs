//! The agent in a guest: what one in Talos answers, which runs no programs and opens no files.

use serde_json::{Value, json};

use super::Row;
use super::qemu::{existing, machine};
use crate::sim::fail::Fail;
use crate::sim::guest;
use crate::sim::reply::Call;
use crate::sim::state::Vm;

/// Where the calls of an agent stand.
macro_rules! at {
    ($name:literal) => {
        concat!("/nodes/{node}/qemu/{vmid}/agent/", $name)
    };
}

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/nodes/{node}/qemu/{vmid}/agent", index),
    ("POST", "/nodes/{node}/qemu/{vmid}/agent", generic),
    ("POST", at!("ping"), |call| command(call, "ping")),
    ("GET", at!("network-get-interfaces"), |call| command(call, "network-get-interfaces")),
    ("GET", at!("get-fsinfo"), |call| command(call, "get-fsinfo")),
    ("GET", at!("get-host-name"), |call| command(call, "get-host-name")),
    ("GET", at!("get-memory-block-info"), |call| command(call, "get-memory-block-info")),
    ("GET", at!("get-memory-blocks"), |call| command(call, "get-memory-blocks")),
    ("GET", at!("get-osinfo"), |call| command(call, "get-osinfo")),
    ("GET", at!("get-time"), |call| command(call, "get-time")),
    ("GET", at!("get-timezone"), |call| command(call, "get-timezone")),
    ("GET", at!("get-users"), |call| command(call, "get-users")),
    ("GET", at!("get-vcpus"), |call| command(call, "get-vcpus")),
    ("GET", at!("info"), |call| command(call, "info")),
    ("POST", at!("fsfreeze-freeze"), |call| command(call, "fsfreeze-freeze")),
    ("POST", at!("fsfreeze-status"), |call| command(call, "fsfreeze-status")),
    ("POST", at!("fsfreeze-thaw"), |call| command(call, "fsfreeze-thaw")),
    ("POST", at!("fstrim"), |call| command(call, "fstrim")),
    ("POST", at!("shutdown"), |call| command(call, "shutdown")),
    ("POST", at!("suspend-disk"), |call| command(call, "suspend-disk")),
    ("POST", at!("suspend-hybrid"), |call| command(call, "suspend-hybrid")),
    ("POST", at!("suspend-ram"), |call| command(call, "suspend-ram")),
    ("POST", at!("exec"), |call| command(call, "exec")),
    ("GET", at!("exec-status"), |call| command(call, "exec-status")),
    ("GET", at!("file-read"), |call| command(call, "file-open")),
    ("POST", at!("file-write"), |call| command(call, "file-open")),
    ("POST", at!("set-user-password"), |call| command(call, "set-user-password")),
];

fn enabled(vm: &Vm) -> bool {
    let text = vm.conf.get("agent").map(String::as_str).unwrap_or_default();
    let first = text
        .split(',')
        .map(|part| part.strip_prefix("enabled=").unwrap_or(part))
        .next()
        .unwrap_or_default();
    matches!(first.to_ascii_lowercase().as_str(), "1" | "yes" | "on" | "true")
}

/// Whether the configuration of a machine has an agent.
pub(super) fn is_configured(vm: &Vm) -> bool {
    enabled(vm)
}

/// Network cards as the agent of a machine tells them.
fn cards(call: &Call<'_>) -> Result<Value, Fail> {
    let vmid = existing(call)?;
    let vm = machine(call)?;
    if !enabled(vm) {
        return Err(Fail::die("No QEMU guest agent configured"));
    }
    if vm.running.is_none() {
        return Err(Fail::die(format!("VM {vmid} is not running")));
    }
    call.state
        .agents
        .get(&vmid)
        .cloned()
        .ok_or_else(|| Fail::die("QEMU guest agent is not running"))
}

fn index(call: &mut Call<'_>) -> Result<Value, Fail> {
    existing(call)?;
    let calls = ROUTES.iter().filter_map(|(_, path, _)| path.strip_prefix(at!("")));
    Ok(calls.map(|name| json!({"name": name})).collect())
}

fn generic(call: &mut Call<'_>) -> Result<Value, Fail> {
    let name = call.text("command");
    command(call, &name)
}

fn command(call: &mut Call<'_>, name: &str) -> Result<Value, Fail> {
    let cards = cards(call)?;
    let vm = machine(call)?;
    let result = match name {
        "ping" => json!({}),
        "network-get-interfaces" => cards,
        "get-fsinfo" | "get-users" | "get-memory-blocks" => json!([]),
        "get-memory-block-info" => json!({"size": 128 << 20}),
        "get-host-name" => {
            let named = vm.conf.get("name").cloned();
            json!({"host-name": named.unwrap_or_else(|| "talos".to_owned())})
        }
        "get-osinfo" => json!({"id": "talos", "name": "Talos"}),
        "get-time" => json!(call.now() * 1_000_000_000),
        "get-timezone" => json!({"offset": 0, "zone": "UTC"}),
        "get-vcpus" => {
            let cpu = |id| json!({"logical-id": id, "online": true, "can-offline": id != 0});
            (0..vm.cpus()).map(cpu).collect()
        }
        "info" => {
            let known = ["ping", "network-get-interfaces", "shutdown", "info"];
            let row = |name| json!({"name": format!("guest-{name}"), "enabled": true, "success-response": true});
            json!({"version": "10.1.2", "supported_commands": known.map(row)})
        }
        "fsfreeze-status" => json!("thawed"),
        "fsfreeze-freeze" | "fsfreeze-thaw" => json!(0),
        "fstrim" => json!({"paths": []}),
        "shutdown" => {
            guest::acpi(call.inner, &call.node, call.vmid());
            json!({})
        }
        other => {
            let text = format!("Agent error: The command guest-{other} has not been found");
            return Err(Fail::die(text));
        }
    };
    Ok(json!({"result": result}))
}
