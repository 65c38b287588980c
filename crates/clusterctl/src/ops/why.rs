//! `why`: where a value comes from.

use super::{Context, Error};
use crate::spec::hcl::did_you_mean;
use crate::spec::model::Origin;
use crate::spec::root::Root;

/// The values at a path, or below it.
#[derive(Debug)]
pub struct Report {
    /// The tree.
    pub root: Root,
    /// Values with their origins, sorted by path.
    pub origins: Vec<Origin>,
}

/// Looks up a path such as `clusters.cluster-101.cluster_id`; what lies below it counts too.
///
/// # Errors
/// There is no tree, or no value of that path.
pub fn why(context: &Context, path: &str) -> Result<Report, Error> {
    let (root, loaded) = context.load()?;
    let wanted = path.trim_matches('.').replace('/', ".");
    let below = format!("{wanted}.");
    let mut origins: Vec<Origin> = loaded
        .origins
        .iter()
        .filter(|origin| {
            origin.path == wanted
                || origin.path.starts_with(&below)
                || origin.path.ends_with(&format!(".{wanted}"))
        })
        .cloned()
        .collect();
    origins.sort_by(|a, b| a.path.cmp(&b.path));
    if !origins.is_empty() {
        return Ok(Report { root, origins });
    }
    let known = loaded.origins.iter().map(|origin| origin.path.as_str());
    let failure = Error::usage(format!("there is no value {path:?}"));
    Err(match did_you_mean(&wanted, known) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure.hint("paths are those of `clusterctl inventory -o json` and of the files"),
    })
}
