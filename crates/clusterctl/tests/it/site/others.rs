//! Others at work, foreign things in the way, and what a plan must not do.

use std::time::Duration;

use serde_json::json;

use super::{Said, Site, pause, wait};

#[test]
fn a_second_operator_is_refused_with_the_name_of_the_first() {
    let site = Site::new();
    site.run(&["lab", "up"]).expect(0);
    // Every call to Proxmox takes its time: the first run is at work for long enough.
    site.lab().faults(json!({"set": {"pve-latency-ms": 150}})).unwrap();
    let first = site.command(&["-y", "apply", "terra"]).env("USER", "alice").spawn().unwrap();
    let lock = site.live().join(".clusterctl/lab/lock");
    while !lock.exists() {
        pause(5);
    }
    // The same tree on the same machine.
    let second = loop {
        let said = site.run(&["-y", "apply", "terra"]);
        if said.code == 5 {
            break said;
        }
        assert_ne!(said.code, 0, "{}", said.err);
    };
    second.says("another run is at work in this tree");
    // Another machine sees the lock in Proxmox: whoever holds it is named, and keeps it.
    let said = site.run(&["unlock", "-y"]).expect(5);
    said.says("alice").says("is at work on this host");
    site.lab().faults(json!({"set": {"pve-latency-ms": 0}})).unwrap();
    Said::of(first.wait_with_output().unwrap()).expect(0);
    site.run(&["unlock"]).expect(0).says("nobody holds the lock");
}

#[test]
fn a_lock_of_another_host_is_named_and_can_be_removed() {
    let site = Site::new();
    site.run(&["lab", "up"]).expect(0);
    let holder = json!({"owner": "bob", "host": "laptop", "boot": "b", "pid": 1, "started": 1,
                        "run": "r1", "expires": 1});
    wait(async {
        let pool = clusterctl::compose::lock::pool_of("homelab");
        site.proxmox().pools().create(&pool, &holder.to_string()).await.unwrap();
    });
    let said = site.run(&["-y", "apply", "terra"]).expect(5);
    said.says("bob on laptop (process 1, run r1)").says("clusterctl unlock");
    assert_eq!(site.machines().len(), 0);
    site.run(&["doctor", "terra"]).says("it is held by bob on laptop");
    site.run(&["unlock"]).expect(64).says("bob on laptop");
    site.run(&["unlock", "-y"]).expect(0).says("the lock is gone");
    site.run(&["-y", "apply", "artifacts"]).expect(0);
}

#[test]
fn who_stops_a_run_while_it_still_looks_leaves_neither_change_nor_lock() {
    let site = Site::new();
    site.run(&["lab", "up"]).expect(0);
    site.lab().faults(json!({"set": {"pve-latency-ms": 300}})).unwrap();
    let run = site.command(&["-y", "apply", "terra"]).spawn().unwrap();
    let lock = site.live().join(".clusterctl/lab/lock");
    while !lock.exists() {
        pause(5);
    }
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let said = Said::of(run.wait_with_output().unwrap()).expect(130);
    said.says("stopped: nothing was changed");
    site.lab().faults(json!({"set": {"pve-latency-ms": 0}})).unwrap();
    site.run(&["unlock"]).expect(0).says("nobody holds the lock");
    assert_eq!(site.machines().len(), 0);
}

#[test]
fn journals_that_cannot_be_read_stop_a_run_and_leave_no_lock() {
    let site = Site::new();
    site.run(&["-y", "apply", "artifacts"]).expect(0);
    let journals = site.live().join(".clusterctl/lab/journal");
    // As with a folder that another user made.
    fs_err::create_dir(journals.join("x.jsonl")).unwrap();
    site.run(&["-y", "apply", "terra"]).expect(1).says("help: they tell what a run");
    site.run(&["unlock"]).expect(0).says("nobody holds the lock");
    fs_err::remove_dir(journals.join("x.jsonl")).unwrap();
    fs_err::write(journals.join("x.jsonl"), "{}\n{}\n").unwrap();
    site.run(&["-y", "apply", "artifacts"]).expect(0).says("is not readable to its end");
}

#[test]
fn a_saved_plan_is_carried_out_while_nothing_changed_and_refused_then() {
    let site = Site::new();
    let plan = site.dir.path().join("plan.json");
    let file = plan.to_str().unwrap();
    site.run(&["plan", "terra", "--out", file]).expect(0).says("apply --plan");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs_err::metadata(&plan).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // The tree changed.
    site.edit("clusters/cluster-103/cluster.hcl", "workers       = 1", "workers       = 2");
    let said = site.run(&["-y", "apply", "--plan", file]).expect(6);
    said.says("the saved plan is stale: the tree changed");
    site.edit("clusters/cluster-103/cluster.hcl", "workers       = 2", "workers       = 1");
    site.run(&["apply", "--plan", file]).expect(0);
    // The site changed: what the plan says is done.
    let said = site.run(&["apply", "--plan", file]).expect(6);
    said.says("the saved plan is stale: the site changed");
    fs_err::write(&plan, "{}").unwrap();
    site.run(&["apply", "--plan", file]).expect(1).says("read the plan");
}

#[test]
fn a_foreign_machine_under_a_planned_number_stops_the_plan() {
    let site = Site::new();
    site.run(&["lab", "up"]).expect(0);
    let proxmox = site.proxmox();
    let node = "pve02".parse().unwrap();
    let vmid = proxmox_client::VmId::try_from(103_021).unwrap();
    wait(async {
        let upid = proxmox.qemu(&node).create(vmid, &[("name", "mailserver")]).await.unwrap();
        proxmox.tasks().wait(&upid, Duration::from_secs(30)).await.unwrap();
    });
    // A clone has the tags of its original.
    let clone = [("name", "terrawk01-copy"), ("tags", "clusterctl;cluster-103")];
    let lost = [("name", "oldcp01"), ("tags", "clusterctl;cluster-777")];
    for (number, keys) in [(900, clone), (901, lost)] {
        let vmid = proxmox_client::VmId::try_from(number).unwrap();
        wait(async {
            let upid = proxmox.qemu(&node).create(vmid, &keys).await.unwrap();
            proxmox.tasks().wait(&upid, Duration::from_secs(30)).await.unwrap();
        });
    }
    let said = site.run(&["plan", "terra"]).expect(6);
    said.says("terrawk01: its number is taken").says("give the node another number");
    said.says("VM 900 terrawk01-copy on pve02 has the tags of cluster terra and was not made here");
    said.says("one thing stands in the way");
    site.run(&["plan"]).expect(6).says("the tree has no cluster 777").says("oldcp01 (VM 901");
    site.run(&["status", "terra"]).expect(0).says("the tree has no cluster 777");
    site.run(&["-y", "apply", "terra"]).expect(6);
    let said = site.run(&["-y", "destroy", "terra"]).expect(0);
    said.says("VM 103021 mailserver on pve02 stays").says("VM 900 terrawk01-copy on pve02 stays");
    assert_eq!(site.machines().len(), 3);
}

#[test]
fn a_cluster_that_runs_keeps_its_network_and_a_machine_without_tags_is_not_touched() {
    let site = Site::new();
    site.run(&["-y", "apply", "terra"]).expect(0);
    let file = "clusters/cluster-103/cluster.hcl";
    site.edit(file, "  workers ", "  tenant_id = 150\n  workers ");
    let said = site.run(&["plan", "terra"]).expect(6);
    said.says("terracp01: its addresses or network would change (ipconfig0: ");
    said.says("net0 bridge vnet103 -> vnet150");
    said.says("a cluster that runs keeps them").says("set back what was changed");
    site.run(&["plan", "clusters/cluster-103/config"]).expect(6).says("a cluster that runs keeps");
    site.edit(file, "  tenant_id = 150\n", "");
    site.edit(file, "  workers ", "  cni = \"flannel\"\n  workers ");
    let said = site.run(&["plan", "terra"]).expect(6);
    said.says("terracp01: the network of its pods would change: cluster.network.cni");
    said.says("a cluster that runs keeps its CNI");
    // Nor does a disk vanish without a word.
    let disk = "  node_overrides = { terrawk01 = { disks = [10] } }\n  workers ";
    site.edit(file, "  cni = \"flannel\"\n  workers ", disk);
    site.run(&["-y", "apply", "terra"]).expect(0);
    site.edit(file, disk, "  workers ");
    let said = site.run(&["plan", "--detailed-exitcode", "terra"]).expect(0);
    said.says("terrawk01: scsi1 (").says("is no disk of the tree").says("qm unlink 103021");

    let proxmox = site.proxmox();
    let vmid = proxmox_client::VmId::try_from(103_021).unwrap();
    wait(async {
        let qemu = proxmox.qemu(&"pve02".parse().unwrap());
        if let Some(upid) = qemu.update(vmid, &[("tags", "backup")]).await.unwrap() {
            proxmox.tasks().wait(&upid, Duration::from_secs(30)).await.unwrap();
        }
    });
    let said = site.run(&["plan", "terra"]).expect(6);
    said.says("terrawk01: its machine is ours without its tags: VM 103021 (terrawk01) lacks the");
    said.says("put the tags cluster-103;clusterctl back");
    assert!(!said.err.contains("remove that machine"), "{}", said.err);
    let said = site.run(&["-y", "destroy", "terra"]).expect(0);
    said.says("VM 103021 terrawk01 on pve02 stays: it is ours without its tags; put the tags");
    assert_eq!(site.machines().len(), 1);
}

#[test]
fn a_node_with_two_matching_disks_is_not_installed() {
    let site = Site::new();
    let overrides = "workers       = 1\n  node_overrides = { terrawk01 = { disks = [40] } }";
    site.edit("clusters/cluster-103/cluster.hcl", "workers       = 1", overrides);
    site.run(&["-y", "apply", "clusters/cluster-103/compute"]).expect(0);
    // Somebody takes away what tells the two disks of one size apart.
    let proxmox = site.proxmox();
    let node = "pve02".parse().unwrap();
    let vmid = proxmox_client::VmId::try_from(103_021).unwrap();
    let limit = Duration::from_secs(30);
    wait(async {
        let qemu = proxmox.qemu(&node);
        let upid = qemu.power(vmid, "stop", &[]).await.unwrap();
        proxmox.tasks().wait(&upid, limit).await.unwrap();
        let config = qemu.config(vmid, false).await.unwrap();
        for key in ["scsi0", "scsi1"] {
            let value = config[key].as_str().unwrap();
            let parts = value.split(',').filter(|part| !part.starts_with("wwn="));
            let value = parts.collect::<Vec<_>>().join(",");
            if let Some(upid) = qemu.update(vmid, &[(key, value.as_str())]).await.unwrap() {
                proxmox.tasks().wait(&upid, limit).await.unwrap();
            }
        }
        let upid = qemu.power(vmid, "start", &[]).await.unwrap();
        proxmox.tasks().wait(&upid, limit).await.unwrap();
    });
    let said = site.run(&["-y", "apply", "clusters/cluster-103/config"]).expect(3);
    said.says("terrawk01 has several disks of the wanted size").says("different sizes");
    let truth = site.lab().snapshot().unwrap()["talos"].to_string();
    assert_eq!(truth.matches("\"installs\":1").count(), 1, "the control plane alone");
}

#[test]
fn what_a_token_may_not_do_is_told_before_anything_is_changed() {
    let site = Site::new();
    site.run(&["lab", "up"]).expect(0);
    let proxmox = site.proxmox();
    wait(async {
        let rows = proxmox.access().acl().await.unwrap();
        for row in rows.iter().filter(|row| row.path.starts_with("/vms") || row.path == "/storage")
        {
            proxmox.access().grant(row, true).await.unwrap();
        }
    });
    let said = site.run(&["plan", "terra"]);
    assert_ne!(said.code, 0, "{}", said.out);
    said.says("Proxmox does not allow us").says("pveum");
    assert_eq!(site.machines().len(), 0);
}

#[test]
fn a_device_that_only_root_may_pass_on_is_told_before_anything_is_changed() {
    let site = Site::new();
    site.run(&["lab", "up"]).expect(0);
    let device = "node_overrides = { terrawk01 = { gpu_passthrough = { pci_address = \"0000:01:00.0\" } } }\n  network = {";
    site.edit("clusters/cluster-103/cluster.hcl", "network = {", device);
    let said = site.run(&["-y", "apply", "terra"]);
    assert_ne!(said.code, 0, "{}", said.out);
    said.says("only root@pam with its password may set")
        .says("hostpci0 (a device without a mapping) of machine")
        .says("`mapping`");
    assert_eq!(site.machines().len(), 0);
    site.run(&["doctor", "terra"]).says("privileges").says("only root@pam");
}

#[test]
fn no_control_plane_is_disturbed_while_etcd_needs_it_and_no_ring_before_its_turn() {
    let site = Site::new();
    site.run(&["-y", "apply", "luna", "terra"]).expect(0);
    let more = "vm_sizing = { control_plane = { cpu_cores = 5 } }\n  network = {";
    site.edit("clusters/cluster-102/cluster.hcl", "network = {", more);
    site.edit("clusters/cluster-103/cluster.hcl", "{ cpu_cores = 2", "{ cpu_cores = 3");
    let plan = site.run(&["plan", "luna", "terra", "-o", "json"]).expect(0).json();
    let step = &plan["plan"]["steps"]["vm/lunacp01/change"];
    assert_eq!(step["impact"], "reboot");
    let after: Vec<&str> =
        step["after"].as_array().unwrap().iter().filter_map(|id| id.as_str()).collect();
    // terra is in the first ring, luna in the second.
    assert_eq!(after, ["await/cluster-103", "vm/terracp01/change"], "{step:#}");
    site.run(&["-y", "apply", "terra"]).expect(0);

    let refuse = json!({"refuse": {"code": 14, "message": "no"}});
    let sick =
        json!({"node": "lunacp02", "method": "*/EtcdStatus", "times": 1000, "action": refuse});
    site.lab().faults(json!({"talos": [sick]})).unwrap();
    let run = site.command(&["-y", "apply", "luna"]).spawn().unwrap();
    pause(6000);
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let said = Said::of(run.wait_with_output().unwrap()).expect(130);
    said.says("etcd would lose its quorum, since lunacp02 is not known to be well");
    assert!(!said.err.contains("done     change lunacp01"), "{}", said.err);
    site.lab().faults(json!({"clear": true})).unwrap();
    site.run(&["-y", "apply", "luna"]).expect(0).says("done     change lunacp01");
    site.run(&["plan", "--detailed-exitcode", "luna"]).expect(0);

    // Services that start again are a disturbance too: one control plane after the other.
    let patch = "config_patches = { controlplane = { cluster = { apiServer = { extraArgs = { v = \"2\" } } } } }\n  network = {";
    site.edit("clusters/cluster-102/cluster.hcl", "network = {", patch);
    let plan = site.run(&["plan", "luna", "-o", "json"]).expect(0).json();
    let step = &plan["plan"]["steps"]["reconfig/lunacp01"];
    assert_eq!(step["impact"], "restart-service", "{step:#}");
    assert!(step["tokens"].to_string().contains("disruption"), "{step:#}");
    site.run(&["-y", "apply", "luna"]).expect(0).says("kube-apiserver will restart");
    site.run(&["plan", "--detailed-exitcode", "luna"]).expect(0);
}

#[test]
fn an_image_of_others_is_never_written_over_and_another_schematic_is_another_image() {
    let site = Site::new();
    site.run(&["lab", "up"]).expect(0);
    let name = "talos-v1.11.5-nocloud-amd64.iso";
    let path = site.dir.path().join(name);
    fs_err::write(&path, "not ours").unwrap();
    let proxmox = site.proxmox();
    let node = "pve01".parse().unwrap();
    let upload =
        proxmox_client::Upload { content: "iso", filename: name, path: &path, sha256: None };
    wait(async {
        proxmox.storage(&node).upload("resources", upload, &mut |_, _| {}).await.unwrap();
    });
    let there = || {
        wait(async { proxmox.storage(&node).find("resources", "iso", name).await.unwrap() })
            .and_then(|file| file.size)
    };
    site.run(&["-y", "apply", "artifacts"]).expect(3).says("and is another file");
    site.run(&["plan", "artifacts"]).expect(6).says("rename or remove it there");
    assert_eq!(there(), Some(8));
    wait(async {
        let volid = format!("resources:iso/{name}");
        proxmox.storage(&node).delete("resources", &volid).await.unwrap();
    });
    site.run(&["-y", "apply", "artifacts"]).expect(0);
    site.run(&["plan", "--detailed-exitcode", "artifacts"]).expect(0);
    let lock = || fs_err::read_to_string(site.lab().tree_dir().join("clusterctl.lock")).unwrap();
    let before = lock();
    site.edit(
        "common/install-schematic.hcl",
        "install_kernel_args = [",
        "install_kernel_args = [\"quiet\", ",
    );
    let said = site.run(&["plan", "artifacts"]).expect(0);
    said.says("the schematic changed from ");
    assert!(!said.out.contains("no digest") && !said.out.contains("nothing tells"), "{}", said.out);
    site.run(&["-y", "apply", "artifacts"]).expect(0).says("3 changed, 0 unchanged");
    site.run(&["plan", "--detailed-exitcode", "artifacts"]).expect(0);
    assert_ne!(lock(), before);
}
