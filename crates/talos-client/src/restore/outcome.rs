//! What came of the etcd that a restoration starts, and what is to be done after it failed.

use super::OPERATION;
use crate::api::EtcdPhase;
use crate::error::{Error, ErrorKind};
use crate::health::Target;

/// What came of the etcd that a restoration starts.
pub(super) enum Outcome {
    /// It, or another one, was started.
    Started,
    /// All control planes wait for a bootstrap.
    NotStarted,
    /// It was started nowhere else, and failed; where and why.
    Failed(String),
    /// Somebody does not say.
    Unknown,
}

/// The snapshot was taken, but no etcd came of it.
pub(super) fn failed(why: &str) -> Error {
    let text = format!(
        "etcd did not come up from the snapshot, and runs nowhere: {why}; restore again, from another snapshot \
         if this one is bad"
    );
    Error::new(ErrorKind::FailedPrecondition, OPERATION, text)
}

/// An error that must not lead to a second restoration.
pub(super) fn unfinished(is_started: bool, error: &Error) -> Error {
    let (was, next) = match is_started {
        true => ("was", "mend this and finish the restoration"),
        false => {
            ("may have been", "mend this and finish the restoration, which tells whether it was")
        }
    };
    let text = format!(
        "etcd {was} started from the snapshot, and what comes after is not done: {}; do not restore again: \
         {next}",
        error.message()
    );
    error.clone().with_message(text)
}

/// What a control plane says of its etcd.
pub(super) type Look<'a> = (&'a Target, Result<EtcdPhase, Error>);

/// What came of an etcd that runs nowhere after a while.
pub(super) fn ended(looks: &[Look<'_>]) -> Outcome {
    let mut failure = None;
    for (target, look) in looks {
        match look {
            Ok(EtcdPhase::Empty | EtcdPhase::Ended { has_data: false, .. }) => {}
            Ok(phase) if phase.failure().is_some() => {}
            _ => return Outcome::Unknown,
        }
        let why = look.as_ref().ok().and_then(EtcdPhase::failure);
        failure = failure.or(why.map(|why| format!("{}: etcd: {why}", target.name)));
    }
    failure.map_or(Outcome::NotStarted, Outcome::Failed)
}
