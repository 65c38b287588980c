//! What a run is about: a path of the tree is a target.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::network;
use crate::error::Error;
use crate::spec::site::Site;
use crate::state::LedgerEntry;

/// The stage of the zone, its controller and networks.
pub const SDN: &str = "common/0-sdn-setup";
/// The stage of an extension that is made here.
pub const EXTENSION: &str = "artifacts/extension";
/// The stage of the installer and the ISO.
pub const IMAGES: &str = "artifacts/images";
/// The stage that puts the ISO on the Proxmox nodes.
pub const REGISTRY: &str = "artifacts/registry";

/// The stages of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Virtual machines.
    Compute,
    /// Machine configuration.
    Config,
    /// etcd, Kubernetes, the files to reach them.
    Bootstrap,
}

impl Stage {
    /// All, in order.
    pub const ALL: [Self; 3] = [Self::Compute, Self::Config, Self::Bootstrap];

    /// The stage's folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Config => "config",
            Self::Bootstrap => "bootstrap",
        }
    }

    /// The stage of a cluster as a path of the tree.
    pub fn path(self, folder: &str) -> String {
        format!("clusters/{folder}/{}", self.name())
    }
}

/// How far a part of the tree is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Extent {
    /// Not at all.
    #[default]
    None,
    /// Where something that is meant needs it and it is not there yet; what exists stays.
    IfAbsent,
    /// Wholly.
    Full,
}

/// What a run is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As the user named it, relative to the root; empty for everything.
    pub names: Vec<String>,
    /// The zone and its networks.
    pub sdn: Extent,
    /// The extension that is made here.
    pub extension: Extent,
    /// Installer and ISO.
    pub images: Extent,
    /// The ISO on the nodes.
    pub registry: Extent,
    /// The stages of each cluster, by folder; clusters that are not meant are absent.
    pub clusters: BTreeMap<String, [Extent; 3]>,
}

/// What paths are looked for in.
struct Tree<'a> {
    site: &'a Site,
    has_networks: bool,
}

impl Target {
    /// Everything in a tree.
    pub fn everything(site: &Site) -> Self {
        let clusters =
            site.clusters.iter().map(|cluster| (cluster.folder.clone(), [Extent::Full; 3]));
        Self {
            names: Vec::new(),
            sdn: Extent::Full,
            extension: Extent::Full,
            images: Extent::Full,
            registry: Extent::Full,
            clusters: clusters.collect(),
        }
    }

    /// What `paths` mean, seen from `cwd`; the working folder itself when there are none. A path
    /// may be relative to the working folder or to the root; a cluster may be called by its name. The
    /// networks are a target as long as the tree or the `ledger` has some.
    ///
    /// # Errors
    /// A path is no target, or lies outside of the tree.
    pub fn of(
        site: &Site,
        ledger: &BTreeSet<LedgerEntry>,
        cwd: &Path,
        paths: &[String],
    ) -> Result<Self, Error> {
        let tree = Tree { site, has_networks: network::has_any(site, ledger) };
        let mut target = Self {
            names: Vec::new(),
            sdn: Extent::None,
            extension: Extent::None,
            images: Extent::None,
            registry: Extent::None,
            clusters: BTreeMap::new(),
        };
        if paths.is_empty() {
            let here = relative(&site.live, cwd).unwrap_or_default();
            target.add(&tree, &here)?;
        }
        for path in paths {
            let wanted = resolve(&tree, cwd, path)?;
            target.add(&tree, &wanted)?;
        }
        if target.names.iter().any(String::is_empty) {
            return Ok(Self::everything(site));
        }
        target.add_upstream();
        Ok(target)
    }

    /// How far a stage of a cluster is meant.
    pub fn stage(&self, folder: &str, stage: Stage) -> Extent {
        self.clusters
            .get(folder)
            .and_then(|extents| extents.get(stage as usize))
            .copied()
            .unwrap_or_default()
    }

    fn add(&mut self, tree: &Tree<'_>, path: &Path) -> Result<(), Error> {
        let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
        match parts.as_slice() {
            [] => {}
            ["common"] | ["common", "0-sdn-setup", ..] => {
                if !tree.has_networks {
                    return Err(Error::usage(format!("the tree has no {SDN}"))
                        .hint("an sdn.hcl in that folder describes the zone and its networks"));
                }
                self.sdn = Extent::Full;
            }
            ["artifacts"] => {
                (self.images, self.registry) = (Extent::Full, Extent::Full);
                self.extension = Extent::Full;
            }
            ["artifacts", "extension", ..] => {
                if tree.site.extension.is_none() {
                    return Err(Error::usage(format!("the tree has no {EXTENSION}"))
                        .hint("an extension.hcl in that folder describes an extension"));
                }
                self.extension = Extent::Full;
            }
            ["artifacts", "images", ..] => self.images = Extent::Full,
            ["artifacts", "registry", ..] => self.registry = Extent::Full,
            ["clusters"] => {
                for cluster in &tree.site.clusters {
                    self.clusters.insert(cluster.folder.clone(), [Extent::Full; 3]);
                }
            }
            ["clusters", folder, rest @ ..] => self.add_cluster(tree, folder, rest)?,
            _ => return Err(no_target(tree, &path.display().to_string())),
        }
        self.names.push(parts.join("/"));
        Ok(())
    }

    fn add_cluster(&mut self, tree: &Tree<'_>, folder: &str, rest: &[&str]) -> Result<(), Error> {
        if !tree.site.clusters.iter().any(|cluster| cluster.folder == folder) {
            if let Some(other) = tree.site.unmanaged.iter().find(|other| other.folder == folder) {
                return Err(Error::usage(format!(
                    "clusters/{folder} is not managed here: {}",
                    other.reason
                )));
            }
            return Err(no_target(tree, &format!("clusters/{folder}")));
        }
        let extents = self.clusters.entry(folder.to_owned()).or_insert([Extent::None; 3]);
        match rest {
            [] | ["cluster.hcl"] => *extents = [Extent::Full; 3],
            [name, ..] => {
                let stage = Stage::ALL.into_iter().find(|stage| stage.name() == *name);
                let place = stage.and_then(|stage| extents.get_mut(stage as usize));
                match place {
                    Some(extent) => *extent = Extent::Full,
                    None => return Err(no_target(tree, &format!("clusters/{folder}/{name}"))),
                }
            }
        }
        Ok(())
    }

    /// Adds what the meant stages need, where it is absent.
    fn add_upstream(&mut self) {
        for [compute, config, bootstrap] in self.clusters.values_mut() {
            if *bootstrap > Extent::None {
                *config = (*config).max(Extent::IfAbsent);
            }
            if *config > Extent::None {
                *compute = (*compute).max(Extent::IfAbsent);
            }
        }
        if self.clusters.values().flatten().any(|extent| *extent > Extent::None) {
            self.sdn = self.sdn.max(Extent::IfAbsent);
            self.registry = self.registry.max(Extent::IfAbsent);
        }
        if self.registry > Extent::None {
            self.images = self.images.max(Extent::IfAbsent);
        }
        if self.images > Extent::None {
            self.extension = self.extension.max(Extent::IfAbsent);
        }
    }
}

/// `path` relative to `root`; `None` when it lies elsewhere. The root and what is above it give
/// the empty path: the working folder may be the repository.
fn relative(root: &Path, path: &Path) -> Option<PathBuf> {
    let canonical = |path: &Path| fs_err::canonicalize(path).unwrap_or_else(|_| clean(path));
    let (root, path) = (canonical(root), canonical(path));
    path.strip_prefix(&root).map(Path::to_path_buf).ok()
}

/// Takes `.` and `..` out of a path without asking the disk: a stage folder need not exist.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

fn resolve(tree: &Tree<'_>, cwd: &Path, path: &str) -> Result<PathBuf, Error> {
    let root = fs_err::canonicalize(&tree.site.live).unwrap_or_else(|_| clean(&tree.site.live));
    let cwd = fs_err::canonicalize(cwd).unwrap_or_else(|_| clean(cwd));
    let is_target = |path: &Path| {
        matches!(
            path.iter().next().and_then(|part| part.to_str()),
            None | Some("common" | "artifacts" | "clusters")
        )
    };
    let by_cwd = clean(&cwd.join(path));
    if let Ok(found) = by_cwd.strip_prefix(&root)
        && is_target(found)
    {
        return Ok(found.to_path_buf());
    }
    let by_root = clean(&root.join(path));
    if let Ok(found) = by_root.strip_prefix(&root)
        && !found.as_os_str().is_empty()
        && is_target(found)
    {
        return Ok(found.to_path_buf());
    }
    let trimmed = path.trim_end_matches('/');
    let (name, rest) = trimmed.split_once('/').unwrap_or((trimmed, ""));
    let named = tree.site.clusters.iter().find(|cluster| {
        cluster.name == name || cluster.folder == name || cluster.id.to_string() == name
    });
    match named {
        Some(cluster) => Ok(Path::new("clusters").join(&cluster.folder).join(rest)),
        None => Err(no_target(tree, path)),
    }
}

fn no_target(tree: &Tree<'_>, path: &str) -> Error {
    let mut known = vec![IMAGES.to_owned(), REGISTRY.to_owned()];
    if tree.has_networks {
        known.push(SDN.to_owned());
    }
    if tree.site.extension.is_some() {
        known.push(EXTENSION.to_owned());
    }
    known.extend(tree.site.clusters.iter().map(|cluster| format!("clusters/{}", cluster.folder)));
    known.sort();
    Error::usage(format!("{path:?} is no target"))
        .hint(format!("targets are {} and the stages below a cluster", known.join(", ")))
        .hint("a cluster may also be called by its name")
}
