//! Rights, devices, logs of tasks, releases.

use std::time::Duration;

use proxmox_client::sim::{Dialect, Fault, FaultAction, PciDevice, SimCluster, SimHandle};
use proxmox_client::{
    AclRow, Auth, Client, ClientConfig, ErrorKind, Method, NodeName, Release, TaskEnd, Trust, VmId,
};

use super::{WAIT, by_token, node, one, vm};

fn as_user(sim: &SimHandle, auth: Auth) -> Client {
    let config = ClientConfig::new(sim.base_url(), auth).trust(Trust::Ca(sim.ca_pem().to_owned()));
    Client::new(&config).expect("a client")
}

#[tokio::test]
async fn rights_are_told_and_granted() {
    let sim = one().user("ops@pve", "a-password").start().await.expect("a simulator");
    let root = Client::new(&by_token(&sim)).expect("a client");
    let all = root.permissions().await.expect("rights");
    assert!(all.has("/vms/100", "VM.Allocate") && all.has("/nodes/pve01", "Sys.Audit"));
    let ops = as_user(&sim, Auth::password("ops@pve", "a-password"));
    let needed = [("/vms/100", "VM.Allocate"), ("/vms/100", "VM.Audit")];
    assert_eq!(ops.permissions().await.expect("rights").missing(needed), needed);
    let grant = AclRow::new("/vms", "user", "ops@pve", "PVEAuditor", true);
    root.access().grant(&grant, false).await.expect("a grant");
    assert_eq!(root.access().acl().await.expect("grants"), std::slice::from_ref(&grant));
    let held = ops.permissions().await.expect("rights");
    assert_eq!(held.missing(needed), [("/vms/100", "VM.Allocate")]);
    let error = ops.qemu(&node()).create(vm(), &[]).await.expect_err("no right");
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    root.access().grant(&grant, true).await.expect("a removal");
    assert!(root.access().acl().await.expect("grants").is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn what_is_hidden_below_a_grant_is_found() {
    let sim = one().user("ops@pve", "a-password").start().await.expect("a simulator");
    let root = Client::new(&by_token(&sim)).expect("a client");
    let ops = as_user(&sim, Auth::password("ops@pve", "a-password"));
    let paths = ["/sdn/zones/-", "/sdn/zones/z1/-", "/sdn/zones/z1/web"].map(str::to_owned);
    let hidden = async || {
        let found = ops.access().first_hidden(paths.clone(), &["SDN.Audit", "SDN.Allocate"]).await;
        found.expect("an answer")
    };
    assert_eq!(hidden().await.as_ref(), Some(&paths[0]));
    let grant = async |path: &str, role: &str| {
        let row = AclRow::new(path, "user", "ops@pve", role, true);
        root.access().grant(&row, false).await.expect("a grant");
    };
    grant("/sdn/zones", "PVEAuditor").await;
    assert_eq!(hidden().await, None);
    grant("/sdn/zones/z1/web", "NoAccess").await;
    assert_eq!(hidden().await.as_ref(), Some(&paths[2]));
    // The list of all paths would not tell: it has none on which nothing is held.
    let all = ops.permissions().await.expect("rights");
    assert!(all.has(&paths[2], "SDN.Audit") && !all.iter().any(|(path, _)| path == paths[2]));
    grant("/sdn/zones/z1", "NoAccess").await;
    assert_eq!(hidden().await.as_ref(), Some(&paths[1]));
    sim.shutdown().await;
}

#[tokio::test]
async fn who_manages_some_machines_does_not_grant_rights_on_all() {
    let sim = one()
        .user("ops@pve", "a-password")
        .user("other@pve", "a-password")
        .start()
        .await
        .expect("a simulator");
    let root = Client::new(&by_token(&sim)).expect("a client");
    let grant = |path: &str, who: &str, role: &str| AclRow::new(path, "user", who, role, true);
    let given = grant("/vms", "ops@pve", "PVEVMAdmin");
    root.access().grant(&given, false).await.expect("a grant");
    let ops = as_user(&sim, Auth::password("ops@pve", "a-password"));
    let one = grant("/vms/100", "other@pve", "PVEVMUser");
    ops.access().grant(&one, false).await.expect("a grant on a machine");
    let all = grant("/vms", "other@pve", "PVEVMUser");
    let error = ops.access().grant(&all, false).await.expect_err("no right");
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
    assert_eq!(ops.access().acl().await.expect("grants"), [one], "others are not seen");
    sim.shutdown().await;
}

#[tokio::test]
async fn devices_are_named_for_machines() {
    let sim = one().start().await.expect("a simulator");
    let text = str::to_owned;
    let device = PciDevice {
        id: text("0000:00:02.1"),
        class: text("0x030000"),
        vendor: text("0x8086"),
        device: text("0x4680"),
        subsystem_vendor: text("0x1043"),
        subsystem_device: text("0x8694"),
        iommugroup: 4,
        device_name: text("Graphics"),
        vendor_name: text("Vendor"),
    };
    assert!(sim.add_pci("pve01", device));
    let client = Client::new(&by_token(&sim)).expect("a client");
    let node = node();
    let seen = client.node(&node).pci().await.expect("devices");
    let graphics = seen.iter().find(|row| row.id == "0000:00:02.1").expect("the device");
    assert_eq!((graphics.vendor.as_deref(), graphics.iommugroup), (Some("0x8086"), Some(4)));
    let mappings = client.pci_mappings();
    let map = "node=pve01,path=0000:00:02.1,id=8086:4680,iommugroup=4,subsystem-id=1043:8694";
    mappings.create("igpu", &[map], Some("for workers")).await.expect("a mapping");
    let again = mappings.create("igpu", &[map], None).await.expect_err("it exists");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
    let seen = mappings.get("igpu").await.expect("an answer").expect("the mapping");
    assert_eq!(seen.paths_of(&node), ["0000:00:02.1"]);
    let listed = mappings.list(Some(&node)).await.expect("mappings");
    assert!(listed.iter().all(|one| one.id == "igpu" && one.checks.is_empty()), "{listed:?}");
    mappings.set("igpu", &["node=pve01,path=0000:00:09.0,id=8086:4680"]).await.expect("a change");
    let listed = mappings.list(Some(&node)).await.expect("mappings");
    assert!(listed.iter().all(|one| !one.checks.is_empty()), "{listed:?}");
    mappings.delete("igpu").await.expect("a removal");
    assert!(mappings.get("igpu").await.expect("an answer").is_none());
    sim.shutdown().await;
}

#[tokio::test]
async fn the_log_of_a_task_is_followed() {
    let sim = one()
        .task_time_of("qmcreate", Duration::from_millis(300))
        .start()
        .await
        .expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let upid = client.qemu(&node()).create(vm(), &[("scsi0", "rbd-vm:1")]).await.expect("a task");
    assert_eq!(client.tasks().exit(&upid).await.expect("a state"), None);
    let mut lines = Vec::new();
    let end = client.tasks().follow(&upid, WAIT, &mut |line| lines.push(line.to_owned())).await;
    assert_eq!(end.expect("an end"), TaskEnd::Ok);
    assert_eq!(lines.last().map(String::as_str), Some("TASK OK"), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| *line == "TASK OK").count(), 1);
    assert_eq!(client.tasks().exit(&upid).await.expect("a state").as_deref(), Some("OK"));
    let rows = client.tasks().list(&node(), &[("source", "all")]).await.expect("tasks");
    assert!(rows.iter().any(|row| row.upid == upid.as_str() && !row.is_running()));
    assert!(client.tasks().recent().await.expect("tasks").iter().any(|row| row.kind == "qmcreate"));
    sim.shutdown().await;
}

#[tokio::test]
async fn what_a_release_does_not_have_is_never_sent() {
    let sim = SimCluster::builder()
        .nodes(["pve01"])
        .dialect(Dialect::V8_4)
        .start()
        .await
        .expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    assert_eq!(client.release().await.expect("a release"), Release::new(8, 4));
    sim.faults().reset_counters();
    let error = client.sdn().lock().await.expect_err("8.4 has no lock");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.text().contains("9.0 and later"), "{error}");
    let keys = [("zone", "z1"), ("type", "simple"), ("lock-token", "x")];
    let zone = client.call::<Option<String>>(Method::POST, "/cluster/sdn/zones", &keys).await;
    assert_eq!(zone.expect_err("8.4 has no token").kind(), ErrorKind::Unsupported);
    assert_eq!(sim.faults().total().count, 0, "{:?}", sim.faults().calls());
    sim.shutdown().await;
}

#[tokio::test]
async fn machines_of_all_nodes_are_read_with_one_call_each() {
    let sim = SimCluster::builder()
        .nodes(["pve01", "pve02"])
        .task_time(Duration::from_millis(1))
        .start()
        .await
        .expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let nodes = client.vms().nodes().await.expect("nodes");
    for (index, number) in (100_u32..110).enumerate() {
        let node: &NodeName = nodes.get(index % 2).expect("a node");
        let id = VmId::try_from(number).expect("a number");
        let upid = client.qemu(node).create(id, &[("memory", "512")]).await.expect("a task");
        client.tasks().wait(&upid, WAIT).await.expect("an end");
    }
    let first = VmId::try_from(100).expect("a number");
    let start = client.qemu(&nodes[0]).power(first, "start", &[]).await.expect("a task");
    client.tasks().wait(&start, WAIT).await.expect("an end");
    client.qemu(&nodes[0]).update(first, &[("memory", "1024")]).await.expect("a change");
    sim.faults().reset_counters();
    let seen = client.vms().observe_all(&nodes, |id, _| id.get() < 104).await.expect("machines");
    assert_eq!(sim.faults().total().count, 2 + 4);
    let ids: Vec<u32> = seen.iter().map(|vm| vm.vmid.get()).collect();
    assert_eq!(ids, [100, 101, 102, 103]);
    assert_eq!(seen[0].config["memory"], "1024");
    assert!(seen[0].running && seen[0].pending.contains("memory"), "{:?}", seen[0]);
    assert_eq!((seen[1].node.as_str(), seen[1].pending.len()), ("pve02", 0));
    let found = client.vms().find(first).await.expect("an answer").expect("the machine");
    assert_eq!(found.config, seen[0].config);
    let none = VmId::try_from(999).expect("a number");
    assert!(client.vms().find(none).await.expect("an answer").is_none());
    sim.shutdown().await;
}

#[tokio::test]
async fn a_pool_has_members() {
    let sim = one().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let upid = client.qemu(&node()).create(vm(), &[("name", "a")]).await.expect("a task");
    client.tasks().wait(&upid, WAIT).await.expect("an end");
    let pools = client.pools();
    pools.create("sol", "").await.expect("a pool");
    pools.add("sol", &[vm()]).await.expect("a member");
    let pool = pools.get("sol").await.expect("an answer").expect("the pool");
    assert_eq!(pool.members.iter().map(|one| one.vmid).collect::<Vec<_>>(), [Some(101_011)]);
    pools.delete("sol").await.expect_err("it is not empty");
    pools.remove("sol", &[vm()]).await.expect("a removal");
    pools.delete("sol").await.expect("a removal");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_second_factor_is_asked_for_once() {
    let sim = one()
        .auth_delay(Duration::from_millis(1))
        .user("ops@pve", "a-password")
        .grant("ops@pve", "/", "Administrator")
        .second_factor("ops@pve", ["123456"])
        .start()
        .await
        .expect("a simulator");
    let without = as_user(&sim, Auth::password("ops@pve", "a-password"));
    let error = without.version().await.expect_err("it is asked for");
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.text().contains("second factor (totp)"), "{error}");
    let wrong = as_user(&sim, Auth::password("ops@pve", "a-password").one_time_password("654321"));
    let error = wrong.version().await.expect_err("refused");
    assert!(error.text().contains("one-time password was refused"), "{error}");
    assert!(!format!("{error:?} {wrong:?}").contains("654321"));
    let right = as_user(&sim, Auth::password("ops@pve", "a-password").one_time_password("123456"));
    right.version().await.expect("a version");
    // A ticket that is refused is renewed by itself: the code was right once.
    tokio::time::sleep(Duration::from_millis(5100)).await;
    sim.faults().reset_counters();
    sim.faults().add(Fault::new("POST", "/nodes/*/qemu", FaultAction::Unauthorized).once());
    right.qemu(&node()).create(vm(), &[("name", "a")]).await.expect("a task");
    let counters = sim.faults().counters();
    assert_eq!(counters.get("POST /access/ticket").map(|row| row.count), Some(1));
    sim.shutdown().await;
}

#[tokio::test]
async fn a_ticket_that_is_refused_is_renewed() {
    let sim = one().auth_delay(Duration::from_millis(1)).start().await.expect("a simulator");
    let client = as_user(&sim, Auth::password("root@pam", sim.password()));
    client.version().await.expect("a version");
    sim.advance(Duration::from_hours(3));
    tokio::time::sleep(Duration::from_millis(5100)).await;
    let (one, two) = tokio::join!(client.nodes(), client.version());
    one.expect("nodes");
    two.expect("a version");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_task_is_waited_for_through_an_outage() {
    let sim = one().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let upid = client.qemu(&node()).create(vm(), &[("name", "a")]).await.expect("a task");
    let outage = Fault::new("GET", "/nodes/*/tasks/*", FaultAction::ProxyUnreachable);
    sim.faults().add(outage.times(6));
    assert_eq!(client.tasks().wait(&upid, WAIT).await.expect("an end"), TaskEnd::Ok);
    sim.faults().add(Fault::new("GET", "/nodes/*/tasks/*", FaultAction::ProxyUnreachable));
    let limit = Duration::from_millis(100);
    let error = client.tasks().wait(&upid, limit).await.expect_err("it does not come back");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.may_have_been_applied());
    sim.shutdown().await;
}

#[tokio::test]
async fn the_agent_in_a_guest_tells_its_addresses() {
    let sim = one().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let node = node();
    let qemu = client.qemu(&node);
    let upid = qemu.create(vm(), &[("agent", "1")]).await.expect("a task");
    client.tasks().wait(&upid, WAIT).await.expect("an end");
    assert!(!qemu.agent_answers(vm()).await.expect("an answer"));
    assert!(qemu.agent_interfaces(vm()).await.expect("an answer").is_none());
    let upid = qemu.power(vm(), "start", &[]).await.expect("a task");
    client.tasks().wait(&upid, WAIT).await.expect("an end");
    let cards = serde_json::json!([
        {"name": "lo"},
        {"name": "eth0", "hardware-address": "02:00:00:00:00:01",
         "ip-addresses": [{"ip-address": "fd00::7", "ip-address-type": "ipv6", "prefix": 64}]},
    ]);
    sim.set_agent(101_011, Some(cards));
    assert!(qemu.agent_answers(vm()).await.expect("an answer"));
    let cards = qemu.agent_interfaces(vm()).await.expect("an answer").expect("cards");
    let card = cards.iter().find(|card| card.name == "eth0").expect("a card");
    assert_eq!(card.mac.as_deref(), Some("02:00:00:00:00:01"));
    let address = card.addresses.first().expect("an address");
    assert_eq!((address.address.to_string().as_str(), address.prefix), ("fd00::7", Some(64)));
    sim.shutdown().await;
}
