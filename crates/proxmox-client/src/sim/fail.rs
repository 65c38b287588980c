//! Failures of calls, with the texts of the real server.

use std::collections::BTreeMap;

/// A refused or failed call.
#[derive(Debug, Clone)]
pub(crate) struct Fail {
    pub(crate) status: u16,
    /// The whole message as it stands in the body.
    pub(crate) message: String,
    pub(crate) errors: BTreeMap<String, String>,
    /// The answer has no JSON body.
    pub(crate) bare: Bare,
    /// The call waits for the lock of this machine and is tried again.
    pub(crate) wait_lock: Option<u32>,
}

/// Bodies of answers that are not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bare {
    /// JSON.
    No,
    /// No body.
    Empty,
    /// The message as plain text.
    Text,
}

impl Fail {
    fn new(status: u16, message: String) -> Self {
        Self { status, message, errors: BTreeMap::new(), bare: Bare::No, wait_lock: None }
    }

    /// 500 with a text.
    pub(crate) fn die(message: impl AsRef<str>) -> Self {
        Self::new(500, format!("{}\n", message.as_ref()))
    }

    /// 500 with a text and the place in the code, as an error without a newline prints.
    pub(crate) fn perl(message: impl AsRef<str>, module: &str) -> Self {
        Self::new(
            500,
            format!("{} at /usr/share/perl5/PVE/{module}.pm line 1.\n", message.as_ref()),
        )
    }

    /// 400 about one parameter.
    pub(crate) fn param(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::params(BTreeMap::from([(name.into(), text.into())]))
    }

    /// 400 about several parameters.
    pub(crate) fn params(errors: BTreeMap<String, String>) -> Self {
        Self { errors, ..Self::new(400, "Parameter verification failed.\n".to_owned()) }
    }

    /// 403 with what was missing.
    pub(crate) fn denied(what: &str) -> Self {
        let text = if what.is_empty() { String::new() } else { format!(" ({what})") };
        Self::new(403, format!("Permission check failed{text}\n"))
    }

    /// Any status; the message gets no newline.
    pub(crate) fn status(status: u16, message: impl Into<String>) -> Self {
        Self::new(status, message.into())
    }

    /// 401, without a body.
    pub(crate) fn unauthorized(message: &str) -> Self {
        Self { bare: Bare::Empty, ..Self::new(401, message.to_owned()) }
    }

    /// A status with the message as plain text.
    pub(crate) fn text(status: u16, message: impl Into<String>) -> Self {
        Self { bare: Bare::Text, ..Self::new(status, message.into()) }
    }

    /// A status and reason without a body.
    pub(crate) fn empty(status: u16, message: impl Into<String>) -> Self {
        Self { bare: Bare::Empty, ..Self::new(status, message.into()) }
    }

    /// The lock of a machine is held; the server waits before it says so.
    pub(crate) fn locked(vmid: u32) -> Self {
        Self { wait_lock: Some(vmid), ..Self::die(lock_text(vmid)) }
    }

    /// The reason phrase: the first line.
    pub(crate) fn reason(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }

    /// The message without its newline, as the end of a task.
    pub(crate) fn task_text(&self) -> String {
        self.message.trim_end().to_owned()
    }

    /// Wraps an error of a locked section: a 400 becomes a 500 whose lines name the parameters.
    #[must_use]
    pub(crate) fn wrap(self, prefix: &str) -> Self {
        if self.status == 403 || self.status == 401 {
            return self;
        }
        if self.errors.is_empty() {
            return Self::new(500, format!("{prefix}: {}", self.message));
        }
        let lines: Vec<String> =
            self.errors.iter().map(|(key, text)| format!("{key}: {text}\n")).collect();
        let lines = lines.concat();
        Self::new(500, format!("{prefix}: {} {}{lines}", self.status, self.message))
    }
}

/// What a lock file of a machine says after the wait.
pub(crate) fn lock_text(vmid: u32) -> String {
    format!("can't lock file '/var/lock/qemu-server/lock-{vmid}.conf' - got timeout")
}
