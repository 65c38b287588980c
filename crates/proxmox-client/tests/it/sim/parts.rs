//! Smaller parts of the simulated cluster, through the client.

use std::time::Duration;

use proxmox_client::sim::{Dialect, SimCluster, SimHandle, SimStorage};
use proxmox_client::{Auth, Client, ClientConfig, ErrorKind, Method, NodeName, Trust, VmId};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(20);

async fn begun(dialect: Dialect) -> SimHandle {
    SimCluster::builder()
        .nodes(["pve01"])
        .dialect(dialect)
        .auth_delay(Duration::from_millis(1))
        .task_time(Duration::from_millis(2))
        .storages([SimStorage::rbd("rbd", "images")])
        .user("ops@pve", "a-password")
        .grant("ops@pve", "/", "PVEVMAdmin")
        .start()
        .await
        .expect("a simulator")
}

fn client_as(sim: &SimHandle, auth: Auth) -> Client {
    let config = ClientConfig::new(sim.base_url(), auth).trust(Trust::Ca(sim.ca_pem().to_owned()));
    Client::new(&config).expect("a client")
}

fn root(sim: &SimHandle) -> Client {
    client_as(sim, Auth::token(&sim.token()).expect("a token"))
}

fn id(number: u32) -> VmId {
    VmId::try_from(number).expect("a number")
}

async fn made(client: &Client, number: u32, keys: &[(&str, &str)]) {
    let node: NodeName = "pve01".parse().expect("a name");
    let upid = client.qemu(&node).create(id(number), keys).await.expect("a task");
    client.tasks().wait(&upid, WAIT).await.expect("an end");
}

#[tokio::test]
async fn jobs_of_others_are_read_and_lose_machines_that_go() {
    let sim = begun(Dialect::V9_2).await;
    let client = root(&sim);
    for number in [100, 101] {
        made(&client, number, &[("memory", "64")]).await;
    }
    let keys = |value: Value| value.as_object().cloned().expect("keys");
    sim.add_backup_job("nightly", keys(json!({"schedule": "02:00", "vmid": "100,101"})));
    sim.add_backup_job("single", keys(json!({"schedule": "03:00", "vmid": "100"})));
    sim.add_replication_job("100-0", keys(json!({"target": "pve02", "schedule": "*/15"})));
    let backups = client.backup_jobs().await.expect("jobs");
    assert_eq!(
        backups.iter().filter_map(|job| job["id"].as_str()).collect::<Vec<_>>(),
        ["nightly", "single"]
    );
    let copies = client.replication_jobs().await.expect("jobs");
    assert_eq!(
        (copies.len(), &copies[0]["guest"], &copies[0]["target"]),
        (1, &json!(100), &json!("pve02"))
    );
    let on_node: Vec<Value> = client.get("/nodes/pve01/replication", &[]).await.expect("jobs");
    assert_eq!(on_node[0]["source"], "pve01");

    let node: NodeName = "pve01".parse().expect("a name");
    let upid = client.qemu(&node).destroy(id(100)).await.expect("a task");
    client.tasks().wait(&upid, WAIT).await.expect("an end");
    let backups = client.backup_jobs().await.expect("jobs");
    assert_eq!((backups.len(), &backups[0]["vmid"]), (1, &json!("101")));
    assert!(client.replication_jobs().await.expect("jobs").is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn an_agent_answers_what_it_can() {
    let sim = begun(Dialect::V9_2).await;
    let client = root(&sim);
    made(&client, 100, &[("agent", "1"), ("name", "talos-a"), ("cores", "2")]).await;
    sim.set_guest_state(100, true);
    sim.set_agent(100, Some(json!([])));
    let ask = async |method: Method, name: &str| {
        let path = format!("/nodes/pve01/qemu/100/agent/{name}");
        client.call::<Value>(method, &path, &[]).await
    };
    let read =
        async |name: &str| ask(Method::GET, name).await.expect("an answer")["result"].clone();
    assert_eq!(read("get-host-name").await, json!({"host-name": "talos-a"}));
    assert_eq!(read("get-vcpus").await.as_array().map(Vec::len), Some(2));
    assert_eq!(read("info").await["supported_commands"][0]["name"], "guest-ping");
    let frozen = ask(Method::POST, "fsfreeze-status").await.expect("an answer");
    assert_eq!(frozen["result"], "thawed");
    let path = "/nodes/pve01/qemu/100/agent/exec";
    let error = client.call::<Value>(Method::POST, path, &[("command", "id")]).await;
    let error = error.expect_err("it runs no programs");
    assert!(error.text().contains("guest-exec has not been found"), "{error}");
    let index: Vec<Value> = client.get("/nodes/pve01/qemu/100/agent", &[]).await.expect("calls");
    assert!(index.len() > 20, "{index:?}");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_machine_can_be_made_under_the_manager() {
    let sim = begun(Dialect::V9_2).await;
    let client = root(&sim);
    made(&client, 100, &[("memory", "64"), ("ha-managed", "1")]).await;
    assert_eq!(sim.snapshot()["ha"]["resources"]["vm:100"]["keys"]["state"], "stopped");
    let ops = client_as(&sim, Auth::password("ops@pve", "a-password"));
    let node: NodeName = "pve01".parse().expect("a name");
    let keys = [("memory", "64"), ("ha-managed", "1")];
    let error = ops.qemu(&node).create(id(101), &keys).await.expect_err("no right");
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
    assert!(error.text().contains("/, Sys.Console"), "{error}");
    sim.shutdown().await;
}

#[tokio::test]
async fn releases_have_their_own_privileges() {
    for (dialect, agent, monitor) in [(Dialect::V8_4, false, true), (Dialect::V9_1, true, false)] {
        let sim = begun(dialect).await;
        let ops = client_as(&sim, Auth::password("ops@pve", "a-password"));
        let held = ops.permissions().await.expect("rights");
        assert_eq!(held.has("/vms/100", "VM.GuestAgent.Audit"), agent, "{dialect:?}");
        assert_eq!(held.has("/vms/100", "VM.Monitor"), monitor, "{dialect:?}");
        let access = root(&sim);
        let access = access.access();
        let made = access.create_role("monitor", &["VM.Monitor"]).await;
        assert_eq!(made.is_ok(), monitor, "{dialect:?}");
        let made = access.create_role("agent", &["VM.GuestAgent.Audit"]).await;
        assert_eq!(made.is_ok(), agent, "{dialect:?}");
        // who may do what with a machine may ask its agent, by whatever name that goes
        made_by_ops_is_asked(&sim, &ops).await;
        sim.shutdown().await;
    }
}

async fn made_by_ops_is_asked(sim: &SimHandle, ops: &Client) {
    made(&root(sim), 100, &[("agent", "1")]).await;
    let node: NodeName = "pve01".parse().expect("a name");
    assert!(!ops.qemu(&node).agent_answers(id(100)).await.expect("it may be asked"));
}

#[tokio::test]
async fn addresses_and_names_have_their_servers() {
    let sim = begun(Dialect::V9_2).await;
    let client = root(&sim);
    let write = async |method: Method, path: &str, keys: &[(&str, &str)]| {
        client.call::<Option<Value>>(method, path, keys).await
    };
    let netbox = [("ipam", "nb"), ("type", "netbox"), ("url", "http://nb"), ("token", "x")];
    let error = write(Method::POST, "/cluster/sdn/ipams", &netbox[..2]).await.expect_err("no url");
    assert!(error.text().contains("missing value for required option 'url'"), "{error}");
    write(Method::POST, "/cluster/sdn/ipams", &netbox).await.expect("it is made");
    let error = write(Method::POST, "/cluster/sdn/ipams", &netbox).await.expect_err("it exists");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    let rows: Vec<Value> = client.get("/cluster/sdn/ipams", &[]).await.expect("ipams");
    assert_eq!(rows.iter().map(|row| &row["ipam"]).collect::<Vec<_>>(), ["pve", "nb"]);
    write(Method::PUT, "/cluster/sdn/ipams/nb", &[("url", "http://other")])
        .await
        .expect("a change");
    let one: Value = client.get("/cluster/sdn/ipams/nb", &[]).await.expect("an ipam");
    assert_eq!(one["url"], "http://other");
    write(Method::DELETE, "/cluster/sdn/ipams/nb", &[]).await.expect("it goes");
    let gone = client.get::<Value>("/cluster/sdn/ipams/nb", &[]).await.expect_err("it is gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");

    write(Method::POST, "/cluster/sdn/zones", &[("zone", "z1"), ("type", "simple")])
        .await
        .expect("a zone");
    write(Method::POST, "/cluster/sdn/vnets", &[("vnet", "web"), ("zone", "z1")])
        .await
        .expect("a vnet");
    let keys = [("zone", "z1"), ("ip", "10.0.0.7"), ("mac", "BC:24:11:00:00:07")];
    write(Method::POST, "/cluster/sdn/vnets/web/ips", &keys).await.expect("an address");
    let rows: Vec<Value> = client.get("/cluster/sdn/ipams/pve/status", &[]).await.expect("rows");
    assert_eq!(rows[0]["ip"], "10.0.0.7");
    write(Method::DELETE, "/cluster/sdn/vnets/web/ips", &keys[..2]).await.expect("it goes");
    let rows: Vec<Value> = client.get("/cluster/sdn/ipams/pve/status", &[]).await.expect("rows");
    assert!(rows.is_empty(), "{rows:?}");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_node_tells_who_is_on_a_bridge() {
    let sim = begun(Dialect::V9_2).await;
    let client = root(&sim);
    made(&client, 100, &[("net0", "virtio,bridge=vmbr0")]).await;
    let path = "/nodes/pve01/sdn/zones/localnetwork/bridges";
    let rows: Vec<Value> = client.get(path, &[]).await.expect("bridges");
    assert_eq!((&rows[0]["name"], &rows[0]["ports"]), (&json!("vmbr0"), &json!([])));
    sim.set_guest_state(100, true);
    let rows: Vec<Value> = client.get(path, &[]).await.expect("bridges");
    assert_eq!(rows[0]["ports"][0]["name"], "tap100i0");
    sim.shutdown().await;
}

#[tokio::test]
async fn only_backups_have_notes_and_a_storage_has_an_identity() {
    let sim = begun(Dialect::V9_2).await;
    let client = root(&sim);
    made(&client, 100, &[("scsi0", "rbd:1")]).await;
    let path = "/nodes/pve01/storage/rbd/content/rbd%3Avm-100-disk-0";
    let error = client.call::<Value>(Method::PUT, path, &[("notes", "x")]).await;
    let error = error.expect_err("a disk");
    assert!(error.text().contains("'notes' is not supported for storage type 'rbd'"), "{error}");
    let one: Value = client.get("/nodes/pve01/storage/rbd/identity", &[]).await.expect("an id");
    assert_eq!(one["type"], "rbd");
    let rows: Vec<Value> =
        client.get("/nodes/pve01/storage/rbd/prunebackups", &[]).await.expect("backups");
    assert!(rows.is_empty(), "{rows:?}");
    let error = client.get::<Value>("/nodes/pve01/hardware/pci/0000:09:00.0/mdev", &[]).await;
    assert_eq!(error.expect_err("no device").kind(), ErrorKind::NotFound);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_task_may_not_be_found_at_first() {
    let sim = SimCluster::builder().seed(1).start().await.expect("a simulator");
    let client = root(&sim);
    let node: NodeName = "pve1".parse().expect("a name");
    let mut late = 0;
    for number in 100..106 {
        let upid = client.qemu(&node).create(id(number), &[("memory", "64")]).await;
        let upid = upid.expect("a task");
        match client.tasks().exit(&upid).await {
            Err(error) if error.kind() == ErrorKind::NotFound => late += 1,
            Err(error) => panic!("{error}"),
            Ok(_) => {}
        }
        client.tasks().wait(&upid, WAIT).await.expect("an end");
    }
    assert!((1..6).contains(&late), "{late}");
    sim.shutdown().await;
}
