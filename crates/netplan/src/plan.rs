//! The plan: every number and address, each with the formula that gave it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::finding::{Finding, Severity};
use crate::id::{Asn, ClusterId, ClusterName, MacAddr, Suffix, TenantId, VlanId, VmId, Vni};

/// A value and how it came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derived<T> {
    /// The value.
    pub value: T,
    /// The formula, such as `cluster_id * 1000 + suffix`.
    pub formula: Arc<str>,
}

impl<T> Derived<T> {
    pub(crate) fn new(value: T, formula: &Arc<str>) -> Self {
        Self { value, formula: Arc::clone(formula) }
    }
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs etcd and the API server.
    ControlPlane,
    /// Runs work.
    Worker,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    /// Its name.
    pub name: Derived<String>,
    /// What it is for.
    pub role: Role,
    /// Its place among the nodes of the cluster, control planes first, from 0.
    pub index: u16,
    /// Last part of its addresses.
    pub suffix: Derived<Suffix>,
    /// Its virtual machine.
    pub vmid: Derived<VmId>,
    /// SMBIOS UUID.
    pub uuid: Derived<Uuid>,
    /// MAC address of its first card.
    pub mac: Derived<MacAddr>,
    /// Its AS number.
    pub asn: Option<Derived<Asn>>,
    /// Public IPv6 address.
    pub ipv6: Option<Derived<Ipv6Net>>,
    /// Public IPv4 address.
    pub ipv4: Option<Derived<Ipv4Net>>,
    /// Link-local address.
    pub link_local: Option<Derived<Ipv6Net>>,
    /// IPv6 loopback.
    pub loopback_ipv6: Option<Derived<Ipv6Net>>,
    /// IPv4 loopback.
    pub loopback_ipv4: Option<Derived<Ipv4Net>>,
    /// Address of the delegated prefix.
    pub gua: Option<Derived<Ipv6Net>>,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterPlan {
    /// Its identity.
    pub id: ClusterId,
    /// The number that its addresses use.
    pub tenant_id: TenantId,
    /// Its name.
    pub name: ClusterName,
    /// Whether its nodes are planned.
    pub managed: bool,
    /// Name of its VNet, whether it is on it or not.
    pub vnet: Derived<String>,
    /// Its VXLAN tag.
    pub vni: Option<Derived<Vni>>,
    /// Its VLAN tag.
    pub vlan: Option<Derived<VlanId>>,
    /// Bridge of the first card.
    pub bridge: Derived<String>,
    /// Tag of the first card; none on a VNet.
    pub card_vlan: Option<Derived<VlanId>>,
    /// MTU of the first card; none: the bridge's.
    pub mtu: Option<Derived<u32>>,
    /// Public IPv6 prefix.
    pub public_ipv6: Option<Derived<Ipv6Net>>,
    /// Public IPv4 prefix.
    pub public_ipv4: Option<Derived<Ipv4Net>>,
    /// Prefix of IPv6 loopbacks.
    pub loopback_ipv6: Option<Derived<Ipv6Net>>,
    /// Prefix of IPv4 loopbacks.
    pub loopback_ipv4: Option<Derived<Ipv4Net>>,
    /// Delegated prefix of its VNet.
    pub delegated: Option<Derived<Ipv6Net>>,
    /// IPv6 gateway.
    pub gateway_ipv6: Option<Derived<Ipv6Addr>>,
    /// IPv4 gateway.
    pub gateway_ipv4: Option<Derived<Ipv4Addr>>,
    /// Virtual addresses that are configured, IPv6 first.
    pub vips: Vec<Derived<IpAddr>>,
    /// Where the API is reached.
    pub endpoint: Option<Derived<String>>,
    /// Names and addresses for the API server's certificate.
    pub cert_sans: Vec<Derived<String>>,
    /// Pod ranges, IPv6 first.
    pub pods: Vec<Derived<IpNet>>,
    /// Service ranges, IPv6 first.
    pub services: Vec<Derived<IpNet>>,
    /// Load balancer ranges, IPv6 first.
    pub load_balancers: Vec<Derived<IpNet>>,
    /// Prefixes that the kubelet takes its addresses from, IPv6 first.
    pub valid_subnets: Vec<Derived<IpNet>>,
    /// Prefixes that etcd announces, IPv6 first.
    pub advertised_subnets: Vec<Derived<IpNet>>,
    /// Whether control planes take ordinary work, since there are no workers.
    pub schedulable_controlplanes: bool,
    /// Its nodes: control planes first.
    pub nodes: Vec<NodePlan>,
}

/// The whole site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SitePlan {
    /// Name of the site.
    pub name: String,
    /// Its clusters, in the order of the input.
    pub clusters: Vec<ClusterPlan>,
    /// Everything to know about it, the worst first.
    pub findings: Vec<Finding>,
}

impl SitePlan {
    /// Whether it can be carried out.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity < Severity::Error)
    }

    /// The cluster with a name.
    pub fn cluster(&self, name: &str) -> Option<&ClusterPlan> {
        self.clusters.iter().find(|cluster| cluster.name.as_str() == name)
    }
}
