//! What etcd has on each control plane.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::api::{EtcdPhase, Service};
use crate::client::Client;
use crate::error::ErrorKind;
use crate::health::Target;
use crate::plan::{EtcdData, RestoreNode};
use crate::wait::POLL;

/// What etcd has on each control plane of a cluster. One without a leader is stalled, and one that waits has
/// nothing, only if that is seen in every look for all of `patience`: after a power cut nodes come back
/// one by one, and etcd of each looks like that for a while. A single answer of one that follows a leader makes it
/// one that works. A node that cannot be asked for `patience` stays unknown; one that answers, and whose etcd has
/// not come to any of this after four times as long, is unsettled.
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

/// What one look sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It follows a leader.
    Works,
    /// It has none, or has ended.
    Stalled,
    /// It waits for its bootstrap.
    Empty,
    /// Its node answers, but it does not: it is on its way up or down.
    Moving,
    /// Its node does not answer, or does not say.
    Silent,
}

/// Makes one judgement of many looks.
struct Judge {
    patience: Duration,
    /// What was seen in the last looks, and since when in all of them.
    run: Option<(Seen, Duration)>,
}

impl Judge {
    fn new(patience: Duration) -> Self {
        Self { patience, run: None }
    }

    /// Takes what a look at this time found. Gives the judgement, once there is one.
    fn take(&mut self, at: Duration, seen: Seen) -> Option<EtcdData> {
        let since = match self.run {
            Some((before, since)) if before == seen => since,
            _ => at,
        };
        self.run = Some((seen, since));
        let is_steady = at.saturating_sub(since) >= self.patience;
        let is_late = at >= self.patience * 4;
        match seen {
            Seen::Works => Some(EtcdData::Works),
            Seen::Stalled if is_steady => Some(EtcdData::Stalled),
            Seen::Empty if is_steady => Some(EtcdData::None),
            Seen::Silent => is_steady.then_some(EtcdData::Unknown),
            // One that crashes again and again is never the same for long, and neither is one that comes back
            // slowly: which of them it is cannot be told from here.
            _ => is_late.then_some(EtcdData::Unsettled),
        }
    }
}

async fn look(client: &Client) -> Seen {
    match client.etcd_phase().await {
        Err(_) => Seen::Silent,
        Ok(EtcdPhase::Empty) => Seen::Empty,
        Ok(EtcdPhase::Ended { .. }) => Seen::Stalled,
        Ok(EtcdPhase::Started(etcd)) if etcd.state == "Running" => member(client, &etcd).await,
        Ok(EtcdPhase::Started(etcd)) if etcd.restarts() => Seen::Stalled,
        Ok(_) => Seen::Moving,
    }
}

/// A member that runs tells by itself whether it follows a leader. One that tells nothing while its node
/// answers, and calls it unhealthy, hangs.
async fn member(client: &Client, etcd: &Service) -> Seen {
    match client.etcd_status().await {
        Ok(status) if status.leader != 0 => Seen::Works,
        Ok(_) => Seen::Stalled,
        Err(error) => match error.kind() {
            ErrorKind::Timeout if etcd.healthy == Some(false) => Seen::Stalled,
            // That says something of who asks, and nothing of etcd.
            ErrorKind::PermissionDenied
            | ErrorKind::Unauthenticated
            | ErrorKind::Unimplemented
            | ErrorKind::Protocol
            | ErrorKind::Unreachable
            | ErrorKind::Tls => Seen::Silent,
            _ => Seen::Moving,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The judgement of looks, one a second, with a patience of ten.
    fn judged(looks: &[(Seen, usize)]) -> Option<EtcdData> {
        let mut judge = Judge::new(Duration::from_secs(10));
        let all = looks.iter().flat_map(|(seen, times)| std::iter::repeat_n(*seen, *times));
        (0..).map(Duration::from_secs).zip(all).find_map(|(at, seen)| judge.take(at, seen))
    }

    #[test]
    fn after_a_power_cut_etcd_is_no_stalled_one() {
        use Seen::{Empty, Moving, Silent, Stalled, Works};

        assert_eq!(judged(&[(Stalled, 10)]), None);
        assert_eq!(judged(&[(Stalled, 11)]), Some(EtcdData::Stalled));
        // Down, then up without a leader, then with one.
        assert_eq!(
            judged(&[(Silent, 9), (Moving, 9), (Stalled, 9), (Works, 1)]),
            Some(EtcdData::Works)
        );
        // Looked for on its disk, before it starts.
        assert_eq!(judged(&[(Empty, 3), (Stalled, 8), (Works, 1)]), Some(EtcdData::Works));
        assert_eq!(judged(&[(Silent, 9), (Empty, 11)]), Some(EtcdData::None));
        assert_eq!(judged(&[(Moving, 40), (Works, 1)]), Some(EtcdData::Works));
    }

    #[test]
    fn an_etcd_that_crashes_again_and_again_is_neither_stalled_nor_unknown() {
        use Seen::{Empty, Moving, Silent, Stalled};

        let crashes = [(Stalled, 5), (Moving, 2)].repeat(6);
        assert_eq!(judged(&crashes), Some(EtcdData::Unsettled));
        assert_eq!(judged(&[(Moving, 40)]), None);
        assert_eq!(judged(&[(Moving, 41)]), Some(EtcdData::Unsettled));
        // A look that is lost does not make it one that cannot be asked.
        let lost = [(Stalled, 5), (Silent, 1), (Moving, 1)].repeat(6);
        assert_eq!(judged(&lost), Some(EtcdData::Unsettled));
        let swings = [(Empty, 5), (Stalled, 5)].repeat(5);
        assert_eq!(judged(&swings), Some(EtcdData::Unsettled));
    }

    #[test]
    fn a_node_that_does_not_answer_is_unknown() {
        use Seen::{Silent, Stalled};

        assert_eq!(judged(&[(Silent, 11)]), Some(EtcdData::Unknown));
        assert_eq!(judged(&[(Stalled, 9), (Silent, 11)]), Some(EtcdData::Unknown));
        // Gone when it counts.
        let ends =
            [(Stalled, 8), (Silent, 8), (Stalled, 8), (Silent, 8), (Stalled, 8), (Silent, 11)];
        assert_eq!(judged(&ends), Some(EtcdData::Unknown));
    }
}
