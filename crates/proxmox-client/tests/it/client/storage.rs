//! Uploads, the networks' transaction, pools.

use std::fmt::Write as _;

use proxmox_client::plan::sdn::{Kind, SdnChange, SdnObserved, diff};
use proxmox_client::sim::{Fault, FaultAction, SimCluster, SimStorage};
use proxmox_client::{Client, Ensured, ErrorKind, Upload};

use sha2::{Digest as _, Sha256};

use super::networks::networks;
use super::{by_token, node};

/// Five mebibytes that are not all alike.
fn file(dir: &tempfile::TempDir) -> std::path::PathBuf {
    let path = dir.path().join("talos.iso");
    let bytes: Vec<u8> = (0..5_u32 << 20).map(|i| (i % 251) as u8).collect();
    fs_err::write(&path, bytes).expect("a file");
    path
}

async fn client() -> (proxmox_client::sim::SimHandle, Client) {
    let sim = SimCluster::builder()
        .nodes(["pve01", "pve02"])
        .task_time(std::time::Duration::from_millis(5))
        .storages([SimStorage::dir("local", "iso,images")])
        .start()
        .await
        .expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    (sim, client)
}

#[tokio::test]
async fn a_file_is_uploaded_hashed_and_removed() {
    let (sim, client) = client().await;
    let dir = tempfile::tempdir().expect("a folder");
    let path = file(&dir);
    let node = node();
    let storage = client.storage(&node);
    let mut seen = Vec::new();
    let upload = Upload { content: "iso", filename: "t.iso", path: &path, sha256: None };
    let done = storage
        .upload("local", upload, &mut |sent, all| seen.push((sent, all)))
        .await
        .expect("an upload");
    assert_eq!((done.volid.as_str(), done.size), ("local:iso/t.iso", 5 << 20));
    assert_eq!(seen.last(), Some(&(5 << 20, 5 << 20)));
    let found = storage.find("local", "iso", "t.iso").await.expect("content").expect("a file");
    assert_eq!(found.size, Some(5 << 20));
    let with_hash = Upload { sha256: Some(&done.sha256), ..upload };
    storage.upload("local", with_hash, &mut |_, _| {}).await.expect("the server agrees");
    let wrong = "0".repeat(64);
    let with_wrong = Upload { sha256: Some(&wrong), ..upload };
    let error = storage.upload("local", with_wrong, &mut |_, _| {}).await.expect_err("a mismatch");
    assert!(error.text().contains("checksum mismatch"), "{error}");
    storage.delete("local", "local:iso/t.iso").await.expect("a removal");
    assert_eq!(storage.find("local", "iso", "t.iso").await.expect("content"), None);
    sim.shutdown().await;
}

#[tokio::test]
async fn an_upload_whose_answer_was_lost_is_not_sent_again() {
    let (sim, client) = client().await;
    let dir = tempfile::tempdir().expect("a folder");
    let path = file(&dir);
    let node = node();
    let upload = Upload { content: "iso", filename: "t.iso", path: &path, sha256: None };
    let faults = sim.faults();
    for action in [FaultAction::CutBeforeReply, FaultAction::CutInBody, FaultAction::ProxyLost] {
        faults.clear();
        faults.add(Fault::new("POST", "/nodes/*/storage/*/upload", action.clone()).once());
        faults.reset_counters();
        let done = client.storage(&node).upload("local", upload, &mut |_, _| {}).await;
        assert_eq!(done.expect("it came through").size, 5 << 20, "{action:?}");
        let counters = faults.counters();
        let sent = counters.get("POST /nodes/{node}/storage/{storage}/upload");
        assert_eq!(sent.map(|row| row.count), Some(1), "{action:?}");
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn files_of_any_size_arrive_whole() {
    let (sim, client) = client().await;
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("t.iso");
    let node = node();
    for size in [0, 1, (256 << 10) - 1, 256 << 10, (256 << 10) + 1, 3 << 20] {
        let bytes: Vec<u8> = (0..size).map(|i: u32| (i % 253) as u8).collect();
        fs_err::write(&path, &bytes).expect("a file");
        let sha256 = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a text");
            text
        });
        // The server compares the hash with what came.
        let upload =
            Upload { content: "iso", filename: "t.iso", path: &path, sha256: Some(&sha256) };
        let mut last = (0, 0);
        let done = client
            .storage(&node)
            .upload("local", upload, &mut |sent, all| last = (sent, all))
            .await
            .expect("an upload");
        assert_eq!((done.size, done.sha256.as_str()), (u64::from(size), sha256.as_str()));
        assert_eq!(last, (u64::from(size), u64::from(size)));
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn a_file_that_is_there_is_not_sent() {
    let (sim, client) = client().await;
    let dir = tempfile::tempdir().expect("a folder");
    let path = file(&dir);
    let node = node();
    let storage = client.storage(&node);
    let upload = Upload { content: "iso", filename: "t.iso", path: &path, sha256: None };
    let first = storage.ensure("local", upload, false, &mut |_, _| {}).await.expect("a file");
    assert!(matches!(first, Ensured::Uploaded(_)));
    let second = storage.ensure("local", upload, false, &mut |_, _| {}).await.expect("a file");
    assert!(matches!(second, Ensured::There(_)));
    fs_err::write(&path, b"another").expect("a file");
    let error = storage.ensure("local", upload, false, &mut |_, _| {}).await.expect_err("other");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    storage.ensure("local", upload, true, &mut |_, _| {}).await.expect("it is replaced");
    let there = storage.find("local", "iso", "t.iso").await.expect("content").expect("a file");
    assert_eq!(there.size, Some(7));
    assert!(storage.status("local").await.expect("a status").holds("iso"));
    sim.shutdown().await;
}

async fn commit(client: &Client, changes: &[SdnChange]) {
    let sdn = client.sdn();
    let token = sdn.lock().await.expect("the lock");
    let busy = sdn.lock().await.expect_err("somebody holds it");
    assert_eq!(busy.kind(), ErrorKind::Busy, "{busy}");
    for change in changes {
        sdn.save(change, Some(&token)).await.expect("a change");
    }
    sdn.apply(Some(&token)).await.expect("an apply");
}

#[tokio::test]
async fn networks_are_made_changed_and_removed_in_one_transaction() {
    let (sim, client) = client().await;
    let node = node();
    assert!(!client.sdn().has_pending_network(&node).await.expect("an answer"));
    let observed = client.sdn().observe().await.expect("networks");
    assert_eq!(observed, SdnObserved::default());
    let plan = diff(&networks("1450"), &observed, |_| false, false);
    assert_eq!(plan.changes.len(), 4);
    commit(&client, &plan.changes).await;
    let observed = client.sdn().observe().await.expect("networks");
    assert!(diff(&networks("1450"), &observed, |_| false, false).is_empty(), "{observed:#?}");
    let zones = client.sdn().zones_of(&node).await.expect("zones");
    let zone = zones.iter().find(|zone| zone.zone == "evpnz1").expect("the zone");
    assert_eq!(zone.status.as_deref(), Some("available"));

    let plan = diff(&networks("1400"), &observed, |_| true, false);
    commit(&client, &plan.changes).await;
    let observed = client.sdn().observe().await.expect("networks");
    let zone = observed.objects.iter().find(|one| one.kind == Kind::Zone).expect("the zone");
    assert_eq!(zone.fields.get("mtu").map(String::as_str), Some("1400"));

    let mut removals: Vec<SdnChange> = observed
        .objects
        .iter()
        .map(|object| SdnChange::Delete { object: object.clone() })
        .collect();
    removals.reverse();
    commit(&client, &removals).await;
    assert_eq!(client.sdn().observe().await.expect("networks"), SdnObserved::default());
    sim.shutdown().await;
}

#[tokio::test]
async fn what_is_saved_and_not_applied_is_seen_and_rolled_back() {
    let (sim, client) = client().await;
    let sdn = client.sdn();
    let plan = diff(&networks("1450"), &SdnObserved::default(), |_| false, false);
    let token = sdn.lock().await.expect("the lock");
    for change in &plan.changes {
        sdn.save(change, Some(&token)).await.expect("a change");
    }
    let observed = sdn.observe().await.expect("networks");
    let again = diff(&networks("1450"), &observed, |_| false, false);
    assert_eq!((again.changes.len(), again.unapplied.len()), (0, 4), "{again:#?}");
    sdn.unlock(None).await.expect("a forced release");
    let token = sdn.lock().await.expect("the lock");
    sdn.rollback(&token).await.expect("a rollback");
    assert_eq!(sdn.observe().await.expect("networks"), SdnObserved::default());
    sim.shutdown().await;
}

#[tokio::test]
async fn a_pool_is_made_by_one_of_two() {
    let (sim, client) = client().await;
    let pools = client.pools();
    assert!(pools.get("lock").await.expect("an answer").is_none());
    let (one, two) = tokio::join!(pools.create("lock", "one"), pools.create("lock", "two"));
    assert!(one.is_ok() != two.is_ok());
    let error = one.err().or(two.err()).expect("one was too late");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    pools.set_comment("lock", "three").await.expect("a comment");
    let pool = pools.get("lock").await.expect("an answer").expect("the pool");
    assert_eq!(pool.comment.as_deref(), Some("three"));
    pools.delete("lock").await.expect("a removal");
    assert!(pools.get("lock").await.expect("an answer").is_none());
    sim.shutdown().await;
}
