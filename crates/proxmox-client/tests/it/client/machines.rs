//! Machines that are to be there or gone: whose they are, what they need, what stops them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proxmox_client::ensure::{SdnOptions, VmLimits};
use proxmox_client::plan::firewall::Rule;
use proxmox_client::plan::rights::Rights;
use proxmox_client::plan::sdn::{SdnObserved, diff};
use proxmox_client::plan::vm::{Disk, Hotplug, Impact, VmChange, VmDesired};
use proxmox_client::sim::SimHandle;
use proxmox_client::{
    AclRow, Auth, Client, ClientConfig, ErrorKind, FirewallLevel, HaKind, NodeName, Trust, VmId,
};

use super::matrix::{carried_out, cluster, observed};
use super::{WAIT, by_token, node, one, vm};
use crate::client::networks::networks;

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn disk(key: &str, size_gib: u32) -> Disk {
    let options = pairs(&[("discard", "on"), ("iothread", "1")]);
    Disk { key: key.into(), storage: "rbd-vm".into(), size_gib, options }
}

pub(super) fn machine() -> VmDesired {
    let uuid = "11111111-2222-3333-4444-555555555555";
    VmDesired {
        vmid: vm(),
        node: "pve02".into(),
        uuid: uuid.into(),
        tags: ["clusterctl".to_owned()].into(),
        keys: pairs(&[
            ("name", "solcp01"),
            ("cores", "4"),
            ("memory", "2048"),
            ("smbios1", &format!("uuid={uuid}")),
            ("net0", "virtio=02:00:00:00:00:01,bridge=vmbr0"),
            ("net1", "virtio=02:00:00:00:00:02,bridge=vmbr0"),
            ("boot", "order=scsi0"),
        ]),
        absent: BTreeSet::new(),
        disks: vec![disk("scsi0", 4)],
        efi_storage: Some("rbd-vm".into()),
        cloud_init: Some(("ide2".into(), "rbd-vm".into())),
        medium: None,
    }
}

pub(super) fn changed() -> VmDesired {
    let mut wanted = machine();
    wanted.keys.extend(pairs(&[("cores", "6"), ("boot", "order=scsi0;scsi1")]));
    wanted.keys.remove("net1");
    wanted.absent.insert("net1".into());
    wanted.disks = vec![disk("scsi0", 6), disk("scsi1", 8)];
    wanted
}

#[tokio::test]
async fn a_machine_of_somebody_else_stays_as_it_is() {
    let sim = cluster().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let node: NodeName = "pve01".parse().expect("a name");
    let upid = client.qemu(&node).create(vm(), &[("name", "theirs")]).await.expect("a task");
    client.tasks().wait(&upid, WAIT).await.expect("an end");
    let before = sim.snapshot()["vms"].clone();
    let limits = VmLimits::default();
    let error = client.vms().ensure(&machine(), &limits).await.expect_err("theirs");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.text().contains("theirs"), "{error}");
    let owns = |seen: &_| machine().owns(seen).map_err(|foreign| foreign.reason);
    let error = client.vms().ensure_absent(vm(), &limits, owns).await.expect_err("theirs");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(sim.snapshot()["vms"], before);
    sim.shutdown().await;
}

#[tokio::test]
async fn containers_are_seen_and_their_numbers_are_taken() {
    let sim = cluster().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let node: NodeName = "pve01".parse().expect("a name");
    let keys = pairs(&[("hostname", "db"), ("net0", "name=eth0,bridge=vnet101,ip=dhcp")]);
    let later = pairs(&[("net0", "name=eth0,bridge=vmbr0,ip=dhcp")]);
    assert!(!sim.add_container("pve99", vm().get(), keys.clone(), later.clone()));
    assert!(sim.add_container("pve01", vm().get(), keys, later));
    let rows = client.lxc(&node).list().await.expect("a list");
    assert_eq!(rows[0].vmid, Some(u64::from(vm().get())));
    assert_eq!(rows[0].name.as_deref(), Some("db"));
    let rows = client.lxc(&node).pending(vm()).await.expect("a configuration");
    let net = rows.iter().find(|row| row.key == "net0").expect("a device");
    assert!(net.value.as_deref().expect("a text").contains("bridge=vnet101"));
    assert!(net.pending.as_deref().expect("a text").contains("bridge=vmbr0"));
    let other = "pve02".parse().expect("a name");
    assert!(client.lxc(&other).list().await.expect("a list").is_empty());
    let error = client.vms().ensure(&machine(), &VmLimits::default()).await.expect_err("taken");
    assert!(error.text().contains("already exists"), "{error}");
    sim.shutdown().await;
}

/// A cluster, its root, and a user who may do nothing yet.
async fn with_a_user() -> (SimHandle, Client, Client) {
    let sim = cluster().user("ops@pve", "a-password").start().await.expect("a simulator");
    let root = Client::new(&by_token(&sim)).expect("a client");
    let auth = Auth::password("ops@pve", "a-password");
    let config = ClientConfig::new(sim.base_url(), auth).trust(Trust::Ca(sim.ca_pem().to_owned()));
    let ops = Client::new(&config).expect("a client");
    (sim, root, ops)
}

/// Gives these rights, and no others, to the user of [`with_a_user`].
async fn grant(root: &Client, rights: &Rights) {
    let mut by_path: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, privilege) in rights.pairs() {
        by_path.entry(path).or_default().push(privilege);
    }
    for (index, (path, privileges)) in by_path.iter().enumerate() {
        let role = format!("role{index}");
        root.access().create_role(&role, privileges).await.expect("a role");
        let grant = AclRow::new(*path, "user", "ops@pve", role, false);
        root.access().grant(&grant, false).await.expect("a grant");
    }
}

#[tokio::test]
async fn the_rights_that_a_plan_names_are_enough() {
    let (sim, root, ops) = with_a_user().await;

    let (first, second) = (machine(), changed());
    let plan = diff(&networks("1450"), &SdnObserved::default(), |_| true, false);
    let mut rights = Rights::new(BTreeMap::new());
    rights.create_vm(&first);
    rights.create_vm(&second);
    rights.destroy_vm(vm());
    rights.networks(&plan.changes);
    for node in ["pve01", "pve02"] {
        rights.see_node(node);
    }
    let all: Vec<_> = rights.pairs().collect();
    assert_eq!(ops.permissions().await.expect("rights").missing(rights.pairs()), all);
    let limits = VmLimits::default();
    let error = ops.vms().ensure(&first, &limits).await.expect_err("nothing is allowed yet");
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");

    grant(&root, &rights).await;
    assert!(ops.permissions().await.expect("rights").missing(rights.pairs()).is_empty());
    ops.vms().ensure(&first, &limits).await.expect("it is made");
    ops.vms().ensure(&second, &limits).await.expect("it is changed");
    let owns = |seen: &_| second.owns(seen).map_err(|foreign| foreign.reason);
    assert!(ops.vms().ensure_absent(vm(), &limits, owns).await.expect("it is destroyed"));
    carried_out(&ops, &plan, "networks").await;
    let left = observed(&ops, "networks").await;
    assert!(diff(&networks("1450"), &left, |_| true, false).is_empty(), "{left:?}");
    sim.shutdown().await;
}

#[tokio::test]
async fn the_rights_for_all_else_are_enough_too() {
    let (sim, root, ops) = with_a_user().await;
    let limits = VmLimits::default();
    root.vms().ensure(&machine(), &limits).await.expect("a machine");
    let plan = diff(&networks("1450"), &SdnObserved::default(), |_| true, false);
    carried_out(&root, &plan, "networks").await;
    let node: NodeName = "pve02".parse().expect("a name");
    let rules = [Rule::new("in", "ACCEPT")];
    ops.firewall(FirewallLevel::Cluster).ensure_rules(&rules).await.expect_err("not allowed yet");

    let mut rights = Rights::new(BTreeMap::new());
    rights.firewall_of_cluster();
    rights.firewall_of_node("pve02");
    rights.firewall_of_vm(vm());
    rights.firewall_of_vnet("evpnz1", "vnet101");
    rights.high_availability();
    rights.mapping("pci", "gpu");
    rights.mapping("usb", "stick");
    rights.roles();
    grant(&root, &rights).await;
    for level in
        [FirewallLevel::Cluster, FirewallLevel::Node(node.clone()), FirewallLevel::Vm(node, vm())]
    {
        ops.firewall(level).ensure_rules(&rules).await.expect("it is allowed");
    }
    let forward = [Rule::new("forward", "ACCEPT")];
    let vnet = FirewallLevel::Vnet("vnet101".to_owned());
    ops.firewall(vnet).ensure_rules(&forward).await.expect("it is allowed");
    let (ha, sid) = (ops.ha(), "vm:101011");
    ha.create(HaKind::Resource, sid, &[("state", "stopped")]).await.expect("it is allowed");
    ha.delete(HaKind::Resource, sid).await.expect("it is allowed");
    let (pci, usb) = (ops.pci_mappings(), ops.usb_mappings());
    let entry = "node=pve01,id=8086:4680,path=0000:00:02.0";
    pci.create("gpu", &[entry], None).await.expect("it is allowed");
    pci.set("gpu", &[entry]).await.expect("it is allowed");
    assert!(pci.get("gpu").await.expect("it is allowed").is_some());
    pci.delete("gpu").await.expect("it is allowed");
    usb.create("stick", &["node=pve01,id=1a86:55d4"], None).await.expect("it is allowed");
    usb.delete("stick").await.expect("it is allowed");
    ops.access().create_role("ops", &["VM.Audit"]).await.expect("it is allowed");
    ops.access().delete_role("ops").await.expect("it is allowed");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_machine_of_a_node_that_is_offline_is_not_taken_for_gone() {
    let sim = cluster().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let limits = VmLimits::default();
    client.vms().ensure(&machine(), &limits).await.expect("a machine on pve02");
    assert!(sim.set_node_online("pve02", false));
    let error = client.vms().ensure_absent(vm(), &limits, |_| Ok(())).await.expect_err("unseen");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.text().contains("offline"), "{error}");
    client.vms().ensure(&machine(), &limits).await.expect_err("it cannot be made twice");
    assert!(sim.set_node_online("pve02", true));
    assert!(client.vms().ensure_absent(vm(), &limits, |_| Ok(())).await.expect("it is seen"));
    assert!(!client.vms().ensure_absent(vm(), &limits, |_| Ok(())).await.expect("it is gone"));
    sim.shutdown().await;
}

#[tokio::test]
async fn a_lock_that_stays_is_told_with_what_to_do() {
    let sim = cluster().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let limits = VmLimits { create: Duration::from_millis(600), ..VmLimits::default() };
    client.vms().ensure(&machine(), &limits).await.expect("a machine");
    sim.set_config_lock(101_011, Some("backup"));
    let error = client.vms().ensure(&changed(), &limits).await.expect_err("a lock");
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.text().contains("qm unlock 101011"), "{error}");
    sim.set_config_lock(101_011, None);
    let done = client.vms().ensure(&changed(), &limits).await.expect("a machine");
    assert!(!done.created && !done.changes.is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn work_can_be_given_to_tasks_of_any_thread() {
    let sim = cluster().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let done = tokio::spawn(async move {
        let limits = VmLimits::default();
        client.vms().ensure(&machine(), &limits).await?;
        client.vms().ensure_absent(vm(), &limits, |_| Ok(())).await?;
        let plan = diff(&networks("1450"), &client.sdn().observe().await?, |_| true, false);
        client.sdn().carry_out(&plan, &SdnOptions::default()).await?;
        let firewall = client.firewall(FirewallLevel::Cluster);
        firewall.ensure_rules(&[Rule::new("in", "ACCEPT")]).await?;
        firewall.ensure_set("office", &BTreeMap::new()).await
    });
    done.await.expect("no panic").expect("it is done");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_device_is_known_by_its_name_until_the_machine_stops() {
    let sim = one().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let node = node();
    let qemu = client.qemu(&node);
    let upid = qemu.create(vm(), &[("memory", "64"), ("scsi0", "rbd-vm:1")]).await;
    client.tasks().wait(&upid.expect("a task"), WAIT).await.expect("an end");
    let upid = qemu.power(vm(), "start", &[]).await.expect("a task");
    client.tasks().wait(&upid, WAIT).await.expect("an end");
    let seen = qemu.observe(vm()).await.expect("an answer").expect("the machine");
    let after = format!("{},wwn=0x0123456789abcdef", seen.config["scsi0"]);
    let before = seen.config.get("scsi0").cloned();
    let change = VmChange::Set { key: "scsi0".into(), before, after: after.clone() };
    assert_eq!(change.impact_with(&Hotplug::of(&seen.config)), Impact::StopStart, "{change}");
    // the server writes it down at once, and nothing tells that the guest has another one
    if let Some(upid) = qemu.update(vm(), &[("scsi0", &after)]).await.expect("it is set") {
        client.tasks().wait(&upid, WAIT).await.expect("an end");
    }
    let seen = qemu.observe(vm()).await.expect("an answer").expect("the machine");
    assert!(seen.pending.is_empty() && seen.config["scsi0"].contains("wwn="), "{seen:?}");
    sim.shutdown().await;
}

#[tokio::test]
async fn what_changes_while_a_machine_runs_is_told_as_the_server_does_it() {
    let sim = one().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let node = node();
    let qemu = client.qemu(&node);
    let settings = [
        ("", "0"),
        ("0", "1"),
        ("disk,usb", "0"),
        ("network,cpu", "0"),
        ("memory", "0"),
        ("network,disk,usb,cpu,memory", "1"),
    ];
    for (number, (hotplug, numa)) in (100_u32..).zip(settings) {
        let id = VmId::try_from(number).expect("a number");
        let mut keys = vec![
            ("cores", "4"),
            ("vcpus", "1"),
            ("memory", "1024"),
            ("numa", numa),
            ("balloon", "512"),
        ];
        keys.extend([("net0", "virtio=02:00:00:00:00:01,bridge=vmbr0"), ("scsi0", "rbd-vm:1")]);
        keys.push(("ide2", "none,media=cdrom"));
        keys.extend((numa == "1").then_some(("ostype", "l26")));
        keys.extend((!hotplug.is_empty()).then_some(("hotplug", hotplug)));
        let upid = qemu.create(id, &keys).await.expect("a task");
        client.tasks().wait(&upid, WAIT).await.expect("an end");
        let upid = qemu.power(id, "start", &[]).await.expect("a task");
        client.tasks().wait(&upid, WAIT).await.expect("an end");
        for (key, after) in [
            ("name", "other"),
            ("net0", "virtio=02:00:00:00:00:01,bridge=vmbr0,tag=7"),
            ("scsi1", "rbd-vm:2"),
            ("cores", "6"),
            ("vcpus", "3"),
            ("memory", "2048"),
            ("cpulimit", "2"),
            ("balloon", "768"),
            ("balloon", "0"),
            ("scsi0", "rbd-vm:vm-NUMBER-disk-0,mbps_rd=10,size=1G"),
            ("scsi0", "rbd-vm:vm-NUMBER-disk-0,backup=0,mbps_rd=10,size=1G"),
            ("scsi0", "rbd-vm:vm-NUMBER-disk-0,backup=0,mbps_rd=10,size=1G,ssd=1"),
            ("ide2", "cdrom,media=cdrom"),
            ("sata0", "none,media=cdrom"),
            ("scsi2", "none,media=cdrom"),
            ("usb0", "spice"),
            ("shares", "500"),
            ("migrate_downtime", "0.5"),
            ("hotplug", "network"),
        ] {
            let after = after.replace("NUMBER", &number.to_string());
            let seen = qemu.observe(id).await.expect("an answer").expect("the machine");
            let before = seen.config.get(key).cloned();
            let change = VmChange::Set { key: key.to_owned(), before, after: after.clone() };
            let told = change.impact_with(&Hotplug::of(&seen.config));
            if let Some(upid) = qemu.update(id, &[(key, after.as_str())]).await.expect("it is set")
            {
                client.tasks().wait(&upid, WAIT).await.expect("an end");
            }
            let seen = qemu.observe(id).await.expect("an answer").expect("the machine");
            let done = if seen.pending.contains(key) { Impact::StopStart } else { Impact::Live };
            assert_eq!(told, done, "{change} with hotplug {hotplug:?}");
        }
        let set = async {
            match qemu.update(id, &[("vcpus", "5")]).await? {
                Some(upid) => client.tasks().wait(&upid, WAIT).await.map(|end| format!("{end:?}")),
                None => Ok(String::new()),
            }
        };
        let text = set.await.unwrap_or_else(|error| error.to_string());
        let is_hot = hotplug.contains("cpu");
        assert_eq!(text.contains("Parameter verification failed"), is_hot, "{hotplug}: {text}");
    }
    sim.shutdown().await;
}
