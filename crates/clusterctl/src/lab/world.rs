//! What a tree wants of the lab: machines, storages, networks, names, addresses. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use imagefactory::ImageReference;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::compose::cilium::DEFAULT_CLI_IMAGE;
use crate::spec::site::{
    Cluster, Cni, ExtensionSource, PackagePlace, PciSource, SdnController, Site,
};

/// Nodes of a lab whose tree names none.
const NODES: [&str; 3] = ["pve01", "pve02", "pve03"];

/// The machine API of a Talos node.
pub(super) const MACHINE_API: u16 = 50000;

/// The Kubernetes API.
pub(super) const KUBERNETES_API: u16 = 6443;

/// Kinds of storages that a lab has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageKind {
    /// Files of each node.
    LocalFiles,
    /// Files that all nodes share.
    SharedFiles,
    /// Block devices of each node.
    LocalBlocks,
    /// Block devices that all nodes share.
    SharedBlocks,
    /// Files and disks of each node, in a folder.
    LocalMixed,
}

/// A storage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Storage {
    /// Its id.
    pub id: String,
    /// What it is like.
    pub kind: StorageKind,
}

/// A PCI device of one node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Device {
    /// The Proxmox node.
    pub node: String,
    /// Its address, `0000:01:00.0`.
    pub address: String,
}

/// A cluster-wide PCI mapping: how many devices stand behind it on each node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Number of devices by node.
    pub devices: BTreeMap<String, u16>,
}

/// A network on which addresses are reachable: a bridge or VNet with a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Segment {
    /// The bridge or VNet.
    pub bridge: String,
    /// The VLAN tag.
    pub tag: Option<u16>,
    /// Prefixes that are on it.
    pub prefixes: BTreeSet<IpNet>,
    /// It is a VNet of the tree: there is nothing before SDN made it.
    pub is_vnet: bool,
}

/// What a tree wants of the lab.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct World {
    /// Proxmox nodes, in order.
    pub nodes: Vec<String>,
    /// Storages.
    pub storages: BTreeMap<String, Storage>,
    /// Bridges that are there before SDN, with their MTU.
    pub bridges: BTreeMap<String, u32>,
    /// PCI devices that are named by address.
    pub devices: BTreeSet<Device>,
    /// PCI mappings by name.
    pub mappings: BTreeMap<String, Mapping>,
    /// SDN controllers that must exist.
    pub controllers: BTreeSet<String>,
    /// Networks.
    pub segments: Vec<Segment>,
    /// Addresses and ports that are dialled.
    pub addresses: BTreeSet<(IpAddr, u16)>,
    /// Names of image factories.
    pub factories: BTreeSet<(String, u16)>,
    /// Whose the factories are: they ask this user for a login, and take any password.
    pub factory_owner: Option<String>,
    /// Names of registries.
    pub registries: BTreeSet<(String, u16)>,
    /// Images that the tree names and somebody else made.
    pub images: BTreeSet<String>,
    /// Images that are built from: synthetic ones stand for them.
    pub build_parts: BTreeMap<String, BuildPart>,
}

/// What an image is in a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildPart {
    /// Kernel and boot loader.
    Imager,
    /// What an installer is made from.
    InstallerBase,
    /// A system extension.
    Extension,
}

impl World {
    /// What a site wants.
    pub fn of(site: &Site) -> Self {
        let mut world = Self::default();
        world.proxmox(site);
        world.images(site);
        for cluster in &site.clusters {
            world.cluster(site, cluster);
        }
        world
    }

    fn proxmox(&mut self, site: &Site) {
        let placed = site.clusters.iter().flat_map(|cluster| &cluster.nodes);
        let sdn = site.sdn.iter().flat_map(|sdn| sdn.nodes.iter().chain(&sdn.exit_nodes));
        let named = site
            .proxmox
            .nodes
            .iter()
            .chain(&site.proxmox.primary_node)
            .chain(&site.registry.node_names)
            .chain(sdn)
            .chain(placed.map(|node| &node.proxmox_node));
        for name in named {
            self.add_node(name);
        }
        if self.nodes.is_empty() {
            self.nodes = NODES.iter().map(|name| (*name).to_owned()).collect();
        }
        self.bridges.insert("vmbr0".to_owned(), 1500);
        let files = site.registry.datastore_id.iter().chain(&site.proxmox.iso_storage);
        let files: BTreeSet<&String> = files.collect();
        let overridden = site.clusters.iter().filter_map(|cluster| {
            let volume = cluster.artifact_overrides.iso_file_id.as_deref()?;
            volume.split_once(':').map(|(storage, _)| storage.to_owned())
        });
        let blocks = site.proxmox.vm_storage.as_ref();
        for id in files.iter().copied().cloned().chain(overridden) {
            let kind = if blocks == Some(&id) {
                StorageKind::LocalMixed
            } else if is_local(&id) {
                StorageKind::LocalFiles
            } else {
                StorageKind::SharedFiles
            };
            self.add_storage(id, kind);
        }
        if let Some(id) = blocks {
            let kind =
                if is_local(id) { StorageKind::LocalBlocks } else { StorageKind::SharedBlocks };
            self.add_storage(id.clone(), kind);
        }
        self.add_storage("local".to_owned(), StorageKind::LocalFiles);
        if files.is_empty() {
            self.add_storage("resources".to_owned(), StorageKind::SharedFiles);
        }
        if blocks.is_none() {
            self.add_storage("rbd-vm".to_owned(), StorageKind::SharedBlocks);
        }
        if let Some(SdnController::Existing(id)) =
            site.sdn.as_ref().and_then(|sdn| sdn.controller.as_ref())
        {
            self.controllers.insert(id.clone());
        }
    }

    fn add_node(&mut self, name: &str) {
        if !self.nodes.iter().any(|node| node == name) {
            self.nodes.push(name.to_owned());
        }
    }

    fn add_storage(&mut self, id: String, kind: StorageKind) {
        self.storages.entry(id.clone()).or_insert(Storage { id, kind });
    }

    fn images(&mut self, site: &Site) {
        if let Ok(url) = url::Url::parse(&site.images.factory_url)
            && let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default())
        {
            self.factories.insert((host.to_owned(), port));
        }
        self.factory_owner.clone_from(&site.images.factory_owner);
        let made = site.extension.as_ref().map(ExtensionSource::reference).unwrap_or_default();
        let ours = site.images.installer_registry.iter();
        if let Some(extension) = &site.extension {
            self.add_registry(&made);
            // The lab's factory hands out synthetic packages, under the name of whoever has them.
            for package in &extension.packages {
                if let PackagePlace::Url(url) = &package.place
                    && let Ok(url) = url::Url::parse(url)
                    && let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default())
                {
                    self.factories.insert((host.to_owned(), port));
                }
            }
        }
        let extensions =
            site.schematic.system_extensions.iter().chain(&site.schematic.custom_extensions);
        let clis = site.clusters.iter().filter_map(|c| c.versions.cilium_cli_image.as_ref());
        let installers =
            site.clusters.iter().filter_map(|c| c.artifact_overrides.installer_image.as_ref());
        for text in ours {
            self.add_registry(text);
        }
        if let Ok(images) = crate::compose::image::desired(site)
            && let Some(recipe) = &images.build
        {
            for version in images.versions.keys() {
                for (repository, kind) in [
                    (&recipe.imager, BuildPart::Imager),
                    (&recipe.installer_base, BuildPart::InstallerBase),
                ] {
                    let name = format!("{repository}:v{version}");
                    self.add_registry(&name);
                    self.build_parts.insert(name, kind);
                }
            }
            for text in recipe.extensions.iter().filter(|text| **text != made) {
                let name = crate::compose::need::lab_name(text);
                self.add_registry(&name);
                self.build_parts.insert(name, BuildPart::Extension);
            }
        }
        // A cluster with Cilium and no installer named takes the one of this build.
        let own = site.clusters.iter().any(|cluster| {
            cluster.cni == Cni::Cilium && cluster.versions.cilium_cli_image.is_none()
        });
        if own {
            self.add_registry(DEFAULT_CLI_IMAGE);
            self.images.insert(DEFAULT_CLI_IMAGE.to_owned());
        }
        let theirs =
            extensions.chain(&site.versions.cilium_cli_image).chain(clis).chain(installers);
        for text in theirs.filter(|text| **text != made) {
            let text = crate::compose::need::whole(text);
            self.add_registry(&text);
            self.images.insert(text);
        }
    }

    fn add_registry(&mut self, reference: &str) {
        let Ok(image) = reference.parse::<ImageReference>() else { return };
        let name = image.registry();
        let split = match name.strip_prefix('[') {
            Some(rest) => rest.split_once("]:").map(|(host, port)| (host, port.parse().ok())),
            None => name.split_once(':').map(|(host, port)| (host, port.parse().ok())),
        };
        let (host, port) = match split {
            Some((host, Some(port))) => (host, port),
            _ => (name, 443),
        };
        // Docker Hub is spoken to under another name.
        let host = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let entry = (host.to_owned(), port);
        if !self.factories.contains(&entry) {
            self.registries.insert(entry);
        }
    }

    fn cluster(&mut self, site: &Site, cluster: &Cluster) {
        let segment = &cluster.segment;
        let is_vnet = site.sdn.as_ref().is_some_and(|sdn| sdn.vnets.contains_key(&segment.bridge));
        if !is_vnet {
            let mtu = u32::from(segment.mtu.unwrap_or(1500)).max(1500);
            let bridge = self.bridges.entry(segment.bridge.clone()).or_default();
            *bridge = mtu.max(*bridge);
        }
        let mut prefixes = BTreeSet::new();
        for vip in &cluster.vips {
            prefixes.insert(IpNet::from(*vip));
            self.dial(*vip);
        }
        for node in &cluster.nodes {
            let nets = node.ipv6.map(IpNet::from).into_iter();
            let nets = nets.chain(node.ipv4.map(IpNet::from)).chain(node.gua.map(IpNet::from));
            prefixes.extend(nets.clone().map(|net| net.trunc()));
            prefixes.extend(node.loopbacks.iter().copied());
            for net in nets {
                self.dial(net.addr());
            }
            for device in &node.pci {
                match &device.device {
                    PciSource::Address(address) => {
                        let (node, address) = (node.proxmox_node.clone(), whole(address));
                        self.devices.insert(Device { node, address });
                    }
                    PciSource::Mapping(name) => {
                        let mapping = self.mappings.entry(name.clone()).or_default();
                        *mapping.devices.entry(node.proxmox_node.clone()).or_default() += 1;
                    }
                }
            }
        }
        let vnet = site.sdn.as_ref().and_then(|sdn| sdn.vnets.get(&segment.bridge));
        prefixes.extend(vnet.into_iter().flat_map(|vnet| vnet.subnets.iter().map(|s| s.cidr)));
        self.add_segment(Segment {
            bridge: segment.bridge.clone(),
            tag: segment.vlan,
            prefixes,
            is_vnet,
        });
    }

    fn dial(&mut self, address: IpAddr) {
        self.addresses.insert((address, MACHINE_API));
        self.addresses.insert((address, KUBERNETES_API));
    }

    fn add_segment(&mut self, segment: Segment) {
        let same =
            |other: &&mut Segment| other.bridge == segment.bridge && other.tag == segment.tag;
        match self.segments.iter_mut().find(same) {
            Some(there) => there.prefixes.extend(segment.prefixes),
            None => self.segments.push(segment),
        }
    }

    /// Adds what a newer tree wants. What only the older one wanted stays: its machines may run.
    /// Networks that both have are as the newer one says.
    pub fn merge(&mut self, newer: Self) {
        for node in &newer.nodes {
            self.add_node(node);
        }
        for (id, storage) in newer.storages {
            self.storages.entry(id).or_insert(storage);
        }
        for (bridge, mtu) in newer.bridges {
            let there = self.bridges.entry(bridge).or_default();
            *there = mtu.max(*there);
        }
        self.devices.extend(newer.devices);
        for (name, mapping) in newer.mappings {
            let there = self.mappings.entry(name).or_default();
            for (node, count) in mapping.devices {
                let devices = there.devices.entry(node).or_default();
                *devices = count.max(*devices);
            }
        }
        self.controllers.extend(newer.controllers);
        self.segments.retain(|old| {
            !newer.segments.iter().any(|new| new.bridge == old.bridge && new.tag == old.tag)
        });
        self.segments.extend(newer.segments);
        self.segments.sort();
        self.addresses.extend(newer.addresses);
        self.factories.extend(newer.factories);
        self.factory_owner = newer.factory_owner;
        self.build_parts.extend(newer.build_parts);
        self.registries.extend(newer.registries);
        self.registries.retain(|entry| !self.factories.contains(entry));
        self.images.extend(newer.images);
    }
}

/// Storages whose name says that each node has its own.
fn is_local(id: &str) -> bool {
    id == "local" || id.starts_with("local-")
}

/// A PCI address with domain and function.
fn whole(address: &str) -> String {
    let address = match address.matches(':').count() {
        1 => format!("0000:{address}"),
        _ => address.to_owned(),
    };
    if address.contains('.') { address } else { format!("{address}.0") }
}
