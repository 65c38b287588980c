//! What a configuration is generated from.

use crate::secrets::Contract;

/// What a machine is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MachineType {
    /// A control plane that bootstraps by itself; of old configurations.
    Init,
    /// It runs etcd and the Kubernetes API.
    ControlPlane,
    /// It runs workloads.
    Worker,
}

impl MachineType {
    /// The name that configurations have.
    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::ControlPlane => "controlplane",
            Self::Worker => "worker",
        }
    }

    /// It runs etcd and the Kubernetes API.
    pub fn is_controlplane(self) -> bool {
        self != Self::Worker
    }
}

/// A container network interface that is not the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cni {
    /// `flannel`, `custom` or `none`.
    pub name: String,
    /// Manifests of a custom one.
    pub urls: Vec<String>,
    /// Further arguments of flannel.
    pub flannel_extra_args: Vec<String>,
}

/// How a link is named in the network section of the main document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkSelector {
    /// By the name that the kernel gives it.
    Name(String),
    /// By its hardware address.
    Mac(String),
}

/// What is said of a link in the network section of the main document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkSetting {
    /// It asks for addresses by DHCP.
    Dhcp,
    /// Whether DHCP gives it an IPv4 address.
    DhcpV4(bool),
    /// Whether DHCP gives it an IPv6 address.
    DhcpV6(bool),
    /// A static address with its prefix length.
    Address(String),
    /// Largest packet in bytes.
    Mtu(i64),
    /// A shared address of the control planes; workers leave it out.
    Vip(String),
    /// Talos leaves it alone.
    Ignore,
}

/// A setting of the network section of the main document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkOption {
    /// Resolvers.
    Nameservers(Vec<String>),
    /// Something of a link.
    Link(LinkSelector, LinkSetting),
    /// The WireGuard mesh between nodes, on.
    KubeSpan,
}

/// A disk with partitions for workloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserDisk {
    /// Its device.
    pub device: String,
    /// Size in bytes (0: what is left) and mount point of each partition.
    pub partitions: Vec<(u64, String)>,
}

/// What a configuration is generated from, beside the bundle. Everything but the first five has
/// the default of Talos' library.
#[derive(Debug, Clone)]
pub struct GenerateInput {
    /// The version of Talos that the configuration is for.
    pub contract: Contract,
    /// What the machine is.
    pub machine_type: MachineType,
    /// The cluster's name.
    pub cluster_name: String,
    /// Where the Kubernetes API is reached, such as `https://10.0.0.1:6443`.
    pub endpoint: String,
    /// The Kubernetes version without `v`, such as `1.33.1`; empty leaves the images out.
    pub kubernetes_version: String,
    /// The disk that the system is installed to.
    pub install_disk: Option<String>,
    /// The image that installs the system.
    pub install_image: Option<String>,
    /// Kernel arguments of the installed system.
    pub install_kernel_args: Vec<String>,
    /// Further names and addresses of the machine and of the API server.
    pub additional_sans: Vec<String>,
    /// Pod ranges; `None` is `10.244.0.0/16`.
    pub pod_subnets: Option<Vec<String>>,
    /// Service ranges; `None` is `10.96.0.0/12`.
    pub service_subnets: Option<Vec<String>>,
    /// The domain of the cluster; `None` is `cluster.local`.
    pub dns_domain: Option<String>,
    /// Whether nodes find each other through the discovery service.
    pub discovery: bool,
    /// Kernel settings.
    pub sysctls: Vec<(String, String)>,
    /// The network interface of containers.
    pub cni: Option<Cni>,
    /// Port at which every node reaches the API server by itself; 0 switches it off.
    pub kubeprism_port: Option<i64>,
    /// Port of the API server on control planes.
    pub local_api_server_port: Option<i64>,
    /// Workloads may run on control planes.
    pub allow_scheduling_on_controlplanes: bool,
    /// Verbose logs.
    pub debug: bool,
    /// Whether the configuration survives a reboot; configurations of today always do.
    pub persist: bool,
    /// Whether the host's resolver answers for pods; contract 1.7 leaves it off, later ones on.
    pub host_dns_forward: bool,
    /// Whether nodes are joined by a WireGuard mesh; `None` says nothing of it.
    pub kubespan: Option<bool>,
    /// Settings of the network section, applied in order.
    pub network: Vec<NetworkOption>,
    /// Mirrors: a registry and its endpoints. One that comes again adds up.
    pub registry_mirrors: Vec<(String, Vec<String>)>,
    /// Authorities that vouch for registries: host and PEM text.
    pub registry_cas: Vec<(String, String)>,
    /// Registries whose certificate is not checked.
    pub registry_insecure: Vec<String>,
    /// Disks with partitions for workloads.
    pub user_disks: Vec<UserDisk>,
}

impl GenerateInput {
    /// An input with the defaults of Talos' library.
    pub fn new(
        contract: Contract,
        machine_type: MachineType,
        cluster_name: &str,
        endpoint: &str,
        kubernetes_version: &str,
    ) -> Self {
        Self {
            contract,
            machine_type,
            cluster_name: cluster_name.to_owned(),
            endpoint: endpoint.to_owned(),
            kubernetes_version: kubernetes_version.to_owned(),
            install_disk: None,
            install_image: None,
            install_kernel_args: Vec::new(),
            additional_sans: Vec::new(),
            pod_subnets: None,
            service_subnets: None,
            dns_domain: None,
            discovery: true,
            sysctls: Vec::new(),
            cni: None,
            kubeprism_port: None,
            local_api_server_port: None,
            allow_scheduling_on_controlplanes: false,
            debug: false,
            persist: true,
            host_dns_forward: false,
            kubespan: None,
            network: Vec::new(),
            registry_mirrors: Vec::new(),
            registry_cas: Vec::new(),
            registry_insecure: Vec::new(),
            user_disks: Vec::new(),
        }
    }
}
