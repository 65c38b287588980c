//! Logs of services and of the kernel, told from what happened.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::super::grpc::{Call, Frames, Reply, Status, code};
use super::super::node::NodeInner;

/// Logs that every node has, whatever runs.
const ALWAYS: [&str; 5] =
    ["controller-runtime", "dns-resolve-cache", "early-startup", "kernel", "machined"];

/// Names of all logs.
fn names(node: &NodeInner) -> Vec<String> {
    let machine = node.machine();
    // What only waits has written nothing yet.
    let wrote = |state: &str| !matches!(state, "Preparing" | "Waiting" | "Initialized" | "Pre");
    let services = machine.services.iter().filter(|(_, s)| wrote(&s.state)).map(|(id, _)| id);
    let mut out: Vec<String> = services.cloned().collect();
    out.extend(ALWAYS.map(str::to_owned));
    out.sort();
    out.dedup();
    out
}

/// `LogsContainers`.
pub(super) fn containers(node: &NodeInner) -> Reply {
    Reply::One(json!({"messages": [{"ids": names(node)}]}))
}

/// `Logs`.
pub(super) fn logs(node: &Arc<NodeInner>, call: &Call) -> Result<Reply, Status> {
    let id = call.text("id").to_owned();
    if !names(node).contains(&id) {
        return Err(Status::new(code::UNKNOWN, format!("log {id:?} was not registered")));
    }
    let tail = call.request().get("tailLines").and_then(Value::as_i64).unwrap_or(0);
    Ok(stream(node, call.flag("follow"), tail, move |event| line(&id, event)))
}

/// `Dmesg`.
pub(super) fn kernel(node: &Arc<NodeInner>, call: &Call) -> Reply {
    // With `tail` only what comes is told.
    let tail = if call.flag("tail") { 0 } else { -1 };
    stream(node, call.flag("follow"), tail, |event| {
        let line = line("machined", event)?;
        let at = jiff::Timestamp::now();
        Some(format!("kern: info: [{at}]: [talos] {}", line.split_once(' ').unwrap_or_default().1))
    })
}

/// What a log has to say about an event.
fn line(id: &str, event: &Value) -> Option<String> {
    let data = event.get("data")?;
    let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind = text("@type").rsplit('.').next().unwrap_or_default();
    let said = match kind {
        "ServiceStateEvent" if text("service") == id || id == "machined" => {
            format!("service[{}]({}): {}", text("service"), text("action"), text("message"))
        }
        "SequenceEvent" if id == "machined" => {
            format!("{} sequence: {}", text("sequence"), text("action"))
        }
        "PhaseEvent" if id == "machined" => format!("phase {}", text("phase")),
        "TaskEvent" if id == "machined" => format!("task {}", text("task")),
        _ if matches!(
            id,
            "kernel" | "controller-runtime" | "early-startup" | "dns-resolve-cache"
        ) =>
        {
            if kind != "SequenceEvent" {
                return None;
            }
            format!("{id}: {} {}", text("sequence"), text("action"))
        }
        _ => return None,
    };
    Some(format!("{} {said}\n", jiff::Timestamp::now()))
}

fn stream(
    node: &NodeInner,
    follow: bool,
    tail: i64,
    line: impl Fn(&Value) -> Option<String> + Send + Sync + 'static,
) -> Reply {
    let (past, receiver) = node.log.watch();
    let told: Vec<String> = past.iter().filter_map(&line).collect();
    let count = usize::try_from(tail).unwrap_or(usize::MAX);
    let first = told.len().saturating_sub(count);
    let frame = |text: &str| json!({"bytes": STANDARD.encode(text)});
    let before: Vec<Value> = told.iter().skip(first).map(|text| frame(text)).collect();
    if !follow {
        return Reply::list(before);
    }
    let before = futures_util::stream::iter(before.into_iter().map(Ok));
    let later =
        futures_util::stream::unfold((receiver, line), move |(mut receiver, line)| async move {
            loop {
                match receiver.recv().await {
                    Ok(event) => {
                        if let Some(text) = line(&event) {
                            return Some((Ok(frame(&text)), (receiver, line)));
                        }
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
    let frames: Frames = Box::pin(futures_util::StreamExt::chain(before, later));
    Reply::Many(frames)
}
