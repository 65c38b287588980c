//! Cilium as the first workload of a cluster: a Job that installs it.
//!
//! The Job is an inline manifest of the control planes, so it exists as soon as the API server
//! does. It runs on the host network and reaches the API through `KubePrism`, for there is no
//! pod network before it has done its work.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::Digest as _;
use talos_client::config::MachineConfig;
use talos_client::config::release::KUBEPRISM_PORT;

use super::manifest;
use crate::spec::site::{Cluster, Cni};
use crate::state::is_pinned_form;

/// The installer when the tree names none.
pub const DEFAULT_CLI_IMAGE: &str = "quay.io/cilium/cilium-cli:v0.18.7";

/// The Job, its account and its binding; the Job's name carries a hash of its content too.
pub const JOB: &str = "cilium-install";

/// Namespace that Cilium lives in.
const NAMESPACE: &str = "kube-system";

/// How often the Job's pod is tried again: images may come late.
const BACKOFF: u32 = 30;

/// The image of the Job as the tree gives it; `None` when there is no Job: the cluster has another
/// CNI, or brings Cilium itself.
pub fn wanted_image(cluster: &Cluster) -> Option<&str> {
    let has_job = cluster.cni == Cni::Cilium && cluster.versions.cilium.is_some();
    has_job.then(|| cluster.versions.cilium_cli_image.as_deref().unwrap_or(DEFAULT_CLI_IMAGE))
}

/// The image of the Job that a configuration has, when it is the tree's, by tag or by digest: a
/// node that runs keeps it, for another image is another Job.
pub fn kept_image(cluster: &Cluster, config: &MachineConfig) -> Option<String> {
    let wanted = wanted_image(cluster)?;
    let has = manifest::objects(config).into_iter().find_map(|(name, object)| {
        let is_job = name.starts_with(&format!("Job {NAMESPACE}/{JOB}-"));
        let image = object.pointer("/spec/template/spec/containers/0/image")?.as_str()?;
        is_job.then(|| image.to_owned())
    })?;
    (has == wanted || is_pinned_form(&has, wanted)).then_some(has)
}

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
    let name = format!("{JOB}-{hash}");
    let documents = [
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "name": JOB, "namespace": NAMESPACE, "labels": labels },
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": JOB, "labels": labels },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [
                { "kind": "ServiceAccount", "name": JOB, "namespace": NAMESPACE },
            ],
        }),
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": { "name": name, "namespace": NAMESPACE, "labels": labels },
            "spec": {
                "backoffLimit": BACKOFF,
                "template": {
                    "metadata": { "labels": { "app": JOB } },
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
        "serviceAccountName": JOB,
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
            "name": JOB,
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
