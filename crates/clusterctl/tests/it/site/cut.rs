//! Networks whose change was cut, or was made by others meanwhile.

use std::process::Child;
use std::time::{Duration, Instant};

use proxmox_client::ensure::SdnOptions;
use proxmox_client::plan::sdn;
use serde_json::{Value, json};

use super::{Said, Site, pause, wait};

/// The ids of networks that the lock file calls ours.
fn ledger(site: &Site) -> Vec<String> {
    let text = fs_err::read_to_string(site.lab().tree_dir().join("clusterctl.lock")).unwrap();
    let lock: Value = serde_json::from_str(&text).unwrap();
    let entries = lock.get("ledger").and_then(Value::as_array).unwrap().iter();
    entries.filter_map(|entry| entry.get("id")?.as_str().map(str::to_owned)).collect()
}

/// Waits until a call of this kind is under way and the one before is answered.
fn await_call(site: &Site, call: &str, count: u64) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let truth = site.lab().snapshot().unwrap();
        let row = truth.get("pve_calls").and_then(|calls| calls.get(call));
        let number = |key: &str| row.and_then(|row| row.get(key)?.as_u64());
        if number("count") >= Some(count) && number("active") == Some(1) {
            return;
        }
        assert!(Instant::now() < end, "{call}: {row:?}");
        pause(20);
    }
}

/// What a run said; one that does not end in time is ended, and has no code then.
fn ended(mut run: Child) -> Said {
    let end = Instant::now() + Duration::from_mins(1);
    while run.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            run.kill().unwrap();
            break;
        }
        pause(50);
    }
    Said::of(run.wait_with_output().unwrap())
}

/// The plan of somebody else that removes a VNet with its subnets.
fn without(site: &Site, vnet: &str) -> sdn::SdnPlan {
    let observed = wait(site.proxmox().sdn().observe()).unwrap();
    let of = |one: &&sdn::Object| one.id == vnet || one.vnet.as_deref() == Some(vnet);
    let unwanted: Vec<sdn::Object> = observed.objects.iter().filter(of).cloned().collect();
    assert!(unwanted.len() > 1, "{observed:?}");
    sdn::removal(&unwanted, &observed, |_| true)
}

#[test]
fn what_others_removed_is_not_ours_any_more() {
    let site = Site::new();
    site.run(&["lab", "up"]).expect(0);
    // They are ours as soon as they are there, even if nobody says how the zones are then.
    let fault = json!({ "path": "/nodes/*/sdn/zones", "action": "proxy-lost" });
    site.lab().faults(json!({ "pve": [fault] })).unwrap();
    ended(site.command(&["-y", "apply", "common"]).spawn().unwrap()).expect(0);
    site.lab().faults(json!({ "clear": true })).unwrap();
    let ours = ledger(&site);
    assert!(["evpnz1", "vnet100"].iter().all(|id| ours.iter().any(|one| one == id)), "{ours:?}");
    let plan = without(&site, "vnet100");
    wait(async {
        let nodes = ["pve01", "pve02", "pve03"].map(|node| node.parse().unwrap()).to_vec();
        let options = SdnOptions { nodes, ..SdnOptions::default() };
        site.proxmox().sdn().carry_out(&plan, &options).await.unwrap();
    });
    // Nothing is forgotten before somebody agreed to a plan.
    site.run(&["plan", "common"]).expect(0).says("create vnet vnet100");
    let said = site.run(&["apply", "common"]);
    assert_ne!(said.code, 0, "{said:?}");
    assert_eq!(ledger(&site), ours);
    // Nor what may only be hidden from the token.
    site.edit("common/sdn-vnets.hcl", "[100, 101, 102, 103]", "[101, 102, 103]");
    let nothing = json!({ "answer": { "status": 200, "body": r#"{"data":{}}"# } });
    let fault = json!({ "method": "GET", "path": "/access/permissions", "action": nothing });
    site.lab().faults(json!({ "pve": [fault] })).unwrap();
    site.run(&["-y", "apply", "common"]).expect(0);
    site.lab().faults(json!({ "clear": true })).unwrap();
    assert_eq!(ledger(&site), ours);
    site.run(&["-y", "apply", "common"]).expect(0);
    let ours = ledger(&site);
    assert!(ours.iter().any(|id| id == "vnet101"), "{ours:?}");
    assert!(!ours.iter().any(|id| id.contains("100")), "{ours:?}");
}

#[test]
fn a_destruction_forgets_what_others_removed() {
    let site = Site::new();
    site.run(&["-y", "apply", "common"]).expect(0);
    let plan = without(&site, "vnet100");
    wait(async {
        let nodes = ["pve01", "pve02", "pve03"].map(|node| node.parse().unwrap()).to_vec();
        let options = SdnOptions { nodes, ..SdnOptions::default() };
        site.proxmox().sdn().carry_out(&plan, &options).await.unwrap();
    });
    assert!(ledger(&site).iter().any(|id| id == "vnet100"));
    site.run(&["-y", "destroy", "common"]).expect(0);
    assert_eq!(ledger(&site), [""; 0]);
}

#[test]
fn a_removal_that_waited_is_forgotten_where_the_answer_to_it_is_lost() {
    let site = Site::new();
    site.run(&["-y", "apply", "common"]).expect(0);
    // As a run leaves it that was cut between the two.
    let plan = without(&site, "vnet100");
    wait(async {
        for change in &plan.changes {
            site.proxmox().sdn().save(change, None).await.unwrap();
        }
    });
    site.edit("common/sdn-vnets.hcl", "[100, 101, 102, 103]", "[101, 102, 103]");
    site.run(&["plan", "common"]).expect(0).says("removed here, and not applied: vnet vnet100");
    // What the tree has again does not stay removed, and nothing says so.
    site.edit("common/sdn-vnets.hcl", "[101, 102, 103]", "[100, 101, 102, 103]");
    let said = site.run(&["plan", "common"]).expect(0);
    said.says("create vnet vnet100");
    assert!(!said.out.contains("removed here, and not applied"), "{}", said.out);
    // A change that is refused makes nothing of it somebody else's.
    let refuse = json!({ "refuse": { "status": 403, "message": "Permission check failed" } });
    let fault = json!({ "method": "POST", "path": "/cluster/sdn/lock", "action": refuse });
    site.lab().faults(json!({ "pve": [fault] })).unwrap();
    ended(site.command(&["-y", "apply", "common"]).spawn().unwrap()).expect(1);
    site.lab().faults(json!({ "clear": true })).unwrap();
    assert!(ledger(&site).iter().any(|id| id == "vnet100"));
    site.edit("common/sdn-vnets.hcl", "[100, 101, 102, 103]", "[101, 102, 103]");

    // It is applied, and nobody says how the zones are then.
    let fault = json!({ "path": "/nodes/*/sdn/zones", "action": "proxy-lost" });
    site.lab().faults(json!({ "pve": [fault] })).unwrap();
    let run = site.command(&["-y", "apply", "common", "--allow-remove"]).spawn().unwrap();
    ended(run).expect(0);
    let ours = ledger(&site);
    assert!(!ours.iter().any(|id| id == "vnet100"), "{ours:?}");
}

#[test]
fn a_removal_takes_over_the_lock_that_a_change_left() {
    let site = Site::new();
    site.run(&["-y", "apply", "common"]).expect(0);
    site.edit("common/sdn-vnets.hcl", "[100, 101, 102, 103]", "[100, 101, 102, 103, 105]");
    let late = json!({ "method": "POST", "path": "/cluster/sdn/vnets",
                       "action": { "delay-ms": 20_000 } });
    site.lab().faults(json!({ "pve": [late] })).unwrap();
    let mut run = site.command(&["-y", "apply", "common"]).spawn().unwrap();
    await_call(&site, "POST /cluster/sdn/vnets", 1);
    run.kill().unwrap();
    run.wait().unwrap();
    site.lab().faults(json!({ "clear": true })).unwrap();

    site.edit("common/sdn-vnets.hcl", "[100, 101, 102, 103, 105]", "[101, 102, 103]");
    let run = site.command(&["-y", "apply", "common", "--allow-remove"]).spawn().unwrap();
    ended(run).expect(0).says("remove networks that the tree has no more");
    let observed = wait(site.proxmox().sdn().observe()).unwrap();
    assert!(!observed.objects.iter().any(|one| one.id == "vnet100"), "{observed:?}");
}

#[test]
fn a_guest_that_moves_while_the_nodes_are_listed_is_on_its_network() {
    let site = Site::new();
    site.run(&["-y", "apply", "common"]).expect(0);
    site.edit("common/sdn-vnets.hcl", "[100, 101, 102, 103]", "[101, 102, 103]");
    let lives_on = |node: &str| {
        let keys = json!({ "hostname": "db", "net0": "name=eth0,bridge=vnet100,ip=dhcp" });
        json!({ "containers": { "900": [node, keys, {}] } })
    };
    let lists = "GET /nodes/{node}/lxc";
    let before = site.lab().snapshot().unwrap()["pve_calls"][lists]["count"].as_u64().unwrap();
    // Its node is listed late, when the one that it goes to was listed without it.
    let late = json!({ "path": "/nodes/pve02/lxc", "after": 1, "times": 1,
                       "action": { "delay-ms": 5000 } });
    site.lab().faults(json!({ "pve": [late], "set": lives_on("pve02") })).unwrap();
    let plan = ["plan", "common", "--allow-remove", "--detailed-exitcode"];
    let run = site.command(&plan).spawn().unwrap();
    await_call(&site, lists, before + 6);
    site.lab().faults(json!({ "set": lives_on("pve01") })).unwrap();
    let said = ended(run).expect(0);
    said.says("the tree has no more: vnet vnet100 stays: container 900 db is on it");
}

#[test]
fn what_nothing_tells_of_after_a_cut_is_in_force_all_the_same() {
    let site = Site::new();
    site.run(&["-y", "apply", "terra"]).expect(0);
    let proxmox = site.proxmox();
    let node = "pve01".parse().unwrap();
    let vmid = proxmox_client::VmId::try_from(103_011).unwrap();
    // The serial number of a disk is written at once, and the guest has the old one until it is off.
    let drift = || {
        wait(async {
            let machine = proxmox.qemu(&node).observe(vmid).await.unwrap().unwrap();
            let disk = machine.config["scsi0"].replace("serial=terracp01", "serial=another");
            assert!(disk.contains("serial=another"), "{disk}");
            let keys = [("scsi0", disk.as_str())];
            if let Some(upid) = proxmox.qemu(&node).update(vmid, &keys).await.unwrap() {
                proxmox.tasks().wait(&upid, Duration::from_secs(30)).await.unwrap();
            }
        });
    };
    let count = |call: &str| {
        let calls = &site.lab().snapshot().unwrap()["pve_calls"];
        calls[call]["count"].as_u64().unwrap()
    };
    let start = "POST /nodes/{node}/qemu/{vmid}/status/start";
    let change = "POST /nodes/{node}/qemu/{vmid}/config";
    let configures = "/nodes/pve01/qemu/103011/config";

    // The answer to the change is lost.
    drift();
    site.run(&["plan", "--detailed-exitcode", "terra"]).expect(2).says("[reboot]");
    let before = count(start);
    let lost = json!({ "method": "POST", "path": configures, "times": 1, "action": "proxy-lost" });
    site.lab().faults(json!({ "pve": [lost] })).unwrap();
    site.run(&["-y", "apply", "terra"]).expect(0);
    assert_eq!(count(start), before + 1);
    site.run(&["plan", "--detailed-exitcode", "terra"]).expect(0);

    // It is refused: the machine runs on.
    drift();
    let refuse =
        json!({ "refuse": { "status": 400, "message": "Parameter verification failed." } });
    let fault = json!({ "method": "POST", "path": configures, "action": refuse });
    site.lab().faults(json!({ "clear": true, "pve": [fault] })).unwrap();
    site.run(&["-y", "apply", "terra"]).expect(1).says("change VM 103011");
    let machine = wait(proxmox.qemu(&node).observe(vmid)).unwrap().unwrap();
    assert!(machine.running);

    // The run ends right there, and the next one finds a machine that is off.
    let late = json!({ "method": "POST", "path": configures, "action": { "delay-ms": 20_000 } });
    site.lab().faults(json!({ "clear": true, "pve": [late] })).unwrap();
    let changes = count(change);
    let mut run = site.command(&["-y", "apply", "terra"]).spawn().unwrap();
    await_call(&site, change, changes + 1);
    run.kill().unwrap();
    run.wait().unwrap();
    site.lab().faults(json!({ "clear": true })).unwrap();
    let machine = wait(proxmox.qemu(&node).observe(vmid)).unwrap().unwrap();
    assert!(!machine.running);
    site.run(&["-y", "apply", "terra"]).expect(0);
    site.run(&["plan", "--detailed-exitcode", "terra"]).expect(0);
    let machine = wait(proxmox.qemu(&node).observe(vmid)).unwrap().unwrap();
    assert!(machine.running && machine.config["scsi0"].contains("serial=terracp01"));
}
