//! What a node starts its kubelet with: image, arguments, settings, mounts.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::node::Machine;
use super::{Facts, kubernetes};

/// Settings that a configuration cannot change.
const PROTECTED: [&str; 13] = [
    "apiVersion",
    "authentication",
    "authorization",
    "cgroupRoot",
    "kind",
    "kubeletCgroups",
    "port",
    "protectKernelDefaults",
    "resolvConf",
    "rotateCertificates",
    "systemCgroups",
    "staticPodPath",
    "seccompDefault",
];

/// The kubelet of a node of that name; `static_pods` is where it fetches those.
pub(super) fn facts(machine: &Machine, static_pods: &str, out: &mut Facts) {
    let mut spec = Map::new();
    spec.insert("image".into(), json!(machine.config.text("machine.kubelet.image")));
    spec.insert("args".into(), json!(arguments(machine)));
    spec.insert("config".into(), settings(machine, static_pods));
    if !flag(machine, "machine.kubelet.skipNodeRegistration") {
        spec.insert("expectedNodename".into(), json!(machine.hostname()));
    }
    for (key, path) in [
        ("extraMounts", "machine.kubelet.extraMounts"),
        ("credentialProviderConfig", "machine.kubelet.credentialProviderConfig"),
    ] {
        if let Some(value) = machine.config.at(path) {
            spec.insert(key.into(), value.clone());
        }
    }
    let place = ("k8s", "KubeletSpecs.kubernetes.talos.dev");
    out.add(place, "k8s.KubeletSpecController", "kubelet", Value::Object(spec));
}

fn flag(machine: &Machine, path: &str) -> bool {
    machine.config.at(path) == Some(&json!(true))
}

fn arguments(machine: &Machine) -> Vec<String> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut set = |key: &str, value: String| all.insert(key.to_owned(), vec![value]);
    if !flag(machine, "machine.kubelet.skipNodeRegistration") {
        set("bootstrap-kubeconfig", "/etc/kubernetes/bootstrap-kubeconfig".into());
        set("kubeconfig", "/etc/kubernetes/kubeconfig-kubelet".into());
    }
    set("cert-dir", "/var/lib/kubelet/pki".into());
    set("config", "/etc/kubernetes/kubelet.yaml".into());
    set("hostname-override", machine.hostname());
    set("node-ip", kubernetes::addresses(machine).join(","));
    if flag(machine, "cluster.externalCloudProvider.enabled") {
        set("cloud-provider", "external".into());
    }
    let own = machine.config.at("machine.kubelet.extraArgs").and_then(Value::as_object);
    for (key, value) in own.into_iter().flatten() {
        all.insert(key.clone(), kubernetes::values(value));
    }
    all.iter()
        .flat_map(|(key, values)| values.iter().map(move |value| format!("--{key}={value}")))
        .collect()
}

fn settings(machine: &Machine, static_pods: &str) -> Value {
    let registers = !flag(machine, "machine.kubelet.skipNodeRegistration");
    let mut all = json!({
        "address": "0.0.0.0",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"cacheTTL": "0s", "enabled": registers},
            "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"},
        },
        "authorization": {
            "mode": if registers { "Webhook" } else { "AlwaysAllow" },
            "webhook": {"cacheAuthorizedTTL": "0s", "cacheUnauthorizedTTL": "0s"},
        },
        "cgroupRoot": "/",
        "clusterDNS": kubernetes::resolvers(machine),
        "clusterDomain": kubernetes::domain(machine),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cpuManagerReconcilePeriod": "0s",
        "crashLoopBackOff": {},
        "evictionPressureTransitionPeriod": "0s",
        "failSwapOn": false,
        "fileCheckFrequency": "0s",
        "httpCheckFrequency": "0s",
        "imageMaximumGCAge": "0s",
        "imageMinimumGCAge": "0s",
        "kind": "KubeletConfiguration",
        "kubeletCgroups": "/podruntime/kubelet",
        "logging": {
            "flushFrequency": 0,
            "format": "json",
            "options": {"json": {"infoBufferSize": "0"}, "text": {"infoBufferSize": "0"}},
            "verbosity": 0,
        },
        "memorySwap": {},
        "nodeStatusReportFrequency": "0s",
        "nodeStatusUpdateFrequency": "0s",
        "oomScoreAdj": -450,
        "port": 10250,
        "protectKernelDefaults": true,
        "resolvConf": "/system/resolved/resolv.conf",
        "rotateCertificates": true,
        "runtimeRequestTimeout": "0s",
        "serializeImagePulls": false,
        "shutdownGracePeriod": "30s",
        "shutdownGracePeriodCriticalPods": "10s",
        "staticPodURL": static_pods,
        "streamingConnectionIdleTimeout": "5m0s",
        "syncFrequency": "0s",
        "systemCgroups": "/system",
        "systemReserved": {"cpu": "50m", "ephemeral-storage": "256Mi", "memory": "512Mi", "pid": "100"},
        "tlsMinVersion": "VersionTLS13",
        "volumeStatsAggPeriod": "0s",
    });
    let Some(map) = all.as_object_mut() else { return all };
    if flag(machine, "machine.features.diskQuotaSupport") {
        let gates = json!({"LocalStorageCapacityIsolationFSQuotaMonitoring": true});
        map.insert("featureGates".into(), gates);
    }
    if flag(machine, "machine.kubelet.defaultRuntimeSeccompProfileEnabled") {
        map.insert("seccompDefault".into(), json!(true));
    }
    if !flag(machine, "machine.kubelet.disableManifestsDirectory") {
        map.insert("staticPodPath".into(), json!("/etc/kubernetes/manifests"));
    }
    if machine.config.is_control_plane() && !flag(machine, "cluster.allowSchedulingOnControlPlanes")
    {
        let taint = json!({"effect": "NoSchedule", "key": "node-role.kubernetes.io/control-plane"});
        map.insert("registerWithTaints".into(), json!([taint]));
    }
    let own = machine.config.at("machine.kubelet.extraConfig").and_then(Value::as_object);
    for (key, value) in own.into_iter().flatten() {
        if !PROTECTED.contains(&key.as_str()) {
            over(map, key, value);
        }
    }
    all
}

/// A setting of the configuration over one of the node: mappings are joined, all else is replaced.
fn over(map: &mut Map<String, Value>, key: &str, value: &Value) {
    match (map.get_mut(key), value) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            for (key, value) in new {
                over(old, key, value);
            }
        }
        _ => {
            map.insert(key.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::config::load;
    use super::*;

    fn machine(kubelet: &str) -> Machine {
        let text = format!(
            "machine:\n    type: worker\n    kubelet:\n        image: k:v1.36.3\n{kubelet}cluster:\n    id: a\n"
        );
        Machine { config: load(&text, 13).unwrap(), ..Machine::default() }
    }

    #[test]
    fn what_a_configuration_adds_comes_over_the_defaults() {
        let machine = machine(concat!(
            "        extraArgs:\n            v: \"4\"\n            node-ip: 10.0.0.9\n",
            "        extraConfig:\n            maxPods: 250\n            systemReserved:\n                cpu: 100m\n",
        ));
        let arguments = arguments(&machine);
        assert!(arguments.contains(&"--v=4".to_owned()));
        assert!(arguments.contains(&"--node-ip=10.0.0.9".to_owned()));
        let settings = settings(&machine, "http://127.0.0.1:1");
        assert_eq!(settings["maxPods"], 250);
        assert_eq!(settings["systemReserved"]["cpu"], "100m");
        assert_eq!(settings["systemReserved"]["pid"], "100");
        assert_eq!(settings.get("registerWithTaints"), None);
        assert_eq!(settings["staticPodPath"], "/etc/kubernetes/manifests");
    }
}
