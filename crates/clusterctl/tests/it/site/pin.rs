//! The image that installs Cilium is pinned before the first machine of a cluster is made, and stays
//! with the cluster.

use std::collections::BTreeSet;

use serde_json::json;

use super::Site;

const IMAGE: &str = "quay.io/cilium/cilium-cli:v0.18.7";

fn lock(site: &Site) -> serde_json::Value {
    let text = fs_err::read_to_string(site.lab().tree_dir().join("clusterctl.lock")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Names of the Jobs that the control planes of the lab were given.
fn jobs(site: &Site) -> BTreeSet<String> {
    let truth = site.lab().snapshot().unwrap().to_string();
    let found = truth.match_indices("cilium-install-").filter_map(|(at, _)| truth.get(at..at + 25));
    found.map(str::to_owned).collect()
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
    // That is what a registry of one's own needs, not what the tag means by then.
    let named = site.run(&["image", "mirror", "--list"]).expect(0).out;
    let lines: Vec<&str> = named.lines().filter(|line| line.starts_with(IMAGE)).collect();
    // The other clusters are new: they would begin with it too.
    assert_eq!(lines, [image.as_str()]);
    let copied = site.run(&["image", "mirror", IMAGE, "--to", "quay.io/copies"]).expect(0);
    let name = IMAGE.replace("quay.io", "quay.io/copies");
    assert_eq!(copied.out.trim(), format!("{name}@{digest}"));
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
    assert_eq!(jobs(&site).len(), 1, "{:?}", jobs(&site));
}

#[test]
fn control_planes_wait_for_the_pin_and_begin_by_tag_where_the_registry_is_down() {
    let site = Site::new();
    site.run(&["lab", "up"]).expect(0);
    let registry = |status: u16| {
        let action = json!({ "status": status });
        let prefix = "/v2/cilium/cilium-cli/";
        let fault =
            json!({ "side": "registry", "prefix": prefix, "action": action, "times": 1000 });
        site.lab().faults(json!({ "clear": true, "factory": [fault] })).unwrap();
    };
    let pin = format!("image/{IMAGE}/pin");
    let plan = site.run(&["plan", "terra", "-o", "json"]).expect(0).json();
    for id in ["vm/terracp01/create", "vm/terrawk01/create", "config/terracp01", "config/terrawk01"]
    {
        let after = plan["plan"]["steps"][id]["after"].as_array().unwrap();
        assert!(after.contains(&json!(pin)), "{id}: {after:?}");
    }
    // The machines alone wait too: without the image nothing could go on from them.
    let plan = site.run(&["plan", "clusters/cluster-103/compute", "-o", "json"]).expect(0).json();
    assert!(plan["plan"]["steps"][&pin].is_object(), "{plan:#}");

    // What is not there, or not for us, stops the cluster while there is nothing of it.
    // Images of Talos are fetched meanwhile, once.
    let not_there = (404, "set cilium_cli_image in common/versions.hcl", 3);
    for (status, help, code) in [not_there, (403, "docker login quay.io", 1)] {
        registry(status);
        let said = site.run(&["-y", "apply", "terra"]).expect(code);
        said.says(&format!("look for {IMAGE}")).says(help).says("give it by digest");
        assert_eq!(site.machines().len(), 0);
    }
    assert!(!lock(&site)["references"].as_object().unwrap().contains_key(IMAGE));

    registry(503);
    let said = site.run(&["-y", "apply", "terra"]).expect(0);
    said.says(&format!("note     pin {IMAGE}: not pinned, the cluster keeps the tag")).says("503");
    assert_eq!(lock(&site)["clusters"]["terra"]["cilium_cli_image"], IMAGE);

    // The registry is back: the cluster keeps what it began with, also without the lock file.
    site.lab().faults(json!({ "clear": true })).unwrap();
    site.run(&["plan", "terra", "--detailed-exitcode"]).expect(0);
    fs_err::remove_file(site.lab().tree_dir().join("clusterctl.lock")).unwrap();
    let file = "clusters/cluster-103/cluster.hcl";
    site.edit(file, "controlplanes = 1", "controlplanes = 2");
    let plan = site.run(&["plan", "terra", "-o", "json"]).expect(0).json();
    assert!(plan["plan"]["steps"][&pin].is_null(), "{plan:#}");
    site.run(&["-y", "apply", "terra"]).expect(0);
    assert_eq!(lock(&site)["clusters"]["terra"]["cilium_cli_image"], IMAGE);
    assert_eq!(jobs(&site).len(), 1, "{:?}", jobs(&site));

    // One that is made anew begins by digest.
    site.run(&["-y", "destroy", "terra"]).expect(0);
    site.run(&["-y", "apply", "terra"]).expect(0);
    let begun = lock(&site)["clusters"]["terra"]["cilium_cli_image"].as_str().unwrap().to_owned();
    assert!(begun.starts_with(&format!("{IMAGE}@sha256:")), "{begun}");
}
