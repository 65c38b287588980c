//! Network: resolvers, mirrors, the address scheme and the SDN stage.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use netplan::input::Delegated;
use netplan::{Pattern, Scheme};

use super::common::Context;
use super::file::{self, File};
use super::key::Section;
use super::tree::Gathered;
use crate::spec::hcl::Value;
use crate::spec::site::{Bgp, Network, Sdn, SdnController, Subnet, Vnet};

/// Reads a text of the tree as a typed value; what does not parse is an error at its place.
pub(super) fn parsed<T: std::str::FromStr>(
    file: &File,
    path: &[&str],
    what: &str,
    gathered: &mut Gathered,
) -> Option<T> {
    let text = file.text(path)?;
    let found = text.parse().ok();
    if found.is_none() {
        let message = format!("`{}` is no {what}: `{text}`", path.join("."));
        gathered.error("tree-0030", message, file.place(path).as_ref());
    }
    found
}

/// Reads a whole number into a smaller type.
pub(super) fn number<T: TryFrom<i64>>(
    file: &File,
    path: &[&str],
    gathered: &mut Gathered,
) -> Option<T> {
    let number = file.count(path)?;
    let found = T::try_from(number).ok();
    if found.is_none() {
        let message = format!("`{}` is out of range: {number}", path.join("."));
        gathered.error("tree-0031", message, file.place(path).as_ref());
    }
    found
}

pub(super) fn network(context: &Context<'_>, gathered: &mut Gathered) -> Network {
    let file = context.file(Section::Network);
    let mut dns_servers = Vec::new();
    for family in ["ipv6", "ipv4"] {
        let path = ["dns_servers", family];
        let Some(value) = file.get(&path) else { continue };
        let texts = file::texts(value).or_else(|| file::text(value).map(|text| vec![text]));
        for text in texts.unwrap_or_default() {
            match text.parse::<IpAddr>() {
                Ok(address) if address.is_ipv6() == (family == "ipv6") => dns_servers.push(address),
                _ => {
                    let message = format!("`dns_servers.{family}` has `{text}`, no such address");
                    gathered.error("tree-0030", message, file.place(&path).as_ref());
                }
            }
        }
    }
    let endpoints = file.texts(&["registry_mirrors", "endpoints"]).unwrap_or_default();
    let registries = file.texts(&["registry_mirrors", "registries"]).unwrap_or_default();
    let mirrors = registries.into_iter().map(|registry| (registry, endpoints.clone()));
    let bgp = file.get(&["bgp"]).is_some().then(|| Bgp {
        remote_asn: number(file, &["bgp", "remote_asn"], gathered),
        interface: file.text(&["bgp", "interface"]),
        enable_bfd: file.flag(&["bgp", "enable_bfd"]).unwrap_or(false),
        advertise_loopbacks: file.flag(&["bgp", "advertise_loopbacks"]).unwrap_or(true),
    });
    Network {
        base_domain: file.text(&["base_domain"]),
        dns_servers,
        ntp_servers: file.texts(&["ntp_servers"]).unwrap_or_default(),
        registry_mirrors: mirrors.collect(),
        worker_offset: number(file, &["addressing", "worker_offset"], gathered)
            .unwrap_or(Scheme::default().worker_offset),
        bgp,
    }
}

fn pattern(file: &File, name: &str, default: Pattern, gathered: &mut Gathered) -> Pattern {
    let path = ["addressing", name];
    let Some(value) = file.get(&path) else { return default };
    let found = match value.attributes() {
        Some(_) => {
            let base =
                value.get("base").and_then(file::text).and_then(|text| text.parse::<IpNet>().ok());
            let bits =
                value.get("newbits").and_then(file::count).and_then(|bits| u8::try_from(bits).ok());
            match (base, bits) {
                (Some(base), Some(bits)) => {
                    Pattern::subnet(base, bits).map_err(|error| error.to_string())
                }
                _ => Err("it needs `base`, a prefix, and `newbits`, a number".to_owned()),
            }
        }
        None => match file::text(value) {
            Some(text) => Pattern::text(&text).map_err(|error| error.to_string()),
            None => Err("it is text, or `{ base, newbits }`".to_owned()),
        },
    };
    found.unwrap_or_else(|reason| {
        let message = format!("`addressing.{name}` is no pattern: {reason}");
        gathered.error("tree-0032", message, file.place(&path).as_ref());
        default
    })
}

pub(super) fn scheme(context: &Context<'_>, gathered: &mut Gathered) -> Scheme {
    let file = context.file(Section::Network);
    let d = Scheme::default();
    let mut small =
        |name: &str, default: u16| number(file, &["addressing", name], gathered).unwrap_or(default);
    let vip_ipv4_suffix = small("vip_ipv4_suffix", d.vip_ipv4_suffix);
    let vip_ipv6_suffix = small("vip_ipv6_suffix", d.vip_ipv6_suffix);
    let controlplane_offset = small("controlplane_offset", d.controlplane_offset);
    let worker_offset = small("worker_offset", d.worker_offset);
    let asn_base = number(file, &["bgp", "asn_base"], gathered).unwrap_or(d.asn_base);
    let mut get = |name: &str, default: Pattern| pattern(file, name, default, gathered);
    Scheme {
        vip_ipv4_suffix,
        vip_ipv6_suffix,
        controlplane_offset,
        worker_offset,
        asn_base,
        vxlan_base: d.vxlan_base,
        public_ipv6: get("public_ipv6_pattern", d.public_ipv6),
        public_ipv4: get("public_ipv4_pattern", d.public_ipv4),
        loopback_ipv6: get("loopback_ipv6_pattern", d.loopback_ipv6),
        loopback_ipv4: get("loopback_ipv4_pattern", d.loopback_ipv4),
        pods_ipv6: get("pods_ipv6_pattern", d.pods_ipv6),
        pods_ipv4: get("pods_ipv4_pattern", d.pods_ipv4),
        services_ipv6: get("services_ipv6_pattern", d.services_ipv6),
        services_ipv4: get("services_ipv4_pattern", d.services_ipv4),
        loadbalancers_ipv6: get("loadbalancers_ipv6_pattern", d.loadbalancers_ipv6),
        loadbalancers_ipv4: get("loadbalancers_ipv4_pattern", d.loadbalancers_ipv4),
    }
}

/// Delegated prefixes by VNet: those of the SDN stage when it has the key, else the shared ones.
pub(super) fn delegated(
    context: &Context<'_>,
    gathered: &mut Gathered,
) -> BTreeMap<String, Delegated> {
    let stage = context.file(Section::Sdn);
    let shared = context.file(Section::Prefixes);
    let own = stage.get(&["delegated_prefixes"]).is_some();
    let file = if own { stage } else { shared };
    let mut found = BTreeMap::new();
    for name in file.names(&["delegated_prefixes"]) {
        let path = ["delegated_prefixes", name.as_str()];
        let value = file.get(&path);
        let object = value.is_some_and(|value| value.attributes().is_some());
        let (prefix, gateway) = if object {
            let inner = |last| [path[0], path[1], last];
            (
                parsed::<Ipv6Net>(file, &inner("prefix"), "IPv6 prefix", gathered),
                parsed::<Ipv6Addr>(file, &inner("gateway"), "IPv6 address", gathered),
            )
        } else {
            let gateway = ["delegated_gateways", name.as_str()];
            (
                parsed::<Ipv6Net>(file, &path, "IPv6 prefix", gathered),
                parsed::<Ipv6Addr>(shared, &gateway, "IPv6 address", gathered),
            )
        };
        if let Some(prefix) = prefix {
            found.insert(name, Delegated { prefix: prefix.trunc(), gateway });
        }
    }
    found
}

/// A VNet as the tree has it.
pub(super) fn vnets<'a>(
    context: &'a Context<'_>,
    gathered: &mut Gathered,
) -> (&'a File, BTreeMap<String, Vnet>) {
    let stage = context.file(Section::Sdn);
    let shared = context.file(Section::Vnets);
    let file = if stage.get(&["vnets"]).is_some() { stage } else { shared };
    let mut found = BTreeMap::new();
    for id in file.names(&["vnets"]) {
        let mut subnets = Vec::new();
        for (subnet, gateway) in [("ipv6_subnet", "ipv6_gateway"), ("ipv4_subnet", "ipv4_gateway")]
        {
            let cidr = parsed::<IpNet>(file, &["vnets", &id, subnet], "prefix", gathered);
            let gateway = parsed::<IpAddr>(file, &["vnets", &id, gateway], "address", gathered);
            if let Some(cidr) = cidr {
                subnets.push(Subnet { cidr: cidr.trunc(), gateway });
            }
        }
        if !(2..=8).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let message = format!("`{id}` is no VNet id: 2 to 8 letters and digits");
            gathered.error("tree-0033", message, file.place(&["vnets", &id]).as_ref());
        }
        let vnet = Vnet {
            tag: number(file, &["vnets", &id, "vxlan_id"], gathered),
            alias: file.text(&["vnets", &id, "alias"]),
            id: id.clone(),
            subnets,
        };
        found.insert(id, vnet);
    }
    (file, found)
}

pub(super) fn controller(context: &Context<'_>, gathered: &mut Gathered) -> Option<SdnController> {
    let file = context.file(Section::Sdn);
    let value = file.get(&["controller"])?;
    if let Some(name) = value.as_str() {
        return Some(SdnController::Existing(name.to_owned()));
    }
    let id = value.get("id").and_then(file::text);
    let asn = number(file, &["controller", "asn"], gathered);
    let peers = value.get("peers").filter(|peers: &&Value| !peers.is_null());
    let peers = peers.and_then(file::texts).unwrap_or_default();
    let fabric = value.get("fabric").and_then(file::text);
    let (Some(id), Some(asn)) = (id, asn) else {
        let message = "`controller` is a name, or has `id` and `asn`".to_owned();
        gathered.error("tree-0034", message, file.place(&["controller"]).as_ref());
        return None;
    };
    Some(SdnController::Created { id, asn, peers, fabric })
}

/// What describes networks, when no zone is named that they could be in.
fn without_zone(context: &Context<'_>, gathered: &mut Gathered) {
    let stage = context.file(Section::Sdn);
    let below = [(stage, "vnets"), (context.file(Section::Vnets), "vnets")];
    let own = ["controller", "nodes", "exit_nodes", "delegated_prefixes"].map(|key| (stage, key));
    let set = |(file, key): &(&File, &str)| file.get(&[key]).is_some_and(|value| !value.is_null());
    if let Some((file, key)) = below.into_iter().chain(own).find(set) {
        let message = format!("`{key}` describes networks, and without `zone_id` none is made");
        gathered.warning("tree-0035", message, file.place(&[key]).as_ref());
    }
}

/// What only a zone with a controller has.
fn without_controller(context: &Context<'_>, gathered: &mut Gathered) {
    const KEYS: [&str; 6] = [
        "exit_nodes",
        "primary_exit_node",
        "rt_import",
        "vrf_vxlan",
        "disable_arp_nd_suppression",
        "advertise_subnets",
    ];
    let (stage, shared) = (context.file(Section::Sdn), context.file(Section::Network));
    for key in KEYS {
        for (file, path) in [(stage, vec![key]), (shared, vec!["sdn", key])] {
            if file.get(&path).is_some_and(|value| !value.is_null()) {
                let message = format!("`{}` needs a zone with a controller", path.join("."));
                let help = "set `controller` in common/0-sdn-setup, or leave the key out";
                gathered.error_help("tree-0036", message, file.place(&path).as_ref(), help);
            }
        }
    }
}

/// Gives VNets the subnets of their delegated prefixes.
pub(super) fn delegate(
    context: &Context<'_>,
    sdn: &mut Sdn,
    delegated: &BTreeMap<String, Delegated>,
    gathered: &mut Gathered,
) {
    let stage = context.file(Section::Sdn);
    let shared = context.file(Section::Prefixes);
    let own = stage.get(&["delegated_prefixes"]).is_some();
    let mut lost = |file: &File, key: &str, name: &str, what: &str| {
        let message = format!("`{key}.{name}`: {what}");
        gathered.warning("tree-0037", message, file.place(&[key, name]).as_ref());
    };
    for (name, prefix) in delegated {
        let Some(vnet) = sdn.vnets.get_mut(name) else {
            let file = if own { stage } else { shared };
            lost(file, "delegated_prefixes", name, "there is no such VNet");
            continue;
        };
        let (cidr, gateway) = (IpNet::V6(prefix.prefix), prefix.gateway.map(IpAddr::V6));
        if vnet.subnets.iter().all(|subnet| subnet.cidr != cidr) {
            vnet.subnets.push(Subnet { cidr, gateway });
        }
    }
    if !own {
        for name in shared.names(&["delegated_gateways"]) {
            if !delegated.contains_key(&name) {
                lost(shared, "delegated_gateways", &name, "there is no prefix that it belongs to");
            }
        }
    }
}

/// The SDN stage with the VNets of clusters that describe none by hand.
pub(super) fn sdn(
    context: &Context<'_>,
    vnets: BTreeMap<String, Vnet>,
    gathered: &mut Gathered,
) -> Option<Sdn> {
    let stage = context.file(Section::Sdn);
    let shared = context.file(Section::Network);
    let Some(zone_id) = stage.text(&["zone_id"]).or_else(|| shared.text(&["sdn", "zone_id"]))
    else {
        without_zone(context, gathered);
        return None;
    };
    let controller = controller(context, gathered);
    if controller.is_none() && stage.get(&["controller"]).is_none() {
        without_controller(context, gathered);
    }
    let vrf = number(stage, &["vrf_vxlan"], gathered);
    let mtu = number(stage, &["mtu"], gathered);
    let flag = |name: &str| stage.flag(&[name]).or_else(|| shared.flag(&["sdn", name]));
    Some(Sdn {
        zone_type: if controller.is_some() { "evpn" } else { "vxlan" }.to_owned(),
        zone_id,
        vrf_vxlan: vrf.or_else(|| number(shared, &["sdn", "vrf_vxlan"], gathered)),
        mtu: mtu.or_else(|| number(shared, &["sdn", "mtu"], gathered)),
        nodes: stage.texts(&["nodes"]).unwrap_or_default(),
        exit_nodes: stage.texts(&["exit_nodes"]).unwrap_or_default(),
        primary_exit_node: stage.text(&["primary_exit_node"]),
        controller,
        rt_import: stage.text(&["rt_import"]),
        disable_arp_nd_suppression: flag("disable_arp_nd_suppression"),
        advertise_subnets: flag("advertise_subnets"),
        vnets,
    })
}
