//! What the cluster is made of.

use ipnet::IpNet;

use super::super::{Findings, Part};
use super::Tree;
use crate::config::kubernetes_fits;
use crate::config::url::GoUrl;

/// How many more bits a node's share of the pods' addresses may have than the whole range.
const LARGEST_SHARE: u8 = 16;

pub(super) fn check(findings: &mut Findings, tree: &Tree<'_>, main: Part<'_>) {
    let cluster = main.at("cluster");
    for argument in ["initial-cluster-state", "initial-cluster"] {
        let found = cluster.at("etcd.extraArgs").at(argument);
        if found.is_there() {
            findings.of(found).warning(
                "lint-initial-cluster",
                format!("{argument} stays in the configuration: a member that is replaced later cannot join"),
            );
        }
    }
    if tree.is_control_plane() {
        names(findings, main);
        // From 1.14 on keys may stand in documents of their own.
        if !tree.documents.iter().any(|document| document.get("kind").is_some_and(is_of_keys)) {
            keys(findings, cluster);
        }
    }
    let network = cluster.at("network");
    subnets(findings, network);
    masks(findings, cluster, network);
    images(findings, main);
}

fn is_of_keys(kind: &serde_json::Value) -> bool {
    kind.as_str().is_some_and(|kind| kind.starts_with("Kube"))
}

/// Names that people give to the API server.
fn names(findings: &mut Findings, main: Part<'_>) {
    let url = GoUrl::parse(main.at("cluster.controlPlane.endpoint").text()).ok();
    let endpoint = url.as_ref().map(GoUrl::host_name).unwrap_or_default();
    let known: Vec<&str> = main.at("cluster.apiServer.certSANs").texts().collect();
    for name in main.at("machine.certSANs").items() {
        let text = name.text();
        let first = text.split('.').next().unwrap_or(text).to_ascii_lowercase();
        let is_odd =
            first == "api" || ["kube", "k8s", "apiserver"].iter().any(|w| first.contains(w));
        if is_odd && text != endpoint && !known.contains(&text) {
            findings.of(name).warning(
                "lint-sans-of-api-server",
                format!("{text:?} is put into the certificate of the Talos API, not of the Kubernetes API"),
            );
        }
    }
}

/// Keys that nothing asks for, and without which a component never starts.
fn keys(findings: &mut Findings, cluster: Part<'_>) {
    for (path, what) in [
        ("etcd.ca.key", "etcd"),
        ("ca.key", "the API server"),
        ("aggregatorCA.key", "the API server"),
        ("serviceAccount.key", "the API server"),
    ] {
        if cluster.is_there() && cluster.at(path).text().is_empty() {
            findings.of(cluster).warning(
                "lint-authority-missing",
                format!("without `cluster.{path}` {what} never starts"),
            );
        }
    }
}

fn nets(part: Part<'_>) -> Vec<(Part<'_>, IpNet)> {
    part.items().filter_map(|item| Some((item, item.text().parse().ok()?))).collect()
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

fn subnets(findings: &mut Findings, network: Part<'_>) {
    let pods = nets(network.at("podSubnets"));
    for (part, service) in nets(network.at("serviceSubnets")) {
        if let Some((_, pod)) = pods.iter().find(|(_, pod)| overlap(pod, &service)) {
            findings.of(part).warning(
                "lint-subnets-overlap",
                format!("the services' {service} overlaps the pods' {pod}"),
            );
        }
    }
}

/// The share of each node must be smaller than the range, and not by too much.
fn masks(findings: &mut Findings, cluster: Part<'_>, network: Part<'_>) {
    let pods = nets(network.at("podSubnets"));
    let arguments = cluster.at("controllerManager.extraArgs");
    for (name, is_for) in [
        ("node-cidr-mask-size", None),
        ("node-cidr-mask-size-ipv4", Some(false)),
        ("node-cidr-mask-size-ipv6", Some(true)),
    ] {
        let argument = arguments.at(name);
        let Ok(mask) = argument.text().parse::<u8>() else { continue };
        let is_meant = |net: &IpNet| is_for.is_none_or(|six| six == matches!(net, IpNet::V6(_)));
        let is_bad = |net: &IpNet| {
            let prefix = net.prefix_len();
            mask < prefix || mask > net.max_prefix_len() || mask - prefix > LARGEST_SHARE
        };
        if let Some((_, net)) = pods.iter().find(|(_, net)| is_meant(net) && is_bad(net)) {
            findings.of(argument).warning(
                "lint-node-mask",
                format!("nodes cannot have shares of /{mask} of the pods' {net}"),
            );
        }
    }
}

/// Images of Kubernetes whose version the node refuses when it is given the configuration.
fn images(findings: &mut Findings, main: Part<'_>) {
    let talos = format!("1.{}", findings.minor);
    for path in [
        "machine.kubelet.image",
        "cluster.apiServer.image",
        "cluster.controllerManager.image",
        "cluster.scheduler.image",
    ] {
        let image = main.at(path);
        let name = image.text().split('@').next().unwrap_or_default();
        let tag = name.rsplit('/').next().and_then(|last| last.split_once(':'));
        let Some((_, tag)) = tag.filter(|(_, tag)| tag.starts_with('v')) else { continue };
        if let Err(why) = kubernetes_fits(&talos, tag) {
            findings.of(image).warning("lint-kubernetes-version", why);
        }
    }
}
