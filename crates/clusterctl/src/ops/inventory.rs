//! `inventory`: every derived value.

use super::{Context, Error};
use crate::spec::hcl::did_you_mean;
use crate::spec::site::{Cluster, Site};

/// The site, or some clusters of it.
///
/// # Errors
/// There is no tree, it has errors, or a cluster is not there.
pub fn inventory(context: &Context, clusters: &[String]) -> Result<Site, Error> {
    let (_, loaded) = context.load_valid()?;
    let Some(mut site) = loaded.site else { return Err(Error::failed("the tree gave no site")) };
    named(&site, clusters)?;
    if !clusters.is_empty() {
        site.clusters.retain(|cluster| clusters.iter().any(|wanted| is_named(cluster, wanted)));
    }
    Ok(site)
}

/// The clusters that are called so; all when none is named.
///
/// # Errors
/// A name is that of none.
pub(super) fn named<'site>(
    site: &'site Site,
    names: &[String],
) -> Result<Vec<&'site Cluster>, Error> {
    let all = &site.clusters;
    for name in names {
        if !all.iter().any(|cluster| is_named(cluster, name)) {
            let known: Vec<&str> = all.iter().map(|cluster| cluster.name.as_str()).collect();
            let error = Error::usage(format!("there is no cluster {name:?}"));
            return Err(match did_you_mean(name, known.iter().copied()) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error,
            }
            .hint(format!("clusters are {}", known.join(", "))));
        }
    }
    let is_meant =
        |cluster: &&Cluster| names.is_empty() || names.iter().any(|name| is_named(cluster, name));
    Ok(all.iter().filter(is_meant).collect())
}

fn is_named(cluster: &Cluster, wanted: &str) -> bool {
    cluster.name == wanted || cluster.folder == wanted || cluster.id.to_string() == wanted
}
