//! Locks and processes: who lives, who may start or end what.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::error::{LabError, LabErrorKind};

/// How often a lock or a process is looked at while waiting.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// A lock on a file, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Held {
    _file: File,
}

fn open(path: &Path) -> Result<File, LabError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(LabError::file("open", path))
}

/// Takes a lock if nobody has it.
///
/// # Errors
/// The file cannot be opened or locked.
pub(super) fn try_hold(path: &Path) -> Result<Option<Held>, LabError> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Held { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(LabError::file("lock", path)(error)),
    }
}

/// Takes a lock, waiting for whoever has it.
///
/// # Errors
/// The file cannot be opened or locked, or it takes too long.
pub(super) fn hold(path: &Path, patience: Duration) -> Result<Held, LabError> {
    let until = Instant::now() + patience;
    loop {
        if let Some(held) = try_hold(path)? {
            return Ok(held);
        }
        if Instant::now() >= until {
            return Err(LabError::new(
                LabErrorKind::Unreachable,
                format!("another process starts or ends the lab since {} s", patience.as_secs()),
            )
            .detail(format!("it holds {}", path.display())));
        }
        pause();
    }
}

/// Whether somebody has the lock. Those who only look do not see each other.
///
/// # Errors
/// The file cannot be opened or locked.
pub(super) fn is_held(path: &Path) -> Result<bool, LabError> {
    if !path.exists() {
        return Ok(false);
    }
    match open(path)?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(LabError::file("lock", path)(error)),
    }
}

/// Waits a moment. The handle of the lab blocks: it starts a process and waits for it.
#[expect(clippy::disallowed_methods, reason = "there is no runtime here, and none is needed")]
pub(super) fn pause() {
    std::thread::sleep(LOOK);
}

/// When a process started, in the ticks that `/proc` counts.
pub(super) fn start_ticks(pid: u32) -> Option<u64> {
    let text = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// Sends a signal to a process, if it is still the one that started then.
pub(super) fn signal(pid: u32, started: Option<u64>, signal: rustix::process::Signal) {
    if start_ticks(pid) != started {
        return;
    }
    let raw = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // One that ended in between needs no signal.
    if let Some(pid) = raw
        && let Err(error) = rustix::process::kill_process(pid, signal)
    {
        tracing::debug!(%error, "the lab is gone already");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_and_free_when_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        assert!(!is_held(&path).unwrap());
        let held = try_hold(&path).unwrap().unwrap();
        assert!(try_hold(&path).unwrap().is_none());
        assert!(is_held(&path).unwrap());
        let refused = hold(&path, Duration::from_millis(60)).unwrap_err();
        assert_eq!(refused.kind(), LabErrorKind::Unreachable);
        drop(held);
        assert!(!is_held(&path).unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_has_a_start_time_that_does_not_change() {
        let own = start_ticks(std::process::id());
        assert!(own.is_some());
        assert_eq!(own, start_ticks(std::process::id()));
        assert_eq!(start_ticks(u32::MAX), None);
    }
}
