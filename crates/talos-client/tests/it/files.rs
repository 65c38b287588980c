//! Files, META, devices, images of older nodes, and many nodes at once.

use talos_client::api::{ImageStore, Wipe, WipeOptions, apart, each};
use talos_client::sim::{Fault, FaultAction, Pace};
use talos_client::{Client, ErrorKind};

use super::lab::{Lab, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_listed_one_entry_at_a_time() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    let mut entries = client.files("/etc", 1).await.unwrap();
    let mut found = Vec::new();
    while let Some(entry) = entries.next().await {
        found.push(entry.unwrap());
    }
    assert_eq!((found[0].path.as_str(), found[0].relative.as_str()), ("/etc", "."));
    let below = found.iter().find(|entry| entry.relative == "kubernetes").unwrap();
    assert!(below.is_dir && below.mode == 0o755 && below.modified.is_some(), "{below:?}");
    let error = match client.files("/nothing", 0).await {
        Ok(mut nothing) => nothing.next().await.unwrap().unwrap_err(),
        Err(error) => error,
    };
    assert_eq!((error.operation(), error.node()), ("list files", "10.5.0.11"));
    assert!(error.message().contains("no such file"), "{error}");
    let used = client.disk_usage("/var", 2, 0).await.unwrap();
    assert!(!used.is_empty() && used.iter().all(|one| one.path.starts_with("/var")), "{used:?}");
    assert!(used.iter().all(|one| one.error.is_none()), "{used:?}");
    let mut file = client.open_file("/etc/os-release").await.unwrap();
    let text = file.next().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&text).contains("ID=talos"));
    assert!(file.next().await.is_none());
    let error = match client.open_file("/nothing").await {
        Ok(mut nothing) => nothing.next().await.unwrap().unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_is_written_read_and_deleted() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    client.meta_write(0x0a, b"secret").await.unwrap();
    let keys = client.meta_keys().await.unwrap();
    let key = keys.iter().find(|one| one.key == 0x0a).unwrap();
    assert_eq!(key.expose(), "secret");
    assert!(!format!("{keys:?}").contains("secret"));
    assert!(client.meta_delete(0x0a).await.unwrap());
    assert!(!client.meta_delete(0x0a).await.unwrap());
    assert!(client.meta_keys().await.unwrap().iter().all(|one| one.key != 0x0a));
    let writer = Client::new(lab.role(11, &["os:meta:writer"])).unwrap();
    writer.meta_write(0x0b, b"x").await.unwrap();
    let reader = Client::new(lab.role(11, &["os:reader"])).unwrap();
    let error = reader.meta_write(0x0b, b"x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(!error.may_have_been_applied());
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_in_use_are_wiped_only_if_that_is_said() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    for nothing in [vec![], vec!["/dev/"], vec!["vda", ""]] {
        let error = client.wipe(&nothing, Wipe::Fast).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    assert_eq!(lab.net.faults().calls("cp1", "*/BlockDeviceWipe"), 0);
    let error = client.wipe(&["/dev/vda"], Wipe::Zeroes).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.message().contains("in use by volume"), "{error}");
    let all = WipeOptions::default().used_by_volumes().drop_partition();
    client.wipe_with(&["vda5"], all).await.unwrap();
    let error = client.wipe(&["loop0"], Wipe::Fast).await.unwrap_err();
    assert!(error.message().contains("read-only"), "{error}");
    let error = client.wipe(&["vdz"], Wipe::Fast).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_an_older_node_are_pulled_by_its_own_calls() {
    let mut lab = Lab::new("v1.12.4", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    let etcd = "registry.k8s.io/etcd:v3.6.9";
    let name = client.image_pull(ImageStore::Kubernetes, etcd, |_| {}).await.unwrap();
    assert!(name.starts_with("registry.k8s.io/etcd@sha256:"), "{name}");
    let images = client.images(ImageStore::Kubernetes).await.unwrap();
    let image = images.iter().find(|image| image.name == etcd).unwrap();
    assert!(image.size > 0 && image.created.is_some());
    let installer = "ghcr.io/siderolabs/installer:v1.12.5";
    let name = client.image_pull(ImageStore::System, installer, |_| {}).await.unwrap();
    assert_eq!(name, installer, "the node does not tell its digest");
    let error =
        client.image_pull(ImageStore::System, "ghcr.io/nosuch:v1", |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = client.image_pull(ImageStore::System, "", |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let error = client.image_remove(ImageStore::System, installer).await.unwrap_err();
    assert!(error.message().ends_with("Talos has it since 1.13"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_nodes_each_has_its_own_answer() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_a, cp1) = lab.install("cp1", 11).await;
    let (_b, cp2) = lab.install("cp2", 12).await;
    eventually("an answer", || cp2.version()).await;
    lab.net.faults().add(Fault::new(FaultAction::RefuseConnect).node("cp1").times(1000));
    let gone = lab.admin(11);
    let all = each(&[gone, cp2.clone(), cp1], 2, async |node| node.hostname().await).await;
    assert_eq!(all.len(), 3);
    assert_eq!(all[1].answer.as_ref().unwrap().as_deref(), Some("cp2"));
    assert_eq!(all[0].answer.as_ref().unwrap_err().node(), "10.5.0.11");
    let (answers, failures) = apart(all);
    assert!(answers.iter().any(|(address, _)| *address == cp2.address()));
    assert!(!failures.is_empty());

    let client = &cp2;
    let kept = "registry.k8s.io/pause:3.10";
    client.image_pull(ImageStore::Kubernetes, kept, |_| {}).await.unwrap();
    assert!(client.image_remove(ImageStore::Kubernetes, kept).await.unwrap());
    assert!(!client.image_remove(ImageStore::Kubernetes, kept).await.unwrap());
    // An installer that was removed is not there to be run.
    let installer = "ghcr.io/siderolabs/installer:v1.13.10";
    client.image_pull(ImageStore::System, installer, |_| {}).await.unwrap();
    assert!(client.image_remove(ImageStore::System, installer).await.unwrap());
    assert!(!client.image_remove(ImageStore::System, installer).await.unwrap());
    let error = client.install_version(installer, |_| {}).await.unwrap_err();
    assert!(error.message().contains("not found in containerd store"), "{error}");
}
