//! What can go wrong, and what may have happened nevertheless.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;

/// The result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// What a read answers: none where the object is not there.
pub(crate) fn found<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The class of an error: what a caller decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The object, or one that it names, does not exist.
    NotFound,
    /// The object exists already.
    AlreadyExists,
    /// Somebody changed the configuration in between: read again.
    Conflict,
    /// A lock is held by someone else: try again later.
    Busy,
    /// Something else names or uses the object: it stays.
    InUse,
    /// The cluster has no quorum.
    Quorum,
    /// Server or node could not be reached, or the answer was lost.
    Unreachable,
    /// The certificate is not trusted. Nothing was sent.
    Tls,
    /// Not authenticated.
    Auth,
    /// A privilege is missing.
    Forbidden,
    /// A parameter is wrong.
    Invalid,
    /// This server does not know the call or a parameter.
    Unsupported,
    /// A token was made and the answer with its secret was lost: nobody has it.
    SecretLost,
    /// A task ended with an error that fits no other class.
    TaskFailed,
    /// The answer is not what the API promises.
    Protocol,
    /// The settings of the client are wrong. Nothing was sent.
    Config,
    /// Any other refusal of the server.
    Server,
}

/// An error of the client, with the server's words.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: String,
    target: String,
    text: String,
    status: Option<u16>,
    parameters: BTreeMap<String, String>,
    applied: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(
        kind: ErrorKind,
        operation: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self(Box::new(Inner {
            kind,
            operation: operation.into(),
            target: String::new(),
            text: text.into(),
            status: None,
            parameters: BTreeMap::new(),
            applied: false,
            source: None,
        }))
    }

    pub(crate) fn config(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, "configure the client", text)
    }

    pub(crate) fn at(mut self, target: &str) -> Self {
        target.clone_into(&mut self.0.target);
        self
    }

    pub(crate) fn applied(mut self, applied: bool) -> Self {
        self.0.applied = applied;
        self
    }

    pub(crate) fn because(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    pub(crate) fn answered(mut self, status: u16, parameters: BTreeMap<String, String>) -> Self {
        self.0.status = Some(status);
        self.0.parameters = parameters;
        self
    }

    /// The class.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Method and path of the call, such as `POST /nodes/pve01/qemu`.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// The endpoint that was asked; empty where none was.
    pub fn target(&self) -> &str {
        &self.0.target
    }

    /// The server's words, or why there are none.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The HTTP status, where there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// What the server says about single parameters.
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.0.parameters
    }

    /// Whether the same call can work later without any other change. Where
    /// [`Self::may_have_been_applied`] holds too, read the state first.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Busy | ErrorKind::Quorum | ErrorKind::Unreachable)
    }

    /// Whether the server may have done what was asked, wholly or in part, although the call failed.
    pub fn may_have_been_applied(&self) -> bool {
        self.0.applied
    }

    /// What a reader can do about it.
    pub fn help(&self) -> Option<&'static str> {
        Some(match self.0.kind {
            ErrorKind::Tls => {
                "give the CA of the cluster or the SHA-256 fingerprint of the certificate"
            }
            ErrorKind::Auth => "check the API token or the user's password",
            ErrorKind::Forbidden => {
                "grant the privilege on the path that the server names, to the user and to the token"
            }
            ErrorKind::Busy => "wait until the other operation ends",
            ErrorKind::Quorum => "bring back the cluster's other nodes",
            ErrorKind::SecretLost => {
                "give the token a new secret (9.2), or remove it and make it anew"
            }
            ErrorKind::InUse => "change what names it first",
            ErrorKind::Conflict => "read the configuration again and repeat",
            _ => return None,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.operation)?;
        if !self.0.target.is_empty() {
            write!(f, " at {}", self.0.target)?;
        }
        write!(f, ": {}", self.0.text.trim_end())?;
        for (name, text) in &self.0.parameters {
            write!(f, "; {name}: {}", text.trim_end())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("status", &self.0.status)
            .field("may_have_been_applied", &self.0.applied)
            .field("text", &self.to_string())
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// The class of a text that stands in an answer with this status, or that ended a task.
pub(crate) fn classify(
    status: u16,
    text: &str,
    parameters: &BTreeMap<String, String>,
) -> ErrorKind {
    match status {
        401 => return ErrorKind::Auth,
        403 => return ErrorKind::Forbidden,
        501 | 506 => return ErrorKind::Unsupported,
        595..=599 => return ErrorKind::Unreachable,
        _ => {}
    }
    let says = |needles: &[&str]| {
        needles.iter().any(|needle| {
            text.contains(needle) || parameters.values().any(|value| value.contains(needle))
        })
    };
    if says(&["no quorum", "cluster filesystem not online"]) {
        ErrorKind::Quorum
    } else if says(&[
        "can't lock file",
        "got lock request timeout",
        "-locked command timed out",
        "VM is locked",
        "CT is locked",
        "invalid lock token",
        "got no worker upid",
        "could not acquire lock",
    ]) {
        ErrorKind::Busy
    } else if says(&["detected modified configuration", "file change by other user"]) {
        ErrorKind::Conflict
    } else if says(&[
        "only root can set",
        "Only root can pass",
        "Only root may use",
        "missing privileges to access",
    ]) {
        ErrorKind::Forbidden
    } else if says(&["hostname lookup"]) {
        ErrorKind::Unreachable
    } else if says(&["already exist", "already defined", "already used", "already a pool member"]) {
        ErrorKind::AlreadyExists
    } else if says(&[
        "does not exist",
        "doesn't exist",
        "no such ",
        "No such storage",
        "not found",
        "no rule at position",
        "unable to find configuration file",
        "not HA managed",
    ]) {
        ErrorKind::NotFound
    } else if says(&["property is not defined in schema"]) {
        ErrorKind::Unsupported
    } else if status == 400 || text.contains("400 Parameter verification failed") {
        ErrorKind::Invalid
    } else {
        ErrorKind::Server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_server_fall_into_classes() {
        let table = [
            (
                500,
                "Configuration file 'nodes/a/qemu-server/1.conf' does not exist",
                ErrorKind::NotFound,
            ),
            (
                500,
                "unable to create VM 1 - VM 1 already exists on node 'a'",
                ErrorKind::AlreadyExists,
            ),
            (
                500,
                "can't lock file '/var/lock/qemu-server/lock-1.conf' - got timeout",
                ErrorKind::Busy,
            ),
            (500, "VM quit/powerdown failed - got timeout", ErrorKind::Server),
            (500, "VM 1 qga command 'guest-ping' failed - got timeout", ErrorKind::Server),
            (500, "'domain-sdn'-locked command timed out - aborting", ErrorKind::Busy),
            (500, "cfs-lock 'storage-a' error: got lock request timeout", ErrorKind::Busy),
            (500, "cfs-lock 'domain-sdn' error: no quorum!", ErrorKind::Quorum),
            (500, "checksum mismatch (file change by other user?)", ErrorKind::Conflict),
            (500, "only root can set 'args' config", ErrorKind::Forbidden),
            (403, "Permission check failed", ErrorKind::Forbidden),
            (596, "", ErrorKind::Unreachable),
            (501, "Method 'GET /x' not implemented", ErrorKind::Unsupported),
            (400, "Parameter verification failed.", ErrorKind::Invalid),
            (500, "VM 1 not running", ErrorKind::Server),
            (500, "cannot delete service 'vm:1', not HA managed!", ErrorKind::NotFound),
        ];
        for (status, text, kind) in table {
            assert_eq!(classify(status, text, &BTreeMap::new()), kind, "{text}");
        }
    }
}
