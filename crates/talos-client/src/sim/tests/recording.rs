//! Recordings of a real node, played against a simulated one.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::grpc::{CODES, Call, Peer, Reply, Status};
use super::super::replay::{ReplayGroup, replay};
use super::super::wire;
use super::super::{SimNode, api};
use super::matcher::differs;

fn roles(trust: &str) -> Vec<String> {
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
    text.replace("${ip}", "10.0.2.15").replace("${cp1}", "10.5.0.11").replace("${w1}", "10.5.0.21")
}

fn expected(value: &Value) -> Value {
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

async fn play(node: &SimNode, step: &Value) -> Option<String> {
    let path = step["call"].as_str().unwrap();
    wire::table().method(path, 13)?;
    let list = |key: &str| -> Vec<String> {
        let values = step["meta"][key].as_array().cloned().unwrap_or_default();
        values.iter().map(|v| vars(v.as_str().unwrap())).collect()
    };
    let requests = match step.get("requests") {
        Some(many) => fill(many).as_array().cloned().unwrap(),
        None => vec![fill(step.get("request").unwrap_or(&json!({})))],
    };
    let call = Call {
        path: path.to_owned(),
        requests,
        node: list("node"),
        nodes: list("nodes"),
        peer: Peer { roles: roles(step["tls"].as_str().unwrap()) },
        cut: CancellationToken::new(),
        upload: None,
    };
    let answer = api::entry(&Arc::clone(&node.0), call).await;
    let refused = |status: &Status| {
        let code = CODES[usize::try_from(status.code).unwrap()];
        differs(
            &expected(&step["error"]),
            Some(&json!({"code": code, "message": status.message})),
            "error",
        )
    };
    match answer {
        Err(status) => refused(&status),
        Ok(_) if step["compare"] == "any" => None,
        Ok(Reply::One(value)) => {
            differs(&expected(&step["reply"]), Some(&shown(path, &value)), "reply")
        }
        Ok(Reply::Many(frames)) => {
            let mut frames = frames;
            let want = expected(step.get("stream").unwrap_or(&json!([])));
            let mut got = Vec::new();
            let limit = std::time::Duration::from_millis(100);
            while let Ok(Some(frame)) = tokio::time::timeout(limit, frames.next()).await {
                match frame {
                    Ok(frame) => got.push(shown(path, &frame)),
                    Err(status) => return refused(&status),
                }
            }
            if let Some(only) = step.get("only").and_then(Value::as_object) {
                for (at, values) in only {
                    let at = format!("/{}", at.replace('.', "/"));
                    let values = expected(values).as_array().cloned().unwrap();
                    got.retain(|f| {
                        f.pointer(&at).is_none_or(|v| values.contains(v))
                            && !at.contains("yamlSpec")
                    });
                }
                if only.keys().any(|k| k.contains("yamlSpec")) {
                    return None;
                }
            }
            if step["compare"] == "contains" {
                let lacks =
                    |w: &&Value| got.iter().all(|g| differs(w, Some(g), "stream").is_some());
                let missing = want.as_array()?.iter().find(lacks)?;
                return Some(format!("no frame is {missing}"));
            }
            differs(&want, Some(&json!(got)), "stream")
        }
    }
}

/// Plays recordings; steps of `lacking` are not simulated, and must differ.
async fn run(group: ReplayGroup, node: &str, names: &[&str], lacking: &[&str]) {
    let (net, nodes) = replay(group, &super::fixtures()).await.unwrap();
    let node = nodes.iter().find(|(n, _)| n == node).unwrap().1.clone();
    let mut wrong = Vec::new();
    for name in names {
        let recording: Value =
            serde_json::from_str(&super::fixture(&format!("{name}.json"))).unwrap();
        for step in recording["steps"].as_array().unwrap() {
            let id = format!("{name}/{}", step["id"].as_str().unwrap());
            match play(&node, step).await {
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
    ];
    run(ReplayGroup::Maintenance, "node", &names, &[]).await;
}

#[tokio::test]
async fn a_nocloud_machine_answers_as_recorded() {
    run(ReplayGroup::Nocloud, "node", &["nocloud-maintenance"], &[]).await;
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
    ];
    run(ReplayGroup::Etcd, "node", &names, &[]).await;
}

#[test]
fn a_wrong_answer_is_seen() {
    assert!(differs(&json!({"a": {"$int": true}}), Some(&json!({"a": "x"})), "").is_some());
    assert!(differs(&json!([1]), Some(&json!([1, 2])), "").is_some());
    assert!(differs(&json!({"$like": "a {{any}} b"}), Some(&json!("a x c")), "").is_some());
    assert!(differs(&json!({"$like": "a {{int}} b"}), Some(&json!("a 7 b")), "").is_none());
}
