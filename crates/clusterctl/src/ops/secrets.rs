//! `secrets`: the bundles of clusters, beside their `cluster.hcl`.
//!
//! A bundle is written once, encrypted, and never over another one: it is the one thing of a
//! cluster that nothing can make again. The lab has bundles of its own; those of the tree stay shut
//! there.

use std::path::{Path, PathBuf};

use talos_client::secrets::Bundle;

use super::inventory::{inventory, named};
use super::{Context, Error};
use crate::compose::bundle::{BundleStore, Written, authority_of};
use crate::compose::custody;
use crate::spec::site::{Cluster, Site};
use crate::state::{Layout, LockFile, Mode, write_new};

/// What became of the bundles.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Bundles that were written.
    pub written: Vec<PathBuf>,
    /// Bundles that were there before; they are untouched.
    pub kept: Vec<PathBuf>,
    /// Written bundles that no identity at hand opens.
    pub sealed: Vec<PathBuf>,
}

impl Report {
    fn note(&mut self, written: Written) {
        if !written.opens {
            self.sealed.push(written.path.clone());
        }
        self.written.push(written.path);
    }
}

fn store(context: &Context, site: &Site, lab: bool) -> Result<BundleStore, Error> {
    if lab {
        let layout = Layout::new(&site.live, lab);
        layout.prepare().map_err(|error| Error::failed("make the lab's folder").because(error))?;
    }
    Ok(BundleStore::of_site(site, lab, &context.variables))
}

/// Makes bundles for the clusters that have none; all clusters when none is named.
///
/// # Errors
/// The tree has errors, a cluster is not there or was made before, no rule of a `.sops.yaml` fits, or
/// a file cannot be written. Nothing that was there is changed.
pub fn generate(context: &Context, clusters: &[String], lab: bool) -> Result<Report, Error> {
    let site = inventory(context, clusters)?;
    let store = store(context, &site, lab)?;
    let (mut report, mut missing) = (Report::default(), Vec::new());
    for cluster in &site.clusters {
        if store.is_there(cluster)? {
            report.kept.push(store.path(cluster));
        } else {
            never_made(&Layout::new(&site.live, lab), cluster)?;
            missing.push(cluster);
        }
    }
    for cluster in missing {
        report.note(store.create(cluster)?.1);
    }
    Ok(report)
}

/// Other secrets for a cluster that was made would lock its owner out of it.
fn never_made(layout: &Layout, cluster: &Cluster) -> Result<(), Error> {
    let failed = |error| Error::failed("read the lock file").because(error);
    let pin = LockFile::read(&layout.lock_file()).map_err(failed)?.cluster(cluster.id).is_some();
    let files = [layout.talosconfig(&cluster.folder), layout.kubeconfig(&cluster.folder)];
    let witness = match files.iter().find(|path| path.exists()) {
        _ if pin => layout.lock_file(),
        Some(path) => path.clone(),
        None => return Ok(()),
    };
    Err(Error::refused(format!(
        "cluster {} was made before, says {}, and its bundle is not there",
        cluster.name,
        witness.display()
    ))
    .hint(
        "restore its secrets.sops.yaml, or take the cluster over with `clusterctl secrets import`; \
         if it is gone for good, `clusterctl destroy` forgets it",
    ))
}

/// Takes over the bundle of a cluster that runs.
///
/// # Errors
/// The cluster is not there or has a bundle, the file is neither a bundle nor the configuration
/// of a control plane or is not complete, or another cluster has the same authority.
pub fn import(context: &Context, cluster: &str, file: &Path, lab: bool) -> Result<Report, Error> {
    let site = inventory(context, &[])?;
    let chosen = named(&site, &[cluster.to_owned()])?;
    let [cluster] = chosen.as_slice() else {
        return Err(Error::usage(format!("{cluster:?} names more than one cluster")));
    };
    let store = store(context, &site, lab)?;
    if store.is_there(cluster)? {
        return Err(Error::refused(format!("{} exists", store.path(cluster).display()))
            .hint("a bundle is never written over; move it away if it is not the right one"));
    }
    let source = context.cwd.join(file);
    let text = store.plain_text(&source)?;
    let failed = |error: talos_client::secrets::BundleError| {
        Error::failed(format!("read {}", source.display())).because(error)
    };
    let bundle = if is_machine_config(&text) {
        Bundle::from_machine_config(&text).map_err(failed)?
    } else {
        Bundle::parse(&text).map_err(failed)?
    };
    let problems = bundle.problems();
    if !problems.is_empty() {
        let mut error = Error::refused(format!("{} is no whole bundle", source.display()));
        for problem in problems {
            error = error.detail(problem);
        }
        return Err(error.hint("take the configuration of a control plane, not of a worker"));
    }
    let authority = authority_of(&bundle)?;
    for other in site.clusters.iter().filter(|other| other.folder != cluster.folder) {
        if store.is_there(other)? && authority_in(&store, other)?.as_ref() == Some(&authority) {
            return Err(Error::refused(format!(
                "{} holds the authority of cluster {}",
                source.display(),
                other.name
            ))
            .detail(format!("its bundle is {}", store.path(other).display()))
            .hint("two clusters with one authority trust each other's administrators"));
        }
    }
    let mut report = Report::default();
    report.note(store.keep(cluster, &bundle)?);
    Ok(report)
}

/// Writes a bundle in the clear, as talosctl reads it; gives the file.
///
/// # Errors
/// The cluster or its bundle is not there, no identity opens it, it belongs to another cluster,
/// or the file exists.
pub fn export(context: &Context, cluster: &str, file: &Path, lab: bool) -> Result<PathBuf, Error> {
    let site = inventory(context, &[cluster.to_owned()])?;
    let [cluster] = site.clusters.as_slice() else {
        return Err(Error::usage(format!("{cluster:?} names more than one cluster")));
    };
    let store = store(context, &site, lab)?;
    let bundle = store.open(cluster)?.ok_or_else(|| {
        Error::failed(format!("cluster {} has no bundle", cluster.name))
            .detail(format!("there is no {}", store.path(cluster).display()))
            .hint("`clusterctl secrets generate` makes one, `secrets import` takes one over")
    })?;
    let target = context.cwd.join(file);
    write_new(&target, bundle.to_yaml().as_bytes(), Mode::Private)
        .map_err(|error| Error::failed("write the bundle").because(error))?;
    Ok(target)
}

/// The authority of a cluster's bundle, as far as it can be told.
fn authority_in(store: &BundleStore, cluster: &Cluster) -> Result<Option<String>, Error> {
    Ok(match store.clear(cluster)? {
        Some(clear) => Some(clear.ca_sha256),
        None => custody::opened(store, cluster).ok(),
    })
}

/// Whether a text is a machine configuration rather than a bundle.
fn is_machine_config(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("machine:"))
}
