//! Cilium as the first workload of a cluster: a Job that installs it.
//!
//! The Job is an inline manifest of the control planes, so it exists as soon as the API server
//! does. It runs on the host network and reaches the API through `KubePrism`, for there is no
//! pod network before it has done its work.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::Digest as _;
use talos_client::config::release::KUBEPRISM_PORT;

use crate::spec::site::Cluster;

/// The installer when the tree names none.
pub const DEFAULT_CLI_IMAGE: &str = "quay.io/cilium/cilium-cli:v0.18.7";

/// Namespace that Cilium lives in.
const NAMESPACE: &str = "kube-system";

/// How often the Job's pod is tried again: images may come late.
const BACKOFF: u32 = 30;

/// The manifest of the Job with its rights, as YAML; `None` when the cluster does not want it.
///
/// `image` is the installer, pinned by digest where the lock file has one.
pub fn manifest(cluster: &Cluster, image: &str) -> Option<String> {
    let version = cluster.versions.cilium.as_ref()?;
    let command: Vec<String> = ["cilium".to_owned(), "install".to_owned()]
        .into_iter()
        .chain([format!("--version={version}")])
        .chain(values(cluster).into_iter().map(|value| format!("--set={value}")))
        .collect();
    let pod = pod(&command, image);
    // The name carries the content: a changed Job is a new object, not a refused change.
    let hash = short_hash(&pod);
    let labels = json!({ "app.kubernetes.io/managed-by": "clusterctl" });
    let name = format!("cilium-install-{hash}");
    let documents = [
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "name": "cilium-install", "namespace": NAMESPACE, "labels": labels },
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": "cilium-install", "labels": labels },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [
                { "kind": "ServiceAccount", "name": "cilium-install", "namespace": NAMESPACE },
            ],
        }),
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": { "name": name, "namespace": NAMESPACE, "labels": labels },
            "spec": {
                "backoffLimit": BACKOFF,
                "template": {
                    "metadata": { "labels": { "app": "cilium-install" } },
                    "spec": pod,
                },
            },
        }),
    ];
    Some(documents.iter().fold(String::new(), |mut text, document| {
        // JSON is YAML.
        let _ = writeln!(text, "---\n{document:#}");
        text
    }))
}

fn pod(command: &[String], image: &str) -> Value {
    json!({
        "restartPolicy": "OnFailure",
        "serviceAccountName": "cilium-install",
        "hostNetwork": true,
        "tolerations": [
            { "operator": "Exists" },
            { "effect": "NoExecute", "operator": "Exists" },
            { "effect": "NoSchedule", "operator": "Exists" },
            { "effect": "NoSchedule", "key": "node.kubernetes.io/not-ready", "operator": "Exists" },
        ],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{
                        "matchExpressions": [{
                            "key": "node-role.kubernetes.io/control-plane",
                            "operator": "Exists",
                        }],
                    }],
                },
            },
        },
        "containers": [{
            "name": "cilium-install",
            "image": image,
            "command": command,
            "env": [
                { "name": "KUBERNETES_SERVICE_HOST", "value": "localhost" },
                { "name": "KUBERNETES_SERVICE_PORT", "value": KUBEPRISM_PORT.to_string() },
            ],
        }],
    })
}

/// Helm values: the pod ranges come from Kubernetes, kube-proxy is replaced, and what Talos needs
/// (its own cgroup mount, no module loading).
fn values(cluster: &Cluster) -> Vec<String> {
    let has =
        |v6: bool| cluster.pod_subnets.iter().any(|net| matches!(net, ipnet::IpNet::V6(_)) == v6);
    let capabilities = [
        "CHOWN",
        "KILL",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "SYS_ADMIN",
        "SYS_RESOURCE",
        "DAC_OVERRIDE",
        "FOWNER",
        "SETGID",
        "SETUID",
    ];
    vec![
        "ipam.mode=kubernetes".to_owned(),
        "kubeProxyReplacement=true".to_owned(),
        format!("ipv4.enabled={}", has(false)),
        format!("ipv6.enabled={}", has(true)),
        format!("securityContext.capabilities.ciliumAgent={{{}}}", capabilities.join(",")),
        "securityContext.capabilities.cleanCiliumState={NET_ADMIN,SYS_ADMIN,SYS_RESOURCE}"
            .to_owned(),
        "cgroup.autoMount.enabled=false".to_owned(),
        "cgroup.hostRoot=/sys/fs/cgroup".to_owned(),
        "k8sServiceHost=localhost".to_owned(),
        format!("k8sServicePort={KUBEPRISM_PORT}"),
    ]
}

fn short_hash(value: &Value) -> String {
    let digest = sha2::Sha256::digest(value.to_string().as_bytes());
    digest.iter().take(5).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
