//! What a node prepares for its kubelet: labels, taints, addresses, the local way to the API.

use serde_json::{Map, Value, json};

use super::super::node::Machine;
use super::{Facts, kubelet, manifest, pod};

/// Port of the API server on control planes.
pub(super) const API_PORT: u16 = 6443;

/// Port at which the kubelet fetches its static pods; a real node takes any that is free.
const STATIC_PODS: u16 = 41_234;

/// The resources of a configured node; `peers` are addresses of control planes by discovery.
pub(super) fn add(machine: &Machine, peers: &[String], out: &mut Facts) {
    for (key, value) in labels(machine) {
        let spec = json!({ "key": key, "value": value });
        let place = ("k8s", "NodeLabelSpecs.k8s.talos.dev");
        out.add(place, "k8s.NodeLabelSpecController", key, spec);
    }
    for [key, value, effect] in taints(machine) {
        let spec = json!({ "key": key, "value": value, "effect": effect });
        let place = ("k8s", "NodeTaintSpecs.k8s.talos.dev");
        out.add(place, "k8s.NodeTaintSpecController", key, spec);
    }
    let place = ("k8s", "NodeIPs.kubernetes.talos.dev");
    let spec = json!({ "addresses": addresses(machine) });
    out.add(place, "k8s.NodeIPController", "kubelet", spec);
    prism(machine, peers, out);
    let static_pods = format!("http://127.0.0.1:{STATIC_PODS}");
    kubelet_config(machine, &static_pods, out);
    kubelet::facts(machine, &static_pods, out);
    pod::own(machine, out);
    if machine.config.is_control_plane() {
        control_plane(machine, out);
        pod::control_plane(machine, out);
        manifest::facts(machine, out);
    }
}

/// What the kubelet is told, before the node's name and addresses are known.
fn kubelet_config(machine: &Machine, static_pods: &str, out: &mut Facts) {
    let flag = |path: &str| machine.config.at(path) == Some(&json!(true));
    let spec = json!({
        "image": machine.config.text("machine.kubelet.image"),
        "clusterDNS": resolvers(machine),
        "clusterDomain": domain(machine),
        "allowSchedulingOnControlPlane": flag("cluster.allowSchedulingOnControlPlanes"),
        "cloudProviderExternal": flag("cluster.externalCloudProvider.enabled"),
        "defaultRuntimeSeccompEnabled": flag("machine.kubelet.defaultRuntimeSeccompProfileEnabled"),
        "disableManifestsDirectory": flag("machine.kubelet.disableManifestsDirectory"),
        "enableFSQuotaMonitoring": flag("machine.features.diskQuotaSupport"),
        "skipNodeRegistration": flag("machine.kubelet.skipNodeRegistration"),
        "staticPodListURL": static_pods,
    });
    let place = ("k8s", "KubeletConfigs.kubernetes.talos.dev");
    out.add(place, "k8s.KubeletConfigController", "kubelet", spec);
}

/// The parts of the control plane, each as its static pod is made from.
fn control_plane(machine: &Machine, out: &mut Facts) {
    let external = machine.config.at("cluster.externalCloudProvider.enabled") == Some(&json!(true));
    let cloud = if external { "external" } else { "" };
    let services = services(machine);
    let port = machine.config.at("cluster.controlPlane.localAPIServerPort");
    let api = json!({
        "advertisedAddress": "$(POD_IP)",
        "cloudProvider": cloud,
        "controlPlaneEndpoint": machine.config.text("cluster.controlPlane.endpoint"),
        "etcdServers": ["https://127.0.0.1:2379"],
        "localPort": port.cloned().unwrap_or_else(|| json!(API_PORT)),
        "serviceCIDR": services,
    });
    let place = ("controlplane", "APIServerConfigs.kubernetes.talos.dev");
    let spec = part(machine, "apiServer", api);
    out.add(place, "k8s.ControlPlaneAPIServerController", "kube-apiserver", spec);
    let manager = json!({
        "cloudProvider": cloud,
        "enabled": is_enabled(machine, "controllerManager"),
        "podCIDRs": pods(machine),
        "serviceCIDRs": services,
    });
    let place = ("controlplane", "ControllerManagerConfigs.kubernetes.talos.dev");
    let spec = part(machine, "controllerManager", manager);
    out.add(place, "k8s.ControlPlaneControllerManagerController", "kube-controller-manager", spec);
    let config = machine.config.at("cluster.scheduler.config").cloned();
    let scheduler = json!({
        "enabled": is_enabled(machine, "scheduler"),
        "config": config.unwrap_or_else(|| json!({})),
    });
    let place = ("controlplane", "SchedulerConfigs.kubernetes.talos.dev");
    let spec = part(machine, "scheduler", scheduler);
    out.add(place, "k8s.ControlPlaneSchedulerController", "kube-scheduler", spec);
}

/// Whether a part of the control plane runs.
pub(super) fn is_enabled(machine: &Machine, part: &str) -> bool {
    machine.config.at(&format!("cluster.{part}.disabled")) != Some(&json!(true))
}

/// What every part has: its image, arguments, environment, volumes and resources.
fn part(machine: &Machine, name: &str, own: Value) -> Value {
    let at = |key: &str| machine.config.at(&format!("cluster.{name}.{key}")).cloned();
    let quantity = |path: &str| machine.config.text(&format!("cluster.{name}.{path}")).to_owned();
    let arguments = at("extraArgs").and_then(|args| args.as_object().cloned()).unwrap_or_default();
    // An argument may be given more than once: each has a list of values.
    let arguments: Map<String, Value> = arguments
        .into_iter()
        .map(|(key, value)| (key, json!({ "values": values(&value) })))
        .collect();
    let mut spec = json!({
        "image": machine.config.text(&format!("cluster.{name}.image")),
        "extraArgs": arguments,
        "environmentVariables": at("env").unwrap_or_else(|| json!({})),
        "extraVolumes": at("extraVolumes").unwrap_or_else(|| json!([])),
        "resources": {
            "requests": {
                "cpu": quantity("resources.requests.cpu"),
                "memory": quantity("resources.requests.memory"),
            },
            "limits": at("resources.limits").unwrap_or_else(|| json!({})),
        },
    });
    if let (Some(all), Value::Object(own)) = (spec.as_object_mut(), own) {
        all.extend(own);
    }
    spec
}

/// Values of an argument, which may be one or a list.
pub(super) fn values(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().flat_map(values).collect(),
        Value::Null => Vec::new(),
        other => vec![other.to_string()],
    }
}

/// Addresses of the resolver that pods ask.
pub(super) fn resolvers(machine: &Machine) -> Vec<String> {
    let own = machine.config.texts("machine.kubelet.clusterDNS");
    if own.is_empty() {
        services(machine).iter().filter_map(|net| tenth(net)).collect()
    } else {
        own
    }
}

/// Ranges of services.
pub(super) fn services(machine: &Machine) -> Vec<String> {
    subnets(machine, "cluster.network.serviceSubnets", "10.96.0.0/12")
}

/// Ranges of pods.
pub(super) fn pods(machine: &Machine) -> Vec<String> {
    subnets(machine, "cluster.network.podSubnets", "10.244.0.0/16")
}

/// The domain of the cluster's names.
pub(super) fn domain(machine: &Machine) -> &str {
    match machine.config.text("cluster.network.dnsDomain") {
        "" => "cluster.local",
        domain => domain,
    }
}

fn subnets(machine: &Machine, path: &str, default: &str) -> Vec<String> {
    let own = machine.config.texts(path);
    if own.is_empty() { vec![default.to_owned()] } else { own }
}

/// The address of the resolver in a range of services.
fn tenth(net: &str) -> Option<String> {
    let net: ipnet::IpNet = net.parse().ok()?;
    Some(match net {
        ipnet::IpNet::V4(net) => {
            std::net::Ipv4Addr::from(u32::from(net.network()).checked_add(10)?).to_string()
        }
        ipnet::IpNet::V6(net) => {
            std::net::Ipv6Addr::from(u128::from(net.network()).checked_add(10)?).to_string()
        }
    })
}

fn texts(machine: &Machine, path: &str) -> Map<String, Value> {
    machine.config.at(path).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Labels that the node gets.
pub(crate) fn labels(machine: &Machine) -> Map<String, Value> {
    let mut all = texts(machine, "machine.nodeLabels");
    if machine.config.is_control_plane() {
        all.insert("node-role.kubernetes.io/control-plane".into(), json!(""));
    }
    all
}

/// Taints that the node gets: key, value, effect.
pub(crate) fn taints(machine: &Machine) -> Vec<[String; 3]> {
    // A configuration writes `value:effect`, or the effect alone.
    let own = texts(machine, "machine.nodeTaints");
    let mut all: Vec<[String; 3]> = own
        .into_iter()
        .map(|(key, taint)| {
            let taint = taint.as_str().unwrap_or_default();
            let (value, effect) = taint.split_once(':').unwrap_or(("", taint));
            [key, value.to_owned(), effect.to_owned()]
        })
        .collect();
    let is_open = machine.config.at("cluster.allowSchedulingOnControlPlanes") == Some(&json!(true));
    if machine.config.is_control_plane() && !is_open {
        all.push(["node-role.kubernetes.io/control-plane", "", "NoSchedule"].map(str::to_owned));
    }
    all
}

/// One address of each family, of those that `validSubnets` allows.
pub(crate) fn addresses(machine: &Machine) -> Vec<String> {
    let subnets: Vec<ipnet::IpNet> = machine
        .config
        .texts("machine.kubelet.nodeIP.validSubnets")
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    let all = machine.addresses();
    let allowed = |net: &&ipnet::IpNet| {
        subnets.is_empty() || subnets.iter().any(|subnet| subnet.contains(&net.addr()))
    };
    let of = |six: bool| all.iter().filter(allowed).find(|net| net.addr().is_ipv6() == six);
    [of(false), of(true)].into_iter().flatten().map(|net| net.addr().to_string()).collect()
}

fn prism(machine: &Machine, peers: &[String], out: &mut Facts) {
    let prism = machine.config.at("machine.features.kubePrism");
    let is_on = prism.and_then(|prism| prism.get("enabled")) == Some(&json!(true));
    let Some(port) = prism.and_then(|prism| prism.get("port")).filter(|_| is_on) else { return };
    let mut hosts: Vec<(String, u16)> = Vec::new();
    if let Ok(url) = url(machine.config.text("cluster.controlPlane.endpoint")) {
        hosts.push(url);
    }
    if machine.config.is_control_plane() {
        hosts.push(("localhost".to_owned(), API_PORT));
    }
    hosts.extend(peers.iter().map(|peer| (peer.clone(), API_PORT)));
    let endpoints: Vec<Value> =
        hosts.into_iter().map(|(host, port)| json!({ "host": host, "port": port })).collect();
    let spec = json!({ "host": "127.0.0.1", "port": port, "endpoints": endpoints });
    let place = ("k8s", "KubePrismConfigs.kubernetes.talos.dev");
    out.add(place, "k8s.KubePrismConfigController", "k8s-loadbalancer-config", spec);
    let healthy = machine.kube.is_some() && machine.node_ready;
    let spec = json!({ "host": format!("127.0.0.1:{port}"), "healthy": healthy });
    let place = ("k8s", "KubePrismStatuses.kubernetes.talos.dev");
    out.add(place, "k8s.KubePrismController", "k8s-loadbalancer", spec);
}

/// Host and port of an endpoint.
fn url(text: &str) -> Result<(String, u16), std::num::ParseIntError> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let place = rest.split('/').next().unwrap_or_default();
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse()?),
        _ => (place, 443),
    };
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}
