//! What a plan is made from.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::id::{Asn, ClusterId, ClusterName, TenantId, VlanId, Vni};
use crate::pattern::Pattern;

/// How numbers become addresses: shared by all clusters of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheme {
    /// Host part of the control plane's virtual IPv4 address.
    pub vip_ipv4_suffix: u16,
    /// Host part of the control plane's virtual IPv6 address; its digits are written as they are.
    pub vip_ipv6_suffix: u16,
    /// Suffix of the first control plane.
    pub controlplane_offset: u16,
    /// Suffix of the first worker.
    pub worker_offset: u16,
    /// What AS numbers are counted from.
    pub asn_base: u32,
    /// What VXLAN tags are counted from.
    pub vxlan_base: u32,
    /// Addresses of nodes.
    pub public_ipv6: Pattern,
    /// Addresses of nodes.
    pub public_ipv4: Pattern,
    /// Loopbacks of nodes.
    pub loopback_ipv6: Pattern,
    /// Loopbacks of nodes.
    pub loopback_ipv4: Pattern,
    /// Pods.
    pub pods_ipv6: Pattern,
    /// Pods.
    pub pods_ipv4: Pattern,
    /// Services.
    pub services_ipv6: Pattern,
    /// Services.
    pub services_ipv4: Pattern,
    /// Load balancers.
    pub loadbalancers_ipv6: Pattern,
    /// Load balancers.
    pub loadbalancers_ipv4: Pattern,
}

impl Default for Scheme {
    /// Dual stack: `fd00:<id>::<suffix>` and `10.<id>.0.<suffix>`.
    fn default() -> Self {
        let text = |text: &str| Pattern::Text(text.to_owned());
        Self {
            vip_ipv4_suffix: 10,
            vip_ipv6_suffix: 10,
            controlplane_offset: 11,
            worker_offset: 21,
            asn_base: 4_210_000_000,
            vxlan_base: 10_000,
            public_ipv6: text("fd00:%d::"),
            public_ipv4: text("10.%d.0."),
            loopback_ipv6: text("fd00:255:%d::"),
            loopback_ipv4: text("10.255.%d."),
            pods_ipv6: text("fd00:%d:240::/60"),
            pods_ipv4: text("10.%d.240.0/20"),
            services_ipv6: text("fd00:%d:96::/112"),
            services_ipv4: text("10.%d.96.0/24"),
            loadbalancers_ipv6: text("fd00:%d:1b::/120"),
            loadbalancers_ipv4: text("10.%d.27.0/24"),
        }
    }
}

/// A site: everything that shares one address space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteInput {
    /// Its name: a part of every MAC address and UUID.
    pub name: String,
    /// How numbers become addresses.
    pub scheme: Scheme,
    /// The clusters.
    pub clusters: Vec<ClusterInput>,
    /// VNets that are described by hand, by name.
    pub vnets: Vec<VnetInput>,
    /// Delegated prefixes by VNet.
    pub delegated: BTreeMap<String, Delegated>,
    /// The zone of the VNets.
    pub zone: ZoneInput,
    /// Ranges and numbers that belong to others.
    pub reserved: Vec<Reserved>,
}

impl SiteInput {
    /// A site without clusters, with the default scheme.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            scheme: Scheme::default(),
            clusters: Vec::new(),
            vnets: Vec::new(),
            delegated: BTreeMap::new(),
            zone: ZoneInput::default(),
            reserved: Vec::new(),
        }
    }
}

/// One cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the tree")]
pub struct ClusterInput {
    /// Its identity.
    pub id: ClusterId,
    /// The number that its addresses use.
    pub tenant_id: TenantId,
    /// Its name; node names begin with it.
    pub name: ClusterName,
    /// Where it is described; conflicts name it.
    pub origin: Option<String>,
    /// Whether its nodes are planned. If not, its id, name and ranges are reserved all the same.
    pub managed: bool,
    /// Number of control planes.
    pub controlplanes: u16,
    /// Number of workers.
    pub workers: u16,
    /// How its nodes are attached.
    pub attachment: Attachment,
    /// Whether the control plane has virtual addresses.
    pub use_vip: bool,
    /// Virtual addresses that one link can have.
    pub vip_support: VipSupport,
    /// Whether nodes get an address of the delegated prefix.
    pub node_gua: bool,
    /// Whether nodes speak a routing protocol: loopbacks are then their addresses.
    pub routing: bool,
    /// Where the API is reached, when it is not the virtual address.
    pub endpoint: Option<String>,
    /// Domain of node names.
    pub domain: Option<String>,
}

impl ClusterInput {
    /// A cluster with defaults: on its own VNet, with virtual addresses, without routing.
    pub fn new(id: ClusterId, name: ClusterName, controlplanes: u16, workers: u16) -> Self {
        Self {
            id,
            tenant_id: id.into(),
            name,
            origin: None,
            managed: true,
            controlplanes,
            workers,
            attachment: Attachment::default(),
            use_vip: true,
            vip_support: VipSupport::OnePerLink,
            node_gua: false,
            routing: false,
            endpoint: None,
            domain: None,
        }
    }
}

/// Virtual addresses that one link can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VipSupport {
    /// One: the IPv6 one where both families exist (Talos 1.11).
    OnePerLink,
    /// One for each family (Talos 1.12 and later).
    OnePerFamily,
}

/// How the first card of each node is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Whether it is on a VNet (`bridge_mesh`), untagged; else on `bridge_public` with a tag.
    pub use_sdn: bool,
    /// The bridge, when it is not the default: the cluster's VNet, or `vmbr0`.
    pub bridge: Option<String>,
    /// The tag on a bridge, when it is not the default: the cluster's number.
    pub vlan: Option<VlanId>,
    /// The card's MTU; none: the bridge's.
    pub mtu: Option<u32>,
    /// The MTU of what carries the VNets, where it is known.
    pub underlay_mtu: Option<u32>,
}

impl Default for Attachment {
    fn default() -> Self {
        Self { use_sdn: true, bridge: None, vlan: None, mtu: None, underlay_mtu: None }
    }
}

/// A VNet that is described by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VnetInput {
    /// Its id.
    pub id: String,
    /// Where it is described.
    pub origin: Option<String>,
    /// Its VXLAN tag.
    pub vni: Option<Vni>,
    /// Its VLAN tag.
    pub vlan: Option<VlanId>,
    /// Its IPv4 subnet.
    pub ipv4: Option<Ipv4Net>,
    /// Its IPv6 subnet.
    pub ipv6: Option<Ipv6Net>,
    /// Its IPv4 gateway.
    pub gateway_v4: Option<Ipv4Addr>,
    /// Its IPv6 gateway.
    pub gateway_v6: Option<Ipv6Addr>,
}

/// A prefix that the provider delegated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegated {
    /// The prefix.
    pub prefix: Ipv6Net,
    /// Its gateway.
    pub gateway: Option<Ipv6Addr>,
}

/// The zone of the VNets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneInput {
    /// Its MTU.
    pub mtu: Option<u32>,
    /// The VXLAN tag of its routing table.
    pub vrf_vni: Option<Vni>,
    /// Where it is described.
    pub origin: Option<String>,
}

/// Something that belongs to others and must not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// What it is, such as `management network`.
    pub what: String,
    /// Where it is described.
    pub origin: Option<String>,
    /// The thing itself.
    pub thing: ReservedThing,
}

/// A thing that may be reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReservedThing {
    /// A prefix.
    Prefix(IpNet),
    /// An AS number.
    Asn(Asn),
    /// A VXLAN tag.
    Vni(Vni),
    /// The id of a virtual machine.
    Vmid(crate::id::VmId),
}
