//! The simulators, and how they become what a tree wants.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use imagefactory::sim::Sim;
use proxmox_client::sim::{AcpiReaction, PciDevice, SimCluster, SimHandle, SimStorage};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use talos_client::sim::{NetConfig, Pace, SimNet};
use tokio::sync::{Mutex as AsyncMutex, RwLock, watch};

use super::super::error::{LabError, LabErrorKind};
use super::super::file::{AddressRoute, FORMAT, HostRoute, Kept, LabFile, ProxmoxAccess};
use super::super::manners::Manners;
use super::super::paths::Paths;
use super::super::process::start_ticks;
use super::super::world::{StorageKind, World};
use super::access::{self, ROLES, Secrets, TOKEN, USER};
use super::certificate::Authority;
use super::guest::Guests;
use super::{STOPPING, ServeOptions};
use crate::state::{Mode, read_if_present, write};

/// Ports of earlier runs: taken again when they are free, so that what was told of them holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Ports {
    proxmox: u16,
    factory: u16,
    registry: u16,
    addresses: Vec<AddressRoute>,
}

/// All simulators of a lab.
pub(super) struct LabSite {
    pub(super) paths: Paths,
    pub(super) build: String,
    pub(super) started: Instant,
    pub(super) net: SimNet,
    pub(super) guests: Guests,
    pub(super) pve: RwLock<Option<SimHandle>>,
    /// Counts the starts of the simulated Proxmox: whoever listens to it begins anew.
    pub(super) pve_starts: watch::Sender<u64>,
    pub(super) factory: AsyncMutex<Option<Sim>>,
    world: AsyncMutex<World>,
    names: Mutex<BTreeSet<String>>,
    authority: Authority,
    secrets: Secrets,
    manners: Manners,
    socket: PathBuf,
    since: jiff::Timestamp,
    ports: Ports,
}

impl std::fmt::Debug for LabSite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LabSite").field("paths", &self.paths).finish_non_exhaustive()
    }
}

fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    what: &'static str,
) -> impl FnOnce(E) -> LabError {
    move |error| LabError::new(LabErrorKind::Start, what).because(error)
}

fn gone() -> LabError {
    LabError::new(LabErrorKind::Unreachable, "the simulated Proxmox does not run")
}

impl LabSite {
    /// Starts the nodes' network; the servers follow with what a tree wants.
    ///
    /// # Errors
    /// A folder cannot be made or what earlier runs left cannot be read.
    pub(super) fn start(
        paths: &Paths,
        options: &ServeOptions,
        socket: &Path,
    ) -> Result<Self, LabError> {
        let state = paths.state();
        fs_err::create_dir_all(&state).map_err(LabError::file("make folder", &state))?;
        let manners = options.manners.clone();
        let net = SimNet::new(NetConfig {
            state_dir: Some(state.join("talos")),
            pace: manners.pace.map_or(Pace::quick(), Pace::scaled),
            latency: manners.node_latency,
            ..NetConfig::default()
        })
        .map_err(failed("start the simulated nodes"))?;
        let ports = read_if_present(&state.join("ports.json")).ok().flatten();
        Ok(Self {
            net,
            guests: Guests::default(),
            pve: RwLock::default(),
            pve_starts: watch::Sender::default(),
            factory: AsyncMutex::default(),
            world: AsyncMutex::default(),
            names: Mutex::default(),
            authority: Authority::open(&state.join("authority.json"))?,
            secrets: Secrets::open(&state.join("access.json"))?,
            manners,
            socket: socket.to_path_buf(),
            since: jiff::Timestamp::now(),
            started: Instant::now(),
            build: options.build.clone(),
            ports: ports.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default(),
            paths: paths.clone(),
        })
    }

    /// Becomes what a tree wants, besides what others wanted.
    ///
    /// # Errors
    /// A server cannot be set up so.
    pub(super) async fn sync(&self, newer: World) -> Result<LabFile, LabError> {
        let mut world = self.world.lock().await;
        let mut next = world.clone();
        next.merge(newer);
        let restart = self.pve.read().await.is_none()
            || next.nodes != world.nodes
            || next.storages != world.storages
            || next.bridges != world.bridges;
        if restart {
            self.restart_proxmox(&next).await?;
        }
        self.prepare_proxmox(&world, &next).await?;
        self.restart_factory(&world, &next).await?;
        self.provide_images(&world, &next).await?;
        self.open_addresses(&next).await?;
        self.keep(&next)?;
        *world = next;
        drop(world);
        self.refresh_segments().await;
        let file = self.file().await?;
        if self.paths.file().exists() {
            file.write(&self.paths.file())?;
        }
        Ok(file)
    }

    /// Starts the simulated Proxmox, or starts it again with more nodes, storages or bridges: its
    /// state, address and credentials stay, and the guests run on.
    async fn restart_proxmox(&self, world: &World) -> Result<(), LabError> {
        let mut slot = self.pve.write().await;
        let before = slot.as_ref().map(SimHandle::addr);
        if let Some(old) = slot.take() {
            old.shutdown().await;
        }
        let wanted =
            before.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], self.ports.proxmox)));
        let handle = match self.builder(world).listen(wanted).start().await {
            Ok(handle) => handle,
            Err(error) if wanted.port() != 0 => {
                tracing::warn!(%error, "the port of the simulated Proxmox is taken");
                let any = SocketAddr::from(([127, 0, 0, 1], 0));
                self.builder(world)
                    .listen(any)
                    .start()
                    .await
                    .map_err(failed("start the simulated Proxmox"))?
            }
            Err(error) => return Err(failed("start the simulated Proxmox")(error)),
        };
        access::grant_system(&access::root(&handle)?).await?;
        *slot = Some(handle);
        drop(slot);
        self.pve_starts.send_modify(|starts| *starts += 1);
        Ok(())
    }

    fn builder(&self, world: &World) -> proxmox_client::sim::SimBuilder {
        let mut builder = SimCluster::builder()
            .nodes(world.nodes.clone())
            .cluster_name("lab")
            .storages(world.storages.values().map(|storage| {
                let id = storage.id.as_str();
                match storage.kind {
                    StorageKind::LocalFiles => {
                        SimStorage::dir(id, "backup,images,import,iso,rootdir,snippets,vztmpl")
                    }
                    StorageKind::LocalMixed => SimStorage::dir(id, "images,import,iso,snippets"),
                    StorageKind::SharedFiles => SimStorage::cephfs(id, "import,iso,snippets"),
                    StorageKind::LocalBlocks => SimStorage::zfspool(id, "images,rootdir"),
                    StorageKind::SharedBlocks => SimStorage::rbd(id, "images,rootdir"),
                }
            }))
            .latency(self.manners.proxmox_latency)
            .state_dir(self.paths.state().join("pve"))
            .acpi(AcpiReaction::ByGuest)
            .user(USER, &self.secrets.password)
            .token(USER, TOKEN, &self.secrets.token, false);
        for (path, role) in ROLES {
            builder = builder.grant(USER, path, role);
        }
        for (bridge, mtu) in &world.bridges {
            builder = builder.bridge(bridge, *mtu);
        }
        for (kind, time) in &self.manners.task_times {
            builder = match kind.as_str() {
                "*" => builder.task_time(*time),
                kind => builder.task_time_of(kind, *time),
            };
        }
        builder
    }

    /// Devices, mappings and controllers that a tree expects to find.
    async fn prepare_proxmox(&self, old: &World, world: &World) -> Result<(), LabError> {
        let slot = self.pve.read().await;
        let pve = slot.as_ref().ok_or_else(gone)?;
        if old.devices != world.devices || old.mappings != world.mappings {
            let state = pve.snapshot();
            for device in &world.devices {
                add_device(pve, &state, &device.node, &device.address);
            }
            for (index, (name, mapping)) in world.mappings.iter().enumerate() {
                let mut entries = Vec::new();
                for (node, count) in &mapping.devices {
                    for number in 0..*count {
                        let address = format!("0000:{:02x}:{number:02x}.0", index + 0x10);
                        add_device(pve, &state, node, &address);
                        entries.push(format!("node={node},path={address},id=8086:4680"));
                    }
                }
                let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
                pve.add_pci_mapping(name, &entries);
            }
        }
        access::controllers(&access::root(pve)?, world).await
    }

    /// Starts factory and registry, or starts them again with a certificate for more names or for
    /// another owner.
    async fn restart_factory(&self, old: &World, world: &World) -> Result<(), LabError> {
        let hosts = world.factories.iter().chain(&world.registries);
        let names: BTreeSet<String> = hosts.map(|(host, _)| host.clone()).collect();
        let mut slot = self.factory.lock().await;
        let known = self.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let same_owner = old.factory_owner == world.factory_owner;
        if slot.is_some() && same_owner && names.is_subset(&known) {
            return Ok(());
        }
        let ports = slot.as_ref().map_or((self.ports.factory, self.ports.registry), |sim| {
            (sim.factory_addr().port(), sim.registry_addr().port())
        });
        if let Some(old) = slot.take() {
            drop(tokio::time::timeout(STOPPING, old.stop()).await);
        }
        let tls = self.authority.issue(&names)?;
        let mut builder = Sim::builder().tls(tls).dir(self.paths.state().join("factory"));
        if let Some(owner) = &world.factory_owner {
            builder = builder.factory_login(owner, None);
        }
        let sim = match builder.clone().ports(ports.0, ports.1).start().await {
            Ok(sim) => sim,
            Err(error) if ports != (0, 0) => {
                tracing::warn!(%error, "the ports of factory and registry are taken");
                builder.start().await.map_err(failed("start the simulated factory"))?
            }
            Err(error) => return Err(failed("start the simulated factory")(error)),
        };
        *slot = Some(sim);
        drop(slot);
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
        Ok(())
    }

    /// Fills the registry with the images that trees name.
    async fn provide_images(&self, old: &World, world: &World) -> Result<(), LabError> {
        if old.images == world.images && old.build_parts == world.build_parts {
            return Ok(());
        }
        let registry = self.factory.lock().await.as_ref().ok_or_else(gone)?.registry_addr();
        super::image::provide(world, registry, &self.authority.ca_pem).await
    }

    /// Gives every planned address its port.
    async fn open_addresses(&self, world: &World) -> Result<(), LabError> {
        let before = |address: IpAddr, port: u16| {
            let known = |route: &&AddressRoute| route.address == address && route.port == port;
            self.ports.addresses.iter().find(known).map(|route| route.local)
        };
        for (address, port) in &world.addresses {
            let again = match before(*address, *port) {
                Some(local) => self.net.expose_at(*address, *port, local).await.is_ok(),
                None => false,
            };
            if !again {
                self.net
                    .expose(*address, *port)
                    .await
                    .map_err(failed("open a port for each planned address"))?;
            }
        }
        Ok(())
    }

    /// Writes what a restart needs.
    fn keep(&self, world: &World) -> Result<(), LabError> {
        let path = self.paths.world();
        let text = serde_json::to_vec_pretty(world).map_err(LabError::file("write", &path))?;
        write(&path, &text, Mode::Private).map_err(LabError::file("write", &path))
    }

    /// Networks as they are now: a VNet carries what SDN says, a bridge what the tree says.
    pub(super) async fn refresh_segments(&self) {
        let slot = self.pve.read().await;
        let Some(pve) = slot.as_ref() else { return };
        let subnets = pve.snapshot();
        drop(slot);
        let world = self.world.lock().await;
        self.net.set_segments(super::guest::segments(&world, &subnets));
    }

    /// Where everything is.
    ///
    /// # Errors
    /// A server does not run.
    pub(super) async fn file(&self) -> Result<LabFile, LabError> {
        // The order in which `sync` takes them.
        let world = self.world.lock().await;
        let slot = self.pve.read().await;
        let pve = slot.as_ref().ok_or_else(gone)?;
        let factory = self.factory.lock().await;
        let factory = factory.as_ref().ok_or_else(gone)?;
        let to = |local: SocketAddr| {
            move |(host, port): &(String, u16)| HostRoute { host: host.clone(), port: *port, local }
        };
        let routes = self.net.routes().into_iter();
        let mut addresses: Vec<AddressRoute> = routes
            .map(|r| AddressRoute { address: r.address, port: r.port, local: r.local })
            .collect();
        addresses.sort();
        let factories = world.factories.iter().map(to(factory.factory_addr()));
        let registries = world.registries.iter().map(to(factory.registry_addr()));
        let pid = std::process::id();
        let file = LabFile {
            format: FORMAT,
            pid,
            start_ticks: start_ticks(pid),
            started: self.since,
            build: self.build.clone(),
            socket: self.socket.clone(),
            ca_pem: format!("{}{}", pve.ca_pem(), self.authority.ca_pem),
            proxmox: ProxmoxAccess {
                endpoint: pve.base_url(),
                fingerprint: pve.fingerprint().to_owned(),
                token: Kept(self.secrets.whole_token()),
                password: Kept(pve.password().to_owned()),
            },
            factory: factory.factory_addr(),
            registry: factory.registry_addr(),
            hosts: factories.chain(registries).collect(),
            addresses,
        };
        self.keep_ports(&file, pve.addr().port())?;
        Ok(file)
    }

    fn keep_ports(&self, file: &LabFile, proxmox: u16) -> Result<(), LabError> {
        let path = self.paths.state().join("ports.json");
        let ports = Ports {
            proxmox,
            factory: file.factory.port(),
            registry: file.registry.port(),
            addresses: file.addresses.clone(),
        };
        let text = serde_json::to_vec(&ports).map_err(LabError::file("write", &path))?;
        write(&path, &text, Mode::Private).map_err(LabError::file("write", &path))
    }

    /// Stops everything, state first.
    pub(super) async fn stop(&self) {
        if let Some(pve) = self.pve.write().await.take() {
            drop(tokio::time::timeout(STOPPING, pve.shutdown()).await);
        }
        self.net.shutdown();
        if let Some(factory) = self.factory.lock().await.take() {
            drop(tokio::time::timeout(STOPPING, factory.stop()).await);
        }
    }
}

fn add_device(pve: &SimHandle, state: &Value, node: &str, address: &str) {
    let pointer = format!("/nodes/{node}/pci");
    let there = state.pointer(&pointer).and_then(Value::as_array);
    if there.into_iter().flatten().any(|device| device["id"] == address) {
        return;
    }
    pve.add_pci(
        node,
        PciDevice {
            id: address.to_owned(),
            class: "0x030000".to_owned(),
            vendor: "0x8086".to_owned(),
            device: "0x4680".to_owned(),
            subsystem_vendor: "0x8086".to_owned(),
            subsystem_device: "0x7270".to_owned(),
            iommugroup: 1,
            device_name: "Lab graphics".to_owned(),
            vendor_name: "Lab".to_owned(),
        },
    );
}
