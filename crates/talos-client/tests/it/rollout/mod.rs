//! Another version on all nodes of a cluster, one after the other.

mod unsure;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use talos_client::api::{ApplyMode, Bootstrap};
use talos_client::health::{Target, check, observe};
use talos_client::plan::NodeStep;
use talos_client::rollout::{NoWorkloads, Progress, Wanted, Workloads, rollout, upgrade_node};
use talos_client::sim::{Pace, SimNode};
use talos_client::{Client, ErrorKind};

use super::lab::{Lab, eventually, value};

const LIMIT: Duration = Duration::from_mins(1);

/// Images of the schematic that the nodes of the lab have.
const FACTORY: &str = concat!(
    "factory.talos.dev/nocloud-installer/",
    "5555555555555555555555555555555555555555555555555555555555555555:"
);

/// The image of a version, of the schematic that the nodes of the lab have.
fn image(tag: &str) -> String {
    format!("{FACTORY}{tag}")
}

fn wanted(tag: &str) -> Wanted {
    Wanted::new(image(tag), tag).limit(LIMIT)
}

fn target(name: &str, client: &Client) -> Target {
    Target { name: name.into(), control_plane: name.starts_with("cp"), client: client.clone() }
}

/// A cluster whose etcd is well.
async fn cluster(lab: &mut Lab, nodes: &[(&str, u8)]) -> (Vec<Target>, Vec<SimNode>) {
    let (mut targets, mut all) = (Vec::new(), Vec::new());
    for (name, suffix) in nodes {
        let (node, client) = lab.install(name, *suffix).await;
        targets.push(target(name, &client));
        all.push(node);
    }
    let control: Vec<Client> =
        targets.iter().filter(|t| t.control_plane).map(|t| t.client.clone()).collect();
    eventually("the bootstrap", || Bootstrap::of_cluster(&control)).await;
    let voters = control.len();
    value(
        "the members",
        || control[0].etcd_members(),
        |list: &Vec<_>| list.len() == voters && list.iter().all(|member| !member.is_learner),
    )
    .await;
    // The factory that the nodes' registries know is the one that their configurations name.
    for (target, (_, suffix)) in targets.iter().zip(nodes) {
        let config = lab.config(*suffix).replace("ghcr.io/siderolabs/installer:", FACTORY);
        let apply = || target.client.apply(config.as_bytes(), ApplyMode::NoReboot, false);
        eventually("the image", apply).await;
    }
    (targets, all)
}

/// Counts what Kubernetes is asked for.
#[derive(Default)]
struct Counted {
    drained: Mutex<Vec<String>>,
    back: AtomicUsize,
    fails: bool,
    /// So many times no node becomes ready.
    unready: AtomicUsize,
    closed: Mutex<BTreeSet<String>>,
    /// Who does something when a node has just been drained.
    meddler: Option<Meddler>,
    /// Draining closes the node, and waits for a budget for ever.
    hangs: AtomicBool,
}

/// Somebody who installs.
struct Meddler {
    client: Client,
    work: Mutex<Option<tokio::task::JoinHandle<Result<(), talos_client::Error>>>>,
}

impl Meddler {
    async fn meddle(&self) {
        let (begun, begins) = tokio::sync::oneshot::channel::<()>();
        let (client, mut begun) = (self.client.clone(), Some(begun));
        let work = async move {
            let first = |_: &str| drop(begun.take());
            client.install_version(&image("v1.13.9"), first).await
        };
        *self.work.lock().unwrap() = Some(tokio::spawn(work));
        // Its first line lets the other end go.
        assert!(begins.await.is_err());
        assert!(self.client.is_installing().await.unwrap());
        let error = self.client.install_version(&image("v1.13.9"), |_| {}).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        assert_eq!(error.message(), "another installation/upgrade is already in progress");
        assert!(!error.may_have_been_applied());
    }
}

impl Workloads for Counted {
    async fn drain(&self, node: &str) -> Result<(), String> {
        self.drained.lock().unwrap().push(node.to_owned());
        self.closed.lock().unwrap().insert(node.to_owned());
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if let Some(meddler) = &self.meddler {
            meddler.meddle().await;
        }
        if self.fails { Err("a budget forbids it".into()) } else { Ok(()) }
    }

    async fn wait_ready(&self, _: &str) -> Result<(), String> {
        let less = |left: usize| left.checked_sub(1);
        match self.unready.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Err("its network is not up".into()),
            Err(_) => Ok(()),
        }
    }

    async fn uncordon(&self, node: &str) -> Result<(), String> {
        self.back.fetch_add(1, Ordering::Relaxed);
        self.closed.lock().unwrap().remove(node);
        Ok(())
    }

    async fn is_drained(&self, node: &str) -> Result<bool, String> {
        Ok(self.closed.lock().unwrap().contains(node))
    }
}

async fn rolls(from: &'static str, to: &'static str, way: &NodeStep) {
    let mut lab = Lab::new(from, Pace::quick());
    let nodes = [("cp1", 11), ("cp2", 12), ("cp3", 13), ("w1", 21)];
    let (targets, nodes) = cluster(&mut lab, &nodes).await;
    let steps = Mutex::new(Vec::new());
    let tell = |progress: Progress| {
        // No more than one control plane is away at any time.
        let away = nodes.iter().take(3).filter(|node| node.snapshot()["stage"] != "running");
        assert!(away.count() <= 1, "{progress:?}");
        if progress.text.is_empty() {
            steps.lock().unwrap().push(progress);
        }
    };
    let workloads = Counted::default();
    let done = rollout(&targets, &wanted(to), &workloads, &tell).await.unwrap();
    let names: Vec<&str> = done.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), 4);
    assert_eq!(names[3], "w1", "workers are last: {names:?}");
    assert!(done.iter().all(|(_, version)| version.tag == to));
    let steps = std::mem::take(&mut *steps.lock().unwrap());
    assert_eq!(steps.iter().filter(|one| one.step == *way).count(), 4, "{steps:?}");
    assert!(steps.iter().any(|one| one.step == NodeStep::Forfeit && one.node == names[2]));
    for target in &targets {
        assert_eq!(target.client.version().await.unwrap().tag, to);
        assert_eq!(target.client.schematic().await.unwrap(), Some("5".repeat(64)));
    }
    assert_eq!(workloads.back.load(Ordering::Relaxed), 4);
    assert_eq!(lab.bootstraps(), 1);
    // Once more: nothing is left to do.
    assert!(rollout(&targets, &wanted(to), &workloads, &tell).await.unwrap().is_empty());
    let results = check(&observe(&targets).await);
    let etcd = results.iter().filter(|result| result.name.starts_with("etcd"));
    assert!(etcd.clone().all(talos_client::health::CheckResult::is_ok), "{results:?}");
    assert_eq!(lab.net.quorum_losses(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_not_ready_is_waited_for_before_the_next() {
    let mut lab = Lab::new("v1.13.8", Pace::quick());
    let names = [("cp1", 11), ("w1", 21), ("w2", 22)];
    let (targets, nodes) = cluster(&mut lab, &names).await;
    let workloads = Counted { unready: AtomicUsize::new(2), ..Counted::default() };
    // A version is wanted, however it is written.
    let wanted = Wanted::new(image("v1.13.9"), "1.13.9").limit(LIMIT).downtime(true);
    let tell = |_: Progress| {};
    for _ in 0..2 {
        let error = rollout(&targets, &wanted, &workloads, &tell).await.unwrap_err();
        assert!(error.message().contains("its network is not up"), "{error}");
        // It went through its reboot, is closed, and no other node was begun.
        assert_eq!(nodes[0].snapshot()["boots"], 3);
        assert_eq!(*workloads.drained.lock().unwrap(), ["cp1"]);
        assert_eq!(workloads.back.load(Ordering::Relaxed), 0);
    }
    let done = rollout(&targets, &wanted, &workloads, &tell).await.unwrap();
    assert_eq!(done.len(), 2, "{done:?}");
    assert_eq!(*workloads.drained.lock().unwrap(), ["cp1", "w1", "w2"]);
    assert!(workloads.closed.lock().unwrap().is_empty());
    // What this did not close, it does not open.
    assert!(rollout(&targets, &wanted, &workloads, &tell).await.unwrap().is_empty());
    assert_eq!(workloads.back.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_member_is_away_no_other_stops() {
    let mut lab = Lab::new("v1.13.8", Pace::quick());
    let names = [("cp1", 11), ("cp2", 12), ("cp3", 13)];
    let (targets, nodes) = cluster(&mut lab, &names).await;
    nodes[2].power_off();
    let tell = |_: Progress| {};
    let short = wanted("v1.13.9").limit(Duration::from_secs(2));
    let error = rollout(&targets, &short, &NoWorkloads, &tell).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotReady, "{error}");
    let error = upgrade_node(&targets, "cp1", &short, &NoWorkloads, &tell).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.message().contains("cp3"), "{error}");
    assert_eq!(lab.net.faults().calls("*", "*/Reboot"), 0);
    assert_eq!(lab.net.quorum_losses(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_of_etcd_ends_it_before_any_node_stops() {
    let mut lab = Lab::new("v1.13.8", Pace::quick());
    let names = [("cp1", 11), ("cp2", 12), ("cp3", 13)];
    let (targets, _nodes) = cluster(&mut lab, &names).await;
    let snapshot = lab.net.snapshot();
    let all = snapshot["clusters"].as_object().unwrap();
    let id = all.values().next().unwrap()["cluster_id"].as_str().unwrap();
    lab.net.raise_alarm(id, "NOSPACE");
    let tell = |_: Progress| {};
    let error = rollout(&targets, &wanted("v1.13.9"), &NoWorkloads, &tell).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.message().contains("etcd has an alarm"), "{error}");
    assert_eq!(lab.net.faults().calls("*", "*/Reboot"), 0);
    assert_eq!(targets[0].client.etcd_disarm().await.unwrap().len(), 1);
    rollout(&targets, &wanted("v1.13.9"), &NoWorkloads, &tell).await.unwrap();
    assert_eq!(lab.net.quorum_losses(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_1_13_by_the_newer_calls() {
    rolls("v1.13.8", "v1.13.9", &NodeStep::Install).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_1_12_by_the_older_call() {
    rolls("v1.12.4", "v1.12.7", &NodeStep::Upgrade).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_harm_is_refused_before_anything_happens() {
    let mut lab = Lab::new("v1.13.8", Pace::quick());
    let (targets, nodes) = cluster(&mut lab, &[("cp1", 11)]).await;
    let tell = |_: Progress| {};
    let error = rollout(&targets, &wanted("v1.13.9"), &NoWorkloads, &tell).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.message().contains("1 voting member(s)"), "{error}");
    let plain = Wanted::new("ghcr.io/siderolabs/installer:v1.13.9", "v1.13.9").downtime(true);
    let error = upgrade_node(&targets, "cp1", &plain, &NoWorkloads, &tell).await.unwrap_err();
    assert!(error.message().contains("it cannot be told whether"), "{error}");
    // Said to be of another schematic, it is known to be wrong; of the same, it is taken.
    let other = plain.clone().image_schematic("0".repeat(64));
    let error = upgrade_node(&targets, "cp1", &other, &NoWorkloads, &tell).await.unwrap_err();
    assert!(error.message().contains("its extensions would change"), "{error}");
    let same = plain.image_schematic("5".repeat(64));
    let stuck = Counted { fails: true, ..Counted::default() };
    let error = upgrade_node(&targets, "cp1", &same, &stuck, &tell).await.unwrap_err();
    assert!(!error.message().contains("schematic"), "{error}");
    let error = rollout(&targets, &wanted("v1.12.7").downtime(true), &NoWorkloads, &tell)
        .await
        .unwrap_err();
    assert!(error.message().contains("newer than v1.12.7"), "{error}");
    let error =
        upgrade_node(&targets, "x", &wanted("v1.13.9"), &NoWorkloads, &tell).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    // A node that cannot be drained takes pods again.
    let stuck = Counted { fails: true, ..Counted::default() };
    let error = upgrade_node(&targets, "cp1", &wanted("v1.13.9").downtime(true), &stuck, &tell)
        .await
        .unwrap_err();
    assert!(error.message().contains("a budget forbids it"), "{error}");
    assert_eq!(stuck.back.load(Ordering::Relaxed), 1);
    assert_eq!(nodes[0].snapshot()["boots"], 2);
    assert_eq!(lab.net.faults().calls("cp1", "*/Reboot"), 0);
    // An image that installs something else, as a node looks that fell back to what it had.
    let other = Wanted::new(image("v1.13.7"), "v1.13.9").downtime(true).limit(LIMIT);
    let error = upgrade_node(&targets, "cp1", &other, &NoWorkloads, &tell).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.message().contains("came back with v1.13.7 and not with v1.13.9"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_minor_versions_the_quorum_is_kept_and_so_are_the_extensions() {
    let mut lab = Lab::new("v1.11.5", Pace::quick());
    let names = [("cp1", 11), ("cp2", 12), ("cp3", 13), ("w1", 21)];
    let (targets, _nodes) = cluster(&mut lab, &names).await;
    for tag in ["v1.12.7", "v1.13.9"] {
        let done = rollout(&targets, &wanted(tag), &Counted::default(), &|_| {}).await.unwrap();
        assert_eq!(done.len(), 4, "{done:?}");
        for target in &targets {
            assert_eq!(target.client.version().await.unwrap().tag, tag);
            assert_eq!(target.client.schematic().await.unwrap(), Some("5".repeat(64)));
        }
        assert_eq!(lab.net.quorum_losses(), []);
    }
    assert_eq!(lab.bootstraps(), 1);
}
