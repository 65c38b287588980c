//! Machines and files.

use std::path::Path;
use std::time::Duration;

use proxmox_client::ensure::VmLimits;
use proxmox_client::plan::vm::VmDesired;
use proxmox_client::sim::{Dialect, SimHandle};
use proxmox_client::{Client, NodeName, Upload};
use serde_json::Value;

use super::super::machines::{changed, machine};
use super::super::{WAIT, vm};
use super::{LOST, all_faults, tried, volumes};

/// What is told when a node went down while it made a machine, which no call can mend.
const BY_HAND: &str = "qm unlock 101011 && qm destroy 101011";

/// A machine as it should be; what is to be done at a node is done there.
async fn ensured(sim: &SimHandle, client: &Client, desired: &VmDesired, name: &str) {
    let limits = VmLimits { create: Duration::from_secs(20), ..VmLimits::default() };
    tried(name, |_| async move {
        let done = client.vms().ensure(desired, &limits).await;
        if done.as_ref().is_err_and(|error| error.text().contains(BY_HAND)) {
            assert!(name.contains("NodeDies"), "{name}: {done:?}");
            let node: NodeName = LOST.parse().expect("a name");
            assert!(sim.set_config_lock(101_011, None), "{name}");
            let upid = client.qemu(&node).destroy(vm()).await.expect("a task");
            client.tasks().wait(&upid, WAIT).await.expect("an end");
        }
        done
    })
    .await;
}

async fn life_of_a_machine(sim: SimHandle, client: Client, name: String) {
    let (first, second) = (machine(), changed());
    ensured(&sim, &client, &first, &name).await;
    let state = sim.snapshot();
    assert_eq!(state["vms"].as_object().map(serde_json::Map::len), Some(1), "{name}");
    let made = &state["vms"]["101011"];
    assert_eq!((&made["node"], &made["running"]), (&"pve02".into(), &Value::Null), "{name}");
    assert_eq!(made["conf"]["cores"], "4", "{name}");
    assert_eq!(volumes(&state, "rbd-vm").len(), 3, "{name}: {:?}", state["volumes"]);

    ensured(&sim, &client, &second, &name).await;
    let state = sim.snapshot();
    let conf = &state["vms"]["101011"]["conf"];
    assert_eq!(
        (&conf["cores"], &conf["boot"]),
        (&"6".into(), &"order=scsi0;scsi1".into()),
        "{name}"
    );
    assert_eq!((conf.get("net1"), conf.get("unused0")), (None, None), "{name}");
    let size = |key: &str, size: &str| conf[key].as_str().is_some_and(|text| text.contains(size));
    assert!(size("scsi0", "size=6G") && size("scsi1", "size=8G"), "{name}: {conf}");
    assert_eq!(volumes(&state, "rbd-vm").len(), 4, "{name}: {:?}", state["volumes"]);

    assert!(sim.set_guest_state(101_011, true), "{name}");
    let (vms, limits) = (client.vms(), VmLimits::default());
    let owns = |seen: &_| second.owns(seen).map_err(|foreign| foreign.reason);
    tried(&name, |_| vms.ensure_absent(vm(), &limits, owns)).await;
    let state = sim.snapshot();
    assert_eq!(state["vms"].as_object().map(serde_json::Map::len), Some(0), "{name}");
    assert_eq!(volumes(&state, "rbd-vm"), Vec::<String>::new(), "{name}");
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_made_changed_and_destroyed_whatever_goes_wrong() {
    all_faults(Dialect::V9_2, 300, life_of_a_machine).await;
}

async fn one_file(sim: SimHandle, client: Client, name: String, path: &Path) {
    let node: NodeName = LOST.parse().expect("a name");
    let upload = Upload { content: "iso", filename: "t.iso", path, sha256: None };
    let storage = client.storage(&node);
    tried(&name, |_| async { storage.ensure("local", upload, false, &mut |_, _| {}).await }).await;
    let state = sim.snapshot();
    assert_eq!(volumes(&state, "local@pve02"), ["iso/t.iso"], "{name}: {:?}", state["volumes"]);
    let copies = state["tasks"].as_array().cloned().unwrap_or_default();
    let done = copies.iter().filter(|task| task["kind"] == "imgcopy" && task["exit"] == "OK");
    assert!(done.count() <= 1, "{name}: it was sent twice");
    tried(&name, |_| storage.delete("local", "local:iso/t.iso")).await;
    assert_eq!(volumes(&sim.snapshot(), "local@pve02"), Vec::<String>::new(), "{name}");
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_uploaded_once_whatever_goes_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("t.iso");
    fs_err::write(&path, vec![7; 300_000]).expect("a file");
    all_faults(Dialect::V9_2, 60, |sim, client, name| one_file(sim, client, name, &path)).await;
}
