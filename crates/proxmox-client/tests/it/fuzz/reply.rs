//! Answers of the server that are not as they should be, through every call that reads.

use std::time::{Duration, Instant};

use proxmox_client::ensure::VmLimits;
use proxmox_client::sim::{Fault, FaultAction, SimCluster, SimHandle, SimStorage};
use proxmox_client::{
    Auth, Client, ClientConfig, FirewallLevel, HaKind, NodeName, Trust, Upid, VmId,
};
use serde_json::Value;

use super::course;
use super::random::Random;

/// How many calls there are below.
const CALLS: usize = 46;

/// One of the calls that read.
async fn call(client: &Client, number: usize, upid: &Upid) {
    let node: NodeName = "pve01".parse().expect("a name");
    let id = VmId::try_from(100).expect("a number");
    let (qemu, sdn, tasks) = (client.qemu(&node), client.sdn(), client.tasks());
    let (storage, access, ha) = (client.storage(&node), client.access(), client.ha());
    let firewall = client.firewall(FirewallLevel::Cluster);
    match number {
        0 => drop(client.version().await),
        1 => drop(client.nodes().await),
        2 => drop(client.cluster_status().await),
        3 => drop(client.resources(None).await),
        4 => drop(client.next_id().await),
        5 => drop(client.is_free(id).await),
        6 => drop(client.permissions().await),
        7 => drop(access.users().await),
        8 => drop(access.tokens("root@pam").await),
        9 => drop(access.roles().await),
        10 => drop(access.acl().await),
        11 => drop(client.pools().list().await),
        12 => drop(client.pools().get("pool").await),
        13 => drop(qemu.list().await),
        14 => drop(qemu.observe(id).await),
        15 => drop(qemu.config(id, false).await),
        16 => drop(qemu.pending(id).await),
        17 => drop(qemu.status(id).await),
        18 => drop(qemu.agent_interfaces(id).await),
        19 => drop(qemu.agent_answers(id).await),
        20 => drop(qemu.snapshots(id).await),
        21 => drop(qemu.migratable(id).await),
        22 => drop(client.vms().find(id).await),
        23 => drop(storage.list().await),
        24 => drop(storage.content("local", None).await),
        25 => drop(storage.status("local").await),
        26 => drop(storage.definitions().await),
        27 => drop(sdn.observe().await),
        28 => drop(sdn.preview(&node).await),
        29 => drop(sdn.zones_of(&node).await),
        30 => drop(sdn.fabrics().await),
        31 => drop(sdn.fabric_nodes("under").await),
        32 => drop(sdn.prefix_lists().await),
        33 => drop(sdn.route_map_entries().await),
        34 => drop(firewall.options().await),
        35 => drop(firewall.rules().await),
        36 => drop(firewall.entries("office").await),
        37 => drop(firewall.aliases().await),
        38 => drop(firewall.refs().await),
        39 => drop(ha.status().await),
        40 => drop(ha.list(HaKind::Resource).await),
        41 => drop(client.pci_mappings().list(Some(&node)).await),
        42 => drop(tasks.log(upid, 0, 10).await),
        43 => drop(tasks.exit(upid).await),
        44 => drop(client.node(&node).network_changes().await),
        45 => drop(tasks.list(&node, &[]).await),
        _ => panic!("no such call"),
    }
}

async fn full() -> (SimHandle, Client, Upid) {
    let sim = SimCluster::builder()
        .nodes(["pve01"])
        .task_time(Duration::from_millis(1))
        .storages([SimStorage::rbd("rbd-vm", "images"), SimStorage::dir("local", "iso,images")])
        .start()
        .await
        .expect("a simulator");
    let token = Auth::token(&sim.token()).expect("a token");
    let trust = Trust::Ca(sim.ca_pem().to_owned());
    let client = Client::new(&ClientConfig::new(sim.base_url(), token).trust(trust));
    let client = client.expect("a client");
    let node: NodeName = "pve01".parse().expect("a name");
    let id = VmId::try_from(100).expect("a number");
    let keys = [
        ("name", "one"),
        ("scsi0", "rbd-vm:4,iothread=1"),
        ("ide2", "rbd-vm:cloudinit"),
        ("net0", "virtio,bridge=vmbr0"),
        ("tags", "a;b"),
        ("agent", "1"),
    ];
    let upid = client.qemu(&node).create(id, &keys).await.expect("a task");
    client.tasks().wait(&upid, VmLimits::default().create).await.expect("an end");
    client.pools().create("pool", "").await.expect("a pool");
    let firewall = client.firewall(FirewallLevel::Cluster);
    firewall.create_set("office", None).await.expect("a set");
    firewall.create_alias("site", "10.0.0.0/8", None).await.expect("an alias");
    let rule = proxmox_client::plan::firewall::Rule::new("in", "ACCEPT").with("source", "site");
    firewall.ensure_rules(&[rule]).await.expect("rules");
    let entries = [("10.0.0.0/8".to_owned(), proxmox_client::plan::firewall::Entry::default())];
    firewall.ensure_set("office", &entries.into()).await.expect("a set");
    (sim, client, upid)
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_replies() {
    let (sim, client, upid) = full().await;
    let (seed, end) = course();
    let mut random = Random::new(seed);
    // bodies that are right, by the path that was asked
    let mut right: Vec<Vec<(String, Value)>> = Vec::new();
    for number in 0..CALLS {
        sim.faults().reset_counters();
        call(&client, number, &upid).await;
        let mut bodies = Vec::new();
        for asked in sim.faults().calls().iter().filter(|asked| asked.method == "GET") {
            let found: Result<Value, _> = client.get(&asked.path, &[]).await;
            bodies.extend(found.ok().map(|data| (asked.path.clone(), data)));
        }
        right.push(bodies);
    }
    let mut count = 0_u64;
    while Instant::now() < end || count < 100 {
        let number = random.below(CALLS);
        let bodies = right.get(number).map(Vec::as_slice).unwrap_or_default();
        let Some((path, data)) = bodies.get(random.below(bodies.len())) else {
            count += 1;
            continue;
        };
        let mut body = serde_json::json!({"data": data});
        for _ in 0..=random.below(3) {
            random.disturb(&mut body);
        }
        let mut bytes = body.to_string().into_bytes();
        if random.below(6) == 0 {
            bytes = random.changed(&[bytes]);
        }
        let status = if random.below(8) == 0 { 500 } else { 200 };
        sim.faults().clear();
        let answer = FaultAction::Answer { status, body: bytes.clone() };
        sim.faults().add(Fault::new("GET", path.as_str(), answer));
        let told =
            || format!("seed {seed}, input {count}: {path}: {}", String::from_utf8_lossy(&bytes));
        let asked = client.clone();
        let upid = upid.clone();
        let task = tokio::spawn(async move { call(&asked, number, &upid).await });
        match tokio::time::timeout(Duration::from_secs(30), task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("{}: {error}", told()),
            Err(elapsed) => panic!("{}: no end: {elapsed}", told()),
        }
        count += 1;
        if count.is_multiple_of(200) {
            sim.faults().reset_counters();
        }
    }
    sim.shutdown().await;
}
