//! `new cluster`: a folder with the one file that a cluster must own.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Context, Error};
use crate::state::{Mode, write};

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the cluster.
    pub name: String,
    /// Its id; the next free one when it is not given.
    pub id: Option<u16>,
    /// Control-plane nodes.
    pub controlplanes: u16,
    /// Workers.
    pub workers: u16,
}

/// Writes the folder; gives the file.
///
/// # Errors
/// There is no tree, it has errors, or name or id are taken.
pub fn new_cluster(context: &Context, options: &Options) -> Result<PathBuf, Error> {
    let (root, loaded) = context.load_valid()?;
    let Some(site) = loaded.site else { return Err(Error::failed("the tree gave no site")) };
    let fits = !options.name.is_empty()
        && options.name.len() <= 50
        && options.name.starts_with(|c: char| c.is_ascii_lowercase())
        && !options.name.ends_with('-')
        && options.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !fits {
        return Err(Error::usage(format!("{:?} is no name for a cluster", options.name))
            .hint("lower-case letters, digits and hyphens, a letter first (RFC 1123)"));
    }
    if options.controlplanes == 0 {
        return Err(Error::usage("a cluster needs at least one control-plane node"));
    }
    if let Some(other) = site.clusters.iter().find(|cluster| cluster.name == options.name) {
        return Err(Error::refused(format!("cluster {:?} exists", options.name))
            .hint(format!("see {}", other.file.display())));
    }
    let taken: BTreeSet<u16> = site
        .clusters
        .iter()
        .flat_map(|cluster| [cluster.id, cluster.tenant_id])
        .chain(site.unmanaged.iter().filter_map(|other| other.id))
        .collect();
    let id = match options.id {
        Some(id) if !(1..=999).contains(&id) => {
            return Err(Error::usage(format!("id {id} is not 1 to 999")));
        }
        Some(id) if taken.contains(&id) => {
            return Err(Error::refused(format!("id {id} is taken")).hint("leave --id out"));
        }
        Some(id) => id,
        // 255 is the octet of the loopbacks.
        None => (101..=254)
            .chain(1..=100)
            .find(|id| !taken.contains(id))
            .ok_or_else(|| Error::refused("no id is free"))?,
    };
    let path = root.live.join(format!("clusters/cluster-{id}/cluster.hcl"));
    if path.exists() {
        return Err(Error::refused(format!("{} exists", path.display())));
    }
    let text = format!(
        "# The only file that a cluster must own; see `clusterctl inventory {name}`.\n\nlocals {{\n  \
         cluster_id   = {id}\n  cluster_name = \"{name}\"\n\n  controlplanes = {}\n  workers       = {}\n\n  \
         network = {{\n    use_sdn = {sdn}\n    use_vip = true\n  }}\n}}\n",
        options.controlplanes,
        options.workers,
        name = options.name,
        // Without a zone the nodes lie on the site's own bridge.
        sdn = site.sdn.is_some(),
    );
    write(&path, text.as_bytes(), Mode::Shared)
        .map_err(|error| Error::failed("write the cluster").because(error))?;
    Ok(path)
}
