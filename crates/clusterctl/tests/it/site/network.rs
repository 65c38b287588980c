//! Networks that the tree has no more, and guests of others that share numbers and networks.

use serde_json::json;

use super::Site;

#[test]
fn a_network_goes_with_the_tree_once_nobody_is_on_it() {
    let site = Site::new();
    site.run(&["-y", "apply", "common"]).expect(0);
    site.edit("common/sdn-vnets.hcl", "[100, 101, 102, 103]", "[101, 102, 103]");
    let said = site.run(&["plan", "common", "--detailed-exitcode"]).expect(0);
    said.says("made here, and the tree has no more: ").says("vnet vnet100");
    said.says("it stays; `--allow-remove` removes it");

    let container = |bridge: &str, later: &str| {
        let net = |bridge: &str| format!("name=eth0,bridge={bridge},ip=dhcp");
        let keys = json!({ "hostname": "db", "net0": net(bridge) });
        let all = json!({ "900": ["pve02", keys, { "net0": net(later) }] });
        site.lab().faults(json!({ "set": { "containers": all } })).unwrap();
    };
    for (now, later) in [("vnet100", "vmbr0"), ("vmbr0", "vnet100")] {
        container(now, later);
        let said = site.run(&["plan", "common", "--allow-remove", "--detailed-exitcode"]).expect(0);
        said.says("the tree has no more: vnet vnet100 stays: container 900 db is on it");
    }
    container("vmbr0", "vmbr0");
    let said = site.run(&["plan", "common", "--allow-remove", "--detailed-exitcode"]).expect(2);
    said.says("delete vnet vnet100").says("1 to destroy");
    assert!(!said.out.contains("vnet101"), "{}", said.out);
    let plan = site.lab().tree_dir().join("removal.json");
    let plan = plan.to_str().unwrap();
    site.run(&["plan", "common", "--allow-remove", "--out", plan]).expect(0);
    site.run(&["-y", "apply", "--plan", plan]).expect(0);
    let observed = super::wait(site.proxmox().sdn().observe()).unwrap();
    assert!(observed.pending.is_empty());
    let ids: Vec<&str> = observed.objects.iter().map(|one| one.id.as_str()).collect();
    assert!(ids.contains(&"vnet101"), "{ids:?}");
    assert!(!ids.iter().any(|id| id.contains("100")), "{ids:?}");
    site.run(&["plan", "common", "--allow-remove", "--detailed-exitcode"]).expect(0);

    // One that the ledger does not know may be another tree's.
    let lock = site.lab().tree_dir().join("clusterctl.lock");
    let text = fs_err::read_to_string(&lock).unwrap();
    assert!(text.contains("\"vnet101\""), "{text}");
    fs_err::write(&lock, text.replace("\"vnet101\"", "\"vnet999\"")).unwrap();
    site.edit("common/sdn-vnets.hcl", "[101, 102, 103]", "[102, 103]");
    site.edit("clusters/cluster-101/cluster.hcl", "locals {", "locals {\n  enabled = false\n");
    let said = site.run(&["plan", "common", "--allow-remove"]).expect(0);
    said.says("for another tree or before the lock file: vnet vnet101");
    assert!(!said.out.contains("delete vnet vnet101"), "{}", said.out);
}

#[test]
fn a_number_that_a_container_has_stops_the_plan() {
    let site = Site::new();
    site.run(&["lab", "up"]).expect(0);
    let keys = json!({ "hostname": "db" });
    let all = json!({ "set": { "containers": { "103022": ["pve03", keys, {}] } } });
    site.lab().faults(all).unwrap();
    let file = "clusters/cluster-103/cluster.hcl";
    site.edit(file, "workers       = 1", "workers       = 2");
    let said = site.run(&["plan", "terra"]).expect(6);
    said.says("terrawk02: its number is that of container 103022 db on pve03");
    said.says("change its cluster_id in clusters/cluster-103/cluster.hcl; or give the container");
    said.says("`pct restore NUMBER ARCHIVE`");
    // A cluster that is made keeps its numbers.
    site.edit(file, "workers       = 2", "workers       = 1");
    site.run(&["-y", "apply", "terra"]).expect(0);
    site.edit(file, "workers       = 1", "workers       = 2");
    let said = site.run(&["plan", "terra"]).expect(6);
    said.says("cluster terra is made and keeps its numbers: give the container another number");
    assert!(!format!("{said:?}").contains("change its cluster_id"), "{}", said.err);
}

/// What Proxmox has of networks, by id.
fn networks(site: &Site) -> Vec<String> {
    let observed = super::wait(site.proxmox().sdn().observe()).unwrap();
    assert!(observed.pending.is_empty(), "{observed:?}");
    observed.objects.into_iter().map(|one| one.id).collect()
}

#[test]
fn networks_go_after_the_machines_that_were_on_them_and_make_room() {
    let site = Site::new();
    let file = "clusters/cluster-103/cluster.hcl";
    site.edit(file, "workers       = 1", "workers       = 3");
    site.run(&["-y", "apply", "common", "terra"]).expect(0);
    let proxmox = site.proxmox();
    let worker = proxmox_client::VmId::try_from(103_022).unwrap();
    let node = site.machines()["103022"]["node"].as_str().unwrap().parse().unwrap();
    super::wait(async {
        let qemu = proxmox.qemu(&node);
        if let Some(upid) = qemu.update(worker, &[("net1", "virtio,bridge=vnet100")]).await.unwrap()
        {
            proxmox.tasks().wait(&upid, std::time::Duration::from_secs(30)).await.unwrap();
        }
    });
    // The worker goes, and its network with it; another one gets its number and its prefixes. A
    // worker that is on none of them goes too, and is not waited for.
    site.edit(file, "workers       = 3", "workers       = 1");
    let vnets = "common/sdn-vnets.hcl";
    site.edit(vnets, "\"vnet${id}\" => {", "\"vnet${id == 100 ? 104 : id}\" => {");
    let said = site.run(&["plan", "common", "--allow-remove"]).expect(6);
    said.says("the tree has no more: vnet vnet100 stays: VM 103022 terrawk02 is on it");
    said.says("vnet vnet104 is to have the number 10100, which vnet vnet100 has");
    said.says("`--allow-remove` removes what was made here");

    let target = ["common", "terra", "--allow-remove"];
    // What waits on any node would be applied too: it is told once, not with each of the steps.
    let iface = "/nodes/pve02/network";
    let keys = [("iface", "vmbr9"), ("type", "bridge")];
    super::wait(async {
        proxmox
            .call::<serde_json::Value>(proxmox_client::Method::POST, iface, &keys)
            .await
            .unwrap();
    });
    let said = site.run(&[&["plan"], &target[..]].concat()).expect(6);
    let told = "Proxmox node pve02 has network changes that are not applied";
    let all = format!("{}{}", said.out, said.err);
    assert_eq!(all.matches(told).count(), 1, "{all}");
    super::wait(async {
        proxmox
            .call::<serde_json::Value>(proxmox_client::Method::DELETE, iface, &[])
            .await
            .unwrap();
    });

    let plan = site.run(&[&["plan", "-o", "json"], &target[..]].concat()).expect(0).json();
    let after = |id: &str| plan["plan"]["steps"][id]["after"].to_string();
    for worker in ["terrawk02", "terrawk03"] {
        assert_eq!(after(&format!("vm/{worker}/destroy")), "[]", "{plan:#}");
    }
    assert_eq!(after("networks/remove"), "[\"vm/terrawk02/destroy\"]", "{plan:#}");
    assert_eq!(after("networks"), "[\"networks/remove\"]", "{plan:#}");
    site.run(&[&["-y", "apply"], &target[..]].concat()).expect(0);
    let ids = networks(&site);
    assert!(
        ids.iter().any(|id| id == "vnet104") && !ids.iter().any(|id| id == "vnet100"),
        "{ids:?}"
    );
    assert!(ids.iter().any(|id| id == "evpnz1-10.100.0.0-24"), "{ids:?}");
    assert_eq!(site.machines().len(), 2);
    site.run(&[&["plan", "--detailed-exitcode"], &target[..]].concat()).expect(0);
}

#[test]
fn networks_go_when_the_tree_has_none_any_more() {
    let site = Site::new();
    site.run(&["-y", "apply", "common"]).expect(0);
    assert!(!networks(&site).is_empty());
    for folder in ["cluster-101", "cluster-102", "cluster-103"] {
        let file = format!("clusters/{folder}/cluster.hcl");
        site.edit(&file, "locals {", "locals {\n  enabled = false\n");
    }
    fs_err::remove_dir_all(site.live().join("common/0-sdn-setup")).unwrap();
    fs_err::remove_file(site.live().join("common/sdn-vnets.hcl")).unwrap();
    let said = site.run(&["plan"]).expect(0);
    said.says("made here, and the tree has no more: controller evpnc1, zone evpnz1, vnet vnet100");
    // They are a target of their own as long as there are some.
    let plan = site.run(&["plan", "common", "--allow-remove"]).expect(0);
    plan.says("delete zone evpnz1");

    // One guest keeps its network, and all that this one needs.
    let container = |bridge: &str| {
        let net = json!({ "hostname": "db", "net0": format!("name=eth0,bridge={bridge},ip=dhcp") });
        let all = json!({ "set": { "containers": { "900": ["pve02", net, {}] } } });
        site.lab().faults(all).unwrap();
    };
    container("vnet102");
    site.run(&["-y", "apply", "--allow-remove"]).expect(0);
    let mut kept = networks(&site);
    kept.retain(|id| !id.starts_with("evpnz1-"));
    assert_eq!(kept, ["evpnc1", "evpnz1", "vnet102"]);

    // It moves to another node while it is read: it is found there, and is on its network still.
    let action = json!({ "refuse": { "status": 500,
        "message": "Configuration file 'nodes/pve02/lxc/900.conf' does not exist" } });
    let moves = |times: u64| {
        let fault = json!({ "path": "/nodes/pve02/lxc/900/pending", "times": times,
                            "action": action });
        site.lab().faults(json!({ "clear": true, "pve": [fault] })).unwrap();
    };
    moves(1);
    let said = site.run(&["plan", "--allow-remove"]).expect(0);
    said.says("the tree has no more: vnet vnet102 stays: container 900 db is on it");
    moves(100);
    let said = site.run(&["plan", "--allow-remove"]).expect(1);
    said.says("read the guests 900").says("they may be moving");
    site.lab().faults(json!({ "clear": true })).unwrap();

    let said = site.run(&["-y", "destroy"]).expect(0);
    said.says("vnet vnet102 stays: container 900 db is on it");
    container("vmbr0");
    site.run(&["-y", "destroy"]).expect(0);
    assert_eq!(networks(&site), [""; 0]);
    site.run(&["-y", "destroy"]).expect(0).says("Nothing to remove");
    site.run(&["plan", "common"]).expect(64).says("the tree has no common/0-sdn-setup");
}

#[test]
fn a_cluster_takes_the_networks_that_are_there_as_they_are() {
    let site = Site::new();
    site.run(&["-y", "apply", "common"]).expect(0);
    // Two networks of the tree exchange their numbers: for a cluster on one of them they are there.
    let exchanged = "vxlan_id     = 10000 + (id == 103 ? 102 : id == 102 ? 103 : id)";
    site.edit("common/sdn-vnets.hcl", "vxlan_id     = 10000 + id", exchanged);
    let said = site.run(&["plan", "terra"]).expect(0);
    assert!(!said.out.contains("change the networks"), "{}", said.out);
}

#[test]
fn a_guest_that_goes_while_guests_are_read_is_on_no_network() {
    let site = Site::new();
    site.run(&["-y", "apply", "common"]).expect(0);
    site.edit("common/sdn-vnets.hcl", "[100, 101, 102, 103]", "[101, 102, 103]");
    let proxmox = site.proxmox();
    let node = "pve01".parse().unwrap();
    let guest = proxmox_client::VmId::try_from(901).unwrap();
    let limit = std::time::Duration::from_secs(30);
    super::wait(async {
        let keys = [("name", "web"), ("net0", "virtio,bridge=vnet100")];
        let upid = proxmox.qemu(&node).create(guest, &keys).await.unwrap();
        proxmox.tasks().wait(&upid, limit).await.unwrap();
    });
    let plan = ["plan", "common", "--allow-remove", "--detailed-exitcode"];
    site.run(&plan).expect(0).says("vnet vnet100 stays: VM 901 web is on it");
    // It was listed, and is gone once its node is asked for it.
    let late = json!({ "path": "/nodes/pve01/qemu/901/pending", "times": 1,
                       "action": { "delay-ms": 10_000 } });
    site.lab().faults(json!({ "pve": [late] })).unwrap();
    let run = site.command(&plan).spawn().unwrap();
    let is_asked = || {
        let calls = &site.lab().snapshot().unwrap()["pve_calls"];
        calls["GET /nodes/{node}/qemu/{vmid}/pending"]["active"].as_u64().is_some_and(|n| n > 0)
    };
    let mut asked = is_asked();
    for _ in 0..600 {
        if asked {
            break;
        }
        super::pause(50);
        asked = is_asked();
    }
    assert!(asked, "nobody reads the guest");
    super::wait(async {
        let upid = proxmox.qemu(&node).destroy(guest).await.unwrap();
        proxmox.tasks().wait(&upid, limit).await.unwrap();
    });
    super::Said::of(run.wait_with_output().unwrap()).expect(2).says("delete vnet vnet100");
}
