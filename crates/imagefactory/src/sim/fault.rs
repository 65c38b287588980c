//! Misbehaviour on request, and a log of calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The image factory.
    Factory,
    /// The registry.
    Registry,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and does nothing.
    Status(u16),
    /// Its answer breaks off after so many bytes of the body.
    CutAfter(u64),
    /// It is answered late.
    Delay(Duration),
    /// One bit of its answer's body is wrong.
    Corrupt,
}

/// A call that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Who was asked.
    pub side: Side,
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The range that was asked for.
    pub range: Option<String>,
    /// Whether there was a credential.
    pub authorized: bool,
    /// The status of the answer.
    pub status: u16,
}

#[derive(Debug)]
struct Planned {
    side: Side,
    method: Option<String>,
    prefix: String,
    fault: Fault,
    times: u32,
}

/// Makes a simulator misbehave, and knows what it was asked.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    planned: Arc<Mutex<Vec<Planned>>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faults {
    /// The next `times` calls whose path begins with `prefix` go wrong.
    pub fn inject(&self, side: Side, prefix: &str, fault: Fault, times: u32) {
        let prefix = prefix.to_owned();
        lock(&self.planned).push(Planned { side, method: None, prefix, fault, times });
    }

    /// Like [`inject`](Self::inject), for one method only.
    pub fn inject_method(&self, side: Side, method: &str, prefix: &str, fault: Fault) {
        let (method, prefix) = (Some(method.to_owned()), prefix.to_owned());
        lock(&self.planned).push(Planned { side, method, prefix, fault, times: 1 });
    }

    /// Forgets all faults that did not happen yet.
    pub fn clear(&self) {
        lock(&self.planned).clear();
    }

    /// All calls so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    pub(super) fn record(&self, call: Call) {
        lock(&self.calls).push(call);
    }

    pub(super) fn take(&self, side: Side, method: &str, path: &str) -> Option<Fault> {
        let mut planned = lock(&self.planned);
        let at = planned.iter().position(|plan| {
            plan.side == side
                && plan.method.as_deref().is_none_or(|wanted| wanted == method)
                && path.starts_with(&plan.prefix)
        })?;
        let plan = planned.get_mut(at)?;
        let fault = plan.fault;
        plan.times = plan.times.saturating_sub(1);
        if plan.times == 0 {
            planned.remove(at);
        }
        Some(fault)
    }
}
