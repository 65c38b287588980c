//! The firewall through the client.

use std::collections::BTreeMap;
use std::time::Duration;

use proxmox_client::plan::firewall::{Entry, Rule};
use proxmox_client::sim::{Fault, FaultAction, SimHandle};
use proxmox_client::{Client, ErrorKind, FirewallLevel, Method};

use super::{by_token, one};

pub(super) fn client(sim: &SimHandle) -> Client {
    Client::new(&by_token(sim)).expect("a client")
}

pub(super) fn set(nets: &[&str]) -> BTreeMap<String, Entry> {
    nets.iter().map(|net| ((*net).to_owned(), Entry::default())).collect()
}

#[tokio::test]
async fn rules_end_in_their_order_at_every_level() {
    let sim = one().start().await.expect("a simulator");
    let client = client(&sim);
    let cluster = client.firewall(FirewallLevel::Cluster);
    cluster.create_group("web", Some("what is served")).await.expect("a group");
    assert_eq!(cluster.groups().await.expect("groups")[0].name, "web");
    let rule = |port: &str| Rule::new("in", "ACCEPT").with("proto", "tcp").with("dport", port);
    let levels = [
        FirewallLevel::Cluster,
        FirewallLevel::Node(super::node()),
        FirewallLevel::Vm(super::node(), super::vm()),
        FirewallLevel::Group("web".to_owned()),
    ];
    for level in levels {
        let firewall = client.firewall(level.clone());
        let first = [rule("22"), rule("80"), rule("443")];
        assert_eq!(firewall.ensure_rules(&first).await.expect("rules").len(), 3);
        assert_eq!(firewall.rules().await.expect("rules").rules, first);
        let drop = Rule::new("in", "DROP").with("comment", "the rest");
        let second = [rule("443"), rule("22").with("source", "10.0.0.0/8"), drop];
        firewall.ensure_rules(&second).await.expect("rules");
        assert_eq!(firewall.rules().await.expect("rules").rules, second, "{level:?}");
        assert_eq!(firewall.ensure_rules(&second).await.expect("rules"), []);
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn each_change_of_rules_is_one_call() {
    let sim = one().start().await.expect("a simulator");
    let client = client(&sim);
    let firewall = client.firewall(FirewallLevel::Cluster);
    let rule = |port: &str| Rule::new("in", "ACCEPT").with("proto", "tcp").with("dport", port);
    let calls = async |desired: &[Rule]| {
        sim.faults().reset_counters();
        let done = firewall.ensure_rules(desired).await.expect("rules");
        let total = usize::try_from(sim.faults().total().count).expect("a number");
        assert_eq!(firewall.rules().await.expect("rules").rules, desired);
        (done.len(), total)
    };
    let ports: Vec<Rule> = (1..=20_u16).map(|port| rule(&port.to_string())).collect();
    assert_eq!(calls(&ports).await, (20, 22));
    assert_eq!(calls(&ports).await, (0, 1));
    // moved, changed, new in the middle with addresses of both families, and gone
    let mut after: Vec<Rule> = ports.clone();
    after.rotate_left(3);
    after[5] = after[5].clone().with("source", "10.0.0.0/8").with("comment", "größer");
    after[9] = rule("443").with("source", "fd00::/16");
    after[12] = Rule::new("out", "DROP").with("proto", "icmpv6").with("dest", "fd00::1");
    after.truncate(14);
    let (changes, calls) = calls(&after).await;
    assert_eq!(calls, changes + 2);
    sim.shutdown().await;
}

#[tokio::test]
async fn rules_that_the_server_spells_in_its_own_way_stay() {
    let sim = one().start().await.expect("a simulator");
    let client = client(&sim);
    let firewall = client.firewall(FirewallLevel::Cluster);
    firewall.create_group("web", None).await.expect("a group");
    firewall.create_alias("Office", "10.0.0.0/8", None).await.expect("an alias");
    let rule = || Rule::new("in", "ACCEPT");
    let desired = [
        rule().with("macro", "ssh").with("comment", "  two\nlines"),
        rule().with("source", "10.0.0.1 - 10.0.0.9").with("log", "nolog"),
        Rule::new("group", "web").with("source", "10.0.0.1"),
        rule().with("source", "dc/Office").with("enable", "7"),
        rule().with("macro", "Https").with("dest", "fd00:0::1/128, fd00::2"),
        rule().with("proto", "tcp").with("dport", "80, 443"),
    ];
    assert_eq!(firewall.ensure_rules(&desired).await.expect("rules").len(), desired.len());
    assert_eq!(firewall.ensure_rules(&desired).await.expect("rules"), []);
    // what is to be computed of a rule that the server spells anew is read instead
    let mut other = desired.to_vec();
    other.reverse();
    other.insert(2, rule().with("macro", "dns"));
    other.insert(4, Rule::new("out", "DROP").with("macro", "ntp"));
    firewall.ensure_rules(&other).await.expect("rules");
    assert_eq!(firewall.ensure_rules(&other).await.expect("rules"), []);
    sim.shutdown().await;
}

#[tokio::test]
async fn rules_that_let_the_caller_in_come_before_the_switch() {
    let caller = "192.0.2.7".parse().expect("an address");
    let sim = one().callers_from(caller).firewall_lag(Duration::from_millis(100)).start().await;
    let sim = sim.expect("a simulator");
    let client = client(&sim);
    let firewall = client.firewall(FirewallLevel::Cluster);
    let wait = Some(Duration::from_millis(300));
    // It answers at first: nodes have not put it into force yet.
    let told = firewall.enable_cluster(&by_token(&sim), wait).await.expect_err("locked out");
    assert_eq!((told.kind(), told.may_have_been_applied()), (ErrorKind::Unreachable, true));
    let locked_out = Client::new(&by_token(&sim)).expect("a client").version().await;
    assert_eq!(locked_out.expect_err("locked out").kind(), ErrorKind::Unreachable);
    sim.advance(Duration::from_secs(62));
    Client::new(&by_token(&sim)).expect("a client").version().await.expect("it is off again");
    let now = firewall.options().await.expect("options");
    assert_eq!(now.get("enable").map(String::as_str), Some("0"));

    firewall.ensure_set("office", &set(&["192.0.2.0/24"])).await.expect("a set");
    let rule = Rule::new("in", "ACCEPT").with("source", "+dc/office").with("proto", "tcp");
    firewall.ensure_rules(&[rule.with("dport", "8006")]).await.expect("a rule");
    assert!(firewall.enable_cluster(&by_token(&sim), wait).await.expect("it lets us in"));
    sim.advance(Duration::from_secs(62));
    Client::new(&by_token(&sim)).expect("a client").version().await.expect("it lets us in");
    sim.shutdown().await;
}

#[tokio::test]
async fn what_passes_a_vnet_is_ruled_once_it_is_applied() {
    let sim = one().start().await.expect("a simulator");
    let client = client(&sim);
    let firewall = client.firewall(FirewallLevel::Vnet("web".to_owned()));
    let write = async |path: &str, keys: &[(&str, &str)]| {
        client.call::<serde_json::Value>(Method::POST, path, keys).await.expect("it is saved");
    };
    write("/cluster/sdn/zones", &[("zone", "zone1"), ("type", "simple")]).await;
    write("/cluster/sdn/vnets", &[("vnet", "web"), ("zone", "zone1")]).await;
    firewall.rules().await.expect_err("it is not applied");
    client.sdn().apply(None).await.expect("it is applied");
    let forward = |action: &str| Rule::new("forward", action);
    let inside = forward("ACCEPT").with("source", "+sdn/web-all").with("dest", "+sdn/web-all");
    let first = [inside.clone(), forward("DROP")];
    firewall.ensure_rules(&first).await.expect("rules");
    let dns = forward("ACCEPT").with("proto", "udp").with("dport", "53");
    let second = [inside, dns, forward("DROP").with("log", "info")];
    assert_eq!(firewall.ensure_rules(&second).await.expect("rules").len(), 4);
    assert_eq!(firewall.rules().await.expect("rules").rules, second);
    let error = firewall.ensure_rules(&[Rule::new("in", "DROP")]).await.expect_err("no such type");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    firewall.ensure_rules(&second).await.expect("nothing was lost on the way");

    let options = BTreeMap::from([
        ("enable".to_owned(), "1".to_owned()),
        ("policy_forward".to_owned(), "DROP".to_owned()),
    ]);
    assert!(firewall.ensure_options(&options).await.expect("options"));
    assert!(!firewall.ensure_options(&options).await.expect("options"));
    let gone = BTreeMap::from([("policy_forward".to_owned(), String::new())]);
    assert!(firewall.ensure_options(&gone).await.expect("options"));
    assert_eq!(firewall.options().await.expect("options").get("policy_forward"), None);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_lost_answer_does_not_double_a_rule_or_an_entry() {
    let sim = one().start().await.expect("a simulator");
    let client = client(&sim);
    let firewall = client.firewall(FirewallLevel::Cluster);
    let rules: Vec<Rule> = ["22", "80", "443"]
        .map(|port| Rule::new("in", "ACCEPT").with("proto", "tcp").with("dport", port))
        .into();
    let cut = |method: &str, path: &str| {
        sim.faults().add(Fault::new(method, path, FaultAction::CutBeforeReply).after(1).once());
    };
    cut("POST", "/cluster/firewall/rules");
    firewall.ensure_rules(&rules).await.expect("rules");
    assert_eq!(firewall.rules().await.expect("rules").rules, rules);
    cut("POST", "/cluster/firewall/ipset/*");
    firewall.ensure_set("office", &set(&["10.0.0.0/8", "fd00::/16"])).await.expect("a set");
    assert_eq!(firewall.entries("office").await.expect("entries").len(), 2);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_set_changes_in_place() {
    let sim = one().start().await.expect("a simulator");
    let client = client(&sim);
    let firewall = client.firewall(FirewallLevel::Cluster);
    let before = set(&["10.1.0.0/16", "10.2.0.0/16", "192.0.2.7/32", "fd00::1"]);
    assert_eq!(firewall.ensure_set("office", &before).await.expect("a set").len(), 4);
    let refs = firewall.refs().await.expect("refs");
    assert!(refs.iter().any(|one| one.kind == "ipset" && one.name == "office"), "{refs:?}");
    sim.faults().reset_counters();
    let mut after = set(&["10.1.0.9/16", "192.0.2.7", "10.3.0.0/16", "fd00::1"]);
    let noted = Entry { nomatch: true, comment: Some("not this".to_owned()) };
    after.insert("fd00::1".to_owned(), noted.clone());
    let done = firewall.ensure_set("office", &after).await.expect("a set");
    let texts: Vec<String> = done.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert_eq!(texts.last().map(String::as_str), Some("remove 10.2.0.0/16"));
    let entries = firewall.entries("office").await.expect("entries");
    assert_eq!(entries.get("fd00::1"), Some(&noted));
    assert_eq!(entries.len(), 4);
    // never without the set: no call on the set itself
    let on_set = |call: &str| call.ends_with("/cluster/firewall/ipset/{name}");
    let counters = sim.faults().counters();
    assert!(!counters.keys().any(|call| call.starts_with("DELETE") && on_set(call)));
    firewall.delete_set("office", false).await.expect_err("it is not empty");
    firewall.delete_set("office", true).await.expect("it goes");
    firewall.create_alias("Site", "10.0.0.0/8", Some("all")).await.expect("an alias");
    firewall.set_alias("site", "10.0.0.0/9", None).await.expect("an alias");
    assert_eq!(firewall.aliases().await.expect("aliases")[0].cidr, "10.0.0.0/9");
    firewall.delete_alias("site").await.expect("it goes");
    sim.shutdown().await;
}

#[tokio::test]
async fn the_cluster_is_only_enabled_for_good_when_it_still_answers() {
    let sim = one().start().await.expect("a simulator");
    let client = client(&sim);
    let firewall = client.firewall(FirewallLevel::Cluster);
    let options = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let policy = options(&[("policy_in", "DROP"), ("log_ratelimit", "enable=1,burst=9")]);
    assert!(firewall.ensure_options(&policy).await.expect("options"));
    assert!(!firewall.ensure_options(&policy).await.expect("options"));
    let error = firewall.ensure_options(&options(&[("enable", "1")])).await.expect_err("unsafe");
    assert_eq!(error.kind(), ErrorKind::Invalid);

    // What the server writes in another way is told, not set for ever.
    let other = options(&[("nf_conntrack_max", "0032768")]);
    let node = FirewallLevel::Node("pve01".parse().expect("a name"));
    let error = client.firewall(node).ensure_options(&other).await.expect_err("it is reprinted");
    assert_eq!((error.kind(), error.may_have_been_applied()), (ErrorKind::Conflict, true));

    let wait = Some(Duration::from_millis(50));
    sim.faults().add(Fault::new("GET", "/version", FaultAction::CutBeforeReply));
    let error = firewall.enable_cluster(&by_token(&sim), wait).await.expect_err("no answer");
    assert_eq!((error.kind(), error.may_have_been_applied()), (ErrorKind::Unreachable, true));
    sim.faults().clear();
    sim.advance(Duration::from_secs(62));
    let now = firewall.options().await.expect("options");
    assert_eq!(now.get("enable").map(String::as_str), Some("0"));

    // What went off before it was confirmed is not switched on unseen.
    let (config, late) = (by_token(&sim), Some(Duration::from_secs(1)));
    let (outcome, ()) = tokio::join!(firewall.enable_cluster(&config, late), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        sim.advance(Duration::from_secs(62));
    });
    assert_eq!(outcome.expect_err("it went off").kind(), ErrorKind::Conflict);
    let now = firewall.options().await.expect("options");
    assert_eq!(now.get("enable").map(String::as_str), Some("0"));

    assert!(firewall.enable_cluster(&by_token(&sim), wait).await.expect("it answers"));
    sim.advance(Duration::from_secs(62));
    assert!(!firewall.enable_cluster(&by_token(&sim), wait).await.expect("it is on"));
    let raw: serde_json::Value =
        client.call(Method::GET, "/cluster/firewall/options", &[]).await.expect("options");
    assert_eq!(raw["enable"], 1);
    sim.shutdown().await;
}

#[tokio::test]
async fn comments_that_are_given_are_written() {
    let sim = one().start().await.expect("a simulator");
    let client = client(&sim);
    let cluster = client.firewall(FirewallLevel::Cluster);
    for (comment, changes, kept) in [
        (Some("of a test"), 1, "of a test"),
        (None, 0, "of a test"),
        (Some("another"), 1, "another"),
        (Some("another"), 0, "another"),
        // the server keeps one line without blanks around it
        (Some("another\n"), 0, "another"),
        (Some(" a third \n"), 1, "a third"),
    ] {
        let done = cluster.ensure_alias("office", "10.0.0.0/8", comment).await.expect("an alias");
        assert_eq!(done.len(), changes, "{done:?}");
        let done = cluster.ensure_group("web", comment).await.expect("a group");
        assert_eq!(done.len(), changes, "{done:?}");
        let (aliases, groups) = tokio::join!(cluster.aliases(), cluster.groups());
        assert_eq!(aliases.expect("aliases")[0].comment.as_deref(), Some(kept));
        assert_eq!(groups.expect("groups")[0].comment.as_deref(), Some(kept));
    }
    sim.shutdown().await;
}
