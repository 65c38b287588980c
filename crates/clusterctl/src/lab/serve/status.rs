//! What runs in the lab, for people and for judges.

use imagefactory::sim::Side;
use proxmox_client::sim::SimHandle;
use serde_json::{Value, json};

use super::super::protocol::{GuestStatus, LabStatus, Pieces};
use super::site::LabSite;

/// What runs; `None` while it starts.
pub(super) async fn status(site: &LabSite) -> Option<LabStatus> {
    let file = site.file().await.ok()?;
    let state = site.pve.read().await.as_ref().map(SimHandle::snapshot)?;
    let rows = |name: &str| state.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    let nodes = rows("nodes")
        .into_iter()
        .map(|(name, node)| (name, node.get("online") == Some(&json!(true))));
    let mut guests: Vec<GuestStatus> = rows("vms")
        .into_iter()
        .filter_map(|(id, vm)| Some(guest(site, id.parse().ok()?, &vm)))
        .collect();
    guests.sort_by_key(|guest| guest.vmid);
    Some(LabStatus {
        pid: file.pid,
        build: file.build.clone(),
        uptime_seconds: site.started.elapsed().as_secs(),
        endpoints: Pieces::of(&file),
        nodes: nodes.collect(),
        guests,
        routes: file.addresses.len(),
    })
}

fn guest(site: &LabSite, vmid: u32, vm: &Value) -> GuestStatus {
    let running = vm.get("running").is_some_and(|running| !running.is_null());
    let known = site.guests.get(vmid);
    let node = known.as_ref().and_then(|guest| site.net.node(&guest.uuid));
    let is_node = node.as_ref().is_some_and(talos_client::sim::SimNode::is_on);
    let truth = node.as_ref().map(talos_client::sim::SimNode::snapshot).unwrap_or_default();
    let text = |key: &str| truth.get(key).and_then(Value::as_str).map(str::to_owned);
    let stage = match (running, is_node) {
        (false, _) => "off".to_owned(),
        (true, false) => "no system".to_owned(),
        (true, true) => text("stage").unwrap_or_default(),
    };
    let addresses = truth.get("addresses").and_then(Value::as_array).map(Vec::as_slice);
    let addresses = addresses.unwrap_or_default().iter().filter_map(Value::as_str);
    let installed = truth.pointer("/installed/version").and_then(Value::as_str);
    let (conf, place) = (vm.pointer("/conf/name"), vm.get("node"));
    let named =
        |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    GuestStatus {
        vmid,
        name: named(conf),
        node: named(place),
        running,
        stage,
        talos: installed.map(str::to_owned),
        addresses: if is_node { addresses.map(str::to_owned).collect() } else { Vec::new() },
        problem: known.filter(|_| running).and_then(|guest| guest.problem),
    }
}

/// The truth of all simulators.
pub(super) async fn snapshot(site: &LabSite) -> Value {
    let (pve, pve_calls) = match site.pve.read().await.as_ref() {
        Some(pve) => (pve.snapshot(), json!(pve.faults().counters())),
        None => (Value::Null, Value::Null),
    };
    let calls = match site.factory.lock().await.as_ref() {
        Some(factory) => factory.faults().calls(),
        None => Vec::new(),
    };
    let calls: Vec<Value> = calls
        .into_iter()
        .map(|call| {
            let side = match call.side {
                Side::Factory => "factory",
                Side::Registry => "registry",
            };
            json!({"side": side, "method": call.method, "path": call.path, "status": call.status})
        })
        .collect();
    json!({
        "pve": pve,
        "pve_calls": pve_calls,
        "talos": site.net.snapshot(),
        "factory": {"calls": calls},
    })
}
