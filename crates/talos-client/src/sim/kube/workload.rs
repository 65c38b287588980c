//! What runs on a cluster by itself: manifests of the configuration, and the one kind of Job that is carried out.
//!
//! A Job of `kube-system` whose container calls `cilium install` brings a CNI. It is carried out only where a real one
//! could work: on the host network, through KubePrism, for without a CNI there is no other way to the API server.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::config::yaml;
use super::super::node::NodeInner;
use super::object::store;
use super::serve::path_of;

/// Seconds of a real machine until the Job is done: the image is pulled, the chart applied.
const INSTALLING: f64 = 20.0;

/// Where the DaemonSet of Cilium is.
const CILIUM: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets/cilium";

/// Apply what the configuration of a control plane brings, and let Jobs do their work.
pub(super) fn tend(node: &Arc<NodeInner>, home: &str) {
    let Some(net) = node.net() else { return };
    let wanted = manifests(node);
    let look = |cluster: &Cluster| {
        let missing = wanted.into_iter().filter(|(path, _)| !cluster.objects.contains_key(path));
        (missing.collect::<Vec<_>>(), installers(cluster, false))
    };
    let Some((missing, begun)) = net.clusters.read(home, look) else { return };
    if !missing.is_empty() || !begun.is_empty() {
        net.clusters.change(home, |c| {
            for (path, object) in missing {
                store(c, &path, object);
            }
            for path in &begun {
                set_status(c, path, json!({"active": 1, "startTime": now()}));
            }
        });
    }
    for path in begun {
        let (net, home) = (Arc::clone(&net), home.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(net.config.pace.of(INSTALLING)).await;
            finish(&net.clusters, &home, &path);
            net.refresh();
        });
    }
}

/// Objects of the inline manifests, with their paths.
fn manifests(node: &NodeInner) -> Vec<(String, Value)> {
    let list = node.machine().config.at("cluster.inlineManifests").cloned();
    let texts = list.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    texts
        .iter()
        .filter_map(|manifest| manifest.get("contents")?.as_str())
        .filter_map(|text| yaml::parse(text).ok())
        .flatten()
        .map(|document| document.value())
        .filter_map(|object| Some((path_of(&object)?, object)))
        .collect()
}

/// Jobs that install Cilium and can: those that did not begin, or all that are not done.
fn installers(cluster: &Cluster, begun: bool) -> Vec<String> {
    let jobs = cluster.objects.iter().filter(|(path, object)| {
        path.starts_with("/apis/batch/v1/namespaces/kube-system/jobs/")
            && object.pointer("/status/succeeded").is_none()
            && (begun || object.pointer("/status/startTime").is_none())
            && object.pointer("/spec/template/spec").is_some_and(installs)
    });
    jobs.map(|(path, _)| path.clone()).collect()
}

fn installs(pod: &Value) -> bool {
    let calls = |container: &&Value| {
        let text = |key: &str| {
            let list = container.get(key).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>()
        };
        let words = [text("command"), text("args")].concat();
        matches!(words.as_slice(), [program, "install", ..] if program.rsplit('/').next() == Some("cilium"))
    };
    let through_kubeprism = |container: &Value| {
        let set = |name: &str, wanted: &str| {
            let env = container.get("env").and_then(Value::as_array);
            env.into_iter().flatten().any(|e| e["name"] == name && e["value"] == wanted)
        };
        set("KUBERNETES_SERVICE_HOST", "localhost") && set("KUBERNETES_SERVICE_PORT", "7445")
    };
    let containers = pod.get("containers").and_then(Value::as_array);
    let container = containers.into_iter().flatten().find(calls);
    pod.get("hostNetwork") == Some(&json!(true)) && container.is_some_and(through_kubeprism)
}

fn finish(clusters: &super::super::cluster::Clusters, home: &str, path: &str) {
    clusters.change(home, |c| {
        if !installers(c, true).iter().any(|job| job == path) {
            return;
        }
        let done = json!({
            "succeeded": 1, "startTime": now(), "completionTime": now(),
            "conditions": [{"type": "Complete", "status": "True"}],
        });
        set_status(c, path, done);
        if !c.objects.contains_key(CILIUM) {
            let volume = json!({"name": "etc-cni-netd", "hostPath": {"path": "/etc/cni/net.d", "type": "DirectoryOrCreate"}});
            let object = json!({
                "apiVersion": "apps/v1", "kind": "DaemonSet",
                "metadata": {"name": "cilium", "namespace": "kube-system", "labels": {"k8s-app": "cilium"}},
                "spec": {"selector": {"matchLabels": {"k8s-app": "cilium"}}, "template": {"spec": {"hostNetwork": true, "volumes": [volume]}}},
            });
            store(c, CILIUM, object);
        }
    });
}

/// After a restart: Jobs that were at work are done at once.
pub(super) fn resume(node: &NodeInner, home: &str) {
    let Some(net) = node.net() else { return };
    for path in net.clusters.read(home, |c| installers(c, true)).unwrap_or_default() {
        finish(&net.clusters, home, &path);
    }
}

fn set_status(cluster: &mut Cluster, path: &str, status: Value) {
    let Some(mut object) = cluster.objects.get(path).cloned() else { return };
    if let Some(map) = object.as_object_mut() {
        map.insert("status".into(), status);
    }
    store(cluster, path, object);
}

fn now() -> String {
    jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(host_network: bool, host: &str) -> Value {
        json!({
            "hostNetwork": host_network,
            "containers": [{
                "command": ["cilium", "install", "--version=1.18.4"],
                "env": [
                    {"name": "KUBERNETES_SERVICE_HOST", "value": host},
                    {"name": "KUBERNETES_SERVICE_PORT", "value": "7445"},
                ],
            }],
        })
    }

    #[test]
    fn an_installer_works_only_where_it_reaches_the_api_without_a_cni() {
        assert!(installs(&pod(true, "localhost")));
        assert!(!installs(&pod(false, "localhost")));
        assert!(!installs(&pod(true, "kubernetes.default.svc")));
        let mut other = pod(true, "localhost");
        other["containers"][0]["command"] = json!(["cilium", "status"]);
        assert!(!installs(&other));
    }

    #[test]
    fn a_job_is_done_once_and_brings_the_daemon_set() {
        let clusters = super::super::super::cluster::Clusters::open(None).unwrap();
        let mut cluster = Cluster { id: "e".into(), ..Cluster::default() };
        let path = "/apis/batch/v1/namespaces/kube-system/jobs/cilium-install-1";
        let job = json!({"kind": "Job", "metadata": {"name": "cilium-install-1"}, "spec": {"template": {"spec": pod(true, "localhost")}}});
        store(&mut cluster, path, job);
        assert_eq!(installers(&cluster, false), [path]);
        set_status(&mut cluster, path, json!({"active": 1, "startTime": now()}));
        assert!(installers(&cluster, false).is_empty());
        clusters.add(cluster);
        finish(&clusters, "e", path);
        let after = clusters.get("e").unwrap();
        assert_eq!(after.objects[path].pointer("/status/succeeded"), Some(&json!(1)));
        assert!(after.objects.contains_key(CILIUM));
        assert!(installers(&after, true).is_empty());
    }
}
