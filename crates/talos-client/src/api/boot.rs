//! Following a reboot.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::power::RebootMode;
use crate::client::{Client, call};
use crate::error::{Error, ErrorKind};

/// How often a node is asked whether it has rebooted.
const POLL: Duration = Duration::from_millis(500);

impl Client {
    /// Waits until the node runs in another boot than `before`, and gives that boot's identity;
    /// see [`Client::boot_id`]. Meanwhile the node may be gone.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] with the reason why the node did not answer last. An error that
    /// waiting does not help, such as a node that came back in maintenance mode, ends it at once.
    pub async fn wait_for_boot(&self, before: Uuid, limit: Duration) -> Result<Uuid, Error> {
        let end = Instant::now() + limit;
        let mut hopeless = 0;
        loop {
            let why = match self.boot_id().await {
                Ok(now) if now != before => return Ok(now),
                Ok(_) => "the node has not rebooted yet".to_owned(),
                Err(error) if error.is_retryable() => {
                    hopeless = 0;
                    error.message().to_owned()
                }
                // While services stop and start, a refusal may be one of a moment.
                Err(error) => {
                    hopeless += 1;
                    if hopeless > 5 {
                        return Err(error);
                    }
                    error.message().to_owned()
                }
            };
            if Instant::now() >= end {
                let text = format!("not within {limit:?}: {why}");
                let error = Error::new(ErrorKind::Timeout, "wait for the reboot", text);
                return Err(error.at(self.address()));
            }
            sleep(POLL).await;
        }
    }

    /// Reboots the node and waits until it is back; gives the identity of the new boot. A lost
    /// answer to the call does not matter.
    ///
    /// # Errors
    /// As for [`Client::reboot`] and [`Client::wait_for_boot`].
    pub async fn reboot_and_wait(&self, mode: RebootMode, limit: Duration) -> Result<Uuid, Error> {
        let before = self.boot_id().await?;
        match self.reboot(mode).await {
            Ok(_) => {}
            Err(error) if error.may_have_been_applied() => {
                tracing::debug!(node = %self.address(), %error, "the answer to {} is lost", call::REBOOT.name);
            }
            Err(error) => return Err(error),
        }
        self.wait_for_boot(before, limit).await
    }
}
