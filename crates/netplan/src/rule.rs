//! Rules that look at one cluster at a time.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::finding::{Code, Finding, Owner, Severity};
use crate::input::{ClusterInput, SiteInput};
use crate::plan::{ClusterPlan, SitePlan};

/// Least MTU of a link that carries IPv6.
const IPV6_MTU_MIN: u32 = 1280;
/// Least MTU of a link that carries IPv4.
const IPV4_MTU_MIN: u32 = 576;
/// Largest MTU that Proxmox VE takes.
const MTU_MAX: u32 = 65_520;
/// What VXLAN adds to a packet on IPv4.
const VXLAN_OVERHEAD: u32 = 50;
/// Bits of a node's share of a pod range.
const POD_SHARE_V4: u8 = 24;
const POD_SHARE_V6: u8 = 64;

struct Context<'a> {
    site: &'a SiteInput,
    input: &'a ClusterInput,
    plan: &'a ClusterPlan,
    findings: &'a mut Vec<Finding>,
}

impl Context<'_> {
    fn push(&mut self, code: Code, severity: Severity, message: String, help: String) {
        self.findings.push(Finding {
            code,
            severity,
            subject: format!("cluster {}", self.input.name),
            message,
            help,
            owner: Owner {
                what: format!("cluster {}", self.input.name),
                cluster: Some(self.input.name.to_string()),
                origin: self.input.origin.clone(),
            },
            other: None,
        });
    }

    fn error(&mut self, code: Code, message: String, help: &str) {
        self.push(code, Severity::Error, message, help.to_owned());
    }
}

pub(crate) fn check(site: &SiteInput, plan: &SitePlan, findings: &mut Vec<Finding>) {
    for (input, plan) in site.clusters.iter().zip(&plan.clusters) {
        if !input.managed {
            continue;
        }
        let mut context = Context { site, input, plan, findings };
        counts(&mut context);
        families(&mut context);
        asn_range(&mut context);
        pod_capacity(&mut context);
        service_range(&mut context);
        mtu(&mut context);
        vnet_subnet(&mut context);
        delegated(&mut context);
    }
}

fn counts(context: &mut Context<'_>) {
    let count = context.input.controlplanes;
    if count == 0 {
        let help = "set `controlplanes` to 1 or 3; leave the key out of a cluster that is not ours";
        context.error(Code::NoControlPlane, "`controlplanes` is 0".to_owned(), help);
    } else if count.is_multiple_of(2) {
        let message = format!(
            "{count} control planes survive the loss of no more nodes than {} do",
            count - 1
        );
        let help = "an odd number is usual".to_owned();
        context.push(Code::EvenControlPlanes, Severity::Info, message, help);
    }
}

fn families(context: &mut Context<'_>) {
    let scheme = &context.site.scheme;
    if scheme.public_ipv6.is_none() && scheme.public_ipv4.is_none() {
        let help = "set `public_ipv6_pattern` or `public_ipv4_pattern`";
        context.error(Code::NoAddress, "nodes have no address of any family".to_owned(), help);
        return;
    }
    let pods = (!scheme.pods_ipv6.is_none(), !scheme.pods_ipv4.is_none());
    let services = (!scheme.services_ipv6.is_none(), !scheme.services_ipv4.is_none());
    if pods == (false, false) || services == (false, false) {
        let help = "set the patterns of pods and services for at least one family";
        let message = "there is no range for pods or for services".to_owned();
        context.error(Code::Families, message, help);
        return;
    }
    if services.0 && !pods.0 || services.1 && !pods.1 {
        let help = "set the patterns of pods and services for the same families";
        let message = "services have a family that pods do not have".to_owned();
        context.error(Code::Families, message, help);
    }
}

fn asn_range(context: &mut Context<'_>) {
    let plan = context.plan;
    let missing = plan.nodes.iter().find(|node| match &node.asn {
        Some(asn) => !asn.value.is_private(),
        None => true,
    });
    if let Some(node) = missing {
        let message = format!(
            "AS number of {} is {}, outside of 4200000000 to 4294967294",
            node.name.value,
            node.asn.as_ref().map_or_else(|| "too large".to_owned(), |asn| asn.value.to_string())
        );
        context.error(Code::AsnRange, message, "set `bgp.asn_base` to 4210000000");
    }
}

fn pod_capacity(context: &mut Context<'_>) {
    let plan = context.plan;
    let scheme = &context.site.scheme;
    let nodes = u128::from(context.input.controlplanes) + u128::from(context.input.workers);
    for net in &plan.pods {
        let (share, key, pattern) = match net.value {
            IpNet::V6(_) => (POD_SHARE_V6, "pods_ipv6_pattern", &scheme.pods_ipv6),
            IpNet::V4(_) => (POD_SHARE_V4, "pods_ipv4_pattern", &scheme.pods_ipv4),
        };
        let bits = share.checked_sub(net.value.prefix_len());
        let capacity =
            bits.map_or(0, |bits| 1_u128.checked_shl(u32::from(bits)).unwrap_or(u128::MAX));
        if nodes > capacity {
            let message = format!(
                "{} holds {capacity} nodes (a /{share} each), the cluster has {nodes}",
                net.value
            );
            let help =
                format!("give `{key}` a shorter prefix (it is `{pattern}`), or lower the counts");
            context.push(Code::PodCapacity, Severity::Error, message, help);
        }
    }
}

fn service_range(context: &mut Context<'_>) {
    for net in &context.plan.services {
        // The API server keeps a bitmap of at most 20 bits.
        let bits = net.value.max_prefix_len() - net.value.prefix_len();
        if !(3..=20).contains(&bits) {
            let message = format!("{} leaves {bits} bits, 3 to 20 are possible", net.value);
            context.error(Code::ServiceRange, message, "use /112 for IPv6 and /24 for IPv4");
        }
    }
}

fn mtu(context: &mut Context<'_>) {
    let (input, plan, zone) = (context.input, context.plan, &context.site.zone);
    let least = if plan.public_ipv6.is_some() { IPV6_MTU_MIN } else { IPV4_MTU_MIN };
    if let Some(mtu) = &plan.mtu
        && !(least..=MTU_MAX).contains(&mtu.value)
    {
        let message = format!("an MTU of {} is not between {least} and {MTU_MAX}", mtu.value);
        context.error(Code::Mtu, message, "IPv6 needs 1280 at least");
    }
    if !input.attachment.use_sdn {
        return;
    }
    if let (Some(mtu), Some(limit)) = (&plan.mtu, zone.mtu)
        && mtu.value > limit
    {
        let message = format!("cards have an MTU of {}, the zone carries {limit}", mtu.value);
        let help = "lower `network.mesh_mtu`, or raise the zone's `mtu`";
        context.error(Code::Mtu, message, help);
    }
    if let (Some(limit), Some(underlay)) = (zone.mtu, input.attachment.underlay_mtu)
        && limit + VXLAN_OVERHEAD > underlay
    {
        let message = format!(
            "the zone's MTU of {limit} and {VXLAN_OVERHEAD} bytes of VXLAN exceed {underlay} below"
        );
        let help = "lower the zone's `mtu`, or raise the MTU of the interfaces below".to_owned();
        context.push(Code::Mtu, Severity::Error, message, help);
    }
}

fn vnet_subnet(context: &mut Context<'_>) {
    let plan = context.plan;
    if !context.input.attachment.use_sdn {
        return;
    }
    let Some(vnet) = context.site.vnets.iter().find(|vnet| vnet.id == plan.bridge.value) else {
        return;
    };
    let pairs: [(Option<IpNet>, Option<IpNet>); 2] = [
        (vnet.ipv6.map(IpNet::V6), plan.public_ipv6.as_ref().map(|net| IpNet::V6(net.value))),
        (vnet.ipv4.map(IpNet::V4), plan.public_ipv4.as_ref().map(|net| IpNet::V4(net.value))),
    ];
    for (given, nodes) in pairs {
        if let (Some(given), Some(nodes)) = (given, nodes)
            && given.trunc() != nodes
        {
            let message = format!("{} has the subnet {given}, its nodes are in {nodes}", vnet.id);
            let help = "correct the VNet's subnet, or the pattern of public addresses";
            context.error(Code::VnetSubnet, message, help);
        }
    }
    let gateways: [(Option<IpAddr>, Option<IpNet>); 2] = [
        (vnet.gateway_v6.map(IpAddr::V6), vnet.ipv6.map(IpNet::V6)),
        (vnet.gateway_v4.map(IpAddr::V4), vnet.ipv4.map(IpNet::V4)),
    ];
    for (gateway, subnet) in gateways {
        if let (Some(gateway), Some(subnet)) = (gateway, subnet)
            && !subnet.contains(&gateway)
        {
            let message = format!("the gateway {gateway} of {} is not in {subnet}", vnet.id);
            context.error(Code::VnetSubnet, message, "correct the gateway or the subnet");
        }
    }
}

fn delegated(context: &mut Context<'_>) {
    if context.input.node_gua && context.plan.delegated.is_none() {
        let message = format!("`node_gua` is set, but {} has no prefix", context.plan.bridge.value);
        context.error(Code::Delegated, message, "add the VNet to `delegated_prefixes`");
    }
}
