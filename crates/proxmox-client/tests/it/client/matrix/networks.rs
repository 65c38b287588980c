//! Networks.

use std::time::Duration;

use proxmox_client::Client;
use proxmox_client::ensure::SdnOptions;
use proxmox_client::plan::sdn::{Object, SdnChange, SdnObserved, SdnPlan, diff};
use proxmox_client::sim::{Dialect, SimHandle};

use super::{all_faults, back, tried};
use crate::client::networks::networks;

pub(crate) async fn carried_out(client: &Client, plan: &SdnPlan, name: &str) {
    let nodes = client.vms().nodes().await;
    let nodes = nodes.unwrap_or_else(|_| vec!["pve01".parse().expect("a name")]);
    tried(name, |attempt| {
        // Of a second try the caller knows that the first one was its own.
        let options = SdnOptions {
            nodes: nodes.clone(),
            take_over_lock: attempt > 0,
            settle: Duration::from_secs(5),
        };
        async move { client.sdn().carry_out(plan, &options).await }
    })
    .await;
}

pub(crate) async fn observed(client: &Client, name: &str) -> SdnObserved {
    tried(name, |_| async { client.sdn().observe().await }).await
}

async fn life_of_networks(sim: SimHandle, client: Client, name: String) {
    let settled = async |bridges: &[&str]| {
        // a node that was down puts into effect what was applied when it is back
        let state = back(&sim, &name).await;
        for node in ["pve01", "pve02"] {
            let there = state["nodes"][node]["vnets"].as_object().cloned().unwrap_or_default();
            let there: Vec<&String> = there.keys().collect();
            assert_eq!(there, bridges, "{name}: {node}");
        }
        assert_eq!(state["sdn"]["saved"], state["sdn"]["running"], "{name}: not applied");
        assert!(state["sdn"]["lock"].is_null(), "{name}: {:?}", state["sdn"]["lock"]);
    };
    for mtu in ["1450", "1400"] {
        let wanted: Vec<Object> = networks(mtu);
        let plan = diff(&wanted, &observed(&client, &name).await, |_| true, false);
        carried_out(&client, &plan, &name).await;
        settled(&["vnet101"]).await;
        let left = diff(&wanted, &observed(&client, &name).await, |_| true, false);
        assert!(left.is_empty(), "{name}: {left:?}");
    }
    let there = observed(&client, &name).await;
    let mut changes: Vec<SdnChange> =
        there.objects.iter().map(|object| SdnChange::Delete { object: object.clone() }).collect();
    changes.reverse();
    carried_out(&client, &SdnPlan { changes, ..SdnPlan::default() }, &name).await;
    settled(&[]).await;
    assert!(observed(&client, &name).await.objects.is_empty(), "{name}");
    sim.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_are_made_changed_and_removed_whatever_goes_wrong() {
    all_faults(Dialect::V9_2, 400, life_of_networks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_without_a_lock_end_as_they_should_too() {
    all_faults(Dialect::V8_4, 400, life_of_networks).await;
}
