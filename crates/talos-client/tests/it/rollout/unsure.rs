//! Upgrades of a node that do not go as they should: lost answers, runs that ended early, systems that do not
//! come up.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use talos_client::ErrorKind;
use talos_client::api::UpgradeOptions;
use talos_client::plan::NodeStep;
use talos_client::rollout::{NoWorkloads, Progress, rollout, upgrade_node};
use talos_client::sim::{Fault, FaultAction, Pace, SimNode};

use super::super::lab::{Lab, until};
use super::{Counted, Meddler, cluster, image, wanted};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_the_reboot_does_not_matter() {
    let mut lab = Lab::new("v1.13.8", Pace::quick());
    let names = [("cp1", 11), ("cp2", 12), ("cp3", 13)];
    let (targets, nodes) = cluster(&mut lab, &names).await;
    lab.net.faults().add(Fault::new(FaultAction::DropAfter).method("*/Reboot"));
    let tell = |_: Progress| {};
    let done = rollout(&targets, &wanted("v1.13.9"), &NoWorkloads, &tell).await.unwrap();
    assert_eq!(done.len(), 3);
    assert!(nodes.iter().all(|node| node.snapshot()["boots"] == 3));
    assert_eq!(lab.net.quorum_losses(), []);
}

/// What runs, and what the boot loader would go back to.
fn systems(node: &SimNode) -> (String, String) {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let snapshot = node.snapshot();
    (text(&snapshot["installed"]["version"]), text(&snapshot["previous"]))
}

const NEWER: &str = "/machine.LifecycleService/Upgrade";

#[tokio::test(flavor = "multi_thread")]
async fn an_installer_whose_answer_is_lost_is_not_run_again_in_the_same_boot() {
    let mut lab = Lab::new("v1.13.8", Pace::scaled(0.03));
    let (targets, nodes) = cluster(&mut lab, &[("cp1", 11)]).await;
    lab.net.faults().add(Fault::new(FaultAction::DropAfter).method(NEWER));
    let told = Mutex::new(Vec::new());
    let tell = |progress: Progress| told.lock().unwrap().push(progress.text);
    let wanted = wanted("v1.13.9").downtime(true);
    upgrade_node(&targets, "cp1", &wanted, &NoWorkloads, &tell).await.unwrap();
    // It was busy for a while; run twice it would have written over the system that ran.
    let told = told.lock().unwrap().clone();
    assert!(told.iter().any(|text| text == "the installer is still at work"), "{told:?}");
    assert_eq!(systems(&nodes[0]), ("v1.13.9".into(), "v1.13.8".into()));
    assert_eq!(nodes[0].snapshot()["boots"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installer_that_was_never_asked_is_asked_in_the_next_boot() {
    let mut lab = Lab::new("v1.13.8", Pace::quick());
    let (targets, nodes) = cluster(&mut lab, &[("cp1", 11)]).await;
    lab.net.faults().add(Fault::new(FaultAction::DropBefore).method(NEWER));
    let wanted = wanted("v1.13.9").downtime(true);
    let workloads = Counted::default();
    upgrade_node(&targets, "cp1", &wanted, &workloads, &|_| {}).await.unwrap();
    assert_eq!(systems(&nodes[0]), ("v1.13.9".into(), "v1.13.8".into()));
    // Its first reboot told that there was nothing else to boot.
    assert_eq!(nodes[0].snapshot()["boots"], 4);
    assert_eq!(workloads.back.load(Ordering::Relaxed), 1);
    assert!(workloads.closed.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_somebody_else_installs_a_node_says_so_and_is_waited_for() {
    let mut lab = Lab::new("v1.13.8", Pace::scaled(0.1));
    let (targets, nodes) = cluster(&mut lab, &[("cp1", 11)]).await;
    let client = targets[0].client.clone();
    assert!(!client.is_installing().await.unwrap());
    let meddler = Meddler { client, work: Mutex::default() };
    let workloads = Counted { meddler: Some(meddler), ..Counted::default() };
    let wanted = wanted("v1.13.9").downtime(true);
    upgrade_node(&targets, "cp1", &wanted, &workloads, &|_| {}).await.unwrap();
    let meddler = workloads.meddler.unwrap();
    let work = meddler.work.lock().unwrap().take().unwrap();
    work.await.unwrap().unwrap();
    assert_eq!(systems(&nodes[0]), ("v1.13.9".into(), "v1.13.8".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_did_not_reach_the_node_are_made_again() {
    for (from, to, method) in [
        ("v1.12.4", "v1.12.7", "/machine.MachineService/Upgrade"),
        ("v1.13.8", "v1.13.9", "*/Reboot"),
        ("v1.13.8", "v1.13.9", "*/Pull"),
    ] {
        let mut lab = Lab::new(from, Pace::quick());
        let (targets, nodes) = cluster(&mut lab, &[("cp1", 11)]).await;
        lab.net.faults().add(Fault::new(FaultAction::DropBefore).method(method));
        let wanted = wanted(to).downtime(true);
        upgrade_node(&targets, "cp1", &wanted, &NoWorkloads, &|_| {}).await.unwrap();
        assert_eq!(lab.net.faults().calls("cp1", method), 2, "{method}");
        assert_eq!(nodes[0].snapshot()["boots"], 3, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_call_is_not_made_again_when_it_works() {
    let mut lab = Lab::new("v1.12.4", Pace::quick());
    let (targets, nodes) = cluster(&mut lab, &[("cp1", 11)]).await;
    let method = "/machine.MachineService/Upgrade";
    lab.net.faults().add(Fault::new(FaultAction::DropAfter).method(method));
    let wanted = wanted("v1.12.7").downtime(true);
    upgrade_node(&targets, "cp1", &wanted, &NoWorkloads, &|_| {}).await.unwrap();
    assert_eq!(lab.net.faults().calls("cp1", method), 1);
    assert_eq!(nodes[0].snapshot()["boots"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_call_that_is_refused_because_of_the_first_is_no_failure() {
    let mut lab = Lab::new("v1.12.4", Pace::quick());
    let (targets, nodes) = cluster(&mut lab, &[("cp1", 11)]).await;
    let method = "/machine.MachineService/Upgrade";
    // The first answer is lost, and the node stays while it pulls; what it was told takes effect only when it
    // has refused the second call.
    lab.net.faults().add(Fault::new(FaultAction::DropBefore).method(method));
    let busy = "error validating etcd for upgrade: failed to acquire upgrade mutex";
    let refuse = FaultAction::Refuse { code: 9, message: busy.into() };
    lab.net.faults().add(Fault::new(refuse).method(method));
    let first = async {
        until("the refusal", || lab.net.faults().calls("cp1", method) == 2).await;
        let options = UpgradeOptions::default();
        targets[0].client.upgrade(&image("v1.12.7"), options).await.unwrap();
    };
    let wanted = wanted("v1.12.7").downtime(true);
    let node = upgrade_node(&targets, "cp1", &wanted, &NoWorkloads, &|_| {});
    let (version, ()) = futures_util::join!(node, first);
    assert_eq!(version.unwrap().tag, "v1.12.7");
    assert_eq!(nodes[0].snapshot()["boots"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_run_installed_is_booted_and_not_installed_again() {
    let mut lab = Lab::new("v1.13.8", Pace::quick());
    let (targets, nodes) = cluster(&mut lab, &[("cp1", 11)]).await;
    let snapshot = lab.net.snapshot();
    let id = snapshot["clusters"].as_object().unwrap().values().next().unwrap()["cluster_id"]
        .as_str()
        .unwrap();
    // What forbids the reboot comes up while the installer works.
    let tell = |progress: Progress| {
        if progress.step == NodeStep::Install && progress.text.is_empty() {
            lab.net.raise_alarm(id, "NOSPACE");
        }
    };
    let workloads = Counted::default();
    let wanted = wanted("v1.13.9").downtime(true);
    let error = upgrade_node(&targets, "cp1", &wanted, &workloads, &tell).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.message().contains("v1.13.9 is installed and waits for the reboot"), "{error}");
    assert!(workloads.closed.lock().unwrap().contains("cp1"));
    assert_eq!(systems(&nodes[0]), ("v1.13.9".into(), "v1.13.8".into()));

    targets[0].client.etcd_disarm().await.unwrap();
    upgrade_node(&targets, "cp1", &wanted, &workloads, &|_| {}).await.unwrap();
    assert_eq!(systems(&nodes[0]), ("v1.13.9".into(), "v1.13.8".into()));
    assert_eq!(nodes[0].snapshot()["boots"], 3);
    assert!(workloads.closed.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installer_whose_answer_is_lost_twice_is_given_up() {
    let mut lab = Lab::new("v1.13.8", Pace::quick());
    let (targets, nodes) = cluster(&mut lab, &[("cp1", 11)]).await;
    let installs = AtomicUsize::new(0);
    let tell = |progress: Progress| {
        let begins = progress.step == NodeStep::Install && progress.text.is_empty();
        if begins && installs.fetch_add(1, Ordering::Relaxed) < 10 {
            lab.net.faults().add(Fault::new(FaultAction::DropBefore).method(NEWER));
        }
    };
    let wanted = wanted("v1.13.9").downtime(true);
    let error = upgrade_node(&targets, "cp1", &wanted, &NoWorkloads, &tell).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.message().contains("what its installer did is not known"), "{error}");
    assert_eq!(nodes[0].snapshot()["boots"], 4, "a reboot after each of two tries");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cut_while_it_drained_drains_before_the_reboot() {
    let mut lab = Lab::new("v1.13.8", Pace::quick());
    let (targets, nodes) = cluster(&mut lab, &[("cp1", 11)]).await;
    let workloads = Counted { hangs: true.into(), ..Counted::default() };
    let wanted = wanted("v1.13.9").downtime(true);
    tokio::select! {
        done = upgrade_node(&targets, "cp1", &wanted, &workloads, &|_| {}) => panic!("{done:?}"),
        () = until("draining", || workloads.closed.lock().unwrap().contains("cp1")) => {}
    }
    assert_eq!(nodes[0].snapshot()["boots"], 2);
    workloads.hangs.store(false, Ordering::Relaxed);
    let drained = Mutex::new(Vec::new());
    let tell = |progress: Progress| {
        if progress.step == NodeStep::Reboot && progress.text.is_empty() {
            drained.lock().unwrap().push(workloads.drained.lock().unwrap().len());
        }
    };
    upgrade_node(&targets, "cp1", &wanted, &workloads, &tell).await.unwrap();
    // The first reboot tells that nothing was installed, the second one boots what now is.
    assert_eq!(*drained.lock().unwrap(), [2, 3]);
    assert_eq!(systems(&nodes[0]), ("v1.13.9".into(), "v1.13.8".into()));
    assert!(workloads.closed.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_installer_did_is_known_once_the_version_runs() {
    let mut lab = Lab::new("v1.13.8", Pace::quick());
    let (targets, _nodes) = cluster(&mut lab, &[("cp1", 11)]).await;
    lab.net.faults().add(Fault::new(FaultAction::DropAfter).method(NEWER));
    let workloads = Counted { unready: AtomicUsize::new(1), ..Counted::default() };
    let wanted = wanted("v1.13.9").downtime(true);
    let error = upgrade_node(&targets, "cp1", &wanted, &workloads, &|_| {}).await.unwrap_err();
    assert!(error.message().contains("its network is not up"), "{error}");
    assert!(!error.message().contains("installer"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fell_back_ends_the_rollout_and_the_next_one_goes_on_with_it() {
    for (from, to) in [("v1.12.4", "v1.13.9"), ("v1.13.8", "v1.13.9")] {
        let mut lab = Lab::new(from, Pace::quick());
        let names = [("cp1", 11), ("cp2", 12), ("cp3", 13), ("w1", 21)];
        let (targets, nodes) = cluster(&mut lab, &names).await;
        lab.net.faults().add(Fault::new(FaultAction::TrialFails).after(1));
        let workloads = Counted::default();
        let error = rollout(&targets, &wanted(to), &workloads, &|_| {}).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
        assert!(error.message().contains(&format!("came back with {from}")), "{error}");
        let runs = |tag: &str| nodes.iter().filter(|node| systems(node).0 == tag).count();
        assert_eq!((runs(to), runs(from)), (1, 3), "the first is done, the second went back");

        let done = rollout(&targets, &wanted(to), &workloads, &|_| {}).await.unwrap();
        assert_eq!(done.len(), 3, "{done:?}");
        assert!(nodes.iter().all(|node| systems(node) == (to.into(), from.into())));
        assert!(workloads.closed.lock().unwrap().is_empty());
        assert_eq!(lab.net.quorum_losses(), []);
    }
}
