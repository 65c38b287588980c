//! The transaction of the networks: what stops it, and what it leaves behind.

use std::collections::BTreeMap;
use std::time::Duration;

use proxmox_client::ensure::SdnOptions;
use proxmox_client::plan::sdn::{Kind, Object, SdnChange, SdnObserved, SdnPlan, diff};
use proxmox_client::sim::{Dialect, Fault, FaultAction, SimCluster, SimHandle};
use proxmox_client::{Client, ErrorKind, Method};

use super::by_token;

fn object(kind: Kind, id: &str, vnet: Option<&str>, fields: &[(&str, &str)]) -> Object {
    let fields: BTreeMap<String, String> =
        fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Object { kind, id: id.into(), vnet: vnet.map(str::to_owned), fields }
}

/// A controller, a zone, a VNet and a subnet.
pub(super) fn networks(mtu: &str) -> Vec<Object> {
    let controller = [("type", "evpn"), ("asn", "65000"), ("peers", "10.0.0.1,10.0.0.2")];
    let zone = [
        ("type", "evpn"),
        ("controller", "evpnc1"),
        ("vrf-vxlan", "4096"),
        ("mtu", mtu),
        ("nodes", "pve01,pve02"),
    ];
    let vnet = [("zone", "evpnz1"), ("tag", "10101"), ("alias", "sol (clusterctl)")];
    vec![
        object(Kind::Controller, "evpnc1", None, &controller),
        object(Kind::Zone, "evpnz1", None, &zone),
        object(Kind::Vnet, "vnet101", None, &vnet),
        object(
            Kind::Subnet,
            "evpnz1-fd00:101::-64",
            Some("vnet101"),
            &[("gateway", "fd00:101::fffe")],
        ),
    ]
}

async fn start(dialect: Dialect) -> (SimHandle, Client, SdnOptions) {
    let sim = SimCluster::builder()
        .nodes(["pve01", "pve02"])
        .task_time(Duration::from_millis(1))
        .dialect(dialect)
        .start()
        .await
        .expect("a simulator");
    let client = Client::new(&by_token(&sim)).expect("a client");
    let nodes = client.vms().nodes().await.expect("nodes");
    let settle = Duration::from_millis(300);
    (sim, client, SdnOptions { nodes, settle, ..SdnOptions::default() })
}

fn plan(observed: &SdnObserved) -> SdnPlan {
    diff(&networks("1450"), observed, |_| false, false)
}

#[tokio::test]
async fn a_plan_is_carried_out_once_in_both_dialects() {
    for dialect in [Dialect::V8_4, Dialect::V9_1, Dialect::V9_2] {
        let (sim, client, options) = start(dialect).await;
        let plan = plan(&SdnObserved::default());
        let done = client.sdn().carry_out(&plan, &options).await.expect("networks");
        assert_eq!((done.saved.len(), done.applied), (4, true));
        let again = client.sdn().carry_out(&plan, &options).await.expect("networks");
        assert_eq!((again.saved.len(), again.applied), (0, false));
        let state = sim.snapshot();
        assert_eq!(state["sdn"]["saved"], state["sdn"]["running"]);
        assert!(state["sdn"]["lock"].is_null());
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn a_number_goes_from_one_network_to_another() {
    for (dialect, kind) in
        [(Dialect::V8_4, "vlan"), (Dialect::V9_2, "vxlan"), (Dialect::V9_2, "qinq")]
    {
        let (sim, client, options) = start(dialect).await;
        let mut zone = vec![("type", kind)];
        match kind {
            "vxlan" => zone.push(("peers", "10.0.0.1,10.0.0.2")),
            "vlan" => zone.push(("bridge", "vmbr0")),
            _ => zone.extend([("bridge", "vmbr0"), ("tag", "7")]),
        }
        let networks = |tags: [&str; 3]| {
            let vnet = |(id, tag)| object(Kind::Vnet, id, None, &[("zone", "z1"), ("tag", tag)]);
            let vnets = ["net1", "net2", "net3"].into_iter().zip(tags).map(vnet);
            vnets.chain([object(Kind::Zone, "z1", None, &zone)]).collect::<Vec<_>>()
        };
        let planned = async |tags| {
            let observed = client.sdn().observe().await.expect("networks");
            diff(&networks(tags), &observed, |_| true, false)
        };
        for tags in [["1", "2", "3"], ["2", "3", "4"]] {
            let plan = planned(tags).await;
            let done = client.sdn().carry_out(&plan, &options).await.expect("networks");
            assert!(done.applied && planned(tags).await.is_empty(), "{kind}: {tags:?}");
        }
        // An exchange would be refused half done: nothing of it is sent.
        let plan = planned(["3", "2", "4"]).await;
        let error = client.sdn().carry_out(&plan, &options).await.expect_err("an exchange");
        assert_eq!((error.kind(), error.may_have_been_applied()), (ErrorKind::Conflict, false));
        assert!(error.text().contains("give one of them a free number"), "{error}");
        let fields = vec![("tag".to_owned(), Some("2".to_owned()), Some("3".to_owned()))];
        let object = networks(["3", "2", "4"]).remove(0);
        let change = SdnChange::Update { object, fields };
        let error = client.sdn().save(&change, None).await.expect_err("two have one number");
        assert!(error.to_string().contains("already exist"), "{error}");
        for tags in [["9", "2", "4"], ["9", "3", "4"], ["2", "3", "4"]] {
            let plan = planned(tags).await;
            client.sdn().carry_out(&plan, &options).await.expect("networks");
        }
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn what_an_apply_would_change_is_shown() {
    let (sim, client, options) = start(Dialect::V9_2).await;
    let node = options.nodes.first().expect("a node");
    client.sdn().preview(node).await.expect("a preview");
    let (old, client_of_old, _) = start(Dialect::V8_4).await;
    let error = client_of_old.sdn().preview(node).await.expect_err("8.4 cannot");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.text().contains("9.1 and later"), "{error}");
    sim.shutdown().await;
    old.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_saved_leaves_nothing_behind() {
    for dialect in [Dialect::V8_4, Dialect::V9_2] {
        let (sim, client, options) = start(dialect).await;
        let message = "create sdn subnet object failed: it is Tuesday".to_owned();
        let refused = FaultAction::Refuse { status: 500, message };
        sim.faults().add(Fault::new("POST", "/cluster/sdn/vnets/*/subnets", refused));
        let plan = plan(&SdnObserved::default());
        let error = client.sdn().carry_out(&plan, &options).await.expect_err("refused");
        assert!(error.text().contains("it is Tuesday"), "{error}");
        let state = sim.snapshot()["sdn"].clone();
        let left: Vec<_> = ["controllers", "zones", "vnets", "subnets"]
            .into_iter()
            .filter(|kind| state["saved"][*kind].as_object().is_some_and(|map| !map.is_empty()))
            .collect();
        assert!(left.is_empty() && state["lock"].is_null(), "{dialect:?}: {state}");
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn what_may_not_be_applied_leaves_nothing_behind() {
    for dialect in [Dialect::V8_4, Dialect::V9_2] {
        let (sim, client, options) = start(dialect).await;
        let message = "Permission check failed (/sdn, SDN.Allocate)".to_owned();
        let refused = FaultAction::Refuse { status: 403, message };
        sim.faults().add(Fault::new("PUT", "/cluster/sdn", refused));
        let plan = plan(&SdnObserved::default());
        let error = client.sdn().carry_out(&plan, &options).await.expect_err("refused");
        assert!(error.kind() == ErrorKind::Forbidden && !error.may_have_been_applied(), "{error}");
        let left = client.sdn().observe().await.expect("networks");
        assert_eq!(left, SdnObserved::default(), "{dialect:?}");
        assert!(sim.snapshot()["sdn"]["lock"].is_null(), "{dialect:?}");
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn what_is_applied_is_told_as_such_whatever_fails_after_it() {
    let (sim, client, options) = start(Dialect::V9_2).await;
    let refused = FaultAction::Refuse { status: 500, message: "it is Tuesday".to_owned() };
    sim.faults().add(Fault::new("GET", "/nodes/*/sdn/zones", refused));
    let plan = plan(&SdnObserved::default());
    let error = client.sdn().carry_out(&plan, &options).await.expect_err("nobody knows");
    assert!(error.text().contains("it is Tuesday") && error.may_have_been_applied(), "{error}");
    let state = sim.snapshot();
    assert_eq!(state["sdn"]["saved"], state["sdn"]["running"]);
    assert!(!client.sdn().observe().await.expect("networks").objects.is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn what_somebody_else_has_waiting_stops_it() {
    let (sim, client, options) = start(Dialect::V9_2).await;
    let plan = plan(&SdnObserved::default());
    let keys = [("zone", "other"), ("type", "simple")];
    client.call::<Option<String>>(Method::POST, "/cluster/sdn/zones", &keys).await.expect("a zone");
    let before = sim.snapshot()["sdn"].clone();
    let error = client.sdn().carry_out(&plan, &options).await.expect_err("theirs");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.text().contains("zone other is new"), "{error}");
    assert_eq!(sim.snapshot()["sdn"], before);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_lock_of_somebody_else_is_respected_until_told_otherwise() {
    let (sim, client, mut options) = start(Dialect::V9_2).await;
    let plan = plan(&SdnObserved::default());
    client.sdn().lock().await.expect("a lock");
    let error = client.sdn().carry_out(&plan, &options).await.expect_err("locked");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(client.sdn().observe().await.expect("networks").objects.is_empty());
    options.take_over_lock = true;
    client.sdn().carry_out(&plan, &options).await.expect("networks");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_zone_that_does_not_work_on_a_node_is_told() {
    let (sim, client, options) = start(Dialect::V9_2).await;
    assert!(sim.set_network_reload("pve02", false));
    let plan = plan(&SdnObserved::default());
    let error = client.sdn().carry_out(&plan, &options).await.expect_err("a broken node");
    assert_eq!(error.kind(), ErrorKind::TaskFailed);
    assert!(error.text().contains("on pve02"), "{error}");
    assert!(error.may_have_been_applied());
    sim.shutdown().await;
}

#[tokio::test]
async fn an_object_that_appeared_since_the_plan_is_not_overwritten() {
    let (sim, client, options) = start(Dialect::V9_2).await;
    let planned = plan(&SdnObserved::default());
    let mut theirs = networks("9000");
    theirs.truncate(2);
    let other = diff(&theirs, &SdnObserved::default(), |_| false, false);
    client.sdn().carry_out(&other, &options).await.expect("networks");
    let error = client.sdn().carry_out(&planned, &options).await.expect_err("a stale plan");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.text().contains("zone evpnz1 appeared"), "{error}");
    assert!(sim.snapshot()["sdn"]["lock"].is_null());
    let there = client.sdn().observe().await.expect("networks");
    assert_eq!((there.objects.len(), there.pending.len()), (2, 0), "{there:?}");
    // A plan that removes what is gone already has nothing to do.
    let gone = networks("1").pop().expect("a subnet");
    let plan = SdnPlan { changes: vec![SdnChange::Delete { object: gone }], ..SdnPlan::default() };
    let done = client.sdn().carry_out(&plan, &options).await.expect("nothing to do");
    assert_eq!((done.saved.len(), done.applied), (0, false));
    sim.shutdown().await;
}
