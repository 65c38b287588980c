//! Faults on request, and the record of calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// What goes wrong with a matched call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultAction {
    /// The call is not executed; this status and message are answered.
    Refuse {
        /// HTTP status.
        status: u16,
        /// Text of the answer, without the trailing newline.
        message: String,
    },
    /// The call is executed, the connection closes before the answer.
    CutBeforeReply,
    /// The connection closes before the call is executed.
    CutBeforeCall,
    /// The call is executed, the connection closes in the middle of the answer.
    CutInBody,
    /// The call is executed after this time.
    Delay(Duration),
    /// 595: the other node could not be reached, nothing was executed.
    ProxyUnreachable,
    /// 596: executed, but the answer was lost on the way from the other node.
    ProxyLost,
    /// 599: executed, failed in the proxy.
    ProxyOther,
    /// 500 with the text of a lock that was not got, not executed.
    LockTimeout,
    /// 401, not executed.
    Unauthorized,
    /// The call is not executed; this is answered, whatever it is.
    Answer {
        /// HTTP status.
        status: u16,
        /// Bytes of the body.
        body: Vec<u8>,
    },
    /// The task that the call starts ends with this error text and does nothing.
    TaskFails(String),
    /// The task does its work and ends with `WARNINGS: n`.
    TaskWarns(u32),
    /// A node goes down before the call is executed, with its guests and its tasks.
    NodeDown {
        /// The node.
        node: String,
        /// When it comes back.
        time: Duration,
    },
    /// The call is executed; a node goes down before the answer and before the task that the call
    /// started has done anything.
    NodeDies {
        /// The node.
        node: String,
        /// When it comes back.
        time: Duration,
    },
}

/// A rule: which calls, which of them, what happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    method: String,
    path: String,
    skip: u64,
    times: u64,
    action: FaultAction,
}

impl Fault {
    /// A fault for every call of `method` (`*` for any) whose path below `/api2/json` matches
    /// `path`, a glob in which `*` stands for any text.
    pub fn new(method: impl Into<String>, path: impl Into<String>, action: FaultAction) -> Self {
        Self { method: method.into(), path: path.into(), skip: 0, times: u64::MAX, action }
    }

    /// Leaves the first `n` matching calls alone.
    #[must_use]
    pub fn after(mut self, n: u64) -> Self {
        self.skip = n;
        self
    }

    /// Ends after `n` calls were hit.
    #[must_use]
    pub fn times(mut self, n: u64) -> Self {
        self.times = n;
        self
    }

    /// Only the first matching call.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }
}

/// One call that the server saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallRecord {
    /// Number in the order of arrival, from 0.
    pub seq: u64,
    /// HTTP method.
    pub method: String,
    /// Path below `/api2/json`, without the query.
    pub path: String,
    /// Endpoint of the schema (`/nodes/{node}/qemu`), empty when there is none.
    pub endpoint: String,
    /// Who called (`root@pam!lab`), empty without authentication.
    pub user: String,
    /// Status answered, 0 when the connection was cut.
    pub status: u16,
}

/// Counters of one endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct EndpointCalls {
    /// Calls that arrived.
    pub count: u64,
    /// Calls in progress.
    pub active: u64,
    /// The most that were in progress at one time.
    pub max_active: u64,
    /// Calls answered with a status of 400 or above, or cut.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Table {
    rules: Vec<(Fault, u64)>,
    log: Vec<CallRecord>,
    calls: BTreeMap<String, EndpointCalls>,
    all: EndpointCalls,
    seq: u64,
    keep: bool,
}

/// Switchboard of faults and the record of calls; clones share one table.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Table>>);

impl Faults {
    pub(crate) fn with_log(keep: bool) -> Self {
        let faults = Self::default();
        faults.table(|table| table.keep = keep);
        faults
    }

    fn table<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a rule; rules are tried in the order in which they were added.
    pub fn add(&self, fault: Fault) {
        self.table(|table| table.rules.push((fault, 0)));
    }

    /// Removes every rule.
    pub fn clear(&self) {
        self.table(|table| table.rules.clear());
    }

    /// How often each rule has hit, in the order of adding.
    pub fn hits(&self) -> Vec<u64> {
        self.table(|table| {
            table
                .rules
                .iter()
                .map(|(rule, seen)| seen.saturating_sub(rule.skip).min(rule.times))
                .collect()
        })
    }

    /// Calls so far, oldest first.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.table(|table| table.log.clone())
    }

    /// Counters by `METHOD endpoint`.
    pub fn counters(&self) -> BTreeMap<String, EndpointCalls> {
        self.table(|table| table.calls.clone())
    }

    /// Counters of all calls together.
    pub fn total(&self) -> EndpointCalls {
        self.table(|table| table.all)
    }

    /// Forgets log and counters; calls in progress stay counted.
    pub fn reset_counters(&self) {
        self.table(|table| {
            table.log.clear();
            for row in table.calls.values_mut().chain(std::iter::once(&mut table.all)) {
                *row = EndpointCalls {
                    active: row.active,
                    max_active: row.active,
                    ..EndpointCalls::default()
                };
            }
        });
    }

    /// The action for a call, if a rule hits it.
    pub(crate) fn hit(&self, method: &str, path: &str) -> Option<FaultAction> {
        self.table(|table| {
            let mut found = None;
            for (rule, seen) in &mut table.rules {
                if (rule.method == "*" || rule.method == method) && glob(&rule.path, path) {
                    *seen += 1;
                    let index = *seen - 1;
                    if found.is_none() && index >= rule.skip && index - rule.skip < rule.times {
                        found = Some(rule.action.clone());
                    }
                }
            }
            found
        })
    }

    pub(crate) fn begin(&self, method: &str, endpoint: &str) -> u64 {
        self.table(|table| {
            let row = table.calls.entry(format!("{method} {endpoint}")).or_default();
            for row in [row, &mut table.all] {
                row.count += 1;
                row.active += 1;
                row.max_active = row.max_active.max(row.active);
            }
            table.seq += 1;
            table.seq - 1
        })
    }

    pub(crate) fn end(&self, record: CallRecord) {
        self.table(|table| {
            let failed = u64::from(record.status == 0 || record.status >= 400);
            let row =
                table.calls.entry(format!("{} {}", record.method, record.endpoint)).or_default();
            for row in [row, &mut table.all] {
                row.active = row.active.saturating_sub(1);
                row.failed += failed;
            }
            if table.keep {
                table.log.push(record);
            }
        });
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any text.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    if !pattern.contains('*') {
        return rest.is_empty();
    }
    let mut rest = rest;
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, tail)) => rest = tail,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_paths() {
        assert!(glob("/nodes/*/qemu", "/nodes/pve01/qemu"));
        assert!(!glob("/nodes/*/qemu", "/nodes/pve01/qemu/100"));
        assert!(glob("/nodes/*/qemu/*/config", "/nodes/a/qemu/100/config"));
        assert!(glob("*", "/x"));
        assert!(!glob("/x", "/xy"));
    }

    #[test]
    fn a_rule_hits_the_nth_call_only() {
        let faults = Faults::with_log(true);
        faults.add(Fault::new("GET", "/version", FaultAction::LockTimeout).after(1).once());
        assert_eq!(faults.hit("GET", "/version"), None);
        assert_eq!(faults.hit("GET", "/version"), Some(FaultAction::LockTimeout));
        assert_eq!(faults.hit("GET", "/version"), None);
        assert_eq!(faults.hits(), vec![1]);
    }
}
