//! The health check of a cluster.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::grpc::{Call, Frames, Reply, Status, code};
use super::super::life::advertised;
use super::super::node::NodeInner;

/// Check this node's etcd, kubelet and stage until all is well or the time is over.
pub(super) fn health(node: &Arc<NodeInner>, call: &Call) -> Reply {
    let text = call.text("waitTimeout").trim_end_matches('s').to_owned();
    let limit = Duration::from_secs_f64(text.parse::<f64>().unwrap_or(1200.0).max(0.0));
    let info = call.request().get("clusterInfo").cloned().unwrap_or_default();
    let named = |key: &str| -> Vec<String> {
        let list = info.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut nodes = named("controlPlaneNodes");
    nodes.extend(named("workerNodes"));
    if nodes.is_empty() {
        nodes.push(advertised(node));
    }
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let say = |text: String| json!({"message": text});
        let quoted: Vec<String> = nodes.iter().map(|n| format!("{n:?}")).collect();
        if sender.send(Ok(say(format!("discovered nodes: [{}]", quoted.join(" "))))).await.is_err()
        {
            return;
        }
        let end = tokio::time::Instant::now() + limit;
        for (id, what) in [("etcd", "etcd to be healthy"), ("kubelet", "kubelet to be healthy")] {
            let mut last = "...".to_owned();
            if sender.send(Ok(say(format!("waiting for {what}: {last}")))).await.is_err() {
                return;
            }
            loop {
                let now = state(&node, id)
                    .map_or_else(|| "OK".to_owned(), |why| trouble(&advertised(&node), &why));
                let done = now == "OK";
                if now != last {
                    if sender.send(Ok(say(format!("waiting for {what}: {now}")))).await.is_err() {
                        return;
                    }
                    last = now;
                }
                if done {
                    break;
                }
                let next = tokio::time::Instant::now() + Duration::from_millis(500);
                if next >= end {
                    tokio::time::sleep_until(end).await;
                    let late = Status::new(code::DEADLINE_EXCEEDED, "context deadline exceeded");
                    sender.send(Err(late)).await.ok();
                    return;
                }
                tokio::time::sleep_until(next).await;
            }
        }
    });
    let frames: Frames = Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver));
    Reply::Many(frames)
}

fn trouble(address: &str, why: &str) -> String {
    format!("1 error occurred:\n\t* {address}: {why}")
}

fn state(node: &NodeInner, id: &str) -> Option<String> {
    let machine = node.machine();
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
