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

    let container = |bridge: &str| {
        let net = format!("name=eth0,bridge={bridge},ip=dhcp");
        let keys = json!({ "hostname": "db", "net0": net });
        let all = json!({ "set": { "containers": { "900": ["pve02", keys] } } });
        site.lab().faults(all).unwrap();
    };
    container("vnet100");
    let said = site.run(&["plan", "common", "--allow-remove", "--detailed-exitcode"]).expect(0);
    said.says("vnet vnet100 stays, which the tree has no more: container 900 db is on it");

    container("vmbr0");
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
}

#[test]
fn a_number_that_a_container_has_stops_the_plan() {
    let site = Site::new();
    site.run(&["lab", "up"]).expect(0);
    let keys = json!({ "hostname": "db" });
    let all = json!({ "set": { "containers": { "103021": ["pve03", keys] } } });
    site.lab().faults(all).unwrap();
    let said = site.run(&["plan", "terra"]).expect(6);
    said.says("terrawk01: its number is that of container 103021 db on pve03");
}
