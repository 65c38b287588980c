//! `inventory`: every derived value.

use super::{Context, Error};
use crate::spec::root::Root;
use crate::spec::site::{Cluster, Site};

/// The site, or some clusters of it.
///
/// # Errors
/// There is no tree, it has errors, or a cluster is not there.
pub fn inventory(context: &Context, clusters: &[String]) -> Result<Site, Error> {
    let (_, site) = selected(context, clusters)?;
    Ok(site)
}

/// The tree with some clusters of it; all of them when none is named.
pub(super) fn selected(context: &Context, clusters: &[String]) -> Result<(Root, Site), Error> {
    let (root, loaded) = context.load_valid()?;
    let Some(mut site) = loaded.site else { return Err(Error::failed("the tree gave no site")) };
    for wanted in clusters {
        if !site.clusters.iter().any(|cluster| is_named(cluster, wanted)) {
            let known: Vec<&str> =
                site.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
            return Err(Error::usage(format!("there is no cluster {wanted:?}"))
                .hint(format!("clusters are {}", known.join(", "))));
        }
    }
    if !clusters.is_empty() {
        site.clusters.retain(|cluster| clusters.iter().any(|wanted| is_named(cluster, wanted)));
    }
    Ok((root, site))
}

pub(super) fn is_named(cluster: &Cluster, wanted: &str) -> bool {
    cluster.name == wanted || cluster.folder == wanted || cluster.id.to_string() == wanted
}
