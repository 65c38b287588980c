//! etcd on a control plane: waiting, Bootstrap, joining as a learner, leaving.

use std::sync::Arc;

use sha1::{Digest as _, Sha1};

use super::super::cluster::{Cluster, Member};
use super::super::disk::EtcdData;
use super::super::fault::FaultAction;
use super::super::net::NetInner;
use super::super::node::{EtcdState, NodeInner};
use super::pause;

/// At boot: with data etcd comes up, without it waits.
pub(super) fn prepare(node: &NodeInner) {
    let has_data = node.content().etcd.is_some();
    set(node, if has_data { EtcdState::Starting } else { EtcdState::Preparing });
    let message = if has_data { "Started task etcd" } else { "Running pre state" };
    node.service("etcd", if has_data { "Running" } else { "Preparing" }, None, message);
}

fn set(node: &NodeInner, state: EtcdState) {
    node.machine().etcd = state;
}

/// One step forward.
pub(super) async fn step(node: &Arc<NodeInner>) {
    let Some(net) = node.net() else { return };
    let state = node.machine().etcd;
    match state {
        EtcdState::Preparing => {
            if node.machine().bootstrap_asked {
                node.machine().bootstrap_asked = false;
                found(node, &net);
                up(node, &net).await;
            } else if join(node, &net).await {
                up(node, &net).await;
            }
        }
        EtcdState::Starting => {
            if let Some(FaultAction::EtcdPull(time)) = net.faults.take(&node.names(), "@etcd-image")
            {
                node.service("etcd", "Preparing", None, "Running pre state");
                tokio::time::sleep(time).await;
            }
            up(node, &net).await;
        }
        EtcdState::Running => {
            if let Some(FaultAction::EtcdStall(time)) = net.faults.take(&node.names(), "@etcd") {
                stall(node, time).await;
            }
            if is_known(node, &net) {
                elect(node, &net);
            } else {
                // Someone removed the member: etcd ends, and its data is of no use.
                set(node, EtcdState::Failed);
                let why = "failed to run: the member has been permanently removed from the cluster";
                node.service("etcd", "Failed", Some(false), why);
                net.refresh();
            }
        }
        _ => {}
    }
}

/// The address that etcd advertises.
pub(crate) fn advertised(node: &NodeInner) -> String {
    let machine = node.machine();
    let subnets: Vec<ipnet::IpNet> = machine
        .config
        .texts("cluster.etcd.advertisedSubnets")
        .iter()
        .filter_map(|s| s.parse().ok())
        .collect();
    let all = machine.addresses();
    let wanted = all.iter().find(|a| subnets.iter().any(|s| s.contains(&a.addr())));
    wanted.or(all.first()).map(|a| a.addr().to_string()).unwrap_or_default()
}

/// Whether the cluster still has this node's member.
fn is_known(node: &NodeInner, net: &NetInner) -> bool {
    let Some(data) = node.content().etcd else { return false };
    let has = |c: &Cluster| c.member(data.member).is_some();
    net.clusters.read(&data.cluster, has).unwrap_or(false)
}

/// etcd does not answer for a while.
async fn stall(node: &NodeInner, time: std::time::Duration) {
    node.service("etcd", "Running", Some(false), "Health check failed: context deadline exceeded");
    node.halt_etcd();
    tokio::time::sleep(time).await;
    set(node, EtcdState::Running);
    node.service("etcd", "Running", Some(true), "Health check successful");
    if let Some(net) = node.net() {
        net.refresh();
    }
}

fn found(node: &NodeInner, net: &NetInner) {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let address = advertised(node);
    let member = member(node, false, founder_id(&address));
    let config = node.machine().config.clone();
    let restored = node.machine().restore.take();
    let objects = restored.map(|upload| upload.objects()).unwrap_or_default();
    let cluster = Cluster {
        revision: objects.len() as u64,
        objects,
        id: id.clone(),
        cluster_id: config.text("cluster.id").to_owned(),
        name: config.text("cluster.clusterName").to_owned(),
        ca: config.text("cluster.etcd.ca.crt").to_owned(),
        leader: member.id,
        term: 2,
        members: vec![member.clone()],
        ..Cluster::default()
    };
    net.clusters.add(cluster);
    node.machine().counters.bootstraps += 1;
    node.write(|c| c.etcd = Some(EtcdData { cluster: id, member: member.id }));
    set(node, EtcdState::Starting);
}

fn member(node: &NodeInner, learner: bool, id: u64) -> Member {
    let address = advertised(node);
    Member { id, name: node.hostname(), address, learner, uuid: node.uuid.clone() }
}

/// The id that etcd gives the first member: a hash of its peers' URL and the cluster's token.
fn founder_id(address: &str) -> u64 {
    hashed(address, "etcd-cluster")
}

/// The id of a later member. In place of etcd's clock stands how many joined before, so that the
/// order of members, which is that of their ids, is the same in every run.
fn joiner_id(address: &str, joined: u64) -> u64 {
    hashed(address, &joined.to_string())
}

fn hashed(address: &str, salt: &str) -> u64 {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let digest = Sha1::digest(format!("https://{host}:2380{salt}").as_bytes());
    digest.first_chunk::<8>().map_or(1, |head| u64::from_be_bytes(*head))
}

/// Whether the data on a node is that of a member: a machine that was made anew has the UUID of the
/// old one and none of its data.
fn is_member(node: &NodeInner, cluster: &Cluster, member: &Member) -> bool {
    node.content().etcd.is_some_and(|data| data.cluster == cluster.id && data.member == member.id)
}

/// Whether so many members run that the cluster can decide.
pub(crate) fn has_quorum(net: &NetInner, cluster: &Cluster) -> bool {
    let running = |m: &Member| {
        net.all().iter().any(|n| {
            let up = {
                let machine = n.machine();
                machine.powered && matches!(machine.etcd, EtcdState::Running | EtcdState::Starting)
            };
            n.uuid == m.uuid && up && is_member(n, cluster, m)
        })
    };
    let voters: Vec<&Member> = cluster.members.iter().filter(|m| !m.learner).collect();
    let alive = voters.iter().copied().filter(|m| running(m)).count();
    alive * 2 > voters.len()
}

async fn join(node: &Arc<NodeInner>, net: &NetInner) -> bool {
    let (cluster_id, ca) = {
        let machine = node.machine();
        (
            machine.config.text("cluster.id").to_owned(),
            machine.config.text("cluster.etcd.ca.crt").to_owned(),
        )
    };
    let all: Vec<Cluster> = net.clusters.all().values().cloned().collect();
    let running = |c: &Cluster| {
        net.all().iter().any(|n| {
            n.machine().etcd == EtcdState::Running
                && c.members.iter().any(|m| m.uuid == n.uuid && is_member(n, c, m))
        })
    };
    let Some(target) = all
        .into_iter()
        .find(|c| c.cluster_id == cluster_id && c.ca == ca && running(c) && has_quorum(net, c))
    else {
        return false;
    };
    if target.members.iter().any(|m| m.learner && m.uuid != node.uuid) {
        return false;
    }
    let new = member(node, true, joiner_id(&advertised(node), target.joined));
    let (id, name) = (new.id, new.name.clone());
    net.clusters.change(&target.id, |c| {
        c.members.retain(|m| m.name != name);
        c.members.push(new);
        c.joined += 1;
        c.members.sort_by_key(|m| m.id);
    });
    node.write(|c| c.etcd = Some(EtcdData { cluster: target.id.clone(), member: id }));
    set(node, EtcdState::Starting);
    node.service("etcd", "Running", None, "Started task etcd");
    net.refresh();
    pause(node, 10.0).await;
    true
}

async fn up(node: &Arc<NodeInner>, net: &NetInner) {
    node.service("etcd", "Running", None, "Started task etcd");
    if node.machine().stage == "booting" {
        super::booted(node);
    }
    pause(node, 6.0).await;
    let Some(data) = node.content().etcd else { return };
    let name = node.hostname();
    let cluster = net.clusters.get(&data.cluster);
    let healthy = cluster.is_some_and(|c| has_quorum(net, &c));
    if !is_known(node, net) || !healthy {
        return;
    }
    // A learner runs before it votes: a vote of one that is not there could cost the quorum.
    set(node, EtcdState::Running);
    net.clusters.change(&data.cluster, |c| {
        if let Some(member) = c.members.iter_mut().find(|m| m.id == data.member) {
            (member.learner, member.name) = (false, name);
        }
    });
    node.service("etcd", "Running", Some(true), "Health check successful");
    elect(node, net);
    net.refresh();
}

fn elect(node: &NodeInner, net: &NetInner) {
    let Some(data) = node.content().etcd else { return };
    let alive: Vec<String> = net
        .all()
        .iter()
        .filter(|n| n.machine().etcd == EtcdState::Running)
        .map(|n| n.uuid.clone())
        .collect();
    let stale = |c: &Cluster| c.member(c.leader).is_none_or(|m| !alive.contains(&m.uuid));
    if net.clusters.read(&data.cluster, stale).unwrap_or(false) {
        net.clusters.change(&data.cluster, |c| c.elect(|m| alive.contains(&m.uuid)));
    }
}

/// Leave the cluster and delete the data.
pub(crate) fn leave(node: &NodeInner) {
    let Some(net) = node.net() else { return };
    if let Some(data) = node.content().etcd {
        net.clusters.change(&data.cluster, |c| {
            c.members.retain(|m| m.id != data.member);
            c.elect(|m| m.uuid != node.uuid);
        });
    }
    node.write(|c| c.etcd = None);
    set(node, EtcdState::Finished);
    node.service("etcd", "Finished", Some(false), "Service finished successfully");
    net.refresh();
}
