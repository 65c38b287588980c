//! `secrets`: a bundle is made once, stays whole, and says whose it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret as _;
use clusterctl::ops::access::{self, Kind, access};
use clusterctl::ops::{Context, ErrorKind, init, new_cluster, secrets, validate};
use talos_client::secrets::Bundle;

pub(crate) struct Tree {
    pub(crate) dir: tempfile::TempDir,
    key: age::x25519::Identity,
}

impl Tree {
    /// A tree with two clusters and a rule for one recipient.
    pub(crate) fn new(rule: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = age::x25519::Identity::generate();
        let tree = Self { dir, key };
        init::init(&tree.context(), Path::new("live")).unwrap();
        for name in ["sol", "luna"] {
            let options = new_cluster::Options {
                name: name.to_owned(),
                id: None,
                controlplanes: 1,
                workers: 0,
            };
            new_cluster::new_cluster(&tree.context(), &options).unwrap();
        }
        let rules = format!("creation_rules:\n  - age: {}\n{rule}", tree.key.to_public());
        fs_err::write(tree.dir.path().join("live/.sops.yaml"), rules).unwrap();
        tree
    }

    pub(crate) fn context(&self) -> Context {
        let key = self.key.to_string().expose_secret().to_owned();
        Context {
            cwd: self.dir.path().to_path_buf(),
            live: Some(PathBuf::from("live")),
            variables: BTreeMap::from([("SOPS_AGE_KEY".to_owned(), key)]),
        }
    }

    fn bundle(&self, id: u16) -> PathBuf {
        self.dir.path().join(format!("live/clusters/cluster-{id}/secrets.sops.yaml"))
    }

    fn export(&self, cluster: &str, name: &str) -> String {
        let path = secrets::export(&self.context(), cluster, Path::new(name), false).unwrap();
        fs_err::read_to_string(path).unwrap()
    }
}

pub(crate) fn one(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

#[test]
fn a_new_tree_with_new_clusters_is_valid() {
    let (_, loaded) = Tree::new("").context().load_valid().unwrap();
    assert_eq!(loaded.site.unwrap().clusters.len(), 2);
}

#[test]
fn a_bundle_is_made_once_and_is_encrypted() {
    let tree = Tree::new("");
    let report = secrets::generate(&tree.context(), &one("sol"), false).unwrap();
    assert_eq!((report.written.len(), report.kept.len(), report.sealed.len()), (1, 0, 0));
    let sealed = fs_err::read_to_string(tree.bundle(101)).unwrap();
    assert!(sealed.contains("cluster_name: sol") && sealed.contains("cluster_id: 101"));
    let plain = tree.export("sol", "plain.yaml");
    let bundle = Bundle::parse(&plain).unwrap();
    assert!(bundle.problems().is_empty());
    let token = bundle.trustd_token.as_ref().unwrap().text().unwrap();
    assert!(!sealed.contains(token));

    let again = secrets::generate(&tree.context(), &one("sol"), false).unwrap();
    assert_eq!((again.written.len(), again.kept.len()), (0, 1));
    assert_eq!(fs_err::read_to_string(tree.bundle(101)).unwrap(), sealed);
}

#[cfg(unix)]
#[test]
fn files_with_secrets_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let tree = Tree::new("");
    secrets::generate(&tree.context(), &one("sol"), false).unwrap();
    tree.export("sol", "plain.yaml");
    for path in [tree.bundle(101), tree.dir.path().join("plain.yaml")] {
        assert_eq!(fs_err::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_bundle_moves_between_trees_but_not_between_clusters() {
    let tree = Tree::new("");
    secrets::generate(&tree.context(), &one("sol"), false).unwrap();
    let plain = tree.export("sol", "plain.yaml");

    let other = Tree::new("");
    fs_err::write(other.dir.path().join("in.yaml"), &plain).unwrap();
    secrets::import(&other.context(), "sol", Path::new("in.yaml"), false).unwrap();
    assert_eq!(other.export("sol", "out.yaml"), plain);

    let refused =
        secrets::import(&other.context(), "luna", Path::new("in.yaml"), false).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(!other.bundle(102).exists());

    // A copied folder is found by the clear fields.
    fs_err::copy(other.bundle(101), other.bundle(102)).unwrap();
    let refused =
        secrets::export(&other.context(), "luna", Path::new("x.yaml"), false).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(!other.dir.path().join("x.yaml").exists());
}

#[test]
fn a_rule_that_leaves_secrets_readable_is_refused() {
    let tree = Tree::new("    encrypted_regex: ^(certs)$\n");
    let refused = secrets::generate(&tree.context(), &one("sol"), false).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(!tree.bundle(101).exists());
}

#[test]
fn without_a_rule_or_a_key_nothing_is_written_or_shown() {
    let tree = Tree::new("");
    fs_err::remove_file(tree.dir.path().join("live/.sops.yaml")).unwrap();
    assert!(secrets::generate(&tree.context(), &one("sol"), false).is_err());
    assert!(!tree.bundle(101).exists());

    let tree = Tree::new("");
    let mut context = tree.context();
    context.variables.clear();
    let report = secrets::generate(&context, &one("sol"), false).unwrap();
    assert_eq!(report.sealed, report.written);
    assert!(secrets::export(&context, "sol", Path::new("x.yaml"), false).is_err());
    assert!(!tree.dir.path().join("x.yaml").exists());
}

#[test]
fn half_a_bundle_is_refused_with_what_it_lacks() {
    let tree = Tree::new("");
    fs_err::write(tree.dir.path().join("in.yaml"), "cluster: {id: a, secret: b}\n").unwrap();
    let refused = secrets::import(&tree.context(), "sol", Path::new("in.yaml"), false).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.details().iter().any(|detail| detail == "certs is required"));
    assert!(!tree.bundle(101).exists());
}

fn wanted(kind: Kind) -> access::Options {
    access::Options { kind, cluster: "sol".to_owned(), renew: false, lab: false }
}

#[test]
fn access_to_a_cluster_asks_for_no_proxmox() {
    let tree = Tree::new("");
    let error = access(&tree.context(), &wanted(Kind::Talosconfig)).unwrap_err();
    assert!(error.to_string().contains("has no secrets"), "{error}");
    secrets::generate(&tree.context(), &one("sol"), false).unwrap();
    // Credentials that nobody can open, and no endpoint anywhere.
    let credentials = tree.dir.path().join("live/common/credentials.hcl");
    fs_err::write(&credentials, "locals {\n  secrets_file = \"gone.sops.yaml\"\n}\n").unwrap();
    fs_err::write(tree.dir.path().join("live/common/gone.sops.yaml"), "sops: {}\n").unwrap();
    let (name, text) = access(&tree.context(), &wanted(Kind::Talosconfig)).unwrap();
    let config = talos_client::TalosConfig::parse(&text).unwrap();
    assert_eq!((name.as_str(), config.context.as_str()), ("sol", "sol"));
    assert!(!config.contexts["sol"].endpoints.is_empty());
    // The same file serves the next time.
    assert_eq!(*access(&tree.context(), &wanted(Kind::Talosconfig)).unwrap().1, *text);

    // A kubeconfig is asked of a control plane, here of one that is not there.
    let error = access(&tree.context(), &wanted(Kind::Kubeconfig)).unwrap_err();
    assert!(error.to_string().contains("get a kubeconfig of solcp01"), "{error}");
}

#[test]
fn the_key_that_the_tree_names_opens_a_bundle() {
    let tree = Tree::new("");
    secrets::generate(&tree.context(), &one("sol"), false).unwrap();
    let common = tree.dir.path().join("live/common");
    let key = tree.key.to_string().expose_secret().to_owned();
    fs_err::write(common.join("age.key"), key).unwrap();
    let text = "locals {\n  age_key_file = \"age.key\"\n}\n";
    fs_err::write(common.join("credentials.hcl"), text).unwrap();
    let mut context = tree.context();
    context.variables.clear();
    secrets::export(&context, "sol", Path::new("plain.yaml"), false).unwrap();
}

#[test]
fn the_lab_has_bundles_of_its_own() {
    let tree = Tree::new("");
    let report = secrets::generate(&tree.context(), &one("sol"), true).unwrap();
    assert!(report.sealed.is_empty());
    let own = tree.dir.path().join("live/.clusterctl");
    assert!(report.written.iter().all(|path| path.starts_with(own.join("lab"))));
    assert!(own.join(".gitignore").exists() && !tree.bundle(101).exists());
    let said = secrets::export(&tree.context(), "sol", Path::new("x.yaml"), false);
    assert!(said.unwrap_err().to_string().contains("has no bundle"));
    secrets::export(&tree.context(), "sol", Path::new("lab.yaml"), true).unwrap();
}

/// What `validate` tells of bundles: level, code, and folder.
fn told(tree: &Tree) -> Vec<String> {
    let report = validate::validate(&tree.context()).unwrap();
    let bundles = report.diagnostics.into_iter().filter(|one| {
        one.location.as_ref().is_some_and(|place| place.file.ends_with("secrets.sops.yaml"))
    });
    let line = |one: clusterctl::spec::model::Diagnostic| {
        assert!(one.help.is_some_and(|help| !help.is_empty()));
        let file = one.location.unwrap().file;
        let folder = file.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        format!("{} {} {folder}", one.level, one.code)
    };
    bundles.map(line).collect()
}

#[test]
fn a_bundle_in_the_clear_is_told_and_compared() {
    let tree = Tree::new("");
    secrets::generate(&tree.context(), &one("sol"), false).unwrap();
    assert_eq!(told(&tree), Vec::<String>::new());
    let plain = tree.export("sol", "plain.yaml");
    fs_err::write(tree.bundle(102), &plain).unwrap();
    assert_eq!(told(&tree), ["error tree-0056 cluster-102", "warning tree-0057 cluster-102"]);
    let report = validate::validate(&tree.context()).unwrap();
    let help = report.diagnostics.iter().find(|one| one.code == "tree-0057").unwrap();
    let help = help.help.as_ref().unwrap();
    assert!(help.contains("sops --encrypt --in-place") && help.contains("secrets.sops.yaml"));
    let token = Bundle::parse(&plain).unwrap().trustd_token.unwrap();
    assert!(!help.contains(token.text().unwrap()));
}

#[test]
fn the_bundle_of_a_cluster_with_a_changed_id_is_kept() {
    let tree = Tree::new("");
    secrets::generate(&tree.context(), &one("sol"), false).unwrap();
    let help = || {
        let report = validate::validate(&tree.context()).unwrap();
        let found = report.diagnostics.into_iter().find(|one| one.code == "tree-0056");
        found.unwrap().help.unwrap()
    };
    let edit = |from: &str, to: &str| {
        let path = tree.dir.path().join("live/clusters/cluster-101/cluster.hcl");
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs_err::write(path, text.replace(from, to)).unwrap();
    };
    edit("= 101", "= 104");
    let said = help();
    assert!(said.contains("set cluster_id back to 101. ") && said.contains("keep it"), "{said}");
    edit("\"sol\"", "\"mars\"");
    let said = help();
    assert!(said.contains("cluster_id back to 101 and cluster_name to sol"), "{said}");
    // The cluster that it is of has its folder: this one is a copy.
    edit("= 104", "= 101");
    edit("\"mars\"", "\"sol\"");
    fs_err::copy(tree.bundle(101), tree.bundle(102)).unwrap();
    assert!(help().contains("a copied folder"));
}

#[test]
fn a_bundle_that_does_not_say_whose_it_is_is_compared_where_a_key_is_at_hand() {
    use clusterctl::compose::bundle::BundleStore;
    use clusterctl::compose::custody::{Keys, problems};
    use clusterctl::spec::sops::{EncryptOptions, Format, Plain, encrypt, find_rule, time_text};

    let tree = Tree::new("");
    secrets::generate(&tree.context(), &one("sol"), false).unwrap();
    // The same bundle, as another program would have encrypted it.
    let plain = tree.export("sol", "plain.yaml");
    let path = tree.bundle(102);
    let rule = find_rule(path.parent().unwrap(), &path, &EncryptOptions::default()).unwrap();
    let time = time_text(1_780_000_000);
    let sealed = encrypt(Plain::Text(plain.as_bytes()), Format::Yaml, &rule, &time).unwrap();
    fs_err::write(&path, &sealed.bytes).unwrap();
    assert_eq!(told(&tree), ["warning tree-0058 cluster-102"]);

    let codes = |context: &Context| {
        let (_, loaded) = context.load_valid().unwrap();
        let site = loaded.site.unwrap();
        let store = BundleStore::of_site(&site, false, &context.variables);
        let found = problems(&store, &site.clusters, Keys::AtHand).unwrap();
        found.into_iter().map(|one| one.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&tree.context()), ["tree-0056"]);
    let mut context = tree.context();
    context.variables.clear();
    assert_eq!(codes(&context), ["tree-0058"]);
}
