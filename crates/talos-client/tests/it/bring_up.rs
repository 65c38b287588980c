//! A node from maintenance mode to a member of etcd, with every version.

use std::time::Duration;

use talos_client::api::{ApplyMode, Bootstrap, Stage};
use talos_client::sim::Pace;
use talos_client::{Client, ErrorKind};

use super::lab::{Lab, eventually, uuid};

async fn bring_up(talos: &'static str, pace: Pace) {
    let mut lab = Lab::new(talos, pace);
    let node = lab.node("cp1", 11).await;
    let before = Client::connect(lab.maintenance(11)).await.unwrap();

    before.expect_uuid(uuid(11)).await.unwrap();
    let status = before.machine_status().await.unwrap();
    assert_eq!((status.stage, status.ready), (Stage::Maintenance, true));
    let disks = before.disks().await.unwrap();
    let usable: Vec<_> = disks.iter().filter(|disk| disk.is_usable()).collect();
    assert_eq!(usable.len(), 1, "{disks:?}");
    assert_eq!((usable[0].dev_path.as_str(), usable[0].size), ("/dev/vda", 40 << 30));
    let refused = before.bootstrap().await.unwrap_err();
    assert!(
        matches!(refused.kind(), ErrorKind::PermissionDenied | ErrorKind::Unimplemented),
        "{refused}"
    );

    let config = lab.config(11);
    let applied = before.apply(config.as_bytes(), ApplyMode::Auto, false).await.unwrap();
    assert!(applied.difference.is_none());

    let client = lab.admin(11);
    let boot = eventually("the first answer", || client.boot_id()).await;
    eventually("another boot", || async {
        let now = client.boot_id().await?;
        if now == boot { client.read_file("/nothing").await.map(drop) } else { Ok(()) }
    })
    .await;
    assert_eq!(node.snapshot()["installs"], 1);
    client.expect_uuid(uuid(11)).await.unwrap();
    let version = client.version().await.unwrap();
    assert_eq!(version.tag, talos);
    assert_eq!(client.machine_type().await.unwrap(), "controlplane");

    let done = eventually("the bootstrap", || client.bootstrap()).await;
    assert_eq!(done, Bootstrap::Started);
    eventually("members", || async {
        let members = client.etcd_members().await?;
        assert_eq!(members.len(), 1);
        assert_eq!(members[0].hostname, "cp1");
        Ok(())
    })
    .await;
    assert_eq!(client.bootstrap().await.unwrap(), Bootstrap::AlreadyDone);
    assert_eq!(lab.bootstraps(), 1);

    let kubeconfig = client.kubeconfig().await.unwrap();
    assert!(kubeconfig.expose().contains("admin@rig"));
    assert!(!format!("{kubeconfig:?}").contains("admin"));
    let config = client.machine_config().await.unwrap().unwrap();
    let config = secrecy::ExposeSecret::expose_secret(&config);
    assert!(config.contains("clusterName: rig"));
    eventually("running", || async {
        let status = client.machine_status().await?;
        if status.stage == Stage::Running {
            return Ok(());
        }
        client.read_file("/nothing").await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_1_11() {
    bring_up("v1.11.5", Pace::quick()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_1_12() {
    bring_up("v1.12.4", Pace::quick()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_1_13() {
    bring_up("v1.13.9", Pace::quick()).await;
}

#[tokio::test(start_paused = true)]
async fn in_virtual_time_at_the_pace_of_a_real_machine() {
    let begin = tokio::time::Instant::now();
    let brake = tokio::spawn(brake());
    bring_up("v1.13.9", Pace::scaled(1.0)).await;
    brake.abort();
    // Installing alone takes a minute. A wait by another clock would not be in it.
    let lived = begin.elapsed();
    assert!(lived > Duration::from_secs(100), "{lived:?}");
}

/// A clock that is paused leaps to the next timer whenever no task can go on, also while bytes are on their way
/// between two sockets: with nothing but the time limit of a call ahead, that call would fail. While a thread
/// waits it stands still, so that no limit passes before a machine under load had time to answer.
#[expect(clippy::disallowed_methods, reason = "it holds tokio's clock back, and cannot go by it")]
async fn brake() {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let wait = || std::thread::sleep(Duration::from_millis(1));
        if tokio::task::spawn_blocking(wait).await.is_err() {
            return;
        }
    }
}
