//! Everything that a look at a site and a change of it need: clients, keys, places.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use imagefactory::{FactoryClient, RegistryClient, RegistryOptions, TransportOptions};
use proxmox_client::{Client as Proxmox, ClientConfig};
use talos_client::config::{GenerateInput, MachineConfig, MachineType, Patch};
use talos_client::secrets::Bundle;
use talos_client::{Client as Talos, ClientConfig as TalosConfig, Dialer, Identity, Timeouts};

use super::bundle::BundleStore;
use super::config::{ConfigInput, DiskSelector, documents};
use super::image::Images;
use super::kubernetes::Dial;
use super::{cilium, image};
use crate::error::Error;
use crate::spec::site::{Cluster, Cni, Node, Role, Site};
use crate::state::{Layout, LockFile, LockFileError};

/// Where names and addresses of the plan are really reached; empty outside of the lab.
#[derive(Debug, Clone, Default)]
pub struct Detour {
    /// Addresses of nodes.
    pub talos: BTreeMap<(IpAddr, u16), SocketAddr>,
    /// The factory and registries.
    pub hosts: BTreeMap<(String, u16), SocketAddr>,
    /// Authorities that vouch for them, as PEM.
    pub authorities: Option<String>,
}

/// Clients, keys and places.
pub struct Crew {
    /// The site.
    pub site: Site,
    /// Our files.
    pub layout: Layout,
    /// The images that the tree asks for.
    pub images: Images,
    /// The Proxmox API.
    pub proxmox: Proxmox,
    /// The image factory.
    pub factory: FactoryClient,
    /// Registries.
    pub registry: RegistryClient,
    /// The clusters' secrets.
    pub bundles: BundleStore,
    /// Where the Kubernetes API is reached.
    pub dial: Dial,
    /// Who is at work, for the lock.
    pub site_key: String,
    dialer: Dialer,
    lab: bool,
    opened: Mutex<BTreeMap<String, Arc<Opened>>>,
    lock_file: Mutex<LockFile>,
}

/// The secrets of a cluster with the identity that they give us.
#[derive(Debug)]
pub struct Opened {
    /// The bundle.
    pub bundle: Bundle,
    /// An administrator of the Talos API.
    pub admin: Identity,
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew").field("site", &self.site.name).finish_non_exhaustive()
    }
}

/// Time limits of the Talos API: a node that boots is asked again soon.
const TALOS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    call: Duration::from_secs(15),
    long: Duration::from_mins(2),
    etcd: Duration::from_secs(5),
    bootstrap: Duration::from_secs(30),
};

impl Crew {
    /// Clients for a site. Nothing is dialled yet.
    ///
    /// # Errors
    /// Settings that cannot be used; an image that cannot be named; a lock file of another program.
    pub fn new(
        site: Site,
        proxmox: &ClientConfig,
        variables: &BTreeMap<String, String>,
        detour: Option<Detour>,
    ) -> Result<Self, Error> {
        let lab = detour.is_some();
        let layout = Layout::new(&site.live, lab);
        let images = image::desired(&site)?;
        let failed = |what: &str| Error::failed(format!("prepare {what}"));
        let detour = detour.unwrap_or_default();
        let mut transport = TransportOptions { dial: detour.hosts, ..TransportOptions::default() };
        if let Some(authorities) = &detour.authorities {
            transport.trust = imagefactory::Trust::Authorities(authorities.clone().into_bytes());
        }
        let factory = FactoryClient::new(images.factory.clone(), transport.clone())
            .map_err(|error| failed("the image factory's client").because(error))?;
        let credentials = imagefactory::credentials(variables)
            .map_err(|error| failed("the credentials of registries").because(error))?;
        let options = RegistryOptions { transport, credentials, ..RegistryOptions::default() };
        let registry = RegistryClient::new(options)
            .map_err(|error| failed("the registries' client").because(error))?;
        let proxmox =
            Proxmox::new(proxmox).map_err(|error| failed("the Proxmox client").because(error))?;
        let mut bundles = BundleStore::new(layout.clone(), variables.clone());
        if let Some(file) = &site.credentials.age_key_file {
            bundles = bundles.with_key_file(file.clone());
        }
        let lock_file = LockFile::read(&layout.lock_file())
            .map_err(|error| Error::failed("read the lock file").because(error))?;
        let dialer = if lab { Dialer::mapped(detour.talos.clone()) } else { Dialer::direct() };
        Ok(Self {
            site_key: site.name.clone(),
            site,
            layout,
            images,
            proxmox,
            factory,
            registry,
            bundles,
            dial: Arc::new(detour.talos),
            dialer,
            lab,
            opened: Mutex::new(BTreeMap::new()),
            lock_file: Mutex::new(lock_file),
        })
    }

    /// Whether this is the lab.
    pub fn is_lab(&self) -> bool {
        self.lab
    }

    /// The cluster of a folder.
    ///
    /// # Errors
    /// The tree has none: the plan was made from another tree.
    pub fn cluster(&self, folder: &str) -> Result<&Cluster, Error> {
        self.site
            .clusters
            .iter()
            .find(|cluster| cluster.folder == folder)
            .ok_or_else(|| Error::failed(format!("the tree has no cluster {folder}")))
    }

    /// A node of a cluster.
    ///
    /// # Errors
    /// As [`Self::cluster`].
    pub fn node(&self, folder: &str, name: &str) -> Result<(&Cluster, &Node), Error> {
        let cluster = self.cluster(folder)?;
        let node = cluster.nodes.iter().find(|node| node.name == name);
        let absent = || Error::failed(format!("cluster {folder} has no node {name}"));
        Ok((cluster, node.ok_or_else(absent)?))
    }

    /// The secrets of a cluster; `None` when there are none yet.
    ///
    /// # Errors
    /// They cannot be opened, or are not whole.
    pub fn secrets(&self, cluster: &Cluster) -> Result<Option<Arc<Opened>>, Error> {
        if let Some(opened) = self.lock_opened().get(&cluster.folder) {
            return Ok(Some(Arc::clone(opened)));
        }
        let Some(bundle) = self.bundles.open(cluster)? else { return Ok(None) };
        self.remember(cluster, bundle).map(Some)
    }

    /// Keeps secrets that were just made.
    ///
    /// # Errors
    /// They are not whole.
    pub fn remember(&self, cluster: &Cluster, bundle: Bundle) -> Result<Arc<Opened>, Error> {
        let admin = Identity::admin(&bundle).map_err(|error| {
            Error::failed(format!("use the secrets of cluster {}", cluster.name)).because(error)
        })?;
        let opened = Arc::new(Opened { bundle, admin });
        self.lock_opened().insert(cluster.folder.clone(), Arc::clone(&opened));
        Ok(opened)
    }

    fn lock_opened(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Opened>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the lock file as it is now.
    pub fn lock_file(&self) -> LockFile {
        self.lock_file.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the lock file; it is on the disk when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn update_lock_file(&self, change: impl FnOnce(&mut LockFile)) -> Result<(), Error> {
        let mut held = self.lock_file.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut held);
        held.write(&self.layout.lock_file())
            .map_err(|error: LockFileError| Error::failed("write the lock file").because(error))
    }

    /// Takes the lock file as it is on the disk now.
    ///
    /// # Errors
    /// It cannot be read, or is of another program.
    pub fn read_lock_file_again(&self) -> Result<(), Error> {
        let read = LockFile::read(&self.layout.lock_file())
            .map_err(|error| Error::failed("read the lock file").because(error))?;
        *self.lock_file.lock().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// Where the ISO of a version is kept.
    pub fn iso_path(&self, file: &str) -> PathBuf {
        self.layout.cache().join(&self.images.identity).join(file)
    }

    /// The address at which a node is dialled.
    ///
    /// # Errors
    /// It has none.
    pub fn address(&self, node: &Node) -> Result<IpAddr, Error> {
        node.addresses()
            .first()
            .copied()
            .ok_or_else(|| Error::failed(format!("node {} has no address", node.name)))
    }

    /// The Talos API of a node in maintenance mode; opens the connection.
    ///
    /// # Errors
    /// As [`Talos::connect`].
    pub async fn maintenance(&self, address: IpAddr) -> Result<Talos, talos_client::Error> {
        let config = TalosConfig::maintenance(address).dialer(self.dialer.clone()).timeouts(TALOS);
        Talos::connect(config).await
    }

    /// The Talos API of a node as its administrator; opens the connection.
    ///
    /// # Errors
    /// As [`Talos::connect`].
    pub async fn talos(
        &self,
        address: IpAddr,
        opened: &Opened,
    ) -> Result<Talos, talos_client::Error> {
        let config = TalosConfig::new(address, opened.admin.clone())
            .dialer(self.dialer.clone())
            .timeouts(TALOS);
        Talos::connect(config).await
    }

    /// The configuration of a node.
    ///
    /// # Errors
    /// A patch of the tree does not fit, or the secrets are not whole.
    pub fn machine_config(
        &self,
        cluster: &Cluster,
        node: &Node,
        opened: &Opened,
        disk: &DiskSelector,
    ) -> Result<MachineConfig, Error> {
        let failed = || Error::failed(format!("render the configuration of {}", node.name));
        let contract = cluster
            .versions
            .talos
            .to_string()
            .parse()
            .map_err(|error: talos_client::secrets::BundleError| failed().because(error))?;
        let role = match node.role {
            Role::ControlPlane => MachineType::ControlPlane,
            Role::Worker => MachineType::Worker,
        };
        let input = GenerateInput::new(
            contract,
            role,
            &cluster.name,
            &cluster.endpoint,
            &cluster.versions.kubernetes.to_string(),
        );
        let base = MachineConfig::generate(&opened.bundle, &input)
            .map_err(|error| failed().because(error))?;
        let image = self
            .images
            .installer_of(cluster)
            .ok_or_else(|| failed().detail("no installer image is known"))?;
        let config_input = ConfigInput {
            installer_image: image,
            disk: disk.clone(),
            manifests: manifests(cluster),
        };
        let own = documents(&self.site, cluster, node, &config_input);
        let mut patches = vec![
            Patch::of_documents("the configuration that the tree gives", &own)
                .map_err(|error| failed().because(error))?,
        ];
        let by_role = match node.role {
            Role::ControlPlane => &cluster.patches_controlplane,
            Role::Worker => &cluster.patches_worker,
        };
        for patch in cluster.patches_all.iter().chain(by_role).chain(&node.patches) {
            patches.push(
                Patch::parse(&patch.origin, &patch.text)
                    .map_err(|error| failed().because(error))?,
            );
        }
        base.patched(&patches).map_err(|error| failed().because(error))
    }
}

/// What a cluster starts with.
fn manifests(cluster: &Cluster) -> Vec<(String, String)> {
    if cluster.cni != Cni::Cilium {
        return Vec::new();
    }
    let image = cluster.versions.cilium_cli_image.as_deref();
    let image = image.unwrap_or(cilium::DEFAULT_CLI_IMAGE);
    cilium::manifest(cluster, image)
        .map(|text| ("cilium-install".to_owned(), text))
        .into_iter()
        .collect()
}
