//! The example tree, and small trees with one thing wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{LoadOptions, Loaded, load, load_credentials};
use crate::spec::hcl::DecryptedText;
use crate::spec::site::Credentials;

fn options(live: PathBuf, repo_root: PathBuf) -> LoadOptions {
    LoadOptions {
        live,
        repo_root,
        lab: false,
        variables: BTreeMap::new(),
        decrypt: Box::new(|_| Ok(DecryptedText::NoKey("no key".to_owned()))),
    }
}

fn example() -> Loaded {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    load(options(root.join("examples/homelab/live"), root))
}

#[test]
fn the_example_is_a_site_without_errors_or_warnings() {
    let loaded = example();
    let told: Vec<String> = loaded
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.level > super::Level::Info)
        .map(|diagnostic| diagnostic.render(Path::new("/")))
        .collect();
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(loaded.unsupported, []);
    let site = loaded.site.unwrap();
    let counts: Vec<(&str, usize)> =
        site.clusters.iter().map(|cluster| (cluster.name.as_str(), cluster.nodes.len())).collect();
    assert_eq!(counts, [("sol", 6), ("luna", 5), ("terra", 2)]);
    let sol = &site.clusters[0];
    assert_eq!(sol.endpoint, "https://[fd00:101::10]:6443");
    assert_eq!(sol.nodes[0].vmid, 101_011);
    assert_eq!(sol.nodes[3].pci.len(), 1);
    assert_eq!(sol.nodes[3].memory_mib, 32_768);
    assert_eq!(site.sdn.unwrap().vnets.len(), 4);
}

#[test]
fn origins_say_where_values_stand() {
    let loaded = example();
    let origin = loaded
        .origins
        .iter()
        .find(|origin| origin.path == "clusters.cluster-101.network.use_sdn")
        .unwrap();
    assert_eq!((origin.formula.as_str(), origin.value.as_deref()), ("true", Some("true")));
    assert!(origin.location.as_ref().is_some_and(|location| location.line > 1));
    // The stage reads the shared VNets: a change there counts. Its prefixes are others.
    let hidden = |path: &str| {
        let origin = loaded.origins.iter().find(|origin| origin.path == path).unwrap();
        origin.overridden_by.is_some()
    };
    assert!(!hidden("sdn-vnets.vnets") && hidden("ipv6-prefixes.delegated_prefixes"));
}

/// The reference of keys, as it is made from the table.
fn reference() -> String {
    use super::key::{KEYS, Section, Status};
    let mut text = "# Keys of the tree\n\nEvery key stands in `locals` or `inputs` of its file. \
                    Other locals are yours. A key marked *not yet* is known, and a plan that meets \
                    it is refused.\n"
        .to_owned();
    for section in Section::ALL {
        text.push_str(
            &[
                "\n## `",
                section.file(),
                "`\n\n| key | holds | default | what it is for |\n|---|---|---|---|\n",
            ]
            .concat(),
        );
        // The forms of a pattern are told at it, once.
        let told =
            |key: &&super::key::Key| key.section == *section && !key.path.contains("_pattern.");
        for key in KEYS.iter().filter(told) {
            let mark = if key.status == Status::NotYet { " *Not yet.*" } else { "" };
            let row = [
                "| `",
                key.path,
                "` | ",
                key.shape.words(),
                " | ",
                key.default,
                " | ",
                key.doc,
                mark,
                " |\n",
            ];
            text.push_str(&row.concat());
        }
    }
    text
}

fn reference_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/tree.md")
}

#[test]
fn the_reference_of_keys_is_the_table() {
    assert_eq!(fs_err::read_to_string(reference_file()).unwrap(), reference());
}

#[test]
#[ignore = "writes the reference anew"]
fn write_reference() {
    fs_err::write(reference_file(), reference()).unwrap();
}

#[test]
fn every_key_that_is_not_acted_on_is_refused_by_a_plan() {
    use super::key::{KEYS, Section, Status};
    for key in KEYS.iter().filter(|key| key.status == Status::NotYet) {
        let room = tempfile::tempdir().unwrap();
        let root = room.path().canonicalize().unwrap();
        let live = root.join("live");
        let mut files: BTreeMap<&str, String> = BTreeMap::new();
        let versions = "talos_version = \"v1.11.5\"\nkubernetes_version = \"v1.31.4\"\ncilium_version = \"1.18.4\"\n";
        files.insert("common/versions.hcl", versions.to_owned());
        files.insert(
            "common/proxmox-infrastructure.hcl",
            "proxmox_nodes = [\"pve01\"]\n".to_owned(),
        );
        let cluster = "cluster_id = 101\ncluster_name = \"sol\"\ncontrolplanes = 1\n";
        files.insert("clusters/sol/cluster.hcl", cluster.to_owned());
        let parts: Vec<&str> =
            key.path.split('.').map(|part| if part == "*" { "solcp01" } else { part }).collect();
        let mut value = "1".to_owned();
        for part in parts.iter().skip(1).rev() {
            value = ["{ ", part, " = ", value.as_str(), " }"].concat();
        }
        let file = if key.section == Section::Cluster {
            "clusters/sol/cluster.hcl"
        } else {
            key.section.file()
        };
        let line = [parts[0], " = ", value.as_str(), "\n"].concat();
        files.entry(file).or_default().push_str(&line);
        for (name, text) in &files {
            let path = live.join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(&path, ["locals {\n", text.as_str(), "}\n"].concat()).unwrap();
        }
        let loaded = load(options(live, root.clone()));
        let named = loaded.unsupported.iter().any(|one| one.message.contains(&parts.join(".")));
        assert!(named, "{}: {:?} {:?}", key.path, loaded.unsupported, loaded.diagnostics);
    }
}

/// A tree of these files, each the inside of one `locals`.
pub(super) fn tree(files: &[(&str, &str)]) -> Loaded {
    let room = tempfile::tempdir().unwrap();
    let root = room.path().canonicalize().unwrap();
    let live = root.join("live");
    for (name, text) in files {
        let path = live.join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, ["locals {\n", text, "}\n"].concat()).unwrap();
    }
    load(options(live, root))
}

const VERSIONS: (&str, &str) = (
    "common/versions.hcl",
    "talos_version = \"v1.11.5\"\nkubernetes_version = \"v1.31.4\"\ncilium_version = \"1.18.4\"\n",
);
const NODES: (&str, &str) = ("common/proxmox-infrastructure.hcl", "proxmox_nodes = [\"pve01\"]\n");

#[test]
fn delegated_prefixes_are_subnets_of_their_vnets() {
    let cluster = "cluster_id = 101\ncluster_name = \"sol\"\ncontrolplanes = 1\nnetwork = { use_sdn = true }\n";
    let prefixes = "delegated_prefixes = { vnet101 = \"2001:db8::/64\" }\ndelegated_gateways = { vnet101 = \"2001:db8::fffe\" }\n";
    let loaded = tree(&[
        VERSIONS,
        NODES,
        ("common/0-sdn-setup/sdn.hcl", "zone_id = \"z1\"\n"),
        ("common/ipv6-prefixes.hcl", prefixes),
        ("clusters/sol/cluster.hcl", cluster),
    ]);
    let sdn = loaded.site.unwrap().sdn.unwrap();
    let subnets: Vec<String> =
        sdn.vnets["vnet101"].subnets.iter().map(|subnet| subnet.cidr.to_string()).collect();
    assert_eq!(subnets, ["fd00:101::/64", "10.101.0.0/24", "2001:db8::/64"]);
    let gateway = sdn.vnets["vnet101"].subnets[2].gateway.unwrap();
    assert_eq!(gateway.to_string(), "2001:db8::fffe");
}

#[test]
fn secrets_that_stand_in_the_tree_are_used_and_never_written_out() {
    let credentials =
        "pve_endpoint = \"https://pve01:8006\"\npve_api_token = \"root@pam!x=hush\"\n";
    let site = tree(&[VERSIONS, NODES, ("common/credentials.hcl", credentials)]).site.unwrap();
    assert!(site.credentials.secret.contains_key("pve_api_token"));
    assert!(site.credentials.direct.contains_key("pve_endpoint"));
    assert!(!serde_json::to_string(&site).unwrap().contains("hush"));
    assert!(!format!("{site:?}").contains("hush"));
}

#[test]
fn what_a_stage_says_again_hides_the_shared_value() {
    let loaded = tree(&[
        VERSIONS,
        NODES,
        ("common/network-infrastructure.hcl", "sdn = { zone_id = \"z1\", mtu = 1400 }\n"),
        ("common/0-sdn-setup/sdn.hcl", "mtu = 1450\n"),
    ]);
    let hidden = |path: &str| {
        let origin = loaded.origins.iter().find(|origin| origin.path == path).unwrap();
        origin.overridden_by.as_ref().map(|place| place.file.file_name().unwrap().to_owned())
    };
    assert_eq!(hidden("network-infrastructure.sdn.mtu").unwrap(), "sdn.hcl");
    assert_eq!(hidden("network-infrastructure.sdn.zone_id"), None);
}

/// A tree whose credentials are encrypted as a whole; `text` is what they decrypt to.
fn sealed(text: Option<&'static str>) -> (Credentials, Vec<String>) {
    let room = tempfile::tempdir().unwrap();
    let live = room.path().canonicalize().unwrap().join("live");
    let path = live.join("common/credentials.hcl");
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(&path, "{\"data\": \"ENC[x]\", \"sops\": {}}").unwrap();
    let decrypt = move |_: &Path| {
        Ok(match text {
            Some(text) => DecryptedText::Plain(text.to_owned()),
            None => DecryptedText::NoKey("no key".to_owned()),
        })
    };
    let root = live.parent().unwrap().to_path_buf();
    let options = LoadOptions { decrypt: Box::new(decrypt), ..options(live, root) };
    let (credentials, diagnostics) = load_credentials(options);
    (credentials, diagnostics.iter().map(|one| one.render(Path::new("/"))).collect())
}

#[test]
fn credentials_may_be_encrypted_as_a_whole() {
    let (credentials, told) = sealed(None);
    assert!(credentials.sealed.is_some() && told.is_empty());
    let (credentials, told) =
        sealed(Some("locals {\n pve_endpoint = \"https://pve\"\n pve_api_token = \"hush\"\n}\n"));
    assert!(credentials.sealed.is_none() && told.is_empty(), "{told:?}");
    assert_eq!(credentials.secret.keys().collect::<Vec<_>>(), ["pve_api_token", "pve_endpoint"]);
    assert!(credentials.direct.is_empty() && !format!("{credentials:?}").contains("hush"));
    for broken in [
        "locals {\n pve_password = hush\n}\n",
        "hush = {",
        "locals {\n a = tonumber(\"hush\")\n}\n",
        "locals {\n secrets_file = \"hush\"\n}\n",
    ] {
        let (_, told) = sealed(Some(broken));
        assert!(!told.is_empty() && !told.concat().contains("hush"), "{told:?}");
    }
}

#[test]
fn what_the_tree_decrypts_is_known_once_it_is_opened() {
    let credentials =
        "s = yamldecode(sops_decrypt_file(\"s.yaml\"))\npve_api_token = local.s.token\n";
    let site =
        tree(&[VERSIONS, NODES, ("common/credentials.hcl", credentials), ("common/s.yaml", "")]);
    assert!(site.site.unwrap().credentials.sealed.is_some());
}
