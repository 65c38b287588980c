//! Calls that are made again when their answers are lost: those that do no harm twice, and those that take a
//! node out of its boot, of which the node itself tells whether it goes.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::api::Stage;
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::wait::POLL;

/// How long a node that took a call may look as if it had not: it tells another stage within a second,
/// and one that is busy within some.
const SETTLE: Duration = Duration::from_secs(15);

/// A call that may be made any number of times without harm: three times, while its answer is lost or the node is
/// not reached.
pub(crate) async fn repeat<T>(call: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 0..2 {
        match call().await {
            Err(error) if is_lost(&error) || error.kind() == ErrorKind::Unreachable => {
                tracing::debug!(%error, "the answer is lost; once more");
                sleep(POLL).await;
            }
            done => return done,
        }
    }
    call().await
}

/// Whether the node may have done it although this failed. A failure of its own checks has no code of its
/// own, but it is an answer.
pub(crate) fn is_lost(error: &Error) -> bool {
    error.may_have_been_applied() && error.kind() != ErrorKind::Server
}

/// Makes a call after which the node leaves its boot; gives the boot that it leaves. If the answer is lost and
/// the node stays, the call has not reached it, or is still at work as one that pulls an image first; it is made
/// again, once, and `tell` says so. A node that refuses that may do so because of the first one: whether it goes
/// counts, and not the refusal.
pub(crate) async fn leave(
    client: &Client,
    limit: Duration,
    tell: impl Fn(&str),
    call: impl AsyncFn() -> Result<String, Error>,
) -> Result<Uuid, Error> {
    let boot = client.boot_id().await?;
    let mut answer = call().await;
    if let Err(error) = &answer
        && is_lost(error)
        && !goes(client, boot, limit).await
    {
        tell(&format!("{}; the node stays, so once more", error.message()));
        answer = call().await;
        if answer.as_ref().is_err_and(|error| !is_lost(error)) && goes(client, boot, limit).await {
            return Ok(boot);
        }
    }
    match answer {
        Err(error) if !is_lost(&error) => Err(error),
        _ => Ok(boot),
    }
}

/// Whether the node leaves this boot. One that does not answer may be about to.
async fn goes(client: &Client, boot: Uuid, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    let mut stays: Option<Instant> = None;
    while Instant::now() < end {
        let (now, status) = futures_util::join!(client.boot_id(), client.machine_status());
        match (now, status) {
            (Ok(now), _) if now != boot => return true,
            (_, Ok(status)) if leaves(&status.stage) => return true,
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

fn leaves(stage: &Stage) -> bool {
    matches!(stage, Stage::Rebooting | Stage::Upgrading | Stage::Resetting | Stage::ShuttingDown)
}
