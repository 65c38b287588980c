//! What documents say beside the main one, and all of them together.

use serde_json::Value;

use super::super::{Findings, Mode, Part};
use super::network::is_encrypted;

/// Fields of the main document that a document stands for: kind, class, fields.
const INSTEAD: [(&str, &str, &[&str]); 27] = [
    ("KubeClusterConfig", KUBERNETES, &["cluster.clusterName", "cluster.controlPlane.endpoint"]),
    ("KubeNetworkConfig", KUBERNETES, &["cluster.network"]),
    (
        "KubeNodeConfig",
        KUBERNETES,
        &[
            "cluster.allowSchedulingOnControlPlanes",
            "cluster.allowSchedulingOnMasters",
            "machine.kubelet.skipNodeRegistration",
            "machine.kubelet.registerWithFQDN",
            "machine.kubelet.nodeIP",
            "machine.nodeLabels",
            "machine.nodeAnnotations",
            "machine.nodeTaints",
        ],
    ),
    ("KubeletConfig", KUBERNETES, &["machine.kubelet"]),
    ("KubeCredentialProviderConfig", KUBERNETES, &["machine.kubelet.credentialProviderConfig"]),
    ("KubePrismConfig", KUBERNETES, &["machine.features.kubePrism"]),
    ("KubeStaticPodConfig", KUBERNETES, &["machine.pods"]),
    ("KubeAPIServerCAConfig", KUBERNETES, &["cluster.ca"]),
    ("KubeAggregatorCAConfig", KUBERNETES, &["cluster.aggregatorCA"]),
    ("KubeServiceAccountConfig", KUBERNETES, &["cluster.serviceAccount"]),
    (
        "KubeEtcdEncryptionConfig",
        KUBERNETES,
        &["cluster.secretboxEncryptionSecret", "cluster.aescbcEncryptionSecret"],
    ),
    (
        "KubeAPIServerConfig",
        KUBERNETES,
        &["cluster.apiServer", "cluster.controlPlane.localAPIServerPort"],
    ),
    ("KubeAdmissionControlConfig", KUBERNETES, &["cluster.apiServer.admissionControl"]),
    ("KubeAuditPolicyConfig", KUBERNETES, &["cluster.apiServer.auditPolicy"]),
    ("KubeAuthorizerConfig", KUBERNETES, &["cluster.apiServer.authorizationConfig"]),
    (
        "KubeControllerManagerConfig",
        KUBERNETES,
        &["cluster.controllerManager", "machine.controlPlane.controllerManager"],
    ),
    ("KubeSchedulerConfig", KUBERNETES, &["cluster.scheduler", "machine.controlPlane.scheduler"]),
    ("KubeProxyConfig", KUBERNETES, &["cluster.proxy"]),
    ("KubeFlannelCNIConfig", KUBERNETES, &["cluster.network"]),
    ("KubeCoreDNSConfig", KUBERNETES, &["cluster.coreDNS"]),
    ("KubeExternalManifestConfig", KUBERNETES, &["cluster.extraManifests"]),
    ("KubeInlineManifestConfig", KUBERNETES, &["cluster.inlineManifests"]),
    ("KubeTalosAPIAccessConfig", KUBERNETES, &["machine.features.kubernetesTalosAPIAccess"]),
    ("DiscoveryServiceConfig", "conflict-discovery", &["cluster.discovery"]),
    ("ImageCacheConfig", "conflict-image-cache", &["machine.features.imageCache"]),
    ("UnattendedInstallConfig", "conflict-install", &["machine.install"]),
    ("CRIBaseRuntimeSpecConfig", "conflict-runtime-spec", &["machine.baseRuntimeSpecOverrides"]),
];

const KUBERNETES: &str = "conflict-kubernetes";

/// Kinds that only control planes take, but for the encryption of etcd, which has a class of its own.
const CONTROL_PLANE: [&str; 13] = [
    "KubeAPIServerConfig",
    "KubeAdmissionControlConfig",
    "KubeAggregatorCAConfig",
    "KubeAuditPolicyConfig",
    "KubeAuthenticationConfig",
    "KubeAuthorizerConfig",
    "KubeControllerManagerConfig",
    "KubeCoreDNSConfig",
    "KubeFlannelCNIConfig",
    "KubeProxyConfig",
    "KubeSchedulerConfig",
    "KubeServiceAccountConfig",
    "KubeTalosAPIAccessConfig",
];

const ENCRYPTION: &str = "KubeEtcdEncryptionConfig";

/// The first field of the main document that a document says too.
pub(in super::super) fn conflict(findings: &mut Findings, main: Part<'_>, document: Part<'_>) {
    let kind = document.at("kind").text();
    let says = |path: &&str| {
        let part = main.at(path);
        let is_nothing = part.text().is_empty() && part.0.is_some_and(Value::is_string);
        part.is_there() && !is_nothing && part.number() != Some(0)
    };
    for (_, class, fields) in INSTEAD.iter().filter(|(of, ..)| *of == kind) {
        if let Some(field) = fields.iter().copied().find(says) {
            findings.error(class, format!("`{field}` and {kind} are both there"));
        }
    }
    let is_resolver = kind == "ResolverConfig" && document.at("hostDNS").is_there();
    if is_resolver && main.at("machine.features.hostDNS").is_there() {
        let text = "`machine.features.hostDNS` and ResolverConfig are both there";
        findings.error("conflict-hostdns", text);
    }
}

/// What all documents must say together.
pub(in super::super) fn together(findings: &mut Findings, main: Part<'_>, documents: &[Value]) {
    let of = |kind: &'static str| {
        let is_it = move |one: &&Value| Part(Some(one)).at("kind").text() == kind;
        documents.iter().filter(is_it).map(|one| Part(Some(one)))
    };
    if main.is_there() {
        let is_worker = !matches!(main.at("machine.type").text(), "controlplane" | "init");
        let has_encryption = of(ENCRYPTION).next().is_some();
        if is_worker && has_encryption {
            let text = format!("{ENCRYPTION} has no place on a worker");
            findings.error("etcd-encryption-on-worker", text);
        }
        for kind in CONTROL_PLANE.iter().filter(|kind| is_worker && of(kind).next().is_some()) {
            findings
                .error("control-plane-kind-on-worker", format!("{kind} has no place on a worker"));
        }
        let legacy = ["secretboxEncryptionSecret", "aescbcEncryptionSecret"];
        let has_legacy = legacy.iter().any(|name| !main.at("cluster").at(name).text().is_empty());
        if !is_worker && !has_encryption && !has_legacy {
            findings
                .error("etcd-encryption-required", format!("a control plane needs {ENCRYPTION}"));
        }
    }
    let dns = || of("ResolverConfig").map(|one| one.at("hostDNS")).find(|dns| dns.is_there());
    let old = main.at("machine.features.hostDNS");
    if findings.mode == Mode::Container && dns().is_none() && !old.is_there() {
        findings.error(
            "container-needs-hostdns",
            "a container needs host DNS: `hostDNS` of ResolverConfig",
        );
    }
    let has_encrypted =
        of("ResolverConfig").any(|one| one.at("nameservers").items().any(is_encrypted));
    let is_on = dns().is_some_and(|dns| dns.at("enabled").is_on()) || old.at("enabled").is_on();
    if has_encrypted && !is_on {
        findings.error("encrypted-dns-needs-hostdns", "DoT and DoH need `hostDNS.enabled`");
    }
}
