//! What somebody changes by hand is seen, told exactly, and mended.

use super::{Site, wait};

#[test]
fn a_change_made_outside_is_told_and_mended() {
    let site = Site::new();
    site.run(&["-y", "apply", "terra"]).expect(0);
    let proxmox = site.proxmox();
    let node = "pve01".parse().unwrap();
    let vmid = proxmox_client::VmId::try_from(103_011).unwrap();
    let set = |keys: &[(&str, &str)]| {
        wait(async {
            if let Some(upid) = proxmox.qemu(&node).update(vmid, keys).await.unwrap() {
                proxmox.tasks().wait(&upid, std::time::Duration::from_secs(30)).await.unwrap();
            }
        });
    };
    set(&[("cores", "1"), ("onboot", "0")]);
    let said = site.run(&["plan", "--detailed-exitcode", "terra"]).expect(2);
    said.says("change terracp01 (VM 103011)").says("cores: 1 -> 2").says("onboot: 0 -> 1");
    site.run(&["-y", "apply", "terra"]).expect(0);
    site.run(&["plan", "--detailed-exitcode", "terra"]).expect(0);

    // What is set as the tree says and waits for a restart is not in force yet.
    set(&[("cores", "1")]);
    wait(async {
        let upid = proxmox.qemu(&node).power(vmid, "reboot", &[]).await.unwrap();
        proxmox.tasks().wait(&upid, std::time::Duration::from_mins(1)).await.unwrap();
    });
    set(&[("cores", "2")]);
    let said = site.run(&["plan", "--detailed-exitcode", "terra"]).expect(2);
    said.says("cores: set, and in force from the next restart on").says("[reboot]");
    site.run(&["-y", "apply", "terra"]).expect(0);
    site.run(&["plan", "--detailed-exitcode", "terra"]).expect(0);
    let machine = wait(proxmox.qemu(&node).observe(vmid)).unwrap().unwrap();
    assert!(machine.pending.is_empty(), "{:?}", machine.pending);

    // A machine that is gone is made again, with the same secrets, and joins.
    let worker = proxmox_client::VmId::try_from(103_021).unwrap();
    let other = "pve02".parse().unwrap();
    wait(async {
        let qemu = proxmox.qemu(&other);
        let limit = std::time::Duration::from_secs(30);
        let upid = qemu.power(worker, "stop", &[]).await.unwrap();
        proxmox.tasks().wait(&upid, limit).await.unwrap();
        let upid = qemu.destroy(worker).await.unwrap();
        proxmox.tasks().wait(&upid, limit).await.unwrap();
    });
    let said = site.run(&["plan", "--detailed-exitcode", "terra"]).expect(2);
    said.says("create terrawk01 (VM 103021)");
    assert!(!said.out.contains("terracp01"), "{}", said.out);
    site.run(&["-y", "apply", "terra"]).expect(0);
    site.run(&["plan", "--detailed-exitcode", "terra"]).expect(0);

    // A stopped machine is started.
    site.lab().faults(serde_json::json!({"set": {"guests": {"103021": false}}})).unwrap();
    site.run(&["plan", "--detailed-exitcode", "terra"]).expect(2).says("start terrawk01");
    site.run(&["-y", "apply", "terra"]).expect(0);

    // A change of the tree that needs the configuration of running nodes.
    site.edit("clusters/cluster-103/cluster.hcl", "workers", "config_patches = { all = [yamlencode({ machine = { sysctls = { \"vm.max_map_count\" = \"262144\" } } })] }\n  workers");
    let said = site.run(&["plan", "--detailed-exitcode", "terra"]).expect(2);
    said.says("change the configuration of terracp01").says("sysctls");
    site.run(&["-y", "apply", "terra"]).expect(0);
    site.run(&["plan", "--detailed-exitcode", "terra"]).expect(0);

    // How it takes effect is the tree's to say, and the plan tells what that costs.
    let file = "clusters/cluster-103/cluster.hcl";
    site.edit(file, "  workers", "  talos_apply_mode = \"reboot\"\n  workers");
    site.edit(file, "262144", "262145");
    let said = site.run(&["plan", "terra"]).expect(0);
    said.says("change the configuration of terracp01  [reboot]");
    said.says("talos_apply_mode is reboot").says("worst impact reboot");
    site.run(&["-y", "apply", "terra"]).expect(0);
    site.run(&["plan", "--detailed-exitcode", "terra"]).expect(0);
    site.edit(file, "\"reboot\"", "\"staged\"");
    site.edit(file, "262145", "262146");
    let said = site.run(&["-y", "apply", "terra"]).expect(0);
    said.says("stage the configuration of terracp01  [live]").says("at the next reboot");
    // What is staged is no change to make: it is told until the node has rebooted.
    let said = site.run(&["plan", "--detailed-exitcode", "terra"]).expect(0);
    said.says(
        "note: the configuration of terracp01 is staged, waits for a reboot: machine.sysctls",
    );
    site.run(&["status", "terra"]).expect(0).says("1 change(s) are staged, wait for a reboot");
    wait(async {
        let limit = std::time::Duration::from_mins(1);
        for (host, vmid) in [(&node, vmid), (&other, worker)] {
            let upid = proxmox.qemu(host).power(vmid, "reboot", &[]).await.unwrap();
            proxmox.tasks().wait(&upid, limit).await.unwrap();
        }
    });
    site.run(&["health", "terra", "--wait", "--timeout", "60s"]).expect(0);
    let said = site.run(&["plan", "--detailed-exitcode", "terra"]).expect(0);
    assert!(!said.out.contains("staged"), "{}", said.out);
    // Staged again, and then wanted at once after all.
    site.edit(file, "262146", "262147");
    site.run(&["-y", "apply", "terra"]).expect(0);
    site.edit(file, "talos_apply_mode = \"staged\"", "talos_apply_mode = \"auto\"");
    let said = site.run(&["plan", "--detailed-exitcode", "terra"]).expect(2);
    said.says("change the configuration of terracp01  [live]");
    site.run(&["-y", "apply", "terra"]).expect(0);
    site.run(&["plan", "--detailed-exitcode", "terra"]).expect(0);

    // Manifests are told by their objects and paths, never by what stands there.
    let manifest = "config_patches = { controlplane = [yamlencode({ cluster = { inlineManifests = [{ name = \"app\", contents = \"kind: Secret\\nmetadata: {name: s, namespace: a}\\nstringData: {k: hush1}\\n\" }] } })], all";
    site.edit(file, "config_patches = { all", manifest);
    let said = site.run(&["plan", "--detailed-exitcode", "terra"]).expect(2);
    said.says("manifests: Secret a/s is added");
    assert!(!said.out.contains("hush1") && !said.out.contains("terrawk01"), "{}", said.out);
    site.run(&["-y", "apply", "terra"]).expect(0);
    site.edit(file, "hush1", "hush2");
    let said = site.run(&["plan", "terra"]).expect(0);
    said.says("manifests: Secret a/s changes at stringData.k")
        .says("Talos makes what is not there");
    assert!(!said.out.contains("hush2") && !said.out.contains("inlineManifests"), "{}", said.out);

    // Fewer nodes in the tree remove none by themselves.
    site.edit("clusters/cluster-103/cluster.hcl", "workers       = 1", "workers       = 0");
    site.run(&["plan", "terra"]).expect(6).says("the tree has no terrawk01").says("--allow-remove");
}

#[test]
fn networks_that_were_changed_by_hand_are_put_right() {
    let site = Site::new();
    site.run(&["-y", "apply", "common/0-sdn-setup"]).expect(0);
    site.run(&["plan", "--detailed-exitcode", "common/0-sdn-setup"]).expect(0);
    let proxmox = site.proxmox();
    wait(async {
        let keys = [("tag", "777")];
        proxmox
            .call::<serde_json::Value>(
                proxmox_client::Method::PUT,
                "/cluster/sdn/vnets/vnet103",
                &keys,
            )
            .await
            .unwrap();
    });
    let said = site.run(&["plan", "--detailed-exitcode", "common/0-sdn-setup"]).expect(2);
    said.says("change vnet vnet103: tag 777 -> 10103");
    site.run(&["-y", "apply", "common/0-sdn-setup"]).expect(0);
    site.run(&["plan", "--detailed-exitcode", "common/0-sdn-setup"]).expect(0);
}

#[test]
fn a_zone_without_a_controller_sends_to_the_addresses_of_its_nodes() {
    let site = Site::new();
    let text = "locals {\n  zone_id = \"plain\"\n  nodes   = [\"pve01\", \"pve02\"]\n  vnets   = { vnet9 = { vxlan_id = 9 } }\n}\n";
    fs_err::write(site.live().join("common/0-sdn-setup/sdn.hcl"), text).unwrap();
    site.run(&["-y", "apply", "common/0-sdn-setup"]).expect(0);
    site.run(&["plan", "--detailed-exitcode", "common/0-sdn-setup"]).expect(0);
    let proxmox = site.proxmox();
    let (zone, status) = wait(async {
        let zone: serde_json::Value = proxmox.get("/cluster/sdn/zones/plain", &[]).await.unwrap();
        (zone, proxmox.cluster_status().await.unwrap())
    });
    let address =
        |name: &str| status.iter().find(|row| row.name == name).unwrap().ip.clone().unwrap();
    assert_eq!(zone["type"], "vxlan");
    assert_eq!(zone["peers"], format!("{},{}", address("pve01"), address("pve02")));
}

#[test]
fn what_a_zone_cannot_become_is_told_before_anything_is_changed() {
    let site = Site::new();
    site.run(&["-y", "apply", "common/0-sdn-setup"]).expect(0);
    site.edit("common/0-sdn-setup/sdn.hcl", "zone_id   = \"evpnz1\"", "zone_id   = \"evpnz2\"");
    let said = site.run(&["plan", "common/0-sdn-setup"]);
    assert_ne!(said.code, 0, "{}", said.out);
    said.says("vnet vnet101 has subnets: it cannot go to another zone")
        .says("made here, and the tree has no more: zone evpnz1, vnet vnet100 (in evpnz1)")
        .says("zone evpnz2 is to have the number 4096, which zone evpnz1 has");
    // No guest is on its networks: they are made anew.
    let target = ["common/0-sdn-setup", "--allow-remove"];
    site.run(&[&["-y", "apply"], &target[..]].concat()).expect(0);
    let observed = wait(site.proxmox().sdn().observe()).unwrap();
    assert!(!format!("{observed:?}").contains("evpnz1"), "{observed:#?}");
    site.run(&[&["plan", "--detailed-exitcode"], &target[..]].concat()).expect(0);
}
