//! Nodes and the cluster: networks, names, options, definitions of storages.

use proxmox_client::sim::{Fault, FaultAction};
use proxmox_client::{Client, ErrorKind, TaskEnd};

use super::{WAIT, by_token, node, one};

#[tokio::test]
async fn interfaces_are_saved_shown_reverted_and_applied() {
    let sim = one().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let name = node();
    let node = client.node(&name);
    let first = node.interface("vmbr0").await.expect("an answer").expect("a bridge");
    assert_eq!(first.get("cidr").map(String::as_str), Some("10.99.0.1/24"));
    assert_eq!(node.network_changes().await.expect("changes"), None);
    let keys = [("cidr", "10.98.0.1/24"), ("mtu", "9000"), ("autostart", "1")];
    node.create_interface("vmbr7", "bridge", &keys).await.expect("it is saved");
    let again = node.create_interface("vmbr7", "bridge", &keys).await.expect_err("it exists");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
    let out = [("cidr", "10.97.0.1/24"), ("gateway", "10.97.0.254")];
    let second = node.create_interface("vmbr8", "bridge", &out).await.expect_err("two ways out");
    assert_eq!(second.kind(), ErrorKind::AlreadyExists, "{second}");
    let changes = node.network_changes().await.expect("changes").expect("some");
    assert!(changes.contains("+iface vmbr7 inet static"), "{changes}");
    assert_eq!(sim.snapshot()["nodes"]["pve01"]["bridges"]["vmbr7"], serde_json::Value::Null);
    node.revert_network().await.expect("it is forgotten");
    assert_eq!(node.interface("vmbr7").await.expect("an answer"), None);

    node.create_interface("vmbr7", "bridge", &keys).await.expect("it is saved");
    let upid = node.apply_network().await.expect("a task");
    assert_eq!(client.tasks().wait(&upid, WAIT).await.expect("an end"), TaskEnd::Ok);
    assert_eq!(node.network_changes().await.expect("changes"), None);
    assert_eq!(sim.snapshot()["nodes"]["pve01"]["bridges"]["vmbr7"], 9000);
    // an address that is left out is not configured any more
    node.set_interface("vmbr7", "bridge", &[("mtu", "1500")]).await.expect("it is saved");
    let row = node.interface("vmbr7").await.expect("an answer").expect("a bridge");
    assert_eq!(row.get("method").map(String::as_str), Some("manual"), "{row:?}");
    // applying the networks of the cluster applies this too
    client.sdn().apply(None).await.expect("it is applied");
    assert_eq!(node.network_changes().await.expect("changes"), None);
    node.delete_interface("vmbr7").await.expect("it goes");
    let gone = node.delete_interface("vmbr7").await.expect_err("it is gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
    let upid = node.apply_network().await.expect("a task");
    client.tasks().wait(&upid, WAIT).await.expect("an end");
    assert_eq!(node.interfaces().await.expect("interfaces").len(), 2);
    sim.shutdown().await;
}

#[tokio::test]
async fn names_clocks_options_and_storages_are_set() {
    let sim = one().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let name = node();
    let node = client.node(&name);
    node.set_dns("example.com", &["10.0.0.1", "10.0.0.2"]).await.expect("it is set");
    let dns = node.dns().await.expect("names");
    assert_eq!(dns.get("dns2").map(String::as_str), Some("10.0.0.2"), "{dns:?}");
    let (text, digest) = node.hosts().await.expect("hosts");
    let more = format!("{text}10.0.0.9 other\n");
    node.set_hosts(&more, digest.as_deref()).await.expect("they are set");
    let stale = node.set_hosts(&text, digest.as_deref()).await.expect_err("another text");
    assert_eq!(stale.kind(), ErrorKind::Conflict, "{stale}");
    node.set_timezone("Europe/Berlin").await.expect("it is set");
    let wrong = node.set_timezone("Nowhere").await.expect_err("no zone");
    assert_eq!(wrong.kind(), ErrorKind::Invalid, "{wrong}");

    let options = [("mac_prefix", "BC:24:12"), ("migration", "type=insecure")];
    client.set_cluster_options(&options).await.expect("they are set");
    let set = client.cluster_options().await.expect("options");
    assert_eq!(set.get("mac_prefix").map(String::as_str), Some("BC:24:12"), "{set:?}");

    let storage = client.storage(&name);
    let keys = [("path", "/srv/images"), ("content", "iso,import")];
    storage.define("images", "dir", &keys).await.expect("it is defined");
    let again = storage.define("images", "dir", &keys).await.expect_err("it exists");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
    storage.redefine("images", &[("content", "iso")]).await.expect("it is changed");
    assert!(!storage.status("images").await.expect("a status").holds("import"));
    storage.undefine("images").await.expect("it goes");
    storage.status("images").await.expect_err("it is gone");

    let body = br#"{"data":[{"id":"backup-1","schedule":"daily","enabled":1}]}"#.to_vec();
    let answer = FaultAction::Answer { status: 200, body };
    sim.faults().add(Fault::new("GET", "/cluster/backup", answer));
    let jobs = client.backup_jobs().await.expect("jobs");
    assert_eq!(jobs.first().and_then(|job| job.get("id")?.as_str()), Some("backup-1"));
    sim.shutdown().await;
}
