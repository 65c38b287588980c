//! etcd clusters: members, leader, and what Kubernetes keeps in them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::disk::Shelf;

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Id.
    pub(crate) id: u64,
    /// Host name.
    pub(crate) name: String,
    /// Address of its peers' URL.
    pub(crate) address: String,
    /// Whether it does not vote yet.
    pub(crate) learner: bool,
    /// The machine.
    pub(crate) uuid: String,
}

/// One etcd cluster.
#[expect(
    clippy::struct_field_names,
    reason = "the configuration names it `cluster.id`, beside etcd's own id"
)]
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// Its own id, made by Bootstrap.
    pub(crate) id: String,
    /// `cluster.id` of the configuration.
    pub(crate) cluster_id: String,
    /// Name of the cluster.
    pub(crate) name: String,
    /// Certificate of etcd's authority.
    pub(crate) ca: String,
    /// Members.
    pub(crate) members: Vec<Member>,
    /// How many members joined after the first one.
    #[serde(default)]
    pub(crate) joined: u64,
    /// Who leads.
    pub(crate) leader: u64,
    /// Revision of the last change.
    pub(crate) revision: u64,
    /// How many elections there were.
    pub(crate) term: u64,
    /// Objects of Kubernetes by path.
    pub(crate) objects: BTreeMap<String, Value>,
    /// How much longer its snapshots are than what Kubernetes keeps.
    #[serde(default)]
    pub(crate) filler: u64,
    /// The minor version that it goes back to; empty while it does not.
    #[serde(default)]
    pub(crate) downgrade: String,
    /// Alarms that are on: the member and the name of the alarm.
    #[serde(default)]
    pub(crate) alarms: Vec<(u64, String)>,
    /// Whether a test said that a CNI is there.
    pub(crate) cni_declared: bool,
}

impl Cluster {
    /// A member by its id.
    pub(crate) fn member(&self, id: u64) -> Option<&Member> {
        self.members.iter().find(|m| m.id == id)
    }

    /// Make a voting member lead when the leader is gone.
    pub(crate) fn elect(&mut self, prefer: impl Fn(&Member) -> bool) {
        if self.member(self.leader).is_some_and(&prefer) {
            return;
        }
        if let Some(next) = self.members.iter().find(|m| !m.learner && prefer(m)) {
            self.leader = next.id;
            self.term += 1;
        }
    }
}

/// All clusters of a fabric.
#[derive(Debug)]
pub(crate) struct Clusters {
    shelf: Shelf,
    all: Mutex<BTreeMap<String, Cluster>>,
}

impl Clusters {
    /// Those of earlier runs.
    pub(crate) fn open(dir: Option<&Path>) -> std::io::Result<Self> {
        let shelf = Shelf::new(dir, "cluster")?;
        let all = shelf.load::<Cluster>()?.into_iter().map(|c| (c.id.clone(), c)).collect();
        Ok(Self { shelf, all: Mutex::new(all) })
    }

    /// All of them.
    pub(crate) fn all(&self) -> MutexGuard<'_, BTreeMap<String, Cluster>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Look at one.
    pub(crate) fn read<T>(&self, id: &str, look: impl FnOnce(&Cluster) -> T) -> Option<T> {
        self.all().get(id).map(look)
    }

    /// A copy of one, with all objects in it.
    pub(crate) fn get(&self, id: &str) -> Option<Cluster> {
        self.all().get(id).cloned()
    }

    /// Add one.
    pub(crate) fn add(&self, cluster: Cluster) {
        self.save(&cluster);
        self.all().insert(cluster.id.clone(), cluster);
    }

    /// Change one, and write it when the change says so.
    pub(crate) fn change<T>(&self, id: &str, edit: impl FnOnce(&mut Cluster) -> T) -> Option<T> {
        let mut all = self.all();
        let cluster = all.get_mut(id)?;
        let out = edit(cluster);
        cluster.revision += 1;
        self.save(cluster);
        Some(out)
    }

    fn save(&self, cluster: &Cluster) {
        if let Err(error) = self.shelf.save(&cluster.id, cluster) {
            tracing::error!(%error, cluster = cluster.id, "write cluster state");
        }
    }
}
