//! Makes the files that open a cluster: a talosconfig out of its secrets, a kubeconfig out of one
//! that a control plane makes.

use talos_client::TalosConfig;
use talos_client::talosconfig::{ClientOptions, DEFAULT_LIFETIME};
use zeroize::Zeroizing;

use super::access::{self, Admin};
use super::reach::{Opened, Reach};
use crate::error::Error;
use crate::spec::site::{Cluster, Role};

/// Why a kubeconfig was not made.
#[derive(Debug)]
pub enum IssueError {
    /// A control plane did not make one.
    Node {
        /// What was tried.
        what: String,
        /// What it said.
        error: talos_client::Error,
    },
    /// Something of ours.
    Own(Error),
}

impl From<Error> for IssueError {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

impl From<IssueError> for Error {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Node { what, error } => Self::failed(what).because(error),
            IssueError::Own(error) => error,
        }
    }
}

/// A new talosconfig of a cluster; its administrator's certificate is good for a year.
///
/// # Errors
/// The secrets have no authority of the machine API, or nothing can be signed with it.
pub fn talosconfig(cluster: &Cluster, opened: &Opened) -> Result<Zeroizing<String>, Error> {
    let failed = || Error::failed(format!("make the talosconfig of cluster {}", cluster.name));
    let os = opened.bundle.certs.as_ref().and_then(|certs| certs.os.as_ref());
    let pem = |text: &talos_client::secrets::Text| text.text().map(str::to_owned);
    let (ca, key) = os
        .and_then(|pair| Some((pem(&pair.crt)?, Zeroizing::new(pem(&pair.key)?))))
        .ok_or_else(|| failed().detail("the secrets have no authority"))?;
    let options = ClientOptions {
        endpoints: access::endpoints(cluster),
        nodes: access::nodes(cluster),
        roles: vec!["os:admin".to_owned()],
        now: jiff::Timestamp::now().as_second(),
        lifetime: DEFAULT_LIFETIME,
    };
    let config = TalosConfig::generate(&cluster.name, &ca, &key, &options)
        .map_err(|error| failed().because(error))?;
    Ok(Zeroizing::new(config.to_yaml()))
}

/// A new kubeconfig of a cluster, of the first control plane that makes one.
///
/// # Errors
/// None does; the error is that of the last one.
pub async fn kubeconfig(
    reach: &Reach,
    cluster: &Cluster,
    opened: &Opened,
) -> Result<Zeroizing<String>, IssueError> {
    let mut last = IssueError::Own(Error::failed("the cluster has no control plane"));
    for node in cluster.nodes.iter().filter(|node| node.role == Role::ControlPlane) {
        let address = reach.address(node)?;
        let made = async { reach.talos(address, opened).await?.kubeconfig().await };
        match made.await {
            Ok(made) => return Ok(Admin::of_kubeconfig(made.expose())?.to_kubeconfig(cluster)),
            Err(error) => {
                last =
                    IssueError::Node { what: format!("get a kubeconfig of {}", node.name), error };
            }
        }
    }
    Err(last)
}
