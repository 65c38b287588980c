//! Clusters and their nodes, and the site as a whole.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use netplan::{ClusterPlan, NodePlan, Role as PlannedRole, SitePlan};

use super::common::{self, Context};
use super::diagnostic::{Diagnostic, Level};
use super::file::{self, File};
use super::identity::{self, Identity};
use super::key::Section;
use super::patches::patches;
use super::tree::Gathered;
use super::{extension, network, plan, stage};
use crate::spec::hcl::{Value, did_you_mean};
use crate::spec::site::{
    ArtifactOverrides, Cluster, Cni, Node, PciDevice, PciSource, Role, Segment, Site, Unmanaged,
    Versions,
};

/// Reads the whole site. There is none when something that everything needs is missing.
pub(super) fn site(
    context: &Context<'_>,
    gathered: &mut Gathered,
) -> (Option<Site>, Option<SitePlan>) {
    let versions = common::versions(context, gathered);
    let name = context.file(Section::Proxmox).text(&["site"]).unwrap_or_else(|| "live".to_owned());
    let proxmox = common::proxmox(context, gathered);
    let mut schematic = common::schematic(context, gathered);
    let extension = extension::extension(context, gathered);
    if let Some(extension) = &extension {
        extension::join(context, extension, &mut schematic, gathered);
    }
    let network = network::network(context, gathered);
    let (_, vnets) =
        network::vnets(context, &mut Gathered::new(std::rc::Rc::clone(&gathered.loader)));
    let sdn = network::sdn(context, vnets, gathered);
    let files: Vec<(&File, Identity)> =
        context.tree.clusters.iter().map(|file| (file, identity::of(file, gathered))).collect();
    let pairs: Vec<(&File, &Identity)> = files.iter().map(|(file, one)| (*file, one)).collect();
    let copies = identity::unique(&pairs, gathered);
    let routing = is_routing(&schematic.system_extensions)
        || is_routing(&schematic.custom_extensions)
        || is_routing(&schematic.factory_extensions);
    let shared = (routing, network.base_domain.as_deref());
    let inputs = files
        .iter()
        .filter(|(file, _)| file.folder.as_ref().is_none_or(|folder| !copies.contains(folder)))
        .filter_map(|(file, one)| plan::cluster(file, one, versions.as_ref(), shared, gathered))
        .collect();
    let input = plan::input(context, &name, inputs, sdn.as_ref(), gathered);
    let planned = netplan::plan_site(&input);
    plan::tell(context, &planned, gathered);
    let images = stage::images(context, &schematic, gathered);
    let registry = stage::registry(context, &proxmox, gathered);
    let credentials = common::credentials(context, gathered);
    let rings = common::rings(context, gathered);
    let Some(versions) = versions else { return (None, Some(planned)) };
    let mut site = Site {
        name,
        live: context.live.to_path_buf(),
        repo_root: context.repo_root.to_path_buf(),
        proxmox,
        credentials,
        versions,
        rings,
        schematic,
        extension,
        images,
        registry,
        sdn,
        network,
        clusters: Vec::new(),
        unmanaged: Vec::new(),
    };
    let mut used = Vec::new();
    for (file, one) in &files {
        let found = planned.clusters.iter().find(|cluster| {
            Some(cluster.id.get()) == one.id && Some(cluster.name.as_str()) == one.name.as_deref()
        });
        if !one.managed {
            site.unmanaged.push(unmanaged(file, one, "it has no `controlplanes`"));
        } else if file.flag(&["enabled"]) == Some(false) {
            site.unmanaged.push(unmanaged(file, one, "`enabled` is false"));
        } else if let Some(found) = found {
            let cluster = cluster(&site, file, found, gathered);
            site.clusters.push(cluster);
            used.push(found.clone());
        }
    }
    devices(context, &site, gathered);
    known_rings(context, &site, gathered);
    let enabled = SitePlan { clusters: used, ..planned.clone() };
    plan::default_vnets(&mut site, &enabled);
    if let Some(sdn) = &mut site.sdn {
        network::delegate(context, sdn, &input.delegated, gathered);
    }
    (Some(site), Some(planned))
}

/// Whether an extension brings a routing daemon.
fn is_routing(extensions: &[String]) -> bool {
    extensions.iter().any(|reference| {
        let path = reference.split('@').next().unwrap_or(reference);
        let name = path.rsplit('/').next().unwrap_or(path).split(':').next().unwrap_or(path);
        name.split('-').any(|part| matches!(part, "frr" | "bird" | "bird2" | "gobgp"))
    })
}

fn unmanaged(file: &File, one: &Identity, reason: &str) -> Unmanaged {
    Unmanaged {
        folder: file.folder.clone().unwrap_or_default(),
        id: one.id,
        name: one.name.clone(),
        reason: reason.to_owned(),
    }
}

fn cluster(site: &Site, file: &File, planned: &ClusterPlan, gathered: &mut Gathered) -> Cluster {
    let (versions, versions_overridden) = versions(site, file, gathered);
    let cni = cni(file, &versions, gathered);
    let use_sdn = file.flag(&["network", "use_sdn"]).unwrap_or(false);
    if use_sdn && site.sdn.is_none() {
        let message = "`use_sdn` is set, but there is no zone".to_owned();
        let help = "set `zone_id` in common/0-sdn-setup/sdn.hcl, or `sdn.zone_id`";
        let place = file.place(&["network", "use_sdn"]);
        gathered.error_help("tree-0043", message, place.as_ref(), help);
    }
    endpoint(file, gathered);
    let nets = |list: &[netplan::Derived<IpNet>]| list.iter().map(|net| net.value).collect();
    let overrides = overrides(file, planned, gathered);
    Cluster {
        folder: file.folder.clone().unwrap_or_default(),
        file: file.path.clone(),
        id: planned.id.get(),
        tenant_id: planned.tenant_id.get(),
        name: planned.name.to_string(),
        versions,
        versions_overridden,
        cni,
        endpoint: planned.endpoint.as_ref().map(|one| one.value.clone()).unwrap_or_default(),
        vips: planned.vips.iter().map(|vip| vip.value).collect(),
        schedulable_controlplanes: planned.schedulable_controlplanes,
        pod_subnets: nets(&planned.pods),
        service_subnets: nets(&planned.services),
        load_balancer_subnets: nets(&planned.load_balancers),
        cert_sans: planned.cert_sans.iter().map(|san| san.value.clone()).collect(),
        valid_subnets: nets(&planned.valid_subnets),
        advertised_subnets: nets(&planned.advertised_subnets),
        segment: Segment {
            bridge: planned.bridge.value.clone(),
            vlan: planned.card_vlan.as_ref().map(|vlan| vlan.value.get()),
            mtu: planned.mtu.as_ref().and_then(|mtu| u16::try_from(mtu.value).ok()),
            use_sdn,
            gateway_v4: planned.gateway_ipv4.as_ref().map(|gateway| gateway.value),
            gateway_v6: planned.gateway_ipv6.as_ref().map(|gateway| gateway.value),
        },
        apply_mode: apply_mode(file, gathered),
        patches_all: patches(file, &["config_patches", "all"], gathered),
        patches_controlplane: patches(file, &["config_patches", "controlplane"], gathered),
        patches_worker: patches(file, &["config_patches", "worker"], gathered),
        artifact_overrides: ArtifactOverrides {
            installer_image: file.text(&["artifact_overrides", "installer_image"]),
            iso_file_id: file.text(&["artifact_overrides", "iso_file_id"]),
        },
        nodes: nodes(site, file, planned, &overrides, gathered),
    }
}

fn versions(site: &Site, file: &File, gathered: &mut Gathered) -> (Versions, bool) {
    let mut versions = site.versions.clone();
    let mut differ = false;
    let talos = common::version(file, &["talos_version"], gathered);
    let kubernetes = common::version(file, &["kubernetes_version"], gathered);
    let pairs = [
        ("talos_version", talos, &mut versions.talos),
        ("kubernetes_version", kubernetes, &mut versions.kubernetes),
    ];
    for (key, own, shared) in pairs {
        let Some(own) = own.filter(|own| own != shared) else { continue };
        let message = format!("`{key}` is {own}, the site has {shared}");
        let diagnostic = Diagnostic::new(Level::Info, "tree-0050", message)
            .at(file.place(&[key]).as_ref(), &gathered.sources());
        gathered.diagnostics.push(diagnostic);
        *shared = own;
        differ = true;
    }
    (versions, differ)
}

fn cni(file: &File, versions: &Versions, gathered: &mut Gathered) -> Cni {
    let cni = match file.text(&["cni"]).as_deref() {
        None | Some("cilium") => Cni::Cilium,
        Some("flannel") => Cni::Flannel,
        Some("none") => Cni::None,
        Some(other) => {
            let message = format!("`cni` is `{other}`, not `cilium`, `flannel` or `none`");
            gathered.error("tree-0044", message, file.place(&["cni"]).as_ref());
            Cni::None
        }
    };
    if cni == Cni::Cilium && versions.cilium.is_none() {
        let message = "`cni` is `cilium`, but `cilium_version` is not set".to_owned();
        let help = "set `cilium_version` in common/versions.hcl, or another `cni`";
        gathered.error_help("tree-0044", message, file.place(&["cni"]).as_ref(), help);
    }
    cni
}

fn apply_mode(file: &File, gathered: &mut Gathered) -> String {
    let mode = file.text(&["talos_apply_mode"]).unwrap_or_else(|| "auto".to_owned());
    if !matches!(mode.as_str(), "auto" | "no-reboot" | "reboot" | "staged") {
        let message = format!(
            "`talos_apply_mode` is `{mode}`, not `auto`, `no-reboot`, `reboot` or `staged`"
        );
        gathered.error("tree-0045", message, file.place(&["talos_apply_mode"]).as_ref());
    }
    mode
}

/// An endpoint that is given must be where an API server can be: nodes would wait for it for ever.
fn endpoint(file: &File, gathered: &mut Gathered) {
    let Some(text) = file.text(&["network", "cluster_endpoint"]) else { return };
    let is_one = url::Url::parse(&text).is_ok_and(|url| {
        url.scheme() == "https" && url.host().is_some() && matches!(url.path(), "" | "/")
    });
    if !is_one {
        let message = format!("`cluster_endpoint` is `{text}`, which is no URL of an API server");
        let place = file.place(&["network", "cluster_endpoint"]);
        let help = "write it as `https://HOST:6443`, an IPv6 address in brackets";
        gathered.error_help("tree-0053", message, place.as_ref(), help);
    }
}

/// Names of overrides that are nodes; the others are told.
fn overrides(file: &File, planned: &ClusterPlan, gathered: &mut Gathered) -> BTreeSet<String> {
    let names: Vec<&str> = planned.nodes.iter().map(|node| node.name.value.as_str()).collect();
    let mut found = BTreeSet::new();
    for name in file.names(&["node_overrides"]) {
        if names.contains(&name.as_str()) {
            found.insert(name);
            continue;
        }
        let message = format!("`node_overrides` has `{name}`, which is no node of the cluster");
        let help = match did_you_mean(&name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("its nodes are {}", names.join(", ")),
        };
        let diagnostic = Diagnostic::new(Level::Warning, "tree-0047", message)
            .help(help)
            .at(file.place(&["node_overrides", &name]).as_ref(), &gathered.sources());
        gathered.diagnostics.push(diagnostic);
    }
    found
}

fn nodes(
    site: &Site,
    file: &File,
    planned: &ClusterPlan,
    overrides: &BTreeSet<String>,
    gathered: &mut Gathered,
) -> Vec<Node> {
    let hosts = file.texts(&["proxmox_nodes"]).unwrap_or_else(|| site.proxmox.nodes.clone());
    if hosts.is_empty() {
        let message = "there is no Proxmox node for the cluster's machines".to_owned();
        let help = "set `proxmox_nodes` in common/proxmox-infrastructure.hcl, or here";
        gathered.error_help("tree-0048", message, file.place(&["proxmox_nodes"]).as_ref(), help);
    }
    let routing = planned.valid_subnets.iter().any(|net| {
        planned.loopback_ipv6.as_ref().is_some_and(|own| net.value == IpNet::V6(own.value))
            || planned.loopback_ipv4.as_ref().is_some_and(|own| net.value == IpNet::V4(own.value))
    });
    let mut nodes = Vec::new();
    for node in &planned.nodes {
        let own = overrides.contains(&node.name.value);
        let host = hosts.get(usize::from(node.index) % hosts.len().max(1)).cloned();
        let mut made = machine(file, node, own, gathered);
        made.proxmox_node = match file.text(&["node_overrides", &node.name.value, "node_name"]) {
            Some(named) => {
                if !site.proxmox.nodes.is_empty() && !site.proxmox.nodes.contains(&named) {
                    let path = ["node_overrides", &node.name.value, "node_name"];
                    let message = format!("`node_name` is `{named}`, which is no node of the site");
                    gathered.error("tree-0015", message, file.place(&path).as_ref());
                }
                named
            }
            None => host.unwrap_or_default(),
        };
        if routing {
            let six = node.loopback_ipv6.iter().map(|net| IpNet::V6(net.value));
            made.loopbacks =
                six.chain(node.loopback_ipv4.iter().map(|net| IpNet::V4(net.value))).collect();
        }
        nodes.push(made);
    }
    nodes
}

fn machine(file: &File, node: &NodePlan, own: bool, gathered: &mut Gathered) -> Node {
    let name = &node.name.value;
    let (sizing, defaults) = match node.role {
        PlannedRole::ControlPlane => ("control_plane", [4, 8192, 40]),
        PlannedRole::Worker => ("worker", [6, 16_384, 80]),
    };
    let mut size = |key: &str, default: u32| -> u32 {
        let special = ["node_overrides", name.as_str(), key];
        let path =
            if own && file.get(&special).is_some() { special } else { ["vm_sizing", sizing, key] };
        let number = network::number::<u32>(file, &path, gathered).unwrap_or(default);
        if number == 0 {
            let message = format!("`{}` is 0", path.join("."));
            gathered.error("tree-0031", message, file.place(&path).as_ref());
        }
        number
    };
    let [cores, memory, disk] = defaults;
    let (cores, memory_mib, disk_gib) =
        (size("cpu_cores", cores), size("memory_mb", memory), size("disk_gb", disk));
    Node {
        name: name.clone(),
        role: match node.role {
            PlannedRole::ControlPlane => Role::ControlPlane,
            PlannedRole::Worker => Role::Worker,
        },
        suffix: node.suffix.value.get(),
        vmid: node.vmid.value.get(),
        proxmox_node: String::new(),
        uuid: node.uuid.value,
        mac: node.mac.value.to_string(),
        ipv4: node.ipv4.as_ref().map(|net| net.value),
        ipv6: node.ipv6.as_ref().map(|net| net.value),
        gua: node.gua.as_ref().map(|net| net.value),
        link_local: node.link_local.as_ref().map(|net| net.value),
        loopbacks: Vec::new(),
        asn: node.asn.as_ref().map(|asn| asn.value.get()).unwrap_or_default(),
        cores,
        memory_mib,
        disk_gib,
        extra_disks_gib: if own { disks(file, name, gathered) } else { Vec::new() },
        pci: if own { pci(file, name, gathered) } else { Vec::new() },
        patches: if own {
            patches(file, &["node_overrides", name, "config_patches"], gathered)
        } else {
            Vec::new()
        },
    }
}

/// Further disks: sizes, or objects with `size_gb`.
fn disks(file: &File, name: &str, gathered: &mut Gathered) -> Vec<u32> {
    let path = ["node_overrides", name, "disks"];
    let Some(value) = file.get(&path) else { return Vec::new() };
    let size = |item: &Value| {
        let number = file::count(item).or_else(|| item.get("size_gb").and_then(file::count))?;
        u32::try_from(number).ok().filter(|size| *size > 0)
    };
    let found: Option<Vec<u32>> = value.items().and_then(|items| items.iter().map(size).collect());
    found.unwrap_or_else(|| {
        let message = "`disks` must be a list of sizes in GiB".to_owned();
        gathered.error("tree-0003", message, file.place(&path).as_ref());
        Vec::new()
    })
}

fn pci(file: &File, name: &str, gathered: &mut Gathered) -> Vec<PciDevice> {
    let front = ["node_overrides", name, "gpu_passthrough"];
    if file.get(&front).is_none() {
        return Vec::new();
    }
    let path = |key| ["node_overrides", name, "gpu_passthrough", key];
    let mapping = file.text(&path("mapping")).map(PciSource::Mapping);
    let one = file.text(&path("pci_address"));
    let many = file.texts(&path("pci_addresses")).unwrap_or_default();
    let addresses = one.into_iter().chain(many).map(PciSource::Address);
    let sources: Vec<PciSource> = mapping.into_iter().chain(addresses).collect();
    if sources.is_empty() {
        let message = "`gpu_passthrough` names no device".to_owned();
        let help = "set `mapping`, `pci_address` or `pci_addresses`";
        gathered.error_help("tree-0049", message, file.place(&front).as_ref(), help);
    }
    let flags = [file.flag(&path("pcie")), file.flag(&path("rombar")), file.flag(&path("x_vga"))];
    let [pcie, rombar, x_vga] = flags;
    sources.into_iter().map(|device| PciDevice { device, pcie, rombar, x_vga }).collect()
}

/// Reports a PCI device that two machines of one Proxmox node are given.
fn devices(context: &Context<'_>, site: &Site, gathered: &mut Gathered) {
    let mut seen: BTreeMap<(String, String), String> = BTreeMap::new();
    for cluster in &site.clusters {
        let file = context.tree.clusters.iter().find(|file| file.path == cluster.file);
        for node in &cluster.nodes {
            for device in &node.pci {
                let PciSource::Address(address) = &device.device else { continue };
                let normal = address.to_ascii_lowercase();
                let normal = normal.strip_prefix("0000:").unwrap_or(&normal).to_owned();
                let first = seen.insert((node.proxmox_node.clone(), normal), node.name.clone());
                let Some(first) = first else { continue };
                let message = format!(
                    "the device {address} of {} is given to {first} and to {}",
                    node.proxmox_node, node.name
                );
                let path = ["node_overrides", node.name.as_str(), "gpu_passthrough"];
                let place = file.and_then(|file| file.place(&path));
                gathered.error("tree-0051", message, place.as_ref());
            }
        }
    }
}

/// Reports names in `rings` that are no cluster.
fn known_rings(context: &Context<'_>, site: &Site, gathered: &mut Gathered) {
    let managed = site.clusters.iter().map(|cluster| cluster.name.as_str());
    let other = site.unmanaged.iter().filter_map(|cluster| cluster.name.as_deref());
    let names: Vec<&str> = managed.chain(other).collect();
    for name in site.rings.iter().flatten().filter(|name| !names.contains(&name.as_str())) {
        let message = format!("`rings` has `{name}`, which is no cluster");
        let place = context.file(Section::Versions).place(&["rings"]);
        gathered.warning("tree-0052", message, place.as_ref());
    }
}
