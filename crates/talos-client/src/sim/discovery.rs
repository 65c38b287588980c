//! What discovery tells the nodes of a cluster of one another: worked out once for all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::fact::Fact;

/// What a node publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// `cluster.id` of its configuration; empty for one that keeps to itself.
    pub(crate) cluster: String,
    /// Host name.
    pub(crate) name: String,
    /// Identity, which it has once it keeps a configuration.
    pub(crate) id: String,
    /// Type of the machine.
    pub(crate) kind: String,
    /// Addresses.
    pub(crate) addresses: Vec<String>,
    /// Talos that runs.
    pub(crate) version: String,
}

impl Peer {
    fn is_control_plane(&self) -> bool {
        self.kind != "worker"
    }

    fn facts(&self) -> Vec<Arc<Fact>> {
        let mut spec = json!({
            "addresses": self.addresses, "hostname": self.name, "machineType": self.kind, "nodeId": self.id,
            "operatingSystem": format!("Talos ({})", self.version),
        });
        if let (Some(map), true) = (spec.as_object_mut(), self.is_control_plane()) {
            map.insert("controlPlane".into(), json!({"port": 6443}));
            map.sort_keys();
        }
        let kind = "Members.cluster.talos.dev";
        let member = Fact {
            owner: "cluster.MemberController",
            ..Fact::plain("cluster", kind, self.name.as_str(), spec.clone())
        };
        if let Some(map) = spec.as_object_mut() {
            map.insert("nodename".into(), json!(self.name));
            map.sort_keys();
        }
        let kind = "Affiliates.cluster.talos.dev";
        let affiliate = Fact {
            owner: "cluster.LocalAffiliateController",
            ..Fact::plain("cluster", kind, self.id.as_str(), spec)
        };
        vec![Arc::new(affiliate), Arc::new(member)]
    }
}

/// What a node sees.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Resources about all nodes, in the order of their keys.
    pub(crate) facts: Arc<Vec<Arc<Fact>>>,
    /// First addresses of all nodes, with their machine's UUID and whether they are control planes.
    pub(crate) nodes: Arc<Vec<(String, String, bool)>>,
    /// The same of control planes alone, which change less often.
    pub(crate) planes: Arc<Vec<(String, String)>>,
}

#[derive(Debug, Default)]
struct Inner {
    peers: BTreeMap<String, (Peer, Vec<Arc<Fact>>)>,
    /// Until when machines are remembered that say nothing and have not said goodbye.
    silent: BTreeMap<String, Instant>,
    views: BTreeMap<String, View>,
    /// What each view showed last of control planes: it is kept while it is the same.
    planes: BTreeMap<String, Arc<Vec<(String, String)>>>,
}

/// The discovery service of a fabric.
#[derive(Debug, Default)]
pub(crate) struct Discovery(Mutex<Inner>);

/// Who sees the same.
fn circle(uuid: &str, peer: &Peer) -> String {
    if peer.cluster.is_empty() { uuid.to_owned() } else { peer.cluster.clone() }
}

impl Discovery {
    /// What a machine tells from now on; none if it says goodbye.
    pub(crate) fn publish(&self, uuid: &str, peer: Option<Peer>) {
        let inner = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.silent.remove(uuid);
        inner.publish(uuid, peer);
    }

    /// A machine says nothing more: it is off, or boots. It is known for as long as `keep`.
    pub(crate) fn falls_silent(&self, uuid: &str, keep: Duration) {
        let inner = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((peer, _)) = inner.peers.get(uuid) else { return };
        if !inner.silent.contains_key(uuid) {
            inner.views.remove(&circle(uuid, peer));
            inner.silent.insert(uuid.to_owned(), Instant::now() + keep);
        }
    }

    /// What a machine sees: itself and the others of its cluster.
    pub(crate) fn seen_by(&self, uuid: &str) -> View {
        let inner = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.expire();
        if inner.silent.contains_key(uuid) {
            return View::default();
        }
        let Some((peer, _)) = inner.peers.get(uuid) else { return View::default() };
        let circle = circle(uuid, peer);
        if let Some(view) = inner.views.get(&circle) {
            return view.clone();
        }
        let view = inner.view(&circle);
        inner.views.insert(circle, view.clone());
        view
    }
}

impl Inner {
    /// Forgets those who were silent for too long.
    fn expire(&mut self) {
        if self.silent.is_empty() {
            return;
        }
        let now = Instant::now();
        let over = self.silent.iter().filter(|(_, end)| **end <= now);
        for uuid in over.map(|(uuid, _)| uuid.clone()).collect::<Vec<_>>() {
            self.silent.remove(&uuid);
            self.publish(&uuid, None);
        }
    }

    fn publish(&mut self, uuid: &str, peer: Option<Peer>) {
        let old = self.peers.get(uuid).map(|(peer, _)| peer);
        if old == peer.as_ref() {
            return;
        }
        for changed in old.into_iter().chain(&peer) {
            self.views.remove(&circle(uuid, changed));
        }
        match peer {
            Some(peer) => {
                let facts = peer.facts();
                self.peers.insert(uuid.to_owned(), (peer, facts));
            }
            None => drop(self.peers.remove(uuid)),
        }
    }

    fn view(&mut self, of: &str) -> View {
        // One that speaks comes before a silent one of the same name, which it has replaced.
        let speaks = |uuid: &&String| !self.silent.contains_key(*uuid);
        let (present, silent): (Vec<_>, Vec<_>) = self
            .peers
            .iter()
            .filter(|(uuid, (peer, _))| circle(uuid, peer) == of)
            .partition(|(uuid, _)| speaks(uuid));
        let own = present.into_iter().chain(silent);
        let mut facts: Vec<Arc<Fact>> = own.clone().flat_map(|(_, (_, f))| f.clone()).collect();
        facts.retain(|fact| !fact.id.is_empty());
        facts.sort_by(|a, b| a.place().cmp(&b.place()));
        // Of two machines with one name, one is seen.
        facts.dedup_by(|a, b| a.place() == b.place());
        let mut nodes: Vec<(String, String, bool)> = own
            .filter_map(|(uuid, (peer, _))| {
                let first = peer.addresses.first()?.clone();
                Some((uuid.clone(), first, peer.is_control_plane()))
            })
            .collect();
        nodes.sort();
        let planes: Vec<(String, String)> = nodes
            .iter()
            .filter(|(.., plane)| *plane)
            .map(|(uuid, address, _)| (uuid.clone(), address.clone()))
            .collect();
        let kept = self.planes.entry(of.to_owned()).or_default();
        if **kept != planes {
            *kept = Arc::new(planes);
        }
        View { facts: Arc::new(facts), nodes: Arc::new(nodes), planes: Arc::clone(kept) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(cluster: &str, name: &str, kind: &str) -> Peer {
        Peer {
            cluster: cluster.into(),
            name: name.into(),
            id: format!("id-{name}"),
            kind: kind.into(),
            addresses: vec![format!("10.0.0.{}", name.len())],
            version: "v1.13.9".into(),
        }
    }

    fn names(view: &View) -> Vec<&str> {
        let members = view.facts.iter().filter(|f| f.kind.starts_with("Members"));
        members.map(|fact| fact.id.as_str()).collect()
    }

    #[test]
    fn nodes_of_a_cluster_see_one_another_and_no_others() {
        let discovery = Discovery::default();
        discovery.publish("1", Some(peer("a", "cp", "controlplane")));
        discovery.publish("2", Some(peer("a", "wk1", "worker")));
        discovery.publish("3", Some(peer("b", "cp", "controlplane")));
        discovery.publish("4", Some(peer("", "alone", "worker")));
        let view = discovery.seen_by("2");
        assert_eq!(names(&view), ["cp", "wk1"]);
        assert_eq!(*view.planes, [("1".to_owned(), "10.0.0.2".to_owned())]);
        assert_eq!(names(&discovery.seen_by("4")), ["alone"]);
        discovery.publish("2", None);
        assert_eq!(names(&discovery.seen_by("1")), ["cp"]);
        assert!(discovery.seen_by("2").facts.is_empty());
    }

    #[test]
    fn who_falls_silent_is_known_for_a_while() {
        let discovery = Discovery::default();
        discovery.publish("1", Some(peer("a", "cp", "controlplane")));
        discovery.publish("2", Some(peer("a", "wk", "worker")));
        discovery.falls_silent("2", Duration::from_hours(1));
        assert_eq!(names(&discovery.seen_by("1")), ["cp", "wk"]);
        assert!(discovery.seen_by("2").facts.is_empty(), "it sees nobody meanwhile");
        discovery.publish("2", Some(peer("a", "wk", "worker")));
        assert_eq!(names(&discovery.seen_by("2")), ["cp", "wk"]);
        discovery.falls_silent("2", Duration::ZERO);
        assert_eq!(names(&discovery.seen_by("1")), ["cp"]);
        // A machine made anew has the name of the one that it replaces.
        discovery.falls_silent("1", Duration::from_hours(1));
        let anew = Peer { id: "id-new".into(), ..peer("a", "cp", "controlplane") };
        discovery.publish("9", Some(anew));
        let view = discovery.seen_by("9");
        let member = view.facts.iter().find(|fact| fact.kind.starts_with("Members")).unwrap();
        assert_eq!(member.spec["nodeId"], "id-new");
    }

    #[test]
    fn what_did_not_change_is_the_same_object() {
        let discovery = Discovery::default();
        discovery.publish("1", Some(peer("a", "cp", "controlplane")));
        let before = discovery.seen_by("1");
        discovery.publish("1", Some(peer("a", "cp", "controlplane")));
        assert!(Arc::ptr_eq(&before.facts, &discovery.seen_by("1").facts));
        discovery.publish("2", Some(peer("a", "wk", "worker")));
        let after = discovery.seen_by("1");
        assert!(Arc::ptr_eq(&before.planes, &after.planes));
        let cp = |view: &View| view.facts.iter().find(|f| f.id == "cp").cloned().unwrap();
        assert!(Arc::ptr_eq(&cp(&before), &cp(&after)));
        assert_eq!(after.facts.len(), 4);
    }
}
