//! Eviction of pods, with budgets, and the drain that a node does by itself.

use http::StatusCode;
use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::node::NodeInner;
use super::object::{home, node_path, store};
use super::serve::{absent, failure};

/// Set on nodes that were cordoned by the machine, which then uncordons them.
const CORDONED: &str = "talos.dev/cordoned";

/// The pod that a path asks to evict.
pub(super) fn pod_of(path: &str) -> Option<&str> {
    path.strip_suffix("/eviction").filter(|pod| pod.contains("/pods/"))
}

/// Take a pod away, unless a budget forbids it.
pub(super) fn evict(cluster: &mut Cluster, path: &str) -> (StatusCode, Value) {
    let Some(pod) = cluster.objects.get(path).cloned() else { return absent(path) };
    if let Some(why) = forbidden(cluster, path, &pod) {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let (code, mut body) = failure(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        let causes = json!([{"reason": "DisruptionBudget", "message": why}]);
        put(&mut body, &["details", "causes"], causes);
        return (code, body);
    }
    cluster.objects.remove(path);
    again(cluster, path, pod);
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    (StatusCode::CREATED, body)
}

fn is(value: &Value, key: &str, text: &str) -> bool {
    value.get(key).and_then(Value::as_str) == Some(text)
}

/// Sets what lies at a path, with the objects on the way.
fn put(value: &mut Value, path: &[&str], item: Value) {
    let Some((first, rest)) = path.split_first() else {
        *value = item;
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    if let Some(map) = value.as_object_mut() {
        put(map.entry(*first).or_insert(Value::Null), rest, item);
    }
}

fn labels_fit(selector: &Value, pod: &Value) -> bool {
    let wanted = selector.get("matchLabels").and_then(Value::as_object);
    let has = |(key, value): (&String, &Value)| {
        pod.pointer("/metadata/labels").and_then(|l| l.get(key)) == Some(value)
    };
    wanted.is_some_and(|labels| labels.iter().all(has))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let ready = |c: &Value| is(c, "type", "Ready") && is(c, "status", "True");
    pod.pointer("/status/phase").is_none_or(|p| p == "Running")
        && conditions.is_none_or(|list| list.iter().any(ready))
}

/// A number of pods, or a share of them that is rounded up.
fn amount(value: &Value, all: usize) -> Option<usize> {
    match value {
        Value::Number(n) => n.as_u64().and_then(|n| usize::try_from(n).ok()),
        Value::String(text) => {
            let share: usize = text.strip_suffix('%')?.parse().ok()?;
            Some((all * share).div_ceil(100))
        }
        _ => None,
    }
}

/// Why a pod must stay.
fn forbidden(cluster: &Cluster, path: &str, pod: &Value) -> Option<String> {
    let namespace = path.split("/namespaces/").nth(1)?.split('/').next()?;
    let budgets = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/");
    let pods = format!("/api/v1/namespaces/{namespace}/pods/");
    cluster.objects.iter().filter(|(key, _)| key.starts_with(&budgets)).find_map(|(key, budget)| {
        let spec = budget.get("spec")?;
        let selector = spec.get("selector")?;
        if !labels_fit(selector, pod) {
            return None;
        }
        let own = cluster.objects.iter().filter(|(key, p)| key.starts_with(&pods) && labels_fit(selector, p));
        let own: Vec<&Value> = own.map(|(_, pod)| pod).collect();
        let healthy = own.iter().filter(|p| is_ready(p)).count();
        let needed = match (spec.get("minAvailable"), spec.get("maxUnavailable")) {
            (Some(least), _) => amount(least, own.len())?,
            (_, Some(most)) => own.len().saturating_sub(amount(most, own.len())?),
            _ => return None,
        };
        let name = key.rsplit('/').next().unwrap_or_default();
        (is_ready(pod) && healthy <= needed).then(|| {
            format!("The disruption budget {name} needs {needed} healthy pods and has {healthy} currently")
        })
    })
}

/// What a controller does: the pod comes up on another node, when one takes it.
fn again(cluster: &mut Cluster, path: &str, mut pod: Value) {
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let kind = owners
        .into_iter()
        .flatten()
        .find(|o| o.get("controller") == Some(&json!(true)))
        .and_then(|o| o.get("kind").cloned());
    let Some(kind) = kind.filter(|k| k == "ReplicaSet" || k == "StatefulSet") else { return };
    let old = pod.pointer("/spec/nodeName").cloned().unwrap_or_default();
    let prefix = node_path("");
    let takes = |(key, node): (&String, &Value)| {
        let name = key.strip_prefix(&prefix)?;
        let closed = node.pointer("/spec/unschedulable") == Some(&json!(true));
        (!closed && old != name).then(|| name.to_owned())
    };
    let other = cluster.objects.iter().find_map(takes);
    let (folder, name) = path.rsplit_once('/').unwrap_or_default();
    let name = match kind == "ReplicaSet" {
        true => {
            let stem = name.rsplit_once('-').map_or(name, |(stem, _)| stem);
            format!("{stem}-{:05x}", cluster.revision & 0xf_ffff)
        }
        false => name.to_owned(),
    };
    put(&mut pod, &["metadata", "name"], json!(name));
    if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("uid");
        metadata.remove("creationTimestamp");
    }
    match other {
        Some(node) => put(&mut pod, &["spec", "nodeName"], json!(node)),
        None => {
            if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
                spec.remove("nodeName");
            }
            put(&mut pod, &["status"], json!({"phase": "Pending"}));
        }
    }
    store(cluster, &format!("{folder}/{name}"), pod);
}

/// Whether a pod stays with its node: of a daemon set, or static.
fn stays(pod: &Value) -> bool {
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let is_static = pod
        .pointer("/metadata/annotations")
        .is_some_and(|a| a.get("kubernetes.io/config.source").is_some());
    is_static || owners.into_iter().flatten().any(|o| is(o, "kind", "DaemonSet"))
}

/// Cordon this node and evict what runs on it.
///
/// # Errors
/// A pod that must stay.
pub(crate) fn drain(node: &NodeInner) -> Result<(), String> {
    let (Some(net), Some(home)) = (node.net(), home(node)) else { return Ok(()) };
    let name = node.hostname();
    let done = net.clusters.change(&home, |cluster| {
        mark(cluster, &name, true);
        let on_it: Vec<String> = cluster
            .objects
            .iter()
            .filter(|(key, pod)| {
                key.starts_with("/api/v1/namespaces/")
                    && key.contains("/pods/")
                    && pod.pointer("/spec/nodeName") == Some(&json!(name))
                    && !stays(pod)
            })
            .map(|(key, _)| key.clone())
            .collect();
        on_it.iter().map(|key| evict(cluster, key)).find(|(code, _)| !code.is_success())
    });
    match done.flatten() {
        Some((_, body)) => Err(format!(
            "error draining node {name:?}: {}",
            body.get("message").and_then(Value::as_str).unwrap_or_default()
        )),
        None => Ok(()),
    }
}

/// Let pods come to a node again that the machine had cordoned.
pub(crate) fn uncordon(node: &NodeInner) {
    let (Some(net), Some(home)) = (node.net(), home(node)) else { return };
    let name = node.hostname();
    let at = format!("/metadata/annotations/{}", CORDONED.replace('/', "~1"));
    let own = net.clusters.read(&home, |c| c.objects.get(&node_path(&name))?.pointer(&at).cloned());
    if own.flatten().is_some() {
        net.clusters.change(&home, |cluster| mark(cluster, &name, false));
    }
}

fn mark(cluster: &mut Cluster, name: &str, cordoned: bool) {
    let path = node_path(name);
    let Some(mut object) = cluster.objects.get(&path).cloned() else { return };
    if cordoned {
        if object.pointer("/spec/unschedulable") == Some(&json!(true)) {
            // Someone else's cordon is left to them.
            return;
        }
        put(&mut object, &["spec", "unschedulable"], json!(true));
        put(&mut object, &["metadata", "annotations", CORDONED], json!("true"));
    } else {
        for (part, key) in [("/spec", "unschedulable"), ("/metadata/annotations", CORDONED)] {
            if let Some(map) = object.pointer_mut(part).and_then(Value::as_object_mut) {
                map.remove(key);
            }
        }
    }
    store(cluster, &path, object);
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "/api/v1/namespaces/a/pods/web-1";

    fn pod(name: &str, node: &str) -> Value {
        json!({
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": "web"}, "ownerReferences": [{"kind": "ReplicaSet", "controller": true}]},
            "spec": {"nodeName": node},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        })
    }

    fn cluster(least: &Value) -> Cluster {
        let mut out = Cluster::default();
        out.objects.insert(POD.into(), pod("web-1", "w1"));
        out.objects.insert("/api/v1/namespaces/a/pods/web-2".into(), pod("web-2", "w2"));
        for name in ["w1", "w2"] {
            out.objects.insert(node_path(name), json!({"metadata": {"name": name}, "spec": {}}));
        }
        let budget =
            json!({"spec": {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": least}});
        out.objects.insert("/apis/policy/v1/namespaces/a/poddisruptionbudgets/web".into(), budget);
        out
    }

    #[test]
    fn a_budget_keeps_a_pod_where_it_is() {
        let mut tight = cluster(&json!(2));
        let (code, body) = evict(&mut tight, POD);
        assert_eq!(code, StatusCode::TOO_MANY_REQUESTS);
        assert!(body["details"]["causes"][0]["message"].as_str().unwrap().contains("needs 2"));
        assert!(tight.objects.contains_key(POD));
        assert_eq!(evict(&mut cluster(&json!("51%")), POD).0, StatusCode::TOO_MANY_REQUESTS);
    }

    #[test]
    fn an_evicted_pod_comes_up_elsewhere() {
        let mut loose = cluster(&json!(1));
        assert_eq!(evict(&mut loose, POD).0, StatusCode::CREATED);
        assert!(!loose.objects.contains_key(POD));
        let pods = loose.objects.values().filter(|o| o["kind"] == "Pod");
        assert!(
            pods.clone().count() == 2 && pods.into_iter().all(|p| p["spec"]["nodeName"] == "w2")
        );
        assert_eq!(evict(&mut loose, POD).0, StatusCode::NOT_FOUND);
    }
}
