//! Upgrades from version to version, one node after the other: the simulator says whether etcd
//! could decide at every moment.

use std::time::Duration;

use talos_client::Client;
use talos_client::api::{RebootMode, UpgradeOptions};
use talos_client::sim::{Fault, FaultAction, Pace, SimNode};

use super::lab::{Lab, eventually, until, value};

const PLANES: [(&str, u8); 3] = [("cp1", 11), ("cp2", 12), ("cp3", 13)];

fn image(version: &str) -> String {
    format!("factory.talos.dev/nocloud-installer/{}:{version}", "5".repeat(64))
}

async fn cluster(talos: &'static str) -> (Lab, Vec<(SimNode, Client)>) {
    let mut lab = Lab::new(talos, Pace::quick());
    let mut nodes = Vec::new();
    for (name, suffix) in PLANES {
        nodes.push(lab.install(name, suffix).await);
    }
    eventually("the bootstrap", || nodes[0].1.bootstrap()).await;
    for (_, client) in &nodes {
        voters(client, 3).await;
    }
    (lab, nodes)
}

async fn voters(client: &Client, count: usize) {
    let all = |members: &Vec<talos_client::api::EtcdMember>| {
        members.len() == count && members.iter().all(|member| !member.is_learner)
    };
    value("members", || client.etcd_members(), all).await;
}

/// Whether a node runs, and its etcd with it.
async fn back(node: &SimNode, client: &Client, boots: u64) {
    until("another boot", || {
        let now = node.snapshot();
        now["boots"].as_u64() > Some(boots) && now["stage"] == "running"
    })
    .await;
    eventually("etcd", || client.etcd_status()).await;
    voters(client, 3).await;
}

fn boots(node: &SimNode) -> u64 {
    node.snapshot()["boots"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_node_by_node_keeps_the_quorum_and_the_extensions() {
    let (lab, nodes) = cluster("v1.11.5").await;
    for version in ["v1.12.4", "v1.13.9"] {
        for (node, client) in &nodes {
            let before = boots(node);
            client.upgrade(&image(version), UpgradeOptions::default()).await.unwrap();
            back(node, client, before).await;
            assert_eq!(client.version().await.unwrap().tag, version);
            let installed = node.snapshot()["installed"].clone();
            assert_eq!(installed["schematic"], "5".repeat(64));
        }
    }
    assert_eq!(lab.net.quorum_losses(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_does_not_come_up_gives_way_to_the_one_before() {
    let (lab, nodes) = cluster("v1.12.4").await;
    lab.net.faults().add(Fault::new(FaultAction::TrialFails).node("cp2"));
    let (node, client) = &nodes[1];
    let before = boots(node);
    client.upgrade(&image("v1.13.9"), UpgradeOptions::default()).await.unwrap();
    back(node, client, before).await;
    assert_eq!(client.version().await.unwrap().tag, "v1.12.4");
    // The second try comes up, and a later boot stays with it.
    for _ in 0..2 {
        let before = boots(node);
        client.upgrade(&image("v1.13.9"), UpgradeOptions::default()).await.unwrap();
        back(node, client, before).await;
        assert_eq!(client.version().await.unwrap().tag, "v1.13.9");
    }
    assert_eq!(lab.net.quorum_losses(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_cost_the_quorum_and_are_seen() {
    let (lab, nodes) = cluster("v1.13.9").await;
    for (_, client) in &nodes[..2] {
        client.reboot(RebootMode::Default).await.unwrap();
    }
    until("a loss", || !lab.net.quorum_losses().is_empty()).await;
    let loss = &lab.net.quorum_losses()[0];
    assert_eq!(loss.voters.iter().filter(|(_, up)| *up).count(), 1, "{loss:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_etcd_and_a_full_disk_are_got_over() {
    let (lab, nodes) = cluster("v1.13.9").await;
    let faults = lab.net.faults();
    faults.add(Fault::new(FaultAction::EtcdStall(Duration::from_millis(300))).node("cp3"));
    until("the stall", || nodes[2].0.snapshot()["etcd"]["running"] == false).await;
    until("its end", || nodes[2].0.snapshot()["etcd"]["running"] == true).await;

    faults.add(Fault::new(FaultAction::DiskFull).node("cp1"));
    let refused = nodes[0].1.upgrade(&image("v1.13.10"), UpgradeOptions::default()).await;
    assert!(refused.unwrap_err().message().contains("no space left on device"));
    assert_eq!(lab.net.quorum_losses(), []);
}
