//! Names for devices, pools, high availability.

use std::collections::BTreeMap;

use proxmox_client::plan::ha::HaState;
use proxmox_client::plan::mapping::MappingState;
use proxmox_client::plan::pool::PoolState;
use proxmox_client::sim::{Dialect, SimHandle};
use proxmox_client::{Client, HaKind, NodeName, VmId};
use serde_json::{Value, json};

use super::super::WAIT;
use super::{LOST, all_faults, all_faults_after, tried};

fn names(rows: &Value) -> Vec<&String> {
    rows.as_object().map(|rows| rows.keys().collect()).unwrap_or_default()
}

fn mapping(entries: &[&str], description: &str) -> MappingState {
    let map = entries.iter().map(|entry| (*entry).to_owned()).collect();
    let description = description.into();
    MappingState { id: "gpu".into(), map, description, ..MappingState::default() }
}

async fn life_of_mappings(sim: SimHandle, client: Client, name: String) {
    let pci =
        ["node=pve01,path=0000:00:02.1,id=8086:4680", "node=pve02,path=0000:00:02.1,id=8086:4680"];
    let usb = ["node=pve01,id=8087:0aaa", "node=pve02,id=8087:0aaa"];
    let classes =
        [(client.pci_mappings(), "mappings", pci), (client.usb_mappings(), "usb_mappings", usb)];
    for (mappings, place, entries) in classes {
        for (entries, description) in [(&entries[..1], "of a test"), (&entries[..], "")] {
            let wanted = mapping(entries, description);
            tried(&name, |_| async { mappings.ensure(&wanted).await }).await;
            let state = sim.snapshot();
            assert_eq!(names(&state[place]), ["gpu"], "{name}");
            let there = &state[place]["gpu"];
            assert_eq!(there["map"], json!(entries), "{name}");
            let told = there["fields"].get("description").and_then(Value::as_str);
            assert_eq!(told.unwrap_or_default(), description, "{name}");
        }
        tried(&name, |_| mappings.ensure_absent("gpu")).await;
        assert_eq!(sim.snapshot()[place], json!({}), "{name}");
    }
    sim.shutdown().await;
}

fn ids() -> [VmId; 2] {
    [100, 101].map(|id: u32| VmId::try_from(id).expect("a number"))
}

async fn two_machines(client: &Client) {
    let node: NodeName = LOST.parse().expect("a name");
    for id in ids() {
        let upid = client.qemu(&node).create(id, &[("memory", "64")]).await.expect("a task");
        client.tasks().wait(&upid, WAIT).await.expect("an end");
    }
}

async fn life_of_a_pool(sim: SimHandle, client: Client, name: String) {
    let pools = client.pools();
    let [first, second] = ids();
    for (comment, machines) in [("of a test", vec![first]), ("", vec![first, second])] {
        let machines = machines.into_iter().collect();
        let wanted = PoolState { id: "sol".into(), comment: comment.into(), machines };
        tried(&name, |_| async { pools.ensure(&wanted).await }).await;
        let state = sim.snapshot();
        assert_eq!(names(&state["pools"]), ["sol"], "{name}");
        let there = &state["pools"]["sol"];
        assert_eq!((&there["comment"], &there["vms"]), (&json!(comment), &json!(wanted.machines)));
    }
    let gone = tried(&name, |_| async {
        let left = pools.get("sol").await?.map_or(0, |pool| pool.members.len());
        if left > 0 {
            pools.remove("sol", &ids()).await?;
        }
        pools.ensure_absent("sol").await
    });
    gone.await;
    assert_eq!(sim.snapshot()["pools"], json!({}), "{name}");
    sim.shutdown().await;
}

fn entry(kind: HaKind, name: &str, keys: &[(&str, &str)]) -> HaState {
    let keys: BTreeMap<String, String> =
        keys.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    HaState { kind, name: name.into(), keys }
}

async fn life_of_availability(sim: SimHandle, client: Client, name: String, place: HaKind) {
    let ha = client.ha();
    let (sid, group) = ("vm:100", [("group", "near")]);
    let near: [&[(&str, &str)]; 2] = match place {
        HaKind::Rule => [
            &[
                ("type", "node-affinity"),
                ("resources", sid),
                ("nodes", "pve02:1"),
                ("disable", "1"),
            ],
            &[("nodes", "pve02:2,pve01"), ("strict", "1"), ("disable", "0")],
        ],
        _ => [&[("nodes", "pve02:1")], &[("nodes", "pve02:2,pve01"), ("restricted", "1")]],
    };
    let resource = [
        vec![("state", "stopped"), ("comment", "of a test")],
        vec![("max_restart", "3"), ("comment", "")],
    ];
    for (index, (near, mut resource)) in near.into_iter().zip(resource).enumerate() {
        if place == HaKind::Group {
            resource.extend(group);
        }
        let mut wanted = vec![entry(place, "near", near), entry(HaKind::Resource, sid, &resource)];
        if place == HaKind::Rule {
            // A rule is about resources that are there.
            wanted.reverse();
        }
        for wanted in &wanted {
            tried(&name, |_| async { ha.ensure(wanted).await }).await;
        }
        let state = sim.snapshot();
        let ha = &state["ha"];
        let kind = if place == HaKind::Rule { "rules" } else { "groups" };
        assert_eq!((names(&ha["resources"]).len(), names(&ha[kind]).len()), (1, 1), "{name}");
        let keys = &ha["resources"][sid]["keys"];
        let told = (keys.get("state"), keys.get("comment"), keys.get("max_restart"));
        let (text, stopped) = (json!("of a test"), json!("stopped"));
        let three = json!("3");
        let expected = match index {
            0 => (Some(&stopped), Some(&text), None),
            _ => (Some(&stopped), None, Some(&three)),
        };
        assert_eq!(told, expected, "{name}");
        let near =
            if place == HaKind::Rule { &ha[kind]["near"]["keys"] } else { &ha[kind]["near"] };
        let flag = if place == HaKind::Rule { "strict" } else { "restricted" };
        let told = (near.get("nodes"), near.get(flag), near.get("disable"));
        let (nodes, one) = ([json!("pve02:1"), json!("pve02:2,pve01")], json!("1"));
        let disabled = (place == HaKind::Rule && index == 0).then_some(&one);
        assert_eq!(told, (nodes.get(index), (index == 1).then_some(&one), disabled), "{name}");
    }
    tried(&name, |_| ha.ensure_absent(HaKind::Resource, sid)).await;
    tried(&name, |_| ha.ensure_absent(place, "near")).await;
    let ha = sim.snapshot()["ha"].clone();
    assert_eq!(
        (&ha["resources"], &ha["rules"], &ha["groups"]),
        (&json!({}), &json!({}), &json!({}))
    );
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_for_devices_end_as_they_should_whatever_goes_wrong() {
    all_faults(Dialect::V9_2, 150, life_of_mappings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_ends_as_it_should_whatever_goes_wrong() {
    all_faults_after(Dialect::V9_2, 100, two_machines, life_of_a_pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn availability_ends_as_it_should_whatever_goes_wrong() {
    let course = |sim, client, name| life_of_availability(sim, client, name, HaKind::Rule);
    all_faults_after(Dialect::V9_2, 150, two_machines, course).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn availability_with_groups_ends_as_it_should_whatever_goes_wrong() {
    let course = |sim, client, name| life_of_availability(sim, client, name, HaKind::Group);
    all_faults_after(Dialect::V8_4, 150, two_machines, course).await;
}
