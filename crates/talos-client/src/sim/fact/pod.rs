//! Static pods of a control plane, and those of the configuration.

use serde_json::{Map, Value, json};

use super::super::node::Machine;
use super::{Facts, kubernetes};

/// What differs from part to part of a control plane.
struct Part {
    key: &'static str,
    name: &'static str,
    port: u16,
    user: u32,
    cpu: &'static str,
    memory: &'static str,
    has_config: bool,
    health: Option<&'static str>,
}

const PARTS: [Part; 3] = [
    Part {
        key: "apiServer",
        name: "kube-apiserver",
        port: kubernetes::API_PORT,
        user: 65534,
        cpu: "200m",
        memory: "512Mi",
        has_config: true,
        health: None,
    },
    Part {
        key: "controllerManager",
        name: "kube-controller-manager",
        port: 10257,
        user: 65535,
        cpu: "50m",
        memory: "256Mi",
        has_config: false,
        health: Some("/healthz"),
    },
    Part {
        key: "scheduler",
        name: "kube-scheduler",
        port: 10259,
        user: 65536,
        cpu: "10m",
        memory: "64Mi",
        has_config: true,
        health: Some("/livez"),
    },
];

/// What the kubelet says of a pod that runs.
fn status(name: &str) -> Value {
    let condition = |kind: &str| json!({"type": kind, "status": "True"});
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
    json!({
        "phase": "Running",
        "conditions": conditions,
        "containerStatuses": [{"name": name, "ready": true, "restartCount": 0, "started": true}],
    })
}

/// Pods of a control plane, and how they are once the API server answers.
pub(super) fn control_plane(machine: &Machine, out: &mut Facts) {
    for part in &PARTS {
        if kubernetes::is_enabled(machine, part.key) {
            if machine.kube.is_some() {
                let id = format!("kube-system/{}-{}", part.name, machine.hostname());
                let place = ("k8s", "StaticPodStatuses.kubernetes.talos.dev");
                out.add(place, "k8s.KubeletStaticPodController", id, status(part.name));
            }
            let place = ("k8s", "StaticPods.kubernetes.talos.dev");
            out.add(place, "k8s.ControlPlaneStaticPodController", part.name, pod(machine, part));
        }
    }
}

/// Pods that the configuration lists itself, on any node.
pub(super) fn own(machine: &Machine, out: &mut Facts) {
    let list = machine.config.at("machine.pods").and_then(Value::as_array);
    for pod in list.into_iter().flatten() {
        let text = |key: &str, default: &str| {
            let value = pod.get("metadata").and_then(|metadata| metadata.get(key));
            value.and_then(Value::as_str).unwrap_or(default).to_owned()
        };
        let id = format!("{}-{}", text("namespace", "default"), text("name", ""));
        let place = ("k8s", "StaticPods.kubernetes.talos.dev");
        out.add(place, "k8s.StaticPodConfigController", id, pod.clone());
    }
}

fn pod(machine: &Machine, part: &Part) -> Value {
    let Part { key, name, .. } = part;
    let image = machine.config.text(&format!("cluster.{key}.image"));
    let version = image.rsplit_once(':').map_or("", |(_, tag)| tag).trim_start_matches('v');
    let probe = |path: &str, port: u16| {
        json!({
            "httpGet": {"host": "localhost", "path": path, "port": port, "scheme": "HTTPS"},
            "timeoutSeconds": 15,
        })
    };
    let (mounts, volumes) = storage(machine, part);
    let mut container = json!({
        "name": name,
        "image": image,
        "command": command(machine, part),
        "env": environment(machine, key),
        "resources": resources(machine, part),
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    });
    if let (Some(path), Some(map)) = (part.health, container.as_object_mut()) {
        map.insert("livenessProbe".into(), probe(path, part.port));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "kube-system",
            "annotations": {"talos.dev/config-version": "1", "talos.dev/secrets-version": "1"},
            "labels": {
                "app.kubernetes.io/component": "control-plane",
                "app.kubernetes.io/managed-by": "Talos",
                "app.kubernetes.io/name": name,
                "app.kubernetes.io/version": version,
                "component": name,
                "k8s-app": name,
                "tier": "control-plane",
            },
        },
        "spec": {
            "containers": [container],
            "hostNetwork": true,
            "priority": 2_000_000_000,
            "priorityClassName": "system-cluster-critical",
            "securityContext": {
                "runAsGroup": part.user, "runAsNonRoot": true, "runAsUser": part.user,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": volumes,
        },
        "status": {},
    })
}

fn command(machine: &Machine, part: &Part) -> Vec<String> {
    let secrets = format!("/system/secrets/kubernetes/{}", part.name);
    let services = kubernetes::services(machine).join(",");
    let port = machine.config.at("cluster.controlPlane.localAPIServerPort").and_then(Value::as_u64);
    let port = port.unwrap_or_else(|| u64::from(part.port)).to_string();
    let mut all: std::collections::BTreeMap<String, Vec<String>> =
        std::collections::BTreeMap::new();
    let mut set = |key: &str, value: &str| all.insert(key.to_owned(), vec![value.to_owned()]);
    set("profiling", "false");
    set("tls-min-version", "VersionTLS13");
    match part.key {
        "apiServer" => {
            set("advertise-address", "$(POD_IP)");
            set("allow-privileged", "true");
            set("authorization-mode", "Node,RBAC");
            set("bind-address", "0.0.0.0");
            set("etcd-servers", "https://127.0.0.1:2379");
            set("secure-port", &port);
            set("service-account-issuer", machine.config.text("cluster.controlPlane.endpoint"));
            set("service-cluster-ip-range", &services);
        }
        "controllerManager" => {
            set("allocate-node-cidrs", "true");
            set("bind-address", "127.0.0.1");
            set("cluster-cidr", &kubernetes::pods(machine).join(","));
            set("controllers", "*,tokencleaner");
            set("kubeconfig", &format!("{secrets}/kubeconfig"));
            set("service-cluster-ip-range", &services);
            set("use-service-account-credentials", "true");
        }
        _ => {
            set("authentication-kubeconfig", &format!("{secrets}/kubeconfig"));
            set("authentication-tolerate-lookup-failure", "false");
            set("authorization-kubeconfig", &format!("{secrets}/kubeconfig"));
            set("bind-address", "127.0.0.1");
            set("config", "/system/config/kubernetes/kube-scheduler/scheduler-config.yaml");
            set("leader-elect", "true");
        }
    }
    let own = machine.config.at(&format!("cluster.{}.extraArgs", part.key));
    for (key, value) in own.and_then(Value::as_object).into_iter().flatten() {
        all.insert(key.clone(), kubernetes::values(value));
    }
    let arguments = all
        .iter()
        .flat_map(|(key, values)| values.iter().map(move |value| format!("--{key}={value}")));
    std::iter::once(format!("/usr/local/bin/{}", part.name)).chain(arguments).collect()
}

fn environment(machine: &Machine, key: &str) -> Vec<Value> {
    let address =
        json!({"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}});
    let own = machine.config.at(&format!("cluster.{key}.env")).and_then(Value::as_object);
    let own = own.into_iter().flatten().map(|(name, value)| json!({"name": name, "value": value}));
    std::iter::once(address).chain(own).collect()
}

fn resources(machine: &Machine, part: &Part) -> Value {
    let mut requests = Map::new();
    requests.insert("cpu".into(), json!(part.cpu));
    requests.insert("memory".into(), json!(part.memory));
    let at = |kind: &str| {
        let own = machine.config.at(&format!("cluster.{}.resources.{kind}", part.key));
        own.and_then(Value::as_object).cloned()
    };
    requests.extend(at("requests").into_iter().flatten());
    match at("limits") {
        Some(limits) => json!({"requests": requests, "limits": limits}),
        None => json!({ "requests": requests }),
    }
}

/// Where the container mounts what, and the volumes of the pod.
fn storage(machine: &Machine, part: &Part) -> (Vec<Value>, Vec<Value>) {
    let folder = |kind: &str| format!("/system/{kind}/kubernetes/{}", part.name);
    let mut hosts = vec![("secrets", folder("secrets"), true)];
    if part.has_config {
        hosts.push(("config", folder("config"), true));
    }
    if part.key == "apiServer" {
        hosts.push(("audit", "/var/log/audit/kube".to_owned(), false));
    }
    let mut mounts = Vec::new();
    let mut volumes = Vec::new();
    let mut add = |name: &str, host: &str, mount: &str, read_only: bool| {
        let mut entry = json!({"name": name, "mountPath": mount});
        if let (Some(map), true) = (entry.as_object_mut(), read_only) {
            map.insert("readOnly".into(), json!(true));
        }
        mounts.push(entry);
        volumes.push(json!({"name": name, "hostPath": {"path": host}}));
    };
    for (name, path, read_only) in &hosts {
        add(name, path, path, *read_only);
    }
    let own = machine.config.at(&format!("cluster.{}.extraVolumes", part.key));
    for volume in own.and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| volume.get(key).and_then(Value::as_str).unwrap_or_default();
        let read_only = volume.get("readonly") == Some(&json!(true));
        let name = text("mountPath").trim_matches('/').replace(['/', '.', '_'], "-");
        add(&name, text("hostPath"), text("mountPath"), read_only);
    }
    for (name, path) in [("tmp", "/tmp"), ("run", "/var/run/kubernetes")] {
        mounts.push(json!({"name": name, "mountPath": path}));
        volumes.push(json!({"name": name, "emptyDir": {"medium": "Memory"}}));
    }
    (mounts, volumes)
}

#[cfg(test)]
mod tests {
    use super::super::super::config::load;
    use super::*;

    #[test]
    fn a_pod_follows_the_configuration() {
        let text = concat!(
            "machine:\n    type: controlplane\ncluster:\n    controlPlane:\n        localAPIServerPort: 7443\n",
            "    apiServer:\n        image: registry.k8s.io/kube-apiserver:v1.36.3\n        extraArgs:\n            v: \"2\"\n",
            "        extraVolumes:\n            - hostPath: /var/x\n              mountPath: /x\n",
        );
        let machine = Machine { config: load(text, 13).unwrap(), ..Machine::default() };
        let mut out = Facts::default();
        control_plane(&machine, &mut out);
        let ids: Vec<&str> = out.0.iter().map(|fact| fact.id.as_str()).collect();
        assert_eq!(ids, ["kube-apiserver", "kube-controller-manager", "kube-scheduler"]);
        let spec = &out.0[0].spec;
        assert_eq!(spec["metadata"]["labels"]["app.kubernetes.io/version"], "1.36.3");
        let container = &spec["spec"]["containers"][0];
        let command = container["command"].as_array().unwrap();
        assert!(command.contains(&json!("--secure-port=7443")));
        assert!(command.contains(&json!("--v=2")));
        let mounts = container["volumeMounts"].as_array().unwrap();
        assert!(mounts.contains(&json!({"name": "x", "mountPath": "/x"})));
    }
}
