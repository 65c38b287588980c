//! The order in which a real node told what it did, from power-on on, and a simulated one's.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::replay::{ReplayGroup, replay};
use super::super::{Fault, FaultAction, NetConfig, NicSpec, NodeSpec, Pace, SimNet, SimNode};
use super::{call, until};

/// What an event is about, in the words of the fixture; none for one whose place in the order is not kept.
fn word(data: &Value) -> Option<String> {
    let text = |key: &str| data[key].as_str().unwrap_or_default();
    let kind = text("@type").rsplit('.').next().unwrap_or_default();
    let action = if text("action") == "STOP" { "ends" } else { "begins" };
    match kind {
        "SequenceEvent" if data["error"].is_object() => {
            Some(format!("sequence {} fails", text("sequence")))
        }
        "SequenceEvent" => Some(format!("sequence {} {action}", text("sequence"))),
        "PhaseEvent" => Some(format!("phase {} {action}", text("phase"))),
        "MachineStatusEvent" if data["stage"].is_string() => {
            Some(format!("stage {}", text("stage")))
        }
        _ => None,
    }
}

/// What a node tells from now on, one list for each boot.
fn follow(node: &SimNode) -> Arc<Mutex<Vec<Vec<String>>>> {
    let told = Arc::new(Mutex::new(Vec::<Vec<String>>::new()));
    let (past, mut receiver) = node.0.log.watch();
    let all = Arc::clone(&told);
    let mut take = move |event: &Value| {
        let Some(word) = word(&event["data"]) else { return };
        let mut all = all.lock().unwrap();
        if word == "sequence initialize begins" {
            all.push(Vec::new());
        }
        let Some(boot) = all.last_mut() else { return };
        // What a machine waits for is told with its stage, again and again; with the first one each boot begins.
        let last = boot.iter().rfind(|w| w.starts_with("stage "));
        let last = last.map_or("stage BOOTING", String::as_str);
        if !word.starts_with("stage ") || word != last {
            boot.push(word);
        }
    };
    past.iter().for_each(&mut take);
    tokio::spawn(async move {
        while let Ok(event) = receiver.recv().await {
            take(&event);
        }
    });
    told
}

/// A call that the machine takes.
async fn order(node: &SimNode, method: &str, request: Value) {
    let answer = call(node, &format!("/machine.MachineService/{method}"), request).await;
    assert!(answer.is_ok(), "{method}: {:?}", answer.err());
}

fn configuration() -> Value {
    json!({"data": STANDARD.encode(super::fixture("cp.yaml")), "mode": "AUTO"})
}

fn waits_for_bootstrap(node: &SimNode) -> bool {
    node.stage() == "booting" && node.0.machine().services.contains_key("kubelet")
}

async fn machine(group: ReplayGroup) -> (SimNet, SimNode) {
    let (net, nodes) = replay(group, &super::fixtures()).await.unwrap();
    (net, nodes[0].1.clone())
}

/// Compares what was told with a recording: in each boot the same, as far as the recording goes.
fn agree(name: &str, told: &Mutex<Vec<Vec<String>>>) {
    let all: Value = serde_json::from_str(&super::fixture("timelines.json")).unwrap();
    let boots = all[name].as_array().unwrap();
    let told = told.lock().unwrap();
    assert_eq!(told.len(), boots.len(), "{name}: boots");
    for (at, (want, got)) in boots.iter().zip(told.iter()).enumerate() {
        let want: Vec<&str> = want.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let got: Vec<&str> = got.iter().map(String::as_str).take(want.len()).collect();
        let first = want.iter().zip(&got).position(|(want, got)| want != got);
        assert_eq!(got, want, "{name}, boot {at}: first at {first:?}");
    }
}

#[tokio::test]
async fn an_installation_and_the_boot_after_it() {
    let (net, node) = machine(ReplayGroup::Maintenance).await;
    let told = follow(&node);
    order(&node, "ApplyConfiguration", configuration()).await;
    until("the installation", || node.snapshot()["boots"] == 2 && waits_for_bootstrap(&node)).await;
    order(&node, "Bootstrap", json!({})).await;
    until("running", || node.stage() == "running").await;
    net.shutdown();
    agree("bring-up-control-plane", &told);
}

#[tokio::test]
async fn an_installation_that_fails() {
    let (net, node) = machine(ReplayGroup::Maintenance).await;
    let told = follow(&node);
    net.faults().add(Fault::new(FaultAction::InstallFails));
    order(&node, "ApplyConfiguration", configuration()).await;
    until("again", || node.snapshot()["boots"] == 2 && node.stage() == "maintenance").await;
    net.shutdown();
    agree("install-fails", &told);
}

#[tokio::test]
async fn a_reset_and_the_same_configuration_again() {
    let (net, node) = machine(ReplayGroup::Etcd).await;
    until("running", || node.stage() == "running").await;
    let told = follow(&node);
    let partitions = ["STATE", "EPHEMERAL"].map(|label| json!({"label": label, "wipe": true}));
    let request =
        json!({"reboot": true, "mode": "SYSTEM_DISK", "systemPartitionsToWipe": partitions});
    order(&node, "Reset", request.clone()).await;
    until("its begin", || node.stage() == "resetting").await;
    // Taken, and not done: it is at work already.
    order(&node, "Reset", request).await;
    until("maintenance", || node.stage() == "maintenance").await;
    order(&node, "ApplyConfiguration", configuration()).await;
    until("the boot goes on", || waits_for_bootstrap(&node)).await;
    order(&node, "Bootstrap", json!({})).await;
    until("running", || node.stage() == "running").await;
    net.shutdown();
    agree("reset-state-ephemeral", &told);
}

#[tokio::test]
async fn a_shutdown() {
    let (net, node) = machine(ReplayGroup::Etcd).await;
    until("running", || node.stage() == "running").await;
    let told = follow(&node);
    order(&node, "Shutdown", json!({"force": true})).await;
    until("off", || node.stage() == "off").await;
    net.shutdown();
    agree("shutdown", &told);
}

#[tokio::test]
async fn a_configuration_on_the_drive() {
    let net =
        SimNet::new(NetConfig { pace: Pace::quick(), stub_kubelet: true, ..NetConfig::default() })
            .unwrap();
    let nic =
        NicSpec { name: "eth0".into(), mac: "52:54:00:12:34:56".into(), ..NicSpec::default() };
    let address = "10.0.2.15/24".parse().unwrap();
    let uuid = "00000000-0000-0000-0000-000000000011";
    let mut spec = NodeSpec::nocloud("v1.13.9", "node", uuid, nic, address);
    if let Some(drive) = &mut spec.cloud_init {
        drive.user = super::fixture("cp.yaml");
    }
    let node = net.power_on(spec);
    let told = follow(&node);
    until("the installation", || node.snapshot()["boots"] == 2 && waits_for_bootstrap(&node)).await;
    order(&node, "Bootstrap", json!({})).await;
    until("running", || node.stage() == "running").await;
    net.shutdown();
    agree("nocloud-user-data", &told);
}
