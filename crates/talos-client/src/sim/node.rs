//! One simulated machine.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::cosi::Store;
use super::disk::Content;
use super::event::Log;
use super::fact;
use super::grpc::{self, Peer};
pub(crate) use super::link::{LiveLink, content_id};
use super::machine::Locked;
pub(crate) use super::machine::{Api, Early, EtcdState, Machine, Order, Service};
use super::net::{NetInner, SimError, reset};
use super::pki;
use super::spec::{NodeEventKind, NodeSpec};
use super::{kube, life};

/// One machine, shared.
pub(crate) struct NodeInner {
    net: Weak<NetInner>,
    pub(crate) uuid: String,
    machine: Mutex<Machine>,
    /// The machine, its disk or its clock has changed since its resources were made.
    stale: AtomicBool,
    /// What they were made with; held meanwhile, so that an older view never replaces a newer one.
    synced: Mutex<Synced>,
    pub(crate) store: Store,
    pub(crate) log: Log,
    pub(crate) wake: Notify,
    stop: CancellationToken,
}

/// Seconds of a real machine for which discovery remembers one that says nothing.
const DISCOVERED: f64 = 1800.0;

/// What the resources of a machine were made with last.
#[derive(Default)]
struct Synced {
    planes: Arc<Vec<(String, String)>>,
    /// How the machine was, as its events told it.
    status: Value,
}

impl NodeInner {
    pub(crate) fn new(net: &Arc<NetInner>, spec: &NodeSpec) -> Arc<Self> {
        Arc::new(Self {
            net: Arc::downgrade(net),
            uuid: spec.uuid.clone(),
            machine: Mutex::default(),
            stale: AtomicBool::new(true),
            synced: Mutex::default(),
            store: Store::default(),
            log: Log::default(),
            wake: Notify::new(),
            stop: net.stopped(),
        })
    }

    /// The fabric, while it lives.
    pub(crate) fn net(&self) -> Option<Arc<NetInner>> {
        self.net.upgrade()
    }

    /// The changing part.
    pub(crate) fn machine(&self) -> Locked<'_> {
        let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        Locked::new(machine, &self.stale)
    }

    /// Names under which faults and tests know it.
    pub(crate) fn names(&self) -> Vec<String> {
        let machine = self.machine();
        let mut out = vec![self.uuid.clone(), machine.spec.name.clone()];
        out.push(machine.hostname());
        out
    }

    /// Minor version of the Talos that runs.
    pub(crate) fn minor(&self) -> u64 {
        self.machine().minor()
    }

    /// Host name.
    pub(crate) fn hostname(&self) -> String {
        self.machine().hostname()
    }

    /// Whether an address is its own and its card is on the right network.
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        let Some(net) = self.net() else { return false };
        let machine = self.machine();
        machine.powered
            && machine.links().iter().any(|l| {
                l.addresses.iter().any(|a| a.addr() == address)
                    && net.reaches(address, &l.bridge, l.tag)
            })
    }

    /// Whether it is a healthy control plane that may hold a shared address.
    pub(crate) fn may_hold(&self, address: IpAddr) -> bool {
        let Some(net) = self.net() else { return false };
        let machine = self.machine();
        machine.powered
            && machine.etcd == EtcdState::Running
            && machine
                .links()
                .iter()
                .any(|l| l.vips.contains(&address) && net.reaches(address, &l.bridge, l.tag))
    }

    /// Content of its system disk.
    pub(crate) fn content(&self) -> Content {
        let id = self.machine().content_id();
        match (self.net(), id) {
            (Some(net), Some(id)) => net.disks.get(&id),
            _ => Content::default(),
        }
    }

    /// Change the content of its system disk.
    pub(crate) fn write(&self, edit: impl FnOnce(&mut Content)) {
        let id = self.machine().content_id();
        if let (Some(net), Some(id)) = (self.net(), id) {
            net.disks.change(&id, edit);
            self.stale.store(true, Ordering::Release);
        }
    }

    /// Forget what the last boot told.
    pub(crate) fn forget(&self) {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.clear();
        self.log.clear();
        *synced = Synced::default();
        self.stale.store(true, Ordering::Release);
    }

    /// Enter a stage.
    pub(crate) fn stage(&self, stage: &str) {
        stage.clone_into(&mut self.machine().stage);
        self.sync();
        if let Some(net) = self.net() {
            net.event(&self.uuid, NodeEventKind::Stage(stage.to_owned()));
        }
    }

    /// Bring the resources up to date, if anything has changed.
    pub(crate) fn sync(&self) {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(net) = self.net() else { return };
        let stale = self.stale.swap(false, Ordering::AcqRel);
        if stale {
            let content = self.content();
            match fact::peer(self, &content) {
                None if !content.node_id.is_empty() => {
                    net.discovery.falls_silent(&self.uuid, net.config.pace.of(DISCOVERED));
                }
                peer => net.discovery.publish(&self.uuid, peer),
            }
        }
        let view = net.discovery.seen_by(&self.uuid);
        if stale || !Arc::ptr_eq(&synced.planes, &view.planes) {
            self.store.sync(fact::all(self, &self.content(), &view));
            synced.planes = Arc::clone(&view.planes);
            self.tell_status(&mut synced.status);
        }
        self.store.share(&view.facts);
        if self.machine().skewed.is_some() {
            // Time alone ends that.
            self.stale.store(true, Ordering::Release);
        }
    }

    /// An event for each change of what the machine waits for: who follows a node sees by it that it is ready.
    fn tell_status(&self, told: &mut Value) {
        let data = {
            let machine = self.machine();
            if !machine.powered {
                return;
            }
            let stage = machine.stage.to_uppercase().replace(' ', "_");
            let (ready, unmet) = fact::conditions(&machine);
            json!({"stage": stage, "status": {"ready": ready, "unmetConditions": unmet}})
        };
        if *told != data {
            told.clone_from(&data);
            self.log.add("MachineStatusEvent", data);
        }
    }

    /// Set a service's state.
    pub(crate) fn service(&self, id: &str, state: &str, healthy: Option<bool>, message: &str) {
        let health = match healthy {
            Some(true) => json!({"healthy": true}),
            Some(false) => json!({}),
            None => json!({"unknown": true}),
        };
        self.log.service(id, state, message, health);
        let service = Service { state: state.to_owned(), healthy, message: message.to_owned() };
        self.machine().services.insert(id.to_owned(), service);
    }

    /// Serve the machine API in another way; open connections are cut.
    pub(crate) fn serve(&self, api: Api) {
        let mut machine = self.machine();
        machine.api = api;
        machine.connections.cancel();
        machine.connections = CancellationToken::new();
    }

    /// Take a connection.
    pub(crate) fn accept(self: &Arc<Self>, port: u16, stream: TcpStream) {
        let names = self.names();
        let machine = self.machine();
        let tls = match (port, &machine.api) {
            (6443, _) => machine.kube.clone(),
            (50000, Api::Maintenance(tls) | Api::Denied(tls) | Api::Secure(tls)) => {
                Some(Arc::clone(tls))
            }
            _ => None,
        };
        let cut = machine.connections.child_token();
        drop(machine);
        let refused = self.net().is_none_or(|net| net.refuses(&names));
        let (Some(tls), false) = (tls, refused) else {
            reset(&stream);
            return;
        };
        stream.set_nodelay(true).ok();
        let node = Arc::clone(self);
        tokio::spawn(async move {
            let handshake = TlsAcceptor::from(tls).accept(stream).into_fallible();
            let stream = tokio::select! {
                () = cut.cancelled() => return,
                stream = handshake => stream,
            };
            let stream = match stream {
                Ok(stream) => stream,
                Err((_, refused)) => return drain(refused).await,
            };
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            if port == 6443 {
                let user = certificate.and_then(|c| pki::identity(c, false));
                kube::serve(node, stream, user, cut).await;
            } else {
                let roles =
                    certificate.and_then(|c| pki::identity(c, true)).map(|(_, roles)| roles);
                grpc::serve(node, stream, Peer { roles: roles.unwrap_or_default() }, cut).await;
            }
        });
    }

    /// Has the machine do what a call asked for; one that is about to leave its boot does nothing else.
    pub(crate) fn order(&self, order: Order) {
        let leaves = ["rebooting", "shutting down", "resetting", "upgrading"];
        if leaves.contains(&self.machine().stage.as_str()) {
            let error = json!({"code": "LOCKED", "message": "sequence not started: locked"});
            let data = json!({"sequence": order.sequence(), "error": error});
            self.log.add("SequenceEvent", data);
            return;
        }
        self.machine().orders.push(order);
        self.wake.notify_one();
    }

    /// Stop etcd, as before a reboot.
    pub(crate) fn halt_etcd(&self) {
        self.machine().etcd = EtcdState::Absent;
        if let Some(net) = self.net() {
            net.judge.look(&net);
        }
    }

    fn power_off(&self) {
        {
            let mut machine = self.machine();
            machine.life.cancel();
            machine.powered = false;
            machine.api = Api::Closed;
            machine.kube = None;
            machine.etcd = EtcdState::Absent;
            machine.connections.cancel();
            "off".clone_into(&mut machine.stage);
        }
        // Not only by the others: it may have been taken out of the fabric.
        self.sync();
        if let Some(net) = self.net() {
            net.refresh();
        }
    }
}

/// Read on after a refused handshake, so that the client sees the alert and not a reset.
async fn drain(mut stream: TcpStream) {
    let rest = async { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await };
    tokio::time::timeout(std::time::Duration::from_secs(2), rest).await.ok();
}

/// A simulated machine.
#[derive(Clone)]
pub struct SimNode(pub(crate) Arc<NodeInner>);

impl std::fmt::Debug for SimNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SimNode").field(&self.0.uuid).finish()
    }
}

impl SimNode {
    pub(crate) fn start(&self, spec: NodeSpec) {
        let mut machine = self.0.machine();
        machine.spec = spec;
        if machine.powered {
            return;
        }
        machine.powered = true;
        let token = self.0.stop.child_token();
        machine.life = token.clone();
        drop(machine);
        tokio::spawn(life::run(Arc::clone(&self.0), token));
    }

    /// SMBIOS UUID.
    pub fn uuid(&self) -> &str {
        &self.0.uuid
    }

    /// Pull the plug.
    pub fn power_off(&self) {
        self.0.power_off();
    }

    /// Press the reset button: the machine starts again at once.
    pub fn reset(&self) {
        let spec = self.0.machine().spec.clone();
        self.0.power_off();
        self.start(spec);
    }

    /// Press the power button: the guest shuts itself down.
    pub fn shutdown_acpi(&self) {
        self.0.order(Order::Shutdown(uuid::Uuid::new_v4().to_string()));
    }

    /// Whether it runs.
    pub fn is_on(&self) -> bool {
        self.0.machine().powered
    }

    /// Stage, as the node names it; `off` without power.
    pub fn stage(&self) -> String {
        self.0.machine().stage.clone()
    }

    /// Loopback port that reaches the machine API of this machine whatever its addresses are.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn listen(&self) -> Result<std::net::SocketAddr, SimError> {
        let failed = |error| SimError::new("listen for a simulated node", error);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let node = Arc::clone(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = node.stop.cancelled() => return,
                    accepted = listener.accept() => {
                        if let Ok((stream, _)) = accepted {
                            node.accept(50000, stream);
                        }
                    }
                }
            }
        });
        Ok(local)
    }

    /// The truth about it.
    pub fn snapshot(&self) -> Value {
        let content = self.0.content();
        let machine = self.0.machine();
        let hash = content.config.as_ref().map(|text| {
            let digest = Sha256::digest(text.as_bytes());
            digest.iter().fold(String::new(), |hex, b| format!("{hex}{b:02x}"))
        });
        let addresses: Vec<_> = machine.addresses().iter().map(|a| a.addr().to_string()).collect();
        let installed = content.installed.as_ref().map(|i| {
            json!({"disk": machine.system_disk, "version": i.version, "schematic": i.schematic, "platform": i.platform})
        });
        json!({
            "name": machine.spec.name, "power": machine.powered, "stage": machine.stage,
            "hostname": machine.hostname(), "addresses": addresses, "config_sha256": hash,
            "config_applied": machine.counters.applied, "installs": content.installs,
            "previous": content.previous.as_ref().map(|system| &system.version),
            "boots": machine.counters.boots, "bootstraps": machine.counters.bootstraps, "installed": installed,
            "machine_type": machine.config.text("machine.type"),
            "etcd": content.etcd.as_ref().map(|e| json!({"cluster": e.cluster, "member": e.member.to_string(), "running": machine.etcd == EtcdState::Running})),
            "node_ready": machine.node_ready,
        })
    }
}
