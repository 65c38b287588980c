//! What etcd has on each control plane.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::api::Service;
use crate::client::Client;
use crate::error::ErrorKind;
use crate::health::Target;
use crate::plan::{EtcdData, RestoreNode};

/// Between two looks.
const POLL: Duration = Duration::from_secs(1);

/// What etcd has on each control plane of a cluster. One without a leader is stalled, and one that waits has
/// nothing, only if that is seen in every look for all of `patience`: after a power cut nodes come back
/// one by one, and etcd of each looks like that for a while. A single answer of one that follows a leader makes it
/// one that works; a node that cannot be asked for `patience` stays unknown.
pub async fn observe(targets: &[Target], patience: Duration) -> Vec<RestoreNode> {
    let nodes = targets.iter().filter(|target| target.control_plane);
    let looks = nodes.map(|target| async move {
        RestoreNode::new(&target.name, data(&target.client, patience).await)
    });
    join_all(looks).await
}

async fn data(client: &Client, patience: Duration) -> EtcdData {
    let begin = Instant::now();
    let mut judge = Judge::new(patience);
    loop {
        let now = look(client).await;
        if let Some(known) = judge.take(begin.elapsed(), now) {
            return known;
        }
        sleep(POLL.min(patience / 10)).await;
    }
}

/// Makes one judgement of many looks.
struct Judge {
    patience: Duration,
    /// What was seen in the last looks, and since when in all of them.
    run: Option<(EtcdData, Duration)>,
}

impl Judge {
    fn new(patience: Duration) -> Self {
        Self { patience, run: None }
    }

    /// Takes what a look at this time found. Gives the judgement, once there is one.
    fn take(&mut self, at: Duration, seen: EtcdData) -> Option<EtcdData> {
        let since = match self.run {
            Some((before, since)) if before == seen => since,
            _ => at,
        };
        self.run = Some((seen, since));
        let is_over = match seen {
            EtcdData::Works => true,
            EtcdData::Stalled | EtcdData::None => at.saturating_sub(since) >= self.patience,
            EtcdData::Unknown => at >= self.patience,
        };
        // What never stays the same is not known.
        let is_late = at >= self.patience * 4;
        is_over.then_some(seen).or(is_late.then_some(EtcdData::Unknown))
    }
}

async fn look(client: &Client) -> EtcdData {
    let Ok(services) = client.services().await else { return EtcdData::Unknown };
    let Some(etcd) = services.iter().find(|service| service.id == "etcd") else {
        // It boots: what is on its disk shows later.
        return EtcdData::Unknown;
    };
    match by_state(etcd) {
        Some(known) => known,
        None => member(client, etcd).await,
    }
}

/// What the state of the service tells; none if it runs, and has to be asked itself.
fn by_state(etcd: &Service) -> Option<EtcdData> {
    Some(match etcd.state.as_str() {
        "Running" => return None,
        "Preparing" => EtcdData::None,
        "Failed" | "Finished" => EtcdData::Stalled,
        // It ends again and again.
        "Waiting" if etcd.reason().contains("going to restart") => EtcdData::Stalled,
        _ => EtcdData::Unknown,
    })
}

/// A member that runs tells by itself whether it follows a leader. One that tells nothing while its node
/// answers, and calls it unhealthy, hangs; any other failure is one of asking.
async fn member(client: &Client, etcd: &Service) -> EtcdData {
    match client.etcd_status().await {
        Ok(status) if status.leader != 0 => EtcdData::Works,
        Ok(_) => EtcdData::Stalled,
        Err(error) if error.kind() == ErrorKind::Timeout && etcd.healthy == Some(false) => {
            EtcdData::Stalled
        }
        Err(_) => EtcdData::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ServiceEvent;

    /// The judgement of looks, one a second, with a patience of ten.
    fn judged(looks: &[(EtcdData, usize)]) -> Option<EtcdData> {
        let mut judge = Judge::new(Duration::from_secs(10));
        let all = looks.iter().flat_map(|(seen, times)| std::iter::repeat_n(*seen, *times));
        (0..).map(Duration::from_secs).zip(all).find_map(|(at, seen)| judge.take(at, seen))
    }

    #[test]
    fn the_state_of_the_service_tells_what_its_node_has() {
        let told = |state: &str, message: &str| {
            let mut etcd = Service { state: state.into(), ..Service::default() };
            let event = ServiceEvent { message: message.into(), ..ServiceEvent::default() };
            etcd.events.push(event);
            by_state(&etcd)
        };
        assert_eq!(told("Preparing", "Running pre state"), Some(EtcdData::None));
        assert_eq!(told("Running", "Health check failed"), None, "it is asked");
        assert_eq!(told("Failed", "failed to run"), Some(EtcdData::Stalled));
        let again = "Error running Containerd(etcd), going to restart until it succeeds: exit 1";
        assert_eq!(told("Waiting", again), Some(EtcdData::Stalled));
        let boots = "Waiting for volumes /var/lib, ETCD to be mounted, etcd spec";
        assert_eq!(told("Waiting", boots), Some(EtcdData::Unknown), "it boots");
    }

    #[test]
    fn after_a_power_cut_etcd_is_no_stalled_one() {
        use EtcdData::{None as Empty, Stalled, Unknown, Works};

        assert_eq!(judged(&[(Stalled, 10)]), None);
        assert_eq!(judged(&[(Stalled, 11)]), Some(Stalled));
        // Down, then up without a leader, then with one.
        assert_eq!(judged(&[(Unknown, 9), (Stalled, 9), (Works, 1)]), Some(Works));
        // Looked for on its disk, before it starts.
        assert_eq!(judged(&[(Empty, 3), (Stalled, 8), (Works, 1)]), Some(Works));
        // What comes and goes is not unbroken, and has an end.
        assert_eq!(
            judged(&[(Stalled, 6), (Unknown, 1), (Stalled, 6), (Unknown, 1)]),
            Some(Unknown)
        );
        assert_eq!(judged(&[(Unknown, 9), (Empty, 11)]), Some(Empty));
        let swings = [(Empty, 5), (Stalled, 5)].repeat(5);
        assert_eq!(judged(&swings), Some(Unknown));
    }
}
