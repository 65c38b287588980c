//! Logs, events, snapshots, images, other versions.

use std::time::Duration;

use talos_client::ErrorKind;
use talos_client::api::{
    Bootstrap, EventOptions, Happening, ImageStore, LogOptions, RebootMode, Stage, UpgradeOptions,
};
use talos_client::sim::{Fault, FaultAction, Pace};

use super::lab::{Lab, eventually, until, value};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_as_a_stream() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    let mut log = client.logs("apid", &LogOptions::default().tail(10)).await.unwrap();
    let first = log.next().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("apid"));
    let mut log = client.logs("nothing", &LogOptions::default()).await;
    let error = match &mut log {
        Ok(log) => log.next().await.unwrap().unwrap_err(),
        Err(error) => error.clone(),
    };
    assert_eq!(error.message(), "log \"nothing\" was not registered");
    assert_eq!((error.operation(), error.node()), ("read a log", "10.5.0.11"));
    let mut kernel = client.dmesg(false).await.unwrap();
    let line = kernel.next().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&line).starts_with("kern: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_what_a_call_led_to() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    let mut events = client.events(EventOptions::all()).await.unwrap();
    let (mut services, mut stages, mut sequences) = (0, 0, 0);
    while let Ok(Some(event)) = tokio::time::timeout(LIMIT / 60, events.next()).await {
        let event = event.unwrap();
        assert!(!event.id.is_empty());
        match event.what {
            Happening::Service { name, state, .. } => {
                assert!(!name.is_empty() && state == state.to_uppercase());
                services += 1;
            }
            Happening::Machine(status) => {
                // The first one of a boot comes before there is a stage.
                assert!(!matches!(status.stage, Stage::Other(_)), "{status:?}");
                stages += 1;
            }
            Happening::Sequence { .. } => sequences += 1,
            _ => {}
        }
    }
    assert!(services > 3 && stages > 0 && sequences > 0, "{services} {stages} {sequences}");

    let actor = client.reboot(RebootMode::Default).await.unwrap();
    let mut of_call = client.events(EventOptions::all().of(actor.clone())).await.unwrap();
    let event = tokio::time::timeout(LIMIT, of_call.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(event.actor, Some(actor));
    // The end of the boot is the end of the stream.
    let end = async { while let Some(Ok(_)) = events.next().await {} };
    tokio::time::timeout(LIMIT, end).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_made_again_from_a_snapshot() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    eventually("the bootstrap", || client.bootstrap()).await;
    value("a member", || client.etcd_members(), |list: &Vec<_>| list.len() == 1).await;
    let mut bytes = Vec::new();
    let snapshot = client.etcd_snapshot(&mut bytes).await.unwrap();
    assert_eq!(snapshot.length, bytes.len() as u64);

    lab.net.faults().add(Fault::new(FaultAction::DropBefore).method("*/EtcdSnapshot").times(2));
    let error = client.etcd_snapshot(tokio::io::sink()).await.unwrap_err();
    assert!(error.is_retryable() && !error.may_have_been_applied(), "{error}");

    let (other, second) = lab.install("cp2", 12).await;
    lab.net.forget("00000000-0000-0000-0000-000000000011");
    let error = second.etcd_recover(breaking_file()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.message().contains("cannot be read"), "{error}");
    second.etcd_recover(bytes.as_slice()).await.unwrap();
    let done = eventually("the recovery", || second.bootstrap_from_snapshot(true)).await;
    assert_eq!(done, Bootstrap::Started);
    value("a member", || second.etcd_members(), |list: &Vec<_>| !list.is_empty()).await;
    assert_eq!(other.snapshot()["bootstraps"], 1);
    assert_eq!(second.bootstrap_from_snapshot(true).await.unwrap(), Bootstrap::AlreadyDone);
}

/// A file that breaks after its first bytes.
fn breaking_file() -> impl tokio::io::AsyncRead + Unpin {
    let first = futures_util::stream::iter([
        Ok(bytes::Bytes::from_static(b"first")),
        Err(std::io::Error::other("disk")),
    ]);
    tokio_util::io::StreamReader::new(first)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_runs_another_version_and_goes_back() {
    let mut lab = Lab::new("v1.13.8", Pace::quick());
    let (node, client) = lab.install("cp1", 11).await;
    let error = client.rollback().await.unwrap_err();
    assert!(error.message().contains("cannot rollback"), "{error}");

    let image = "ghcr.io/siderolabs/installer:v1.13.9";
    let before = client.boot_id().await.unwrap();
    client.upgrade(image, UpgradeOptions::default()).await.unwrap();
    let second = client.wait_for_boot(before, LIMIT).await.unwrap();
    assert_eq!(client.version().await.unwrap().tag, "v1.13.9");
    client.rollback().await.unwrap();
    client.wait_for_boot(second, LIMIT).await.unwrap();
    assert_eq!(client.version().await.unwrap().tag, "v1.13.8");

    let mut seen = 0;
    let pulled = client.image_pull(ImageStore::System, image, |_| seen += 1).await.unwrap();
    assert!(pulled.starts_with("ghcr.io/siderolabs/installer@sha256:"), "{pulled}");
    let mut lines = Vec::new();
    client.install_version(image, |line| lines.push(line.to_owned())).await.unwrap();
    assert!(lines.iter().any(|line| line.contains("v1.13.9")), "{lines:?}");
    assert_eq!(client.version().await.unwrap().tag, "v1.13.8");
    client.reboot_and_wait(RebootMode::Default, LIMIT).await.unwrap();
    assert_eq!(client.version().await.unwrap().tag, "v1.13.9");
    until("running", || node.stage() == "running" || node.stage() == "booting").await;
    assert!(client.images(ImageStore::Kubernetes).await.unwrap().is_empty());
    let system = client.images(ImageStore::System).await.unwrap();
    assert!(system.iter().any(|one| one.name.contains("/kubelet:")), "{system:?}");
    assert!(!system.iter().any(|one| one.name.contains("/installer:")), "{system:?}");
    // What is pulled is there from then on; what no registry holds is not pulled.
    let etcd = "registry.k8s.io/etcd:v3.6.12";
    client.image_pull(ImageStore::Kubernetes, etcd, |_| {}).await.unwrap();
    let listed = client.images(ImageStore::Kubernetes).await.unwrap();
    assert!(listed.iter().any(|one| one.name == etcd), "{listed:?}");
    let error = client
        .image_pull(ImageStore::Kubernetes, "ghcr.io/siderolabs/nosuch:v1", |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = client.install_version("", |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_node_says_since_when_a_call_exists() {
    let mut lab = Lab::new("v1.12.4", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    let image = "ghcr.io/siderolabs/installer:v1.12.5";
    for error in [
        client.install_version(image, |_| {}).await.unwrap_err(),
        client.image_remove(ImageStore::System, image).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unimplemented, "{error}");
        assert!(error.message().ends_with("Talos has it since 1.13"), "{error}");
        assert!(!error.is_retryable() && !error.may_have_been_applied());
    }
}
