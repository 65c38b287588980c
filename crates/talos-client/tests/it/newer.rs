//! Calls that are made now and then: captures, imports, etcd on its way back, what a version does not have.

use std::io::Write as _;

use talos_client::api::{CaptureOptions, EventOptions, Happening, ImageStore, RebootMode, Stage};
use talos_client::sim::{Fault, FaultAction, Pace};
use talos_client::{Client, ErrorKind};

use super::lab::{Lab, eventually, value};

const LIMIT: std::time::Duration = std::time::Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn packets_are_captured_for_those_who_may() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    let filter = "{ 0x28, 0, 0, 0x0000000c },\n{ 0x6, 0, 0, 0x00040000 }".parse().unwrap();
    let options = CaptureOptions::of("eth0").promiscuous(true).length(96).filter(filter);
    let mut capture = client.capture(&options).await.unwrap();
    let head = capture.next().await.unwrap().unwrap();
    // The head of a file of `tcpdump`: its mark, version 2.4, and how much is kept of each packet.
    assert_eq!(head[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
    assert_eq!(head[16..20], 96u32.to_le_bytes());
    drop(capture);
    let error = client.capture(&CaptureOptions::of("eth7")).await.unwrap_err();
    assert!(error.message().contains("no such network interface"), "{error}");
    let error = client.capture(&CaptureOptions::of("")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let reader = Client::new(lab.role(11, &["os:reader"])).unwrap();
    let error = reader.capture(&options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
}

/// An archive of an image, in the form of Docker.
fn archive(name: &str) -> Vec<u8> {
    let manifest = format!("[{{\"RepoTags\":[{name:?}]}}]");
    let mut out = Vec::new();
    for (path, content) in [("layer.tar", vec![7; 700_000]), ("manifest.json", manifest.into())] {
        let mut head = [0u8; 512];
        head[..path.len()].copy_from_slice(path.as_bytes());
        write!(&mut head[124..136], "{:011o}", content.len()).unwrap();
        out.extend(head);
        out.extend(&content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_imported_out_of_an_archive() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    let name = "registry.example/tool:v1";
    let archive = archive(name);
    let store = ImageStore::Kubernetes;
    assert_eq!(client.image_import(store, archive.as_slice()).await.unwrap(), name);
    let images = client.images(store).await.unwrap();
    assert!(images.iter().any(|image| image.name == name), "{images:?}");
    assert!(client.image_remove(store, name).await.unwrap());
    let error = client.image_import(store, &b"no archive"[..]).await.unwrap_err();
    assert!(error.message().contains("unexpected EOF"), "{error}");
    // Whether a cut one arrived is not known, and it can be sent again.
    lab.net.faults().add(Fault::new(FaultAction::DropAfter).method("*/Import"));
    let error = client.image_import(store, archive.as_slice()).await.unwrap_err();
    assert!(error.may_have_been_applied(), "{error}");
    let again = || client.image_import(store, archive.as_slice());
    assert_eq!(eventually("the import", again).await, name);
    let operator = Client::new(lab.role(11, &["os:operator"])).unwrap();
    let error = operator.image_import(store, archive.as_slice()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_told_that_it_may_go_back() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    eventually("the bootstrap", || client.bootstrap()).await;
    value("a member", || client.etcd_members(), |list: &Vec<_>| list.len() == 1).await;
    assert_eq!(client.etcd_downgrade_check("3.5").await.unwrap(), "3.6");
    let error = client.etcd_downgrade_check("3").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let error = client.etcd_downgrade_check("3.4").await.unwrap_err();
    assert!(error.message().contains("invalid downgrade target version"), "{error}");
    assert_eq!(client.etcd_downgrade_cancel().await.unwrap(), "3.6");
    assert_eq!(client.etcd_downgrade("3.5").await.unwrap(), "3.6");
    let error = client.etcd_downgrade("3.5").await.unwrap_err();
    assert!(error.message().contains("ongoing downgrade job"), "{error}");
    assert_eq!(client.etcd_downgrade_cancel().await.unwrap(), "3.6");
    assert_eq!(client.etcd_downgrade_check("3.5").await.unwrap(), "3.6");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_reboot_by_events_sees_its_end() {
    let mut lab = Lab::new("v1.13.9", Pace::scaled(0.03));
    let (node, client) = lab.install("cp1", 11).await;
    eventually("the bootstrap", || client.bootstrap()).await;
    value("a member", || client.etcd_members(), |list: &Vec<_>| list.len() == 1).await;
    let snapshot = lab.net.snapshot();
    let clusters = snapshot["clusters"].as_object().unwrap();
    lab.net.declare_cni(clusters.values().next().unwrap()["cluster_id"].as_str().unwrap());
    super::lab::until("ready", || node.snapshot()["node_ready"] == true).await;
    let before = client.boot_id().await.unwrap();
    let mut events = client.events(EventOptions::default()).await.unwrap();
    let actor = client.reboot(RebootMode::Default).await.unwrap();
    // All that is done for it bears its name, to the task after which nothing answers any more.
    let (mut tasks, mut last) = (Vec::new(), String::new());
    while let Ok(Some(Ok(event))) = tokio::time::timeout(LIMIT, events.next()).await {
        assert!(event.id > last, "{} after {last}", event.id);
        last = event.id;
        if let Happening::Task { name, .. } = event.what {
            assert_eq!(event.actor.as_ref(), Some(&actor), "{name}");
            tasks.push(name);
        }
    }
    assert_eq!(tasks.first().map(String::as_str), Some("stopAllPods"));
    assert_eq!(tasks.last().map(String::as_str), Some("stopAllServices"));
    // In the next boot an event says when the machine is ready again.
    assert_ne!(client.wait_for_boot(before, LIMIT).await.unwrap(), before);
    let ready = async {
        loop {
            let Ok(mut events) = client.events(EventOptions::all()).await else { continue };
            while let Some(Ok(event)) = events.next().await {
                match event.what {
                    Happening::Machine(status)
                        if status.stage == Stage::Running && status.ready =>
                    {
                        return event.id;
                    }
                    _ => {}
                }
            }
        }
    };
    let ready = tokio::time::timeout(LIMIT, ready).await.unwrap();
    // Events behind one of them are those that came later.
    let mut later = client.events(EventOptions::after(&ready)).await.unwrap();
    client.service_restart("kubelet").await.unwrap();
    let next = tokio::time::timeout(LIMIT, later.next()).await.unwrap().unwrap().unwrap();
    assert!(next.id > ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_knows_the_types_of_its_version() {
    for (talos, has) in [("v1.11.6", false), ("v1.12.7", true)] {
        let mut lab = Lab::new(talos, Pace::quick());
        let (_node, client) = lab.install("cp1", 11).await;
        let kind = "PlatformConfigs.net.talos.dev";
        let found = client.list("network", kind).await;
        assert_eq!(found.is_ok(), has, "{talos}: {found:?}");
        if let Err(error) = found {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert!(error.message().contains("is not supported"), "{error}");
        }
        let kinds = client.list("meta", "ResourceDefinitions.meta.cosi.dev").await.unwrap();
        assert_eq!(kinds.iter().any(|one| one.id == kind.to_lowercase()), has, "{talos}");
    }
}
