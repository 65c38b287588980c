//! Is a node in maintenance mode, or is it ours?

use super::{Client, ClientConfig, Fingerprint, Identity, Trust};
use crate::error::{Error, ErrorKind};

/// What was found at an address.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Found {
    /// A node in maintenance mode: it waits for a configuration.
    Maintenance(Client),
    /// A configured node of the cluster that the credentials are of.
    Ours(Client),
    /// A configured node of another cluster; the error says how it refused the credentials.
    Foreign(Error),
}

/// Finds out what answers at an address: first without verifying it, which only a node in
/// maintenance mode allows, then with the credentials. Nothing but a question for its stage is
/// sent.
///
/// Address, port, dialler, time limits and a pin are taken from `config`. With a pin, a node in
/// maintenance mode with another key is an error.
///
/// # Errors
/// The node cannot be reached, has another key than the pin says, or does not answer as a node
/// does.
pub async fn probe(config: &ClientConfig, identity: &Identity) -> Result<Found, Error> {
    let pin: Option<Fingerprint> = match &config.trust {
        Trust::Maintenance { pin } => *pin,
        Trust::Mutual(_) => None,
    };
    let mut open = config.clone();
    open.trust = Trust::Maintenance { pin };
    let client = Client::new(open)?;
    let refused = match client.machine_status().await {
        Ok(_) => return Ok(Found::Maintenance(client)),
        Err(error) => error,
    };
    // A configured node asks for a certificate, or has another key than in maintenance mode.
    let may_be_configured = matches!(
        refused.kind(),
        ErrorKind::Tls
            | ErrorKind::Pin
            | ErrorKind::Unauthenticated
            | ErrorKind::PermissionDenied
            | ErrorKind::Interrupted
    );
    if !may_be_configured {
        return Err(refused);
    }
    let mut closed = config.clone();
    closed.trust = Trust::Mutual(identity.clone());
    let client = Client::new(closed)?;
    match client.machine_status().await {
        Ok(_) => Ok(Found::Ours(client)),
        // The credentials are of another cluster, and so is the key.
        Err(error) if error.kind() == ErrorKind::Tls && refused.kind() == ErrorKind::Pin => {
            Err(refused)
        }
        Err(error) if error.kind() == ErrorKind::Tls => Ok(Found::Foreign(error)),
        Err(error) => Err(error),
    }
}
