//! What opens the nodes of a site and how they are reached: the tree, our files, the secrets, the
//! dialler. Nothing in it knows Proxmox, so verbs that hand out access to a cluster ask for no
//! credentials of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use talos_client::secrets::Bundle;
use talos_client::{Client as Talos, ClientConfig as TalosConfig, Dialer, Identity, Timeouts};

use super::bundle::BundleStore;
use super::kubernetes::Dial;
use crate::error::Error;
use crate::spec::site::{Cluster, Node, Site};
use crate::state::Layout;

/// The site, its secrets, and the way to its nodes.
pub struct Reach {
    /// The site.
    pub site: Site,
    /// Our files.
    pub layout: Layout,
    /// The clusters' secrets.
    pub bundles: BundleStore,
    /// Where the Kubernetes API is reached.
    pub dial: Dial,
    dialer: Dialer,
    opened: Mutex<BTreeMap<String, Arc<Opened>>>,
}

/// The secrets of a cluster with the identity that they give us.
#[derive(Debug)]
pub struct Opened {
    /// The bundle.
    pub bundle: Bundle,
    /// An administrator of the Talos API.
    pub admin: Identity,
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reach").field("site", &self.site.name).finish_non_exhaustive()
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

impl Reach {
    /// The way to the nodes of a site; in the lab, to the sockets that stand for their addresses.
    /// Nothing is dialled yet.
    pub fn new(
        site: Site,
        variables: &BTreeMap<String, String>,
        lab: bool,
        sockets: BTreeMap<(IpAddr, u16), SocketAddr>,
    ) -> Self {
        let layout = Layout::new(&site.live, lab);
        let bundles = BundleStore::of_site(&site, lab, variables);
        let dialer = if lab { Dialer::mapped(sockets.clone()) } else { Dialer::direct() };
        let opened = Mutex::default();
        Self { site, layout, bundles, dial: Arc::new(sockets), dialer, opened }
    }

    /// Whether this is the lab.
    pub fn is_lab(&self) -> bool {
        self.layout.is_lab()
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
}
