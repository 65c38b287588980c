//! The firewall of all levels.

use std::collections::BTreeMap;
use std::time::Duration;

use proxmox_client::plan::firewall::{Entry, Rule};
use proxmox_client::sim::{Dialect, SimHandle};
use proxmox_client::{Client, FirewallLevel, Method, NodeName};
use serde_json::{Value, json};

use super::super::{by_token, vm};
use super::{LOST, all_faults, all_faults_after, all_faults_but, tried};

fn accept(port: &str) -> Rule {
    Rule::new("in", "ACCEPT").with("proto", "tcp").with("dport", port)
}

fn set(nets: &[&str]) -> BTreeMap<String, Entry> {
    nets.iter().map(|net| ((*net).to_owned(), Entry::default())).collect()
}

/// Ports of the rules as the server keeps them, in their order; only rules in force.
fn ports(rules: &Value) -> Vec<&str> {
    let rules = rules.as_array().map(Vec::as_slice).unwrap_or_default();
    let on = rules.iter().filter(|rule| rule["enable"] == "1");
    on.map(|rule| rule["dport"].as_str().unwrap_or("all")).collect()
}

async fn life_of_rules(sim: SimHandle, client: Client, name: String) {
    let node: NodeName = LOST.parse().expect("a name");
    let levels = [
        (FirewallLevel::Cluster, "/firewall/cluster/rules"),
        (FirewallLevel::Node(node.clone()), "/firewall/nodes/pve02/rules"),
        (FirewallLevel::Vm(node, vm()), "/firewall/vms/101011/rules"),
    ];
    let first = [accept("22"), accept("8006"), Rule::new("in", "DROP")];
    let second = [
        accept("8006"),
        accept("22").with("source", "10.0.0.0/8"),
        accept("443"),
        first[2].clone(),
    ];
    for (level, place) in levels {
        let firewall = client.firewall(level);
        let courses: [(&[Rule], &[&str]); 3] = [
            (&first, &["22", "8006", "all"]),
            (&second, &["8006", "22", "443", "all"]),
            (&[], &[]),
        ];
        for (rules, expected) in courses {
            tried(&name, |_| firewall.ensure_rules(rules)).await;
            let state = sim.snapshot();
            let there = state.pointer(place).cloned().unwrap_or_default();
            assert_eq!(ports(&there), expected, "{name}: {place}");
            assert_eq!(there.as_array().map_or(0, Vec::len), expected.len(), "{name}: {there}");
        }
    }
    sim.shutdown().await;
}

async fn life_of_sets_and_options(sim: SimHandle, client: Client, name: String) {
    let firewall = client.firewall(FirewallLevel::Cluster);
    let before = set(&["10.1.0.0/16", "10.2.0.0/16", "fd00::1"]);
    let after = set(&["10.2.0.0/16", "10.3.0.0/16", "fd00::1"]);
    for nets in [&before, &after] {
        tried(&name, |_| firewall.ensure_set("office", nets)).await;
        let state = sim.snapshot();
        let there = state["firewall"]["cluster"]["ipsets"]["office"]["entries"].clone();
        let there: Vec<String> =
            there.as_object().map(|rows| rows.keys().cloned().collect()).unwrap_or_default();
        assert_eq!(there, nets.keys().cloned().collect::<Vec<_>>(), "{name}");
    }
    let options = |policy: &str| BTreeMap::from([("policy_in".to_owned(), policy.to_owned())]);
    for policy in ["DROP", "ACCEPT"] {
        tried(&name, |_| async { firewall.ensure_options(&options(policy)).await }).await;
        let state = sim.snapshot();
        assert_eq!(state["firewall"]["cluster"]["options"]["policy_in"], policy, "{name}");
    }
    let config = by_token(&sim);
    let wait = Some(Duration::from_millis(20));
    tried(&name, |_| firewall.enable_cluster(&config, wait)).await;
    // what was not confirmed would be off by then
    sim.advance(Duration::from_secs(62));
    let now = tried(&name, |_| firewall.options()).await;
    assert_eq!(now.get("enable").map(String::as_str), Some("1"), "{name}");
    assert_eq!(sim.snapshot()["firewall"]["cluster"]["options"]["enable"], json!("1"), "{name}");
    sim.shutdown().await;
}

async fn life_of_names(sim: SimHandle, client: Client, name: String) {
    let firewall = client.firewall(FirewallLevel::Cluster);
    for cidr in ["10.0.0.5/24", "10.0.0.6/24"] {
        tried(&name, |_| firewall.ensure_alias("Office", cidr, Some("of a test"))).await;
        let state = sim.snapshot();
        let there = &state["firewall"]["cluster"]["aliases"];
        assert_eq!(there.as_object().map(serde_json::Map::len), Some(1), "{name}");
        let told = (&there["office"]["cidr"], &there["office"]["comment"]);
        assert_eq!(told, (&json!(cidr), &json!("of a test")), "{name}");
    }
    tried(&name, |_| firewall.ensure_group("web", None)).await;
    let rules = client.firewall(FirewallLevel::Group("web".to_owned()));
    let (inside, nets) = ([accept("443")], set(&["10.1.0.0/16"]));
    tried(&name, |_| rules.ensure_rules(&inside)).await;
    tried(&name, |_| firewall.ensure_set("office", &nets)).await;
    tried(&name, |_| firewall.ensure_no_alias("office")).await;
    tried(&name, |_| firewall.ensure_no_group("web")).await;
    tried(&name, |_| firewall.ensure_no_set("office")).await;
    let left = sim.snapshot()["firewall"]["cluster"].clone();
    let told = (&left["aliases"], &left["groups"], &left["ipsets"]);
    assert_eq!(told, (&json!({}), &json!({}), &json!({})), "{name}");
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_a_firewall_end_as_they_should_whatever_goes_wrong() {
    // Before each of three removals all levels are read on which something can be named.
    let levels = ["/access/permissions", "/cluster/resources", "/cluster/sdn/vnets", "/nodes"];
    let again = |path: &str| {
        path == "/cluster/firewall/rules" || levels.iter().any(|level| path.starts_with(level))
    };
    all_faults_but(Dialect::V9_2, 700, again, life_of_names).await;
}

async fn a_vnet(client: &Client) {
    let write = async |path: &str, keys: &[(&str, &str)]| {
        client.call::<Value>(Method::POST, path, keys).await.expect("it is saved");
    };
    write("/cluster/sdn/zones", &[("zone", "zone1"), ("type", "simple")]).await;
    write("/cluster/sdn/vnets", &[("vnet", "web"), ("zone", "zone1")]).await;
    client.sdn().apply(None).await.expect("it is applied");
}

async fn life_of_a_vnets_firewall(sim: SimHandle, client: Client, name: String) {
    let firewall = client.firewall(FirewallLevel::Vnet("web".to_owned()));
    let forward = |port: &str| {
        Rule::new("forward", "ACCEPT")
            .with("source", "+sdn/web-all")
            .with("proto", "tcp")
            .with("dport", port)
    };
    let drop = Rule::new("forward", "DROP").with("log", "info");
    let first = [forward("443"), drop.clone()];
    let second = [forward("22"), forward("443"), drop];
    let courses: [(&[Rule], &[&str]); 3] =
        [(&first, &["443", "all"]), (&second, &["22", "443", "all"]), (&[], &[])];
    for (rules, expected) in courses {
        tried(&name, |_| firewall.ensure_rules(rules)).await;
        let there = sim.snapshot()["firewall"]["vnets"]["web"]["rules"].clone();
        assert_eq!(ports(&there), expected, "{name}");
        assert_eq!(there.as_array().map_or(0, Vec::len), expected.len(), "{name}: {there}");
    }
    let options = |policy: &str| {
        let on = if policy.is_empty() { "0" } else { "1" };
        let keys = [("enable", on), ("policy_forward", policy)];
        keys.map(|(key, text)| (key.to_owned(), text.to_owned())).into()
    };
    for policy in ["DROP", ""] {
        let wanted: BTreeMap<String, String> = options(policy);
        tried(&name, |_| async { firewall.ensure_options(&wanted).await }).await;
        let there = sim.snapshot()["firewall"]["vnets"]["web"]["options"].clone();
        let told = there.get("policy_forward").and_then(Value::as_str).unwrap_or_default();
        assert_eq!((told, &there["enable"]), (policy, &json!(wanted["enable"])), "{name}");
    }
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_a_vnet_ends_as_it_should_whatever_goes_wrong() {
    all_faults_after(Dialect::V9_2, 200, a_vnet, life_of_a_vnets_firewall).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_end_in_their_order_whatever_goes_wrong() {
    all_faults(Dialect::V9_2, 500, life_of_rules).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_and_options_end_as_they_should_whatever_goes_wrong() {
    all_faults(Dialect::V9_2, 200, life_of_sets_and_options).await;
}
