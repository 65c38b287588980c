//! Getting things to be as they should, whatever happens on the way.
//!
//! Each call here reads the state, does what is left, and reads again after an answer that was
//! lost, before it repeats anything: it can be made again at any time, nothing exists twice by it,
//! and what was answered is not done again. Only what ends the same however often it is made is
//! repeated without a look: a grant, and another secret for a token.

mod access;
mod firewall;
mod ha;
mod mapping;
mod named;
mod names;
mod pool;
mod rules;
mod sdn;
mod token;
mod until;
mod vm;

pub use sdn::{SdnDone, SdnOptions};
pub use token::{LostSecret, TokenDone};
pub use vm::{VmDone, VmLimits};

use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// How often something is tried that may work the next time.
pub(crate) const ATTEMPTS: u32 = 5;

/// Waits before the next try: longer where a lock is held by somebody else.
pub(crate) async fn pause(attempt: u32, error: &Error) {
    let base = if error.kind() == ErrorKind::Busy { 400 } else { 150 };
    let time = Duration::from_millis(base << attempt.min(5));
    tracing::debug!(%error, attempt, ?time, "trying again");
    tokio::time::sleep(time).await;
}

/// Whether another try may succeed: the state is read again before it.
pub(crate) fn may_work(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unreachable
            | ErrorKind::Busy
            | ErrorKind::Conflict
            | ErrorKind::Quorum
            | ErrorKind::AlreadyExists
    )
}
