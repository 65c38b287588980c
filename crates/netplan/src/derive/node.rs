//! The nodes of a cluster.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::cluster::{Formulas, Nets};
use super::report::Report;
use crate::finding::Code;
use crate::id::{Asn, LABEL_MAX, Suffix, VmId};
use crate::identity;
use crate::input::SiteInput;
use crate::pattern::{self, HostNet, Pattern};
use crate::plan::{ClusterPlan, Derived, NodePlan, Role};

/// Largest host part of an IPv4 address: 254 is the gateway's, 255 the broadcast's.
const IPV4_SUFFIX_MAX: u16 = 253;

/// One node before its addresses are known.
struct Seat {
    role: Role,
    index: u16,
    number: u32,
    suffix: u32,
}

pub(super) fn plan(
    site: &SiteInput,
    nets: &Nets,
    cluster: &ClusterPlan,
    formulas: &Formulas,
    report: &mut Report<'_>,
) -> Vec<NodePlan> {
    let input = report.cluster;
    let scheme = &site.scheme;
    let subject = format!("cluster {}", input.name);
    let last_controlplane = u32::from(scheme.controlplane_offset) + u32::from(input.controlplanes);
    let (below, offset) = (scheme.controlplane_offset, u32::from(scheme.worker_offset));
    if u32::from(below) < offset && last_controlplane > offset {
        let message = format!(
            "{} control planes take the suffixes {below} to {}, workers begin at {offset}",
            input.controlplanes,
            last_controlplane - 1
        );
        let help = "lower `controlplanes`, or raise `addressing.worker_offset`";
        report.push(Code::Offset, subject, message, help);
        return Vec::new();
    }
    let seats = seats(site, report);
    let bits = identity::site_bits(&site.name);
    let mut nodes = Vec::with_capacity(seats.len());
    for seat in &seats {
        let Some(suffix) = suffix(seat, nets, report) else { break };
        if let Some(node) = node(site, cluster, (seat, suffix, bits), formulas, report) {
            nodes.push(addressed(node, nets, cluster, formulas, report));
        }
    }
    nodes
}

fn seats(site: &SiteInput, report: &Report<'_>) -> Vec<Seat> {
    let input = report.cluster;
    let scheme = &site.scheme;
    let controlplanes = (0..input.controlplanes).map(|index| Seat {
        role: Role::ControlPlane,
        index,
        number: u32::from(index) + 1,
        suffix: u32::from(scheme.controlplane_offset) + u32::from(index),
    });
    let workers = (0..input.workers).map(|index| Seat {
        role: Role::Worker,
        index: input.controlplanes.saturating_add(index),
        number: u32::from(index) + 1,
        suffix: u32::from(scheme.worker_offset) + u32::from(index),
    });
    controlplanes.chain(workers).collect()
}

/// The suffix of a node. The first that does not fit is reported, the others would be too.
fn suffix(seat: &Seat, nets: &Nets, report: &mut Report<'_>) -> Option<Suffix> {
    let four = nets.public_ipv4.as_ref().or(nets.loopback_ipv4.as_ref());
    let small = four.is_some_and(|net| net.net().prefix_len() >= 24);
    let limit = if small { IPV4_SUFFIX_MAX } else { Suffix::MAX.get() };
    let found = Suffix::new(u64::from(seat.suffix)).ok().filter(|suffix| suffix.get() <= limit);
    if found.is_none() {
        let subject = format!("cluster {}", report.cluster.name);
        let which = if seat.role == Role::Worker { "worker" } else { "control plane" };
        let message = format!(
            "{which} {} would have the suffix {}, the largest is {limit}",
            seat.number, seat.suffix
        );
        let help = if small {
            "lower the number of nodes, or give the IPv4 patterns a prefix shorter than /24, or `\"\"`"
        } else {
            "lower the number of nodes, or the offsets"
        };
        report.push(Code::Suffix, subject, message, help);
    }
    found
}

fn node(
    site: &SiteInput,
    cluster: &ClusterPlan,
    (seat, suffix, bits): (&Seat, Suffix, u64),
    formulas: &Formulas,
    report: &mut Report<'_>,
) -> Option<NodePlan> {
    let (word, name_formula, suffix_formula) = match seat.role {
        Role::ControlPlane => ("cp", &formulas.controlplane_name, &formulas.controlplane_suffix),
        Role::Worker => ("wk", &formulas.worker_name, &formulas.worker_suffix),
    };
    let name = format!("{}{word}{:02}", cluster.name, seat.number);
    if name.len() > LABEL_MAX {
        let message = format!("the name has {} characters, {LABEL_MAX} is the most", name.len());
        report.push(Code::NameLength, format!("node {name}"), message, "shorten `cluster_name`");
    }
    // A cluster's id is at least 1, so that the number is above 1000 and below a million.
    let vmid = VmId::new(u64::from(cluster.id.get()) * 1000 + u64::from(suffix.get())).ok()?;
    let number = u64::from(site.scheme.asn_base)
        + u64::from(cluster.tenant_id.get()) * 1000
        + u64::from(suffix.get());
    Some(NodePlan {
        name: Derived::new(name, name_formula),
        role: seat.role,
        index: seat.index,
        suffix: Derived::new(suffix, suffix_formula),
        vmid: Derived::new(vmid, &formulas.vmid),
        uuid: Derived::new(identity::node_uuid(&site.name, cluster.id, suffix), &formulas.uuid),
        mac: Derived::new(identity::mac(bits, cluster.id, suffix, 0), &formulas.mac),
        asn: Asn::new(number).ok().map(|asn| Derived::new(asn, &formulas.asn)),
        ipv6: None,
        ipv4: None,
        link_local: None,
        loopback_ipv6: None,
        loopback_ipv4: None,
        gua: None,
    })
}

fn addressed(
    mut node: NodePlan,
    nets: &Nets,
    cluster: &ClusterPlan,
    formulas: &Formulas,
    report: &mut Report<'_>,
) -> NodePlan {
    let suffix = node.suffix.value.to_string();
    let mut host = |key: &str, net: Option<&HostNet>| -> Option<(IpAddr, u8)> {
        let net = net?;
        let address = report.take(key, &Pattern::None, net.host(&suffix))?;
        Some((address, net.net().prefix_len()))
    };
    let six = |found: Option<(IpAddr, u8)>, single: bool| -> Option<Ipv6Net> {
        match found? {
            (IpAddr::V6(address), len) => {
                Some(pattern::v6(address, if single { 128 } else { len }))
            }
            (IpAddr::V4(_), _) => None,
        }
    };
    let four = |found: Option<(IpAddr, u8)>, single: bool| -> Option<Ipv4Net> {
        match found? {
            (IpAddr::V4(address), len) => Some(pattern::v4(address, if single { 32 } else { len })),
            (IpAddr::V6(_), _) => None,
        }
    };
    node.ipv6 = six(host("public_ipv6_pattern", nets.public_ipv6.as_ref()), false)
        .map(|net| Derived::new(net, &formulas.public_ipv6));
    node.ipv4 = four(host("public_ipv4_pattern", nets.public_ipv4.as_ref()), false)
        .map(|net| Derived::new(net, &formulas.public_ipv4));
    node.loopback_ipv6 = six(host("loopback_ipv6_pattern", nets.loopback_ipv6.as_ref()), true)
        .map(|net| Derived::new(net, &formulas.loopback_ipv6));
    node.loopback_ipv4 = four(host("loopback_ipv4_pattern", nets.loopback_ipv4.as_ref()), true)
        .map(|net| Derived::new(net, &formulas.loopback_ipv4));
    node.link_local = format!("fe80::{}:{suffix}", cluster.tenant_id)
        .parse::<Ipv6Addr>()
        .ok()
        .map(|address| Derived::new(pattern::v6(address, 64), &formulas.link_local));
    if report.cluster.node_gua {
        node.gua = cluster.delegated.as_ref().and_then(|delegated| {
            let host = u128::from_str_radix(&suffix, 16).ok()?;
            let net = delegated.value;
            let address = Ipv6Addr::from(u128::from(net.network()) | host);
            let gua = pattern::v6(address, net.prefix_len());
            net.contains(&address).then(|| Derived::new(gua, &formulas.gua))
        });
    }
    node
}
