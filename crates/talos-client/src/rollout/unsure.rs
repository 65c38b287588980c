//! Calls whose answers were lost: what they did is read before they are made again.
//!
//! An installer writes the slot that the boot loader does not name, and has it booted next. Run twice in one
//! boot it writes the slot of the system that runs, and nothing is left to go back to. So a lost answer is
//! never a reason to install again in the same boot: the node boots what there is, which is harmless, and
//! tells its version.

use super::Workloads;
use super::node::{Beside, Run};
use crate::again::{self, is_lost};
use crate::error::{Error, ErrorKind};
use crate::plan::{NodeStep, Refusal};

/// How often one run calls for the installer of a node, whether that is reached or not.
const MOST: u32 = 2;

impl<W: Workloads, P: Fn(super::Progress)> Run<'_, W, P> {
    /// The installer writes the other slot. If it is not known what it did, or another one is at work, it is
    /// waited for, and the next boot tells.
    pub(super) async fn install(&mut self, step: &NodeStep) -> Result<(), Error> {
        let client = &self.target.client;
        let boot = client.boot_id().await?;
        self.tries += 1;
        let lines = |line: &str| self.tell(step, line);
        let why = match client.install_version(&self.wanted.image, lines).await {
            Ok(()) => {
                self.beside = Beside::Wanted;
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Busy || is_lost(&error) => error,
            Err(error) => return Err(error),
        };
        self.beside = Beside::Unknown;
        self.tell(step, &format!("{}; the next boot tells what is installed", why.message()));
        self.doubt = Some(why.message().to_owned());
        self.until(step, async || self.no_installer().await).await?;
        // It may have rebooted meanwhile; once is enough.
        if self.target.client.boot_id().await? != boot {
            self.before = Some(boot);
        }
        Ok(())
    }

    /// An earlier run may have installed before it ended: the node is rebooted for that, which does no harm if
    /// it has not.
    pub(super) async fn resume(&mut self) -> Result<(), Error> {
        let step = &NodeStep::Install;
        self.cordoned = true;
        self.beside = Beside::Unknown;
        self.tell(step, "an earlier run may have installed; the next boot tells");
        self.until(step, async || self.no_installer().await).await
    }

    /// Whether the node came back as it was because nothing, or something else, was installed. Now that it runs
    /// what its boot loader names, the installer writes the other slot and none that may be needed. Two
    /// calls in a run are enough: what was lost twice is lost again.
    pub(super) fn may_install_again(&mut self, error: &Error) -> bool {
        let may = error.kind() == ErrorKind::FailedPrecondition
            && self.beside == Beside::Unknown
            && self.tries < MOST;
        if may {
            (self.beside, self.before, self.doubt) = (Beside::Nothing, None, None);
        }
        may
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
