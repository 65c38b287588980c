//! Everything of a cluster that is not one of its nodes.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::node;
use super::report::Report;
use crate::finding::{Code, Finding};
use crate::id::{VlanId, Vni};
use crate::input::{ClusterInput, Scheme, SiteInput, VipSupport, VnetInput};
use crate::pattern::{Family, HostNet, Pattern};
use crate::plan::{ClusterPlan, Derived, NodePlan, Role};

/// Texts of formulas, made once for a site.
pub(super) struct Formulas {
    pub(super) controlplane_name: Arc<str>,
    pub(super) worker_name: Arc<str>,
    pub(super) controlplane_suffix: Arc<str>,
    pub(super) worker_suffix: Arc<str>,
    pub(super) vmid: Arc<str>,
    pub(super) uuid: Arc<str>,
    pub(super) mac: Arc<str>,
    pub(super) asn: Arc<str>,
    pub(super) link_local: Arc<str>,
    pub(super) public_ipv6: Arc<str>,
    pub(super) public_ipv4: Arc<str>,
    pub(super) loopback_ipv6: Arc<str>,
    pub(super) loopback_ipv4: Arc<str>,
    pub(super) gua: Arc<str>,
    vnet: Arc<str>,
    vni: Arc<str>,
    vlan: Arc<str>,
}

impl Formulas {
    pub(super) fn new(scheme: &Scheme) -> Self {
        let host = |pattern: &Pattern, len: &str| -> Arc<str> {
            match pattern {
                Pattern::Subnet { .. } => {
                    format!("subnet <id> of {pattern}, host <suffix>{len}").into()
                }
                _ => format!("{}<suffix>{len}", pattern.to_string().replace("%d", "<id>")).into(),
            }
        };
        Self {
            controlplane_name: "cluster_name + cp + %02d of the number".into(),
            worker_name: "cluster_name + wk + %02d of the number".into(),
            controlplane_suffix: format!("{} + index", scheme.controlplane_offset).into(),
            worker_suffix: format!("{} + index", scheme.worker_offset).into(),
            vmid: "cluster_id * 1000 + suffix".into(),
            uuid: "UUID v5 of (site, cluster_id, suffix)".into(),
            mac: "local MAC of (site, cluster_id, suffix, card)".into(),
            asn: format!("{} + <id> * 1000 + suffix", scheme.asn_base).into(),
            link_local: "fe80::<id>:<suffix>/64".into(),
            public_ipv6: host(&scheme.public_ipv6, "/64"),
            public_ipv4: host(&scheme.public_ipv4, "/24"),
            loopback_ipv6: host(&scheme.loopback_ipv6, "/128"),
            loopback_ipv4: host(&scheme.loopback_ipv4, "/32"),
            gua: "delegated prefix of the VNet, host <suffix>".into(),
            vnet: "vnet<id>".into(),
            vni: format!("{} + <id>", scheme.vxlan_base).into(),
            vlan: "<id>".into(),
        }
    }
}

/// Host prefixes of one cluster.
pub(super) struct Nets {
    pub(super) public_ipv6: Option<HostNet>,
    pub(super) public_ipv4: Option<HostNet>,
    pub(super) loopback_ipv6: Option<HostNet>,
    pub(super) loopback_ipv4: Option<HostNet>,
}

fn nets(scheme: &Scheme, cluster: &ClusterInput, report: &mut Report<'_>) -> Nets {
    let id = cluster.tenant_id;
    let mut net = |key: &str, pattern: &Pattern, family| {
        report.take(key, pattern, pattern.hosts(family, id)).flatten()
    };
    Nets {
        public_ipv6: net("public_ipv6_pattern", &scheme.public_ipv6, Family::Ipv6),
        public_ipv4: net("public_ipv4_pattern", &scheme.public_ipv4, Family::Ipv4),
        loopback_ipv6: net("loopback_ipv6_pattern", &scheme.loopback_ipv6, Family::Ipv6),
        loopback_ipv4: net("loopback_ipv4_pattern", &scheme.loopback_ipv4, Family::Ipv4),
    }
}

pub(super) fn plan(
    site: &SiteInput,
    cluster: &ClusterInput,
    formulas: &Formulas,
    findings: &mut Vec<Finding>,
) -> ClusterPlan {
    let mut report = Report { cluster, findings };
    let scheme = &site.scheme;
    let nets = nets(scheme, cluster, &mut report);
    let id = cluster.tenant_id;
    let vnet = Derived::new(format!("vnet{id}"), &formulas.vnet);
    let bridge = bridge(cluster, &vnet);
    let by_hand = site.vnets.iter().find(|candidate| candidate.id == bridge.value);
    let delegated = site.delegated.get(&bridge.value).or_else(|| site.delegated.get(&vnet.value));
    let vlan = VlanId::new(u64::from(id.get())).ok();
    let card_vlan = match (cluster.attachment.use_sdn, cluster.attachment.vlan) {
        (true, _) => None,
        (false, Some(vlan)) => Some(Derived::new(vlan, &"network.vlan_public".into())),
        (false, None) => vlan.map(|vlan| Derived::new(vlan, &formulas.vlan)),
    };
    let mut plan = ClusterPlan {
        id: cluster.id,
        tenant_id: id,
        name: cluster.name.clone(),
        managed: cluster.managed,
        vni: vni(scheme, cluster, by_hand, formulas, &mut report),
        vlan: vlan.map(|vlan| Derived::new(vlan, &formulas.vlan)),
        card_vlan,
        mtu: mtu(site, cluster),
        public_ipv6: net_v6(nets.public_ipv6.as_ref(), &scheme.public_ipv6),
        public_ipv4: net_v4(nets.public_ipv4.as_ref(), &scheme.public_ipv4),
        loopback_ipv6: net_v6(nets.loopback_ipv6.as_ref(), &scheme.loopback_ipv6),
        loopback_ipv4: net_v4(nets.loopback_ipv4.as_ref(), &scheme.loopback_ipv4),
        delegated: delegated
            .map(|delegated| Derived::new(delegated.prefix, &"delegated_prefixes".into())),
        gateway_ipv6: None,
        gateway_ipv4: None,
        vips: Vec::new(),
        endpoint: None,
        cert_sans: Vec::new(),
        pods: ranges("pods", [&scheme.pods_ipv6, &scheme.pods_ipv4], &mut report),
        services: ranges("services", [&scheme.services_ipv6, &scheme.services_ipv4], &mut report),
        load_balancers: ranges(
            "loadbalancers",
            [&scheme.loadbalancers_ipv6, &scheme.loadbalancers_ipv4],
            &mut report,
        ),
        valid_subnets: Vec::new(),
        advertised_subnets: Vec::new(),
        schedulable_controlplanes: cluster.workers == 0,
        nodes: Vec::new(),
        bridge,
        vnet,
    };
    gateways(&mut plan, &nets, by_hand, &mut report);
    if cluster.managed {
        vips(&mut plan, scheme, &nets, &mut report);
        plan.nodes = node::plan(site, &nets, &plan, formulas, &mut report);
        plan.endpoint = endpoint(cluster, &plan);
        plan.cert_sans = sans(cluster, &plan);
        subnets(cluster, &mut plan);
    }
    plan
}

fn bridge(cluster: &ClusterInput, vnet: &Derived<String>) -> Derived<String> {
    match (&cluster.attachment.bridge, cluster.attachment.use_sdn) {
        (Some(bridge), true) => Derived::new(bridge.clone(), &"network.bridge_mesh".into()),
        (Some(bridge), false) => Derived::new(bridge.clone(), &"network.bridge_public".into()),
        (None, true) => vnet.clone(),
        (None, false) => Derived::new("vmbr0".to_owned(), &"vmbr0".into()),
    }
}

fn vni(
    scheme: &Scheme,
    cluster: &ClusterInput,
    by_hand: Option<&VnetInput>,
    formulas: &Formulas,
    report: &mut Report<'_>,
) -> Option<Derived<Vni>> {
    if !cluster.attachment.use_sdn {
        return None;
    }
    if let Some(vni) = by_hand.and_then(|vnet| vnet.vni) {
        return Some(Derived::new(vni, &"vnets: vxlan_id".into()));
    }
    let number = u64::from(scheme.vxlan_base) + u64::from(cluster.tenant_id.get());
    match Vni::new(number) {
        Ok(vni) => Some(Derived::new(vni, &formulas.vni)),
        Err(error) => {
            let subject = format!("cluster {}", cluster.name);
            report.push(Code::Tag, subject, error.to_string(), "give the VNet a `vxlan_id`");
            None
        }
    }
}

fn mtu(site: &SiteInput, cluster: &ClusterInput) -> Option<Derived<u32>> {
    let key = if cluster.attachment.use_sdn { "network.mesh_mtu" } else { "network.public_mtu" };
    match cluster.attachment.mtu {
        Some(mtu) => Some(Derived::new(mtu, &key.into())),
        None if cluster.attachment.use_sdn => {
            site.zone.mtu.map(|mtu| Derived::new(mtu, &"MTU of the zone".into()))
        }
        None => None,
    }
}

fn net_v6(net: Option<&HostNet>, pattern: &Pattern) -> Option<Derived<Ipv6Net>> {
    match net?.net() {
        IpNet::V6(net) => Some(Derived::new(net, &formula(pattern))),
        IpNet::V4(_) => None,
    }
}

fn net_v4(net: Option<&HostNet>, pattern: &Pattern) -> Option<Derived<Ipv4Net>> {
    match net?.net() {
        IpNet::V4(net) => Some(Derived::new(net, &formula(pattern))),
        IpNet::V6(_) => None,
    }
}

fn formula(pattern: &Pattern) -> Arc<str> {
    match pattern {
        Pattern::Subnet { .. } => format!("subnet <id> of {pattern}").into(),
        _ => pattern.to_string().replace("%d", "<id>").into(),
    }
}

fn ranges(key: &str, patterns: [&Pattern; 2], report: &mut Report<'_>) -> Vec<Derived<IpNet>> {
    let id = report.cluster.tenant_id;
    let families = [(Family::Ipv6, "ipv6"), (Family::Ipv4, "ipv4")];
    let mut found = Vec::new();
    for (pattern, (family, word)) in patterns.into_iter().zip(families) {
        let key = format!("{key}_{word}_pattern");
        if let Some(Some(net)) = report.take(&key, pattern, pattern.range(family, id)) {
            found.push(Derived::new(net, &formula(pattern)));
        }
    }
    found
}

fn gateways(
    plan: &mut ClusterPlan,
    nets: &Nets,
    by_hand: Option<&VnetInput>,
    report: &mut Report<'_>,
) {
    let hand = |key: &str| -> Arc<str> { format!("vnets: {key}").into() };
    plan.gateway_ipv6 = match by_hand.and_then(|vnet| vnet.gateway_v6) {
        Some(address) => Some(Derived::new(address, &hand("ipv6_gateway"))),
        None => nets.public_ipv6.as_ref().and_then(|net| {
            let pattern = Pattern::None;
            match report.take("public_ipv6_pattern", &pattern, net.gateway())? {
                IpAddr::V6(address) => {
                    Some(Derived::new(address, &"fffe of the public prefix".into()))
                }
                IpAddr::V4(_) => None,
            }
        }),
    };
    plan.gateway_ipv4 = match by_hand.and_then(|vnet| vnet.gateway_v4) {
        Some(address) => Some(Derived::new(address, &hand("ipv4_gateway"))),
        None => nets.public_ipv4.as_ref().and_then(|net| {
            let pattern = Pattern::None;
            match report.take("public_ipv4_pattern", &pattern, net.gateway())? {
                IpAddr::V4(address) => {
                    Some(Derived::new(address, &"last host of the public prefix".into()))
                }
                IpAddr::V6(_) => None,
            }
        }),
    };
}

fn vips(plan: &mut ClusterPlan, scheme: &Scheme, nets: &Nets, report: &mut Report<'_>) {
    let cluster = report.cluster;
    if !cluster.use_vip {
        return;
    }
    let families = [
        (&nets.public_ipv6, "vip_ipv6_suffix", scheme.vip_ipv6_suffix),
        (&nets.public_ipv4, "vip_ipv4_suffix", scheme.vip_ipv4_suffix),
    ];
    for (net, key, suffix) in families {
        let Some(net) = net else { continue };
        let address = report.take(key, &Pattern::None, net.host(&suffix.to_string()));
        if let Some(address) = address {
            plan.vips.push(Derived::new(address, &format!("public prefix, host {key}").into()));
        }
    }
    if cluster.vip_support == VipSupport::OnePerLink {
        plan.vips.truncate(1);
    }
}

fn url(address: IpAddr) -> String {
    match address {
        IpAddr::V6(address) => format!("https://[{address}]:6443"),
        IpAddr::V4(address) => format!("https://{address}:6443"),
    }
}

fn first_address(node: &NodePlan) -> Option<IpAddr> {
    let six = node.ipv6.as_ref().map(|net| IpAddr::V6(net.value.addr()));
    six.or_else(|| node.ipv4.as_ref().map(|net| IpAddr::V4(net.value.addr())))
}

fn endpoint(cluster: &ClusterInput, plan: &ClusterPlan) -> Option<Derived<String>> {
    if let Some(endpoint) = &cluster.endpoint {
        let formula: Arc<str> = "network.cluster_endpoint".into();
        let text =
            if endpoint.contains("://") { endpoint.clone() } else { format!("https://{endpoint}") };
        return Some(Derived::new(text, &formula));
    }
    if let Some(vip) = plan.vips.first() {
        return Some(Derived::new(url(vip.value), &"first virtual address, port 6443".into()));
    }
    let address = plan.nodes.first().and_then(first_address)?;
    Some(Derived::new(url(address), &"first control plane, port 6443".into()))
}

/// The host of an endpoint, without scheme, port and brackets.
fn endpoint_host(endpoint: &str) -> &str {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let rest = rest.split('/').next().unwrap_or(rest);
    if let Some(inner) = rest.strip_prefix('[') {
        return inner.split(']').next().unwrap_or(inner);
    }
    rest.rsplit_once(':').map_or(rest, |(host, _)| host)
}

fn sans(cluster: &ClusterInput, plan: &ClusterPlan) -> Vec<Derived<String>> {
    let mut sans: Vec<Derived<String>> = Vec::new();
    let mut add = |text: String, formula: &str| {
        if !text.is_empty() && sans.iter().all(|san| san.value != text) {
            sans.push(Derived { value: text, formula: formula.into() });
        }
    };
    for vip in &plan.vips {
        add(vip.value.to_string(), "virtual address");
    }
    if let Some(endpoint) = &plan.endpoint {
        add(endpoint_host(&endpoint.value).to_owned(), "host of the endpoint");
    }
    let controlplanes = || plan.nodes.iter().filter(|node| node.role == Role::ControlPlane);
    for node in controlplanes() {
        let six = [&node.ipv6, &node.gua].into_iter().flatten();
        six.for_each(|net| add(net.value.addr().to_string(), "address of a control plane"));
        let four = node.ipv4.iter();
        four.for_each(|net| add(net.value.addr().to_string(), "address of a control plane"));
        if cluster.routing {
            let six = node.loopback_ipv6.iter().map(|net| net.value.addr().to_string());
            let four = node.loopback_ipv4.iter().map(|net| net.value.addr().to_string());
            six.chain(four).for_each(|text| add(text, "loopback of a control plane"));
        }
    }
    for node in controlplanes() {
        add(node.name.value.clone(), "name of a control plane");
        if let Some(domain) = &cluster.domain {
            add(format!("{}.{domain}", node.name.value), "name of a control plane in its domain");
        }
    }
    sans
}

fn subnets(cluster: &ClusterInput, plan: &mut ClusterPlan) {
    let (six, four, formula): (_, _, Arc<str>) = if cluster.routing {
        (&plan.loopback_ipv6, &plan.loopback_ipv4, "loopbacks, since nodes route".into())
    } else {
        (&plan.public_ipv6, &plan.public_ipv4, "public prefixes".into())
    };
    let six = six.as_ref().map(|net| IpNet::V6(net.value));
    let four = four.as_ref().map(|net| IpNet::V4(net.value));
    let found: Vec<Derived<IpNet>> =
        six.into_iter().chain(four).map(|net| Derived::new(net, &formula)).collect();
    plan.valid_subnets.clone_from(&found);
    plan.advertised_subnets = found;
}
