//! From the wire to the node that is meant: faults, forwarding, one call for many nodes.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::super::fault::FaultAction;
use super::super::grpc::{Call, Reply, Status, code};
use super::super::node::{Api, NodeInner, Order};
use super::super::wire;

/// Answer a call that came in at this node.
pub(crate) async fn entry(node: &Arc<NodeInner>, call: Call) -> Result<Reply, Status> {
    let Some(net) = node.net() else { return Err(gone()) };
    let names = node.names();
    net.faults.record(&names, &call.path);
    tokio::time::sleep(net.config.latency).await;
    let fault = net.faults.take(&names, &call.path);
    match &fault {
        Some(FaultAction::Refuse { code, message }) => {
            return Err(Status::new(*code, message.clone()));
        }
        Some(FaultAction::DropBefore) => {
            call.cut.cancel();
            return Err(gone());
        }
        Some(FaultAction::Slow(time)) => tokio::time::sleep(*time).await,
        _ => {}
    }
    let cut = call.cut.clone();
    let result = routed(node, call).await;
    match fault {
        Some(FaultAction::DropAfter) => {
            cut.cancel();
            Err(gone())
        }
        Some(FaultAction::RebootMidCall) => {
            node.order(Order::Reboot(uuid::Uuid::new_v4().to_string()));
            cut.cancel();
            Err(gone())
        }
        _ => result,
    }
}

fn gone() -> Status {
    Status::new(code::UNAVAILABLE, "connection closed")
}

async fn routed(node: &Arc<NodeInner>, call: Call) -> Result<Reply, Status> {
    let secure = matches!(node.machine().api, Api::Secure(_));
    if !secure || (call.node.is_empty() && call.nodes.is_empty()) {
        return super::local(node, &call).await;
    }
    if !call.nodes.is_empty() {
        return many(node, call).await;
    }
    let [target] = call.node.as_slice() else {
        return Err(Status::new(code::INVALID_ARGUMENT, "node metadata must be single-valued"));
    };
    let target = find(node, target)?;
    super::local(&target, &call).await
}

/// The node that a target names, as this node sees it.
fn find(node: &Arc<NodeInner>, target: &str) -> Result<Arc<NodeInner>, Status> {
    let is_control_plane = node.machine().config.is_control_plane();
    let address = target.parse::<IpAddr>().ok();
    let own = target == node.hostname() || address.is_some_and(|a| node.has_address(a));
    if own {
        return Ok(Arc::clone(node));
    }
    if !is_control_plane {
        return Err(Status::new(code::PERMISSION_DENIED, "no request forwarding"));
    }
    if target.is_empty() || target.contains(':') && address.is_none() {
        return Err(Status::new(code::INTERNAL, format!("invalid target {target:?}")));
    }
    let Some(net) = node.net() else { return Err(gone()) };
    let Some(address) = address else {
        let cluster = node.machine().config.text("cluster.id").to_owned();
        let named = net
            .all()
            .into_iter()
            .find(|n| n.hostname() == target && n.machine().config.text("cluster.id") == cluster);
        return named.ok_or_else(|| {
            Status::new(code::UNAVAILABLE, "name resolver error: produced zero addresses")
        });
    };
    if address.is_loopback() {
        return Ok(Arc::clone(node));
    }
    let found = net.owner(address).filter(|n| matches!(n.machine().api, Api::Secure(_)));
    found.ok_or_else(|| {
        let dial = format!(
            "dial tcp {}: connect: no route to host",
            std::net::SocketAddr::new(address, 50000)
        );
        let message =
            format!("connection error: desc = \"transport: Error while dialing: {dial}\"");
        Status::new(code::UNAVAILABLE, message)
    })
}

async fn many(node: &Arc<NodeInner>, call: Call) -> Result<Reply, Status> {
    let is_worker = !node.machine().config.is_control_plane();
    // Until 1.12 only the resource API was left out.
    let simple = node.minor() <= 12 && call.service() != "cosi.resource.State"
        || matches!(
            call.service(),
            "machine.MachineService"
                | "cluster.ClusterService"
                | "inspect.InspectService"
                | "storage.StorageService"
                | "time.TimeService"
        );
    if !simple {
        let message = format!("one-2-many proxying is not supported for method {}", call.path);
        return Err(Status::new(code::INVALID_ARGUMENT, message));
    }
    let streams = wire::table().method(&call.path, node.minor()).is_some_and(|m| m.server_stream);
    let mut messages = Vec::new();
    let mut frames: Vec<Value> = Vec::new();
    let mut live = Vec::new();
    for target in call.nodes.clone() {
        let found = match find(node, &target) {
            Err(status) if is_worker => return Err(status),
            other => other,
        };
        let reply = match found {
            Ok(other) => super::local(&other, &call).await,
            Err(status) => Err(status),
        };
        match reply {
            Ok(Reply::One(value)) => {
                for message in value.get("messages").and_then(Value::as_array).into_iter().flatten()
                {
                    messages.push(marked(message.clone(), (!is_worker).then_some(&target), None));
                }
            }
            Ok(Reply::Many(stream)) => {
                let target = target.clone();
                live.push(Box::pin(stream.map(move |item| match item {
                    Ok(value) => Ok(marked(value, Some(&target), None)),
                    Err(status) => Ok(marked(json!({}), Some(&target), Some(&status))),
                })));
            }
            Err(status) => {
                let failed = marked(json!({}), Some(&target), Some(&status));
                if streams { frames.push(failed) } else { messages.push(failed) }
            }
        }
    }
    if !streams {
        return Ok(Reply::One(json!({"messages": messages})));
    }
    let failed = futures_util::stream::iter(frames.into_iter().map(Ok));
    Ok(Reply::Many(Box::pin(failed.chain(futures_util::stream::select_all(live)))))
}

fn marked(mut message: Value, target: Option<&String>, status: Option<&Status>) -> Value {
    let mut metadata = json!({});
    if let Some(target) = target {
        metadata = json!({"hostname": target});
    }
    if let (Some(status), Some(map)) = (status, metadata.as_object_mut()) {
        map.insert("error".into(), json!(status.text()));
        map.insert("status".into(), json!({"code": status.code, "message": status.message}));
    }
    if let (Some(map), false) = (message.as_object_mut(), metadata == json!({})) {
        map.insert("metadata".into(), metadata);
    }
    message
}
