//! The image that installs Cilium is pinned before the first node of a cluster is configured, and
//! stays with the cluster.

use super::Site;

const IMAGE: &str = "quay.io/cilium/cilium-cli:v0.18.7";

fn lock(site: &Site) -> serde_json::Value {
    let text = fs_err::read_to_string(site.lab().tree_dir().join("clusterctl.lock")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_new_cluster_pins_what_installs_its_network_and_keeps_it() {
    let site = Site::new();
    let pin = format!("pin {IMAGE}");
    site.run(&["plan", "terra"]).expect(0).says(&pin);
    site.run(&["-y", "apply", "terra"]).expect(0);
    let digest = lock(&site)["references"][IMAGE].as_str().unwrap().to_owned();
    let image = format!("{IMAGE}@{digest}");
    assert_eq!(lock(&site)["clusters"]["terra"]["cilium_cli_image"], image);
    site.run(&["config", "render", "terra", "--show-secrets"]).expect(0).says(&image);
    site.run(&["plan", "terra", "--detailed-exitcode"]).expect(0);

    // The tag means another image since: the Job of the cluster stays the one that it was.
    let path = site.lab().tree_dir().join("clusterctl.lock");
    let other = format!("sha256:{}", "0".repeat(64));
    let text = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, text.replacen(&digest, &other, 1)).unwrap();
    site.run(&["plan", "terra", "--detailed-exitcode"]).expect(0);
    // So it does without the lock file: the node tells.
    fs_err::remove_file(&path).unwrap();
    site.run(&["plan", "terra", "--detailed-exitcode"]).expect(0);
    // A control plane that comes later has the same Job: another one would install again.
    site.edit("clusters/cluster-103/cluster.hcl", "controlplanes = 1", "controlplanes = 2");
    site.run(&["-y", "apply", "terra"]).expect(0);
    assert_eq!(lock(&site)["clusters"]["terra"]["cilium_cli_image"], image);
    let truth = site.lab().snapshot().unwrap().to_string();
    let found = truth.match_indices("cilium-install-").filter_map(|(at, _)| truth.get(at..at + 25));
    let jobs: std::collections::BTreeSet<&str> = found.collect();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
}
