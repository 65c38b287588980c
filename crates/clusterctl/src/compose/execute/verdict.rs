//! What an error means for a step: later, look again, or give up.

use crate::engine::StepError;
use crate::error::{Error, chain};

/// Of the Proxmox API.
pub(super) fn proxmox(what: &str) -> impl FnOnce(proxmox_client::Error) -> StepError {
    use proxmox_client::ErrorKind as K;
    let what = what.to_owned();
    move |error| {
        let text = format!("{what}: {}", chain(&error));
        if error.may_have_been_applied() {
            return StepError::Uncertain(text);
        }
        match error.kind() {
            K::Busy | K::Quorum | K::Unreachable | K::Conflict => StepError::Later(text),
            _ => match error.help() {
                Some(help) => StepError::failed_with_help(text, help),
                None => StepError::failed(text),
            },
        }
    }
}

/// Of the Talos API.
pub(super) fn talos(what: &str) -> impl FnOnce(talos_client::Error) -> StepError {
    let what = what.to_owned();
    move |error| {
        let text = format!("{what}: {}", chain(&error));
        if error.may_have_been_applied() {
            StepError::Uncertain(text)
        } else if error.is_retryable() {
            StepError::Later(text)
        } else {
            StepError::failed(text)
        }
    }
}

/// Of the factory and of registries.
pub(super) fn images(what: &str) -> impl FnOnce(imagefactory::Error) -> StepError {
    let what = what.to_owned();
    move |error| {
        let text = format!("{what}: {}", chain(&error));
        match (error.is_retryable(), error.help()) {
            (true, _) => StepError::Later(text),
            (false, Some(help)) => StepError::failed_with_help(text, help),
            (false, None) => StepError::failed(text),
        }
    }
}

/// Of our own.
pub(super) fn own(error: Error) -> StepError {
    let text = chain(&error);
    match error.hints().first() {
        Some(help) => StepError::failed_with_help(text, help),
        None => StepError::failed(text),
    }
}
