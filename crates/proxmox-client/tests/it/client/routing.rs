//! What filters routes, what the underlay is made of, and names for USB devices.

use proxmox_client::sim::{Dialect, SimBuilder, SimCluster};
use proxmox_client::{Client, ErrorKind, Method, NodeName, PrefixRule};
use serde_json::json;

use super::by_token;

fn two() -> SimBuilder {
    SimCluster::builder().nodes(["pve01", "pve02"])
}

#[tokio::test]
async fn prefix_lists_and_route_maps_are_saved_and_stay_while_they_are_named() {
    let sim = two().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let sdn = client.sdn();
    let rule = |text: &str| text.parse::<PrefixRule>().expect("a rule");
    let rules = [
        rule("action=permit,prefix=10.0.0.0/8,le=24,seq=5"),
        rule("action=deny,prefix=::/0,seq=10"),
    ];
    sdn.create_prefix_list("ours", &rules, &[]).await.expect("a list");
    let again = sdn.create_prefix_list("ours", &[], &[]).await.expect_err("it exists");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
    let reserved = sdn.create_prefix_list("only_default", &[], &[]).await.expect_err("reserved");
    assert_eq!(reserved.kind(), ErrorKind::Invalid, "{reserved}");
    let list = sdn.prefix_list("ours").await.expect("an answer").expect("a list");
    assert_eq!(list.entries, rules);
    sdn.set_prefix_list("ours", &rules[..1], &[]).await.expect("it is set");
    assert_eq!(sdn.prefix_lists().await.expect("lists")[0].entries, rules[..1]);
    assert_eq!(sdn.prefix_list("theirs").await.expect("an answer"), None);

    let filter = [
        ("match", "key=ip-address-prefix-list,value=ours"),
        ("match", "key=tag,value=7"),
        ("set", "key=metric,value=100"),
        ("exit-action", "key=continue,value=20"),
    ];
    sdn.create_route_map_entry("in", 10, true, &filter).await.expect("an entry");
    let entry = sdn.route_map_entry("in", 10).await.expect("an answer").expect("an entry");
    assert_eq!((entry.matches.len(), entry.set.len()), (2, 1), "{entry:?}");
    assert_eq!(sdn.route_map_entry("in", 20).await.expect("an answer"), None);
    let used = sdn.delete_prefix_list("ours", &[]).await.expect_err("it is used");
    assert!(used.text().contains("still referenced by route map entry in #10"), "{used}");
    let change = [("action", "deny"), ("delete", "match"), ("delete", "exit-action")];
    sdn.set_route_map_entry("in", 10, &change).await.expect("it is set");
    let rows = sdn.route_map_entries().await.expect("entries");
    assert_eq!((rows[0].action.as_deref(), rows[0].matches.len()), (Some("deny"), 0));
    sdn.apply(None).await.expect("it is applied");
    sdn.delete_prefix_list("ours", &[]).await.expect("it goes");
    let path = "/cluster/sdn/lock";
    let left = client.call::<String>(Method::POST, path, &[]).await.expect_err("changes wait");
    assert!(left.text().contains("pending"), "{left}");
    assert_eq!(sim.snapshot()["sdn"]["running"]["prefix-lists"]["ours"]["id"], json!("ours"));
    sdn.delete_route_map_entry("in", 10, &[]).await.expect("it goes");
    sdn.apply(None).await.expect("it is applied");
    let state = sim.snapshot();
    assert_eq!(state["sdn"]["running"]["prefix-lists"], json!({}));
    assert_eq!(state["sdn"]["running"]["route-maps"], json!({}));
    sim.shutdown().await;

    let old = two().dialect(Dialect::V9_1).start().await.expect("a simulator");
    let client = Client::new(&by_token(&old)).expect("a client");
    let error = client.sdn().prefix_lists().await.expect_err("9.1 has none");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.text().contains("9.2"), "{error}");
    old.shutdown().await;
}

#[tokio::test]
async fn nodes_see_one_another_in_a_fabric_that_stays_while_it_carries_something() {
    let sim = two().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let sdn = client.sdn();
    let names: [NodeName; 2] = ["pve01", "pve02"].map(|name| name.parse().expect("a name"));
    sdn.create_fabric("under", "ospf", &[("ip_prefix", "10.9.0.0/24"), ("area", "0")])
        .await
        .expect("a fabric");
    for (number, name) in names.iter().enumerate() {
        let ip = format!("10.9.0.{}", number + 1);
        let keys = [("ip", ip.as_str()), ("interfaces", "name=eth1")];
        sdn.add_fabric_node("under", name, "ospf", &keys).await.expect("a node");
    }
    assert!(sdn.fabric_neighbors(&names[0], "under").await.expect("rows").is_empty());
    sdn.apply(None).await.expect("it is applied");
    let interfaces = sdn.fabric_interfaces(&names[0], "under").await.expect("rows");
    assert_eq!(interfaces[0].name, "eth1");
    let neighbors = sdn.fabric_neighbors(&names[0], "under").await.expect("rows");
    assert_eq!(neighbors.len(), 1);
    assert_eq!(neighbors[0].neighbor, "10.9.0.2");
    let routes = sdn.fabric_routes(&names[1], "under").await.expect("rows");
    assert_eq!(
        (routes[0].route.as_str(), routes[0].via.as_slice()),
        ("10.9.0.1/32", &["10.9.0.1".to_owned()][..])
    );
    assert!(sim.set_node_online("pve02", false));
    assert!(sdn.fabric_neighbors(&names[0], "under").await.expect("rows").is_empty());
    assert!(sim.set_node_online("pve02", true));

    let zone = [("zone", "vx"), ("type", "vxlan"), ("fabric", "under")];
    let path = "/cluster/sdn/zones";
    client.call::<serde_json::Value>(Method::POST, path, &zone).await.expect("a zone");
    let used = sdn.delete_fabric("under").await.expect_err("it is used");
    assert!(used.text().contains("still used in the VXLAN zone \"vx\""), "{used}");
    client
        .call::<serde_json::Value>(Method::DELETE, "/cluster/sdn/zones/vx", &[])
        .await
        .expect("it goes");
    sdn.delete_fabric("under").await.expect("it goes");
    sim.shutdown().await;
}

#[tokio::test]
async fn usb_devices_have_names() {
    let sim = two().start().await.expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let mappings = client.usb_mappings();
    let device = "node=pve01,id=1a86:55d4";
    mappings.create("zigbee", &[device], Some("a stick")).await.expect("a name");
    let again = mappings.create("zigbee", &[device], None).await.expect_err("it exists");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");
    let wrong = mappings.create("other", &["node=pve01,id=x"], None).await.expect_err("no id");
    assert_eq!(wrong.kind(), ErrorKind::Invalid, "{wrong}");
    let node: NodeName = "pve02".parse().expect("a name");
    let checks = &mappings.list(Some(&node)).await.expect("names")[0].checks;
    assert_eq!(checks[0].severity.as_deref(), Some("warning"), "{checks:?}");
    let both = [device, "node=pve02,id=1a86:55d4,path=1-2.3"];
    mappings.set("zigbee", &both).await.expect("it is set");
    let found = mappings.get("zigbee").await.expect("an answer").expect("a name");
    assert_eq!((found.id.as_str(), found.map.len()), ("zigbee", 2));
    assert_eq!(mappings.list(Some(&node)).await.expect("names")[0].checks, []);
    assert!(client.pci_mappings().list(None).await.expect("names").is_empty());
    mappings.delete("zigbee").await.expect("it goes");
    assert!(mappings.get("zigbee").await.expect("an answer").is_none());
    sim.shutdown().await;
}
