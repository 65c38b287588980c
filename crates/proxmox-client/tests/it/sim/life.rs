//! The simulator's own promises: events, faults, locks, restarts, many machines.

use std::time::Duration;

use proxmox_client::sim::{
    AcpiReaction, Fault, FaultAction, GuestEvent, SimBuilder, SimCluster, SimHandle, SimStorage,
};
use serde_json::{Value, json};

use super::wire::{Answer, Request, Wire, escape, form};

pub(super) async fn call(
    sim: &SimHandle,
    method: &str,
    path: &str,
    pairs: &[(&str, &str)],
) -> Answer {
    let pairs: Vec<(String, String)> =
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mut headers = vec![("Authorization".to_owned(), format!("PVEAPIToken={}", sim.token()))];
    let mut path = format!("/api2/json{path}");
    let mut body = None;
    if matches!(method, "POST" | "PUT") {
        headers.push(("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
        body = Some(form(&pairs).into_bytes());
    } else if !pairs.is_empty() {
        path = format!("{path}?{}", form(&pairs));
    }
    Wire::new(sim).send(&Request { method: method.to_owned(), path, headers, body }).await
}

/// The data of a `GET` that is answered.
pub(super) async fn get(sim: &SimHandle, path: &str) -> Value {
    let answer = call(sim, "GET", path, &[]).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body["data"].clone()
}

/// A call that is answered.
pub(super) async fn good(sim: &SimHandle, method: &str, path: &str, pairs: &[(&str, &str)]) {
    let answer = call(sim, method, path, pairs).await;
    assert_eq!(answer.status, 200, "{method} {path} {pairs:?}: {answer:?}");
}

async fn task(sim: &SimHandle, answer: &Answer) -> String {
    let upid = answer.body["data"].as_str().unwrap_or_default();
    assert!(upid.starts_with("UPID:"), "{answer:?}");
    let node = upid.split(':').nth(1).unwrap_or_default();
    let path = format!("/nodes/{node}/tasks/{}/status", escape(upid));
    for _ in 0..500 {
        let state = call(sim, "GET", &path, &[]).await.body["data"].clone();
        if state["status"] == json!("stopped") {
            return state["exitstatus"].as_str().unwrap_or_default().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the task {upid} did not end");
}

fn three() -> SimBuilder {
    SimCluster::builder()
        .nodes(["pve01", "pve02", "pve03"])
        .task_time(Duration::from_millis(5))
        .storages([
            SimStorage::dir("local", "iso,snippets,import"),
            SimStorage::rbd("rbd-vm", "images,rootdir"),
        ])
}

const TALOS: [(&str, &str); 9] = [
    ("vmid", "101011"),
    ("name", "solcp01"),
    ("scsi0", "rbd-vm:40,wwn=0x5000000000000001"),
    ("ide2", "rbd-vm:cloudinit"),
    ("net0", "virtio=BC:24:11:00:10:11,bridge=vmbr0"),
    ("ipconfig0", "ip=10.101.0.11/24,gw=10.101.0.254"),
    ("boot", "order=scsi0;ide2"),
    ("smbios1", "uuid=11111111-2222-3333-4444-555555555555"),
    ("ostype", "l26"),
];

#[tokio::test]
async fn a_start_tells_what_the_guest_finds_and_disks_keep_their_content() {
    let sim = three().acpi(AcpiReaction::ByGuest).start().await.expect("a simulator");
    let mut events = sim.events();
    assert_eq!(task(&sim, &call(&sim, "POST", "/nodes/pve02/qemu", &TALOS).await).await, "OK");
    let start = "/nodes/pve02/qemu/101011/status/start";
    assert_eq!(task(&sim, &call(&sim, "POST", start, &[]).await).await, "OK");
    let GuestEvent::Start(guest) = events.recv().await.expect("an event") else {
        panic!("not a start")
    };
    assert_eq!((guest.node.as_str(), guest.vmid, guest.boot.len()), ("pve02", 101_011, 2));
    assert_eq!(guest.uuid, "11111111-2222-3333-4444-555555555555");
    let disk = guest.disks.first().expect("a disk").clone();
    assert_eq!(
        (disk.size, disk.wwn.as_deref(), disk.tag.as_str()),
        (40 << 30, Some("0x5000000000000001"), "")
    );
    let cloud = guest.cloud_init.clone().expect("a cloud-init drive");
    assert!(cloud.user.starts_with("#cloud-config\nhostname: solcp01\n"), "{}", cloud.user);
    assert!(cloud.network.contains("address: '10.101.0.11'"), "{}", cloud.network);
    assert!(sim.set_disk_tag(&disk.volid, "installed"));

    let shutdown = call(&sim, "POST", "/nodes/pve02/qemu/101011/status/shutdown", &[]).await;
    assert!(matches!(events.recv().await, Ok(GuestEvent::Shutdown { vmid: 101_011, .. })));
    assert!(sim.guest_poweroff(101_011));
    assert_eq!(task(&sim, &shutdown).await, "OK");
    assert_eq!(task(&sim, &call(&sim, "POST", start, &[]).await).await, "OK");
    assert!(matches!(events.recv().await, Ok(GuestEvent::Stop { .. })));
    let GuestEvent::Start(again) = events.recv().await.expect("an event") else {
        panic!("not a start")
    };
    let same = again.disks.first().expect("a disk");
    assert_eq!((&same.content_id, same.tag.as_str()), (&disk.content_id, "installed"));
    assert_eq!(again.cloud_init, guest.cloud_init);

    assert_eq!(
        task(&sim, &call(&sim, "POST", "/nodes/pve02/qemu/101011/status/stop", &[]).await).await,
        "OK"
    );
    assert_eq!(
        task(&sim, &call(&sim, "DELETE", "/nodes/pve02/qemu/101011", &[]).await).await,
        "OK"
    );
    assert_eq!(sim.disk_tag(&disk.volid), None);
    sim.shutdown().await;
}

#[tokio::test]
async fn faults_hit_the_calls_they_name_and_are_counted() {
    let sim = three().start().await.expect("a simulator");
    let faults = sim.faults();
    faults.add(Fault::new("GET", "/version", FaultAction::ProxyLost).after(1).once());
    faults.add(
        Fault::new("POST", "/nodes/*/qemu", FaultAction::TaskFails("no space".to_owned())).once(),
    );
    faults.add(Fault::new("GET", "/cluster/nextid", FaultAction::CutBeforeReply).once());
    assert_eq!(call(&sim, "GET", "/version", &[]).await.status, 200);
    let lost = call(&sim, "GET", "/version", &[]).await;
    assert_eq!((lost.status, lost.body), (596, Value::String(String::new())));
    assert_eq!(call(&sim, "GET", "/version", &[]).await.status, 200);
    assert_eq!(call(&sim, "GET", "/cluster/nextid", &[]).await.status, 0);
    assert_eq!(
        task(&sim, &call(&sim, "POST", "/nodes/pve01/qemu", &TALOS).await).await,
        "no space"
    );
    assert!(sim.snapshot()["vms"].as_object().expect("machines").is_empty());
    assert_eq!(faults.hits(), vec![1, 1, 1]);
    assert_eq!(faults.counters().get("GET /version").expect("a counter").count, 3);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_held_lock_delays_a_write_or_ends_it_with_a_timeout() {
    let sim = three().lock_timeout(Duration::from_millis(300)).start().await.expect("a simulator");
    assert_eq!(task(&sim, &call(&sim, "POST", "/nodes/pve01/qemu", &TALOS).await).await, "OK");
    let config = "/nodes/pve01/qemu/101011/config";
    sim.hold_lock(101_011, Duration::from_millis(50));
    assert_eq!(call(&sim, "PUT", config, &[("cores", "2")]).await.status, 200);
    sim.hold_lock(101_011, Duration::from_secs(5));
    let refused = call(&sim, "PUT", config, &[("cores", "3")]).await;
    assert_eq!(
        refused.reason,
        "can't lock file '/var/lock/qemu-server/lock-101011.conf' - got timeout"
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn state_survives_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let sim = three().state_dir(dir.path()).start().await.expect("a simulator");
    assert_eq!(task(&sim, &call(&sim, "POST", "/nodes/pve03/qemu", &TALOS).await).await, "OK");
    let (token, print) = (sim.token(), sim.fingerprint().to_owned());
    let before = sim.snapshot()["vms"].clone();
    sim.shutdown().await;
    let sim = three().state_dir(dir.path()).start().await.expect("a simulator");
    assert_eq!((sim.token(), sim.fingerprint()), (token, print.as_str()));
    assert_eq!(sim.snapshot()["vms"], before);
    assert_eq!(
        call(&sim, "GET", "/nodes/pve03/qemu/101011/config", &[]).await.body["data"]["name"],
        json!("solcp01")
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn a_node_that_is_down_answers_595_and_loses_its_guests() {
    let sim = three().start().await.expect("a simulator");
    assert_eq!(task(&sim, &call(&sim, "POST", "/nodes/pve02/qemu", &TALOS).await).await, "OK");
    assert!(sim.set_guest_state(101_011, true));
    assert_eq!(sim.running_guests().len(), 1);
    assert!(sim.set_node_online("pve02", false));
    assert!(sim.running_guests().is_empty());
    assert_eq!(call(&sim, "GET", "/nodes/pve02/qemu", &[]).await.status, 595);
    assert!(sim.set_node_online("pve02", true));
    sim.set_quorum(false);
    assert_eq!(
        call(&sim, "PUT", "/nodes/pve02/qemu/101011/config", &[("cores", "2")]).await.status,
        500
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn an_applied_vnet_lets_machines_start() {
    let sim = three().start().await.expect("a simulator");
    for (path, pairs) in [
        ("/cluster/sdn/zones", vec![("zone", "zone1"), ("type", "simple")]),
        ("/cluster/sdn/vnets", vec![("vnet", "vnet101"), ("zone", "zone1")]),
    ] {
        assert_eq!(call(&sim, "POST", path, &pairs).await.status, 200);
    }
    let mut machine = TALOS.to_vec();
    machine.push(("net1", "virtio,bridge=vnet101"));
    assert_eq!(task(&sim, &call(&sim, "POST", "/nodes/pve01/qemu", &machine).await).await, "OK");
    let start = "/nodes/pve01/qemu/101011/status/start";
    assert_eq!(
        task(&sim, &call(&sim, "POST", start, &[]).await).await,
        "bridge 'vnet101' does not exist"
    );
    let lock = call(&sim, "POST", "/cluster/sdn/lock", &[("allow-pending", "1")]).await;
    assert_eq!(call(&sim, "PUT", "/cluster/sdn", &[]).await.status, 500);
    let token = lock.body["data"].as_str().unwrap_or_default();
    assert_eq!(
        task(&sim, &call(&sim, "PUT", "/cluster/sdn", &[("lock-token", token)]).await).await,
        "OK"
    );
    assert_eq!(task(&sim, &call(&sim, "POST", start, &[]).await).await, "OK");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_file_that_did_not_come_whole_is_not_kept() {
    let sim = three().start().await.expect("a simulator");
    let part = "--b\r\nContent-Disposition: form-data; name=";
    let whole = format!(
        "{part}\"content\"\r\n\r\niso\r\n{part}\"filename\"; filename=\"a.iso\"\r\n\r\ncontent\r\n--b--\r\n"
    );
    let cut = whole.trim_end_matches("\r\n--b--\r\n").to_owned();
    for (body, status) in [(cut, 500), (whole, 200)] {
        let token = ("Authorization".to_owned(), format!("PVEAPIToken={}", sim.token()));
        let kind = ("Content-Type".to_owned(), "multipart/form-data; boundary=b".to_owned());
        let request = Request {
            method: "POST".to_owned(),
            path: "/api2/json/nodes/pve01/storage/local/upload".to_owned(),
            headers: vec![token, kind],
            body: Some(body.into_bytes()),
        };
        let answer = Wire::new(&sim).send(&request).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    sim.shutdown().await;
}
