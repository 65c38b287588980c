//! The client against the simulated server.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test ends where something is not as it must be"
)]

mod access;
mod connections;
mod copies;
mod ensures;
mod firewall;
mod machines;
mod matrix;
mod named;
mod networks;
mod node;
mod routing;
mod storage;

use std::time::Duration;

use proxmox_client::sim::{Fault, FaultAction, SimBuilder, SimCluster, SimHandle, SimStorage};
use proxmox_client::{
    Auth, Client, ClientConfig, ErrorKind, NodeName, TaskEnd, Trust, VmId, probe_fingerprint,
};

const WAIT: Duration = Duration::from_secs(20);

fn one() -> SimBuilder {
    SimCluster::builder()
        .nodes(["pve01"])
        .task_time(Duration::from_millis(5))
        .storages([SimStorage::rbd("rbd-vm", "images,rootdir")])
}

fn by_token(sim: &SimHandle) -> ClientConfig {
    let token = Auth::token(&sim.token()).expect("a token");
    ClientConfig::new(sim.base_url(), token).trust(Trust::Ca(sim.ca_pem().to_owned()))
}

fn node() -> NodeName {
    "pve01".parse().expect("a name")
}

fn vm() -> VmId {
    VmId::try_from(101_011).expect("a number")
}

#[tokio::test]
async fn a_machine_is_made_changed_started_and_destroyed() {
    let sim = one().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    assert_eq!(client.version().await.expect("a version").release, "9.2");
    assert_eq!(client.nodes().await.expect("nodes").len(), 1);
    assert_eq!(client.next_id().await.expect("a number").get(), 100);
    let node = node();
    let qemu = client.qemu(&node);
    let tasks = client.tasks();
    let keys =
        [("name", "solcp01"), ("scsi0", "rbd-vm:4"), ("memory", "2048"), ("boot", "order=scsi0")];
    let made = qemu.create(vm(), &keys).await.expect("a task");
    assert_eq!(tasks.wait(&made, WAIT).await.expect("an end"), TaskEnd::Ok);
    let config = qemu.config(vm(), false).await.expect("a config");
    assert_eq!(config.get("name").and_then(|name| name.as_str()), Some("solcp01"));
    assert_eq!(config.get("boot").and_then(|boot| boot.as_str()), Some("order=scsi0"));
    let again = qemu.create(vm(), &keys).await.expect_err("it exists");
    assert_eq!((again.kind(), again.may_have_been_applied()), (ErrorKind::AlreadyExists, false));
    for verb in ["start", "stop"] {
        let upid = qemu.power(vm(), verb, &[]).await.expect("a task");
        tasks.wait(&upid, WAIT).await.expect("an end");
        let running = qemu.status(vm()).await.expect("a state").status == "running";
        assert_eq!(running, verb == "start");
    }
    let gone = qemu.destroy(vm()).await.expect("a task");
    tasks.wait(&gone, WAIT).await.expect("an end");
    let error = qemu.config(vm(), false).await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let sim = one().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let error = client.qemu(&node()).create(vm(), &[("cores", "many")]).await.expect_err("wrong");
    assert_eq!((error.kind(), error.status()), (ErrorKind::Invalid, Some(400)));
    assert!(error.parameters().contains_key("cores"), "{error}");
    assert!(!error.is_retryable() && !error.may_have_been_applied());
    sim.shutdown().await;
}

#[tokio::test]
async fn a_password_gets_a_ticket_that_writes() {
    let sim = one().start().await.expect("a simulator");
    let login = |password: &str| {
        ClientConfig::new(sim.base_url(), Auth::password("root@pam", password))
            .trust(Trust::Ca(sim.ca_pem().to_owned()))
    };
    let client = Client::new(&login(sim.password())).expect("a client");
    let made = client.qemu(&node()).create(vm(), &[("name", "a")]).await.expect("a task");
    client.tasks().wait(&made, WAIT).await.expect("an end");
    let wrong = Client::new(&login("wrong")).expect("a client");
    let error = wrong.version().await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(!format!("{error} {error:?}").contains("wrong"));
    sim.shutdown().await;
}

#[tokio::test]
async fn only_the_pinned_certificate_is_trusted() {
    let sim = one().start().await.expect("a simulator");
    let seen = probe_fingerprint("127.0.0.1", sim.addr().port()).await.expect("a fingerprint");
    assert_eq!(seen.to_string(), sim.fingerprint().to_uppercase());
    let right = Client::new(&by_token(&sim).trust(Trust::Pins(vec![seen]))).expect("a client");
    right.version().await.expect("a version");
    let other = ["00"; 32].join(":").parse().expect("a fingerprint");
    let wrong = Client::new(&by_token(&sim).trust(Trust::Pins(vec![other]))).expect("a client");
    let error = wrong.version().await.expect_err("not trusted");
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(!error.may_have_been_applied() && !error.is_retryable());
    sim.shutdown().await;
}

#[tokio::test]
async fn the_next_endpoint_is_asked_where_the_first_does_not_listen() {
    let sim = one().start().await.expect("a simulator");
    let token = Auth::token(&sim.token()).expect("a token");
    let pin = sim.fingerprint().parse().expect("a fingerprint");
    let config = ClientConfig::new("https://127.0.0.1:1", token)
        .endpoint("https://pve.lab:8006")
        .connect_to("pve.lab", 8006, sim.addr())
        .trust(Trust::Pins(vec![pin]));
    let client = Client::new(&config).expect("a client");
    let made = client.qemu(&node()).create(vm(), &[("name", "a")]).await.expect("a task");
    client.tasks().wait(&made, WAIT).await.expect("an end");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_lock_that_is_held_is_busy() {
    let sim = one().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    sim.faults().add(Fault::new("POST", "/nodes/*/qemu", FaultAction::LockTimeout).once());
    let error = client.qemu(&node()).create(vm(), &[("name", "a")]).await.expect_err("held");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
    assert!(error.is_retryable());
    sim.shutdown().await;
}

#[tokio::test]
async fn a_lost_answer_repeats_a_read_but_never_a_write() {
    let sim = one().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    sim.faults().add(Fault::new("GET", "/version", FaultAction::CutBeforeReply).once());
    client.version().await.expect("the second answer");
    sim.faults().add(Fault::new("POST", "/nodes/*/qemu", FaultAction::CutBeforeReply).once());
    let error = client.qemu(&node()).create(vm(), &[("name", "a")]).await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.may_have_been_applied());
    let error = client.qemu(&node()).create(vm(), &[("name", "a")]).await.expect_err("done before");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
    sim.faults().add(Fault::new("POST", "/nodes/*/qemu", FaultAction::ProxyLost).once());
    let other = VmId::try_from(101_012).expect("a number");
    let error = client.qemu(&node()).create(other, &[]).await.expect_err("lost");
    assert_eq!(error.status(), Some(596));
    assert!(error.may_have_been_applied());
    sim.shutdown().await;
}
