//! Every key that is said to be acted on changes the site when it is set.

use super::key::{KEYS, Key, Section, Status};
use super::tests::tree;
use super::{Level, Loaded};

/// A value of each key that differs from its default, as it is written in the tree. What a key
/// needs around it stands before it, separated by `;`.
const VALUES: &[(Section, &str, &str)] = &[
    (Section::Versions, "talos_version", "\"v1.12.1\""),
    (Section::Versions, "kubernetes_version", "\"v1.31.5\""),
    (Section::Versions, "talos_architecture", "\"arm64\""),
    (Section::Versions, "cilium_version", "\"1.18.5\""),
    (Section::Versions, "cilium_cli_image", "\"registry.example/cli:v1\""),
    (Section::Versions, "rings", "[\"sol\"]"),
    (Section::Schematic, "install_system_extensions", "[\"siderolabs/iscsi-tools\"]"),
    (Section::Schematic, "install_custom_extensions", "[\"registry.example/mine:v1\"]"),
    (Section::Schematic, "install_factory_extensions", "[\"siderolabs/iscsi-tools\"]"),
    (Section::Schematic, "install_kernel_args", "[\"quiet\"]"),
    (Section::Prefixes, "delegated_prefixes.*", "\"2001:db8:7::/64\""),
    (Section::Prefixes, "delegated_prefixes.*.prefix", "\"2001:db8:7::/64\""),
    (
        Section::Prefixes,
        "delegated_prefixes.*.gateway",
        "\"2001:db8:7::1\", prefix = \"2001:db8:7::/64\"",
    ),
    (
        Section::Prefixes,
        "delegated_gateways",
        "{ vnet101 = \"2001:db8:7::1\" }; delegated_prefixes = { vnet101 = \"2001:db8:7::/64\" }",
    ),
    (Section::Credentials, "secrets_file", "\"credentials.hcl\""),
    (Section::Credentials, "age_key_file", "\"credentials.hcl\""),
    (Section::Credentials, "pve_endpoint", "\"https://pve.example:8006\""),
    (Section::Credentials, "pve_api_token", "\"a@pve!b=c\""),
    (Section::Credentials, "pve_username", "\"a@pve\""),
    (Section::Credentials, "pve_password", "\"hush\""),
    (Section::Credentials, "pve_fingerprint", "\"AA:BB\""),
    (Section::Credentials, "pve_ca_file", "\"ca.pem\""),
    (Section::Proxmox, "site", "\"north\""),
    (Section::Proxmox, "proxmox_nodes", "[\"pve07\"]"),
    (Section::Proxmox, "proxmox_hostnames", "{ pve01 = \"pve01.example\" }"),
    (Section::Proxmox, "proxmox_primary_node", "\"pve01\""),
    (Section::Proxmox, "api_endpoint", "\"https://pve.example:8006\""),
    (Section::Proxmox, "storage.datastore_id", "\"files\""),
    (Section::Proxmox, "storage.vm_datastore", "\"disks\""),
    (Section::Network, "base_domain", "\"example.org\""),
    (Section::Network, "dns_servers.ipv4", "[\"192.0.2.1\"]"),
    (Section::Network, "dns_servers.ipv6", "[\"2001:db8::1\"]"),
    (Section::Network, "ntp_servers", "[\"ntp.example\"]"),
    (Section::Network, "bgp.asn_base", "4200000000"),
    (Section::Network, "sdn.zone_id", "\"z2\""),
    (Section::Network, "sdn.vrf_vxlan", "4097, zone_id = \"z1\""),
    (Section::Network, "sdn.mtu", "1400, zone_id = \"z1\""),
    (Section::Network, "sdn.disable_arp_nd_suppression", "true, zone_id = \"z1\""),
    (Section::Network, "sdn.advertise_subnets", "true, zone_id = \"z1\""),
    (
        Section::Network,
        "registry_mirrors.endpoints",
        "[\"https://mirror.example\"], registries = [\"docker.io\"]",
    ),
    (
        Section::Network,
        "registry_mirrors.registries",
        "[\"docker.io\"], endpoints = [\"https://mirror.example\"]",
    ),
    (Section::Network, "addressing.vip_ipv4_suffix", "9"),
    (Section::Network, "addressing.vip_ipv6_suffix", "9"),
    (Section::Network, "addressing.controlplane_offset", "12"),
    (Section::Network, "addressing.worker_offset", "31"),
    (Section::Network, "addressing.public_ipv4_pattern", "\"10.0.%d.\""),
    (Section::Network, "addressing.public_ipv6_pattern", "\"fd01:%d::\""),
    (Section::Network, "addressing.loopback_ipv4_pattern", "\"10.254.%d.\""),
    (Section::Network, "addressing.loopback_ipv6_pattern", "\"fd00:254:%d::\""),
    (Section::Network, "addressing.pods_ipv4_pattern", "\"10.%d.224.0/20\""),
    (Section::Network, "addressing.pods_ipv6_pattern", "\"fd00:%d:250::/60\""),
    (Section::Network, "addressing.services_ipv4_pattern", "\"10.%d.97.0/24\""),
    (Section::Network, "addressing.services_ipv6_pattern", "\"fd00:%d:97::/112\""),
    (Section::Network, "addressing.loadbalancers_ipv4_pattern", "\"10.%d.28.0/24\""),
    (Section::Network, "addressing.loadbalancers_ipv6_pattern", "\"fd00:%d:1c::/120\""),
    (Section::Vnets, "vnets.*.ipv4_subnet", "\"192.0.2.0/24\""),
    (Section::Vnets, "vnets.*.ipv6_subnet", "\"2001:db8:9::/64\""),
    (Section::Vnets, "vnets.*.ipv4_gateway", "\"192.0.2.1\", ipv4_subnet = \"192.0.2.0/24\""),
    (
        Section::Vnets,
        "vnets.*.ipv6_gateway",
        "\"2001:db8:9::1\", ipv6_subnet = \"2001:db8:9::/64\"",
    ),
    (Section::Vnets, "vnets.*.vxlan_id", "77"),
    (Section::Vnets, "vnets.*.vlan_id", "101"),
    (Section::Vnets, "vnets.*.alias", "\"words\""),
    (Section::Sdn, "zone_id", "\"z2\""),
    (Section::Sdn, "vrf_vxlan", "4097"),
    (Section::Sdn, "mtu", "1400"),
    (Section::Sdn, "nodes", "[\"pve01\"]"),
    (Section::Sdn, "exit_nodes", "[\"pve01\"]"),
    (Section::Sdn, "primary_exit_node", "\"pve01\""),
    (Section::Sdn, "controller", "\"other\""),
    (Section::Sdn, "controller.id", "\"c1\", asn = 65000, peers = [\"192.0.2.1\"]"),
    (Section::Sdn, "controller.asn", "65001, id = \"c1\", peers = [\"192.0.2.1\"]"),
    (Section::Sdn, "controller.peers", "[\"192.0.2.1\"], id = \"c1\", asn = 65000"),
    (Section::Sdn, "controller.fabric", "\"f1\", id = \"c1\", asn = 65000"),
    (Section::Sdn, "rt_import", "\"65000:1\""),
    (Section::Sdn, "disable_arp_nd_suppression", "true"),
    (Section::Sdn, "advertise_subnets", "true"),
    (Section::Sdn, "vnets.*.ipv4_subnet", "\"192.0.2.0/24\""),
    (Section::Sdn, "vnets.*.ipv6_subnet", "\"2001:db8:9::/64\""),
    (Section::Sdn, "vnets.*.ipv4_gateway", "\"192.0.2.1\", ipv4_subnet = \"192.0.2.0/24\""),
    (Section::Sdn, "vnets.*.ipv6_gateway", "\"2001:db8:9::1\", ipv6_subnet = \"2001:db8:9::/64\""),
    (Section::Sdn, "vnets.*.vxlan_id", "77"),
    (Section::Sdn, "vnets.*.vlan_id", "101"),
    (Section::Sdn, "vnets.*.alias", "\"words\""),
    (Section::Sdn, "delegated_prefixes.*", "\"2001:db8:7::/64\""),
    (Section::Sdn, "delegated_prefixes.*.prefix", "\"2001:db8:7::/64\""),
    (
        Section::Sdn,
        "delegated_prefixes.*.gateway",
        "\"2001:db8:7::1\", prefix = \"2001:db8:7::/64\"",
    ),
    (
        Section::Extension,
        "name",
        "\"other\"; version = \"1\"\nimage = \"registry.example/frr\"\npackages = [\"https://mirror.example/frr.deb\"]",
    ),
    (
        Section::Extension,
        "version",
        "\"2\"; name = \"frr\"\nimage = \"registry.example/frr\"\npackages = [\"https://mirror.example/frr.deb\"]",
    ),
    (
        Section::Extension,
        "image",
        "\"registry.example/others\"; name = \"frr\"\nversion = \"1\"\npackages = [\"https://mirror.example/frr.deb\"]",
    ),
    (
        Section::Extension,
        "source_dir",
        "\"..\"; name = \"frr\"\nversion = \"1\"\nimage = \"registry.example/frr\"\npackages = [\"https://mirror.example/frr.deb\"]",
    ),
    (
        Section::Extension,
        "packages",
        "[\"https://mirror.example/frr.deb\"]; name = \"frr\"\nversion = \"1\"\nimage = \"registry.example/frr\"",
    ),
    (
        Section::Extension,
        "services",
        "{ frr = { restart = \"always\" } }; name = \"frr\"\nversion = \"1\"\nimage = \"registry.example/frr\"\npackages = [\"https://mirror.example/frr.deb\"]",
    ),
    (
        Section::Extension,
        "compatibility",
        "\">= v1.11.0\"; name = \"frr\"\nversion = \"1\"\nimage = \"registry.example/frr\"\npackages = [\"https://mirror.example/frr.deb\"]",
    ),
    (Section::Images, "source", "\"build\""),
    (Section::Images, "factory_url", "\"https://factory.example\""),
    (Section::Images, "factory_owner", "\"me\""),
    (Section::Images, "installer_registry", "\"registry.example/installer\""),
    (Section::Images, "imager", "\"registry.example/imager\""),
    (Section::Images, "installer_base", "\"registry.example/base\""),
    (Section::Images, "iso_name", "\"mine\""),
    (Section::Images, "official_extensions", "[\"siderolabs/iscsi-tools\"]"),
    (Section::Images, "custom_extensions", "[\"registry.example/mine:v1\"]"),
    (Section::Images, "kernel_args", "\"quiet\""),
    (Section::Registry, "proxmox_datastore_id", "\"files\""),
    (Section::Registry, "proxmox_node_names", "[]"),
    (Section::Registry, "file_name_prefix", "\"mine-\""),
    (Section::Cluster, "enabled", "false"),
    (Section::Cluster, "tenant_id", "7"),
    (Section::Cluster, "workers", "2"),
    (Section::Cluster, "proxmox_nodes", "[\"pve02\"]"),
    (Section::Cluster, "talos_version", "\"v1.11.6\""),
    (Section::Cluster, "kubernetes_version", "\"v1.31.5\""),
    (Section::Cluster, "network.bridge_public", "\"vmbr7\", use_sdn = false"),
    (Section::Cluster, "network.vlan_public", "7, use_sdn = false"),
    (Section::Cluster, "network.public_mtu", "1400, use_sdn = false"),
    (Section::Cluster, "network.bridge_mesh", "\"vnet7\", use_sdn = true"),
    (Section::Cluster, "network.mesh_mtu", "1300, use_sdn = true"),
    (Section::Cluster, "network.use_sdn", "false"),
    (
        Section::Cluster,
        "network.use_vip",
        "false, cluster_endpoint = \"https://[2001:db8::1]:6443\"",
    ),
    (Section::Cluster, "network.cluster_endpoint", "\"https://[2001:db8::1]:6443\""),
    (Section::Cluster, "network.node_gua", "true"),
    (Section::Cluster, "node_overrides.*.node_name", "\"pve01\""),
    (Section::Cluster, "node_overrides.*.cpu_cores", "9"),
    (Section::Cluster, "node_overrides.*.memory_mb", "9000"),
    (Section::Cluster, "node_overrides.*.disk_gb", "99"),
    (Section::Cluster, "node_overrides.*.disks.*", "100"),
    (Section::Cluster, "node_overrides.*.disks.*.size_gb", "100"),
    (Section::Cluster, "node_overrides.*.gpu_passthrough.pci_address", "\"0000:01:00.0\""),
    (Section::Cluster, "node_overrides.*.gpu_passthrough.pci_addresses", "[\"0000:01:00.0\"]"),
    (Section::Cluster, "node_overrides.*.gpu_passthrough.mapping", "\"gpu\""),
    (Section::Cluster, "node_overrides.*.gpu_passthrough.pcie", "true, mapping = \"gpu\""),
    (Section::Cluster, "node_overrides.*.gpu_passthrough.rombar", "true, mapping = \"gpu\""),
    (Section::Cluster, "node_overrides.*.gpu_passthrough.x_vga", "true, mapping = \"gpu\""),
    (Section::Cluster, "node_overrides.*.config_patches", "[\"machine: {}\"]"),
    (Section::Cluster, "vm_sizing.control_plane.cpu_cores", "9"),
    (Section::Cluster, "vm_sizing.control_plane.memory_mb", "9000"),
    (Section::Cluster, "vm_sizing.control_plane.disk_gb", "99"),
    (Section::Cluster, "vm_sizing.worker.cpu_cores", "9"),
    (Section::Cluster, "vm_sizing.worker.memory_mb", "9000"),
    (Section::Cluster, "vm_sizing.worker.disk_gb", "99"),
    (Section::Cluster, "artifact_overrides.installer_image", "\"registry.example/installer:v1\""),
    (Section::Cluster, "artifact_overrides.iso_file_id", "\"files:iso/mine.iso\""),
    (Section::Cluster, "talos_apply_mode", "\"staged\""),
    (Section::Cluster, "cni", "\"flannel\""),
    (Section::Cluster, "config_patches.all", "[\"machine: {}\"]"),
    (Section::Cluster, "config_patches.controlplane", "[\"machine: {}\"]"),
    (Section::Cluster, "config_patches.worker", "[\"machine: {}\"]"),
];

/// Keys that the base tree needs itself or that have one value only; other tests are about them.
const ELSEWHERE: &[&str] = &["talos_platform", "cluster_name", "cluster_id", "controlplanes"];

/// A key with its value, as a line of `locals`.
fn line(path: &str, value: &str) -> String {
    let (value, before) = value.split_once(';').unwrap_or((value, ""));
    let mut text = value.to_owned();
    let parts: Vec<&str> = path.split('.').collect();
    for (depth, part) in parts.iter().enumerate().rev() {
        let above = depth.checked_sub(1).and_then(|above| parts.get(above)).copied();
        text = match (*part, above) {
            ("*", Some("disks")) => format!("[{text}]"),
            ("*", Some("node_overrides")) => format!("{{ solwk01 = {text} }}"),
            ("*", Some("vnets")) => format!("{{ vnet102 = {text} }}"),
            ("*", _) => format!("{{ vnet101 = {text} }}"),
            (name, None) => format!("{name} = {text}"),
            (name, _) => format!("{{ {name} = {text} }}"),
        };
    }
    format!("{text}\n{}\n", before.trim())
}

/// The tree with something added to one of its files.
fn with(section: Section, added: &str) -> Loaded {
    let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let replaced: Vec<String> = added.lines().map(name).collect();
    let base = [
        (
            Section::Versions,
            "talos_version = \"v1.12.0\"\nkubernetes_version = \"v1.31.4\"\ncilium_version = \"1.18.4\"\n",
        ),
        (Section::Proxmox, "proxmox_nodes = [\"pve01\", \"pve02\"]\n"),
        (Section::Network, "sdn = { zone_id = \"z1\" }\n"),
        (Section::Sdn, "controller = \"evpn1\"\n"),
        // With a routing daemon nodes have loopbacks.
        (Section::Schematic, "install_factory_extensions = [\"siderolabs/frr\"]\n"),
        (Section::Images, "installer_registry = \"registry.example/base\"\n"),
        (Section::Prefixes, "delegated_prefixes = { vnet101 = \"2001:db8::/64\" }\n"),
        (
            Section::Cluster,
            "cluster_id = 101\ncluster_name = \"sol\"\ncontrolplanes = 1\nworkers = 1\nnetwork = { use_sdn = true }\n",
        ),
    ];
    let mut files: Vec<(String, String)> = Vec::new();
    for one in Section::ALL {
        let of_base = base.iter().find(|(section, _)| section == one).map_or("", |(_, text)| *text);
        let kept =
            of_base.lines().filter(|line| *one != section || !replaced.contains(&name(line)));
        let mut text: String = kept.flat_map(|line| [line, "\n"]).collect();
        if *one == section {
            text.push_str(added);
        }
        if !text.is_empty() {
            files.push((one.file().replace('*', "sol"), text));
        }
    }
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    tree(&files)
}

/// Everything that a tree gave, but for the origins of values; secrets by name.
fn outcome(loaded: &Loaded) -> String {
    let root = loaded.site.as_ref().map(|site| site.repo_root.display().to_string());
    let secret: Vec<&String> =
        loaded.site.iter().flat_map(|site| site.credentials.secret.keys()).collect();
    let text = format!("{} {secret:?}", serde_json::to_string(&loaded.site).unwrap());
    text.replace(&root.unwrap_or_default(), "")
}

fn is_leaf(key: &Key) -> bool {
    let below = format!("{}.", key.path);
    !KEYS.iter().any(|other| other.section == key.section && other.path.starts_with(&below))
        || VALUES.iter().any(|(section, path, _)| *section == key.section && *path == key.path)
}

#[test]
fn every_acted_key_has_a_value_here() {
    let lacking: Vec<&str> = KEYS
        .iter()
        .filter(|key| key.status == Status::Acted && is_leaf(key))
        .filter(|key| !ELSEWHERE.contains(&key.path) && !key.path.contains("_pattern."))
        .filter(|key| {
            let is_of = |(section, path, _): &&(Section, &str, &str)| {
                *section == key.section && *path == key.path
            };
            !VALUES.iter().any(|value| is_of(&value))
        })
        .map(|key| key.path)
        .collect();
    assert_eq!(lacking, ["proxmox_hostnames"]);
}

#[test]
fn every_acted_key_changes_the_site() {
    let mut idle = Vec::new();
    for (section, path, value) in VALUES {
        let found = with(*section, &line(path, value));
        let errors: Vec<String> = found
            .diagnostics
            .iter()
            .filter(|one| one.level == Level::Error)
            .map(|one| one.message.clone())
            .collect();
        assert!(errors.is_empty() && found.unsupported.is_empty(), "{path}: {errors:?}");
        // What the key needs around it is there on both sides.
        let around = match path.starts_with("vnets.*") {
            true => "vnets = { vnet102 = {} }",
            false => value.split_once(';').map_or("", |(_, around)| around.trim()),
        };
        let base = with(*section, &format!("{around}\n"));
        if outcome(&found) == outcome(&base) {
            idle.push(format!("{} {path}", section.file()));
        }
    }
    // A VLAN outside only keeps two VNets apart; the bad trees have that.
    assert_eq!(
        idle,
        ["common/sdn-vnets.hcl vnets.*.vlan_id", "common/0-sdn-setup/sdn.hcl vnets.*.vlan_id"]
    );
}
