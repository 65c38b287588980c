//! Health of a whole cluster, while it comes up and afterwards.

use std::collections::BTreeSet;
use std::time::Duration;

use talos_client::api::Bootstrap;
use talos_client::health::{CHECKS, CheckResult, Target, check, observe, wait};
use talos_client::sim::{Fault, FaultAction, Pace};
use talos_client::{Client, ErrorKind};

use super::lab::{Lab, address};

const LIMIT: Duration = Duration::from_mins(1);

fn target(name: &str, client: &Client) -> Target {
    Target { name: name.into(), control_plane: name.starts_with("cp"), client: client.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_says_what_it_waits_for_until_it_is_well() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_a, cp1) = lab.install("cp1", 11).await;
    let (_b, cp2) = lab.install("cp2", 12).await;
    let (_c, w1) = lab.install("w1", 21).await;
    let targets = [target("cp1", &cp1), target("cp2", &cp2), target("w1", &w1)];

    let results = check(&observe(&targets).await);
    let etcd = results.iter().find(|result| result.name == "etcd-service").unwrap();
    let reason = etcd.reason().unwrap();
    assert!(reason.starts_with("cp1: etcd: "), "{reason}");

    let pair = [cp1, cp2];
    super::lab::eventually("the bootstrap", || Bootstrap::of_cluster(&pair)).await;
    let mut reasons = BTreeSet::new();
    // Without a network for pods no node becomes ready.
    let progress = |results: &[CheckResult]| {
        reasons.extend(results.iter().filter(|r| !r.is_ok()).map(ToString::to_string));
    };
    let results = wait(&targets, &["ready"], LIMIT, progress).await.unwrap();
    assert_eq!(results.len(), CHECKS.len());
    assert!(results.iter().all(|result| result.is_ok() || result.name == "ready"), "{results:?}");
    assert!(!reasons.is_empty());

    lab.net.faults().add(Fault::new(FaultAction::RefuseConnect).node("w1").times(1000));
    let gone = Client::new(lab.role(21, &["os:admin"])).unwrap();
    let targets = [targets[0].clone(), targets[1].clone(), target("w1", &gone)];
    let error = wait(&targets, &["ready"], Duration::from_secs(2), |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("apid: w1: read the version: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_heal_ends_the_wait() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_a, _) = lab.install("cp1", 11).await;
    let nobody = Client::new(lab.role(11, &["os:nonsense"])).unwrap();
    let error = wait(&[target("cp1", &nobody)], &[], LIMIT, |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.message().starts_with("apid: cp1: read the version: not authorized"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_checks_what_kubernetes_alone_knows() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_a, cp1) = lab.install("cp1", 11).await;
    let (_b, w1) = lab.install("w1", 21).await;
    super::lab::eventually("the bootstrap", || cp1.bootstrap()).await;
    super::lab::eventually("the worker", || w1.version()).await;
    let (planes, workers) = ([address(11)], [address(21)]);
    let short = Duration::from_secs(20);
    // Without a network for pods the worker is not ready.
    let mut lines = Vec::new();
    let told = |line: &str| lines.push(line.to_owned());
    let error = cp1.cluster_health(&planes, &workers, short, told).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.message().contains("all k8s nodes to report ready: "), "{error}");
    assert!(error.message().contains("\"w1\" is not ready"), "{error}");
    assert!(lines.iter().any(|line| line == "waiting for etcd to be healthy: OK"), "{lines:?}");
    let snapshot = lab.net.snapshot();
    let cluster = snapshot["clusters"].as_object().unwrap().values().next().unwrap();
    lab.net.declare_cni(cluster["cluster_id"].as_str().unwrap());
    cp1.cluster_health(&planes, &workers, LIMIT, |_| {}).await.unwrap();
    let error = w1.cluster_health(&[], &[], LIMIT, |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unimplemented, "{error}");
}
