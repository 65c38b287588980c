//! Recordings of a real node, played against a simulated one.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::grpc::{CODES, Call, Peer, Reply, Status, code};
use super::super::node::Api;
use super::super::replay::{ReplayGroup, replay};
use super::super::wire;
use super::super::{SimNode, api};
use super::matcher::differs;

pub(super) fn roles(trust: &str) -> Vec<String> {
    match trust {
        "admin" | "operator" | "reader" | "impersonator" => vec![format!("os:{trust}")],
        "etcd-backup" => vec!["os:etcd:backup".into()],
        "badrole" => vec!["os:nonsense".into()],
        _ => Vec::new(),
    }
}

fn fill(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(vars(text)),
        Value::Array(list) => list.iter().map(fill).collect(),
        Value::Object(map) if map.contains_key("$text") && map.len() == 1 => {
            json!(STANDARD.encode(map["$text"].as_str().unwrap()))
        }
        Value::Object(map) if map.contains_key("$file") => {
            let mut text = super::fixture(map["$file"].as_str().unwrap());
            for pair in map.get("$replace").and_then(Value::as_array).into_iter().flatten() {
                text = text.replace(pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
            }
            text.push_str(map.get("$append").and_then(Value::as_str).unwrap_or_default());
            json!(STANDARD.encode(text))
        }
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), fill(v))).collect(),
        other => other.clone(),
    }
}

fn vars(text: &str) -> String {
    let known =
        [("ip", "10.0.2.15"), ("cp1", "10.5.0.11"), ("cp2", "10.5.0.12"), ("w1", "10.5.0.21")];
    known
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

pub(super) fn expected(value: &Value) -> Value {
    serde_json::from_str(&vars(&value.to_string())).unwrap()
}

/// What goes over the wire, so that defaults are absent as in the recording.
fn shown(method: &str, value: &Value) -> Value {
    let output = &wire::table().method(method, 13).unwrap().output;
    let mut out = wire::decode(output, &wire::encode(output, value)).unwrap();
    absent_defaults(&mut out);
    out
}

fn absent_defaults(value: &mut Value) {
    if let Some(resource) = value.get_mut("eventType").filter(|t| *t == "CREATED") {
        *resource = Value::Null;
    }
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(absent_defaults);
        }
        Value::Array(list) => list.iter_mut().for_each(absent_defaults),
        _ => {}
    }
}

/// What a step got: frames, and how the call ended; a call that is cut by the client did not.
#[derive(Default)]
struct Got {
    one: Option<Value>,
    frames: Vec<Value>,
    error: Option<Status>,
}

/// A call whose answer a client would wait for in vain.
fn late() -> Status {
    Status::new(code::DEADLINE_EXCEEDED, "context deadline exceeded")
}

/// Makes the call of a step.
async fn ask(node: &SimNode, step: &Value) -> Got {
    let path = step["call"].as_str().unwrap();
    let list = |key: &str| -> Vec<String> {
        let values = step["meta"][key].as_array().cloned().unwrap_or_default();
        values.iter().map(|v| vars(v.as_str().unwrap())).collect()
    };
    let requests = match step.get("requests") {
        Some(many) => fill(many).as_array().cloned().unwrap(),
        None => vec![fill(step.get("request").unwrap_or(&json!({})))],
    };
    let trust = step["tls"].as_str().unwrap();
    // Who verifies the node does not talk to one in maintenance mode.
    let verifies = !matches!(trust, "maintenance" | "none" | "foreign");
    if verifies && !matches!(node.0.machine().api, Api::Secure(_)) {
        let error = Status::new(code::UNAVAILABLE, "the handshake fails");
        return Got { error: Some(error), ..Got::default() };
    }
    let call = Call {
        path: path.to_owned(),
        requests,
        node: list("node"),
        nodes: list("nodes"),
        peer: Peer { roles: roles(trust) },
        cut: CancellationToken::new(),
        upload: None,
    };
    let limit = Duration::from_millis(if step["deadline_ms"].is_null() { 30_000 } else { 500 });
    let answer = tokio::time::timeout(limit, api::entry(&Arc::clone(&node.0), call)).await;
    let mut got = Got::default();
    match answer.unwrap_or_else(|_| Err(late())) {
        Err(status) => got.error = Some(status),
        Ok(Reply::One(value)) => got.one = Some(shown(path, &value)),
        Ok(Reply::Many(mut frames)) => {
            let most = step["take"]["frames"].as_u64().unwrap_or(u64::MAX);
            let limit = Duration::from_millis(100);
            while (got.frames.len() as u64) < most {
                match tokio::time::timeout(limit, frames.next()).await {
                    Ok(Some(Ok(frame))) => got.frames.push(shown(path, &frame)),
                    Ok(Some(Err(status))) => {
                        got.error = Some(status);
                        break;
                    }
                    Ok(None) => break,
                    Err(_) => {
                        let waits = step["error"]["code"] == "DeadlineExceeded";
                        got.error = waits.then(late);
                        break;
                    }
                }
            }
        }
    }
    got
}

/// Whether an answer is the one that a step repeats its call for.
fn fits(until: &Value, got: &Got) -> bool {
    if until.get("code").is_some() {
        return got.error.is_none();
    }
    let mut at = got.one.clone().unwrap_or_default();
    for name in until["path"].as_str().unwrap().split('.') {
        let inner = at.as_str().and_then(super::matcher::yaml);
        at = inner.unwrap_or(at).get(name).cloned().unwrap_or_default();
    }
    at == until["equals"]
}

async fn play(node: &SimNode, step: &Value) -> Option<String> {
    let mut got = ask(node, step).await;
    if let Some(until) = step.get("until") {
        for _ in 0..1000 {
            if fits(until, &got) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            got = ask(node, step).await;
        }
    }
    compare(step, got)
}

fn compare(step: &Value, got: Got) -> Option<String> {
    let refused = |status: &Status| {
        let code = CODES[usize::try_from(status.code).unwrap()];
        differs(
            &expected(&step["error"]),
            Some(&json!({"code": code, "message": status.message})),
            "error",
        )
    };
    if let Some(status) = &got.error {
        return refused(status);
    }
    if step["compare"] == "any" {
        return None;
    }
    if step.get("error").is_some() {
        return Some(format!("answered, and not with {}", step["error"]));
    }
    if let Some(one) = &got.one {
        return differs(&expected(&step["reply"]), Some(one), "reply");
    }
    let want = expected(step.get("stream").unwrap_or(&json!([])));
    let mut got = got.frames;
    if let Some(only) = step.get("only").and_then(Value::as_object) {
        for (at, values) in only {
            let at = format!("/{}", at.replace('.', "/"));
            let values = expected(values).as_array().cloned().unwrap();
            got.retain(|f| {
                f.pointer(&at).is_none_or(|v| values.contains(v)) && !at.contains("yamlSpec")
            });
        }
        if only.keys().any(|k| k.contains("yamlSpec")) {
            return None;
        }
    }
    match step["compare"].as_str() {
        Some("contains") => {
            let lacks = |w: &&Value| got.iter().all(|g| differs(w, Some(g), "stream").is_some());
            let missing = want.as_array()?.iter().find(lacks)?;
            Some(format!("no frame is {missing}"))
        }
        Some("set") => differs(&json!({"$set": want}), Some(&json!(got)), "stream"),
        _ => differs(&want, Some(&json!(got)), "stream"),
    }
}

/// Plays recordings; steps of `lacking` are not simulated, and must differ.
async fn run(group: ReplayGroup, names: &[&str], lacking: &[&str]) {
    let (net, nodes) = replay(group, &super::fixtures()).await.unwrap();
    let mut wrong = Vec::new();
    for name in names {
        let recording: Value =
            serde_json::from_str(&super::fixture(&format!("{name}.json"))).unwrap();
        for step in recording["steps"].as_array().unwrap() {
            let id = format!("{name}/{}", step["id"].as_str().unwrap());
            let dialled = step["node"].as_str().unwrap_or("node");
            let (_, node) = nodes.iter().find(|(n, _)| n == dialled).unwrap();
            if wire::table().method(step["call"].as_str().unwrap(), 13).is_none() {
                // That there is no such call shows on the wire: `trust` plays that.
                continue;
            }
            if step.get("wait_ms").is_some() {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            match play(node, step).await {
                Some(_) if lacking.contains(&id.as_str()) => {}
                Some(why) => wrong.push(format!("{id}: {why}")),
                None if lacking.contains(&id.as_str()) => wrong.push(format!("{id} agrees now")),
                None => {}
            }
        }
    }
    net.shutdown();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_blank_machine_answers_as_recorded() {
    let names = [
        "maint-version",
        "maint-denied",
        "maint-machine-status",
        "maint-disks",
        "maint-apply-dry-run",
        "maint-apply-invalid",
        "maint-watch",
        "maint-reader-calls",
        // It leaves another host name behind.
        "maint-partial-config",
    ];
    run(ReplayGroup::Maintenance, &names, &[]).await;
}

#[tokio::test]
async fn a_nocloud_machine_answers_as_recorded() {
    run(ReplayGroup::Nocloud, &["nocloud-maintenance"], &[]).await;
}

#[tokio::test]
async fn a_control_plane_answers_as_recorded() {
    let names = [
        "run-config-read",
        "etcd-one-member",
        "run-status",
        "run-apply-dry-run",
        "run-roles-write",
        "run-apply-invalid",
        "run-images",
        "run-disks",
        "run-k8s-reads",
        "run-services",
        "run-routing",
        "upgrade-lifecycle",
    ];
    run(ReplayGroup::Etcd, &names, &[]).await;
}

#[tokio::test]
async fn before_its_bootstrap_a_control_plane_answers_as_recorded() {
    run(ReplayGroup::Configured, &["etcd-before-bootstrap"], &[]).await;
}

#[tokio::test]
async fn nodes_of_a_cluster_answer_as_recorded() {
    let names = [
        "cluster-apply-worker-and-cp",
        "worker-denied",
        "cluster-routing",
        "cluster-second-control-plane",
    ];
    run(ReplayGroup::Cluster, &names, &[]).await;
}

#[test]
fn a_wrong_answer_is_seen() {
    assert!(differs(&json!({"a": {"$int": true}}), Some(&json!({"a": "x"})), "").is_some());
    assert!(differs(&json!([1]), Some(&json!([1, 2])), "").is_some());
    assert!(differs(&json!({"$like": "a {{any}} b"}), Some(&json!("a x c")), "").is_some());
    assert!(differs(&json!({"$like": "a {{int}} b"}), Some(&json!("a 7 b")), "").is_none());
}
