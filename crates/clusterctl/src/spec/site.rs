//! The site: what the tree says, typed and complete, with every derived value.
//!
//! This is the one type that everything behind the tree works from. It is made by `spec::model`
//! (keys and their origins) and `netplan` (addresses and ids); nothing in it is "known later".
//! Secrets are not part of it: [`Credentials`] says where they come from.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use semver::Version;
use serde::Serialize;
use uuid::Uuid;

pub use super::patch::{Patch, PatchText};

/// Everything that the tree describes.
#[derive(Debug, Clone, Serialize)]
pub struct Site {
    /// Name of the site; part of every derived identity. Default `live`.
    pub name: String,
    /// The folder `live/`.
    pub live: PathBuf,
    /// The root of the repository that holds it.
    pub repo_root: PathBuf,
    /// The Proxmox cluster.
    pub proxmox: Proxmox,
    /// Where credentials come from.
    pub credentials: Credentials,
    /// Versions shared by all clusters.
    pub versions: Versions,
    /// Order of disruptive steps over clusters: canary first.
    pub rings: Vec<Vec<String>>,
    /// What is baked into images.
    pub schematic: SchematicSource,
    /// The stage `artifacts/extension`: an extension that is made here.
    pub extension: Option<ExtensionSource>,
    /// The stage `artifacts/images`.
    pub images: Images,
    /// The stage `artifacts/registry`.
    pub registry: Registry,
    /// The stage `common/0-sdn-setup`; none when no VNet is wanted.
    pub sdn: Option<Sdn>,
    /// Resolvers, time servers, mirrors and BGP.
    pub network: Network,
    /// The clusters, by folder name.
    pub clusters: Vec<Cluster>,
    /// Cluster folders that describe something else; their ids and ranges are reserved.
    pub unmanaged: Vec<Unmanaged>,
}

/// The Proxmox cluster as the tree sees it.
#[derive(Debug, Clone, Serialize)]
pub struct Proxmox {
    /// Node names, in the order in which virtual machines are spread over them.
    pub nodes: Vec<String>,
    /// Host names or addresses of nodes, where given: more endpoints to fail over to.
    pub hostnames: BTreeMap<String, String>,
    /// The node that is asked first.
    pub primary_node: Option<String>,
    /// `api_endpoint` of proxmox-infrastructure.hcl; the one among the credentials wins.
    pub api_endpoint: Option<String>,
    /// Storage for ISO files; none: the one shared storage with `iso` content.
    pub iso_storage: Option<String>,
    /// Storage for disks; none: the one shared storage with `images` content.
    pub vm_storage: Option<String>,
}

/// Where endpoint and token come from. The environment wins over all of them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Credentials {
    /// A SOPS file with `pve_endpoint`, `pve_api_token`, …
    pub secrets_file: Option<PathBuf>,
    /// An age key file inside the repository: for examples only.
    pub age_key_file: Option<PathBuf>,
    /// Keys that stand in `credentials.hcl` itself, by name; values of secret ones are not here.
    pub direct: BTreeMap<String, String>,
    /// Secret values that stand there, or that it takes from elsewhere; never written out.
    #[serde(skip)]
    pub secret: BTreeMap<String, secrecy::SecretString>,
    /// Why something of `credentials.hcl` is not known yet: it is encrypted.
    pub sealed: Option<String>,
}

/// Versions that images and configurations are made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// Talos, without the leading `v`.
    pub talos: Version,
    /// Kubernetes, without the leading `v`.
    pub kubernetes: Version,
    /// `nocloud`.
    pub platform: String,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// Cilium; needed when a cluster's CNI is Cilium.
    pub cilium: Option<Version>,
    /// Image of the cilium command line, for the install Job.
    pub cilium_cli_image: Option<String>,
}

/// What is baked into images.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SchematicSource {
    /// `install_system_extensions`: image references as written.
    pub system_extensions: Vec<String>,
    /// `install_custom_extensions`: image references as written.
    pub custom_extensions: Vec<String>,
    /// `install_factory_extensions`: official names, such as `siderolabs/qemu-guest-agent`.
    pub factory_extensions: Vec<String>,
    /// Kernel arguments of both outputs.
    pub kernel_args: Vec<String>,
}

/// An extension that is made here, and what it is made from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExtensionSource {
    /// Its name.
    pub name: String,
    /// Its version, which is the tag of its image.
    pub version: String,
    /// The repository that it is pushed to.
    pub image: String,
    /// A folder with `rootfs`.
    pub folder: Option<PathBuf>,
    /// Debian packages, in order.
    pub packages: Vec<PackageSource>,
    /// What Talos reads of each service, by its name.
    pub services: BTreeMap<String, serde_json::Value>,
    /// The Talos versions that it is for; empty for any.
    pub compatibility: String,
}

impl ExtensionSource {
    /// The image, by tag.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.image, self.version)
    }
}

/// A Debian package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageSource {
    /// Where it is.
    pub place: PackagePlace,
    /// What it must be; without it the lock file pins what came first.
    pub sha256: Option<imagefactory::Digest>,
}

/// Where a package is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PackagePlace {
    /// A URL.
    Url(String),
    /// A file of the repository.
    File(PathBuf),
}

/// Who makes the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageSource {
    /// An image factory.
    Factory,
    /// The builder of this program.
    Build,
}

/// The stage `artifacts/images`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Images {
    /// Who makes them.
    pub source: ImageSource,
    /// The factory's address.
    pub factory_url: String,
    /// Who schematics belong to, at a private factory.
    pub factory_owner: Option<String>,
    /// Repository that the installer is copied to.
    pub installer_registry: Option<String>,
    /// The ISO's file name as the user gave it, or its prefix.
    pub iso_name: Option<String>,
    /// `imager`: repository of the base of built images.
    pub imager: Option<String>,
    /// `installer_base`: repository of the base of built installers.
    pub installer_base: Option<String>,
}

/// The stage `artifacts/registry`: the ISO on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registry {
    /// Storage; none: as [`Proxmox::iso_storage`].
    pub datastore_id: Option<String>,
    /// Nodes that get the ISO.
    pub node_names: Vec<String>,
    /// Prefix of the file's name in the storage.
    pub file_name_prefix: Option<String>,
}

/// The stage `common/0-sdn-setup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sdn {
    /// The zone's id, 2 to 8 characters.
    pub zone_id: String,
    /// Type of the zone: `evpn` with a controller, else `vxlan`, `vlan` or `simple`.
    pub zone_type: String,
    /// VNI of the zone's VRF.
    pub vrf_vxlan: Option<u32>,
    /// MTU of the zone.
    pub mtu: Option<u16>,
    /// Nodes of the zone; empty: all.
    pub nodes: Vec<String>,
    /// Nodes that lead out of the fabric.
    pub exit_nodes: Vec<String>,
    /// The one of them that is preferred.
    pub primary_exit_node: Option<String>,
    /// The controller.
    pub controller: Option<SdnController>,
    /// Route targets to import.
    pub rt_import: Option<String>,
    /// Leave out suppression of ARP and ND.
    pub disable_arp_nd_suppression: Option<bool>,
    /// Announce whole subnets.
    pub advertise_subnets: Option<bool>,
    /// The VNets, by id.
    pub vnets: BTreeMap<String, Vnet>,
}

/// A controller: one that must exist, or one that is created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SdnController {
    /// Must exist.
    Existing(String),
    /// Is created when it is not there.
    Created {
        /// Its id.
        id: String,
        /// Its AS number.
        asn: u32,
        /// Addresses of its peers.
        peers: Vec<String>,
        /// Or the fabric that names them (9.x).
        fabric: Option<String>,
    },
}

/// One VNet with its subnets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vnet {
    /// Its id, 2 to 8 characters.
    pub id: String,
    /// VXLAN or VLAN tag, as the zone's type has it.
    pub tag: Option<u32>,
    /// Alias without the mark that clusterctl adds.
    pub alias: Option<String>,
    /// Subnets with their gateways.
    pub subnets: Vec<Subnet>,
}

/// One subnet of a VNet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subnet {
    /// The prefix.
    pub cidr: IpNet,
    /// The gateway that the fabric serves.
    pub gateway: Option<std::net::IpAddr>,
}

/// Resolvers, time servers, mirrors and BGP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Network {
    /// Domain of node names.
    pub base_domain: Option<String>,
    /// Resolvers, IPv6 first where both exist.
    pub dns_servers: Vec<std::net::IpAddr>,
    /// Time servers.
    pub ntp_servers: Vec<String>,
    /// Registries and the mirrors that stand for them.
    pub registry_mirrors: BTreeMap<String, Vec<String>>,
    /// Suffix of the first worker: those of control planes are below it.
    pub worker_offset: u16,
    /// BGP of the nodes.
    pub bgp: Option<Bgp>,
}

/// BGP of the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bgp {
    /// AS number of the fabric's side.
    pub remote_asn: Option<u32>,
    /// Interface that speaks BGP.
    pub interface: Option<String>,
    /// BFD on the sessions.
    pub enable_bfd: bool,
    /// Announce the loopbacks.
    pub advertise_loopbacks: bool,
}

/// The container network of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cni {
    /// Cilium, installed by a Job.
    Cilium,
    /// Flannel, as Talos brings it.
    Flannel,
    /// The user installs one.
    None,
}

/// One cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Cluster {
    /// Name of its folder below `clusters/`.
    pub folder: String,
    /// Its `cluster.hcl`.
    pub file: PathBuf,
    /// Its id, 1 to 999.
    pub id: u16,
    /// The number that addresses use.
    pub tenant_id: u16,
    /// Its name.
    pub name: String,
    /// Versions that its nodes are made with.
    pub versions: Versions,
    /// Whether `versions.talos` differs from the site's by an override.
    pub versions_overridden: bool,
    /// Container network.
    pub cni: Cni,
    /// Where its API is reached.
    pub endpoint: String,
    /// Virtual addresses of the control plane, IPv6 first; empty without `use_vip`.
    pub vips: Vec<std::net::IpAddr>,
    /// Whether control planes take ordinary work.
    pub schedulable_controlplanes: bool,
    /// Pod ranges, IPv6 first.
    pub pod_subnets: Vec<IpNet>,
    /// Service ranges, IPv6 first.
    pub service_subnets: Vec<IpNet>,
    /// Ranges for load balancers.
    pub load_balancer_subnets: Vec<IpNet>,
    /// Additional names and addresses in the API server's certificate.
    pub cert_sans: Vec<String>,
    /// Prefixes of kubelet's node addresses.
    pub valid_subnets: Vec<IpNet>,
    /// Prefixes that etcd announces.
    pub advertised_subnets: Vec<IpNet>,
    /// The cluster's segment.
    pub segment: Segment,
    /// How configurations are applied to nodes that run: `auto`, `no-reboot`, `staged`, `reboot`.
    pub apply_mode: String,
    /// Patches of all nodes, as YAML text.
    pub patches_all: Vec<Patch>,
    /// Patches of control planes.
    pub patches_controlplane: Vec<Patch>,
    /// Patches of workers.
    pub patches_worker: Vec<Patch>,
    /// Images other than the site's.
    pub artifact_overrides: ArtifactOverrides,
    /// Its nodes: control planes first.
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// All of its patches and of its nodes'.
    pub fn patches(&self) -> impl Iterator<Item = &Patch> {
        let of_roles = self.patches_all.iter().chain(&self.patches_controlplane);
        let of_nodes = self.nodes.iter().flat_map(|node| &node.patches);
        of_roles.chain(&self.patches_worker).chain(of_nodes)
    }

    /// The patches of one of its nodes, in the order in which they are applied.
    pub fn patches_of<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a Patch> {
        let by_role = match node.role {
            Role::ControlPlane => &self.patches_controlplane,
            Role::Worker => &self.patches_worker,
        };
        self.patches_all.iter().chain(by_role).chain(&node.patches)
    }
}

/// Images other than the site's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ArtifactOverrides {
    /// The installer image.
    pub installer_image: Option<String>,
    /// The ISO as a volume id.
    pub iso_file_id: Option<String>,
}

/// Layer two of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// Bridge or VNet of the first card.
    pub bridge: String,
    /// VLAN tag of the first card.
    pub vlan: Option<u16>,
    /// MTU; none: the bridge's.
    pub mtu: Option<u16>,
    /// Whether the bridge is one of our VNets.
    pub use_sdn: bool,
    /// IPv4 gateway.
    pub gateway_v4: Option<Ipv4Addr>,
    /// IPv6 gateway.
    pub gateway_v6: Option<Ipv6Addr>,
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs etcd and the API server.
    ControlPlane,
    /// Runs work.
    Worker,
}

/// One node of a cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Node {
    /// Its name, such as `solcp01`.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Last part of its addresses.
    pub suffix: u16,
    /// Its VM id.
    pub vmid: u32,
    /// The Proxmox node that it is created on.
    pub proxmox_node: String,
    /// SMBIOS UUID.
    pub uuid: Uuid,
    /// MAC address of its first card, upper case.
    pub mac: String,
    /// Public IPv4 address with prefix length.
    pub ipv4: Option<Ipv4Net>,
    /// Public IPv6 address with prefix length.
    pub ipv6: Option<Ipv6Net>,
    /// Delegated (global) IPv6 address; only with `node_gua`.
    pub gua: Option<Ipv6Net>,
    /// Link-local address.
    pub link_local: Option<Ipv6Net>,
    /// Loopbacks, IPv6 first; only with a routing extension.
    pub loopbacks: Vec<IpNet>,
    /// AS number.
    pub asn: u32,
    /// Processor cores.
    pub cores: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// System disk in GiB.
    pub disk_gib: u32,
    /// Further disks in GiB, in order.
    pub extra_disks_gib: Vec<u32>,
    /// PCI devices that it is given.
    pub pci: Vec<PciDevice>,
    /// Its own patches.
    pub patches: Vec<Patch>,
}

impl Node {
    /// Addresses under which the node is dialled, best first.
    pub fn addresses(&self) -> Vec<std::net::IpAddr> {
        let v6 = self.ipv6.map(|net| std::net::IpAddr::V6(net.addr()));
        let v4 = self.ipv4.map(|net| std::net::IpAddr::V4(net.addr()));
        v6.into_iter().chain(v4).collect()
    }
}

/// A PCI device passed to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PciDevice {
    /// By mapping or by address.
    pub device: PciSource,
    /// As a PCI Express device.
    pub pcie: Option<bool>,
    /// With its ROM.
    pub rombar: Option<bool>,
    /// As the primary display.
    pub x_vga: Option<bool>,
}

/// How a PCI device is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PciSource {
    /// A cluster-wide mapping.
    Mapping(String),
    /// An address of the node; only `root@pam` may set that.
    Address(String),
}

/// A cluster folder that describes something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmanaged {
    /// Name of the folder.
    pub folder: String,
    /// Its id, if it has one.
    pub id: Option<u16>,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Why it is not managed.
    pub reason: String,
}
