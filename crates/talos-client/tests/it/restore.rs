//! etcd of a cluster out of a snapshot, step by step.

use std::sync::Mutex;
use std::time::Duration;

use talos_client::api::{Bootstrap, ResetOptions, WipeMode};
use talos_client::health::Target;
use talos_client::plan::{EtcdData, RestoreStep};
use talos_client::restore::{Options, Progress, observe, restore};
use talos_client::sim::{Fault, FaultAction, Pace, SimNode};
use talos_client::{Client, ErrorKind};

use super::lab::{Lab, eventually, value};

const LIMIT: Duration = Duration::from_mins(1);

async fn cluster(lab: &mut Lab) -> (Vec<Target>, Vec<SimNode>) {
    let (mut targets, mut nodes) = (Vec::new(), Vec::new());
    for (name, suffix) in [("cp1", 11), ("cp2", 12), ("cp3", 13)] {
        let (node, client) = lab.install(name, suffix).await;
        targets.push(Target { name: name.into(), control_plane: true, client });
        nodes.push(node);
    }
    let clients: Vec<Client> = targets.iter().map(|target| target.client.clone()).collect();
    eventually("the bootstrap", || Bootstrap::of_cluster(&clients)).await;
    value(
        "the members",
        || clients[0].etcd_members(),
        |list: &Vec<_>| list.len() == 3 && list.iter().all(|member| !member.is_learner),
    )
    .await;
    (targets, nodes)
}

fn options() -> Options {
    Options::default().patience(Duration::from_millis(500)).limit(LIMIT).except(&["ready"])
}

/// etcd's data of a node is lost: its partition was wiped without leaving the cluster.
async fn lose(target: &Target) {
    let mut reset = ResetOptions::default().graceful(false).mode(WipeMode::SystemDisk);
    reset.partitions = vec!["EPHEMERAL".to_owned()];
    let before = target.client.boot_id().await.unwrap();
    target.client.reset(&reset).await.unwrap();
    target.client.wait_for_boot(before, LIMIT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_lost_its_quorum_is_made_again_from_a_snapshot() {
    let mut lab = Lab::new("v1.13.9", Pace::scaled(0.02));
    let (targets, nodes) = cluster(&mut lab).await;
    let mut bytes = Vec::new();
    let snapshot = targets[0].client.etcd_snapshot(&mut bytes).await.unwrap();
    let content: &[u8] = &bytes;
    let open = || async move { Ok(content) };
    let quiet = |_: Progress| {};

    let error = restore(&targets, snapshot, open, &options(), &quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.message().contains("etcd works on cp1"), "{error}");

    // Two at once, so that neither joins again before the quorum is gone.
    futures_util::future::join(lose(&targets[1]), lose(&targets[2])).await;
    let seen = observe(&targets, Duration::from_millis(500)).await;
    let seen: Vec<EtcdData> = seen.into_iter().map(|node| node.etcd).collect();
    assert_eq!(seen, [EtcdData::Stalled, EtcdData::None, EtcdData::None]);

    // Each call loses its answer, or does not arrive, once.
    for (action, method) in [
        (FaultAction::DropBefore, "*/Reset"),
        (FaultAction::DropBefore, "*/EtcdRecover"),
        (FaultAction::DropAfter, "*/Bootstrap"),
    ] {
        lab.net.faults().add(Fault::new(action).method(method));
    }
    let steps = Mutex::new(Vec::new());
    let tell = |progress: Progress| {
        if progress.text.is_empty() {
            steps.lock().unwrap().push(progress.step);
        }
    };
    restore(&targets, snapshot, open, &options(), &tell).await.unwrap();
    let steps = steps.into_inner().unwrap();
    assert_eq!(steps[0], RestoreStep::Wipe("cp1".into()));
    assert_eq!(steps.iter().filter(|step| matches!(step, RestoreStep::Wipe(_))).count(), 1);
    assert_eq!(steps.last(), Some(&RestoreStep::WaitHealthy));
    assert_eq!(lab.bootstraps(), 2, "the first one and that of the restoration");
    let members = targets[2].client.etcd_members().await.unwrap();
    assert_eq!(members.len(), 3);
    assert!(members.iter().all(|member| !member.is_learner), "{members:?}");
    assert!(nodes.iter().all(|node| node.snapshot()["installs"] == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_wiped_while_a_control_plane_cannot_be_asked() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (targets, nodes) = cluster(&mut lab).await;
    let mut bytes = Vec::new();
    let snapshot = targets[0].client.etcd_snapshot(&mut bytes).await.unwrap();
    nodes[1].power_off();
    let content: &[u8] = &bytes;
    let open = || async move { Ok(content) };
    let options = options().discard(true);
    let error = restore(&targets, snapshot, open, &options, &|_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotReady, "{error}");
    assert!(error.message().contains("cp2 cannot be asked"), "{error}");
    assert_eq!(lab.net.faults().calls("*", "*/Reset"), 0);
    assert_eq!(lab.net.quorum_losses(), []);
}
