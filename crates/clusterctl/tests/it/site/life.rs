//! From nothing to a cluster and back.

use std::os::unix::fs::PermissionsExt as _;

use super::Site;

#[test]
fn a_cluster_is_made_looked_at_handed_out_and_removed() {
    let site = Site::new();
    // What a node would refuse stops the plan before anything is made.
    let file = "clusters/cluster-103/cluster.hcl";
    let patch = "  config_patches = { worker = { machine = { kubelet = { nodeIP = { validSubnets = [\"x\"] } } } } }\n  workers";
    site.edit(file, "  workers", patch);
    site.run(&["plan", "terra"]).expect(6).says("terrawk01: ").says("Talos would refuse it");
    site.edit(file, patch, "  workers");
    site.run(&["plan", "--detailed-exitcode", "terra"])
        .expect(2)
        .says("create terracp01 (VM 103011)");
    // Waiting and ejecting are counted as what they are, in every form.
    let shown = site.run(&["plan", "terra", "-o", "json"]).expect(0).json();
    assert_eq!(shown["plan"]["steps"]["await/cluster-103"]["effect"], "wait");
    assert_eq!(shown["warnings"], serde_json::json!([]));
    let counts = &shown["counts"];
    assert_eq!(
        (&counts["run"], &counts["wait"], &counts["change"]),
        (&4.into(), &1.into(), &0.into())
    );
    let words = format!(
        "{} to add, 0 to change, 0 to replace, 0 to destroy; 4 to start or eject, 1 to wait for.",
        counts["add"]
    );
    site.run(&["plan", "terra"]).expect(0).says(&words);
    site.run(&["plan", "terra", "-o", "markdown"]).expect(0).says(&words);
    site.run(&["status", "terra"]).expect(0).says("absent");
    let sick = site.run(&["health", "terra"]).expect(4);
    sick.says("its secrets are not there: it was not made yet, or its bundle is lost");

    site.run(&["-y", "apply", "terra"]).expect(0).says("clusters/cluster-103 is as the");
    site.run(&["plan", "--detailed-exitcode", "terra"]).expect(0).says("No changes");
    site.run(&["-y", "apply", "terra"]).expect(0);
    site.run(&["health", "terra", "--wait", "--timeout", "30s"]).expect(0);
    let status = site.run(&["status", "terra", "-o", "json"]).expect(0).json();
    assert_eq!(status["clusters"][0]["ready"], 2);
    assert_eq!(status["clusters"][0]["nodes"][0]["version"], "v1.11.5");
    site.run(&["doctor", "terra"]).expect(0).says("nothing stands in its way");

    let ids = site.run(&["output", "clusters/cluster-103/compute", "vm_ids", "-o", "json"]);
    assert_eq!(ids.expect(0).json()["terracp01"], 103_011);
    let ids = site.run(&["output", "artifacts/registry"]).expect(0);
    ids.says("talos_image_file_id = \"resources:iso/talos-v1.11.5-nocloud-amd64.iso\"");
    assert!(!ids.out.contains("null"), "{}", ids.out);
    site.run(&["output", "clusters"]).expect(64).says("more than one stage");
    site.run(&["output", "artifacts/images", "nonsense"]).expect(64).says("talos_schematic_id");

    let text = site.run(&["kubeconfig", "terra"]).expect(0).out;
    assert!(text.contains("current-context: \"terra\""), "{text}");
    site.run(&["kubeconfig", "terra", "--merge"]).expect(0);
    site.run(&["talosconfig", "terra", "--merge"]).expect(0);
    for file in [".kube/config", ".talos/config"] {
        let mode = fs_err::metadata(site.dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let renewed = site.run(&["kubeconfig", "terra", "--renew"]).expect(0).out;
    assert_ne!(renewed, text);
    site.run(&["kubeconfig", "nobody"]).expect(64).says("clusters are sol, luna, terra");

    // Nobody removes anything by accident.
    site.run(&["destroy", "terra"]).expect(64).says("nobody can be asked");
    let shown = site.run(&["destroy", "terra", "--dry-run"]).expect(0);
    shown.says("destroy terrawk01 (VM 103021)").says("the secrets of cluster terra stay");
    assert_eq!(site.machines().len(), 2);
    site.run(&["-y", "destroy", "terra"]).expect(0).says("what was made is gone");
    assert_eq!(site.machines().len(), 0);
    site.run(&["-y", "destroy", "terra"]).expect(0).says("Nothing to remove");
    let bundle = site.lab().tree_dir().join("clusters/cluster-103/secrets.sops.yaml");
    let before = fs_err::read(&bundle).unwrap();

    // A second life has the same secrets.
    site.run(&["-y", "apply", "terra"]).expect(0);
    assert_eq!(fs_err::read(&bundle).unwrap(), before);
    site.run(&["-y", "destroy"]).expect(0);
    let truth = site.lab().snapshot().unwrap();
    let networks = truth["pve"]["sdn"].to_string();
    assert!(!networks.contains("vnet103"), "{networks}");
}

#[test]
fn what_others_made_or_use_survives_a_removal() {
    let site = Site::new();
    site.run(&["-y", "apply", "terra"]).expect(0);
    let proxmox = site.proxmox();
    let node = "pve01".parse().unwrap();
    let foreign = proxmox_client::VmId::try_from(900).unwrap();
    let keys = [("name", "theirs"), ("net0", "virtio,bridge=vnet103"), ("tags", "cluster-103")];
    super::wait(async {
        let upid = proxmox.qemu(&node).create(foreign, &keys).await.unwrap();
        proxmox.tasks().wait(&upid, std::time::Duration::from_secs(30)).await.unwrap();
    });
    let said = site.run(&["-y", "destroy"]).expect(0);
    said.says("VM 900 theirs on pve01 stays: it was not made here");
    said.says("vnet vnet103 stays: VM 900 theirs is on it");
    said.says("is used by vnet vnet103; it stays");
    assert_eq!(site.machines().keys().collect::<Vec<_>>(), ["900"]);
}
