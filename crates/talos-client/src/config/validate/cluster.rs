//! Rules of the cluster's section.

use super::super::url::GoUrl;
use super::text::{is_domain, is_subnet_filter};
use super::{Findings, Part, Type};

pub(super) fn check(findings: &mut Findings, cluster: Part<'_>, kind: Type) {
    if !cluster.is_there() {
        findings.error("cluster-required", "there is no `cluster` section");
        return;
    }
    let endpoint = cluster.at("controlPlane.endpoint");
    if !endpoint.is_there() && !findings.has_endpoint {
        findings.error("endpoint-required", "there is no `cluster.controlPlane.endpoint`");
        return;
    }
    if let Some(why) = not_an_endpoint(endpoint.text()).filter(|_| endpoint.is_there()) {
        findings.error("endpoint-invalid", format!("`cluster.controlPlane.endpoint`: {why}"));
    }
    let domain = cluster.at("network.dnsDomain");
    if !domain.text().is_empty() && !is_domain(domain.text()) {
        findings.error("dns-domain-invalid", format!("{:?} is no DNS domain", domain.text()));
    }
    cloud_provider(findings, cluster.at("externalCloudProvider"));
    etcd(findings, cluster.at("etcd"), kind);
    if kind != Type::ControlPlane && !cluster.at("ca.key").text().is_empty() {
        findings.error("kubernetes-ca-key-on-worker", "`cluster.ca.key` has no place on a worker");
    }
    manifests(findings, cluster.at("inlineManifests"));
    discovery(findings, cluster);
    let server = cluster.at("apiServer");
    api_server(findings, server);
    for name in ["controllerManager", "scheduler"] {
        if let Some(key) = odd_resource(cluster.at(name)) {
            findings
                .error("resources-key-unknown", format!("`cluster.{name}.resources` has {key:?}"));
        }
    }
}

/// Why a text is no endpoint: a scheme, a host, and a port of 1 to 65535 where one is given.
pub(super) fn not_an_endpoint(text: &str) -> Option<String> {
    let url = match GoUrl::parse(text) {
        Ok(url) => url,
        Err(error) => return Some(error.to_string()),
    };
    if url.host_name().is_empty() {
        return Some("it has no host".to_owned());
    }
    if url.scheme().is_empty() {
        return Some("it has no scheme".to_owned());
    }
    let port = url.port();
    (!port.is_empty() && !port.parse::<u16>().is_ok_and(|port| port > 0))
        .then(|| format!("{port} is no port"))
}

fn cloud_provider(findings: &mut Findings, provider: Part<'_>) {
    if !provider.is_there() {
        return;
    }
    let manifests: Vec<&str> = provider.at("manifests").texts().collect();
    if !provider.at("enabled").is_on() && !manifests.is_empty() {
        findings.of(provider).error(
            "cloud-provider-off-with-manifests",
            "the external cloud provider is off and has manifests",
        );
        return;
    }
    for url in manifests {
        if not_an_endpoint(url).is_some() {
            findings.of(provider).error("cloud-provider-url-invalid", format!("{url:?} is no URL"));
        }
    }
}

fn etcd(findings: &mut Findings, etcd: Part<'_>, kind: Type) {
    if !etcd.is_there() {
        return;
    }
    if kind != Type::ControlPlane {
        return findings
            .of(etcd)
            .error("etcd-on-worker", "`cluster.etcd` has no place on a worker");
    }
    if !etcd.at("ca").is_there() {
        findings.of(etcd).error("etcd-ca-required", "`cluster.etcd` has no `ca`");
    }
    let subnet = etcd.at("subnet").text();
    let advertised: Vec<&str> = etcd.at("advertisedSubnets").texts().collect();
    if !subnet.is_empty() {
        if !advertised.is_empty() {
            findings
                .of(etcd)
                .error("etcd-subnet-conflict", "`subnet` and `advertisedSubnets` are both set");
        } else if !is_subnet_filter(subnet) {
            findings
                .of(etcd)
                .error("etcd-advertised-subnet-invalid", format!("{subnet:?} is no subnet"));
        }
    }
    let mut listen: Vec<&str> = etcd.at("listenSubnets").texts().collect();
    if listen.is_empty() {
        listen.clone_from(&advertised);
    }
    for text in advertised.iter().filter(|text| !is_subnet_filter(text)) {
        findings.of(etcd).error("etcd-advertised-subnet-invalid", format!("{text:?} is no subnet"));
    }
    for text in listen.iter().filter(|text| !is_subnet_filter(text)) {
        findings.of(etcd).error("etcd-listen-subnet-invalid", format!("{text:?} is no subnet"));
    }
}

fn manifests(findings: &mut Findings, manifests: Part<'_>) {
    let mut seen = std::collections::BTreeSet::new();
    for manifest in manifests.items() {
        let name = manifest.at("name").text();
        if name.trim().is_empty() {
            findings.of(manifest).error("manifest-name-empty", "an inline manifest has no name");
        }
        if !seen.insert(name) {
            findings.of(manifest).error(
                "manifest-name-duplicate",
                format!("two inline manifests are called {name:?}"),
            );
        }
    }
}

fn discovery(findings: &mut Findings, cluster: Part<'_>) {
    let discovery = cluster.at("discovery");
    let service = discovery.at("registries.service");
    if !discovery.at("enabled").is_on() || service.at("disabled").is_on() {
        return;
    }
    let endpoint = service.at("endpoint").text();
    if !endpoint.is_empty() {
        match GoUrl::parse(endpoint) {
            Ok(url) if !url.scheme().is_empty() && !url.host_name().is_empty() => {
                if !matches!(url.path(), "" | "/") {
                    findings
                        .of(discovery)
                        .error("discovery-endpoint-path", "the discovery service's URL has a path");
                }
            }
            _ => findings
                .of(discovery)
                .error("discovery-endpoint-invalid", format!("{endpoint:?} is no URL")),
        }
    }
    if cluster.at("id").text().is_empty() {
        findings.error("discovery-needs-id", "the discovery service needs `cluster.id`");
    }
    if cluster.at("secret").text().is_empty() {
        findings.error("discovery-needs-secret", "the discovery service needs `cluster.secret`");
    }
}

/// The first fault of the API server: arguments of authorization, authorizers, resources.
fn api_server(findings: &mut Findings, server: Part<'_>) {
    let authorizers = server.at("authorizationConfig");
    let arguments = server.at("extraArgs").entries();
    if authorizers.is_there() {
        if arguments.iter().any(|(key, _)| *key == "authorization-mode") {
            findings.of(server).error(
                "authorization-mode-conflict",
                "`authorization-mode` and `authorizationConfig` are both set",
            );
            return;
        }
        if arguments.iter().any(|(key, _)| key.starts_with("authorization-webhook-")) {
            findings.of(server).error(
                "authorization-webhook-conflict",
                "`authorization-webhook-…` and `authorizationConfig` are both set",
            );
            return;
        }
    }
    for authorizer in authorizers.items() {
        let kind = authorizer.at("type").text();
        let is_known =
            ["Node", "RBAC", "Webhook", "AlwaysAllow", "AlwaysDeny", "ABAC"].contains(&kind);
        let problem = if !is_known {
            Some(format!("an authorizer has the type {kind:?}"))
        } else if authorizer.at("name").text().is_empty() {
            Some("an authorizer has no name".to_owned())
        } else {
            None
        };
        if let Some(problem) = problem {
            findings.of(authorizer).error("authorization-config-invalid", problem);
            return;
        }
    }
    if let Some(key) = odd_resource(server) {
        findings
            .error("resources-key-unknown", format!("`cluster.apiServer.resources` has {key:?}"));
    }
}

fn odd_resource(component: Part<'_>) -> Option<&str> {
    ["requests", "limits"].into_iter().find_map(|name| {
        let entries = component.at("resources").at(name).entries();
        entries.into_iter().map(|(key, _)| key).find(|key| !["cpu", "memory"].contains(key))
    })
}
