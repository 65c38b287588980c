//! Each call of each course of events goes wrong once, in each way: the end is the same, and
//! nothing exists twice. Judged from the state of the server.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use proxmox_client::ensure::{SdnOptions, VmLimits};
use proxmox_client::plan::rights::Rights;
use proxmox_client::plan::sdn::{Object, SdnChange, SdnObserved, SdnPlan, diff};
use proxmox_client::plan::vm::{Disk, VmDesired};
use proxmox_client::sim::{
    Dialect, Fault, FaultAction, SimBuilder, SimCluster, SimHandle, SimStorage,
};
use proxmox_client::{
    AclRow, Auth, Client, ClientConfig, Error, ErrorKind, NodeName, Trust, Upload,
};
use serde_json::Value;

use super::{by_token, vm};
use crate::client::networks::networks;

fn cluster() -> SimBuilder {
    SimCluster::builder()
        .nodes(["pve01", "pve02"])
        .task_time(Duration::from_millis(1))
        .auth_delay(Duration::from_millis(1))
        .lock_timeout(Duration::from_millis(20))
        .storages([
            SimStorage::rbd("rbd-vm", "images,rootdir"),
            SimStorage::dir("local", "iso,images"),
        ])
}

fn actions(is_write: bool) -> Vec<FaultAction> {
    let mut all = vec![
        FaultAction::Refuse { status: 500, message: "something else is wrong".into() },
        FaultAction::CutBeforeReply,
        FaultAction::CutBeforeCall,
        FaultAction::CutInBody,
        FaultAction::ProxyUnreachable,
        FaultAction::ProxyLost,
        FaultAction::ProxyOther,
        FaultAction::LockTimeout,
        FaultAction::Unauthorized,
    ];
    if is_write {
        all.push(FaultAction::TaskFails("it broke in the middle".into()));
        all.push(FaultAction::TaskWarns(2));
    }
    all
}

/// Of so many cases one is run unless `PROXMOX_FULL_MATRIX` is set: all take minutes.
const STRIDE: usize = 13;

/// How often a caller tries again, as a user would.
const TRIES: u32 = 3;

async fn tried<T, F: Future<Output = Result<T, Error>>>(
    what: &str,
    mut work: impl FnMut(u32) -> F,
) -> T {
    let mut last = None;
    for attempt in 0..TRIES {
        match work(attempt).await {
            Ok(done) => return done,
            Err(error) => last = Some(error),
        }
    }
    panic!("{what}: {:?}", last.expect("an error"));
}

/// Runs a course once undisturbed and then with each of its calls going wrong in each way.
async fn all_faults<F: Future<Output = ()>>(
    dialect: Dialect,
    least: usize,
    course: impl Fn(SimHandle, Client, String) -> F,
) {
    let sim = cluster().dialect(dialect).start().await.expect("a simulator");
    let faults = sim.faults();
    let client = Client::new(&by_token(&sim)).expect("a client");
    course(sim, client, "undisturbed".to_owned()).await;
    let calls = faults.calls();
    let mut cases = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        for action in actions(call.method != "GET") {
            let name = format!("call {index}, {} {}: {action:?}", call.method, call.path);
            cases.push((u64::try_from(index).expect("a number"), action, name));
        }
    }
    assert!(cases.len() >= least, "only {} cases", cases.len());
    // A prime that divides neither number of actions: every kind of fault and most calls are in.
    let stride = if std::env::var_os("PROXMOX_FULL_MATRIX").is_some() { 1 } else { STRIDE };
    let cases: Vec<_> = cases.into_iter().step_by(stride).collect();
    let course = &course;
    futures_util::stream::iter(cases)
        .for_each_concurrent(24, |(index, action, name)| async move {
            let sim = cluster().dialect(dialect).start().await.expect("a simulator");
            sim.faults().add(Fault::new("*", "*", action).after(index).once());
            let client = Client::new(&by_token(&sim)).expect("a client");
            course(sim, client, name).await;
        })
        .await;
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn disk(key: &str, size_gib: u32) -> Disk {
    let options = pairs(&[("discard", "on"), ("iothread", "1")]);
    Disk { key: key.into(), storage: "rbd-vm".into(), size_gib, options }
}

fn machine() -> VmDesired {
    let uuid = "11111111-2222-3333-4444-555555555555";
    VmDesired {
        vmid: vm(),
        node: "pve02".into(),
        uuid: uuid.into(),
        tags: ["clusterctl".to_owned()].into(),
        keys: pairs(&[
            ("name", "solcp01"),
            ("cores", "4"),
            ("memory", "2048"),
            ("smbios1", &format!("uuid={uuid}")),
            ("net0", "virtio=02:00:00:00:00:01,bridge=vmbr0"),
            ("net1", "virtio=02:00:00:00:00:02,bridge=vmbr0"),
            ("boot", "order=scsi0"),
        ]),
        absent: BTreeSet::new(),
        disks: vec![disk("scsi0", 4)],
        efi_storage: Some("rbd-vm".into()),
        cloud_init: Some(("ide2".into(), "rbd-vm".into())),
        medium: None,
    }
}

fn changed() -> VmDesired {
    let mut wanted = machine();
    wanted.keys.extend(pairs(&[("cores", "6"), ("boot", "order=scsi0;scsi1")]));
    wanted.keys.remove("net1");
    wanted.absent.insert("net1".into());
    wanted.disks = vec![disk("scsi0", 6), disk("scsi1", 8)];
    wanted
}

/// Names of the volumes of a storage that all nodes share.
fn volumes(state: &Value, storage: &str) -> Vec<String> {
    let volumes = state["volumes"][storage].as_object().cloned().unwrap_or_default();
    volumes.into_iter().map(|(name, _)| name).collect()
}

async fn life_of_a_machine(sim: SimHandle, client: Client, name: String) {
    let (first, second) = (machine(), changed());
    let limits = VmLimits::default();
    let vms = client.vms();
    tried(&name, |_| vms.ensure(&first, &limits)).await;
    let state = sim.snapshot();
    assert_eq!(state["vms"].as_object().map(serde_json::Map::len), Some(1), "{name}");
    let made = &state["vms"]["101011"];
    assert_eq!((&made["node"], &made["running"]), (&"pve02".into(), &Value::Null), "{name}");
    assert_eq!(made["conf"]["cores"], "4", "{name}");
    assert_eq!(volumes(&state, "rbd-vm").len(), 3, "{name}: {:?}", state["volumes"]);

    tried(&name, |_| vms.ensure(&second, &limits)).await;
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
    let node: NodeName = "pve01".parse().expect("a name");
    let upload = Upload { content: "iso", filename: "t.iso", path, sha256: None };
    let storage = client.storage(&node);
    tried(&name, |_| async { storage.ensure("local", upload, false, &mut |_, _| {}).await }).await;
    let state = sim.snapshot();
    assert_eq!(volumes(&state, "local@pve01"), ["iso/t.iso"], "{name}: {:?}", state["volumes"]);
    let copies = state["tasks"].as_array().cloned().unwrap_or_default();
    let done = copies.iter().filter(|task| task["kind"] == "imgcopy" && task["exit"] == "OK");
    assert!(done.count() <= 1, "{name}: it was sent twice");
    tried(&name, |_| storage.delete("local", "local:iso/t.iso")).await;
    assert_eq!(volumes(&sim.snapshot(), "local@pve01"), Vec::<String>::new(), "{name}");
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_uploaded_once_whatever_goes_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("t.iso");
    fs_err::write(&path, vec![7; 300_000]).expect("a file");
    all_faults(Dialect::V9_2, 60, |sim, client, name| one_file(sim, client, name, &path)).await;
}

async fn carried_out(client: &Client, plan: &SdnPlan, name: &str) {
    let nodes = client.vms().nodes().await;
    let nodes = nodes.unwrap_or_else(|_| vec!["pve01".parse().expect("a name")]);
    tried(name, |attempt| {
        // Of a second try the caller knows that the first one was its own.
        let options = SdnOptions {
            nodes: nodes.clone(),
            take_over_lock: attempt > 0,
            settle: Duration::from_secs(5),
        };
        async move { client.sdn().carry_out(plan, &options).await }
    })
    .await;
}

async fn observed(client: &Client, name: &str) -> SdnObserved {
    tried(name, |_| async { client.sdn().observe().await }).await
}

async fn life_of_networks(sim: SimHandle, client: Client, name: String) {
    let settled = |state: &Value| {
        assert_eq!(state["sdn"]["saved"], state["sdn"]["running"], "{name}: not applied");
        assert!(state["sdn"]["lock"].is_null(), "{name}: {:?}", state["sdn"]["lock"]);
    };
    for mtu in ["1450", "1400"] {
        let wanted: Vec<Object> = networks(mtu);
        let plan = diff(&wanted, &observed(&client, &name).await, |_| true, false);
        carried_out(&client, &plan, &name).await;
        settled(&sim.snapshot());
        let left = diff(&wanted, &observed(&client, &name).await, |_| true, false);
        assert!(left.is_empty(), "{name}: {left:?}");
    }
    let there = observed(&client, &name).await;
    let mut changes: Vec<SdnChange> =
        there.objects.iter().map(|object| SdnChange::Delete { object: object.clone() }).collect();
    changes.reverse();
    carried_out(&client, &SdnPlan { changes, ..SdnPlan::default() }, &name).await;
    settled(&sim.snapshot());
    assert!(observed(&client, &name).await.objects.is_empty(), "{name}");
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_are_made_changed_and_removed_whatever_goes_wrong() {
    all_faults(Dialect::V9_2, 400, life_of_networks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_without_a_lock_end_as_they_should_too() {
    all_faults(Dialect::V8_4, 400, life_of_networks).await;
}

#[tokio::test]
async fn a_machine_of_somebody_else_stays_as_it_is() {
    let sim = cluster().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let node: NodeName = "pve01".parse().expect("a name");
    let upid = client.qemu(&node).create(vm(), &[("name", "theirs")]).await.expect("a task");
    client.tasks().wait(&upid, super::WAIT).await.expect("an end");
    let before = sim.snapshot()["vms"].clone();
    let limits = VmLimits::default();
    let error = client.vms().ensure(&machine(), &limits).await.expect_err("theirs");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.text().contains("theirs"), "{error}");
    let owns = |seen: &_| machine().owns(seen).map_err(|foreign| foreign.reason);
    let error = client.vms().ensure_absent(vm(), &limits, owns).await.expect_err("theirs");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(sim.snapshot()["vms"], before);
    sim.shutdown().await;
}

#[tokio::test]
async fn the_rights_that_a_plan_names_are_enough() {
    let sim = cluster().user("ops@pve", "a-password").start().await.expect("a simulator");
    let root = Client::new(&by_token(&sim)).expect("a client");
    let auth = Auth::password("ops@pve", "a-password");
    let config = ClientConfig::new(sim.base_url(), auth).trust(Trust::Ca(sim.ca_pem().to_owned()));
    let ops = Client::new(&config).expect("a client");

    let (first, second) = (machine(), changed());
    let plan = diff(&networks("1450"), &SdnObserved::default(), |_| true, false);
    let mut rights = Rights::new(BTreeMap::new());
    rights.create_vm(&first);
    rights.create_vm(&second);
    rights.destroy_vm(vm());
    rights.networks(&plan.changes);
    for node in ["pve01", "pve02"] {
        rights.see_node(node);
    }
    let all: Vec<_> = rights.pairs().collect();
    assert_eq!(ops.permissions().await.expect("rights").missing(rights.pairs()), all);
    let limits = VmLimits::default();
    let error = ops.vms().ensure(&first, &limits).await.expect_err("nothing is allowed yet");
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");

    let mut by_path: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, privilege) in rights.pairs() {
        by_path.entry(path).or_default().push(privilege);
    }
    for (index, (path, privileges)) in by_path.iter().enumerate() {
        let role = format!("role{index}");
        root.access().create_role(&role, privileges).await.expect("a role");
        let grant = AclRow::new(*path, "user", "ops@pve", role, false);
        root.access().grant(&grant, false).await.expect("a grant");
    }
    assert!(ops.permissions().await.expect("rights").missing(rights.pairs()).is_empty());
    ops.vms().ensure(&first, &limits).await.expect("it is made");
    ops.vms().ensure(&second, &limits).await.expect("it is changed");
    let owns = |seen: &_| second.owns(seen).map_err(|foreign| foreign.reason);
    assert!(ops.vms().ensure_absent(vm(), &limits, owns).await.expect("it is destroyed"));
    carried_out(&ops, &plan, "networks").await;
    let left = observed(&ops, "networks").await;
    assert!(diff(&networks("1450"), &left, |_| true, false).is_empty(), "{left:?}");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_machine_of_a_node_that_is_offline_is_not_taken_for_gone() {
    let sim = cluster().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let limits = VmLimits::default();
    client.vms().ensure(&machine(), &limits).await.expect("a machine on pve02");
    assert!(sim.set_node_online("pve02", false));
    let error = client.vms().ensure_absent(vm(), &limits, |_| Ok(())).await.expect_err("unseen");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.text().contains("offline"), "{error}");
    client.vms().ensure(&machine(), &limits).await.expect_err("it cannot be made twice");
    assert!(sim.set_node_online("pve02", true));
    assert!(client.vms().ensure_absent(vm(), &limits, |_| Ok(())).await.expect("it is seen"));
    assert!(!client.vms().ensure_absent(vm(), &limits, |_| Ok(())).await.expect("it is gone"));
    sim.shutdown().await;
}

#[tokio::test]
async fn a_lock_that_stays_is_told_with_what_to_do() {
    let sim = cluster().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let limits = VmLimits { create: Duration::from_millis(600), ..VmLimits::default() };
    client.vms().ensure(&machine(), &limits).await.expect("a machine");
    sim.set_config_lock(101_011, Some("backup"));
    let error = client.vms().ensure(&changed(), &limits).await.expect_err("a lock");
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.text().contains("qm unlock 101011"), "{error}");
    sim.set_config_lock(101_011, None);
    let done = client.vms().ensure(&changed(), &limits).await.expect("a machine");
    assert!(!done.created && !done.changes.is_empty());
    sim.shutdown().await;
}
