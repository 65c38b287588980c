//! `config render`: the machine configurations that the tree gives its nodes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use talos_client::config::{Hidden, MachineConfig};
use zeroize::Zeroizing;

use super::super::inventory::named;
use super::super::{Context, Error};
use crate::compose::bundle::BundleStore;
use crate::compose::image::{self, Images};
use crate::compose::machine::selectors;
use crate::compose::render::{Chosen, Renderer, trial_bundle};
use crate::spec::hcl::did_you_mean;
use crate::spec::site::{Cluster, Node, Site};
use crate::state::{Layout, LockFile, Mode, write};

use talos_client::secrets::Bundle;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster by name, id or folder.
    pub cluster: String,
    /// Only these nodes; all where none is named.
    pub nodes: Vec<String>,
    /// Secrets in the clear.
    pub show_secrets: bool,
    /// A folder that the configurations are written to, one file a node.
    pub to: Option<PathBuf>,
    /// With the secrets of the lab.
    pub lab: bool,
}

/// What was rendered.
pub struct Report {
    /// The configurations by the names of their nodes.
    pub configs: BTreeMap<String, MachineConfig>,
    /// What was written.
    pub written: Vec<PathBuf>,
    /// The cluster has no secrets yet: others, which are thrown away, stand for them.
    pub is_trial: bool,
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report").field("written", &self.written).finish_non_exhaustive()
    }
}

/// Renders the configurations of a cluster. The system disk is named in the best way that the tree
/// knows; a node may have been installed with another one that it has.
///
/// # Errors
/// The tree has errors or no such cluster or node, its secrets cannot be opened, Talos would refuse a
/// configuration, or a file cannot be written.
pub fn render(context: &Context, options: &Options) -> Result<Report, Error> {
    let tree = Tree::open(context, options.lab)?;
    let found = named(&tree.site, std::slice::from_ref(&options.cluster))?;
    let [cluster] = found.as_slice() else {
        return Err(Error::usage(format!("{:?} names more than one cluster", options.cluster)));
    };
    let bundle = tree.bundle(cluster)?;
    let is_trial = bundle.is_none();
    if is_trial && options.show_secrets {
        return Err(Error::failed(format!("cluster {} has no secrets yet", cluster.name))
            .hint("`clusterctl secrets generate` makes them; without --show-secrets the configurations can be looked at"));
    }
    let bundle = bundle.map_or_else(trial_bundle, Ok)?;
    let mut report = Report { configs: BTreeMap::new(), written: Vec::new(), is_trial };
    for node in chosen(cluster, &options.nodes)? {
        let [disk, _] = selectors(node);
        let chosen = Chosen::first(disk, cluster, &tree.lock);
        let config = tree.config(cluster, node, &bundle, &chosen)?;
        let shown = match options.show_secrets {
            true => config,
            false => config.redacted_hiding(&hidden(cluster, node)),
        };
        report.configs.insert(node.name.clone(), shown);
    }
    // One that cannot be rendered leaves no file of the others.
    if let Some(dir) = &options.to {
        for (node, config) in &report.configs {
            let path = context.cwd.join(dir).join(format!("{node}.yaml"));
            let text: Zeroizing<String> = config.to_yaml();
            write(&path, text.as_bytes(), Mode::Private)
                .map_err(|error| Error::failed("write a configuration").because(error))?;
            report.written.push(path);
        }
    }
    Ok(report)
}

/// The values in the configuration of a node that must not be told.
fn hidden(cluster: &Cluster, node: &Node) -> Hidden {
    cluster.patches_of(node).flat_map(|patch| patch.text.secrets()).cloned().collect()
}

fn chosen<'a>(cluster: &'a Cluster, names: &[String]) -> Result<Vec<&'a Node>, Error> {
    let all: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| !all.contains(&name.as_str())) {
        return Err(no_node(name, &all));
    }
    let is_meant = |node: &&Node| names.is_empty() || names.contains(&node.name);
    Ok(cluster.nodes.iter().filter(is_meant).collect())
}

fn no_node(name: &str, known: &[&str]) -> Error {
    let error = Error::usage(format!("there is no node {name:?}"));
    match did_you_mean(name, known.iter().copied()) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint(format!("nodes are {}", known.join(", "))),
    }
}

/// A tree with everything that configurations are rendered from.
pub(super) struct Tree {
    site: Site,
    images: Images,
    store: BundleStore,
    lock: LockFile,
}

impl Tree {
    pub(super) fn open(context: &Context, lab: bool) -> Result<Self, Error> {
        let (root, loaded) = context.load_valid_as(lab)?;
        let mut site = loaded.site.ok_or_else(|| Error::failed("the tree gave no site"))?;
        context.open_patches(&root, lab, &mut site)?;
        let images = image::desired(&site)?;
        let store = BundleStore::of_site(&site, lab, &context.variables);
        let lock = LockFile::read(&Layout::new(&site.live, lab).lock_file())
            .map_err(|error| Error::failed("read the lock file").because(error))?;
        Ok(Self { site, images, store, lock })
    }

    fn bundle(&self, cluster: &Cluster) -> Result<Option<Bundle>, Error> {
        self.store.open(cluster)
    }

    fn config(
        &self,
        cluster: &Cluster,
        node: &Node,
        bundle: &Bundle,
        chosen: &Chosen,
    ) -> Result<MachineConfig, Error> {
        let renderer = Renderer { site: &self.site, images: &self.images };
        renderer.machine_config(cluster, node, bundle, chosen)
    }

    /// What the tree gives a node that has a configuration: the way in which its disk is told apart
    /// stays. With it what must not be told of it, and the minor version of Talos 1.
    pub(super) fn successor(
        &self,
        node: &str,
        current: &MachineConfig,
    ) -> Result<(MachineConfig, Hidden, u32), Error> {
        let all =
            || self.site.clusters.iter().flat_map(|one| one.nodes.iter().map(move |n| (one, n)));
        let Some((cluster, node)) = all().find(|(_, other)| other.name == node) else {
            let known: Vec<&str> = all().map(|(_, node)| node.name.as_str()).collect();
            return Err(no_node(node, &known));
        };
        let bundle = self.bundle(cluster)?.ok_or_else(|| {
            Error::failed(format!("cluster {} has no secrets", cluster.name))
                .hint("`clusterctl secrets generate` makes them, `secrets import` takes them over")
        })?;
        let chosen = Chosen::of(current, cluster, node, &self.lock);
        let config = self.config(cluster, node, &bundle, &chosen)?;
        let minor = u32::try_from(cluster.versions.talos.minor).unwrap_or(u32::MAX);
        Ok((config, hidden(cluster, node), minor))
    }
}
