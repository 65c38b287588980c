//! The layout of contract 1.14: little is left in the main document, all else has documents of its own.

use serde_json::{Map, Value, json};

use super::super::machine::ConfigError;
use super::super::release;
use super::super::url::GoUrl;
use super::input::GenerateInput;
use super::{Secrets, admission, audit, cluster_network, network, registry, user_disks};
use crate::secrets::{Bundle, Certs, Pair, Text};

/// How often file systems are trimmed.
const TRIM_INTERVAL: &str = "168h0m0s";

/// What keeps a control plane out of the way of workloads and load balancers.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const NO_BALANCER: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// All documents of a machine, the main one first.
pub(super) fn documents(
    secrets: &Secrets<'_>,
    input: &GenerateInput,
    endpoint: &GoUrl,
) -> Result<Vec<Value>, ConfigError> {
    if input.kubernetes_version.is_empty() {
        return Err(ConfigError::new(
            "a configuration for Talos 1.14 needs a Kubernetes version".to_owned(),
        ));
    }
    if !input.install_kernel_args.is_empty() {
        return Err(ConfigError::new(
            "kernel arguments are part of the image from Talos 1.14 on, not of the configuration"
                .to_owned(),
        ));
    }
    let mut all = vec![main(secrets, input)];
    let mut out = Documents(&mut all);
    machine(secrets, input, &mut out)?;
    node(secrets, input, endpoint, &mut out);
    if input.machine_type.is_controlplane() {
        control_plane(secrets, input, endpoint, &mut out)?;
    }
    Ok(all)
}

struct Documents<'a>(&'a mut Vec<Value>);

impl Documents<'_> {
    fn add(&mut self, kind: &str, fields: Value) {
        let mut document = Map::new();
        document.insert("apiVersion".into(), json!("v1alpha1"));
        document.insert("kind".into(), json!(kind));
        if let Value::Object(fields) = fields {
            document.extend(fields);
        }
        self.0.push(Value::Object(document));
    }
}

fn main(secrets: &Secrets<'_>, input: &GenerateInput) -> Value {
    let controlplane = input.machine_type.is_controlplane();
    let mut machine = Map::new();
    let mut put = |key: &str, value: Value| machine.insert(key.to_owned(), value);
    put("type", json!(input.machine_type.name()));
    put("token", json!(secrets.trustd_token));
    put("ca", secrets.pair(|certs| certs.os.as_ref(), controlplane));
    put("certSANs", json!(input.additional_sans));
    // The older way to say these still holds.
    if let Some(section) = network::section(input, 14) {
        put("network", section);
    }
    if !input.user_disks.is_empty() {
        put("disks", user_disks(&input.user_disks));
    }
    put("features", json!({ "diskQuotaSupport": true }));
    let mut cluster = Map::new();
    cluster.insert("token".into(), json!(secrets.bootstrap_token));
    if controlplane {
        let ca = secrets.pair(|certs| certs.etcd.as_ref(), true);
        cluster.insert("etcd".into(), json!({ "ca": ca }));
    }
    json!({
        "version": "v1alpha1",
        "debug": input.debug,
        "persist": input.persist,
        "machine": machine,
        "cluster": cluster,
    })
}

/// What concerns the machine: discovery, disks, names, registries.
fn machine(
    secrets: &Secrets<'_>,
    input: &GenerateInput,
    out: &mut Documents<'_>,
) -> Result<(), ConfigError> {
    if input.discovery {
        let fields = json!({ "name": "default", "endpoint": release::DISCOVERY_ENDPOINT });
        out.add("DiscoveryServiceConfig", fields);
    }
    let id = secrets.text(|bundle| bundle.cluster.as_ref().map(|cluster| &cluster.id));
    let secret = secrets.text(|bundle| bundle.cluster.as_ref().map(|cluster| &cluster.secret));
    out.add("DiscoveryIdentityConfig", json!({ "clusterID": id, "clusterSecret": secret }));
    if let Some(disk) = input.install_disk.as_ref().filter(|disk| !disk.is_empty()) {
        let mut fields = Map::new();
        if let Some(image) = input.install_image.as_ref().filter(|image| !image.is_empty()) {
            fields.insert("installer".into(), json!({ "image": image }));
        }
        let selector = format!("disk.dev_path == {}", json!(disk));
        let provisioning = json!({ "diskSelector": { "match": selector }, "wipe": false });
        fields.insert("provisioning".into(), provisioning);
        out.add("UnattendedInstallConfig", Value::Object(fields));
    }
    let dns = json!({ "hostDNS": { "enabled": true, "forwardKubeDNSToHost": true } });
    out.add("ResolverConfig", dns);
    if !input.sysctls.is_empty() {
        let mut sorted = input.sysctls.clone();
        sorted.sort();
        let params: Map<String, Value> =
            sorted.into_iter().map(|(key, value)| (key, json!(value))).collect();
        out.add("SysctlConfig", json!({ "params": params }));
    }
    out.add("VolumeConfig", json!({ "name": "EPHEMERAL", "mount": { "secure": true } }));
    out.add("FilesystemTrimConfig", json!({ "interval": TRIM_INTERVAL }));
    out.add("SecurityProfileConfig", json!({ "workloadIsolation": true }));
    out.0.extend(registry::documents(input)?);
    out.add("HostnameConfig", json!({ "auto": "stable" }));
    if let Some(enabled) = input.kubespan {
        out.add("KubeSpanConfig", json!({ "enabled": enabled }));
    }
    Ok(())
}

/// What every node says of Kubernetes.
fn node(secrets: &Secrets<'_>, input: &GenerateInput, endpoint: &GoUrl, out: &mut Documents<'_>) {
    let controlplane = input.machine_type.is_controlplane();
    let mut cluster = Map::new();
    if !input.cluster_name.is_empty() {
        cluster.insert("clusterName".into(), json!(input.cluster_name));
    }
    cluster.insert("endpoint".into(), json!(endpoint.to_string()));
    out.add("KubeClusterConfig", Value::Object(cluster));
    let mut fields = Map::new();
    fields.insert("nodeIP".into(), json!({}));
    if controlplane {
        fields.insert("labels".into(), json!({ CONTROL_PLANE: "", NO_BALANCER: "" }));
        if !input.allow_scheduling_on_controlplanes {
            fields.insert("taints".into(), json!({ CONTROL_PLANE: "NoSchedule" }));
        }
    }
    out.add("KubeNodeConfig", Value::Object(fields));
    let kubelet = json!({
        "image": image(input, release::KUBELET_IMAGE),
        "config": {},
        "defaultRuntimeSeccompProfileEnabled": true,
    });
    out.add("KubeletConfig", kubelet);
    let mut network = cluster_network(input);
    if let Some(map) = network.as_object_mut() {
        map.shift_remove("cni");
    }
    out.add("KubeNetworkConfig", network);
    let authority = |certs: &'_ Certs| certs.k8s.clone();
    let authority = secrets.bundle.certs.as_ref().and_then(authority).unwrap_or_default();
    let fields = match controlplane {
        true => json!({ "issuingCA": pem(&authority) }),
        false => json!({ "acceptedCAs": [text(&authority.crt)] }),
    };
    out.add("KubeAPIServerCAConfig", fields);
    let port = input.kubeprism_port.unwrap_or(release::KUBEPRISM_PORT.into());
    if port > 0 {
        out.add("KubePrismConfig", json!({ "port": port }));
    }
}

/// What only control planes say.
fn control_plane(
    secrets: &Secrets<'_>,
    input: &GenerateInput,
    endpoint: &GoUrl,
    out: &mut Documents<'_>,
) -> Result<(), ConfigError> {
    let certs = secrets.bundle.certs.as_ref();
    let aggregator = certs.and_then(|certs| certs.k8s_aggregator.clone()).unwrap_or_default();
    out.add("KubeAggregatorCAConfig", json!({ "issuingCA": pem(&aggregator) }));
    let fields = json!({ "name": "PodSecurity", "configuration": admission() });
    out.add("KubeAdmissionControlConfig", fields);
    out.add("KubeAuditPolicyConfig", json!({ "configuration": audit() }));
    let paths = ["/livez", "/readyz", "/healthz"].map(|path| json!({ "path": path }));
    let anonymous = json!({ "conditions": paths, "enabled": true });
    let fields = json!({ "configuration": { "anonymous": anonymous, "jwt": [] } });
    out.add("KubeAuthenticationConfig", fields);
    for (name, kind) in [("node", "Node"), ("rbac", "RBAC")] {
        out.add("KubeAuthorizerConfig", json!({ "name": name, "type": kind }));
    }
    if let Some(provider) = encryption(secrets) {
        let resource = json!({ "providers": [provider], "resources": ["secrets"] });
        out.add("KubeEtcdEncryptionConfig", json!({ "config": { "resources": [resource] } }));
    }
    let key = certs.and_then(|certs| certs.k8s_service_account.as_ref()).map(text);
    let issuer =
        json!({ "privateKey": key.unwrap_or_default(), "issuerURL": endpoint.to_string() });
    out.add("KubeServiceAccountConfig", json!({ "issuer": issuer }));
    let mut server = Map::new();
    server.insert("image".into(), json!(image(input, release::APISERVER_IMAGE)));
    if let Some(port) = input.local_api_server_port.filter(|port| *port != 0) {
        server.insert("apiPort".into(), json!(port));
    }
    if !input.additional_sans.is_empty() {
        server.insert("certExtraSANs".into(), json!(input.additional_sans));
    }
    out.add("KubeAPIServerConfig", Value::Object(server));
    let manager = json!({ "image": image(input, release::CONTROLLER_MANAGER_IMAGE) });
    out.add("KubeControllerManagerConfig", manager);
    for (kind, name) in [
        ("KubeSchedulerConfig", release::SCHEDULER_IMAGE),
        ("KubeProxyConfig", release::PROXY_IMAGE),
    ] {
        out.add(kind, json!({ "image": image(input, name), "config": {} }));
    }
    cni(input, out)
}

/// Flannel where nothing else is said; another one by the place of its manifest.
fn cni(input: &GenerateInput, out: &mut Documents<'_>) -> Result<(), ConfigError> {
    let wrong = |text: &str| Err(ConfigError::new(text.to_owned()));
    let (name, urls, arguments) = match &input.cni {
        Some(cni) => (cni.name.as_str(), cni.urls.as_slice(), cni.flannel_extra_args.as_slice()),
        None => ("flannel", [].as_slice(), [].as_slice()),
    };
    if matches!(name, "" | "flannel") {
        let mut fields = json!({ "backendType": "vxlan", "backendPort": 4789 });
        if let (Some(map), false) = (fields.as_object_mut(), arguments.is_empty()) {
            map.insert("extraArgs".into(), json!(arguments));
        }
        out.add("KubeFlannelCNIConfig", fields);
    }
    out.add("KubeCoreDNSConfig", json!({ "enabled": true }));
    match (name, urls) {
        ("" | "flannel" | "none", []) => {}
        ("custom", [url]) => {
            out.add("KubeExternalManifestConfig", json!({ "name": "custom-cni", "url": url }));
        }
        ("custom", _) => return wrong("a custom CNI has one manifest from Talos 1.14 on"),
        _ => {
            return wrong(
                "the CNI is none of flannel, custom and none, or has manifests of its own",
            );
        }
    }
    Ok(())
}

/// Who encrypts what etcd keeps: by the key that the bundle has.
fn encryption(secrets: &Secrets<'_>) -> Option<Value> {
    let of = |of: fn(&Bundle) -> Option<&Text>| secrets.text(of);
    let secretbox = of(|bundle| bundle.secrets.as_ref().map(|tokens| &tokens.secretbox));
    let aescbc = of(|bundle| bundle.secrets.as_ref().map(|tokens| &tokens.aescbc));
    let keys = |name: &str, secret: String| json!({ "keys": [{ "name": name, "secret": secret }] });
    if !secretbox.is_empty() {
        return Some(json!({ "secretbox": keys("key2", secretbox) }));
    }
    (!aescbc.is_empty()).then(|| json!({ "aescbc": keys("key1", aescbc) }))
}

fn image(input: &GenerateInput, name: &str) -> String {
    format!("{name}:v{}", input.kubernetes_version)
}

fn text(text: &Text) -> String {
    text.text().unwrap_or_default().to_owned()
}

/// Certificate and key as the newer documents write them.
fn pem(pair: &Pair) -> Value {
    json!({ "cert": text(&pair.crt), "key": text(&pair.key) })
}

#[cfg(test)]
mod tests {
    use super::super::super::MachineConfig;
    use super::super::input::{Cni, MachineType};
    use super::*;

    fn bundle() -> Bundle {
        let now = "2026-11-27T00:00:00Z".parse::<jiff::Timestamp>().unwrap();
        Bundle::generate("1.14".parse().unwrap(), now.as_second()).unwrap()
    }

    fn input(machine_type: MachineType) -> GenerateInput {
        let contract = "v1.14".parse().unwrap();
        GenerateInput::new(contract, machine_type, "c", "https://10.0.0.1:6443", "1.37.0")
    }

    fn kinds(config: &MachineConfig) -> Vec<String> {
        config.ids().map(|id| id.kind).collect()
    }

    const BOTH: [&str; 14] = [
        "v1alpha1",
        "DiscoveryServiceConfig",
        "DiscoveryIdentityConfig",
        "ResolverConfig",
        "VolumeConfig",
        "FilesystemTrimConfig",
        "SecurityProfileConfig",
        "HostnameConfig",
        "KubeClusterConfig",
        "KubeNodeConfig",
        "KubeletConfig",
        "KubeNetworkConfig",
        "KubeAPIServerCAConfig",
        "KubePrismConfig",
    ];

    #[test]
    fn everything_has_a_document_of_its_own() {
        let bundle = bundle();
        let worker = MachineConfig::generate(&bundle, &input(MachineType::Worker)).unwrap();
        assert_eq!(kinds(&worker), BOTH);
        let control = MachineConfig::generate(&bundle, &input(MachineType::ControlPlane)).unwrap();
        let own = [
            "KubeAggregatorCAConfig",
            "KubeAdmissionControlConfig",
            "KubeAuditPolicyConfig",
            "KubeAuthenticationConfig",
            "KubeAuthorizerConfig",
            "KubeAuthorizerConfig",
            "KubeEtcdEncryptionConfig",
            "KubeServiceAccountConfig",
            "KubeAPIServerConfig",
            "KubeControllerManagerConfig",
            "KubeSchedulerConfig",
            "KubeProxyConfig",
            "KubeFlannelCNIConfig",
            "KubeCoreDNSConfig",
        ];
        assert_eq!(kinds(&control), [BOTH.as_slice(), own.as_slice()].concat());
        let main = control.document("v1alpha1", "").unwrap();
        assert_eq!(main.get("install"), None);
        assert_eq!(
            main["cluster"].as_object().map(|map| map.keys().collect::<Vec<_>>()).unwrap(),
            ["token", "etcd"]
        );
        let node = control.document("KubeNodeConfig", "").unwrap();
        assert_eq!(node["taints"][CONTROL_PLANE], "NoSchedule");
        let worker = worker.document("KubeAPIServerCAConfig", "").unwrap();
        assert!(worker["acceptedCAs"][0].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE"));
        assert_eq!(worker.get("issuingCA"), None);
    }

    #[test]
    fn options_bring_documents_or_are_refused() {
        let bundle = bundle();
        let mut input = input(MachineType::ControlPlane);
        input.install_disk = Some("/dev/sda".into());
        input.sysctls = vec![("b".into(), "2".into()), ("a".into(), "1".into())];
        input.kubeprism_port = Some(0);
        input.discovery = false;
        input.cni = Some(Cni {
            name: "custom".into(),
            urls: vec!["https://example.org/cni.yaml".into()],
            flannel_extra_args: Vec::new(),
        });
        let config = MachineConfig::generate(&bundle, &input).unwrap();
        let kinds = kinds(&config);
        for absent in ["DiscoveryServiceConfig", "KubePrismConfig", "KubeFlannelCNIConfig"] {
            assert!(!kinds.iter().any(|kind| kind == absent), "{absent}");
        }
        assert_eq!(kinds.last().map(String::as_str), Some("KubeExternalManifestConfig"));
        let install = config.document("UnattendedInstallConfig", "").unwrap();
        let selector = install["provisioning"]["diskSelector"]["match"].as_str();
        assert_eq!(selector, Some("disk.dev_path == \"/dev/sda\""));
        input.kubernetes_version = String::new();
        assert!(MachineConfig::generate(&bundle, &input).is_err());
        input.kubernetes_version = "1.37.0".into();
        input.install_kernel_args = vec!["a=b".into()];
        let error = MachineConfig::generate(&bundle, &input).unwrap_err();
        assert!(error.to_string().contains("part of the image"), "{error}");
    }

    #[test]
    fn an_old_key_of_etcd_stays_one_of_its_kind() {
        let mut bundle = bundle();
        let tokens = bundle.secrets.as_mut().unwrap();
        tokens.aescbc = std::mem::take(&mut tokens.secretbox);
        let config = MachineConfig::generate(&bundle, &input(MachineType::ControlPlane)).unwrap();
        let document = config.document("KubeEtcdEncryptionConfig", "").unwrap();
        let provider = &document["config"]["resources"][0]["providers"][0];
        assert_eq!(provider["aescbc"]["keys"][0]["name"], "key1");
    }
}
