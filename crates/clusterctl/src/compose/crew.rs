//! Everything that a look at a site and a change of it need: clients, keys, places.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use imagefactory::{
    FactoryClient, Fetcher, RegistryClient, RegistryOptions, TransportOptions, Trust,
};
use proxmox_client::{Client as Proxmox, ClientConfig};
use talos_client::config::{Hidden, MachineConfig};
use talos_client::secrets::Bundle;

use super::image;
use super::image::Images;
use super::machine::selectors;
use super::reach::{Opened, Reach};
use super::render::{Chosen, Renderer, trial_bundle};
use crate::error::Error;
use crate::spec::site::{Cluster, Node, Site};
use crate::state::{ClusterPin, LockFile, LockFileError};

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

impl Detour {
    /// How the factory and registries are reached on it.
    pub fn transport(&self) -> TransportOptions {
        let mut options =
            TransportOptions { dial: self.hosts.clone(), ..TransportOptions::default() };
        if let Some(authorities) = &self.authorities {
            options.trust = Trust::Authorities(authorities.clone().into_bytes());
        }
        options
    }
}

/// Clients, keys and places.
pub struct Crew {
    /// The site with what opens and reaches its nodes; its fields and methods are those of the crew.
    pub reach: Reach,
    /// The images that the tree asks for.
    pub images: Images,
    /// The Proxmox API.
    pub proxmox: Proxmox,
    /// The image factory.
    pub factory: FactoryClient,
    /// Files by URL.
    pub fetcher: Fetcher,
    /// Registries.
    pub registry: RegistryClient,
    /// Mirrors of the tree that the registries' client does not ask, each with the reason.
    pub mirrors_not_asked: Vec<String>,
    /// Who is at work, for the lock.
    pub site_key: String,
    lock_file: Mutex<LockFile>,
    /// Secrets to try configurations with; see [`Crew::try_config`].
    trial: OnceLock<Bundle>,
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew").field("site", &self.site.name).finish_non_exhaustive()
    }
}

impl Deref for Crew {
    type Target = Reach;

    fn deref(&self) -> &Reach {
        &self.reach
    }
}

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
        let images = image::desired(&site)?;
        let failed = |what: &str| Error::failed(format!("prepare {what}"));
        let detour = detour.unwrap_or_default();
        let transport = detour.transport();
        let mut factory = FactoryClient::new(images.factory.clone(), transport.clone())
            .map_err(|error| failed("the image factory's client").because(error))?;
        let fetcher = Fetcher::new(transport.clone())
            .map_err(|error| failed("the client that fetches packages").because(error))?;
        let credentials = imagefactory::credentials(variables)
            .map_err(|error| failed("the credentials of registries").because(error))?;
        // A private factory takes what its registry takes.
        let host = images.factory.host_str().unwrap_or_default();
        let named = images.factory.port().map(|port| format!("{host}:{port}"));
        if let Some(credential) = credentials.get(named.as_deref().unwrap_or(host)) {
            factory = factory.with_authorization(credential.header());
        }
        let mut options = RegistryOptions { transport, credentials, ..RegistryOptions::default() };
        let mut mirrors_not_asked = Vec::new();
        if !lab {
            let (mirrors, unreadable) = image::mirrors(&site.network.registry_mirrors);
            let why = |text: String| format!("{text} (no http or https URL)");
            mirrors_not_asked.extend(unreadable.into_iter().map(why));
            options.mirrors = mirrors;
            options = options.loopback_plain();
        }
        let registry = RegistryClient::new(options)
            .map_err(|error| failed("the registries' client").because(error))?;
        let plain = registry.mirrors_without_tls();
        mirrors_not_asked.extend(plain.into_iter().map(|url| format!("{url} (no TLS)")));
        let proxmox =
            Proxmox::new(proxmox).map_err(|error| failed("the Proxmox client").because(error))?;
        let reach = Reach::new(site, variables, lab, detour.talos);
        let lock_file = LockFile::read(&reach.layout.lock_file())
            .map_err(|error| Error::failed("read the lock file").because(error))?;
        Ok(Self {
            site_key: reach.site.name.clone(),
            reach,
            images,
            proxmox,
            factory,
            fetcher,
            registry,
            mirrors_not_asked,
            lock_file: Mutex::new(lock_file),
            trial: OnceLock::new(),
        })
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

    /// Writes down what a cluster is made with: its versions, whether its etcd was seen to run, and
    /// the image with which it installs Cilium, where a control plane is given one. What was seen or
    /// given before stays.
    ///
    /// # Errors
    /// As [`Self::update_lock_file`].
    pub fn pin(&self, cluster: &Cluster, etcd: bool, image: Option<&str>) -> Result<(), Error> {
        self.update_lock_file(|lock| {
            let known = lock.cluster(cluster.id);
            let before = known.and_then(|pin| pin.cilium_cli_image.clone());
            let pin = ClusterPin {
                cluster_id: cluster.id,
                talos_version: format!("v{}", cluster.versions.talos),
                kubernetes_version: format!("v{}", cluster.versions.kubernetes),
                etcd_started: etcd || known.is_some_and(|pin| pin.etcd_started),
                cilium_cli_image: image.map(str::to_owned).or(before),
            };
            lock.clusters.insert(cluster.name.clone(), pin);
        })
    }

    /// Writes down that the etcd of a cluster was seen to run, and what its control planes were seen
    /// to install Cilium with.
    ///
    /// # Errors
    /// As [`Self::update_lock_file`].
    pub fn note_etcd(&self, cluster: &Cluster, seen: Option<&str>) -> Result<(), Error> {
        self.note(cluster, true, seen)
    }

    /// Writes down what its control planes were seen to install Cilium with: those that come later
    /// are given the same.
    ///
    /// # Errors
    /// As [`Self::update_lock_file`].
    pub fn note_image(&self, cluster: &Cluster, seen: &str) -> Result<(), Error> {
        self.note(cluster, false, Some(seen))
    }

    /// The versions that the cluster was made with stay as they are.
    fn note(&self, cluster: &Cluster, etcd: bool, seen: Option<&str>) -> Result<(), Error> {
        let is_known = |pin: &ClusterPin| {
            (pin.etcd_started || !etcd)
                && (seen.is_none() || pin.cilium_cli_image.as_deref() == seen)
        };
        match self.lock_file().cluster(cluster.id) {
            None => return self.pin(cluster, etcd, seen),
            Some(pin) if is_known(pin) => return Ok(()),
            Some(_) => {}
        }
        self.update_lock_file(|lock| {
            for pin in lock.clusters.values_mut().filter(|pin| pin.cluster_id == cluster.id) {
                pin.etcd_started |= etcd;
                if let Some(image) = seen {
                    pin.cilium_cli_image = Some(image.to_owned());
                }
            }
        })
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

    /// The configuration of a node.
    ///
    /// # Errors
    /// A patch of the tree does not fit, the secrets are not whole, or Talos would refuse it.
    pub fn machine_config(
        &self,
        cluster: &Cluster,
        node: &Node,
        opened: &Opened,
        chosen: &Chosen,
    ) -> Result<MachineConfig, Error> {
        self.renderer().machine_config(cluster, node, &opened.bundle, chosen)
    }

    fn renderer(&self) -> Renderer<'_> {
        Renderer { site: &self.reach.site, images: &self.images }
    }

    /// Why a node could not be configured, told before anything of it exists: with the secrets of its
    /// cluster, or with some that are thrown away where there are none yet.
    ///
    /// # Errors
    /// As [`Self::machine_config`].
    pub fn try_config(&self, cluster: &Cluster, node: &Node) -> Result<(), Error> {
        let [disk, _] = selectors(node);
        let chosen = Chosen::first(disk, cluster, &self.lock_file());
        if let Some(opened) = self.secrets(cluster)? {
            return self.machine_config(cluster, node, &opened, &chosen).map(drop);
        }
        let bundle = match self.trial.get() {
            Some(bundle) => bundle,
            None => {
                let made = trial_bundle()?;
                self.trial.get_or_init(|| made)
            }
        };
        self.renderer().machine_config(cluster, node, bundle, &chosen).map(drop)
    }

    /// The values in the configuration of a node that come from encrypted files or are marked as
    /// sensitive.
    pub fn hidden(cluster: &Cluster, node: &Node) -> Hidden {
        cluster.patches_of(node).flat_map(|patch| patch.text.secrets()).cloned().collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proxmox_client::Auth;

    use super::*;
    use crate::compose::config::tests::site_of;

    pub(crate) fn crew(minor: u32, cluster: &str) -> Crew {
        crew_of(site_of(minor, "", cluster))
    }

    fn crew_of(site: Site) -> Crew {
        let auth = Auth::token("a@pve!b=c").unwrap();
        let proxmox = ClientConfig::new("https://127.0.0.1:1", auth);
        Crew::new(site, &proxmox, &BTreeMap::new(), None).unwrap()
    }

    #[test]
    fn a_worker_settles_no_image_and_nothing_that_was_seen_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut site = site_of(12, "", "controlplanes = 1\nworkers = 1\n");
        site.live = dir.path().to_path_buf();
        let crew = crew_of(site);
        let cluster = &crew.site.clusters[0];
        let found = || {
            let pin = crew.lock_file().cluster(cluster.id).cloned().unwrap();
            (pin.etcd_started, pin.cilium_cli_image)
        };
        let (tag, digest) = ("cli:v1", "cli:v1@sha256:aa");
        crew.pin(cluster, false, None).unwrap();
        assert_eq!(found(), (false, None));
        crew.pin(cluster, false, Some(digest)).unwrap();
        crew.note_etcd(cluster, None).unwrap();
        assert_eq!(found(), (true, Some(digest.to_owned())));
        // A worker that is configured while etcd starts.
        crew.pin(cluster, false, None).unwrap();
        assert_eq!(found(), (true, Some(digest.to_owned())));
        // What runs is what counts.
        crew.note_image(cluster, tag).unwrap();
        assert_eq!(found(), (true, Some(tag.to_owned())));
        // Where the lock file was lost, a cluster without etcd is no cluster with it.
        crew.update_lock_file(|lock| lock.clusters.clear()).unwrap();
        crew.note_image(cluster, tag).unwrap();
        assert_eq!(found(), (false, Some(tag.to_owned())));
    }

    fn rendered(crew: &Crew, node: usize) -> Result<MachineConfig, Error> {
        let cluster = &crew.site.clusters[0];
        crew.try_config(cluster, &cluster.nodes[node])?;
        let [disk, _] = selectors(&cluster.nodes[node]);
        let chosen = Chosen::first(disk, cluster, &crew.lock_file());
        let (node, bundle) = (&cluster.nodes[node], crew.trial.get().unwrap());
        crew.renderer().machine_config(cluster, node, bundle, &chosen)
    }

    const PATCHES: &str = "controlplanes = 1\nworkers = 1\nconfig_patches = {
  all          = [yamlencode({ machine = { nodeLabels = { a = \"all\", b = \"all\", c = \"all\" } } })]
  controlplane = { machine = { nodeLabels = { b = \"role\", c = \"role\" } } }
  worker       = [\"machine:\\n  nodeLabels:\\n    b: worker\\n\"]
}
node_overrides = { solcp01 = { config_patches = [yamlencode({ machine = { nodeLabels = { c = \"node\" } } })] } }
";

    #[test]
    fn patches_are_those_of_all_then_of_the_role_then_of_the_node() {
        for minor in [11, 12, 13] {
            let crew = crew(minor, PATCHES);
            let label = |node: usize, name: &str| {
                let config = rendered(&crew, node).unwrap();
                config.value(&format!("/machine/nodeLabels/{name}")).cloned().unwrap()
            };
            let labels = |node| ["a", "b", "c"].map(|name| label(node, name));
            assert_eq!(labels(0), ["all", "role", "node"]);
            assert_eq!(labels(1), ["all", "worker", "all"]);
        }
    }

    #[test]
    fn patches_have_the_last_word_and_add_documents() {
        let patches = "controlplanes = 1\nconfig_patches = { all = [
  yamlencode({ machine = { install = { image = \"mine.example/installer:v9\" } } }),
  yamlencode({ apiVersion = \"v1alpha1\", kind = \"VLANConfig\", name = \"net0.7\", vlanID = 7, parent = \"net0\", up = true }),
  yamlencode({ apiVersion = \"v1alpha1\", kind = \"LinkConfig\", name = \"net0\", mtu = 1400 }),
] }
";
        let config = rendered(&crew(13, patches), 0).unwrap();
        assert_eq!(config.value("/machine/install/image").unwrap(), "mine.example/installer:v9");
        assert_eq!(config.document("VLANConfig", "net0.7").unwrap()["vlanID"], 7);
        let link = config.document("LinkConfig", "net0").unwrap();
        assert_eq!((&link["mtu"], link["routes"].as_array().unwrap().len()), (&1400.into(), 2));
    }

    #[test]
    fn what_talos_would_refuse_is_told_before_anything_is_sent() {
        let patch = "controlplanes = 1\nconfig_patches = { all = [yamlencode({ machine = { kubelet = { nodeIP = { validSubnets = [\"nonsense\"] } } } })] }\n";
        let error = rendered(&crew(12, patch), 0).unwrap_err();
        let text = crate::error::chain(&error);
        assert!(text.contains("solcp01") && text.contains("Talos would refuse it"), "{text}");
        assert!(text.contains("nonsense"), "{text}");
        // Nothing of a configuration with secrets in it is told.
        let config = MachineConfig::parse("version: v1alpha1\nmachine:\n  type: worker\n  kubelet:\n    nodeIP:\n      validSubnets: [nonsense]\n").unwrap();
        let told = crate::compose::config::refusals(&config, 12, true).join("; ");
        assert!(!told.is_empty() && !told.contains("nonsense"), "{told}");
    }

    #[test]
    fn cilium_starts_with_the_cluster_and_only_where_it_is_wanted() {
        let manifests = |cluster: &str| {
            let config = rendered(&crew(13, cluster), 0).unwrap();
            config.value("/cluster/inlineManifests").cloned()
        };
        let found = manifests("controlplanes = 1\n").unwrap();
        assert_eq!(found[0]["name"], "cilium-install");
        assert!(found[0]["contents"].as_str().unwrap().contains("--version=1.18.4"));
        assert_eq!(manifests("controlplanes = 1\ncni = \"flannel\"\n"), None);
        assert_eq!(manifests("controlplanes = 1\ncni = \"none\"\n"), None);
    }
}
