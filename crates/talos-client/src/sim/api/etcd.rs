//! Bootstrap and etcd.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::grpc::{Call, Frames, Reply, Status, code};
use super::super::life;
use super::super::net::NetInner;
use super::super::node::{EtcdState, NodeInner};
use super::super::snapshot::Snapshot;

/// A call about etcd.
pub(super) async fn call(node: &Arc<NodeInner>, call: &Call) -> Result<Reply, Status> {
    match call.method() {
        "Bootstrap" => return bootstrap(node, call),
        "EtcdRecover" => {
            node.machine().upload = call.upload.clone().map(Arc::new);
            return Ok(Reply::One(json!({"messages": [{}]})));
        }
        _ => {}
    }
    if call.method() == "EtcdStatus" {
        return status(node).await;
    }
    let (net, cluster) = reach(node).await?;
    match call.method() {
        "EtcdMemberList" => Ok(list(&cluster)),
        "EtcdAlarmList" => Ok(alarms(&cluster.alarms)),
        "EtcdAlarmDisarm" => {
            let disarm = |c: &mut Cluster| std::mem::take(&mut c.alarms);
            Ok(alarms(&net.clusters.change(&cluster.id, disarm).unwrap_or_default()))
        }
        "EtcdSnapshot" => Ok(snapshot(&cluster)),
        "EtcdRemoveMemberByID" => remove(&net, &cluster, call),
        "EtcdForfeitLeadership" => forfeit(node, &net, &cluster),
        "EtcdLeaveCluster" => {
            life::leave(node);
            Ok(Reply::One(json!({"messages": [{}]})))
        }
        name if name.starts_with("EtcdDowngrade") => downgrade(node, &net, &cluster, call),
        _ => Ok(Reply::One(json!({"messages": [{}]}))),
    }
}

/// Version of the etcd that a node runs.
fn version(node: &NodeInner) -> &'static str {
    match node.minor() {
        11 => "3.6.5",
        12 => "3.6.11",
        13 => "3.6.12",
        _ => "3.7.1",
    }
}

fn minor_of(version: &str) -> &str {
    version.rsplit_once('.').map_or(version, |(minor, _)| minor)
}

/// A cluster goes back by one minor version, and one at a time.
fn downgrade(
    node: &NodeInner,
    net: &NetInner,
    cluster: &Cluster,
    call: &Call,
) -> Result<Reply, Status> {
    let now = minor_of(version(node));
    let refused =
        |why: &str| Status::new(code::UNKNOWN, format!("failed to query etcd status: {why}"));
    let wanted = call.text("version");
    if call.method() == "EtcdDowngradeCancel" {
        net.clusters.change(&cluster.id, |c| c.downgrade.clear());
    } else {
        let numbers: Vec<Option<u32>> = wanted.split('.').map(|part| part.parse().ok()).collect();
        let [Some(major), Some(minor)] = numbers.as_slice() else {
            let text = "version should be in MAJOR.MINOR format";
            return Err(Status::new(code::INVALID_ARGUMENT, text));
        };
        if format!("{major}.{}", minor + 1) != now {
            return Err(refused("etcdserver: invalid downgrade target version"));
        }
        if !cluster.downgrade.is_empty() {
            return Err(refused("etcdserver: cluster has an ongoing downgrade job"));
        }
        if call.method() == "EtcdDowngradeEnable" {
            net.clusters.change(&cluster.id, |c| wanted.clone_into(&mut c.downgrade));
        }
    }
    Ok(Reply::One(json!({"messages": [{"clusterDowngrade": {"clusterVersion": now}}]})))
}

fn bootstrap(node: &NodeInner, call: &Call) -> Result<Reply, Status> {
    let content = node.content();
    let mut machine = node.machine();
    let not_yet = || Status::new(code::FAILED_PRECONDITION, "bootstrap is not available yet");
    if !matches!(machine.stage.as_str(), "booting" | "running")
        || !machine.services.contains_key("etcd")
    {
        return Err(not_yet());
    }
    if machine.skewed.is_some_and(|until| jiff::Timestamp::now() < until) {
        return Err(Status::new(code::FAILED_PRECONDITION, "time is not in sync yet"));
    }
    if content.etcd.is_some() && machine.etcd != EtcdState::Starting
        || machine.etcd == EtcdState::Running
    {
        return Err(Status::new(code::ALREADY_EXISTS, "etcd data directory is not empty"));
    }
    if machine.etcd == EtcdState::Starting {
        return Ok(Reply::One(json!({"messages": [{}]})));
    }
    let upload = machine.upload.clone().filter(|_| call.flag("recoverEtcd"));
    let usable = match &upload {
        None if call.flag("recoverEtcd") => {
            Err("stat /var/lib/etcd.snapshot: no such file or directory".to_owned())
        }
        None => Ok(()),
        Some(upload) => upload.check(call.flag("recoverSkipHashCheck")),
    };
    if let Err(why) = usable {
        machine.etcd = EtcdState::Failed;
        drop(machine);
        let why = format!("Failed to run pre stage: error verifying snapshot: {why}");
        node.service("etcd", "Failed", Some(false), &why);
    } else {
        machine.restore = upload;
        machine.etcd = EtcdState::Preparing;
        machine.bootstrap_asked = true;
        drop(machine);
    }
    node.wake.notify_one();
    Ok(Reply::One(json!({"messages": [{}]})))
}

/// The cluster that this node talks to; waits for as long as the caller does when there is none.
async fn reach(node: &Arc<NodeInner>) -> Result<(Arc<NetInner>, Cluster), Status> {
    loop {
        let net = node.net().ok_or_else(|| Status::new(code::UNAVAILABLE, "connection closed"))?;
        let state = node.machine().etcd;
        let own = node.content().etcd.and_then(|d| net.clusters.get(&d.cluster));
        let found = match (state, own) {
            (EtcdState::Running, Some(cluster)) => Some(cluster),
            (EtcdState::Finished, _) => {
                let id = node.machine().config.text("cluster.id").to_owned();
                net.clusters
                    .all()
                    .values()
                    .find(|c| c.cluster_id == id && !c.members.is_empty())
                    .cloned()
            }
            _ => None,
        };
        if let Some(cluster) = found.filter(|c| life::has_quorum(&net, c)) {
            return Ok((net, cluster));
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The cluster of a member that runs while too few others do.
fn leaderless(node: &NodeInner) -> Option<Cluster> {
    let net = node.net()?;
    let state = node.machine().etcd;
    let own = node.content().etcd.and_then(|d| net.clusters.get(&d.cluster));
    let runs = matches!(state, EtcdState::Running | EtcdState::Starting);
    own.filter(|cluster| runs && !life::has_quorum(&net, cluster))
}

fn list(cluster: &Cluster) -> Reply {
    let names: Vec<&str> = cluster.members.iter().map(|m| m.name.as_str()).collect();
    let members: Vec<Value> = cluster
        .members
        .iter()
        .map(|m| {
            let host = if m.address.contains(':') { format!("[{}]", m.address) } else { m.address.clone() };
            json!({
                "id": m.id.to_string(), "hostname": m.name, "peerUrls": [format!("https://{host}:2380")],
                "clientUrls": [format!("https://{host}:2379")], "isLearner": m.learner,
            })
        })
        .collect();
    Reply::One(json!({"messages": [{"legacyMembers": names, "members": members}]}))
}

/// The member's own status: it needs no quorum for that, and tells then that nobody leads.
async fn status(node: &Arc<NodeInner>) -> Result<Reply, Status> {
    let (cluster, leader) = match leaderless(node) {
        Some(cluster) => (cluster, 0),
        None => {
            let (_, cluster) = reach(node).await?;
            let leader = cluster.leader;
            (cluster, leader)
        }
    };
    let own = node.content().etcd.map(|d| d.member).unwrap_or_default();
    let Some(member) = cluster.member(own) else {
        return Err(Status::new(code::UNAVAILABLE, "etcdserver: server stopped"));
    };
    let (version, storage) = (version(node), format!("{}.0", minor_of(version(node))));
    let index = (cluster.revision + 10).to_string();
    let size = (20480 + cluster.revision * 512).to_string();
    // Every member tells the alarms of all.
    let alarms = cluster.alarms.iter();
    let alarms = alarms.map(|(member, name)| format!("memberID:{member} alarm:{name} "));
    let nobody = (leader == 0).then(|| "etcdserver: no leader".to_owned());
    let errors: Vec<String> = nobody.into_iter().chain(alarms).collect();
    let status = json!({
        "errors": errors,
        "protocolVersion": version, "storageVersion": storage, "dbSize": size, "dbSizeInUse": size,
        "leader": leader.to_string(), "raftIndex": index, "raftTerm": cluster.term.to_string(),
        "raftAppliedIndex": index, "isLearner": member.learner, "memberId": own.to_string(),
    });
    Ok(Reply::One(json!({"messages": [{"memberStatus": status}]})))
}

fn alarms(alarms: &[(u64, String)]) -> Reply {
    let all: Vec<Value> = alarms
        .iter()
        .map(|(member, name)| json!({"memberId": member.to_string(), "alarm": name}))
        .collect();
    Reply::One(json!({"messages": [{"memberAlarms": all}]}))
}

fn snapshot(cluster: &Cluster) -> Reply {
    let snapshot = Snapshot::of(&cluster.objects, cluster.revision, cluster.filler);
    let pieces = futures_util::stream::unfold(snapshot, |mut snapshot| async move {
        let piece = snapshot.next()?;
        Some((Ok(json!({"bytes": STANDARD.encode(piece)})), snapshot))
    });
    let frames: Frames = Box::pin(pieces);
    Reply::Many(frames)
}

fn remove(net: &NetInner, cluster: &Cluster, call: &Call) -> Result<Reply, Status> {
    let id = call.text("memberId").parse::<u64>().unwrap_or_default();
    if cluster.member(id).is_none() {
        let message = format!("failed to remove member {id}: etcdserver: member not found");
        return Err(Status::new(code::NOT_FOUND, message));
    }
    net.clusters.change(&cluster.id, |c| {
        c.members.retain(|m| m.id != id);
        c.elect(|_| true);
    });
    Ok(Reply::One(json!({"messages": [{}]})))
}

fn forfeit(node: &NodeInner, net: &NetInner, cluster: &Cluster) -> Result<Reply, Status> {
    let own = node.content().etcd.map(|d| d.member).unwrap_or_default();
    if cluster.members.len() == 1 {
        let message = "failed to forfeit leadership: cannot forfeit leadership, only one member";
        return Err(Status::new(code::UNKNOWN, message));
    }
    if cluster.leader != own {
        return Ok(Reply::One(json!({"messages": [{}]})));
    }
    let heir = cluster.members.iter().find(|m| m.id != own && !m.learner);
    let Some(heir) = heir else {
        return Err(Status::new(code::UNKNOWN, "failed to forfeit leadership: no voting member"));
    };
    net.clusters.change(&cluster.id, |c| {
        c.leader = heir.id;
        c.term += 1;
    });
    Ok(Reply::One(json!({"messages": [{"member": heir.name}]})))
}
