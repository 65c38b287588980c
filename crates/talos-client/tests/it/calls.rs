//! The calls one by one.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use talos_client::api::{
    ApplyMode, EventKind, MachineStatus, Query, RebootMode, ResetOptions, Service, Stage,
    WatchOptions, WipeMode, kinds,
};
use talos_client::sim::{Fault, FaultAction, Pace};
use talos_client::{Client, ClientConfig, ErrorKind, Found, Identity, probe};

use super::lab::{Lab, address, eventually, until, uuid, value};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_tells_maintenance_from_ours_and_from_others() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let identity = Identity::admin(&lab.bundle).unwrap();
    lab.node("cp2", 12).await;
    let found = probe(&lab.maintenance(12), &identity).await.unwrap();
    let Found::Maintenance(client) = found else { panic!("{found:?}") };
    client.expect_uuid(uuid(12)).await.unwrap();

    let pin = client.peer_fingerprint().unwrap();
    let other = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".parse().unwrap();
    let found = probe(&lab.pinned(12, pin), &identity).await.unwrap();
    assert!(matches!(found, Found::Maintenance(_)), "{found:?}");
    let error = probe(&lab.pinned(12, other), &identity).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Pin, "{error}");

    lab.install("cp1", 11).await;
    let found = probe(&lab.maintenance(11), &identity).await.unwrap();
    let Found::Ours(client) = found else { panic!("{found:?}") };
    assert_eq!(client.hostname().await.unwrap().as_deref(), Some("cp1"));
    let found = probe(&lab.pinned(11, pin), &identity).await.unwrap();
    assert!(matches!(found, Found::Ours(_)), "{found:?}");

    let contract = "v1.13".parse().unwrap();
    let stranger = talos_client::secrets::Bundle::generate(contract, 1_780_000_000).unwrap();
    let stranger = Identity::admin(&stranger).unwrap();
    let found = probe(&lab.maintenance(11), &stranger).await.unwrap();
    let Found::Foreign(error) = found else { panic!("{found:?}") };
    assert!(error.message().contains("another authority"), "{error}");

    let nowhere = ClientConfig::maintenance(address(99)).dialer(lab.dialer());
    assert_eq!(probe(&nowhere, &identity).await.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_is_followed_even_if_its_answer_is_lost() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (node, client) = lab.install("cp1", 11).await;
    let before = client.boot_id().await.unwrap();
    let after = client.reboot_and_wait(RebootMode::Default, LIMIT).await.unwrap();
    assert_ne!(before, after);
    assert_eq!(node.snapshot()["boots"], 3);
    assert_eq!(client.wait_for_boot(before, LIMIT).await.unwrap(), after);
    let error = client.wait_for_boot(after, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("has not rebooted yet"), "{error}");

    lab.net.faults().add(Fault::new(FaultAction::DropAfter).method("*/Reboot"));
    client.reboot_and_wait(RebootMode::PowerCycle, LIMIT).await.unwrap();
    assert_eq!(node.snapshot()["boots"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_shows_a_machine_on_its_way() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let node = lab.node("cp1", 11).await;
    let client = Client::new(lab.maintenance(11)).unwrap();
    let (namespace, kind) = kinds::MACHINE_STATUS;
    let mut watch = client.watch(namespace, kind, WatchOptions::one("machine")).await.unwrap();
    let first = watch.next().await.unwrap().unwrap();
    assert_eq!(first.kind, EventKind::Created);
    let status = MachineStatus::from_resource(&first.resource).unwrap();
    assert_eq!(status.stage, Stage::Maintenance);
    client.apply(lab.config(11).as_bytes(), ApplyMode::Auto, false).await.unwrap();
    // The node drops the connection when it serves with its own certificate.
    let end = tokio::time::timeout(LIMIT, watch.until(|r| r.text("/stage") == Some("running")));
    let error = end.await.unwrap().unwrap_err();
    assert!(error.is_retryable() && !error.message().contains("http"), "{error}");

    let client = lab.admin(11);
    until("installed", || node.snapshot()["boots"] == 2).await;
    let options = WatchOptions::one("machine");
    let mut watch = eventually("a watch", || client.watch(namespace, kind, options.clone())).await;
    eventually("the bootstrap", || client.bootstrap()).await;
    let end = tokio::time::timeout(LIMIT, watch.until(|r| r.text("/stage") == Some("running")));
    let running = end.await.unwrap().unwrap();
    assert_eq!(running.id, "machine");
    let newer = watch.next().await.unwrap().unwrap();
    assert_eq!(newer.kind, EventKind::Updated);
    assert!(newer.old.is_some() && newer.bookmark.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_are_read_listed_and_watched() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    let all = client.list("network", "NodeAddresses.net.talos.dev").await.unwrap();
    assert!(all.iter().any(|resource| resource.id == "default"), "{all:?}");
    let query = Query::default().id("^default$");
    let some = client.list_where("network", "NodeAddresses.net.talos.dev", &query).await.unwrap();
    assert_eq!(some.len(), 1);
    assert_eq!(some[0].spec["addresses"], json!(["10.5.0.11/24"]));
    let query = Query::default().label("talos.dev/system-volume", "");
    let (namespace, kind) = kinds::VOLUME_STATUS;
    assert!(!client.list_where(namespace, kind, &query).await.unwrap().is_empty());
    assert!(client.find("etcd", "EtcdMembers.etcd.talos.dev", "local").await.unwrap().is_none());
    let error = client.get("runtime", "NoSuch.talos.dev", "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(error.message(), "resource type \"NoSuch.talos.dev\" is not supported");

    let (namespace, kind) = kinds::LINK;
    let watch = client.watch(namespace, kind, WatchOptions::default()).await.unwrap();
    let events: Vec<_> = watch
        .take_while(|event| {
            let is_there = event.as_ref().is_ok_and(|e| e.kind == EventKind::Created);
            std::future::ready(is_there)
        })
        .collect()
        .await;
    assert_eq!(events.len(), client.links().await.unwrap().len());
    assert_eq!(client.addresses().await.unwrap(), ["10.5.0.11/24".parse().unwrap()]);
    assert_eq!(client.node_name().await.unwrap().as_deref(), Some("cp1"));
    assert!(client.links().await.unwrap().iter().any(|link| {
        link.name == "eth0" && link.hardware_addr == "bc:24:11:00:00:0b" && link.mtu == 1500
    }));
    let disks = client.disks().await.unwrap();
    assert!(disks.iter().any(|disk| disk.system && disk.name == "vda"), "{disks:?}");
    assert!(client.memory().await.unwrap() >> 20 > 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_listed_and_restarted() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    let services = value(
        "services",
        || client.services(),
        |list: &Vec<Service>| {
            let find = |id: &str| list.iter().find(|service| service.id == id);
            find("etcd").is_some() && find("apid").is_some_and(Service::is_up)
        },
    )
    .await;
    let etcd = services.iter().find(|service| service.id == "etcd").unwrap();
    assert!(!etcd.is_up());
    let said = eventually("kubelet", || client.service_restart("kubelet")).await;
    assert_eq!(said, "Service \"kubelet\" restarted");
    let error = client.service_stop("apid").await.unwrap_err();
    assert!(error.message().contains("doesn't support stop"), "{error}");
    let error = client.service_start("nothing").await.unwrap_err();
    assert!(error.message().contains("not defined"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_leads_back_to_maintenance_mode() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (node, client) = lab.install("cp1", 11).await;
    let nothing = ResetOptions::default().mode(WipeMode::UserDisks).reboot(false);
    let error = client.reset(&nothing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(lab.net.faults().calls("cp1", "*/Reset"), 0);
    // The last control plane cannot leave etcd.
    let actor = client.reset(&ResetOptions::to_maintenance().graceful(false)).await.unwrap();
    assert!(!actor.is_empty());
    until("maintenance", || node.stage() == "maintenance").await;
    let config = lab.maintenance(11);
    let before = eventually("maintenance", || Client::connect(config.clone())).await;
    before.expect_uuid(uuid(11)).await.unwrap();
    let stale = client.version().await.unwrap_err();
    assert!(matches!(stale.kind(), ErrorKind::Tls | ErrorKind::Interrupted), "{stale}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_powers_the_node_off() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (node, client) = lab.install("cp1", 11).await;
    client.shutdown(true).await.unwrap();
    until("off", || {
        node.snapshot()["power"] != json!(true) && node.snapshot()["power"] != json!("on")
    })
    .await;
    let error = value_error(|| client.version()).await;
    assert!(error.is_retryable(), "{error}");
}

async fn value_error<T, F, Fut>(call: F) -> talos_client::Error
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, talos_client::Error>>,
{
    for _ in 0..500 {
        if let Err(error) = call().await {
            return error;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the node still answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_tells_its_members_status_and_alarms() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    eventually("the bootstrap", || client.bootstrap()).await;
    let members =
        value("a member", || client.etcd_members(), |list: &Vec<_>| list.len() == 1).await;
    assert_eq!(members[0].peer_urls, ["https://10.5.0.11:2380"]);
    let status = client.etcd_status().await.unwrap();
    assert_eq!((status.member_id, status.leader), (members[0].id, members[0].id));
    assert!(client.etcd_alarms().await.unwrap().is_empty());
    assert!(client.etcd_disarm().await.unwrap().is_empty());
    client.etcd_defragment().await.unwrap();
    let error = client.etcd_leave().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(lab.net.faults().calls("cp1", "*/EtcdLeaveCluster"), 0);
    let error = client.etcd_remove_member(1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = client.etcd_forfeit_leadership().await.unwrap_err();
    assert!(error.message().contains("only one member"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_forwards_to_others_and_a_worker_does_not() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_a, cp1) = lab.install("cp1", 11).await;
    lab.install("w1", 21).await;
    eventually("the bootstrap", || cp1.bootstrap()).await;
    let worker = lab.admin(21);
    eventually("the worker", || worker.version()).await;
    let via = Client::new(lab.role(11, &["os:admin"]).forward_to("10.5.0.21")).unwrap();
    assert_eq!(via.hostname().await.unwrap().as_deref(), Some("w1"));
    let via = Client::new(lab.role(21, &["os:admin"]).forward_to("10.5.0.11")).unwrap();
    let error = via.hostname().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert_eq!(error.node(), "10.5.0.11 via 10.5.0.21");
    let error = worker.kubeconfig().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unimplemented, "{error}");
    assert!(error.message().contains("only available on control plane nodes"), "{error}");
    let error = worker.bootstrap().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unimplemented, "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_changed_live_and_compared() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (node, client) = lab.install("cp1", 11).await;
    let config = lab.config(11);
    assert!(client.stored_machine_config().await.unwrap().is_none());
    let same = client.apply(config.as_bytes(), ApplyMode::Auto, true).await.unwrap();
    assert!(same.difference.unwrap().is_empty());
    let changed = config.replace("debug: false", "debug: true");
    let dry = client.apply(changed.as_bytes(), ApplyMode::NoReboot, true).await.unwrap();
    assert_eq!(dry.mode, Some(ApplyMode::NoReboot));
    assert!(dry.difference.unwrap().redacted().contains("debug: …"));
    let done = client.apply(changed.as_bytes(), ApplyMode::NoReboot, false).await.unwrap();
    assert_eq!(done.mode_details, "Applied configuration without a reboot");
    let now = client.machine_config().await.unwrap().unwrap();
    assert!(secrecy::ExposeSecret::expose_secret(&now).contains("debug: true"));
    // What is staged is kept for the next boot, and the node runs on as it is.
    let staged = changed.replace("debug: true", "debug: false");
    client.apply(staged.as_bytes(), ApplyMode::Staged, false).await.unwrap();
    let active = client.machine_config().await.unwrap().unwrap();
    let stored = client.stored_machine_config().await.unwrap().unwrap();
    assert!(secrecy::ExposeSecret::expose_secret(&active).contains("debug: true"));
    assert!(secrecy::ExposeSecret::expose_secret(&stored).contains("debug: false"));
    // A later call has the last word.
    client.apply(changed.as_bytes(), ApplyMode::NoReboot, false).await.unwrap();
    let stored = client.stored_machine_config().await.unwrap().unwrap();
    assert!(secrecy::ExposeSecret::expose_secret(&stored).contains("debug: true"));
    let other = changed.replace("    token: fwv3cq.", "    token: fwv3cr.");
    let error = client.apply(other.as_bytes(), ApplyMode::NoReboot, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(error.message(), "this config change can't be applied in immediate mode");
    let minute = ApplyMode::Try(Duration::from_mins(1));
    let tried = client.apply(config.as_bytes(), minute, false).await.unwrap();
    assert_eq!(tried.mode, Some(minute));
    assert!(tried.mode_details.contains("'try' mode"), "{}", tried.mode_details);
    assert_eq!(node.snapshot()["boots"], Value::from(2));
}
