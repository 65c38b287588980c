//! The health check of a cluster, as a control plane does it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::fact;
use super::super::grpc::{Call, Frames, Reply, Status, code};
use super::super::node::{Api, Machine, NodeInner};

/// A node that is looked at: how it is named, and the machine if it can be reached.
struct Seen {
    address: String,
    node: Option<Arc<NodeInner>>,
    plane: bool,
}

/// Look at all nodes until all is well or the time is over.
pub(super) fn health(node: &Arc<NodeInner>, call: &Call) -> Reply {
    let text = call.text("waitTimeout").trim_end_matches('s').to_owned();
    let limit = Duration::from_secs_f64(text.parse::<f64>().unwrap_or(1200.0).max(0.0));
    let nodes = nodes(node, call);
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    let stub = node.net().is_none_or(|net| net.config.stub_kubelet);
    tokio::spawn(async move {
        let end = tokio::time::Instant::now() + limit;
        let quoted: Vec<String> = nodes.iter().map(|n| format!("{:?}", n.address)).collect();
        let first = format!("discovered nodes: [{}]", quoted.join(" "));
        if sender.send(Ok(json!({"message": first}))).await.is_err() {
            return;
        }
        for (what, check) in CHECKS {
            let mut last = "...".to_owned();
            loop {
                let say = json!({"message": format!("waiting for {what}: {last}")});
                if sender.send(Ok(say)).await.is_err() {
                    return;
                }
                if last == "OK" {
                    break;
                }
                let now = loop {
                    let now = check(&nodes, stub).unwrap_or_else(|| "OK".to_owned());
                    if now != last {
                        break now;
                    }
                    let next = tokio::time::Instant::now() + Duration::from_millis(500);
                    if next >= end {
                        tokio::time::sleep_until(end).await;
                        let late =
                            Status::new(code::DEADLINE_EXCEEDED, "context deadline exceeded");
                        sender.send(Err(late)).await.ok();
                        return;
                    }
                    tokio::time::sleep_until(next).await;
                };
                last = now;
            }
        }
    });
    let frames: Frames = Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver));
    Reply::Many(frames)
}

/// The nodes that the caller names, else those that discovery shows.
fn nodes(node: &Arc<NodeInner>, call: &Call) -> Vec<Seen> {
    let info = call.request().get("clusterInfo").cloned().unwrap_or_default();
    let named = |key: &str| -> Vec<String> {
        let list = info.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let with = |plane: bool| move |address: String| (address, plane);
    let mut all: Vec<(String, bool)> =
        named("controlPlaneNodes").into_iter().map(with(true)).collect();
    all.extend(named("workerNodes").into_iter().map(with(false)));
    if all.is_empty() {
        all = fact::discovered(node);
    }
    let found = |address: &str| {
        let address = address.parse::<IpAddr>().ok()?;
        if node.has_address(address) { Some(Arc::clone(node)) } else { node.net()?.owner(address) }
    };
    all.into_iter().map(|(address, plane)| Seen { node: found(&address), address, plane }).collect()
}

/// What a check finds wrong, if anything.
type Check = fn(&[Seen], bool) -> Option<String>;

/// All checks in their order.
const CHECKS: [(&str, Check); 16] = [
    ("etcd to be healthy", |nodes, _| each(nodes, true, |m| service(m, "etcd"))),
    ("etcd members to be consistent across nodes", |nodes, _| members(nodes, true)),
    ("etcd members to be control plane nodes", |nodes, _| members(nodes, false)),
    ("apid to be ready", |nodes, _| {
        each(nodes, false, |m| {
            let serves = matches!(m.api, Api::Secure(_));
            (!serves).then(|| "rpc error: code = Unavailable desc = connection refused".into())
        })
    }),
    ("all nodes memory sizes", |nodes, _| each(nodes, false, memory)),
    ("all nodes disk sizes", |nodes, _| each(nodes, false, disk)),
    ("no diagnostics", |_, _| None),
    ("kubelet to be healthy", |nodes, _| each(nodes, false, |m| service(m, "kubelet"))),
    ("all nodes to finish boot sequence", |nodes, _| {
        each(nodes, false, |m| {
            let stage = &m.stage;
            (stage != "running").then(|| format!("expected machine stage running, got {stage}"))
        })
    }),
    ("all k8s nodes to report", |nodes, stub| kubernetes(nodes, stub, registered)),
    ("all control plane static pods to be running", |nodes, stub| {
        kubernetes(nodes, stub, |_| None)
    }),
    ("all control plane components to be ready", |nodes, stub| kubernetes(nodes, stub, |_| None)),
    ("all k8s nodes to report ready", |nodes, stub| kubernetes(nodes, stub, ready)),
    ("kube-proxy to report ready", |nodes, stub| kubernetes(nodes, stub, ready)),
    ("coredns to report ready", |nodes, stub| kubernetes(nodes, stub, ready)),
    ("all k8s nodes to report schedulable", |nodes, stub| kubernetes(nodes, stub, schedulable)),
];

/// What is wrong with each of the nodes, as one text.
fn each(
    nodes: &[Seen],
    planes: bool,
    check: impl Fn(&Machine) -> Option<String>,
) -> Option<String> {
    let one = |seen: &Seen| {
        let why = match &seen.node {
            Some(node) => check(&node.machine())?,
            None => "rpc error: code = Unavailable desc = no route to host".to_owned(),
        };
        Some(format!("\n\t* {}: {why}", seen.address))
    };
    let wrong: Vec<String> = nodes.iter().filter(|n| n.plane || !planes).filter_map(one).collect();
    let count =
        if wrong.len() == 1 { "1 error".to_owned() } else { format!("{} errors", wrong.len()) };
    (!wrong.is_empty()).then(|| format!("{count} occurred:{}", wrong.concat()))
}

fn service(machine: &Machine, id: &str) -> Option<String> {
    let service = machine.services.get(id).cloned().unwrap_or_default();
    if service.state == "Running" && service.healthy == Some(true) {
        return None;
    }
    if service.state == "Running" {
        return Some(format!("service {id:?} is not healthy"));
    }
    let message = if service.state == "Preparing" { " Running pre state" } else { "" };
    let current = format!("current state [{}]{message}", service.state);
    Some(format!("service {id:?} not in expected state \"Running\": {current}"))
}

/// Whether the planes are members of one cluster, or of one that has no others.
fn members(nodes: &[Seen], consistent: bool) -> Option<String> {
    let planes: Vec<&Arc<NodeInner>> =
        nodes.iter().filter(|n| n.plane).filter_map(|n| n.node.as_ref()).collect();
    let homes: Vec<Option<String>> =
        planes.iter().map(|n| n.content().etcd.map(|d| d.cluster)).collect();
    if consistent {
        let same = homes.windows(2).all(|pair| pair.first() == pair.last());
        return (!same).then(|| "etcd members don't match across nodes".to_owned());
    }
    let home = homes.first().cloned().flatten()?;
    let cluster = planes.first()?.net()?.clusters.get(&home)?;
    let strangers: Vec<&str> = cluster
        .members
        .iter()
        .filter(|m| !planes.iter().any(|n| n.uuid == m.uuid))
        .map(|m| m.name.as_str())
        .collect();
    (!strangers.is_empty())
        .then(|| format!("etcd members {strangers:?} are no control plane nodes"))
}

fn memory(machine: &Machine) -> Option<String> {
    // What is nominal less what firmware and kernel keep for themselves.
    let least = if machine.config.is_control_plane() { 1848 - 150 } else { 1024 - 150 };
    let has = machine.spec.memory_mib;
    (has < least).then(|| format!("memory size {has} MiB is less than {least} MiB"))
}

fn disk(machine: &Machine) -> Option<String> {
    let disks = &machine.spec.disks;
    let own = disks.iter().find(|d| machine.system_disk.as_ref() == Some(&d.key))?;
    let least = 6 << 30;
    (own.size < least).then(|| format!("disk size {} B is less than {least} B", own.size))
}

fn kubernetes(
    nodes: &[Seen],
    stub: bool,
    check: impl Fn(&Machine) -> Option<String>,
) -> Option<String> {
    let serves = nodes.iter().filter_map(|n| n.node.as_ref()).any(|n| n.machine().kube.is_some());
    if stub || !serves {
        return Some("the Kubernetes API refuses connections".to_owned());
    }
    each(nodes, false, check)
}

fn registered(machine: &Machine) -> Option<String> {
    (!machine.registered).then(|| format!("node {:?} is not registered", machine.hostname()))
}

fn schedulable(machine: &Machine) -> Option<String> {
    machine.unschedulable.then(|| format!("node {:?} is not schedulable", machine.hostname()))
}

fn ready(machine: &Machine) -> Option<String> {
    (!machine.node_ready).then(|| format!("node {:?} is not ready", machine.hostname()))
}
