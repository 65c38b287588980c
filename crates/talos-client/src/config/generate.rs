//! A machine configuration out of a bundle: what `talosctl gen config` writes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::machine::{ConfigError, MachineConfig};
use crate::secrets::{Bundle, Contract, Pair, Text};

/// What a machine is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MachineType {
    /// A control plane that bootstraps by itself; of old configurations.
    Init,
    /// It runs etcd and the Kubernetes API.
    ControlPlane,
    /// It runs workloads.
    Worker,
}

impl MachineType {
    /// The name that configurations have.
    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::ControlPlane => "controlplane",
            Self::Worker => "worker",
        }
    }

    /// It runs etcd and the Kubernetes API.
    pub fn is_controlplane(self) -> bool {
        self != Self::Worker
    }
}

/// A container network interface that is not the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cni {
    /// `flannel`, `custom` or `none`.
    pub name: String,
    /// Manifests of a custom one.
    pub urls: Vec<String>,
}

/// What a configuration is generated from, beside the bundle. Everything but the first five has
/// the default of Talos' library.
#[derive(Debug, Clone)]
pub struct GenerateInput {
    /// The version of Talos that the configuration is for.
    pub contract: Contract,
    /// What the machine is.
    pub machine_type: MachineType,
    /// The cluster's name.
    pub cluster_name: String,
    /// Where the Kubernetes API is reached, such as `https://10.0.0.1:6443`.
    pub endpoint: String,
    /// The Kubernetes version, with or without `v`.
    pub kubernetes_version: String,
    /// The disk that the system is installed to.
    pub install_disk: Option<String>,
    /// The image that installs the system.
    pub install_image: Option<String>,
    /// Kernel arguments of the installed system.
    pub install_kernel_args: Vec<String>,
    /// Further names and addresses of the machine and of the API server.
    pub additional_sans: Vec<String>,
    /// Pod ranges; the default is `10.244.0.0/16`.
    pub pod_subnets: Vec<String>,
    /// Service ranges; the default is `10.96.0.0/12`.
    pub service_subnets: Vec<String>,
    /// The domain of the cluster; the default is `cluster.local`.
    pub dns_domain: Option<String>,
    /// Whether nodes find each other through the discovery service.
    pub discovery: bool,
    /// Kernel settings.
    pub sysctls: Vec<(String, String)>,
    /// The network interface of containers.
    pub cni: Option<Cni>,
    /// Port at which every node reaches the API server by itself; 0 switches it off.
    pub kubeprism_port: Option<i64>,
    /// Port of the API server on control planes.
    pub local_api_server_port: Option<i64>,
    /// Workloads may run on control planes.
    pub allow_scheduling_on_controlplanes: bool,
    /// Verbose logs.
    pub debug: bool,
}

impl GenerateInput {
    /// An input with the defaults of Talos' library.
    pub fn new(
        contract: Contract,
        machine_type: MachineType,
        cluster_name: &str,
        endpoint: &str,
        kubernetes_version: &str,
    ) -> Self {
        Self {
            contract,
            machine_type,
            cluster_name: cluster_name.to_owned(),
            endpoint: endpoint.to_owned(),
            kubernetes_version: kubernetes_version.to_owned(),
            install_disk: None,
            install_image: None,
            install_kernel_args: Vec::new(),
            additional_sans: Vec::new(),
            pod_subnets: Vec::new(),
            service_subnets: Vec::new(),
            dns_domain: None,
            discovery: true,
            sysctls: Vec::new(),
            cni: None,
            kubeprism_port: None,
            local_api_server_port: None,
            allow_scheduling_on_controlplanes: false,
            debug: false,
        }
    }
}

/// Port of `KubePrism` when nothing else is asked for.
const KUBEPRISM_PORT: i64 = 7445;

/// Contracts that can be generated, by their minor version.
const CONTRACTS: std::ops::RangeInclusive<u32> = 0..=13;

impl MachineConfig {
    /// The configuration of a machine.
    ///
    /// # Errors
    /// The contract is not known, the endpoint is no URL, or the bundle is not whole.
    pub fn generate(bundle: &Bundle, input: &GenerateInput) -> Result<Self, ConfigError> {
        let minor = input.contract.minor();
        if !CONTRACTS.contains(&minor) {
            return Err(ConfigError::new(format!(
                "configurations for Talos 1.{minor} cannot be generated; 1.{} to 1.{} can",
                CONTRACTS.start(),
                CONTRACTS.end()
            )));
        }
        let host = host_of(&input.endpoint)?;
        let secrets = Secrets::of(bundle)?;
        let mut root = Map::new();
        root.insert("version".into(), json!("v1alpha1"));
        root.insert("debug".into(), json!(input.debug));
        root.insert("persist".into(), json!(true));
        root.insert("machine".into(), machine(&secrets, input, minor));
        root.insert("cluster".into(), cluster(&secrets, input, minor, &host));
        let mut documents = vec![Value::Object(root)];
        if minor > 11 {
            documents.push(json!({
                "apiVersion": "v1alpha1",
                "kind": "HostnameConfig",
                "auto": "stable",
            }));
        }
        Ok(Self::of_documents(documents))
    }
}

/// What a configuration takes out of a bundle, as texts of the configuration.
struct Secrets<'a> {
    bundle: &'a Bundle,
    trustd_token: &'a str,
    bootstrap_token: &'a str,
}

impl<'a> Secrets<'a> {
    fn of(bundle: &'a Bundle) -> Result<Self, ConfigError> {
        let lacks = |what: &str| ConfigError::new(format!("the bundle has no {what}"));
        let text = |text: Option<&'a Text>, what: &str| {
            text.and_then(Text::text).ok_or_else(|| lacks(what))
        };
        if bundle.cluster.is_none() || bundle.certs.is_none() {
            return Err(lacks("cluster or no certs"));
        }
        let tokens = bundle.secrets.as_ref().ok_or_else(|| lacks("secrets"))?;
        Ok(Self {
            bundle,
            trustd_token: text(bundle.trustd_token.as_ref(), "trustdinfo.token")?,
            bootstrap_token: text(Some(&tokens.bootstrap), "secrets.bootstraptoken")?,
        })
    }

    fn pair(&self, of: fn(&crate::secrets::Certs) -> Option<&Pair>, with_key: bool) -> Value {
        let pair = self.bundle.certs.as_ref().and_then(of);
        let encode = |text: &Text| STANDARD.encode(text.bytes());
        let crt = pair.map(|pair| encode(&pair.crt)).unwrap_or_default();
        let key = pair.filter(|_| with_key).map(|pair| encode(&pair.key)).unwrap_or_default();
        json!({ "crt": crt, "key": key })
    }

    fn text(&self, of: fn(&Bundle) -> Option<&Text>) -> String {
        of(self.bundle).and_then(Text::text).unwrap_or_default().to_owned()
    }
}

/// The host of an endpoint, an IPv6 address without brackets.
fn host_of(endpoint: &str) -> Result<String, ConfigError> {
    let bad = || {
        ConfigError::new(format!(
            "the endpoint {endpoint:?} is no URL such as https://10.0.0.1:6443"
        ))
    };
    let (scheme, rest) = endpoint.split_once("://").ok_or_else(bad)?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if !is_scheme {
        return Err(bad());
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or_else(bad)?.0,
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    if host.contains([' ', '<', '>', '"', '%']) {
        return Err(bad());
    }
    Ok(host.to_owned())
}

fn version(input: &GenerateInput) -> &str {
    let version = input.kubernetes_version.as_str();
    version.strip_prefix('v').unwrap_or(version)
}

/// An image of a component; none without a version.
fn image(input: &GenerateInput, name: &str) -> Map<String, Value> {
    let mut map = Map::new();
    if !version(input).is_empty() {
        map.insert("image".into(), json!(format!("{name}:v{}", version(input))));
    }
    map
}

fn machine(secrets: &Secrets<'_>, input: &GenerateInput, minor: u32) -> Value {
    let controlplane = input.machine_type.is_controlplane();
    let mut machine = Map::new();
    let mut put = |key: &str, value: Value| {
        machine.insert(key.to_owned(), value);
    };
    put("type", json!(input.machine_type.name()));
    put("token", json!(secrets.trustd_token));
    put("ca", secrets.pair(|certs| certs.os.as_ref(), controlplane));
    put("certSANs", json!(input.additional_sans));
    let mut kubelet = image(input, "ghcr.io/siderolabs/kubelet");
    if minor > 1 {
        kubelet.insert("defaultRuntimeSeccompProfileEnabled".into(), json!(true));
    }
    if minor > 2 {
        kubelet.insert("disableManifestsDirectory".into(), json!(true));
    }
    put("kubelet", Value::Object(kubelet));
    if minor <= 12 {
        put("network", json!({}));
    }
    put("install", install(input, minor));
    if !input.sysctls.is_empty() {
        let mut sorted = input.sysctls.clone();
        sorted.sort();
        let map: Map<String, Value> =
            sorted.into_iter().map(|(key, value)| (key, json!(value))).collect();
        put("sysctls", Value::Object(map));
    }
    if minor == 2 {
        put(
            "registries",
            json!({ "mirrors": { "k8s.gcr.io": { "endpoints": ["https://registry.k8s.io", "https://k8s.gcr.io"] } } }),
        );
    }
    put("features", features(input, minor));
    if controlplane && minor > 7 {
        let label = "node.kubernetes.io/exclude-from-external-load-balancers";
        put("nodeLabels", json!({ label: "" }));
    }
    Value::Object(machine)
}

fn install(input: &GenerateInput, minor: u32) -> Value {
    let mut install = Map::new();
    if let Some(disk) = input.install_disk.as_ref().filter(|disk| !disk.is_empty()) {
        install.insert("disk".into(), json!(disk));
    }
    if !input.install_kernel_args.is_empty() {
        install.insert("extraKernelArgs".into(), json!(input.install_kernel_args));
    }
    if let Some(image) = input.install_image.as_ref().filter(|image| !image.is_empty()) {
        install.insert("image".into(), json!(image));
    }
    install.insert("wipe".into(), json!(false));
    if minor > 11 {
        install.insert("grubUseUKICmdline".into(), json!(true));
    }
    Value::Object(install)
}

fn features(input: &GenerateInput, minor: u32) -> Value {
    let mut features = Map::new();
    let mut put = |key: &str, value: Value| {
        features.insert(key.to_owned(), value);
    };
    if minor <= 11 {
        put("rbac", json!(true));
        if minor > 1 {
            put("stableHostname", json!(true));
        }
        if minor > 2 {
            put("apidCheckExtKeyUsage", json!(true));
        }
    }
    if minor > 4 {
        put("diskQuotaSupport", json!(true));
    }
    let port = input.kubeprism_port.unwrap_or(if minor > 5 { KUBEPRISM_PORT } else { 0 });
    if port > 0 {
        put("kubePrism", json!({ "enabled": true, "port": port }));
    }
    if minor > 6 {
        let mut dns = Map::new();
        dns.insert("enabled".into(), json!(true));
        if minor > 7 {
            dns.insert("forwardKubeDNSToHost".into(), json!(true));
        }
        put("hostDNS", Value::Object(dns));
    }
    Value::Object(features)
}

fn cluster(secrets: &Secrets<'_>, input: &GenerateInput, minor: u32, host: &str) -> Value {
    let controlplane = input.machine_type.is_controlplane();
    let mut cluster = Map::new();
    let mut put = |key: &str, value: Value| {
        cluster.insert(key.to_owned(), value);
    };
    put("id", json!(secrets.text(|bundle| bundle.cluster.as_ref().map(|cluster| &cluster.id))));
    put(
        "secret",
        json!(secrets.text(|bundle| bundle.cluster.as_ref().map(|cluster| &cluster.secret))),
    );
    let mut endpoint = Map::new();
    endpoint.insert("endpoint".into(), json!(input.endpoint));
    if let Some(port) = input.local_api_server_port.filter(|port| controlplane && *port != 0) {
        endpoint.insert("localAPIServerPort".into(), json!(port));
    }
    put("controlPlane", Value::Object(endpoint));
    if controlplane || minor > 7 {
        put("clusterName", json!(input.cluster_name));
    }
    put("network", network(input));
    put("token", json!(secrets.bootstrap_token));
    if controlplane {
        let (name, secret) = if minor > 2 {
            let of: fn(&Bundle) -> Option<&Text> =
                |bundle| bundle.secrets.as_ref().map(|tokens| &tokens.secretbox);
            ("secretboxEncryptionSecret", secrets.text(of))
        } else {
            let of: fn(&Bundle) -> Option<&Text> =
                |bundle| bundle.secrets.as_ref().map(|tokens| &tokens.aescbc);
            ("aescbcEncryptionSecret", secrets.text(of))
        };
        if !secret.is_empty() {
            put(name, json!(secret));
        }
    }
    put("ca", secrets.pair(|certs| certs.k8s.as_ref(), controlplane));
    if controlplane {
        put("aggregatorCA", secrets.pair(|certs| certs.k8s_aggregator.as_ref(), true));
        let of: fn(&Bundle) -> Option<&Text> =
            |bundle| bundle.certs.as_ref().and_then(|certs| certs.k8s_service_account.as_ref());
        let key = of(secrets.bundle).map(|key| STANDARD.encode(key.bytes())).unwrap_or_default();
        put("serviceAccount", json!({ "key": key }));
        put("apiServer", api_server(input, minor, host));
        for (key, name) in [
            ("controllerManager", "registry.k8s.io/kube-controller-manager"),
            ("proxy", "registry.k8s.io/kube-proxy"),
            ("scheduler", "registry.k8s.io/kube-scheduler"),
        ] {
            put(key, Value::Object(image(input, name)));
        }
    }
    let kubernetes = if minor > 1 { json!({ "disabled": true }) } else { json!({}) };
    put(
        "discovery",
        json!({
            "enabled": input.discovery,
            "registries": { "kubernetes": kubernetes, "service": {} },
        }),
    );
    if controlplane {
        put("etcd", json!({ "ca": secrets.pair(|certs| certs.etcd.as_ref(), true) }));
        if input.allow_scheduling_on_controlplanes {
            let key = if minor > 1 {
                "allowSchedulingOnControlPlanes"
            } else {
                "allowSchedulingOnMasters"
            };
            put(key, json!(true));
        }
    }
    Value::Object(cluster)
}

fn network(input: &GenerateInput) -> Value {
    let mut network = Map::new();
    if let Some(cni) = &input.cni {
        let mut map = Map::new();
        map.insert("name".into(), json!(cni.name));
        if !cni.urls.is_empty() {
            map.insert("urls".into(), json!(cni.urls));
        }
        network.insert("cni".into(), Value::Object(map));
    }
    let or = |given: &[String], default: &str| {
        if given.is_empty() { json!([default]) } else { json!(given) }
    };
    let domain = input.dns_domain.as_deref().filter(|domain| !domain.is_empty());
    network.insert("dnsDomain".into(), json!(domain.unwrap_or("cluster.local")));
    network.insert("podSubnets".into(), or(&input.pod_subnets, "10.244.0.0/16"));
    network.insert("serviceSubnets".into(), or(&input.service_subnets, "10.96.0.0/12"));
    Value::Object(network)
}

fn api_server(input: &GenerateInput, minor: u32, host: &str) -> Value {
    let mut server = image(input, "registry.k8s.io/kube-apiserver");
    let mut sans: Vec<String> = Vec::new();
    if minor <= 11 {
        sans.push(host.to_owned());
    }
    sans.extend(input.additional_sans.iter().cloned());
    if !sans.is_empty() {
        server.insert("certSANs".into(), json!(sans));
    }
    if minor <= 11 {
        server.insert("disablePodSecurityPolicy".into(), json!(true));
    }
    if minor > 0 {
        server.insert(
            "admissionControl".into(),
            json!([{
                "name": "PodSecurity",
                "configuration": {
                    "apiVersion": "pod-security.admission.config.k8s.io/v1alpha1",
                    "defaults": {
                        "audit": "restricted",
                        "audit-version": "latest",
                        "enforce": "baseline",
                        "enforce-version": "latest",
                        "warn": "restricted",
                        "warn-version": "latest",
                    },
                    "exemptions": {
                        "namespaces": ["kube-system"],
                        "runtimeClasses": [],
                        "usernames": [],
                    },
                    "kind": "PodSecurityConfiguration",
                },
            }]),
        );
    }
    if minor > 2 {
        server.insert(
            "auditPolicy".into(),
            json!({
                "apiVersion": "audit.k8s.io/v1",
                "kind": "Policy",
                "rules": [{ "level": "Metadata" }],
            }),
        );
    }
    Value::Object(server)
}
