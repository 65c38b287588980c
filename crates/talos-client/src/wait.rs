//! Refusals: why an operation does not begin, and looks until none is left.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::{Error, ErrorKind};
use crate::plan::Refusal;

/// Between two looks.
pub(crate) const POLL: Duration = Duration::from_secs(1);

/// Why an operation does not begin, or go on.
pub(crate) fn refused(operation: &'static str, why: &Refusal) -> Error {
    let kind = if why.waiting_helps { ErrorKind::NotReady } else { ErrorKind::FailedPrecondition };
    Error::new(kind, operation, why.reason.clone())
}

/// Looks again and again until nothing is in the way. `tell` hears what is, whenever that changes.
///
/// # Errors
/// Waiting does not help, or the time is over.
pub(crate) async fn until<T>(
    operation: &'static str,
    limit: Duration,
    mut tell: impl FnMut(&str),
    look: impl AsyncFn() -> Result<T, Refusal>,
) -> Result<T, Error> {
    let end = Instant::now() + limit;
    let mut told = String::new();
    loop {
        let why = match look().await {
            Ok(found) => return Ok(found),
            Err(why) => why,
        };
        if !why.waiting_helps {
            return Err(refused(operation, &why));
        }
        if Instant::now() >= end {
            let text = format!("not within {limit:?}: {}", why.reason);
            return Err(Error::new(ErrorKind::Timeout, operation, text));
        }
        if why.reason != told {
            tell(&why.reason);
            told = why.reason;
        }
        sleep(POLL.min(limit / 100)).await;
    }
}
