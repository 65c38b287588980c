//! The virtual machine of a node, as Proxmox should have it.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use proxmox_client::VmId;
use proxmox_client::plan::vm::{Disk, VmDesired};
use sha2::Digest as _;

use super::config::DiskSelector;
use crate::error::Error;
use crate::spec::site::{Cluster, Node, PciSource, Site};

/// The mark of everything that this program makes.
pub const TAG: &str = "clusterctl";

/// Where the ISO is attached.
pub const MEDIUM_KEY: &str = "ide0";

/// Where the cloud-init drive is attached.
const CLOUD_INIT_KEY: &str = "ide2";

/// The system disk.
pub const DISK_KEY: &str = "scsi0";

/// How many PCI devices a machine can have.
const MOST_PCI: usize = 16;

/// The storages that machines and files lie on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storages {
    /// Holds ISO files.
    pub iso: String,
    /// Holds disks.
    pub vm: String,
}

/// What all machines have in common.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The site.
    pub site: &'a Site,
    /// Where things lie.
    pub storages: &'a Storages,
    /// The image has the QEMU guest agent.
    pub guest_agent: bool,
}

/// The machine of a node; `iso` is the volume that it boots from first.
///
/// # Errors
/// The node's VMID or its addresses cannot be used.
pub fn desired(
    ground: Ground<'_>,
    cluster: &Cluster,
    node: &Node,
    iso: &str,
) -> Result<VmDesired, Error> {
    let Ground { site, storages, guest_agent } = ground;
    let vmid = VmId::try_from(node.vmid)
        .map_err(|error| Error::failed(format!("number node {}", node.name)).because(error))?;
    let mut keys: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |key: &str, value: String| {
        keys.insert(key.to_owned(), value);
    };
    set("name", node.name.clone());
    set("ostype", "l26".into());
    set("machine", "q35".into());
    set("bios", "ovmf".into());
    set("cpu", "host".into());
    set("sockets", "1".into());
    set("cores", node.cores.to_string());
    set("memory", node.memory_mib.to_string());
    set("balloon", "0".into());
    set("scsihw", "virtio-scsi-single".into());
    set("serial0", "socket".into());
    set("agent", if guest_agent { "enabled=1" } else { "enabled=0" }.into());
    set("onboot", "1".into());
    set("citype", "nocloud".into());
    set("boot", format!("order={DISK_KEY};{MEDIUM_KEY}"));
    set("net0", net(cluster, node));
    set("ipconfig0", ipconfig(cluster, node)?);
    let resolvers: Vec<String> = site.network.dns_servers.iter().map(ToString::to_string).collect();
    let mut absent = BTreeSet::new();
    if resolvers.is_empty() {
        absent.insert("nameserver".to_owned());
    } else {
        set("nameserver", resolvers.join(" "));
    }
    match &site.network.base_domain {
        Some(domain) => set("searchdomain", domain.clone()),
        None => {
            absent.insert("searchdomain".to_owned());
        }
    }
    for index in 0..MOST_PCI {
        let key = format!("hostpci{index}");
        match node.pci.get(index) {
            Some(device) => set(&key, pci(device)),
            None => {
                absent.insert(key);
            }
        }
    }
    let tags = [TAG.to_owned(), format!("cluster-{}", cluster.id)];
    Ok(VmDesired {
        vmid,
        node: node.proxmox_node.clone(),
        uuid: node.uuid.to_string(),
        tags: tags.into(),
        keys,
        absent,
        disks: disks(node, storages),
        efi_storage: Some(storages.vm.clone()),
        cloud_init: Some((CLOUD_INIT_KEY.to_owned(), storages.vm.clone())),
        medium: Some((MEDIUM_KEY.to_owned(), iso.to_owned())),
    })
}

fn net(cluster: &Cluster, node: &Node) -> String {
    let segment = &cluster.segment;
    let tag = segment.vlan.filter(|_| !segment.use_sdn).map(|tag| format!(",tag={tag}"));
    // An MTU of 1 is that of the bridge.
    format!(
        "virtio={},bridge={},mtu=1{}",
        node.mac.to_ascii_uppercase(),
        segment.bridge,
        tag.unwrap_or_default()
    )
}

/// Proxmox' own cloud-init says one address of each family.
fn ipconfig(cluster: &Cluster, node: &Node) -> Result<String, Error> {
    let mut parts = Vec::new();
    if let Some(net) = node.ipv4 {
        parts.push(format!("ip={net}"));
        parts.extend(cluster.segment.gateway_v4.map(|gateway| format!("gw={gateway}")));
    }
    if let Some(net) = node.ipv6 {
        parts.push(format!("ip6={net}"));
        parts.extend(cluster.segment.gateway_v6.map(|gateway| format!("gw6={gateway}")));
    }
    if parts.is_empty() {
        return Err(Error::failed(format!("node {} has no address", node.name)));
    }
    Ok(parts.join(","))
}

fn pci(device: &crate::spec::site::PciDevice) -> String {
    let flag = |name: &str, value: Option<bool>| {
        value.map(|value| format!(",{name}={}", u8::from(value))).unwrap_or_default()
    };
    let source = match &device.device {
        PciSource::Mapping(name) => format!("mapping={name}"),
        PciSource::Address(address) => format!("host={address}"),
    };
    format!(
        "{source}{}{}{}",
        flag("pcie", device.pcie),
        flag("rombar", device.rombar),
        flag("x-vga", device.x_vga)
    )
}

fn disks(node: &Node, storages: &Storages) -> Vec<Disk> {
    let sizes = std::iter::once(node.disk_gib).chain(node.extra_disks_gib.iter().copied());
    sizes
        .enumerate()
        .map(|(index, size_gib)| {
            let options = [
                ("discard", "on".to_owned()),
                ("iothread", "1".to_owned()),
                ("ssd", "1".to_owned()),
                // The guest sees the world-wide name; the serial is for people.
                ("serial", format!("{}-{index}", node.name)),
                ("wwn", format!("0x{:016x}", wwn(node, index))),
            ];
            Disk {
                key: format!("scsi{index}"),
                storage: storages.vm.clone(),
                size_gib,
                options: options.map(|(key, value)| (key.to_owned(), value)).into(),
            }
        })
        .collect()
}

/// A world-wide name of the locally assigned kind (NAA 3), made from the machine's UUID.
fn wwn(node: &Node, index: usize) -> u64 {
    let text = format!("{}/{index}", node.uuid);
    let digest = sha2::Sha256::digest(text.as_bytes());
    let number = digest.iter().take(8).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    (number & 0x0fff_ffff_ffff_ffff) | (3 << 60)
}

/// The ways to tell the system disk of a node apart, best first.
pub fn selectors(node: &Node) -> [DiskSelector; 2] {
    [
        DiskSelector::Wwid(format!("naa.{:016x}", wwn(node, 0))),
        DiskSelector::Size(u64::from(node.disk_gib) << 30),
    ]
}

/// The prefixes of the network that a cluster's nodes are on.
pub fn prefixes(cluster: &Cluster) -> Vec<IpNet> {
    let mut found: Vec<IpNet> = Vec::new();
    for node in &cluster.nodes {
        let v6 = node.ipv6.map(|net| IpNet::V6(net.trunc()));
        let v4 = node.ipv4.map(|net| IpNet::V4(net.trunc()));
        for net in v6.into_iter().chain(v4) {
            if !found.contains(&net) {
                found.push(net);
            }
        }
    }
    found
}
