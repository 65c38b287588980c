//! `versions`: what the tree asks for, cluster by cluster.

use serde::Serialize;

use super::{Context, Error};

/// The versions of one cluster.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The cluster.
    pub cluster: String,
    /// Talos.
    pub talos: String,
    /// Kubernetes.
    pub kubernetes: String,
    /// Cilium.
    pub cilium: Option<String>,
    /// They differ from the site's by an override.
    pub overridden: bool,
}

/// Lists the versions.
///
/// # Errors
/// There is no tree, or it has errors.
pub fn versions(context: &Context) -> Result<Vec<Row>, Error> {
    let (_, loaded) = context.load_valid()?;
    let Some(site) = loaded.site else { return Err(Error::failed("the tree gave no site")) };
    Ok(site
        .clusters
        .iter()
        .map(|cluster| Row {
            cluster: cluster.name.clone(),
            talos: format!("v{}", cluster.versions.talos),
            kubernetes: format!("v{}", cluster.versions.kubernetes),
            cilium: cluster.versions.cilium.as_ref().map(ToString::to_string),
            overridden: cluster.versions_overridden,
        })
        .collect())
}
