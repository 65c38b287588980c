//! What a node's machine configuration says beyond the generated base: a strategic merge patch
//! and documents of their own, in the form that the node's Talos version has.

use std::net::IpAddr;

use serde_json::{Map, Value, json};
use talos_client::config::{MachineConfig, Mode};

use crate::spec::site::{Cluster, Cni, Node, Role, Site};

/// Metric of the static default routes: BGP routes win over them.
const DEFAULT_ROUTE_METRIC: u32 = 1024;

/// Name that the first link gets by its MAC address, where configuration names links.
const FIRST_LINK: &str = "net0";

/// How the system disk is named to the installer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskSelector {
    /// By its worldwide id.
    Wwid(String),
    /// By its path on the bus.
    BusPath(String),
    /// By its size in bytes, when nothing else tells it apart.
    Size(u64),
}

impl DiskSelector {
    fn to_value(&self) -> Value {
        match self {
            Self::Wwid(wwid) => json!({ "wwid": wwid }),
            Self::BusPath(path) => json!({ "busPath": path }),
            Self::Size(bytes) => json!({ "size": format!("== {bytes}") }),
        }
    }
}

/// What a node's configuration is made from beside the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigInput {
    /// Image that installs the system.
    pub installer_image: String,
    /// The system disk.
    pub disk: DiskSelector,
    /// Manifests that the cluster starts with: name and YAML text.
    pub manifests: Vec<(String, String)>,
}

/// The patch of the v1alpha1 document, followed by documents of their own.
pub fn documents(site: &Site, cluster: &Cluster, node: &Node, input: &ConfigInput) -> Vec<Value> {
    let split = cluster.versions.talos.minor >= 12;
    let mut machine = Map::new();
    machine.insert("certSANs".into(), json!(node_sans(site, node)));
    machine.insert(
        "install".into(),
        json!({ "image": input.installer_image, "diskSelector": input.disk.to_value() }),
    );
    if !cluster.valid_subnets.is_empty() {
        machine.insert(
            "kubelet".into(),
            json!({ "nodeIP": { "validSubnets": texts(&cluster.valid_subnets) } }),
        );
    }
    let mut documents = Vec::new();
    if split {
        documents = split_network(site, cluster, node);
    } else {
        machine.insert("network".into(), legacy_network(site, cluster, node));
        if !site.network.ntp_servers.is_empty() {
            machine.insert("time".into(), json!({ "servers": site.network.ntp_servers }));
        }
        if !site.network.registry_mirrors.is_empty() {
            let mirrors: Map<String, Value> = site
                .network
                .registry_mirrors
                .iter()
                .map(|(host, endpoints)| (host.clone(), json!({ "endpoints": endpoints })))
                .collect();
            machine.insert("registries".into(), json!({ "mirrors": mirrors }));
        }
    }
    let patch = json!({ "machine": machine, "cluster": cluster_section(cluster, node, input) });
    std::iter::once(patch).chain(documents).collect()
}

/// Why a node would refuse a configuration: it boots from the medium of a cloud and runs from its
/// disk, so it must do for both. With `hide` no text of it is told, which may be a secret.
pub fn refusals(config: &MachineConfig, minor: u64, hide: bool) -> Vec<String> {
    let minor = u32::try_from(minor).unwrap_or(u32::MAX);
    let mut found: Vec<String> = Vec::new();
    // Of another version a patch may say more than this one can read.
    if let Err(error) = MachineConfig::load_for(&config.to_yaml(), minor) {
        found.push(if hide { error.class().to_owned() } else { error.to_string() });
    }
    for mode in [Mode::Cloud, Mode::Metal] {
        for error in config.validate(mode, minor, false).errors {
            let text = match hide {
                true => format!("{}: {}", error.document, error.class),
                false => error.to_string(),
            };
            if !found.contains(&text) {
                found.push(text);
            }
        }
    }
    found
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// Names and addresses by which the machine API of a node is dialled.
fn node_sans(site: &Site, node: &Node) -> Vec<String> {
    let mut sans: Vec<String> = vec![node.name.clone()];
    let domain = site.network.base_domain.iter();
    sans.extend(domain.map(|domain| format!("{}.{domain}", node.name)));
    sans.extend(texts(&node.addresses()));
    sans.extend(node.loopbacks.iter().map(|net| net.addr().to_string()));
    sans
}

fn addresses(node: &Node) -> Vec<String> {
    let v6 = node.ipv6.iter().chain(&node.gua).map(ToString::to_string);
    let local = node.link_local.iter().map(ToString::to_string);
    v6.chain(node.ipv4.iter().map(ToString::to_string)).chain(local).collect()
}

fn gateways(cluster: &Cluster) -> Vec<(IpAddr, &'static str)> {
    let v6 = cluster.segment.gateway_v6.map(|gateway| (IpAddr::V6(gateway), "::/0"));
    let v4 = cluster.segment.gateway_v4.map(|gateway| (IpAddr::V4(gateway), "0.0.0.0/0"));
    v6.into_iter().chain(v4).collect()
}

fn legacy_network(site: &Site, cluster: &Cluster, node: &Node) -> Value {
    let routes: Vec<Value> = gateways(cluster)
        .into_iter()
        .map(|(gateway, network)| {
            json!({
                "network": network,
                "gateway": gateway.to_string(),
                "metric": DEFAULT_ROUTE_METRIC,
            })
        })
        .collect();
    let mut first = Map::new();
    first.insert("deviceSelector".into(), json!({ "hardwareAddr": node.mac.to_ascii_lowercase() }));
    first.insert("addresses".into(), json!(addresses(node)));
    first.insert("routes".into(), json!(routes));
    first.insert("dhcp".into(), json!(false));
    if let Some(mtu) = cluster.segment.mtu {
        first.insert("mtu".into(), json!(mtu));
    }
    // One virtual address a link is all that 1.11 has: the IPv6 one.
    if let Some(vip) = cluster.vips.first().filter(|_| node.role == Role::ControlPlane) {
        first.insert("vip".into(), json!({ "ip": vip.to_string() }));
    }
    let mut interfaces = vec![Value::Object(first)];
    if !node.loopbacks.is_empty() {
        interfaces.push(json!({
            "interface": "dummy0",
            "dummy": true,
            "addresses": texts(&node.loopbacks),
        }));
    }
    let mut network = Map::new();
    network.insert("hostname".into(), json!(node.name));
    network.insert("interfaces".into(), json!(interfaces));
    if !site.network.dns_servers.is_empty() {
        network.insert("nameservers".into(), json!(texts(&site.network.dns_servers)));
    }
    if let Some(domain) = &site.network.base_domain {
        network.insert("searchDomains".into(), json!([domain]));
    }
    Value::Object(network)
}

fn document(kind: &str, fields: Value) -> Value {
    let mut map = Map::new();
    map.insert("apiVersion".into(), json!("v1alpha1"));
    map.insert("kind".into(), json!(kind));
    if let Value::Object(fields) = fields {
        map.extend(fields);
    }
    Value::Object(map)
}

fn split_network(site: &Site, cluster: &Cluster, node: &Node) -> Vec<Value> {
    let mac = node.mac.to_ascii_lowercase();
    let routes: Vec<Value> = gateways(cluster)
        .into_iter()
        .map(|(gateway, _)| {
            json!({ "gateway": gateway.to_string(), "metric": DEFAULT_ROUTE_METRIC })
        })
        .collect();
    let list: Vec<Value> =
        addresses(node).into_iter().map(|address| json!({ "address": address })).collect();
    let mut link = Map::new();
    link.insert("name".into(), json!(FIRST_LINK));
    link.insert("up".into(), json!(true));
    link.insert("addresses".into(), json!(list));
    link.insert("routes".into(), json!(routes));
    if let Some(mtu) = cluster.segment.mtu {
        link.insert("mtu".into(), json!(mtu));
    }
    let mut documents = vec![
        // `auto` comes from the generated document; a name of one's own needs it off.
        document("HostnameConfig", json!({ "hostname": node.name, "auto": "off" })),
        document(
            "LinkAliasConfig",
            json!({
                "name": FIRST_LINK,
                "selector": { "match": format!("mac(link.permanent_addr) == \"{mac}\"") },
            }),
        ),
        document("LinkConfig", Value::Object(link)),
    ];
    if !node.loopbacks.is_empty() {
        let list: Vec<Value> =
            node.loopbacks.iter().map(|net| json!({ "address": net.to_string() })).collect();
        let fields = json!({ "name": "dummy0", "up": true, "addresses": list });
        documents.push(document("DummyLinkConfig", fields));
    }
    if node.role == Role::ControlPlane {
        documents.extend(cluster.vips.iter().map(|vip| {
            document("Layer2VIPConfig", json!({ "name": vip.to_string(), "link": FIRST_LINK }))
        }));
    }
    let resolvers: Vec<Value> = site
        .network
        .dns_servers
        .iter()
        .map(|address| json!({ "address": address.to_string() }))
        .collect();
    let mut resolver = Map::new();
    if !resolvers.is_empty() {
        resolver.insert("nameservers".into(), json!(resolvers));
    }
    if let Some(domain) = &site.network.base_domain {
        resolver.insert("searchDomains".into(), json!({ "domains": [domain] }));
    }
    if !resolver.is_empty() {
        documents.push(document("ResolverConfig", Value::Object(resolver)));
    }
    if !site.network.ntp_servers.is_empty() {
        let fields = json!({ "ntp": { "servers": site.network.ntp_servers } });
        documents.push(document("TimeSyncConfig", fields));
    }
    documents.extend(site.network.registry_mirrors.iter().map(|(host, endpoints)| {
        let list: Vec<Value> = endpoints.iter().map(|url| json!({ "url": url })).collect();
        document("RegistryMirrorConfig", json!({ "name": host, "endpoints": list }))
    }));
    documents
}

fn cluster_section(cluster: &Cluster, node: &Node, input: &ConfigInput) -> Value {
    let mut network = Map::new();
    if cluster.cni != Cni::Flannel {
        network.insert("cni".into(), json!({ "name": "none" }));
    }
    network.insert("podSubnets".into(), json!(texts(&cluster.pod_subnets)));
    network.insert("serviceSubnets".into(), json!(texts(&cluster.service_subnets)));
    let mut section = Map::new();
    section.insert("network".into(), Value::Object(network));
    if node.role == Role::Worker {
        return Value::Object(section);
    }
    // Generation names the host of the endpoint itself, and patches append to lists.
    let endpoint = url::Url::parse(&cluster.endpoint).ok();
    let host = endpoint.as_ref().and_then(url::Url::host_str).unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    let sans: Vec<&String> = cluster.cert_sans.iter().filter(|san| *san != host).collect();
    section.insert("apiServer".into(), json!({ "certSANs": sans }));
    section.insert("controllerManager".into(), json!({ "extraArgs": mask_sizes(cluster) }));
    if cluster.cni == Cni::Cilium {
        section.insert("proxy".into(), json!({ "disabled": true }));
    }
    if !cluster.advertised_subnets.is_empty() {
        section.insert(
            "etcd".into(),
            json!({ "advertisedSubnets": texts(&cluster.advertised_subnets) }),
        );
    }
    if cluster.schedulable_controlplanes {
        section.insert("allowSchedulingOnControlPlanes".into(), json!(true));
    }
    if !input.manifests.is_empty() {
        let list: Vec<Value> = input
            .manifests
            .iter()
            .map(|(name, contents)| json!({ "name": name, "contents": contents }))
            .collect();
        section.insert("inlineManifests".into(), json!(list));
    }
    Value::Object(section)
}

/// A node gets a /24 and a /64 of the pod ranges.
fn mask_sizes(cluster: &Cluster) -> Map<String, Value> {
    let mut args = Map::new();
    let two = cluster.pod_subnets.len() > 1;
    for subnet in &cluster.pod_subnets {
        let (family, size) = match subnet.addr() {
            IpAddr::V4(_) => ("ipv4", "24"),
            IpAddr::V6(_) => ("ipv6", "64"),
        };
        // With one family the controller manager takes the short name alone.
        let name = if two {
            format!("node-cidr-mask-size-{family}")
        } else {
            "node-cidr-mask-size".to_owned()
        };
        args.insert(name, json!(size));
    }
    args
}

#[cfg(test)]
pub(super) mod tests;
