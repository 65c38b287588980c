//! What is wrong with the bundles of a site: one of another cluster, two with one authority, one
//! that is not encrypted.

use std::collections::BTreeMap;
use std::path::PathBuf;

use talos_client::secrets::Bundle;

use super::bundle::{BundleStore, Clear, authority_of, clear_fields, is_sealed, read_failed};
use crate::error::{Error, chain};
use crate::spec::model::Level;
use crate::spec::site::Cluster;
use crate::state::read_text_if_present;

/// Something wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleProblem {
    /// How bad it is.
    pub level: Level,
    /// Its code among the findings.
    pub code: &'static str,
    /// The bundle.
    pub path: PathBuf,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub help: String,
}

/// Whether bundles may be opened to compare them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Nothing is opened: only what is readable counts.
    Unused,
    /// What does not say in the clear whose it is is opened, where a key is at hand.
    AtHand,
}

/// Looks at the bundles of a site. One of another cluster is a copied folder; two clusters with one
/// authority trust each other's administrators.
///
/// # Errors
/// A file is there and cannot be read.
pub fn problems(
    store: &BundleStore,
    clusters: &[Cluster],
    keys: Keys,
) -> Result<Vec<BundleProblem>, Error> {
    let mut found = Vec::new();
    let mut authorities: BTreeMap<String, PathBuf> = BTreeMap::new();
    for cluster in clusters {
        let path = store.path(cluster);
        let Some(text) = read_text_if_present(&path).map_err(read_failed)? else { continue };
        let clear = clear_fields(&text);
        if !is_sealed(&text) {
            found.push(plain(cluster, path.clone()));
        }
        found.extend(clear.as_ref().and_then(|clear| {
            let is_copied = clusters.iter().any(|other| other.id == clear.cluster_id);
            foreign(cluster, clear, is_copied, path.clone())
        }));
        let authority = match clear {
            Some(clear) => Ok(clear.ca_sha256),
            None if is_sealed(&text) && keys == Keys::Unused => {
                Err("nothing is opened here; `clusterctl plan` does, where it has a key".to_owned())
            }
            None => opened(store, cluster),
        };
        match authority {
            Ok(authority) => {
                let Some(other) = authorities.insert(authority, path.clone()) else { continue };
                found.push(BundleProblem {
                    level: Level::Error,
                    code: "tree-0056",
                    path,
                    text: format!("it has the same authority as {}", other.display()),
                    help: "two clusters with one authority trust each other's administrators: give one of them a bundle of its own".to_owned(),
                });
            }
            // One that is broken is told where it is used.
            Err(why) => found.push(BundleProblem {
                level: Level::Warning,
                code: "tree-0058",
                path,
                text: format!("it does not say in the clear whose it is, so it is not compared with the others: {why}"),
                help: format!("export it, move this file away, and take it over with `clusterctl secrets import {} FILE`: what is written then says so", cluster.name),
            }),
        }
    }
    Ok(found)
}

/// The authority of a bundle, when it can be told.
pub(crate) fn opened(store: &BundleStore, cluster: &Cluster) -> Result<String, String> {
    let text = store.plain_text(&store.path(cluster)).map_err(|error| chain(&error))?;
    let bundle = Bundle::parse(&text).map_err(|error| chain(&error))?;
    authority_of(&bundle).map_err(|error| chain(&error))
}

fn plain(cluster: &Cluster, path: PathBuf) -> BundleProblem {
    let file = path.display();
    let help = format!(
        "encrypt it in place with `sops --encrypt --in-place {file}`, or move it away and take it over with `clusterctl secrets import {} FILE`, by the rules of .sops.yaml; what was committed or copied in the clear is known to others",
        cluster.name
    );
    let text = "it is not encrypted: every secret of the cluster can be read in it".to_owned();
    BundleProblem { level: Level::Warning, code: "tree-0057", path, text, help }
}

/// A bundle that is not of the cluster it lies beside; copied is one whose cluster has a folder.
fn foreign(
    cluster: &Cluster,
    clear: &Clear,
    is_copied: bool,
    path: PathBuf,
) -> Option<BundleProblem> {
    let named = (clear.cluster_id, clear.cluster_name.as_str());
    if named == (cluster.id, cluster.name.as_str()) {
        return None;
    }
    let has_name = clear.cluster_name == cluster.name;
    let (text, help) = if clear.cluster_id == cluster.id {
        let text = format!(
            "it is the bundle of cluster {}, and {} calls that cluster {}",
            clear.cluster_name,
            cluster.file.display(),
            cluster.name
        );
        (
            text,
            "the name of a cluster does not change while it lives: set cluster_name back. Its bundle is the only key to it: keep it as it is".to_owned(),
        )
    } else {
        let text = format!(
            "it is the bundle of cluster {} (id {}), not of {} (id {}) in {}",
            clear.cluster_name,
            clear.cluster_id,
            cluster.name,
            cluster.id,
            cluster.file.display()
        );
        let help = if is_copied && !has_name {
            "a copied folder keeps the bundle of the old cluster: move it away, and `clusterctl secrets generate` makes a new one".to_owned()
        } else {
            let name = if has_name {
                String::new()
            } else {
                format!(" and cluster_name to {}", clear.cluster_name)
            };
            format!(
                "the id of a cluster does not change while it lives: set cluster_id back to {}{name}. Its bundle is the only key to it: keep it as it is",
                clear.cluster_id
            )
        };
        (text, help)
    };
    Some(BundleProblem { level: Level::Error, code: "tree-0056", path, text, help })
}
