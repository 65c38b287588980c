//! Components of Kubernetes.

use ipnet::IpNet;

use super::super::super::DocumentId;
use super::super::document::named;
use super::super::{Findings, Part};

/// Arguments of the API server that documents of their own set: by their beginning, with the document.
const DENIED: [(&str, &str); 9] = [
    ("anonymous-auth", "KubeAuthenticationConfig"),
    ("authentication-config", "KubeAuthenticationConfig"),
    ("oidc-", "KubeAuthenticationConfig"),
    ("authorization-config", "KubeAuthorizerConfig"),
    ("authorization-mode", "KubeAuthorizerConfig"),
    ("authorization-webhook-", "KubeAuthorizerConfig"),
    ("audit-policy-file", "KubeAuditPolicyConfig"),
    ("admission-control-config-file", "KubeAdmissionControlConfig"),
    ("encryption-provider-config", "KubeEtcdEncryptionConfig"),
];

pub(super) fn check(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    match id.kind.as_str() {
        "KubeNetworkConfig" => network(findings, document),
        "KubeAPIServerConfig" => {
            image(findings, "API server", document);
            arguments(findings, document.at("extraArgs"));
        }
        "KubeControllerManagerConfig" => image(findings, "controller manager", document),
        "KubeSchedulerConfig" => image(findings, "scheduler", document),
        "KubeletConfig" => image(findings, "kubelet", document),
        "KubeProxyConfig" => proxy(findings, document),
        "KubeFlannelCNIConfig" if document.at("backendType").text().is_empty() => {
            findings.error("flannel-backend-required", "Flannel needs a backendType");
        }
        "KubeAuthorizerConfig" => authorizer(findings, id, document),
        "KubeAdmissionControlConfig" | "KubeStaticPodConfig" | "KubeInlineManifestConfig" => {
            named(findings, id);
        }
        "KubeExternalManifestConfig" => {
            named(findings, id);
            let url = document.at("url").text();
            if !url.starts_with("http://") && !url.starts_with("https://") {
                findings.error("url-scheme", format!("{url:?} is neither http nor https"));
            }
        }
        "KubeEtcdEncryptionConfig" if document.at("config").entries().is_empty() => {
            findings.error("etcd-encryption-empty", "the encryption of etcd has no `config`");
        }
        "KubeClusterConfig" => {
            if document.at("clusterName").text().is_empty() {
                findings.error("cluster-name-required", "there is no `clusterName`");
            }
            if let Some(why) =
                super::super::cluster::not_an_endpoint(document.at("endpoint").text())
            {
                findings.error("endpoint-invalid", format!("`endpoint`: {why}"));
            }
        }
        "KubePrismConfig" => {
            let port = document.at("port").number().unwrap_or(0);
            if !(1..=65535).contains(&port) {
                findings.error("kubeprism-port-range", format!("`port` is {port}"));
            }
        }
        "KubeServiceAccountConfig" => {
            for name in ["privateKey", "issuerURL"] {
                if document.at("issuer").at(name).text().is_empty() {
                    findings
                        .error("service-account-issuer", format!("there is no `issuer.{name}`"));
                }
            }
        }
        "KubeAggregatorCAConfig" if !document.at("issuingCA").is_there() => {
            findings.error("issuing-ca-required", "there is no `issuingCA`");
        }
        _ => {}
    }
}

/// A component that runs needs an image.
fn image(findings: &mut Findings, what: &str, document: Part<'_>) {
    let is_off = document.at("enabled").flag() == Some(false);
    if !is_off && document.at("image").text().is_empty() {
        findings.error("kube-image-required", format!("the {what} has no `image`"));
    }
}

fn arguments(findings: &mut Findings, arguments: Part<'_>) {
    for (name, _) in arguments.entries() {
        let denied = DENIED.iter().find(|(start, _)| name.starts_with(start));
        if let Some((_, kind)) = denied {
            findings
                .of(arguments)
                .error("kube-argument-denied", format!("the argument {name:?} is set by {kind}"));
        }
    }
}

fn network(findings: &mut Findings, document: Part<'_>) {
    let lists = ["podSubnets", "serviceSubnets"].map(|name| document.at(name));
    for (name, list) in ["podSubnets", "serviceSubnets"].into_iter().zip(lists) {
        if let Some(why) = odd_subnets(list) {
            findings.error("kube-subnets-invalid", format!("`{name}`: {why}"));
        }
    }
    let [pods, services] = lists.map(|list| list.items().count());
    if pods > 0 && services > 0 && pods != services {
        findings.error("kube-subnets-count", "pods and services have unlike numbers of subnets");
    }
    for (name, six) in [("nodeCIDRMaskSizeIPv4", false), ("nodeCIDRMaskSizeIPv6", true)] {
        let Some(mask) = document.at(name).number() else { continue };
        let longest = if six { 128 } else { 32 };
        let mut nets = lists[0].texts().filter_map(|text| text.parse::<IpNet>().ok());
        let is_short =
            |net: IpNet| matches!(net, IpNet::V6(_)) == six && mask <= i64::from(net.prefix_len());
        if !(1..=longest).contains(&mask) || nets.any(is_short) {
            findings.error("kube-node-mask", format!("{name} is {mask}"));
        }
    }
}

/// Why subnets cannot be used: the first reason.
fn odd_subnets(list: Part<'_>) -> Option<String> {
    let nets: Vec<IpNet> = list.texts().filter_map(|text| text.parse().ok()).collect();
    let of = |six: bool| nets.iter().filter(|net| matches!(net, IpNet::V6(_)) == six).count();
    if nets.is_empty() {
        return Some("there is none".to_owned());
    }
    if of(false) > 1 || of(true) > 1 {
        return Some("there are two of one family".to_owned());
    }
    // A subnet of fewer than eight addresses leaves none to give away.
    let small = nets.iter().find(|net| net.prefix_len() + 2 >= net.max_prefix_len());
    small.map(|net| format!("{net} is too small"))
}

fn proxy(findings: &mut Findings, document: Part<'_>) {
    if document.at("enabled").flag() == Some(false) {
        return;
    }
    image(findings, "proxy", document);
    match document.at("mode").text() {
        "" | "nftables" => {}
        mode @ ("iptables" | "ipvs") => {
            findings
                .warning("kube-proxy-mode-old", format!("the `mode` {mode:?} is on its way out"));
        }
        mode => findings.error("kube-proxy-mode-unknown", format!("the `mode` is {mode:?}")),
    }
    if !document.at("extraArgs").entries().is_empty() {
        findings.warning("kube-proxy-args", "`extraArgs` may be overruled by `config`");
    }
}

fn authorizer(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    named(findings, id);
    let kind = document.at("type").text();
    if kind.is_empty() {
        findings.error("authorizer-type", "there is no `type`");
    }
    if !["Node", "RBAC", "Webhook"].contains(&kind) {
        findings.error("authorizer-type", format!("the `type` is {kind:?}"));
    } else if kind != "Webhook" && !document.at("webhook").entries().is_empty() {
        findings.warning("authorizer-webhook-unwanted", "`webhook` is for the type Webhook");
    }
}
