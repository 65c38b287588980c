//! Three control planes and three workers at the same time, with every call of theirs disturbed once, and a
//! control plane that is lost and replaced.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use talos_client::api::{ApplyMode, Bootstrap, ResetOptions, Stage};
use talos_client::health::{CheckResult, Level, Target, observe, wait};
use talos_client::plan::{Etcd, MemberState, ReplaceStep, replace_steps};
use talos_client::sim::{Fault, FaultAction, Pace};
use talos_client::{Client, Error, ErrorKind, Identity, wait_for_install};

use super::lab::{CALLS, Lab, eventually, until, uuid, value};

const LIMIT: Duration = Duration::from_mins(2);
const NODES: [(&str, u8); 6] =
    [("cp1", 11), ("cp2", 12), ("cp3", 13), ("w1", 21), ("w2", 22), ("w3", 23)];

/// Calls of its life beside those of [`CALLS`].
const OTHERS: [&str; 3] = ["*/EtcdStatus", "*/Kubeconfig", "*/Reset"];

fn target(name: &str, client: &Client) -> Target {
    Target { name: name.into(), control_plane: name.starts_with("cp"), client: client.clone() }
}

/// A node from maintenance mode until it is installed, as often as each call takes.
async fn install(lab: &Lab, suffix: u8) -> Result<Client, Error> {
    let identity = Identity::admin(&lab.bundle)?;
    let open = lab.maintenance(suffix);
    let client = eventually("a connection", || Client::connect(open.clone())).await;
    eventually("the identity", || client.expect_uuid(uuid(suffix))).await;
    let disks = eventually("the disks", || client.disks()).await;
    assert!(disks.iter().any(|disk| disk.is_usable() && disk.name == "vda"));
    let config = lab.config(suffix);
    loop {
        let error = match client.apply(config.as_bytes(), ApplyMode::Auto, false).await {
            Ok(_) => break,
            Err(error) => error,
        };
        // Whether it was applied shows in whether the node goes on.
        let gone = [ErrorKind::PermissionDenied, ErrorKind::Tls, ErrorKind::Unreachable];
        if !error.is_retryable() && !gone.contains(&error.kind()) {
            return Err(error);
        }
        match client.machine_status().await {
            Ok(status) if status.stage == Stage::Maintenance => {}
            _ => break,
        }
    }
    wait_for_install(&open, &identity, LIMIT, |_| {}).await
}

async fn brought_up(talos: &'static str, action: FaultAction, after: u64) {
    let what = format!("{talos} {action:?} after {after}");
    let mut lab = Lab::new(talos, Pace::quick());
    for (name, suffix) in NODES {
        lab.node(name, suffix).await;
    }
    for method in CALLS.into_iter().chain(OTHERS) {
        lab.net.faults().add(Fault::new(action.clone()).method(method).after(after));
    }
    let lab = &lab;
    let control = async {
        let installs = NODES.iter().take(3).map(|(_, suffix)| install(lab, *suffix));
        let control = try_join_all(installs).await?;
        eventually("the bootstrap", || Bootstrap::of_cluster(&control)).await;
        Ok(control)
    };
    let workers = try_join_all(NODES.iter().skip(3).map(|(_, suffix)| install(lab, *suffix)));
    let (control, workers) = futures_util::try_join!(control, workers)
        .unwrap_or_else(|error: Error| panic!("{what}: {error}"));
    let clients = control.iter().chain(&workers);
    let targets: Vec<Target> =
        NODES.iter().zip(clients).map(|((name, _), client)| target(name, client)).collect();
    let mut last = Vec::new();
    let told = |results: &[CheckResult]| last = results.to_vec();
    if let Err(error) = wait(&targets, Level::NodesRegistered.except(), LIMIT, told).await {
        panic!("{what}: {error}: {last:?}");
    }
    // Workers have no network for pods.
    assert!(last.iter().any(|result| result.name == "ready" && !result.is_ok()), "{last:?}");
    lab.declare_cni().await;
    let told = |results: &[CheckResult]| last = results.to_vec();
    if let Err(error) = wait(&targets, Level::NodesReady.except(), LIMIT, told).await {
        panic!("{what}: {error}: {last:?}");
    }
    for node in lab.net.nodes() {
        assert_eq!(node.snapshot()["node_ready"], true, "{what}");
    }
    let kubeconfig = eventually("the kubeconfig", || control[0].kubeconfig()).await;
    assert!(kubeconfig.expose().contains("admin@rig"), "{what}");
    assert_eq!(lab.bootstraps(), 1, "{what}");
    let snapshot = lab.net.snapshot();
    assert_eq!(snapshot["clusters"].as_object().unwrap().len(), 1, "{what}");
    for node in lab.net.nodes() {
        let state = node.snapshot();
        assert_eq!((&state["installs"], &state["stage"]), (&1.into(), &"running".into()), "{what}");
    }
    let etcd = Etcd::of(&observe(&targets).await).unwrap();
    assert_eq!((etcd.voters(), etcd.well()), (3, 3), "{what}");
    back_to_maintenance(lab, &targets[5]).await;
    for method in CALLS.into_iter().chain(OTHERS) {
        let calls = lab.net.faults().calls("*", method);
        assert!(calls > usize::try_from(after).unwrap(), "{what}: {method}: only {calls} calls");
    }
}

/// A worker leaves, however often that takes.
async fn back_to_maintenance(lab: &Lab, worker: &Target) {
    let wipe = ResetOptions::to_maintenance();
    let node = lab.net.node(&worker.name).unwrap();
    eventually("the reset", || async {
        match worker.client.reset(&wipe).await {
            // The answer is lost, and the node is gone.
            Err(_) if node.stage() != "running" => Ok(()),
            answer => answer.map(drop),
        }
    })
    .await;
    until("maintenance", || node.stage() == "maintenance").await;
    assert_eq!(node.snapshot()["installs"], 1, "its system stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_comes_up_though_connections_are_cut() {
    join_all([
        brought_up("v1.13.9", FaultAction::DropBefore, 0),
        brought_up("v1.13.9", FaultAction::DropAfter, 0),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_comes_up_though_calls_are_refused_or_slow() {
    let refuse = FaultAction::Refuse { code: 14, message: "error reading from server: EOF".into() };
    join_all([
        brought_up("v1.11.5", refuse, 0),
        brought_up("v1.12.4", FaultAction::Slow(Duration::from_secs(6)), 0),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_control_plane_is_replaced_and_the_quorum_is_kept() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (mut targets, mut nodes) = (Vec::new(), Vec::new());
    for (name, suffix) in NODES.into_iter().take(3) {
        let (node, client) = lab.install(name, suffix).await;
        targets.push(target(name, &client));
        nodes.push(node);
    }
    let control: Vec<Client> = targets.iter().map(|target| target.client.clone()).collect();
    eventually("the bootstrap", || Bootstrap::of_cluster(&control)).await;
    lab.declare_cni().await;
    wait(&targets, &[], LIMIT, |_| {}).await.unwrap();
    let etcd = Etcd::of(&observe(&targets).await).unwrap();
    assert!(replace_steps(&etcd, "cp2", "cp4").unwrap_err().reason.contains("leave by itself"));

    nodes[1].power_off();
    let etcd = Etcd::of(&observe(&targets).await).unwrap();
    assert!(etcd.may_stop("cp1", false).is_err() && etcd.may_join().is_err());
    let steps = replace_steps(&etcd, "cp2", "cp4").unwrap();
    for step in steps {
        match step {
            ReplaceStep::RemoveMember { id, through } => {
                let through = targets.iter().find(|target| target.name == through).unwrap();
                eventually("the removal", || through.client.etcd_remove_member(id)).await;
                targets.remove(1);
                lab.net.forget(nodes[1].uuid());
            }
            ReplaceStep::Join(name) => {
                let etcd = Etcd::of(&observe(&targets).await).unwrap();
                assert_eq!(etcd.may_join(), Ok(()));
                let (_, client) = lab.install(&name, 14).await;
                targets.push(target(&name, &client));
            }
            ReplaceStep::WaitVoting(name) => {
                let client = targets[0].client.clone();
                value(
                    "the member",
                    || client.etcd_members(),
                    |list: &Vec<_>| {
                        list.iter().any(|member| member.hostname == name && !member.is_learner)
                    },
                )
                .await;
            }
            _ => {}
        }
        // Whatever is done, those that stay have a quorum.
        assert!(targets[0].client.etcd_status().await.unwrap().leader != 0);
    }
    wait(&targets, &[], LIMIT, |_| {}).await.unwrap();
    let etcd = Etcd::of(&observe(&targets).await).unwrap();
    assert!(etcd.members.iter().all(|member| member.state == MemberState::Voting));
    assert_eq!(etcd.voters(), 3);
    assert_eq!(lab.bootstraps(), 1);
}
