//! etcd of a cluster out of a snapshot, step by step.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use talos_client::api::{
    ApplyMode, Bootstrap, EtcdMember, EtcdPhase, RebootMode, ResetOptions, Service, Snapshot,
    WipeMode,
};
use talos_client::health::Target;
use talos_client::plan::{EtcdData, RestoreStep};
use talos_client::restore::{Options, Progress, finish, observe, restore};
use talos_client::sim::{Fault, FaultAction, Pace, SimNode};
use talos_client::{Client, ErrorKind};

use super::lab::{Lab, eventually, until, value};

const LIMIT: Duration = Duration::from_mins(1);

/// Three control planes that wait for their bootstrap.
async fn control_planes(lab: &mut Lab) -> (Vec<Target>, Vec<SimNode>) {
    let (mut targets, mut nodes) = (Vec::new(), Vec::new());
    for (name, suffix) in [("cp1", 11), ("cp2", 12), ("cp3", 13)] {
        let (node, client) = lab.install(name, suffix).await;
        targets.push(Target { name: name.into(), control_plane: true, client });
        nodes.push(node);
    }
    (targets, nodes)
}

async fn cluster(lab: &mut Lab) -> (Vec<Target>, Vec<SimNode>) {
    let (targets, nodes) = control_planes(lab).await;
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

/// A snapshot of a cluster's etcd.
async fn taken(target: &Target) -> (Snapshot, Vec<u8>) {
    let mut bytes = Vec::new();
    let snapshot = target.client.etcd_snapshot(&mut bytes).await.unwrap();
    (snapshot, bytes)
}

/// A snapshot of a cluster that is gone since.
async fn taken_elsewhere() -> (Snapshot, Vec<u8>) {
    let mut old = Lab::new("v1.13.9", Pace::quick());
    let (targets, _nodes) = cluster(&mut old).await;
    taken(&targets[0]).await
}

/// The number that Kubernetes gave a node when it registered, as the etcd of a control plane has it.
fn number(lab: &Lab, holder: &SimNode, name: &str) -> String {
    let cluster = holder.snapshot()["etcd"]["cluster"].clone();
    let cluster = &lab.net.snapshot()["clusters"][cluster.as_str().unwrap()];
    let node = &cluster["objects"][format!("/api/v1/nodes/{name}")];
    node["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
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
    until("the node is registered", || !number(&lab, &nodes[0], "cp1").is_empty()).await;
    let before = number(&lab, &nodes[0], "cp1");
    let (snapshot, bytes) = taken(&targets[0]).await;
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
    // A node that registers in an empty cluster gets another number.
    assert_eq!(number(&lab, &nodes[2], "cp1"), before, "what the snapshot has is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_cluster_gets_what_another_one_had() {
    let mut old = Lab::new("v1.13.9", Pace::quick());
    let (targets, nodes) = cluster(&mut old).await;
    until("the node is registered", || !number(&old, &nodes[0], "cp2").is_empty()).await;
    let before = number(&old, &nodes[0], "cp2");
    let (snapshot, bytes) = taken(&targets[0]).await;
    let content: &[u8] = &bytes;
    let open = || async move { Ok(content) };
    drop(old);

    let mut new = Lab::new("v1.13.9", Pace::quick());
    let (targets, nodes) = control_planes(&mut new).await;
    restore(&targets, snapshot, open, &options().first("cp3"), &|_| {}).await.unwrap();
    assert_eq!(new.net.faults().calls("*", "*/Reset"), 0, "nothing was there");
    assert_eq!(nodes[2].snapshot()["bootstraps"], 1);
    for holder in &nodes {
        assert_eq!(number(&new, holder, "cp2"), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_comes_back_is_not_wiped() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (targets, _nodes) = cluster(&mut lab).await;
    let (snapshot, bytes) = taken(&targets[0]).await;
    let content: &[u8] = &bytes;
    let open = || async move { Ok(content) };
    let patience = Duration::from_secs(4);
    // Down, then up without a leader for less than the patience, then with one.
    for name in ["cp1", "cp2", "cp3"] {
        let down = FaultAction::Refuse { code: 14, message: "error reading: EOF".into() };
        let down = Fault::new(down).method("*/ServiceList").times(7);
        lab.net.faults().add(down.node(name));
        let stall = FaultAction::EtcdStall(patience + Duration::from_secs(2));
        lab.net.faults().add(Fault::new(stall).node(name));
    }
    let options = options().patience(patience);
    let error = restore(&targets, snapshot, open, &options, &|_| {}).await.unwrap_err();
    // On a busy machine its nodes may seem to be away for all of the patience.
    let kinds = [ErrorKind::FailedPrecondition, ErrorKind::NotReady];
    assert!(kinds.contains(&error.kind()), "{error}");
    assert_eq!(lab.net.faults().calls("*", "*/Reset"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_may_not_be_asked_is_not_known_to_be_stalled() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (targets, nodes) = cluster(&mut lab).await;
    let (snapshot, bytes) = taken(&targets[0]).await;
    let content: &[u8] = &bytes;
    let open = || async move { Ok(content) };
    let refuse = FaultAction::Refuse { code: 7, message: "not authorized".into() };
    lab.net.faults().add(Fault::new(refuse).method("*/EtcdStatus").times(1000));
    let error = restore(&targets, snapshot, open, &options(), &|_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotReady, "{error}");
    assert!(error.message().contains("cp1 cannot be asked"), "{error}");
    lab.net.faults().clear();
    assert_eq!(lab.net.faults().calls("*", "*/Reset"), 0);
    // One that lost its leader tells so by itself.
    let targets = &targets[..1];
    nodes[1..].iter().for_each(SimNode::power_off);
    value("no leader", || targets[0].client.etcd_status(), |status| status.leader == 0).await;
    let seen = observe(targets, Duration::from_millis(500)).await;
    assert_eq!(seen[0].etcd, EtcdData::Stalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_never_settles_is_given_up_only_if_that_is_allowed() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (targets, _nodes) = cluster(&mut lab).await;
    let (snapshot, bytes) = taken(&targets[0]).await;
    let content: &[u8] = &bytes;
    let open = || async move { Ok(content) };
    let refuse = FaultAction::Refuse { code: 14, message: "connection refused".into() };
    lab.net.faults().add(Fault::new(refuse).method("*/EtcdStatus").times(100_000));
    let error = restore(&targets, snapshot, open, &options(), &|_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotReady, "{error}");
    assert!(error.message().contains("cp1 neither follows a leader nor stays without"), "{error}");
    assert_eq!(lab.net.faults().calls("*", "*/Reset"), 0);

    let tell = |progress: Progress| {
        if matches!(progress.step, RestoreStep::Wipe(_)) {
            lab.net.faults().clear();
        }
    };
    restore(&targets, snapshot, open, &options().discard(true), &tell).await.unwrap();
    assert_eq!(lab.net.faults().calls("*", "*/Reset"), 3);
    assert_eq!(lab.bootstraps(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_with_data_does_not_wait_for_a_bootstrap_while_its_image_is_pulled() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (node, client) = lab.install("cp1", 11).await;
    let target = [Target { name: "cp1".into(), control_plane: true, client: client.clone() }];
    let patience = Duration::from_millis(500);
    assert_eq!(observe(&target, patience).await[0].etcd, EtcdData::None);
    eventually("the bootstrap", || client.bootstrap()).await;
    value("a leader", || client.etcd_status(), |status| status.leader != 0).await;
    let pull = FaultAction::EtcdPull(Duration::from_hours(1));
    lab.net.faults().add(Fault::new(pull));
    client.reboot(RebootMode::Default).await.unwrap();
    until("the next boot", || node.snapshot()["boots"] == 3).await;
    let prepares = |all: &Vec<Service>| {
        all.iter().any(|service| service.id == "etcd" && service.state == "Preparing")
    };
    value("the pull", || client.services(), prepares).await;
    assert_eq!(observe(&target, patience).await[0].etcd, EtcdData::Unsettled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_reboots_is_waited_for_before_the_bootstrap() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (snapshot, bytes) = taken_elsewhere().await;
    let (targets, nodes) = control_planes(&mut lab).await;
    let (content, other, node): (&[u8], _, _) = (&bytes, &targets[1].client, &nodes[1]);
    let open = || async move {
        other.reboot(RebootMode::Default).await.unwrap();
        until("the reboot", || node.snapshot()["boots"] == 3).await;
        Ok(content)
    };
    let waits = AtomicUsize::new(0);
    let tell = |progress: Progress| {
        if matches!(progress.step, RestoreStep::Bootstrap { .. }) && progress.text.contains("cp2") {
            waits.fetch_add(1, Ordering::Relaxed);
        }
    };
    restore(&targets, snapshot, open, &options(), &tell).await.unwrap();
    assert!(waits.into_inner() > 0, "it was away");
    assert_eq!(lab.bootstraps(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restoration_whose_bootstrap_did_not_arrive_is_made_again() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (snapshot, bytes) = taken_elsewhere().await;
    let (targets, _nodes) = control_planes(&mut lab).await;
    let content: &[u8] = &bytes;
    let open = || async move { Ok(content) };
    lab.net.faults().add(Fault::new(FaultAction::DropBefore).method("*/Bootstrap").times(1000));
    let error = restore(&targets, snapshot, open, &options(), &|_| {}).await.unwrap_err();
    assert!(error.message().contains("may have been started from the snapshot"), "{error}");
    lab.net.faults().clear();

    let short = options().limit(Duration::from_secs(5));
    let error = finish(&targets, &short, &|_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.message().contains("no etcd was started"), "{error}");
    restore(&targets, snapshot, open, &options(), &|_| {}).await.unwrap();
    assert_eq!(lab.bootstraps(), 1);
    finish(&targets, &options(), &|_| {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_a_wipe_would_not_reach_is_left_alone() {
    let mut lab = Lab::new("v1.14.0", Pace::quick());
    let (_node, client) = lab.install("cp1", 11).await;
    eventually("the bootstrap", || client.bootstrap()).await;
    let target = Target { name: "cp1".into(), control_plane: true, client };
    value("a member", || target.client.etcd_members(), |list: &Vec<_>| list.len() == 1).await;
    let (snapshot, bytes) = taken(&target).await;
    let content: &[u8] = &bytes;
    let open = || async move { Ok(content) };
    let volume = "apiVersion: v1alpha1\nkind: VolumeConfig\nname: ETCD\nprovisioning:\n  \
                  diskSelector:\n    match: system_disk\n  minSize: 2GiB\n";
    let config = format!("{}---\n{volume}", lab.config(11));
    target.client.apply(config.as_bytes(), ApplyMode::NoReboot, false).await.unwrap();
    let (options, targets) = (options().discard(true), [target]);
    let error = restore(&targets, snapshot, open, &options, &|_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.message().contains("a volume of its own (partition)"), "{error}");
    assert_eq!(lab.net.faults().calls("*", "*/Reset"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_that_was_started_meanwhile_is_a_conflict() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (targets, _nodes) = cluster(&mut lab).await;
    let (snapshot, bytes) = taken(&targets[0]).await;
    let content: &[u8] = &bytes;
    let other = &targets[1].client;
    // Somebody else bootstraps while the snapshot is sent.
    let open = || async move {
        eventually("the other bootstrap", || other.bootstrap()).await;
        value("the other etcd", || other.etcd_status(), |status| status.leader != 0).await;
        Ok(content)
    };
    // All are wiped at once, or the first one would join those that still work.
    let options = options().discard(true);
    let error = restore(&targets, snapshot, open, &options, &|_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(error.message().contains("cp2 does not wait for a bootstrap any more"), "{error}");
    assert_eq!(lab.net.faults().calls("cp1", "*/Bootstrap"), 1, "only that of the beginning");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_after_the_bootstrap_is_finished_and_not_restored_again() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (targets, nodes) = control_planes(&mut lab).await;
    let (snapshot, bytes) = taken_elsewhere().await;
    let content: &[u8] = &bytes;
    let open = || async move { Ok(content) };
    let fail = |progress: Progress| {
        if progress.step == RestoreStep::WaitHealthy && progress.text.is_empty() {
            let snapshot = lab.net.snapshot();
            let clusters = snapshot["clusters"].as_object().unwrap();
            let cluster = clusters.values().next().unwrap();
            lab.net.raise_alarm(cluster["cluster_id"].as_str().unwrap(), "NOSPACE");
        }
    };
    let error = restore(&targets, snapshot, open, &options(), &fail).await.unwrap_err();
    assert!(error.message().contains("etcd was started from the snapshot"), "{error}");
    assert!(error.message().contains("do not restore again"), "{error}");

    let error = restore(&targets, snapshot, open, &options(), &|_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.message().contains("etcd works on cp1"), "{error}");
    let steps = Mutex::new(Vec::new());
    let tell = |progress: Progress| steps.lock().unwrap().push(progress.step);
    targets[0].client.etcd_disarm().await.unwrap();
    finish(&targets, &options(), &tell).await.unwrap();
    let steps = steps.into_inner().unwrap();
    assert_eq!(steps[0], RestoreStep::WaitMember("cp1".into()));
    assert_eq!(steps.last(), Some(&RestoreStep::WaitHealthy));
    assert_eq!(lab.net.faults().calls("*", "*/Reset"), 0);
    assert_eq!(lab.bootstraps(), 1);
    assert!(nodes.iter().all(|node| node.snapshot()["boots"] == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_snapshot_is_no_etcd_that_was_started() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (targets, _nodes) = control_planes(&mut lab).await;
    let (snapshot, bytes) = taken_elsewhere().await;
    let mut bad = bytes.clone();
    bad[0] ^= 1;
    let (content, damaged): (&[u8], &[u8]) = (&bytes, &bad);
    let open = || async move { Ok(damaged) };
    let error = restore(&targets, snapshot, open, &options(), &|_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    for part in
        ["did not come up from the snapshot", "cp1: etcd: Failed", "error verifying snapshot"]
    {
        assert!(error.message().contains(part), "{error}");
    }
    let error = finish(&targets, &options(), &|_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.message().contains("error verifying snapshot"), "{error}");
    assert_eq!(lab.bootstraps(), 0);

    let open = || async move { Ok(content) };
    restore(&targets, snapshot, open, &options(), &|_| {}).await.unwrap();
    assert_eq!(lab.bootstraps(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_failed_with_data_is_none_that_waits() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (targets, _nodes) = control_planes(&mut lab).await;
    let (snapshot, bytes) = taken_elsewhere().await;
    let (content, other): (&[u8], _) = (&bytes, &targets[1].client);
    // Somebody else bootstraps while the snapshot is sent, and takes that member out again.
    let open = || async move {
        eventually("the other bootstrap", || other.bootstrap()).await;
        let vote = |list: &Vec<EtcdMember>| list.iter().filter(|one| !one.is_learner).count() == 3;
        let members = value("the members", || other.etcd_members(), vote).await;
        let member = members.iter().find(|member| member.hostname == "cp2").unwrap();
        other.etcd_remove_member(member.id).await.unwrap();
        let failed = |phase: &EtcdPhase| phase.failure().is_some();
        value("the end", || other.etcd_phase(), failed).await;
        Ok(content)
    };
    let error = restore(&targets, snapshot, open, &options(), &|_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(error.message().contains("permanently removed"), "{error}");

    // The others lose what they have, and only data of no use is left.
    futures_util::future::join(lose(&targets[0]), lose(&targets[2])).await;
    for target in [&targets[0], &targets[2]] {
        let waits = |phase: &EtcdPhase| *phase == EtcdPhase::Empty;
        value("it waits", || target.client.etcd_phase(), waits).await;
    }
    let clients: Vec<Client> = targets.iter().map(|target| target.client.clone()).collect();
    let error = Bootstrap::of_cluster(&clients).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.node()),
        (ErrorKind::FailedPrecondition, "10.5.0.12"),
        "{error}"
    );
    // Nor is it taken for one that was started, by who asks that node alone.
    let error = clients[1].bootstrap().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert_eq!(lab.bootstraps(), 1, "the other one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_comes_back_is_not_bootstrapped_again() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (targets, nodes) = cluster(&mut lab).await;
    let clients: Vec<Client> = targets.iter().map(|target| target.client.clone()).collect();
    for name in ["cp2", "cp3"] {
        let pull = FaultAction::EtcdPull(Duration::from_hours(1));
        lab.net.faults().add(Fault::new(pull).node(name));
    }
    for (client, node) in clients.iter().zip(&nodes).skip(1) {
        client.reboot(RebootMode::Default).await.unwrap();
        until("the next boot", || node.snapshot()["boots"] == 3).await;
    }
    lose(&targets[0]).await;
    value("it waits", || clients[0].etcd_phase(), |phase| *phase == EtcdPhase::Empty).await;
    for client in &clients[1..] {
        let returns = |phase: &EtcdPhase| matches!(phase, EtcdPhase::Returning(_));
        value("the pull", || client.etcd_phase(), returns).await;
    }
    assert_eq!(Bootstrap::of_cluster(&clients).await.unwrap(), Bootstrap::AlreadyDone);
    assert_eq!(lab.bootstraps(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_wiped_while_a_control_plane_cannot_be_asked() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (targets, nodes) = cluster(&mut lab).await;
    let (snapshot, bytes) = taken(&targets[0]).await;
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
