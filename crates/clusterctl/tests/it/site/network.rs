//! Networks that the tree has no more, and guests of others that share numbers and networks.

use serde_json::json;

use super::Site;

#[test]
fn a_network_goes_with_the_tree_once_nobody_is_on_it() {
    let site = Site::new();
    site.run(&["-y", "apply", "common"]).expect(0);
    site.edit("common/sdn-vnets.hcl", "[100, 101, 102, 103]", "[101, 102, 103]");
    let said = site.run(&["plan", "common", "--detailed-exitcode"]).expect(0);
    said.says("vnet vnet100").says("it stays; `--allow-remove` removes it");

    let container = |bridge: &str, later: &str| {
        let net = |bridge: &str| format!("name=eth0,bridge={bridge},ip=dhcp");
        let keys = json!({ "hostname": "db", "net0": net(bridge) });
        let all = json!({ "900": ["pve02", keys, { "net0": net(later) }] });
        site.lab().faults(json!({ "set": { "containers": all } })).unwrap();
    };
    for (now, later) in [("vnet100", "vmbr0"), ("vmbr0", "vnet100")] {
        container(now, later);
        let said = site.run(&["plan", "common", "--allow-remove", "--detailed-exitcode"]).expect(0);
        said.says("vnet vnet100 stays, which the tree has no more: container 900 db is on it");
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
    let all = json!({ "set": { "containers": { "103021": ["pve03", keys, {}] } } });
    site.lab().faults(all).unwrap();
    let said = site.run(&["plan", "terra"]).expect(6);
    said.says("terrawk01: its number is that of container 103021 db on pve03");
}
