//! A machine configuration out of a bundle: what `talosctl gen config` writes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::machine::{ConfigError, MachineConfig};
use super::release;
use super::url::GoUrl;
use crate::secrets::{Bundle, Pair, Text};

mod input;
mod network;
mod registry;
mod split;

pub use input::{
    Cni, GenerateInput, LinkSelector, LinkSetting, MachineType, NetworkOption, UserDisk,
};

/// Contracts that can be generated, by their minor version.
const CONTRACTS: std::ops::RangeInclusive<u32> = 0..=14;

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
        if input.kubernetes_version.starts_with('v') {
            let (given, bare) =
                (&input.kubernetes_version, input.kubernetes_version.trim_start_matches('v'));
            return Err(ConfigError::new(format!(
                "the Kubernetes version {given:?} is written without v: {bare:?}"
            )));
        }
        let endpoint = GoUrl::parse(&input.endpoint).map_err(|error| {
            ConfigError::new(format!(
                "the endpoint {:?} is no URL such as https://10.0.0.1:6443: {error}",
                input.endpoint
            ))
        })?;
        let secrets = Secrets::of(bundle)?;
        if minor > 13 {
            return Ok(Self::of_documents(split::documents(&secrets, input, &endpoint)?));
        }
        let mut root = Map::new();
        root.insert("version".into(), json!("v1alpha1"));
        root.insert("debug".into(), json!(input.debug));
        root.insert("persist".into(), json!(input.persist));
        root.insert("machine".into(), machine(&secrets, input, minor));
        root.insert("cluster".into(), cluster(&secrets, input, minor, &endpoint));
        let mut documents = vec![Value::Object(root)];
        if minor > 11 {
            documents.extend(registry::documents(input)?);
            documents.push(json!({
                "apiVersion": "v1alpha1",
                "kind": "HostnameConfig",
                "auto": "stable",
            }));
        }
        if let Some(enabled) = input.kubespan.filter(|_| minor > 12) {
            documents.push(json!({
                "apiVersion": "v1alpha1",
                "kind": "KubeSpanConfig",
                "enabled": enabled,
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
        let fields = [("crt", crt), ("key", key)];
        fields.map(|(name, text)| (name.to_owned(), Value::String(text))).into_iter().collect()
    }

    fn text(&self, of: fn(&Bundle) -> Option<&Text>) -> String {
        of(self.bundle).and_then(Text::text).unwrap_or_default().to_owned()
    }
}

/// An image of a component; none without a version.
fn image(input: &GenerateInput, name: &str) -> Map<String, Value> {
    let mut map = Map::new();
    if !input.kubernetes_version.is_empty() {
        map.insert("image".into(), json!(format!("{name}:v{}", input.kubernetes_version)));
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
    let mut kubelet = image(input, release::KUBELET_IMAGE);
    if minor > 1 {
        kubelet.insert("defaultRuntimeSeccompProfileEnabled".into(), json!(true));
    }
    if minor > 2 {
        kubelet.insert("disableManifestsDirectory".into(), json!(true));
    }
    put("kubelet", Value::Object(kubelet));
    if let Some(section) = network::section(input, minor) {
        put("network", section);
    }
    if !input.user_disks.is_empty() {
        put("disks", user_disks(&input.user_disks));
    }
    put("install", install(input, minor));
    if !input.sysctls.is_empty() {
        let mut sorted = input.sysctls.clone();
        sorted.sort();
        let map: Map<String, Value> =
            sorted.into_iter().map(|(key, value)| (key, json!(value))).collect();
        put("sysctls", Value::Object(map));
    }
    if minor <= 11
        && let Some(section) = registry::section(input, minor)
    {
        put("registries", section);
    }
    put("features", features(input, minor));
    if controlplane && minor > 7 {
        let label = "node.kubernetes.io/exclude-from-external-load-balancers";
        put("nodeLabels", json!({ label: "" }));
    }
    Value::Object(machine)
}

fn user_disks(disks: &[UserDisk]) -> Value {
    let partition = |(size, mountpoint): &(u64, String)| {
        let mut map = Map::new();
        if *size > 0 {
            map.insert("size".into(), json!(size));
        }
        if !mountpoint.is_empty() {
            map.insert("mountpoint".into(), json!(mountpoint));
        }
        Value::Object(map)
    };
    let disk = |disk: &UserDisk| {
        let mut map = Map::new();
        if !disk.device.is_empty() {
            map.insert("device".into(), json!(disk.device));
        }
        if !disk.partitions.is_empty() {
            let partitions: Vec<Value> = disk.partitions.iter().map(partition).collect();
            map.insert("partitions".into(), json!(partitions));
        }
        Value::Object(map)
    };
    Value::Array(disks.iter().map(disk).collect())
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
    let port =
        input.kubeprism_port.unwrap_or(if minor > 5 { release::KUBEPRISM_PORT.into() } else { 0 });
    if port > 0 {
        put("kubePrism", json!({ "enabled": true, "port": port }));
    }
    if minor > 6 {
        let mut dns = Map::new();
        dns.insert("enabled".into(), json!(true));
        if minor > 7 || input.host_dns_forward {
            dns.insert("forwardKubeDNSToHost".into(), json!(true));
        }
        put("hostDNS", Value::Object(dns));
    }
    Value::Object(features)
}

fn cluster(secrets: &Secrets<'_>, input: &GenerateInput, minor: u32, url: &GoUrl) -> Value {
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
    endpoint.insert("endpoint".into(), json!(url.to_string()));
    if let Some(port) = input.local_api_server_port.filter(|port| controlplane && *port != 0) {
        endpoint.insert("localAPIServerPort".into(), json!(port));
    }
    put("controlPlane", Value::Object(endpoint));
    if (controlplane || minor > 7) && !input.cluster_name.is_empty() {
        put("clusterName", json!(input.cluster_name));
    }
    put("network", cluster_network(input));
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
        put("apiServer", api_server(input, minor, url.host_name()));
        for (key, name) in [
            ("controllerManager", release::CONTROLLER_MANAGER_IMAGE),
            ("proxy", release::PROXY_IMAGE),
            ("scheduler", release::SCHEDULER_IMAGE),
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

fn cluster_network(input: &GenerateInput) -> Value {
    let mut network = Map::new();
    if let Some(cni) = &input.cni {
        let mut map = Map::new();
        if !cni.name.is_empty() {
            map.insert("name".into(), json!(cni.name));
        }
        if !cni.urls.is_empty() {
            map.insert("urls".into(), json!(cni.urls));
        }
        if !cni.flannel_extra_args.is_empty() {
            map.insert("flannel".into(), json!({ "extraArgs": cni.flannel_extra_args }));
        }
        network.insert("cni".into(), Value::Object(map));
    }
    // A bare IPv6 address as endpoint is the one way in which the library comes to IPv6 ranges.
    let (pods, services) = match input.endpoint.parse::<std::net::Ipv6Addr>() {
        Ok(_) => (release::POD_SUBNETS[1], release::SERVICE_SUBNETS[1]),
        Err(_) => (release::POD_SUBNETS[0], release::SERVICE_SUBNETS[0]),
    };
    let or = |given: &Option<Vec<String>>, default: &str| match given {
        Some(given) => json!(given),
        None => json!([default]),
    };
    let domain = input.dns_domain.as_deref().unwrap_or(release::DNS_DOMAIN);
    network.insert("dnsDomain".into(), json!(domain));
    network.insert("podSubnets".into(), or(&input.pod_subnets, pods));
    network.insert("serviceSubnets".into(), or(&input.service_subnets, services));
    Value::Object(network)
}

fn api_server(input: &GenerateInput, minor: u32, host: &str) -> Value {
    let mut server = image(input, release::APISERVER_IMAGE);
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
                "configuration": admission(),
            }]),
        );
    }
    if minor > 2 {
        server.insert("auditPolicy".into(), audit());
    }
    Value::Object(server)
}

/// What pods may do where a namespace says nothing else.
fn admission() -> Value {
    json!({
        "apiVersion": "pod-security.admission.config.k8s.io/v1alpha1",
        "defaults": {
            "audit": "restricted",
            "audit-version": "latest",
            "enforce": "baseline",
            "enforce-version": "latest",
            "warn": "restricted",
            "warn-version": "latest",
        },
        "exemptions": { "namespaces": ["kube-system"], "runtimeClasses": [], "usernames": [] },
        "kind": "PodSecurityConfiguration",
    })
}

/// What the API server logs of requests.
fn audit() -> Value {
    json!({ "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{ "level": "Metadata" }] })
}
