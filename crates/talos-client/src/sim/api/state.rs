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
        "Get" | "List" | "Watch" => cosi::check(namespace, kind, node.minor()).map_err(status)?,
        _ => return Err(Status::new(code::PERMISSION_DENIED, "write access is not allowed")),
    }
    match call.method() {
        "Get" => {
            let resource = node.store.get((namespace, kind), id, node.minor()).map_err(status)?;
            Ok(Reply::One(json!({"resource": resource})))
        }
        "List" => {
            let queries = call.request().get("options").cloned().unwrap_or_default();
            let all = node.store.list(namespace, kind, node.minor()).into_iter();
            let chosen = all.filter(|r| is_asked_for(r, &queries));
            Ok(Reply::list(chosen.map(|resource| json!({"resource": resource})).collect()))
        }
        _ => watch(node, call),
    }
}

/// Whether a resource fits the queries by id and by label.
fn is_asked_for(resource: &Value, options: &Value) -> bool {
    let id = options.pointer("/idQuery/regexp").and_then(Value::as_str);
    id.is_none_or(|pattern| fits_pattern(cosi::id_of(resource), pattern))
        && has_labels(resource, options.get("labelQuery"))
}

/// Whether a text fits a pattern of the simple kind: alternatives, ends, and `.*` between texts.
fn fits_pattern(text: &str, pattern: &str) -> bool {
    pattern.split('|').any(|one| {
        let one = one.trim_matches(['(', ')']);
        let (from, to) = (one.starts_with('^'), one.ends_with('$'));
        let mut rest = text;
        let parts: Vec<&str> = one.trim_matches(['^', '$', '(', ')']).split(".*").collect();
        let last = parts.len() - 1;
        parts.iter().enumerate().all(|(at, part)| {
            let part = part.replace('\\', "");
            let found = match (at == 0 && from, at == last && to) {
                (true, true) => (rest == part).then_some(0),
                (true, false) => rest.starts_with(&part).then_some(0),
                (false, true) => rest.ends_with(&part).then(|| rest.len() - part.len()),
                (false, false) => rest.find(&part),
            };
            let Some(at) = found else { return false };
            rest = rest.get(at + part.len()..).unwrap_or_default();
            true
        })
    })
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

fn watch(node: &Arc<NodeInner>, call: &Call) -> Result<Reply, Status> {
    let (namespace, kind) = (call.text("namespace").to_owned(), call.text("type").to_owned());
    let id = call.request().get("id").and_then(Value::as_str).map(str::to_owned);
    let options = call.request().get("options").cloned().unwrap_or_default();
    let set = |key: &str| options.get(key).and_then(Value::as_bool).unwrap_or(false);
    let newer = call.request().get("apiVersion").and_then(Value::as_i64).unwrap_or(0) >= 1;
    let tail = options.get("tailEvents").and_then(Value::as_u64).unwrap_or(0);
    let from = options.get("startFromBookmark").and_then(Value::as_str).filter(|b| !b.is_empty());
    let Some(begun) = node.store.watch((&namespace, &kind), from, node.minor()) else {
        return Err(Status::new(code::FAILED_PRECONDITION, "invalid watch bookmark"));
    };
    let fits = {
        let (id, options) = (id.clone(), options.clone());
        move |r: &Value| {
            id.as_deref().is_none_or(|i| cosi::id_of(r) == i) && is_asked_for(r, &options)
        }
    };
    let chosen: Vec<Value> = begun.now.into_iter().filter(&fits).collect();
    let of = (namespace.clone(), kind.clone());
    let shown = move |event: &Event| {
        let resource = event.is_of(&of.0, &of.1).then(|| event.resource()).filter(&fits)?;
        Some(self::event(event, resource))
    };
    let mut queue = VecDeque::from([json!({})]);
    let mark = |what: &str| marker(what, &namespace, &kind, &begun.bookmark);
    if from.is_some() {
        queue.extend(begun.past.iter().filter_map(&shown));
    } else if tail > 0 {
        let own: Vec<Value> = begun.past.iter().filter_map(&shown).collect();
        let skip = own.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX));
        queue.extend(own.into_iter().skip(skip));
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
            events.push(mark("BOOTSTRAPPED"));
        }
        if set("aggregated") {
            queue.push_back(json!({"event": events}));
        } else {
            queue.extend(events.into_iter().map(|e| json!({"event": [e]})));
        }
    } else if set("bootstrapBookmark") && newer {
        queue.push_back(json!({"event": [mark("NOOP")]}));
    }
    let stream = futures_util::stream::unfold(
        (queue, begun.later, shown),
        |(mut queue, mut receiver, shown)| async move {
            loop {
                if let Some(next) = queue.pop_front() {
                    return Some((Ok(next), (queue, receiver, shown)));
                }
                match receiver.recv().await {
                    Ok(item) => queue.extend(shown(&item)),
                    Err(RecvError::Lagged(_)) => {
                        let status =
                            Status::new(code::FAILED_PRECONDITION, "buffer overrun: watch lagged");
                        return Some((Err(status), (queue, receiver, shown)));
                    }
                    Err(RecvError::Closed) => return None,
                }
            }
        },
    );
    let frames: Frames = Box::pin(stream);
    Ok(Reply::Many(frames))
}

/// Metadata of something that is not there.
fn blank(namespace: &str, kind: &str, id: &str) -> Value {
    let now = jiff::Timestamp::now().to_string();
    json!({
        "namespace": namespace, "type": kind, "id": id, "version": "1", "phase": "running", "created": now,
        "updated": now,
    })
}

fn marker(kind: &str, namespace: &str, resource: &str, bookmark: &Value) -> Value {
    let metadata = blank(namespace, resource, "");
    json!({"resource": {"metadata": metadata, "spec": {}}, "eventType": kind, "bookmark": bookmark})
}

fn event(event: &Event, resource: Value) -> Value {
    let mut out = json!({ "eventType": event.kind, "bookmark": event.bookmark() });
    if let Some(map) = out.as_object_mut() {
        map.insert("resource".into(), resource);
        map.extend(event.old().map(|old| ("old".to_owned(), old)));
    }
    json!({"event": [out]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_asked_for_by_pattern() {
        assert!(fits_pattern("eth0/10.0.0.1", "eth0"));
        assert!(fits_pattern("eth0", "^eth0$") && !fits_pattern("eth01", "^eth0$"));
        assert!(fits_pattern("eth0", "^eth.*$") && fits_pattern("b", "^(a|b)$"));
        assert!(!fits_pattern("lo", "^eth"));
    }
}
