//! The simulator's clock: real time, a jump ahead, and waiting that a test can shorten.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::builder::TimeMode;

/// The clock of a simulated cluster.
#[derive(Debug)]
pub(crate) struct Clock {
    mode: TimeMode,
    ahead_ms: AtomicU64,
}

impl Clock {
    pub(crate) fn new(mode: TimeMode) -> Self {
        Self { mode, ahead_ms: AtomicU64::new(0) }
    }

    /// Milliseconds since 1970 on this clock.
    pub(crate) fn now_ms(&self) -> u64 {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(real.as_millis()).unwrap_or(u64::MAX) + self.ahead_ms.load(Ordering::Relaxed)
    }

    /// Seconds since 1970 on this clock.
    pub(crate) fn now(&self) -> u64 {
        self.now_ms() / 1000
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.ahead_ms.fetch_add(u64::try_from(time.as_millis()).unwrap_or(0), Ordering::Relaxed);
    }

    /// The real time that a task's duration takes.
    pub(crate) fn work(&self, time: Duration) -> Duration {
        match self.mode {
            TimeMode::Real => time,
            TimeMode::Virtual => Duration::ZERO,
        }
    }

    /// The real time that a time limit takes.
    pub(crate) fn limit(&self, time: Duration) -> Duration {
        match self.mode {
            TimeMode::Real => time,
            TimeMode::Virtual => time / 100,
        }
    }
}
