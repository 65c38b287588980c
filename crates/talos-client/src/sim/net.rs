//! The fabric: which node answers under which address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::cluster::Clusters;
use super::discovery::Discovery;
use super::disk::Disks;
use super::fault::{FaultAction, Faults};
use super::node::{NodeInner, SimNode};
use super::quorum::{Judge, QuorumLoss};
use super::spec::{NetConfig, NodeEvent, NodeEventKind, NodeSpec, Segment};

/// Why the simulator could not start or listen.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct SimError {
    what: String,
    #[source]
    source: std::io::Error,
}

impl SimError {
    pub(crate) fn new(what: impl Into<String>, source: std::io::Error) -> Self {
        Self { what: what.into(), source }
    }
}

/// An address of the plan and the loopback port that stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Address.
    pub address: IpAddr,
    /// Port: 50000 is the machine API, 6443 Kubernetes.
    pub port: u16,
    /// Where it listens.
    pub local: SocketAddr,
}

pub(crate) struct NetInner {
    pub(crate) config: NetConfig,
    pub(crate) faults: Faults,
    pub(crate) disks: Disks,
    pub(crate) clusters: Clusters,
    pub(crate) judge: Judge,
    pub(crate) discovery: Discovery,
    /// Who answered under an address last: asked first, as there may be many.
    owners: Mutex<BTreeMap<IpAddr, Weak<NodeInner>>>,
    pub(crate) nodes: Mutex<BTreeMap<String, Arc<NodeInner>>>,
    segments: Mutex<Vec<Segment>>,
    routes: Mutex<Vec<Route>>,
    events: broadcast::Sender<NodeEvent>,
    stop: CancellationToken,
}

impl std::fmt::Debug for NetInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetInner").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A fabric of simulated nodes.
#[derive(Clone, Debug)]
pub struct SimNet(pub(crate) Arc<NetInner>);

impl SimNet {
    /// A fabric, with the disks and clusters that its state folder holds.
    ///
    /// # Errors
    /// When the state folder cannot be read or made.
    pub fn new(config: NetConfig) -> Result<Self, SimError> {
        let open = |error| SimError::new("open the state folder of the simulator", error);
        let dir = config.state_dir.clone();
        Ok(Self(Arc::new(NetInner {
            disks: Disks::open(dir.as_deref()).map_err(open)?,
            clusters: Clusters::open(dir.as_deref()).map_err(open)?,
            segments: Mutex::new(config.segments.clone()),
            config,
            faults: Faults::default(),
            judge: Judge::default(),
            discovery: Discovery::default(),
            owners: Mutex::default(),
            nodes: Mutex::default(),
            routes: Mutex::default(),
            events: broadcast::channel(1024).0,
            stop: CancellationToken::new(),
        })))
    }

    /// Power a machine on. A machine of the same UUID is the same machine, with this definition.
    #[must_use]
    pub fn power_on(&self, spec: NodeSpec) -> SimNode {
        let node = {
            let mut nodes = self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            let uuid = spec.uuid.clone();
            Arc::clone(nodes.entry(uuid).or_insert_with(|| NodeInner::new(&self.0, &spec)))
        };
        let node = SimNode(node);
        node.start(spec);
        node
    }

    /// A machine by its UUID or name.
    pub fn node(&self, id: &str) -> Option<SimNode> {
        let nodes = self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.values().find(|n| n.names().iter().any(|name| name == id)).cloned().map(SimNode)
    }

    /// All machines.
    pub fn nodes(&self) -> Vec<SimNode> {
        let nodes = self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.values().cloned().map(SimNode).collect()
    }

    /// Power a machine off and forget it; what is on its disks stays.
    pub fn forget(&self, uuid: &str) {
        let node = self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner).remove(uuid);
        if let Some(node) = node {
            SimNode(node).power_off();
        }
    }

    /// Faults, and what was called.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// What happens to machines.
    pub fn events(&self) -> broadcast::Receiver<NodeEvent> {
        self.0.events.subscribe()
    }

    /// Say that a cluster (`cluster.id` of its configuration) has a CNI.
    pub fn declare_cni(&self, cluster_id: &str) {
        for cluster in self.0.clusters.all().values_mut().filter(|c| c.cluster_id == cluster_id) {
            cluster.cni_declared = true;
        }
        self.0.refresh();
    }

    /// All moments at which etcd of a cluster lost its quorum: a client that takes care causes none.
    pub fn quorum_losses(&self) -> Vec<QuorumLoss> {
        self.0.judge.losses()
    }

    /// Make the snapshots of a cluster (`cluster.id` of its configuration) longer by so many bytes.
    pub fn fill_etcd(&self, cluster_id: &str, bytes: u64) {
        for cluster in self.0.clusters.all().values_mut().filter(|c| c.cluster_id == cluster_id) {
            cluster.filler = bytes;
        }
    }

    /// Turn an alarm on, such as `NOSPACE` or `CORRUPT`, for the leader's member of a cluster
    /// (`cluster.id` of its configuration). `EtcdAlarmDisarm` turns it off.
    pub fn raise_alarm(&self, cluster_id: &str, alarm: &str) {
        for cluster in self.0.clusters.all().values_mut().filter(|c| c.cluster_id == cluster_id) {
            cluster.alarms.push((cluster.leader, alarm.to_owned()));
        }
    }

    /// Replace the networks; without any, every address is reachable. Connections that stand are not cut.
    pub fn set_segments(&self, segments: Vec<Segment>) {
        *self.0.segments.lock().unwrap_or_else(PoisonError::into_inner) = segments;
    }

    /// Loopback port for an address of the plan; whoever has the address when a connection comes answers it.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn expose(&self, address: IpAddr, port: u16) -> Result<SocketAddr, SimError> {
        self.expose_at(address, port, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// As [`Self::expose`], on a port of the caller's choice.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn expose_at(
        &self,
        address: IpAddr,
        port: u16,
        local: SocketAddr,
    ) -> Result<SocketAddr, SimError> {
        if let Some(route) = self.routes().iter().find(|r| r.address == address && r.port == port) {
            return Ok(route.local);
        }
        let listen = |error| SimError::new(format!("listen for {address} port {port}"), error);
        let listener = TcpListener::bind(local).await.map_err(listen)?;
        let local = listener.local_addr().map_err(listen)?;
        let route = Route { address, port, local };
        self.0.routes.lock().unwrap_or_else(PoisonError::into_inner).push(route);
        let net = Arc::clone(&self.0);
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = net.stop.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                if let Ok((stream, _)) = accepted {
                    net.connect(address, port, stream);
                }
            }
        });
        Ok(local)
    }

    /// All addresses that have a loopback port.
    pub fn routes(&self) -> Vec<Route> {
        self.0.routes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The truth, for tests that judge.
    pub fn snapshot(&self) -> Value {
        let nodes: Map<String, Value> =
            self.nodes().iter().map(|n| (n.uuid().to_owned(), n.snapshot())).collect();
        let clusters = self.0.clusters.all();
        let shown = clusters.values().map(|c| {
            let members: Vec<_> = c.members.iter().map(|m| {
                json!({"id": m.id.to_string(), "name": m.name, "learner": m.learner, "peer": m.address})
            }).collect();
            let view = json!({
                "cluster_id": c.cluster_id, "name": c.name, "leader": c.leader.to_string(),
                "members": members, "objects": c.objects,
            });
            (c.id.clone(), view)
        });
        json!({"nodes": nodes, "clusters": shown.collect::<Map<_, _>>()})
    }

    /// Power everything off and stop listening.
    pub fn shutdown(&self) {
        self.nodes().iter().for_each(SimNode::power_off);
        self.0.stop.cancel();
    }
}

impl NetInner {
    pub(crate) fn event(&self, uuid: &str, kind: NodeEventKind) {
        self.events.send(NodeEvent { uuid: uuid.to_owned(), kind }).ok();
    }

    /// All machines.
    pub(crate) fn all(&self) -> Vec<Arc<NodeInner>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Who answers under an address.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<Arc<NodeInner>> {
        let owners = || self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let last = owners().get(&address).and_then(Weak::upgrade);
        if let Some(node) = last.filter(|node| node.has_address(address)) {
            return Some(node);
        }
        let found = self.all().into_iter().find(|node| node.has_address(address));
        if let Some(node) = &found {
            owners().insert(address, Arc::downgrade(node));
        }
        found.or_else(|| self.vip_holder(address))
    }

    /// The healthy control plane that holds a shared address: the first by name.
    pub(crate) fn vip_holder(&self, address: IpAddr) -> Option<Arc<NodeInner>> {
        let mut able: Vec<_> = self.all().into_iter().filter(|n| n.may_hold(address)).collect();
        able.sort_by_key(|n| n.hostname());
        able.into_iter().next()
    }

    /// Whether a card is on the network of an address.
    pub(crate) fn reaches(&self, address: IpAddr, bridge: &str, tag: Option<u16>) -> bool {
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        segments.is_empty()
            || segments.iter().any(|s| {
                s.bridge == bridge
                    && s.tag == tag
                    && s.prefixes.iter().any(|p| p.contains(&address))
            })
    }

    /// Bring the resources of all nodes up to date, and let them look around.
    pub(crate) fn refresh(&self) {
        self.judge.look(self);
        for node in self.all() {
            node.sync();
            node.wake.notify_one();
        }
    }

    fn connect(&self, address: IpAddr, port: u16, stream: TcpStream) {
        match self.owner(address) {
            Some(node) => node.accept(port, stream),
            None => reset(&stream),
        }
    }

    /// Whether connections to a node are to be cut.
    pub(crate) fn refuses(&self, names: &[String]) -> bool {
        matches!(self.faults.take(names, "@connect"), Some(FaultAction::RefuseConnect))
    }

    /// Ends with the fabric.
    pub(crate) fn stopped(&self) -> CancellationToken {
        self.stop.clone()
    }
}

/// Cut a connection so that the other side sees a reset.
pub(crate) fn reset(stream: &TcpStream) {
    stream.set_zero_linger().ok();
}
