//! Whether etcd can decide: judged at every change, so that no moment without a quorum goes unseen.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::cluster::{Cluster, Member};
use super::net::NetInner;
use super::node::EtcdState;

/// A moment at which so many members of etcd were gone that it could not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumLoss {
    /// `cluster.id` of the configuration.
    pub cluster: String,
    /// When it was seen, in RFC 3339.
    pub at: String,
    /// Members that vote, by host name, each with whether it ran.
    pub voters: Vec<(String, bool)>,
}

/// What was seen of all clusters.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    seen: Mutex<BTreeMap<String, bool>>,
    losses: Mutex<Vec<QuorumLoss>>,
}

impl Judge {
    /// All moments so far.
    pub(crate) fn losses(&self) -> Vec<QuorumLoss> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at all clusters.
    pub(crate) fn look(&self, net: &NetInner) {
        // Held while looking, so that two changes at once are judged one after the other.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seats = |c: &Cluster| (c.id.clone(), c.cluster_id.clone(), c.members.clone());
        let clusters: Vec<_> = net.clusters.all().values().map(seats).collect();
        for (id, cluster, members) in clusters {
            let voters = voters(net, &id, &members);
            let alive = voters.iter().filter(|(_, up)| *up).count();
            let has = alive * 2 > voters.len();
            let had = seen.insert(id, has).unwrap_or(false);
            if had && !has && !voters.is_empty() {
                self.losses.lock().unwrap_or_else(PoisonError::into_inner).push(QuorumLoss {
                    cluster,
                    at: jiff::Timestamp::now().to_string(),
                    voters,
                });
            }
        }
    }
}

fn voters(net: &NetInner, cluster: &str, members: &[Member]) -> Vec<(String, bool)> {
    let nodes = net.all();
    let up = |member: &Member| {
        nodes.iter().filter(|node| node.uuid == member.uuid).any(|node| {
            let runs = {
                let machine = node.machine();
                machine.powered && machine.etcd == EtcdState::Running
            };
            let own = || {
                let data = node.content().etcd;
                data.is_some_and(|d| d.cluster == cluster && d.member == member.id)
            };
            runs && own()
        })
    };
    let voting = members.iter().filter(|m| !m.learner);
    voting.map(|m| (m.name.clone(), up(m))).collect()
}
