//! Calls whose answers were lost: what they did is read before they are made again.
//!
//! An installer writes the slot that the boot loader does not name, and has it booted next. Run twice in one
//! boot it writes the slot of the system that runs, and nothing is left to go back to. So a lost answer is
//! never a reason to install again in the same boot: the node boots what there is, which is harmless, and
//! tells its version.

use super::Workloads;
use super::node::Run;
use crate::again::{self, is_lost};
use crate::error::{Error, ErrorKind};
use crate::plan::{NodeStep, Refusal};

impl<W: Workloads, P: Fn(super::Progress)> Run<'_, W, P> {
    /// The installer writes the other slot. If it is not known what it did, or another one is at work, it is
    /// waited for, and the next boot tells.
    pub(super) async fn install(&mut self, step: &NodeStep) -> Result<(), Error> {
        let client = &self.target.client;
        let boot = client.boot_id().await?;
        let lines = |line: &str| self.tell(step, line);
        let why = match client.install_version(&self.wanted.image, lines).await {
            Err(error) if error.kind() == ErrorKind::Busy || is_lost(&error) => error,
            done => return done,
        };
        self.tell(step, &format!("{}; the next boot tells what is installed", why.message()));
        self.until(step, async || self.no_installer().await).await?;
        // It may have rebooted meanwhile; once is enough.
        if self.target.client.boot_id().await? != boot {
            self.before = Some(boot);
        }
        self.unsure = true;
        Ok(())
    }

    async fn no_installer(&self) -> Result<(), Refusal> {
        let wait = |reason: String, waiting_helps| Err(Refusal { reason, waiting_helps });
        match self.target.client.is_installing().await {
            Ok(false) => Ok(()),
            Ok(true) => wait("the installer is still at work".to_owned(), true),
            Err(error) => wait(error.to_string(), error.is_retryable()),
        }
    }

    /// Makes a call after which the node leaves its boot.
    pub(super) async fn leave(
        &mut self,
        step: &NodeStep,
        call: impl AsyncFn() -> Result<String, Error>,
    ) -> Result<(), Error> {
        if self.before.is_none() {
            let (client, limit) = (&self.target.client, self.wanted.limit);
            let boot = again::leave(client, limit, |text| self.tell(step, text), call).await?;
            self.before = Some(boot);
        }
        Ok(())
    }
}
