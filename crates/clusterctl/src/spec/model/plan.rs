//! The plan of numbers and addresses, and its findings as diagnostics of the tree.

use std::net::IpAddr;

use ipnet::IpNet;
use netplan::input::{Attachment, VipSupport, VnetInput, ZoneInput};
use netplan::{ClusterId, ClusterInput, Severity, SiteInput, SitePlan, TenantId, VlanId, Vni};

use super::common::Context;
use super::diagnostic::{Diagnostic, Level};
use super::file::File;
use super::identity::Identity;
use super::network;
use super::tree::Gathered;
use crate::spec::hcl::Place;
use crate::spec::site::{Sdn, Site, Versions};

/// One cluster as `netplan` sees it; none when its identity is not usable.
pub(super) fn cluster(
    file: &File,
    identity: &Identity,
    versions: Option<&Versions>,
    shared: (bool, Option<&str>),
    gathered: &mut Gathered,
) -> Option<ClusterInput> {
    let id = ClusterId::new(u64::from(identity.id?)).ok()?;
    let name = identity.name.as_deref()?.parse().ok()?;
    let mut count = |name: &str| network::number::<u16>(file, &[name], gathered).unwrap_or(0);
    let (controlplanes, workers) = (count("controlplanes"), count("workers"));
    let mut input = ClusterInput::new(id, name, controlplanes, workers);
    if let Some(tenant) = identity.tenant.and_then(|tenant| TenantId::new(u64::from(tenant)).ok()) {
        input.tenant_id = tenant;
    }
    input.origin = file.folder.as_ref().map(|folder| format!("clusters/{folder}/cluster.hcl"));
    input.managed = identity.managed;
    let use_sdn = file.flag(&["network", "use_sdn"]).unwrap_or(false);
    let (bridge, mtu) =
        if use_sdn { ("bridge_mesh", "mesh_mtu") } else { ("bridge_public", "public_mtu") };
    let vlan = network::number::<u64>(file, &["network", "vlan_public"], gathered);
    let place = file.place(&["network", "vlan_public"]);
    input.attachment = Attachment {
        use_sdn,
        bridge: file.text(&["network", bridge]),
        vlan: vlan.and_then(|vlan| vlan_of(vlan, place.as_ref(), gathered)),
        mtu: network::number(file, &["network", mtu], gathered),
        underlay_mtu: None,
    };
    input.use_vip = file.flag(&["network", "use_vip"]).unwrap_or(true);
    input.node_gua = file.flag(&["network", "node_gua"]).unwrap_or(false);
    input.endpoint = file.text(&["network", "cluster_endpoint"]);
    let each =
        versions.is_some_and(|versions| (versions.talos.major, versions.talos.minor) >= (1, 12));
    input.vip_support = if each { VipSupport::OnePerFamily } else { VipSupport::OnePerLink };
    (input.routing, input.domain) = (shared.0, shared.1.map(str::to_owned));
    Some(input)
}

fn vlan_of(vlan: u64, place: Option<&Place>, gathered: &mut Gathered) -> Option<VlanId> {
    VlanId::new(vlan).map_err(|error| gathered.error("tree-0031", error.to_string(), place)).ok()
}

/// The site as `netplan` sees it.
pub(super) fn input(
    context: &Context<'_>,
    site: &str,
    clusters: Vec<ClusterInput>,
    sdn: Option<&Sdn>,
    gathered: &mut Gathered,
) -> SiteInput {
    let mut input = SiteInput::new(site);
    input.scheme = network::scheme(context, gathered);
    input.delegated = network::delegated(context, gathered);
    input.clusters = clusters;
    let (file, vnets) = network::vnets(context, gathered);
    let relative = |file: &File| {
        let path = file.path.strip_prefix(context.live).unwrap_or(&file.path);
        Some(path.display().to_string())
    };
    for vnet in vnets.values() {
        let subnet = |six: bool| {
            vnet.subnets.iter().find(|subnet| matches!(subnet.cidr, IpNet::V6(_)) == six)
        };
        let vlan = network::number::<u64>(file, &["vnets", &vnet.id, "vlan_id"], gathered);
        let place = file.place(&["vnets", &vnet.id, "vlan_id"]);
        input.vnets.push(VnetInput {
            id: vnet.id.clone(),
            origin: relative(file),
            vni: vnet.tag.and_then(|tag| Vni::new(u64::from(tag)).ok()),
            vlan: vlan.and_then(|vlan| vlan_of(vlan, place.as_ref(), gathered)),
            ipv4: subnet(false).and_then(|subnet| match subnet.cidr {
                IpNet::V4(net) => Some(net),
                IpNet::V6(_) => None,
            }),
            ipv6: subnet(true).and_then(|subnet| match subnet.cidr {
                IpNet::V6(net) => Some(net),
                IpNet::V4(_) => None,
            }),
            gateway_v4: subnet(false).and_then(|subnet| match subnet.gateway {
                Some(IpAddr::V4(address)) => Some(address),
                _ => None,
            }),
            gateway_v6: subnet(true).and_then(|subnet| match subnet.gateway {
                Some(IpAddr::V6(address)) => Some(address),
                _ => None,
            }),
        });
    }
    if let Some(sdn) = sdn {
        input.zone = ZoneInput {
            mtu: sdn.mtu.map(u32::from),
            vrf_vni: sdn.vrf_vxlan.and_then(|tag| Vni::new(u64::from(tag)).ok()),
            origin: Some("common/0-sdn-setup/sdn.hcl".to_owned()),
        };
    }
    input
}

/// Tells the findings of a plan at the files that they come from.
pub(super) fn tell(context: &Context<'_>, plan: &SitePlan, gathered: &mut Gathered) {
    for finding in &plan.findings {
        let level = match finding.severity {
            Severity::Info => Level::Info,
            Severity::Warning => Level::Warning,
            Severity::Error => Level::Error,
        };
        let sources = gathered.sources();
        let place = |owner: &netplan::Owner| -> Option<Place> {
            let origin = owner.origin.as_ref()?;
            let path = context.live.join(origin);
            let file = context.tree.clusters.iter().find(|file| file.path == path);
            let key = match finding.code {
                netplan::Code::ClusterName => "cluster_name",
                netplan::Code::PodCapacity | netplan::Code::Suffix => "workers",
                netplan::Code::NoControlPlane
                | netplan::Code::EvenControlPlanes
                | netplan::Code::Offset => "controlplanes",
                _ => "cluster_id",
            };
            Some(file.and_then(|file| file.place(&[key])).unwrap_or(Place {
                file: path,
                start: 0,
                end: 0,
            }))
        };
        // The message of a conflict names its subject itself.
        let text = match &finding.other {
            Some(_) => finding.message.clone(),
            None => format!("{}: {}", finding.subject, finding.message),
        };
        let first = place(&finding.owner).or_else(|| place(finding.other.as_ref()?));
        let mut diagnostic = Diagnostic::new(level, finding.code.as_str(), text)
            .help(finding.help.clone())
            .at(first.as_ref(), &sources);
        if let Some(other) = &finding.other
            && let Some(place) = place(other)
        {
            diagnostic = diagnostic.related(sources.locate(&place), other.what.clone());
        }
        gathered.diagnostics.push(diagnostic);
    }
}

/// Fills the VNets of clusters that nobody described, with the addresses of the plan.
pub(super) fn default_vnets(site: &mut Site, plan: &SitePlan) {
    use crate::spec::site::{Subnet, Vnet};
    let Some(sdn) = &mut site.sdn else { return };
    for (cluster, planned) in site.clusters.iter().zip(&plan.clusters) {
        if !cluster.segment.use_sdn || sdn.vnets.contains_key(&cluster.segment.bridge) {
            continue;
        }
        let six = planned.public_ipv6.as_ref().map(|net| Subnet {
            cidr: IpNet::V6(net.value),
            gateway: planned.gateway_ipv6.as_ref().map(|gateway| IpAddr::V6(gateway.value)),
        });
        let four = planned.public_ipv4.as_ref().map(|net| Subnet {
            cidr: IpNet::V4(net.value),
            gateway: planned.gateway_ipv4.as_ref().map(|gateway| IpAddr::V4(gateway.value)),
        });
        let id = cluster.segment.bridge.clone();
        sdn.vnets.insert(
            id.clone(),
            Vnet {
                id,
                tag: planned.vni.as_ref().map(|tag| tag.value.get()),
                alias: Some(cluster.name.clone()),
                subnets: six.into_iter().chain(four).collect(),
            },
        );
    }
}
