//! Names of a firewall that are in use stay.

use std::collections::BTreeMap;

use proxmox_client::plan::firewall::{Named, Rule};
use proxmox_client::sim::{Fault, FaultAction, SimHandle};
use proxmox_client::{
    AclRow, Auth, Client, ClientConfig, ErrorKind, FirewallLevel, Method, Trust, VmId,
};

use super::firewall::{client, set};
use super::one;

/// A cluster with a machine, a container and a VNet, on which names of a firewall can be used.
async fn begun() -> (SimHandle, Client) {
    let sim = one().user("weak@pve", "a-password").start().await.expect("a simulator");
    let client = client(&sim);
    let made = client.qemu(&super::node()).create(super::vm(), &[("memory", "64")]).await;
    client.tasks().wait(&made.expect("a task"), super::WAIT).await.expect("an end");
    assert!(sim.add_container("pve01", 200, BTreeMap::new(), BTreeMap::new()));
    let write = async |path: &str, keys: &[(&str, &str)]| {
        client.call::<serde_json::Value>(Method::POST, path, keys).await.expect("it is saved");
    };
    write("/cluster/sdn/zones", &[("zone", "zone1"), ("type", "simple")]).await;
    write("/cluster/sdn/vnets", &[("vnet", "web"), ("zone", "zone1")]).await;
    client.sdn().apply(None).await.expect("it is applied");
    (sim, client)
}

fn guests() -> [FirewallLevel; 2] {
    let container = VmId::try_from(200).expect("a number");
    [
        FirewallLevel::Vm(super::node(), super::vm()),
        FirewallLevel::Container(super::node(), container),
    ]
}

#[tokio::test]
async fn what_rules_name_is_not_removed() {
    let (sim, client) = begun().await;
    let cluster = client.firewall(FirewallLevel::Cluster);
    cluster.ensure_group("web", None).await.expect("a group");
    cluster.ensure_alias("office", "10.0.0.0/8", None).await.expect("an alias");
    cluster.ensure_set("office", &set(&["10.1.0.0/16"])).await.expect("a set");
    let own = [Rule::new("in", "ACCEPT").with("proto", "tcp").with("dport", "443")];
    let group = client.firewall(FirewallLevel::Group("web".to_owned()));
    group.ensure_rules(&own).await.expect("rules");
    let [machine, container] = guests();
    let naming = [
        (FirewallLevel::Cluster, "in"),
        (FirewallLevel::Node(super::node()), "in"),
        (machine, "in"),
        (container, "in"),
        (FirewallLevel::Group("web".to_owned()), "in"),
        (FirewallLevel::Vnet("web".to_owned()), "forward"),
    ];
    for (level, kind) in naming {
        let firewall = client.firewall(level.clone());
        let from = |text: &str| Rule::new(kind, "ACCEPT").with("source", text);
        let rules = if level == FirewallLevel::Group("web".to_owned()) {
            vec![own[0].clone(), from("dc/office"), from("+dc/office")]
        } else {
            vec![Rule::new("group", "web"), from("dc/office"), from("+dc/office")]
        };
        firewall.ensure_rules(&rules).await.expect("rules");
        for (pos, removed) in [
            (1, cluster.ensure_no_alias("office").await),
            (2, cluster.ensure_no_set("office").await),
        ] {
            let told = removed.expect_err("it is named");
            assert_eq!((told.kind(), told.may_have_been_applied()), (ErrorKind::InUse, false));
            assert!(told.text().contains(&format!("rule {pos} of {level}")), "{told}");
        }
        if rules[0] != own[0] {
            let told = cluster.ensure_no_group("web").await.expect_err("it is named");
            assert_eq!(told.kind(), ErrorKind::InUse, "{told}");
            assert!(told.text().contains(&format!("rule 0 of {level}")), "{told}");
        }
        // what the group lets in is in force still
        assert!(!group.rules().await.expect("rules").rules.is_empty());
        let left = if rules[0] == own[0] { &own[..] } else { &[] };
        firewall.ensure_rules(left).await.expect("rules");
    }
    assert!(cluster.ensure_no_group("web").await.expect("it goes"));
    assert!(cluster.ensure_no_alias("office").await.expect("it goes"));
    assert!(cluster.ensure_no_set("office").await.expect("it goes"));
    sim.shutdown().await;
}

#[tokio::test]
async fn what_sets_name_is_not_removed() {
    let (sim, client) = begun().await;
    let cluster = client.firewall(FirewallLevel::Cluster);
    let [machine, container] = guests();
    cluster.ensure_alias("office", "10.0.0.0/8", None).await.expect("an alias");
    for level in [FirewallLevel::Cluster, machine.clone(), container] {
        let firewall = client.firewall(level.clone());
        firewall.ensure_set("all", &set(&["dc/office"])).await.expect("a set");
        let told = cluster.ensure_no_alias("office").await.expect_err("it is named");
        assert!(told.text().contains(&format!("set all of {level}")), "{told}");
        assert!(firewall.ensure_no_set("all").await.expect("it goes"));
    }
    assert!(cluster.ensure_no_alias("office").await.expect("it goes"));
    // of a machine's own only its own rules are read
    let firewall = client.firewall(machine);
    firewall.ensure_alias("home", "10.0.0.7", None).await.expect("an alias");
    let rule = Rule::new("in", "ACCEPT").with("source", "guest/home");
    firewall.ensure_rules(&[rule]).await.expect("a rule");
    let told = firewall.ensure_no_alias("home").await.expect_err("it is named");
    assert_eq!(told.kind(), ErrorKind::InUse, "{told}");
    firewall.ensure_rules(&[]).await.expect("none");
    assert!(firewall.ensure_no_alias("home").await.expect("it goes"));
    sim.shutdown().await;
}

#[tokio::test]
async fn what_a_moving_guest_names_is_not_removed() {
    let (sim, client) = begun().await;
    let cluster = client.firewall(FirewallLevel::Cluster);
    cluster.ensure_group("web", None).await.expect("a group");
    // As if it left its node before that was asked for a node that had been asked already.
    let moving = |kind: &str| {
        let body = br#"{"data":[]}"#.to_vec();
        let action = FaultAction::Answer { status: 200, body };
        Fault::new("GET", format!("/nodes/*/{kind}"), action)
    };
    for (level, kind) in guests().into_iter().zip(["qemu", "lxc"]) {
        let firewall = client.firewall(level.clone());
        firewall.ensure_rules(&[Rule::new("group", "web")]).await.expect("a rule");
        sim.faults().add(moving(kind).once());
        let told = cluster.ensure_no_group("web").await.expect_err("it is named");
        assert_eq!((told.kind(), told.may_have_been_applied()), (ErrorKind::InUse, false));
        assert!(told.text().contains(&format!("rule 0 of {level}")), "{told}");
        sim.faults().add(moving(kind));
        let told = cluster.named_by(Named::Group("web")).await.expect_err("it is not found");
        assert_eq!(told.kind(), ErrorKind::Conflict, "{told}");
        assert!(told.text().contains("no node lists the guests"), "{told}");
        sim.faults().clear();
        firewall.ensure_rules(&[]).await.expect("none");
    }
    assert!(cluster.ensure_no_group("web").await.expect("it goes"));
    sim.shutdown().await;
}

#[tokio::test]
async fn what_needs_no_rule_stays_while_its_firewall_is_on() {
    let (sim, client) = begun().await;
    let cluster = client.firewall(FirewallLevel::Cluster);
    let let_in = [Rule::new("in", "ACCEPT").with("proto", "tcp").with("dport", "8006")];
    cluster.ensure_rules(&let_in).await.expect("a rule");
    let nets = set(&["10.0.0.0/8"]);
    let [machine, container] = guests();
    for (level, names) in [
        (FirewallLevel::Cluster, &["management", "blacklist"][..]),
        (machine, &["ipfilter-net0"]),
        (container, &["ipfilter-net1"]),
    ] {
        let firewall = client.firewall(level.clone());
        firewall.set_options(&[("enable", "1")], &[]).await.expect("it is on");
        for name in names {
            firewall.ensure_set(name, &nets).await.expect("a set");
            let told = firewall.ensure_no_set(name).await.expect_err("it is in force");
            assert_eq!((told.kind(), told.may_have_been_applied()), (ErrorKind::InUse, false));
            assert!(told.text().contains(&format!("the firewall of {level}")), "{told}");
            assert_eq!(firewall.entries(name).await.expect("entries").len(), 1);
        }
        firewall.ensure_set("office", &nets).await.expect("a set");
        assert!(firewall.ensure_no_set("office").await.expect("it goes"));
    }
    cluster.ensure_alias("local_network", "10.0.0.0/8", None).await.expect("an alias");
    let told = cluster.ensure_no_alias("local_network").await.expect_err("it is in force");
    assert_eq!((told.kind(), told.may_have_been_applied()), (ErrorKind::InUse, false));
    for level in guests().into_iter().chain([FirewallLevel::Cluster]) {
        client.firewall(level).set_options(&[("enable", "0")], &[]).await.expect("it is off");
    }
    for name in ["management", "blacklist"] {
        assert!(cluster.ensure_no_set(name).await.expect("it goes"));
    }
    for (level, name) in guests().into_iter().zip(["ipfilter-net0", "ipfilter-net1"]) {
        assert!(client.firewall(level).ensure_no_set(name).await.expect("it goes"));
    }
    assert!(cluster.ensure_no_alias("local_network").await.expect("it goes"));
    sim.shutdown().await;
}

#[tokio::test]
async fn what_may_be_named_unseen_is_not_removed() {
    let (sim, client) = begun().await;
    let grant = async |path: &str, role: &str| {
        let grant = AclRow::new(path, "user", "weak@pve", role, true);
        client.access().grant(&grant, false).await.expect("a grant");
    };
    let privileges = ["Sys.Audit".to_owned(), "Sys.Modify".to_owned()].into();
    let id = "network".to_owned();
    let role = proxmox_client::plan::access::RoleState { id, privileges };
    client.access().ensure_role(&role).await.expect("a role");
    grant("/", "network").await;
    client.firewall(FirewallLevel::Cluster).ensure_group("web", None).await.expect("a group");
    let config = ClientConfig::new(sim.base_url(), Auth::password("weak@pve", "a-password"))
        .trust(Trust::Ca(sim.ca_pem().to_owned()));
    let weak = Client::new(&config).expect("a client");
    let weak = weak.firewall(FirewallLevel::Cluster);
    let told = weak.ensure_no_group("web").await.expect_err("machines are not seen");
    assert_eq!(told.kind(), ErrorKind::Forbidden, "{told}");
    assert!(told.text().contains("VM.Audit on /vms"), "{told}");
    grant("/vms", "PVEAuditor").await;
    grant("/sdn/zones", "PVEAuditor").await;
    // What is taken away on a path is in no list of what is held: that of "/" seems to come down.
    grant("/", "PVEAuditor").await;
    grant("/sdn", "NoAccess").await;
    let withheld = AclRow::new("/sdn/zones", "user", "weak@pve", "PVEAuditor", true);
    client.access().grant(&withheld, true).await.expect("it is taken back");
    let told = weak.ensure_no_group("web").await.expect_err("VNets are not seen");
    assert_eq!(told.kind(), ErrorKind::Forbidden, "{told}");
    assert!(told.text().contains("SDN.Audit on /sdn/zones"), "{told}");
    grant("/sdn/zones", "PVEAuditor").await;
    assert!(weak.ensure_no_group("web").await.expect("all are seen"));
    sim.shutdown().await;
}
