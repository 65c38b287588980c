//! The whole way of a node, with every call of it disturbed once.

use std::time::Duration;

use futures_util::StreamExt as _;
use talos_client::api::{ApplyMode, Bootstrap, Stage};
use talos_client::sim::{Fault, FaultAction, Pace};
use talos_client::{Client, Error, ErrorKind, Identity, wait_for_install};

use super::lab::{CALLS, Lab, eventually, uuid, value};

/// What a program does that wants a control plane, as often as it takes.
async fn bring_up(lab: &Lab, repeat: &str) -> Result<(), Error> {
    let identity = Identity::admin(&lab.bundle)?;
    let open = lab.maintenance(11);
    let client = eventually("a connection", || Client::connect(open.clone())).await;
    eventually("the identity", || client.expect_uuid(uuid(11))).await;
    let disks = eventually("the disks", || client.disks()).await;
    assert!(disks.iter().any(|disk| disk.is_usable() && disk.name == "vda"));
    let config = lab.config(11);
    match client.apply(config.as_bytes(), ApplyMode::Auto, false).await {
        Ok(_) => {}
        // Whether it was applied shows in whether the node goes on.
        Err(error) if error.may_have_been_applied() || error.is_retryable() => {
            let status = client.machine_status().await;
            if status.is_ok_and(|status| status.stage == Stage::Maintenance) {
                let again = client.apply(config.as_bytes(), ApplyMode::Auto, false).await;
                again.map(drop).or_else(|error| {
                    // It was applied after all, and the node has just left.
                    let left =
                        [ErrorKind::PermissionDenied, ErrorKind::Tls, ErrorKind::Unreachable];
                    if left.contains(&error.kind()) || error.is_retryable() {
                        Ok(())
                    } else {
                        Err(error)
                    }
                })?;
            }
        }
        Err(error) => return Err(error),
    }
    let limit = Duration::from_secs(40);
    let client = wait_for_install(&open, &identity, limit, |_| {}).await?;
    eventually("the version", || client.version()).await;
    eventually("the bootstrap", || client.bootstrap()).await;
    // A node that restarts between its answer and etcd's first data knows of no bootstrap any more.
    let members = async || {
        client.bootstrap().await?;
        client.etcd_members().await
    };
    value("a member", members, |list: &Vec<_>| list.len() == 1).await;
    let kubeconfig = eventually("the kubeconfig", || client.kubeconfig()).await;
    assert!(kubeconfig.expose().contains("admin@rig"), "{repeat}");
    let ready = |status: &talos_client::api::MachineStatus| status.stage == Stage::Running;
    value("running", || client.machine_status(), ready).await;
    assert_eq!(client.bootstrap().await?, Bootstrap::AlreadyDone);
    Ok(())
}

async fn disturbed(talos: &'static str, method: &'static str, action: FaultAction, after: u64) {
    let what = format!("{talos} {method} {action:?} after {after}");
    let mut lab = Lab::new(talos, Pace::quick());
    let node = lab.node("cp1", 11).await;
    lab.net.faults().add(Fault::new(action).method(method).after(after));
    bring_up(&lab, &what).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    if method != "*" {
        let calls = lab.net.faults().calls("*", method);
        assert!(calls > usize::try_from(after).unwrap(), "{what}: only {calls} calls");
    }
    let state = node.snapshot();
    assert_eq!(state["installs"], 1, "{what}");
    assert_eq!(state["stage"], "running", "{what}");
    assert_eq!(lab.bootstraps(), 1, "{what}");
    assert_eq!(lab.net.snapshot()["clusters"].as_object().unwrap().len(), 1, "{what}");
}

fn actions() -> [FaultAction; 5] {
    [
        FaultAction::DropBefore,
        FaultAction::DropAfter,
        FaultAction::Refuse { code: 14, message: "error reading from server: EOF".into() },
        FaultAction::Slow(Duration::from_secs(6)),
        FaultAction::RebootMidCall,
    ]
}

async fn sweep(talos: &'static str) {
    let mut cases = Vec::new();
    for method in CALLS.into_iter().chain(["*/Kubeconfig"]) {
        for action in actions() {
            // A reboot of a node in maintenance mode only begins its life again.
            let early = action == FaultAction::RebootMidCall
                && ["*/Get", "*/List", "*/ApplyConfiguration"].contains(&method);
            if !early {
                cases.push((method, action, 0));
            }
        }
    }
    for after in 1..6 {
        cases.push(("*/Get", FaultAction::DropAfter, after));
        cases.push(("*", FaultAction::DropBefore, after * 3));
    }
    let runs = cases
        .into_iter()
        .map(|(method, action, after)| tokio::spawn(disturbed(talos, method, action, after)));
    let mut runs = futures_util::stream::iter(runs).buffer_unordered(8);
    while let Some(run) = runs.next().await {
        run.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_1_11_may_fail_once() {
    sweep("v1.11.5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_1_13_may_fail_once() {
    sweep("v1.13.9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_installation_is_told() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    lab.node("cp1", 11).await;
    lab.net.faults().add(Fault::new(FaultAction::InstallFails));
    let open = lab.maintenance(11);
    let client = Client::new(open.clone()).unwrap();
    client.apply(lab.config(11).as_bytes(), ApplyMode::Auto, false).await.unwrap();
    let identity = Identity::admin(&lab.bundle).unwrap();
    let mut reasons = Vec::new();
    let error = wait_for_install(&open, &identity, Duration::from_secs(30), |why| {
        reasons.push(why.to_owned());
    })
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error} after {reasons:?}");
    assert!(error.message().contains("came back in maintenance mode"), "{error}");
}
