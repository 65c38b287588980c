//! Addresses: of links, shared ones, and those that load balancers give away.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::{Findings, Part};
use super::Tree;
use crate::config::load::LINKS;
use crate::config::text as yaml;

/// A shared address.
struct Shared<'a> {
    document: String,
    part: Part<'a>,
    address: IpAddr,
}

pub(super) fn check(findings: &mut Findings, tree: &Tree<'_>) {
    let main = tree.main();
    let addresses = addresses(tree);
    let ranges = pools(tree);
    let network = main.at("cluster.network");
    let subnets = ["podSubnets", "serviceSubnets"].map(|name| network.at(name));
    let subnets: Vec<IpNet> =
        subnets.iter().flat_map(|part| part.texts()).filter_map(|text| text.parse().ok()).collect();
    for shared in shared(tree) {
        findings.document.clone_from(&shared.document);
        let address = shared.address;
        if let Some(pool) = ranges.iter().find(|pool| pool.has(address)) {
            findings.of(shared.part).warning(
                "lint-vip-in-pool",
                format!(
                    "the shared address {address} is one that the pool {:?} gives to services",
                    pool.name
                ),
            );
        }
        if let Some(net) = subnets.iter().find(|net| net.contains(&address)) {
            findings.of(shared.part).warning(
                "lint-vip-in-subnet",
                format!("the shared address {address} lies in {net}, which is of pods or services"),
            );
        }
        if addresses.contains(&address) {
            findings.of(shared.part).warning(
                "lint-vip-is-address",
                format!("a link has the shared address {address} for itself: it never moves"),
            );
        }
    }
    "v1alpha1".clone_into(&mut findings.document);
    several(findings, tree, &addresses);
}

/// More than one address of a family, and nothing says which one to use.
fn several(findings: &mut Findings, tree: &Tree<'_>, addresses: &[IpAddr]) {
    let of = |six: bool| addresses.iter().filter(|one| one.is_ipv6() == six).count();
    let Some(count) = [of(true), of(false)].into_iter().find(|count| *count > 1) else { return };
    let main = tree.main();
    let subnets = main.at("machine.kubelet.nodeIP.validSubnets");
    let chosen =
        tree.of("KubeNodeConfig").any(|(_, node)| has_items(node.at("nodeIP.validSubnets")));
    if !has_items(subnets) && !chosen {
        let kubelet = main.at("machine.kubelet");
        let part = if kubelet.is_there() { kubelet } else { main.at("machine") };
        findings.of(part).warning(
            "lint-valid-subnets",
            format!("there are {count} addresses of one family, and no validSubnets choose that of the kubelet"),
        );
    }
    let etcd = main.at("cluster.etcd");
    let is_chosen = has_items(etcd.at("advertisedSubnets")) || !etcd.at("subnet").text().is_empty();
    if tree.is_control_plane() && !is_chosen {
        let part = if etcd.is_there() { etcd } else { main.at("cluster") };
        findings.of(part).warning(
            "lint-etcd-subnets",
            format!("there are {count} addresses of one family, and no advertisedSubnets choose that of etcd"),
        );
    }
}

fn has_items(part: Part<'_>) -> bool {
    part.items().next().is_some()
}

fn interfaces<'a>(tree: &Tree<'a>) -> Vec<Part<'a>> {
    let interfaces = tree.main().at("machine.network.interfaces");
    let with_vlans = |one: Part<'a>| std::iter::once(one).chain(one.at("vlans").items());
    interfaces.items().flat_map(with_vlans).collect()
}

/// Addresses that links have, but for link-local ones and loopback.
fn addresses(tree: &Tree<'_>) -> Vec<IpAddr> {
    let mut texts: Vec<&str> = Vec::new();
    for interface in interfaces(tree) {
        texts.extend(interface.at("addresses").texts());
        texts.push(interface.at("cidr").text());
    }
    for (_, link) in LINKS.iter().flat_map(|kind| tree.of(kind)) {
        texts.extend(link.at("addresses").items().map(|one| one.at("address").text()));
    }
    let address = |text: &str| text.split('/').next().unwrap_or(text).parse::<IpAddr>().ok();
    let is_of_all = |address: &IpAddr| match address {
        IpAddr::V4(four) => !four.is_loopback() && !four.is_link_local(),
        IpAddr::V6(six) => !six.is_loopback() && !six.is_unicast_link_local(),
    };
    texts.into_iter().filter_map(address).filter(is_of_all).collect()
}

fn shared<'a>(tree: &Tree<'a>) -> Vec<Shared<'a>> {
    let mut found = Vec::new();
    for interface in interfaces(tree) {
        let part = interface.at("vip.ip");
        let document = "v1alpha1".to_owned();
        found.extend(part.text().parse().ok().map(|address| Shared { document, part, address }));
    }
    for (document, part) in ["Layer2VIPConfig", "HCloudVIPConfig"].iter().flat_map(|k| tree.of(k)) {
        let part = part.at("name");
        found.extend(part.text().parse().ok().map(|address| Shared { document, part, address }));
    }
    found
}

/// Addresses that a load balancer gives away.
struct Pool {
    name: String,
    ranges: Vec<(IpAddr, IpAddr)>,
}

impl Pool {
    fn has(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|(first, last)| {
            first.is_ipv6() == address.is_ipv6() && (*first..=*last).contains(&address)
        })
    }
}

/// The pools in manifests that come with the configuration: those of Cilium and of MetalLB.
fn pools(tree: &Tree<'_>) -> Vec<Pool> {
    let inline = tree.main().at("cluster.inlineManifests");
    let inline = inline.items().map(|one| one.at("contents").text());
    let documents = tree.of("KubeInlineManifestConfig").map(|(_, one)| one.at("manifest").text());
    let mut found = Vec::new();
    for manifest in inline.chain(documents).filter(|text| text.contains("Pool")) {
        // What is no YAML is none of ours to tell.
        let Ok(objects) = yaml::read(manifest) else { continue };
        for object in &objects {
            let object = Part(Some(object));
            let spec = object.at("spec");
            let ranges: Vec<_> = match object.at("kind").text() {
                "CiliumLoadBalancerIPPool" => {
                    let blocks = spec.at("blocks").items().chain(spec.at("cidrs").items());
                    blocks.filter_map(block).collect()
                }
                "IPAddressPool" => spec.at("addresses").texts().filter_map(range).collect(),
                _ => continue,
            };
            let name = object.at("metadata.name").text().to_owned();
            found.push(Pool { name, ranges });
        }
    }
    found
}

fn block(block: Part<'_>) -> Option<(IpAddr, IpAddr)> {
    let (cidr, start) = (block.at("cidr").text(), block.at("start").text());
    if !cidr.is_empty() {
        return range(cidr);
    }
    let stop = block.at("stop").text();
    let stop = if stop.is_empty() { start } else { stop };
    Some((start.parse().ok()?, stop.parse().ok()?))
}

/// A prefix, or two addresses with a dash between them.
fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((first, last)) = text.split_once('-') {
        return Some((first.trim().parse().ok()?, last.trim().parse().ok()?));
    }
    let net: IpNet = text.parse().ok()?;
    Some((net.network(), net.broadcast()))
}
