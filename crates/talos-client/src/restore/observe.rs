//! What etcd has on each control plane.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::health::Target;
use crate::plan::{EtcdData, RestoreNode};

/// Between two looks.
const POLL: Duration = Duration::from_secs(1);

/// What etcd has on each control plane of a cluster. One that gives no answer for all of `patience` while its node
/// does is stalled; a single answer makes it one that works.
pub async fn observe(targets: &[Target], patience: Duration) -> Vec<RestoreNode> {
    let nodes = targets.iter().filter(|target| target.control_plane);
    let looks = nodes.map(|target| async move {
        RestoreNode::new(&target.name, data(&target.client, patience).await)
    });
    join_all(looks).await
}

async fn data(client: &Client, patience: Duration) -> EtcdData {
    let end = Instant::now() + patience;
    loop {
        let now = look(client).await;
        // What cannot be asked may answer later, and what is stalled may be an election.
        let is_open = matches!(now, EtcdData::Unknown | EtcdData::Stalled);
        if !is_open || Instant::now() >= end {
            return now;
        }
        sleep(POLL.min(patience / 10)).await;
    }
}

async fn look(client: &Client) -> EtcdData {
    let Ok(services) = client.services().await else { return EtcdData::Unknown };
    let Some(etcd) = services.iter().find(|service| service.id == "etcd") else {
        // It boots: what is on its disk shows later.
        return EtcdData::Unknown;
    };
    match etcd.state.as_str() {
        "Preparing" => EtcdData::None,
        "Running" => match client.etcd_status().await {
            Ok(status) if status.leader != 0 => EtcdData::Works,
            _ => EtcdData::Stalled,
        },
        "Failed" | "Finished" => EtcdData::Stalled,
        _ => EtcdData::Unknown,
    }
}
