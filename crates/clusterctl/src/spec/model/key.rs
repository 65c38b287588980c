//! The table of keys: everything that the tree can say to us.

/// The file or stage folder that a key stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// `common/versions.hcl`
    Versions,
    /// `common/install-schematic.hcl`
    Schematic,
    /// `common/ipv6-prefixes.hcl`
    Prefixes,
    /// `common/credentials.hcl`
    Credentials,
    /// `common/proxmox-infrastructure.hcl`
    Proxmox,
    /// `common/network-infrastructure.hcl`
    Network,
    /// `common/sdn-vnets.hcl`
    Vnets,
    /// `common/0-sdn-setup/`
    Sdn,
    /// `common/1-firewall/`
    Firewall,
    /// `artifacts/extension/`
    Extension,
    /// `artifacts/images/`
    Images,
    /// `artifacts/registry/`
    Registry,
    /// `clusters/*/cluster.hcl`
    Cluster,
}

impl Section {
    /// Every section, in the order of the tree.
    pub const ALL: &[Self] = &[
        Self::Versions,
        Self::Schematic,
        Self::Prefixes,
        Self::Credentials,
        Self::Proxmox,
        Self::Network,
        Self::Vnets,
        Self::Sdn,
        Self::Firewall,
        Self::Extension,
        Self::Images,
        Self::Registry,
        Self::Cluster,
    ];

    /// Its file below `live/`.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Versions => "common/versions.hcl",
            Self::Schematic => "common/install-schematic.hcl",
            Self::Prefixes => "common/ipv6-prefixes.hcl",
            Self::Credentials => "common/credentials.hcl",
            Self::Proxmox => "common/proxmox-infrastructure.hcl",
            Self::Network => "common/network-infrastructure.hcl",
            Self::Vnets => "common/sdn-vnets.hcl",
            Self::Sdn => "common/0-sdn-setup/sdn.hcl",
            Self::Firewall => "common/1-firewall/firewall.hcl",
            Self::Extension => "artifacts/extension/extension.hcl",
            Self::Images => "artifacts/images/images.hcl",
            Self::Registry => "artifacts/registry/registry.hcl",
            Self::Cluster => "clusters/*/cluster.hcl",
        }
    }

    /// Whether it is a stage folder, whose `terragrunt.hcl` counts when our file is not there.
    pub const fn is_stage(self) -> bool {
        matches!(self, Self::Sdn | Self::Firewall | Self::Extension | Self::Images | Self::Registry)
    }
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Text.
    Text,
    /// True or false.
    Flag,
    /// A whole number.
    Count,
    /// A list of texts.
    Texts,
    /// A map or object whose keys are in the table below it.
    Object,
    /// A map with names of the user's own; its values are at `*` in the table.
    Map,
    /// More than one form; the reader checks it.
    Any,
}

impl Shape {
    /// Its name in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Flag => "true or false",
            Self::Count => "a whole number",
            Self::Texts => "a list of texts",
            Self::Object => "an object",
            Self::Map => "a map",
            Self::Any => "any",
        }
    }
}

/// Whether this version acts on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Acted,
    /// It does not yet: a plan that meets the key is refused.
    NotYet,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Where it stands.
    pub section: Section,
    /// Its path, parts joined by `.`; `*` is any name.
    pub path: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// The default, in words; none when the key is required or simply absent.
    pub default: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Whether this version acts on it.
    pub status: Status,
}

macro_rules! keys {
    ($($section:ident { $($path:literal $shape:ident $status:ident $default:literal $doc:literal;)+ })+) => {
        /// Every key.
        pub const KEYS: &[Key] = &[$($(Key {
            section: Section::$section,
            path: $path,
            shape: Shape::$shape,
            default: $default,
            doc: $doc,
            status: Status::$status,
        },)+)+];
    };
}

keys! {
    Versions {
        "talos_version" Text Acted "" "Talos version of all clusters, such as `v1.11.5`.";
        "kubernetes_version" Text Acted "" "Kubernetes version of all clusters.";
        "talos_platform" Text Acted "nocloud" "Platform of the ISO.";
        "talos_architecture" Text Acted "amd64" "`amd64` or `arm64`.";
        "cilium_version" Text Acted "" "Cilium version; needed by clusters whose `cni` is `cilium`.";
        "cilium_cli_image" Text Acted "" "Image that the installation of Cilium runs in. Before the first machine of a new cluster its digest goes into the lock file, and where its registry does not answer the cluster keeps the tag; one that only nodes can read is given by digest.";
        "rings" Any Acted "" "Cluster names in the order of disruptive steps, or lists of such names.";
    }
    Schematic {
        "install_system_extensions" Texts Acted "" "Official extensions as image references or names.";
        "install_custom_extensions" Texts Acted "" "Extensions of your own as image references.";
        "install_factory_extensions" Texts Acted "" "Official extensions by name.";
        "install_kernel_args" Texts Acted "" "Kernel arguments of installer and ISO.";
    }
    Prefixes {
        "delegated_prefixes" Map Acted "" "Global IPv6 prefixes by VNet.";
        "delegated_prefixes.*" Any Acted "" "A prefix, or `{ prefix, gateway }`.";
        "delegated_prefixes.*.prefix" Text Acted "" "The prefix.";
        "delegated_prefixes.*.gateway" Text Acted "" "Its gateway.";
        "delegated_gateways" Map Acted "" "Their gateways by VNet.";
    }
    Credentials {
        "secrets_file" Text Acted "" "A SOPS file with the keys below. `credentials.hcl` itself may be encrypted as a whole instead.";
        "age_key_file" Text Acted "" "An age key inside the repository: for examples only.";
        "pve_endpoint" Text Acted "" "Address of the Proxmox API.";
        "pve_api_token" Text Acted "" "API token, `user@realm!name=secret`.";
        "pve_username" Text Acted "" "User, when there is no token.";
        "pve_password" Text Acted "" "The user's password.";
        "pve_fingerprint" Text Acted "" "SHA-256 fingerprint of the API's certificate.";
        "pve_ca_file" Text Acted "" "CA of the API's certificate.";
    }
    Proxmox {
        "site" Text Acted "live" "Name of the site; part of every MAC address and UUID.";
        "proxmox_nodes" Texts Acted "" "Nodes that virtual machines are spread over, in this order.";
        "proxmox_hostnames" Any Acted "" "Host names of nodes: a map, or a list parallel to the nodes.";
        "proxmox_primary_node" Text Acted "" "The node that is asked first.";
        "api_endpoint" Text Acted "" "Address of the Proxmox API.";
        "storage" Object Acted "" "Storages.";
        "storage.datastore_id" Text Acted "the one shared storage with `iso`" "Storage for ISO files.";
        "storage.vm_datastore" Text Acted "the one shared storage with `images`" "Storage for disks.";
    }
    Network {
        "base_domain" Text Acted "" "Domain of node names.";
        "dns_servers" Object Acted "" "Resolvers.";
        "dns_servers.ipv4" Any Acted "" "IPv4 resolvers.";
        "dns_servers.ipv6" Any Acted "" "IPv6 resolvers.";
        "ntp_servers" Texts Acted "" "Time servers.";
        "bgp" Object Acted "" "BGP of the nodes.";
        "bgp.asn_base" Count Acted "4210000000" "What AS numbers are counted from.";
        "bgp.remote_asn" Count NotYet "" "AS number of the fabric.";
        "bgp.interface" Text NotYet "eth0" "Interface that speaks BGP.";
        "bgp.enable_bfd" Flag NotYet "false" "BFD on the sessions.";
        "bgp.advertise_loopbacks" Flag NotYet "true" "Announce the loopbacks.";
        "sdn" Object Acted "" "Defaults of the SDN stage.";
        "sdn.zone_id" Text Acted "" "The zone.";
        "sdn.vrf_vxlan" Count Acted "" "VXLAN tag of the zone's routing table.";
        "sdn.mtu" Count Acted "" "MTU of the zone.";
        "sdn.disable_arp_nd_suppression" Flag Acted "" "Leave out ARP and ND suppression.";
        "sdn.advertise_subnets" Flag Acted "" "Announce whole subnets.";
        "registry_mirrors" Object Acted "" "Mirrors of image registries.";
        "registry_mirrors.endpoints" Texts Acted "" "Addresses of the mirrors.";
        "registry_mirrors.registries" Texts Acted "" "Registries that they stand for.";
        "addressing" Object Acted "" "How numbers become addresses.";
        "addressing.vip_ipv4_suffix" Count Acted "10" "Host part of the virtual IPv4 address.";
        "addressing.vip_ipv6_suffix" Count Acted "10" "Host part of the virtual IPv6 address.";
        "addressing.controlplane_offset" Count Acted "11" "Suffix of the first control plane.";
        "addressing.worker_offset" Count Acted "21" "Suffix of the first worker.";
        "addressing.public_ipv4_pattern" Any Acted "10.%d.0." "Addresses of nodes; as every pattern, text or `{ base, newbits }`.";
        "addressing.public_ipv4_pattern.base" Text Acted "" "Prefix that the id-th subnet is taken of.";
        "addressing.public_ipv4_pattern.newbits" Count Acted "" "How many bits longer that subnet is.";
        "addressing.public_ipv6_pattern" Any Acted "fd00:%d::" "Addresses of nodes.";
        "addressing.public_ipv6_pattern.base" Text Acted "" "Prefix that the id-th subnet is taken of.";
        "addressing.public_ipv6_pattern.newbits" Count Acted "" "How many bits longer that subnet is.";
        "addressing.loopback_ipv4_pattern" Any Acted "10.255.%d." "Loopbacks.";
        "addressing.loopback_ipv4_pattern.base" Text Acted "" "Prefix that the id-th subnet is taken of.";
        "addressing.loopback_ipv4_pattern.newbits" Count Acted "" "How many bits longer that subnet is.";
        "addressing.loopback_ipv6_pattern" Any Acted "fd00:255:%d::" "Loopbacks.";
        "addressing.loopback_ipv6_pattern.base" Text Acted "" "Prefix that the id-th subnet is taken of.";
        "addressing.loopback_ipv6_pattern.newbits" Count Acted "" "How many bits longer that subnet is.";
        "addressing.pods_ipv4_pattern" Any Acted "10.%d.240.0/20" "Pods.";
        "addressing.pods_ipv4_pattern.base" Text Acted "" "Prefix that the id-th subnet is taken of.";
        "addressing.pods_ipv4_pattern.newbits" Count Acted "" "How many bits longer that subnet is.";
        "addressing.pods_ipv6_pattern" Any Acted "fd00:%d:240::/60" "Pods.";
        "addressing.pods_ipv6_pattern.base" Text Acted "" "Prefix that the id-th subnet is taken of.";
        "addressing.pods_ipv6_pattern.newbits" Count Acted "" "How many bits longer that subnet is.";
        "addressing.services_ipv4_pattern" Any Acted "10.%d.96.0/24" "Services.";
        "addressing.services_ipv4_pattern.base" Text Acted "" "Prefix that the id-th subnet is taken of.";
        "addressing.services_ipv4_pattern.newbits" Count Acted "" "How many bits longer that subnet is.";
        "addressing.services_ipv6_pattern" Any Acted "fd00:%d:96::/112" "Services.";
        "addressing.services_ipv6_pattern.base" Text Acted "" "Prefix that the id-th subnet is taken of.";
        "addressing.services_ipv6_pattern.newbits" Count Acted "" "How many bits longer that subnet is.";
        "addressing.loadbalancers_ipv4_pattern" Any Acted "10.%d.27.0/24" "Load balancers.";
        "addressing.loadbalancers_ipv4_pattern.base" Text Acted "" "Prefix that the id-th subnet is taken of.";
        "addressing.loadbalancers_ipv4_pattern.newbits" Count Acted "" "How many bits longer that subnet is.";
        "addressing.loadbalancers_ipv6_pattern" Any Acted "fd00:%d:1b::/120" "Load balancers.";
        "addressing.loadbalancers_ipv6_pattern.base" Text Acted "" "Prefix that the id-th subnet is taken of.";
        "addressing.loadbalancers_ipv6_pattern.newbits" Count Acted "" "How many bits longer that subnet is.";
    }
    Vnets {
        "vnets" Map Acted "vnet100 and one VNet per cluster with `use_sdn`" "VNets by id.";
        "vnets.*" Object Acted "" "One VNet.";
        "vnets.*.ipv4_subnet" Text Acted "" "IPv4 subnet.";
        "vnets.*.ipv6_subnet" Text Acted "" "IPv6 subnet.";
        "vnets.*.ipv4_gateway" Text Acted "" "IPv4 gateway.";
        "vnets.*.ipv6_gateway" Text Acted "" "IPv6 gateway.";
        "vnets.*.vxlan_id" Count Acted "10000 + id" "VXLAN tag.";
        "vnets.*.vlan_id" Count Acted "" "VLAN that stands for it outside; two VNets with one are refused.";
        "vnets.*.alias" Text Acted "" "Words for people.";
    }
    Sdn {
        "zone_id" Text Acted "" "The zone.";
        "vrf_vxlan" Count Acted "" "VXLAN tag of the zone's routing table.";
        "mtu" Count Acted "" "MTU of the zone.";
        "nodes" Texts Acted "all" "Nodes of the zone.";
        "exit_nodes" Texts Acted "" "Nodes that lead out of the fabric.";
        "primary_exit_node" Text Acted "" "The preferred one of them.";
        "controller" Any Acted "" "A controller that exists, by name, or `{ id, asn, peers }` to create one.";
        "controller.id" Text Acted "" "Its id.";
        "controller.asn" Count Acted "" "Its AS number.";
        "controller.peers" Texts Acted "" "Addresses of its peers.";
        "controller.fabric" Text Acted "" "The fabric that it speaks over, instead of peers.";
        "rt_import" Text Acted "" "Route targets to import.";
        "disable_arp_nd_suppression" Flag Acted "" "Leave out ARP and ND suppression.";
        "advertise_subnets" Flag Acted "" "Announce whole subnets.";
        "vnets" Map Acted "those of `common/sdn-vnets.hcl`" "VNets by id.";
        "vnets.*" Object Acted "" "One VNet.";
        "vnets.*.ipv4_subnet" Text Acted "" "IPv4 subnet.";
        "vnets.*.ipv6_subnet" Text Acted "" "IPv6 subnet.";
        "vnets.*.ipv4_gateway" Text Acted "" "IPv4 gateway.";
        "vnets.*.ipv6_gateway" Text Acted "" "IPv6 gateway.";
        "vnets.*.vxlan_id" Count Acted "10000 + id" "VXLAN tag.";
        "vnets.*.vlan_id" Count Acted "" "VLAN that stands for it outside; two VNets with one are refused.";
        "vnets.*.alias" Text Acted "" "Words for people.";
        "delegated_prefixes" Map Acted "those of `common/ipv6-prefixes.hcl`" "Prefix and gateway by VNet; `{}` attaches none.";
        "delegated_prefixes.*" Any Acted "" "A prefix, or `{ prefix, gateway }`.";
        "delegated_prefixes.*.prefix" Text Acted "" "The prefix.";
        "delegated_prefixes.*.gateway" Text Acted "" "Its gateway.";
    }
    Firewall {
        "cluster" Any NotYet "" "Options of the firewall.";
        "aliases" Any NotYet "" "Names for addresses.";
        "ipsets" Any NotYet "" "Sets of addresses.";
        "groups" Any NotYet "" "Groups of rules.";
        "rules" Any NotYet "" "Rules of the datacentre.";
        "nodes" Any NotYet "" "Rules of nodes.";
        "vms" Any NotYet "" "Rules of virtual machines.";
        "vnets" Any NotYet "" "Rules of VNets.";
    }
    Extension {
        "name" Text Acted "" "Name of the extension.";
        "version" Text Acted "" "Its version, which is the tag of its image.";
        "image" Text Acted "" "Repository that it is pushed to.";
        "source_dir" Text Acted "" "Folder with `rootfs`, and `manifest.yaml` where there is more to tell; it stands over the packages.";
        "packages" Any Acted "" "Debian packages for the one service: URLs, files, or `{ url, sha256 }`. The lock file pins what has no digest.";
        "services" Any Acted "" "Services by name, each as Talos reads it: `container`, `depends`, `restart`.";
        "compatibility" Text Acted "any" "Talos versions that it is for, such as `>= v1.10.0`.";
    }
    Images {
        "source" Text Acted "factory without custom extensions, else build" "Who makes the images.";
        "factory_url" Text Acted "https://factory.talos.dev" "Address of the factory.";
        "factory_owner" Text Acted "" "Who schematics belong to, at a private factory; the login is that of `docker login` there.";
        "installer_registry" Text Acted "" "Repository that the installer is copied to.";
        "imager" Text Acted "ghcr.io/siderolabs/imager" "Repository of the image that images are built from; its tag is the version.";
        "installer_base" Text Acted "ghcr.io/siderolabs/installer-base" "Repository of the image that installers are built from; its tag is the version.";
        "iso_name" Text Acted "talos-<version>-<platform>-<architecture>.iso" "Name of the ISO, or its front.";
        "official_extensions" Texts Acted "" "Instead of `install_system_extensions`.";
        "custom_extensions" Texts Acted "" "Instead of `install_custom_extensions`.";
        "kernel_args" Any Acted "" "Instead of `install_kernel_args`: a list, or words in one text.";
    }
    Registry {
        "proxmox_datastore_id" Text Acted "`storage.datastore_id`" "Storage for the ISO.";
        "proxmox_node_names" Texts Acted "`proxmox_nodes`" "Nodes that get the ISO.";
        "file_name_prefix" Text Acted "" "Front of its name in the storage.";
    }
    Cluster {
        "enabled" Flag Acted "true" "Whether the cluster is wanted.";
        "cluster_name" Text Acted "" "Name; node names begin with it.";
        "cluster_id" Count Acted "" "Identity, 1 to 999.";
        "tenant_id" Count Acted "`cluster_id`" "The number that addresses use.";
        "controlplanes" Count Acted "" "Number of control planes.";
        "workers" Count Acted "0" "Number of workers.";
        "proxmox_nodes" Texts Acted "those of the site" "Nodes that machines are spread over.";
        "proxmox_hostnames" Any Acted "those of the site" "Host names of these nodes.";
        "talos_version" Text Acted "that of the site" "Talos version of this cluster.";
        "kubernetes_version" Text Acted "that of the site" "Kubernetes version of this cluster.";
        "network" Object Acted "" "How nodes are attached.";
        "network.bridge_public" Text Acted "vmbr0" "Bridge without SDN.";
        "network.vlan_public" Count Acted "the id" "VLAN tag on it.";
        "network.public_mtu" Count Acted "" "MTU without SDN.";
        "network.bridge_mesh" Text Acted "vnet<id>" "VNet with SDN.";
        "network.vlan_mesh" Count NotYet "" "VLAN tag inside of the VNet.";
        "network.mesh_mtu" Count Acted "MTU of the zone" "MTU with SDN.";
        "network.use_sdn" Flag Acted "false" "Whether nodes are on a VNet.";
        "network.use_vip" Flag Acted "true" "Whether the control plane has a virtual address.";
        "network.cluster_endpoint" Text Acted "the virtual address" "Where the API is reached.";
        "network.node_gua" Flag Acted "false" "Whether nodes get a global address.";
        "node_overrides" Map Acted "" "Differences of single nodes, by node name.";
        "node_overrides.*" Object Acted "" "One node.";
        "node_overrides.*.node_name" Text Acted "spread" "Proxmox node.";
        "node_overrides.*.cpu_cores" Count Acted "" "Processor cores.";
        "node_overrides.*.memory_mb" Count Acted "" "Memory in MiB.";
        "node_overrides.*.disk_gb" Count Acted "" "System disk in GiB.";
        "node_overrides.*.disks" Any Acted "" "Further disks: sizes in GiB, or objects.";
        "node_overrides.*.disks.*" Any Acted "" "One disk.";
        "node_overrides.*.disks.*.size_gb" Count Acted "" "Its size in GiB.";
        "node_overrides.*.gpu_passthrough" Object Acted "" "PCI devices.";
        "node_overrides.*.gpu_passthrough.pci_address" Text Acted "" "Address of a device.";
        "node_overrides.*.gpu_passthrough.pci_addresses" Texts Acted "" "Addresses of devices.";
        "node_overrides.*.gpu_passthrough.mapping" Text Acted "" "Name of a cluster-wide mapping.";
        "node_overrides.*.gpu_passthrough.pcie" Flag Acted "" "As a PCI Express device.";
        "node_overrides.*.gpu_passthrough.rombar" Flag Acted "" "With its ROM.";
        "node_overrides.*.gpu_passthrough.x_vga" Flag Acted "" "As the primary display.";
        "node_overrides.*.usb" Any NotYet "" "USB devices.";
        "node_overrides.*.config_patches" Any Acted "" "Patches of its configuration.";
        "vm_sizing" Object Acted "" "Sizes of machines.";
        "vm_sizing.control_plane" Object Acted "" "Of control planes.";
        "vm_sizing.control_plane.cpu_cores" Count Acted "4" "Processor cores.";
        "vm_sizing.control_plane.memory_mb" Count Acted "8192" "Memory in MiB.";
        "vm_sizing.control_plane.disk_gb" Count Acted "40" "System disk in GiB.";
        "vm_sizing.worker" Object Acted "" "Of workers.";
        "vm_sizing.worker.cpu_cores" Count Acted "6" "Processor cores.";
        "vm_sizing.worker.memory_mb" Count Acted "16384" "Memory in MiB.";
        "vm_sizing.worker.disk_gb" Count Acted "80" "System disk in GiB.";
        "artifact_overrides" Object Acted "" "Images other than the site's.";
        "artifact_overrides.talos_version" Text NotYet "" "Talos version of these images.";
        "artifact_overrides.installer_image" Text Acted "" "The installer.";
        "artifact_overrides.iso_file_id" Text Acted "" "The ISO as a volume id.";
        "proxmox_ha" Any NotYet "" "High availability.";
        "talos_apply_mode" Text Acted "auto" "`auto`, `no-reboot`, `reboot` or `staged`.";
        "cni" Text Acted "cilium" "`cilium`, `flannel` or `none`.";
        "config_patches" Object Acted "" "Patches of configurations. Values may come from SOPS files: of an object only they are kept from what is shown, of a text every value.";
        "config_patches.all" Any Acted "" "Of all nodes.";
        "config_patches.controlplane" Any Acted "" "Of control planes.";
        "config_patches.worker" Any Acted "" "Of workers.";
    }
}

/// The key at a path, where any name matches `*`.
pub fn find(section: Section, path: &[&str]) -> Option<&'static Key> {
    KEYS.iter().find(|key| {
        key.section == section
            && key.path.split('.').count() == path.len()
            && key.path.split('.').zip(path).all(|(part, given)| part == "*" || part == *given)
    })
}

/// Whether a path of a cluster's file holds patches of machine configuration: they may be
/// encrypted.
pub fn is_patch(path: &[&str]) -> bool {
    matches!(
        path,
        ["config_patches", "all" | "controlplane" | "worker", ..]
            | ["node_overrides", _, "config_patches", ..]
    )
}

/// Names that may stand below a path.
pub fn below(section: Section, path: &[&str]) -> Vec<&'static str> {
    let below = KEYS.iter().filter(|key| key.section == section).filter_map(|key| {
        let mut parts = key.path.split('.');
        let fits =
            path.iter().all(|given| parts.next().is_some_and(|part| part == "*" || part == *given));
        let name = parts.next()?;
        (fits && parts.next().is_none()).then_some(name)
    });
    below.collect()
}
