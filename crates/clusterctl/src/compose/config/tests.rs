//! What a tree says of a node, as documents of each release of Talos.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Value, json};
use talos_client::config::{GenerateInput, MachineConfig, MachineType, Mode, Patch};
use talos_client::secrets::Bundle;

use super::{ConfigInput, DiskSelector, documents, refusals};
use crate::spec::hcl::DecryptedText;
use crate::spec::model::{LoadOptions, load};
use crate::spec::site::{Node, Role, Site};

/// The site of a tree with these files; each is the inside of its `locals`.
fn site(files: &[(&str, &str)]) -> Site {
    let room = tempfile::tempdir().unwrap();
    let root = room.path().canonicalize().unwrap();
    let nodes = [("common/proxmox-infrastructure.hcl", "proxmox_nodes = [\"pve01\"]\n")];
    for (name, text) in nodes.iter().chain(files) {
        let path = root.join("live").join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, ["locals {\n", text, "}\n"].concat()).unwrap();
    }
    let loaded = load(LoadOptions {
        live: root.join("live"),
        repo_root: root,
        lab: false,
        variables: BTreeMap::new(),
        decrypt: Box::new(|_| Ok(DecryptedText::NoKey("no key".to_owned()))),
    });
    let told: Vec<String> =
        loaded.diagnostics.iter().map(|one| one.render(std::path::Path::new("/"))).collect();
    loaded.site.unwrap_or_else(|| panic!("{}", told.join("\n")))
}

const CLUSTER: &str = "clusters/cluster-101/cluster.hcl";
const NETWORK: &str = "common/network-infrastructure.hcl";

/// A site of one cluster that runs a minor version of Talos.
pub(crate) fn site_of(minor: u32, network: &str, cluster: &str) -> Site {
    let versions = format!(
        "talos_version = \"v1.{minor}.1\"\nkubernetes_version = \"v1.33.4\"\ncilium_version = \"1.18.4\"\n"
    );
    let own = "cluster_id = 101\ncluster_name = \"sol\"\n";
    let text = [own, cluster].concat();
    site(&[("common/versions.hcl", &versions), (NETWORK, network), (CLUSTER, &text)])
}

fn input() -> ConfigInput {
    ConfigInput {
        installer_image: "registry.example/installer:v1".to_owned(),
        disk: DiskSelector::Wwid("naa.5000".to_owned()),
        manifests: Vec::new(),
    }
}

fn node<'a>(site: &'a Site, name: &str) -> &'a Node {
    site.clusters[0].nodes.iter().find(|node| node.name == name).unwrap()
}

/// The documents of a node.
fn own(site: &Site, name: &str) -> Vec<Value> {
    documents(site, &site.clusters[0], node(site, name), &input())
}

/// The documents of a node but for the patch of the main one, by kind and name.
fn apart(site: &Site, name: &str) -> BTreeMap<String, Value> {
    let documents = own(site, name).into_iter().skip(1);
    let key = |one: &Value| match one["name"].as_str() {
        Some(name) => format!("{} {name}", one["kind"].as_str().unwrap()),
        None => one["kind"].as_str().unwrap().to_owned(),
    };
    documents.map(|one| (key(&one), one)).collect()
}

fn yaml(text: &str) -> Vec<Value> {
    serde_saphyr::from_str(text).unwrap()
}

#[track_caller]
fn same(found: &[Value], expected: &str) {
    let expected = yaml(expected);
    for (one, other) in found.iter().zip(&expected) {
        assert_eq!(one, other, "found\n{one:#}\nexpected\n{other:#}");
    }
    assert_eq!(found.len(), expected.len());
}

const FULL_NETWORK: &str = "base_domain = \"example.org\"
dns_servers = { ipv4 = [\"192.0.2.53\"], ipv6 = [\"2001:db8::53\"] }
ntp_servers = [\"ntp.example\"]
registry_mirrors = { endpoints = [\"https://mirror.example\"], registries = [\"docker.io\"] }
";
const TWO: &str = "controlplanes = 1\nworkers = 1\nnetwork = { public_mtu = 1450 }\n";

/// The part of the main document that is the same in all releases.
const CONTROL_PLANE: &str = "
    apiServer:
      certSANs: [SANS]
    controllerManager:
      extraArgs: {node-cidr-mask-size-ipv6: '64', node-cidr-mask-size-ipv4: '24'}
    proxy: {disabled: true}
    etcd: {advertisedSubnets: ['fd00:101::/64', '10.101.0.0/24']}
";
const RANGES: &str = "
    network:
      cni: {name: none}
      podSubnets: ['fd00:101:240::/60', '10.101.240.0/20']
      serviceSubnets: ['fd00:101:96::/112', '10.101.96.0/24']
";

#[test]
fn a_control_plane_of_1_11_has_all_in_one_document() {
    let site = site_of(11, FULL_NETWORK, TWO);
    let mac = node(&site, "solcp01").mac.to_lowercase();
    let head = format!(
        "
- machine:
    certSANs: [solcp01, solcp01.example.org, 'fd00:101::11', '10.101.0.11']
    install: {{image: 'registry.example/installer:v1', diskSelector: {{wwid: naa.5000}}}}
    kubelet: {{nodeIP: {{validSubnets: ['fd00:101::/64', '10.101.0.0/24']}}}}
    network:
      hostname: solcp01
      interfaces:
        - deviceSelector: {{hardwareAddr: '{mac}'}}
          addresses: ['fd00:101::11/64', '10.101.0.11/24', 'fe80::101:11/64']
          routes:
            - {{network: '::/0', gateway: 'fd00:101::fffe', metric: 1024}}
            - {{network: 0.0.0.0/0, gateway: 10.101.0.254, metric: 1024}}
          dhcp: false
          mtu: 1450
          vip: {{ip: 'fd00:101::10'}}
      nameservers: ['2001:db8::53', '192.0.2.53']
      searchDomains: [example.org]
    time: {{servers: [ntp.example]}}
    registries: {{mirrors: {{docker.io: {{endpoints: ['https://mirror.example']}}}}}}
  cluster:{RANGES}{CONTROL_PLANE}"
    );
    // There is one virtual address a link: the certificate has no other one.
    let sans = "'fd00:101::11', 10.101.0.11, solcp01, solcp01.example.org";
    same(&own(&site, "solcp01"), &head.replace("SANS", sans));
}

#[test]
fn a_worker_has_no_virtual_address_and_nothing_of_the_control_plane() {
    let site = site_of(11, "", TWO);
    let mac = node(&site, "solwk01").mac.to_lowercase();
    let expected = format!(
        "
- machine:
    certSANs: [solwk01, 'fd00:101::21', '10.101.0.21']
    install: {{image: 'registry.example/installer:v1', diskSelector: {{wwid: naa.5000}}}}
    kubelet: {{nodeIP: {{validSubnets: ['fd00:101::/64', '10.101.0.0/24']}}}}
    network:
      hostname: solwk01
      interfaces:
        - deviceSelector: {{hardwareAddr: '{mac}'}}
          addresses: ['fd00:101::21/64', '10.101.0.21/24', 'fe80::101:21/64']
          routes:
            - {{network: '::/0', gateway: 'fd00:101::fffe', metric: 1024}}
            - {{network: 0.0.0.0/0, gateway: 10.101.0.254, metric: 1024}}
          dhcp: false
          mtu: 1450
  cluster:{RANGES}"
    );
    same(&own(&site, "solwk01"), &expected);
}

#[test]
fn from_1_12_on_network_time_and_registries_are_documents() {
    for minor in [12, 13] {
        let site = site_of(minor, FULL_NETWORK, TWO);
        let mac = node(&site, "solcp01").mac.to_lowercase();
        let expected = format!(
            "
- machine:
    certSANs: [solcp01, solcp01.example.org, 'fd00:101::11', '10.101.0.11']
    install: {{image: 'registry.example/installer:v1', diskSelector: {{wwid: naa.5000}}}}
    kubelet: {{nodeIP: {{validSubnets: ['fd00:101::/64', '10.101.0.0/24']}}}}
  cluster:{RANGES}{CONTROL_PLANE}
- {{apiVersion: v1alpha1, kind: HostnameConfig, hostname: solcp01, auto: 'off'}}
- apiVersion: v1alpha1
  kind: LinkAliasConfig
  name: net0
  selector: {{match: 'mac(link.permanent_addr) == \"{mac}\"'}}
- apiVersion: v1alpha1
  kind: LinkConfig
  name: net0
  up: true
  mtu: 1450
  addresses: [{{address: 'fd00:101::11/64'}}, {{address: 10.101.0.11/24}}, {{address: 'fe80::101:11/64'}}]
  routes:
    - {{gateway: 'fd00:101::fffe', metric: 1024}}
    - {{gateway: 10.101.0.254, metric: 1024}}
- {{apiVersion: v1alpha1, kind: Layer2VIPConfig, name: 'fd00:101::10', link: net0}}
- {{apiVersion: v1alpha1, kind: Layer2VIPConfig, name: 10.101.0.10, link: net0}}
- apiVersion: v1alpha1
  kind: ResolverConfig
  nameservers: [{{address: '2001:db8::53'}}, {{address: 192.0.2.53}}]
  searchDomains: {{domains: [example.org]}}
- {{apiVersion: v1alpha1, kind: TimeSyncConfig, ntp: {{servers: [ntp.example]}}}}
- apiVersion: v1alpha1
  kind: RegistryMirrorConfig
  name: docker.io
  endpoints: [{{url: 'https://mirror.example'}}]
"
        );
        let sans = "10.101.0.10, 'fd00:101::11', 10.101.0.11, solcp01, solcp01.example.org";
        same(&own(&site, "solcp01"), &expected.replace("SANS", sans));
        let worker = apart(&site, "solwk01");
        assert!(!worker.keys().any(|key| key.starts_with("Layer2VIP")), "{worker:?}");
        assert_eq!(worker["HostnameConfig"]["hostname"], "solwk01");
    }
}

#[test]
fn nothing_is_said_that_the_tree_does_not_have() {
    let site = site_of(
        13,
        "",
        "controlplanes = 1\nnetwork = { use_vip = false, cluster_endpoint = \"https://api.example:6443\" }\ncni = \"flannel\"\n",
    );
    let kinds: Vec<String> = apart(&site, "solcp01").into_keys().collect();
    assert_eq!(kinds, ["HostnameConfig", "LinkAliasConfig net0", "LinkConfig net0"]);
    let main = &own(&site, "solcp01")[0];
    assert!(main["machine"].get("network").is_none());
    // The card has the bridge's MTU; flannel and kube-proxy are Talos' own.
    assert!(apart(&site, "solcp01")["LinkConfig net0"].get("mtu").is_none());
    assert!(main["cluster"]["network"].get("cni").is_none());
    assert!(main["cluster"].get("proxy").is_none());
    // Control planes alone take ordinary work.
    assert_eq!(main["cluster"]["allowSchedulingOnControlPlanes"], true);
    let none = site_of(11, "", "controlplanes = 1\ncni = \"none\"\n");
    let main = &own(&none, "solcp01")[0];
    assert_eq!(main["cluster"]["network"]["cni"], json!({ "name": "none" }));
    assert!(main["cluster"].get("proxy").is_none());
}

#[test]
fn a_vlan_or_a_vnet_is_the_cards_and_nothing_of_the_node() {
    // Proxmox tags what leaves the card: inside of the machine the link is plain.
    let vlan = site_of(
        12,
        "",
        "controlplanes = 1\nnetwork = { bridge_public = \"vmbr1\", vlan_public = 42, public_mtu = 9000 }\n",
    );
    assert_eq!(
        (vlan.clusters[0].segment.vlan, vlan.clusters[0].segment.mtu),
        (Some(42), Some(9000))
    );
    let documents = apart(&vlan, "solcp01");
    assert_eq!(documents["LinkConfig net0"]["mtu"], 9000);
    assert!(!documents.keys().any(|key| key.starts_with("VLAN") || key.starts_with("Bridge")));

    let vnet = site_of(
        11,
        "sdn = { zone_id = \"z1\", mtu = 1450 }\n",
        "controlplanes = 1\nnetwork = { use_sdn = true }\n",
    );
    assert_eq!(vnet.clusters[0].segment.bridge, "vnet101");
    let interfaces = &own(&vnet, "solcp01")[0]["machine"]["network"]["interfaces"];
    assert_eq!(interfaces.as_array().unwrap().len(), 1);
    assert_eq!(interfaces[0].get("vlans"), None);
    assert_eq!(interfaces[0]["mtu"], 1450);
}

#[test]
fn loopbacks_are_the_addresses_of_kubelet_and_etcd_where_nodes_route() {
    let routing = (
        "common/install-schematic.hcl",
        "install_custom_extensions = [\"registry.example/frr:v1\"]\n",
    );
    let images =
        ("artifacts/images/images.hcl", "installer_registry = \"registry.example/installer\"\n");
    let of = |minor: u32| {
        let versions = format!(
            "talos_version = \"v1.{minor}.1\"\nkubernetes_version = \"v1.33.4\"\ncilium_version = \"1.18.4\"\n"
        );
        let cluster = "cluster_id = 101\ncluster_name = \"sol\"\ncontrolplanes = 1\nworkers = 1\n";
        site(&[("common/versions.hcl", &versions), routing, images, (CLUSTER, cluster)])
    };
    let old = of(11);
    let main = &own(&old, "solcp01")[0];
    let subnets = json!(["fd00:255:101::/64", "10.255.101.0/24"]);
    assert_eq!(main["machine"]["kubelet"]["nodeIP"]["validSubnets"], subnets);
    assert_eq!(main["cluster"]["etcd"]["advertisedSubnets"], subnets);
    let addresses = json!(["fd00:255:101::11/128", "10.255.101.11/32"]);
    let dummy = json!({ "interface": "dummy0", "dummy": true, "addresses": addresses });
    assert_eq!(main["machine"]["network"]["interfaces"][1], dummy);
    let sans = main["machine"]["certSANs"].as_array().unwrap();
    assert!(sans.contains(&json!("fd00:255:101::11")) && sans.contains(&json!("10.255.101.11")));

    let new = of(12);
    let dummy = &apart(&new, "solwk01")["DummyLinkConfig dummy0"];
    let addresses =
        json!([{ "address": "fd00:255:101::21/128" }, { "address": "10.255.101.21/32" }]);
    assert_eq!(dummy["addresses"], addresses);
    assert!(own(&new, "solwk01")[0]["cluster"].get("etcd").is_none());
}

#[test]
fn one_family_has_the_short_name_of_the_mask() {
    let only_six = "addressing = { public_ipv4_pattern = \"\", pods_ipv4_pattern = \"\", services_ipv4_pattern = \"\", loadbalancers_ipv4_pattern = \"\" }\n";
    let site = site_of(13, only_six, "controlplanes = 1\n");
    let main = &own(&site, "solcp01")[0];
    let args = &main["cluster"]["controllerManager"]["extraArgs"];
    assert_eq!(*args, json!({ "node-cidr-mask-size": "64" }));
    let link = &apart(&site, "solcp01")["LinkConfig net0"];
    assert_eq!(link["routes"], json!([{ "gateway": "fd00:101::fffe", "metric": 1024 }]));
    assert_eq!(link["addresses"].as_array().unwrap().len(), 2);
}

#[test]
fn a_global_address_is_one_more_of_the_link() {
    let prefixes =
        ("common/ipv6-prefixes.hcl", "delegated_prefixes = { vnet101 = \"2001:db8:7::/64\" }\n");
    let versions = (
        "common/versions.hcl",
        "talos_version = \"v1.12.1\"\nkubernetes_version = \"v1.33.4\"\ncilium_version = \"1.18.4\"\n",
    );
    let cluster = "cluster_id = 101\ncluster_name = \"sol\"\ncontrolplanes = 1\nnetwork = { use_sdn = true, node_gua = true }\n";
    let network = (NETWORK, "sdn = { zone_id = \"z1\" }\n");
    let site = site(&[versions, network, prefixes, (CLUSTER, cluster)]);
    let link = &apart(&site, "solcp01")["LinkConfig net0"];
    assert_eq!(link["addresses"][1], json!({ "address": "2001:db8:7::11/64" }));
}

#[test]
fn disks_are_told_apart_in_the_words_of_the_installer() {
    let of = |disk: DiskSelector| disk.to_value();
    assert_eq!(of(DiskSelector::Wwid("naa.5".into())), json!({ "wwid": "naa.5" }));
    let path = "/pci0000:00/0000:00:05.0/virtio1/host0/target0:0:0/0:0:0:0/";
    assert_eq!(of(DiskSelector::BusPath(path.into())), json!({ "busPath": path }));
    assert_eq!(of(DiskSelector::Size(40 << 30)), json!({ "size": "== 42949672960" }));
}

#[test]
fn manifests_are_those_of_control_planes() {
    let site = site_of(12, "", TWO);
    let (cluster, input) = (
        &site.clusters[0],
        ConfigInput {
            manifests: vec![("cilium-install".to_owned(), "kind: Job\n".to_owned())],
            ..input()
        },
    );
    let of = |name: &str| documents(&site, cluster, node(&site, name), &input).swap_remove(0);
    let expected = json!([{ "name": "cilium-install", "contents": "kind: Job\n" }]);
    assert_eq!(of("solcp01")["cluster"]["inlineManifests"], expected);
    assert!(of("solwk01")["cluster"].get("inlineManifests").is_none());
}

/// Secrets whose keys are small: their kind is nothing to these tests.
fn bundle() -> &'static Bundle {
    static BUNDLE: OnceLock<Bundle> = OnceLock::new();
    BUNDLE.get_or_init(|| Bundle::generate("1.6".parse().unwrap(), 1_780_000_000).unwrap())
}

/// The configuration of a node without patches of the tree.
fn whole(site: &Site, name: &str) -> MachineConfig {
    let (cluster, node) = (&site.clusters[0], node(site, name));
    let role = match node.role {
        Role::ControlPlane => MachineType::ControlPlane,
        Role::Worker => MachineType::Worker,
    };
    let contract = cluster.versions.talos.to_string().parse().unwrap();
    let kubernetes = cluster.versions.kubernetes.to_string();
    let input = GenerateInput::new(contract, role, &cluster.name, &cluster.endpoint, &kubernetes);
    let base = MachineConfig::generate(bundle(), &input).unwrap();
    let own = Patch::of_documents("ours", &own(site, name)).unwrap();
    base.patched(&[own]).unwrap()
}

#[test]
fn every_release_takes_the_configuration_from_the_medium_and_from_the_disk() {
    for minor in [11, 12, 13] {
        for cluster in [TWO, "controlplanes = 1\nworkers = 1\ncni = \"flannel\"\n"] {
            let site = site_of(minor, FULL_NETWORK, cluster);
            for name in ["solcp01", "solwk01"] {
                let config = whole(&site, name);
                for mode in [Mode::Cloud, Mode::Metal] {
                    let found = config.validate(mode, minor, false);
                    let told = (&found.errors, &found.warnings);
                    assert!(found.errors.is_empty() && found.warnings.is_empty(), "{told:?}");
                }
                // Lists are appended to: nothing may be in one twice.
                for list in [
                    "/machine/certSANs",
                    "/cluster/apiServer/certSANs",
                    "/cluster/network/podSubnets",
                    "/cluster/network/serviceSubnets",
                ] {
                    let Some(list) = config.value(list).and_then(Value::as_array) else { continue };
                    let texts: std::collections::BTreeSet<String> =
                        list.iter().map(Value::to_string).collect();
                    assert_eq!(texts.len(), list.len(), "{list:?}");
                }
                assert_eq!(
                    config.value("/machine/install/image").unwrap(),
                    "registry.example/installer:v1"
                );
                assert!(config.value("/machine/install/disk").is_none());
            }
        }
    }
}

#[test]
fn the_name_of_a_node_is_the_one_that_it_gets() {
    for minor in [12, 13] {
        let config = whole(&site_of(minor, "", TWO), "solcp01");
        let name = config.document("HostnameConfig", "").unwrap();
        assert_eq!((&name["hostname"], &name["auto"]), (&json!("solcp01"), &json!("off")));
        assert!(config.value("/machine/network/hostname").is_none());
    }
    let config = whole(&site_of(11, "", TWO), "solcp01");
    assert_eq!(config.value("/machine/network/hostname").unwrap(), "solcp01");
    assert!(config.document("HostnameConfig", "").is_none());
}

#[test]
fn the_api_server_is_known_by_every_name_once() {
    let sans = |minor: u32| {
        let config = whole(&site_of(minor, "", TWO), "solcp01");
        let list = config.value("/cluster/apiServer/certSANs").and_then(Value::as_array).unwrap();
        list.iter().map(|san| san.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // Up to 1.11 generation names the host of the endpoint; the node adds it in every release.
    assert_eq!(sans(11), ["fd00:101::10", "fd00:101::11", "10.101.0.11", "solcp01"]);
    assert_eq!(sans(12), ["10.101.0.10", "fd00:101::11", "10.101.0.11", "solcp01"]);
    assert_eq!(sans(13), sans(12));
}

#[test]
fn what_came_later_is_refused_before_a_node_sees_it() {
    let link = json!({ "apiVersion": "v1alpha1", "kind": "LinkConfig", "name": "eth1" });
    let link = Patch::of_documents("a patch", &[link]).unwrap();
    for (minor, refused) in [(11, true), (12, false), (13, false)] {
        let site = site_of(minor, FULL_NETWORK, TWO);
        let config = whole(&site, "solwk01").patched(std::slice::from_ref(&link)).unwrap();
        let found = refusals(&config, minor.into(), false);
        let told = found.iter().any(|text| text.contains("LinkConfig"));
        assert_eq!(told, refused, "1.{minor}: {found:?}");
        let hidden = refusals(&config, minor.into(), true);
        assert!(hidden.iter().all(|text| !text.contains("LinkConfig")), "{hidden:?}");
    }
}
