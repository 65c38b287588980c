//! Calls whose answers were lost: what they did is read before they are made again.
//!
//! An installer writes the slot that the boot loader does not name, and has it booted next. Run twice in one
//! boot it writes the slot of the system that runs, and nothing is left to go back to. So a lost answer is
//! never a reason to install again in the same boot: the node boots what there is, which is harmless, and
//! tells its version.

use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

use super::Workloads;
use super::node::{POLL, Run};
use crate::api::Stage;
use crate::error::{Error, ErrorKind};
use crate::plan::{NodeStep, Refusal};

/// How long a node that took a call may look as if it had not: it tells another stage within a second,
/// and one that is busy within some.
const SETTLE: Duration = Duration::from_secs(15);

/// A call that may be made twice without harm: once more if its answer was lost.
pub(super) async fn twice<T>(call: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    match call().await {
        Err(error) if is_lost(&error) => {
            tracing::debug!(%error, "the answer is lost; once more");
            call().await
        }
        done => done,
    }
}

/// Whether the node may have done it although this failed. A failure of its own checks has no code of its
/// own, but it is an answer.
fn is_lost(error: &Error) -> bool {
    error.may_have_been_applied() && error.kind() != ErrorKind::Server
}

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

    /// Makes a call after which the node leaves its boot. Without an answer the node itself tells whether it
    /// goes; if it stays, the call has not reached it and is made again, once.
    pub(super) async fn leave(
        &mut self,
        step: &NodeStep,
        call: impl AsyncFn() -> Result<String, Error>,
    ) -> Result<(), Error> {
        if self.before.is_some() {
            return Ok(());
        }
        let boot = self.target.client.boot_id().await?;
        let mut answer = call().await;
        if let Err(error) = &answer
            && is_lost(error)
            && !self.goes(boot).await
        {
            self.tell(step, &format!("{}; the node stays, so once more", error.message()));
            answer = call().await;
        }
        match answer {
            Err(error) if !is_lost(&error) => Err(error),
            _ => {
                self.before = Some(boot);
                Ok(())
            }
        }
    }

    /// Whether the node leaves this boot. One that does not answer may be about to.
    async fn goes(&self, boot: Uuid) -> bool {
        let client = &self.target.client;
        let limit = self.wanted.limit;
        let end = Instant::now() + limit;
        let mut stays: Option<Instant> = None;
        while Instant::now() < end {
            let (now, status) = futures_util::join!(client.boot_id(), client.machine_status());
            match (now, status) {
                (Ok(now), _) if now != boot => return true,
                (_, Ok(status)) if matches!(status.stage, Stage::Rebooting | Stage::Upgrading) => {
                    return true;
                }
                (Ok(_), Ok(_)) => {
                    let since = *stays.get_or_insert_with(Instant::now);
                    if since.elapsed() >= SETTLE.min(limit / 20) {
                        return false;
                    }
                }
                _ => stays = None,
            }
            sleep(POLL.min(limit / 100)).await;
        }
        true
    }
}
