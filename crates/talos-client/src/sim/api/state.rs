//! COSI: get, list, watch.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::super::cosi::{self, Event, Refusal};
use super::super::grpc::{Call, Frames, Reply, Status, code};
use super::super::node::NodeInner;

fn status(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Namespace(text) | Refusal::Type(text) => {
            Status::new(code::PERMISSION_DENIED, text)
        }
        Refusal::Absent(text) => Status::new(code::NOT_FOUND, text),
    }
}

/// A call to the resource API.
pub(super) fn call(node: &Arc<NodeInner>, call: &Call) -> Result<Reply, Status> {
    let (namespace, kind, id) = (call.text("namespace"), call.text("type"), call.text("id"));
    match call.method() {
        "Get" | "List" | "Watch" => cosi::check(namespace, kind).map_err(status)?,
        _ => return Err(Status::new(code::PERMISSION_DENIED, "write access is not allowed")),
    }
    match call.method() {
        "Get" => {
            let resource = node.store.get(namespace, kind, id).map_err(status)?;
            Ok(Reply::One(json!({"resource": resource})))
        }
        "List" => {
            let query = call.request().pointer("/options/idQuery/regexp").and_then(Value::as_str);
            let labels = call.request().pointer("/options/labelQuery");
            let all = node.store.list(namespace, kind).into_iter();
            let chosen = all.filter(|r| {
                query.is_none_or(|q| cosi::id_of(r).contains(q.trim_matches(['^', '$'])))
            });
            let chosen = chosen.filter(|r| has_labels(r, labels));
            Ok(Reply::list(chosen.map(|resource| json!({"resource": resource})).collect()))
        }
        _ => Ok(watch(node, call)),
    }
}

/// Whether a resource fits all queries by label, any of them being enough.
fn has_labels(resource: &Value, queries: Option<&Value>) -> bool {
    let queries = match queries {
        Some(Value::Array(list)) => list.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let term = |term: &Value| {
        let key = term.get("key").and_then(Value::as_str).unwrap_or_default();
        let found = resource.pointer("/metadata/labels").and_then(|l| l.get(key));
        let values = term.get("value").and_then(Value::as_array).cloned().unwrap_or_default();
        let fits = match term.get("op").and_then(Value::as_str).unwrap_or("EXISTS") {
            "EQUAL" | "IN" => found.is_some_and(|f| values.contains(f)),
            "NOT_EXISTS" => found.is_none(),
            _ => found.is_some(),
        };
        fits != term.get("invert").and_then(Value::as_bool).unwrap_or(false)
    };
    queries.is_empty()
        || queries
            .iter()
            .any(|q| q.get("terms").and_then(Value::as_array).into_iter().flatten().all(term))
}

fn watch(node: &Arc<NodeInner>, call: &Call) -> Reply {
    let (namespace, kind) = (call.text("namespace").to_owned(), call.text("type").to_owned());
    let id = call.request().get("id").and_then(Value::as_str).map(str::to_owned);
    let option = |key: &str| call.request().pointer(&format!("/options/{key}"));
    let set = |key: &str| option(key).and_then(Value::as_bool).unwrap_or(false);
    let newer = call.request().get("apiVersion").and_then(Value::as_i64).unwrap_or(0) >= 1;
    let tail = option("tailEvents").and_then(Value::as_u64).unwrap_or(0);
    let (now, past, receiver) = node.store.watch(&namespace, &kind);
    let fits = {
        let (namespace, kind, id) = (namespace.clone(), kind.clone(), id.clone());
        move |r: &Value| {
            cosi::is_of(r, &namespace, &kind) && id.as_deref().is_none_or(|i| cosi::id_of(r) == i)
        }
    };
    let mut queue = VecDeque::from([json!({})]);
    let chosen: Vec<Value> = now.into_iter().filter(|r| fits(r)).collect();
    let last = past.len() as u64;
    if tail > 0 {
        let own: Vec<&Event> = past.iter().filter(|e| fits(&e.resource)).collect();
        let skip = own.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX));
        queue.extend(own.into_iter().skip(skip).map(event));
    } else if let Some(id) = &id {
        queue.push_back(if let Some(resource) = chosen.first() {
            json!({"event": [{"resource": resource, "eventType": "CREATED"}]})
        } else {
            let metadata = blank(&namespace, &kind, id);
            json!({"event": [{"resource": {"metadata": metadata, "spec": {}}, "eventType": "DESTROYED"}]})
        });
    } else if set("bootstrapContents") {
        let mut events: Vec<Value> =
            chosen.iter().map(|r| json!({"resource": r, "eventType": "CREATED"})).collect();
        if newer {
            events.push(marker("BOOTSTRAPPED", &namespace, &kind, last));
        }
        if set("aggregated") {
            queue.push_back(json!({"event": events}));
        } else {
            queue.extend(events.into_iter().map(|e| json!({"event": [e]})));
        }
    } else if set("bootstrapBookmark") && newer {
        queue.push_back(json!({"event": [marker("NOOP", &namespace, &kind, last)]}));
    }
    let stream = futures_util::stream::unfold(
        (queue, receiver, fits),
        |(mut queue, mut receiver, fits)| async move {
            loop {
                if let Some(next) = queue.pop_front() {
                    return Some((Ok(next), (queue, receiver, fits)));
                }
                match receiver.recv().await {
                    Ok(item) if fits(&item.resource) => queue.push_back(event(&item)),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => {
                        let status =
                            Status::new(code::FAILED_PRECONDITION, "buffer overrun: watch lagged");
                        return Some((Err(status), (queue, receiver, fits)));
                    }
                    Err(RecvError::Closed) => return None,
                }
            }
        },
    );
    let frames: Frames = Box::pin(stream);
    Reply::Many(frames)
}

/// Metadata of something that is not there.
fn blank(namespace: &str, kind: &str, id: &str) -> Value {
    let now = jiff::Timestamp::now().to_string();
    json!({
        "namespace": namespace, "type": kind, "id": id, "version": "1", "phase": "running", "created": now,
        "updated": now,
    })
}

fn marker(kind: &str, namespace: &str, resource: &str, position: u64) -> Value {
    let metadata = blank(namespace, resource, "");
    json!({"resource": {"metadata": metadata, "spec": {}}, "eventType": kind, "bookmark": cosi::bookmark(position)})
}

fn event(event: &Event) -> Value {
    let mut out = json!({
        "resource": event.resource, "eventType": event.kind, "bookmark": cosi::bookmark(event.bookmark),
    });
    if let (Some(map), Some(old)) = (out.as_object_mut(), &event.old) {
        map.insert("old".into(), old.clone());
    }
    json!({"event": [out]})
}
