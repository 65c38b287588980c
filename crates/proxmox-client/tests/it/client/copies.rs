//! Copies, snapshots, moves; high availability; fabrics.

use proxmox_client::sim::{Dialect, SimCluster, SimStorage};
use proxmox_client::{
    Client, CloneOptions, DiskTarget, ErrorKind, HaKind, NodeName, TaskEnd, Upid, VmId,
};

use super::{WAIT, by_token, node, one, vm};

async fn ends(client: &Client, upid: Upid) {
    assert_eq!(client.tasks().wait(&upid, WAIT).await.expect("an end"), TaskEnd::Ok);
}

#[tokio::test]
async fn a_machine_is_cloned_and_its_disks_move() {
    let sim = one()
        .storage(SimStorage::dir("local", "images,iso,import"))
        .start()
        .await
        .expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let (node, copy) = (node(), VmId::try_from(7000).expect("a number"));
    let qemu = client.qemu(&node);
    let keys = [("name", "one"), ("scsi0", "rbd-vm:1"), ("boot", "order=scsi0")];
    ends(&client, qemu.create(vm(), &keys).await.expect("a task")).await;
    ends(&client, qemu.snapshot(vm(), "first", Some("as made"), false).await.expect("a task"))
        .await;
    let snapshots = qemu.snapshots(vm()).await.expect("snapshots");
    assert_eq!(snapshots.len(), 1);
    assert_eq!(snapshots[0].name, "first");
    ends(&client, qemu.rollback(vm(), "first").await.expect("a task")).await;
    ends(&client, qemu.delete_snapshot(vm(), "first").await.expect("a task")).await;

    let how = CloneOptions { name: Some("two"), full: Some(true), ..CloneOptions::default() };
    ends(&client, qemu.clone_to(vm(), copy, &how).await.expect("a task")).await;
    let to = DiskTarget::Storage { storage: "local", format: Some("qcow2"), delete: true };
    ends(&client, qemu.move_disk(copy, "scsi0", &to).await.expect("a task")).await;
    let config = qemu.config(copy, false).await.expect("a config");
    assert_eq!(config["name"], "two");
    let disk = config["scsi0"].as_str().expect("a disk");
    assert!(disk.starts_with("local:7000/vm-7000-disk-"), "{disk}");
    let to = DiskTarget::Machine { vmid: vm(), disk: "scsi4" };
    ends(&client, qemu.move_disk(copy, "scsi0", &to).await.expect("a task")).await;
    assert!(qemu.config(vm(), false).await.expect("a config").contains_key("scsi4"));
    let taken = qemu.clone_to(vm(), copy, &CloneOptions::default()).await.expect_err("taken");
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists, "{taken:?}");
    ends(&client, qemu.make_template(vm()).await.expect("a task")).await;
    assert_eq!(qemu.config(vm(), false).await.expect("a config")["template"], 1);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_machine_goes_to_another_node() {
    let sim = SimCluster::builder()
        .nodes(["pve01", "pve02"])
        .storages([SimStorage::rbd("rbd-vm", "images")])
        .start()
        .await
        .expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let (here, there) = (node(), "pve02".parse::<NodeName>().expect("a name"));
    let qemu = client.qemu(&here);
    ends(&client, qemu.create(vm(), &[("scsi0", "rbd-vm:1")]).await.expect("a task")).await;
    let can = qemu.migratable(vm()).await.expect("an answer");
    assert_eq!((can.running, can.allowed_nodes), (false, vec!["pve02".to_owned()]));
    ends(&client, qemu.migrate(vm(), &there, &[]).await.expect("a task")).await;
    client.qemu(&there).status(vm()).await.expect("it is there");

    let (ha, sid) = (client.ha(), format!("vm:{}", vm()));
    let keys = [("state", "stopped"), ("comment", "ours")];
    ha.create(HaKind::Resource, &sid, &keys).await.expect("a resource");
    ha.update(HaKind::Resource, &sid, &[("max_restart", "3")]).await.expect("a change");
    let row = ha.get(HaKind::Resource, &sid).await.expect("an answer").expect("it is there");
    assert_eq!(row.get("max_restart").map(String::as_str), Some("3"));
    let rule = [("type", "node-affinity"), ("resources", sid.as_str()), ("nodes", "pve01,pve02:2")];
    ha.create(HaKind::Rule, "near", &rule).await.expect("a rule");
    assert_eq!(ha.list(HaKind::Rule).await.expect("rules").len(), 1);
    ha.status().await.expect("a status");
    ha.bring_to(&sid, &here, true).await.expect("a request");
    ha.delete(HaKind::Rule, "near").await.expect("it goes");
    ha.delete(HaKind::Resource, &sid).await.expect("it goes");
    assert!(ha.get(HaKind::Resource, &sid).await.expect("an answer").is_none());
    sim.shutdown().await;
}

#[tokio::test]
async fn fabrics_are_saved_with_their_nodes() {
    let sim = one().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let sdn = client.sdn();
    let keys = [("area", "0"), ("ip_prefix", "10.88.0.0/24")];
    sdn.create_fabric("under", "ospf", &keys).await.expect("a fabric");
    let again = sdn.create_fabric("under", "ospf", &keys).await.expect_err("it is there");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again:?}");
    let keys = [("ip", "10.88.0.1"), ("interfaces", "name=eth0"), ("interfaces", "name=eth1")];
    sdn.add_fabric_node("under", &node(), "ospf", &keys).await.expect("a node");
    let keys = [("interfaces", "name=eth2")];
    sdn.set_fabric_node("under", &node(), "ospf", &keys).await.expect("a node");
    let nodes = sdn.fabric_nodes("under").await.expect("nodes");
    assert_eq!(nodes[0].interfaces, ["name=eth2"]);
    sdn.set_fabric("under", "ospf", &[("area", "1")]).await.expect("a change");
    let fabric = sdn.fabric("under").await.expect("an answer").expect("it is there");
    assert_eq!(fabric.area.as_deref(), Some("1"));
    assert_eq!(sdn.fabrics().await.expect("fabrics").len(), 1);
    sdn.delete_fabric_node("under", &node()).await.expect("it goes");
    sdn.delete_fabric("under").await.expect("it goes");
    assert!(sdn.fabric("under").await.expect("an answer").is_none());
    sim.shutdown().await;
}

#[tokio::test]
async fn an_old_server_is_not_asked_for_what_it_does_not_have() {
    let sim = one().dialect(Dialect::V8_4).start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let error = client.ha().list(HaKind::Rule).await.expect_err("no rules in 8");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error = client.sdn().fabrics().await.expect_err("no fabrics in 8");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    client.ha().create(HaKind::Group, "near", &[("nodes", "pve01")]).await.expect("a group");
    assert_eq!(client.ha().list(HaKind::Group).await.expect("groups").len(), 1);
    sim.shutdown().await;
}
