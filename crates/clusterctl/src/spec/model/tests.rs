//! The example tree, and small trees with one thing wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{LoadOptions, Loaded, load};
use crate::spec::hcl::DecryptedText;

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
}
