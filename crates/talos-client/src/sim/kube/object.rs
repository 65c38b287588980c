//! Objects that the cluster makes by itself: namespaces, nodes, static pods; when nodes are ready.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::fact::kubernetes;
use super::super::node::{EtcdState, NodeInner};
use super::super::pki::{self, Authority, Clients, Request};

/// Path of a node object.
pub(super) fn node_path(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}

/// The etcd cluster that keeps the objects of this node's cluster.
pub(super) fn home(node: &NodeInner) -> Option<String> {
    let net = node.net()?;
    if let Some(data) = node.content().etcd {
        return Some(data.cluster);
    }
    let (id, ca) = {
        let machine = node.machine();
        (
            machine.config.text("cluster.id").to_owned(),
            machine.config.text("cluster.ca.crt").to_owned(),
        )
    };
    let serves = |n: &NodeInner| {
        let machine = n.machine();
        machine.kube.is_some()
            && machine.config.text("cluster.id") == id
            && machine.config.text("cluster.ca.crt") == ca
    };
    // What a control plane serves is what its disk says: clusters of machines that are gone are
    // still known, and new machines may have their UUIDs.
    let nodes = net.all();
    let mut served = nodes.iter().filter(|n| serves(n)).filter_map(|n| n.content().etcd);
    served.next().map(|data| data.cluster)
}

/// Start the API server when etcd is there, register the node, see whether it is ready.
pub(crate) fn tend(node: &Arc<NodeInner>) {
    if node.net().is_none_or(|net| net.config.stub_kubelet) {
        return;
    }
    let running = node.machine().etcd == EtcdState::Running;
    let serving = node.machine().kube.is_some();
    if running && !serving {
        match open(node) {
            Ok(tls) => node.machine().kube = Some(tls),
            Err(error) => tracing::warn!(%error, node = node.uuid, "start the Kubernetes API"),
        }
    } else if !running && serving {
        node.machine().kube = None;
    }
    let (Some(net), Some(home)) = (node.net(), home(node)) else { return };
    if running {
        if !serving {
            super::workload::resume(node, &home);
        }
        super::workload::tend(node, &home);
    }
    let ready = net.clusters.read(&home, |c| has_cni(node, c)).unwrap_or(false);
    let object = node_object(node, ready);
    let path = node_path(&node.hostname());
    let current = net.clusters.read(&home, |c| c.objects.get(&path).map(status_of)).flatten();
    if current != Some(status_of(&object)) {
        net.clusters.change(&home, |c| {
            seed(c);
            let merged = match c.objects.get(&path) {
                Some(old) => keep_user_parts(old, &object),
                None => object,
            };
            store(c, &path, merged);
            if running {
                static_pods(node, c);
            }
        });
    }
    let closed = net
        .clusters
        .read(&home, |c| c.objects.get(&path)?.pointer("/spec/unschedulable")?.as_bool());
    let now = (true, ready, closed.flatten().unwrap_or(false));
    let known = {
        let machine = node.machine();
        (machine.registered, machine.node_ready, machine.unschedulable)
    };
    if known != now {
        let machine = &mut *node.machine();
        (machine.registered, machine.node_ready, machine.unschedulable) = now;
    }
}

fn status_of(object: &Value) -> (Option<Value>, Option<Value>, Option<Value>) {
    let at = |path: &str| object.pointer(path).cloned();
    (at("/status/conditions/0/status"), at("/status/addresses"), at("/status/nodeInfo"))
}

fn keep_user_parts(old: &Value, new: &Value) -> Value {
    let mut out = old.clone();
    if let (Some(map), Some(status)) = (out.as_object_mut(), new.get("status")) {
        map.insert("status".into(), status.clone());
    }
    out
}

/// Put an object in with a new resource version.
pub(super) fn store(cluster: &mut Cluster, path: &str, mut object: Value) {
    cluster.revision += 1;
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".into(), json!(cluster.revision.to_string()));
        metadata.entry("uid").or_insert_with(|| json!(uuid::Uuid::new_v4().to_string()));
        metadata.entry("creationTimestamp").or_insert_with(|| {
            let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second())
                .unwrap_or_default();
            json!(now.to_string())
        });
    }
    cluster.objects.insert(path.to_owned(), object);
}

fn seed(cluster: &mut Cluster) {
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        let path = format!("/api/v1/namespaces/{name}");
        if !cluster.objects.contains_key(&path) {
            let object = json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "status": {"phase": "Active"},
            });
            store(cluster, &path, object);
        }
    }
}

/// Whether pods get addresses: flannel comes with the cluster, another CNI is a daemon set that writes to the CNI
/// folder of the nodes, or a test said so.
fn has_cni(node: &NodeInner, cluster: &Cluster) -> bool {
    let name = node.machine().config.text("cluster.network.cni.name").to_owned();
    let workers_follow = node.machine().config.text("machine.type") == "worker";
    let declared_by_config = matches!(name.as_str(), "" | "flannel") && !workers_follow;
    let flannel = cluster
        .objects
        .contains_key("/apis/apps/v1/namespaces/kube-system/daemonsets/kube-flannel");
    let writes_cni = |object: &Value| {
        let volumes = object.pointer("/spec/template/spec/volumes").and_then(Value::as_array);
        volumes.into_iter().flatten().any(|v| {
            let path = v.pointer("/hostPath/path").and_then(Value::as_str).unwrap_or_default();
            path.starts_with("/etc/cni/net.d") || path.starts_with("/opt/cni/bin")
        })
    };
    let applied =
        || cluster.objects.iter().any(|(path, o)| path.contains("/daemonsets/") && writes_cni(o));
    let inline = || {
        node.machine().config.at("cluster.inlineManifests").is_some_and(|m| {
            m.to_string().contains("DaemonSet") && m.to_string().contains("/etc/cni/net.d")
        })
    };
    cluster.cni_declared || declared_by_config || flannel || applied() || inline()
}

fn node_object(node: &NodeInner, ready: bool) -> Value {
    let machine = node.machine();
    let name = machine.hostname();
    let config = &machine.config;
    let mut labels = kubernetes::labels(&machine);
    for (key, value) in [
        ("kubernetes.io/hostname", name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", &machine.system.architecture),
    ] {
        labels.insert(key.to_owned(), json!(value));
    }
    let taints: Vec<Value> = kubernetes::taints(&machine)
        .into_iter()
        .map(|[key, value, effect]| match value.is_empty() {
            true => json!({ "key": key, "effect": effect }),
            false => json!({ "key": key, "value": value, "effect": effect }),
        })
        .collect();
    let mut addresses: Vec<Value> = kubernetes::addresses(&machine)
        .into_iter()
        .map(|address| json!({ "type": "InternalIP", "address": address }))
        .collect();
    addresses.push(json!({"type": "Hostname", "address": name}));
    let version =
        config.text("machine.kubelet.image").rsplit(':').next().unwrap_or_default().to_owned();
    let reason = if ready { "KubeletReady" } else { "KubeletNotReady" };
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints, "providerID": ""},
        "status": {
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }, "reason": reason,
                "message": if ready { "kubelet is posting ready status" } else { "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized" }}],
            "addresses": addresses,
            "nodeInfo": {
                "kubeletVersion": version, "osImage": format!("Talos ({})", machine.system.version),
                "systemUUID": machine.spec.uuid, "architecture": machine.system.architecture,
                "operatingSystem": "linux", "machineID": machine.spec.uuid.replace('-', ""), "bootID": machine.boot_id,
                "kernelVersion": "6.18.0-talos", "containerRuntimeVersion": "containerd://2.1.0",
                "kubeProxyVersion": version,
            },
            "capacity": {"cpu": machine.spec.cpus.to_string(), "memory": format!("{}Mi", machine.spec.memory_mib)},
        },
    })
}

fn static_pods(node: &NodeInner, cluster: &mut Cluster) {
    let name = node.hostname();
    let config = node.machine().config.clone();
    let components = [
        ("kube-apiserver", "cluster.apiServer.image"),
        ("kube-controller-manager", "cluster.controllerManager.image"),
        ("kube-scheduler", "cluster.scheduler.image"),
    ];
    for (component, image) in components {
        let pod = format!("{component}-{name}");
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": pod, "namespace": "kube-system",
                "labels": {"k8s-app": component, "component": component, "tier": "control-plane"},
                "annotations": {"kubernetes.io/config.source": "file"},
            },
            "spec": {"nodeName": name, "hostNetwork": true, "containers": [{"name": component, "image": config.text(image)}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        store(cluster, &format!("/api/v1/namespaces/kube-system/pods/{pod}"), object);
    }
}

fn open(node: &NodeInner) -> Result<Arc<rustls::ServerConfig>, pki::PkiError> {
    let machine = node.machine();
    let config = machine.config.clone();
    let mut sans: Vec<String> =
        ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1"]
            .map(str::to_owned)
            .into();
    sans.push(machine.hostname());
    for link in machine.links() {
        sans.extend(link.addresses.iter().map(|a| a.addr().to_string()));
        sans.extend(link.vips.iter().map(ToString::to_string));
    }
    drop(machine);
    if let Ok(url) = url::Url::parse(config.text("cluster.controlPlane.endpoint")) {
        let host = url.host_str().unwrap_or_default();
        sans.push(host.trim_matches(['[', ']']).to_owned());
    }
    sans.extend(config.texts("cluster.apiServer.certSANs"));
    sans.sort();
    sans.dedup();
    let authority = Authority::new(config.text("cluster.ca.crt"), config.text("cluster.ca.key"))?;
    let lifetime = Duration::from_hours(365 * 24);
    let leaf = authority.sign(&Request {
        name: "kube-apiserver".into(),
        sans,
        lifetime,
        ..Request::default()
    })?;
    let roots = [pki::certificate(config.text("cluster.ca.crt"))?];
    pki::server(&leaf, &Clients::Optional(&roots), &["h2", "http/1.1"])
}
