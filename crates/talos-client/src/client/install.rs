//! From an accepted configuration to an installed node.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Client, ClientConfig, Found, Identity, probe};
use crate::api::{Stage, kinds};
use crate::error::{Error, ErrorKind};

const OPERATION: &str = "wait for the installation";

/// How often a node is asked.
const POLL: Duration = Duration::from_millis(500);

/// How long a node may stay in maintenance mode, or answer as if it were of another cluster, after
/// it has accepted a configuration: it changes its certificate then.
const CHANGE: Duration = Duration::from_secs(45);

/// What has been seen of the node so far.
struct Seen {
    /// It has left maintenance mode.
    left: bool,
    /// Since when it answers in a way that is right only for a moment.
    odd_since: Option<Instant>,
}

enum Step {
    Done(Client),
    Wait(String),
    Fail(Error),
}

/// Waits until a node that has accepted a configuration in maintenance mode is installed and has
/// booted: it answers with mutual TLS, and is not installing any more. A control plane still waits
/// for its bootstrap then.
///
/// Address, port, dialler and time limits are taken from `config`; `progress` is told why it is
/// not done yet, whenever that changes.
///
/// # Errors
/// [`ErrorKind::FailedPrecondition`] if the node came back in maintenance mode: the installation
/// has failed. [`ErrorKind::Tls`] if it turns out to be of another cluster. [`ErrorKind::Timeout`]
/// with the last reason.
pub async fn wait_for_install(
    config: &ClientConfig,
    identity: &Identity,
    limit: Duration,
    mut progress: impl FnMut(&str),
) -> Result<Client, Error> {
    let end = Instant::now() + limit;
    let mut seen = Seen { left: false, odd_since: None };
    let mut told = String::new();
    loop {
        let why = match seen.step(probe(config, identity).await).await {
            Step::Done(client) => return Ok(client),
            Step::Fail(error) => return Err(error),
            Step::Wait(why) => why,
        };
        if why != told {
            progress(&why);
            told = why;
        }
        if Instant::now() >= end {
            let text = format!("not within {limit:?}: {told}");
            return Err(Error::new(ErrorKind::Timeout, OPERATION, text).at(config.address));
        }
        sleep(POLL).await;
    }
}

impl Seen {
    async fn step(&mut self, found: Result<Found, Error>) -> Step {
        match found {
            Ok(Found::Ours(client)) => {
                self.left = true;
                self.odd_since = None;
                ours(client).await
            }
            Ok(Found::Maintenance(client)) if self.left => {
                let text = "the node came back in maintenance mode: the installation has failed";
                let error = Error::new(ErrorKind::FailedPrecondition, OPERATION, text);
                Step::Fail(error.at(client.address()))
            }
            Ok(Found::Maintenance(client)) => {
                let text = "the node is still in maintenance mode";
                let error = Error::new(ErrorKind::FailedPrecondition, OPERATION, text);
                self.odd(error.at(client.address()))
            }
            Ok(Found::Foreign(error)) => self.odd(error),
            // It restarts, or its network does.
            Err(error) if error.is_retryable() => {
                self.left = true;
                self.odd_since = None;
                Step::Wait(error.message().to_owned())
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => self.odd(error),
            Err(error) => Step::Fail(error),
        }
    }

    /// An answer that is right only for a moment.
    fn odd(&mut self, error: Error) -> Step {
        let since = *self.odd_since.get_or_insert_with(Instant::now);
        if since.elapsed() > CHANGE {
            Step::Fail(error)
        } else {
            Step::Wait(error.message().to_owned())
        }
    }
}

async fn ours(client: Client) -> Step {
    let status = match client.machine_status().await {
        Ok(status) => status,
        Err(error) => return Step::Wait(error.message().to_owned()),
    };
    let is_done = match status.stage {
        Stage::Running => true,
        // During the installation there is no system disk yet.
        Stage::Booting => {
            let (namespace, kind) = kinds::SYSTEM_DISK;
            matches!(client.find(namespace, kind, "system-disk").await, Ok(Some(_)))
        }
        _ => false,
    };
    if is_done {
        Step::Done(client)
    } else {
        Step::Wait(format!("the machine is {}", status.stage))
    }
}
