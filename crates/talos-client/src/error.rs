//! The one error of the client.

use std::fmt;

/// What kind of failure it is: what a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was given cannot be used: a certificate, a key, an argument, an address that the
    /// dialler does not know. Nothing was sent.
    Config,
    /// No connection: refused, no route, or no answer in time. Nothing was sent.
    Unreachable,
    /// The TLS handshake failed: another authority, a name that is not in the certificate, or the
    /// node refused the client's certificate.
    Tls,
    /// The node in maintenance mode has another key than the pin says. Nothing was sent.
    Pin,
    /// The node that answered is not the one that was meant.
    WrongNode,
    /// The node wants a client certificate.
    Unauthenticated,
    /// The client's roles do not allow the call, or the node is still in maintenance mode.
    PermissionDenied,
    /// The node's version or type does not have the call, or maintenance mode does not.
    Unimplemented,
    /// The node refused what was sent: a configuration that is not valid, for instance.
    InvalidArgument,
    /// There is no such thing.
    NotFound,
    /// It is there already.
    AlreadyExists,
    /// The state of the node forbids the call.
    FailedPrecondition,
    /// The node is not that far yet: it boots, or waits for the time.
    NotReady,
    /// The node does something else at the moment.
    Busy,
    /// The node, or what it needs for the answer, is not available.
    Unavailable,
    /// No answer within the time limit of the call.
    Timeout,
    /// The connection broke before the answer was complete.
    Interrupted,
    /// The answer is not what the API promises.
    Protocol,
    /// The node failed in a way that has no kind of its own.
    Server,
}

impl ErrorKind {
    /// A short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "not usable",
            Self::Unreachable => "unreachable",
            Self::Tls => "TLS",
            Self::Pin => "wrong key",
            Self::WrongNode => "wrong node",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission denied",
            Self::Unimplemented => "unimplemented",
            Self::InvalidArgument => "invalid argument",
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::FailedPrecondition => "failed precondition",
            Self::NotReady => "not ready yet",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::Protocol => "unexpected answer",
            Self::Server => "server error",
        }
    }

    /// Whether the same call may succeed later without a change by the caller.
    fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::NotReady
                | Self::Busy
                | Self::Unavailable
                | Self::Timeout
                | Self::Interrupted
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a call failed. It holds no secret: texts of a node about a configuration are shortened to
/// what names no value.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    node: String,
    operation: &'static str,
    message: String,
    server: bool,
    applied: bool,
    stale: bool,
}

/// How much of a node's text is kept.
const LONGEST: usize = 8 << 10;

impl Error {
    pub(crate) fn new(
        kind: ErrorKind,
        operation: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self(Box::new(Inner {
            kind,
            node: String::new(),
            operation,
            message: tamed(&message.into()),
            server: false,
            applied: false,
            stale: false,
        }))
    }

    /// Something that was given cannot be used.
    pub(crate) fn config(operation: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, operation, message)
    }

    /// An answer that is not what the API promises.
    pub(crate) fn protocol(operation: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, operation, message)
    }

    pub(crate) fn at(mut self, node: impl fmt::Display) -> Self {
        self.0.node = node.to_string();
        self
    }

    pub(crate) fn by_server(mut self) -> Self {
        self.0.server = true;
        self
    }

    pub(crate) fn maybe_applied(mut self, applied: bool) -> Self {
        self.0.applied = applied;
        self
    }

    /// The connection had broken earlier: nothing of the call was sent.
    pub(crate) fn stale(mut self) -> Self {
        self.0.stale = true;
        self
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.0.stale
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(crate) fn with_message(mut self, message: impl Into<String>) -> Self {
        self.0.message = tamed(&message.into());
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Address of the node; empty when no node was involved.
    pub fn node(&self) -> &str {
        &self.0.node
    }

    /// What was tried, such as `apply the configuration`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Why it failed, without node and operation.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The node's own words, if it answered.
    pub fn server_text(&self) -> Option<&str> {
        self.0.server.then_some(self.0.message.as_str())
    }

    /// The same call may succeed later without a change by the caller. Before a call that changes
    /// something is repeated, see [`Error::may_have_been_applied`].
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_transient()
    }

    /// The call was sent, it changes something, and it is not known whether it had an effect.
    pub fn may_have_been_applied(&self) -> bool {
        self.0.applied
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, node, operation, message, server, applied, .. } = &*self.0;
        if !node.is_empty() {
            write!(f, "{node}: ")?;
        }
        write!(f, "{operation}: {message}")?;
        if *server && !message.is_empty() {
            write!(f, " ({kind})")?;
        } else if message.is_empty() {
            write!(f, "{kind}")?;
        }
        if *applied {
            f.write_str("; it is not known whether this had an effect")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("node", &self.0.node)
            .field("operation", &self.0.operation)
            .field("message", &self.0.message)
            .field("may_have_been_applied", &self.0.applied)
            .finish()
    }
}

impl std::error::Error for Error {}

/// A text for people: no control characters, not endless.
fn tamed(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LONGEST));
    for c in text.trim_end().chars() {
        if out.len() >= LONGEST {
            out.push('…');
            break;
        }
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_node_operation_and_reason() {
        let error = Error::new(ErrorKind::PermissionDenied, "bootstrap etcd", "not authorized\n")
            .at("10.0.0.1")
            .by_server();
        assert_eq!(
            error.to_string(),
            "10.0.0.1: bootstrap etcd: not authorized (permission denied)"
        );
        assert_eq!(error.server_text(), Some("not authorized"));
        assert!(!error.is_retryable());
        let error =
            Error::new(ErrorKind::Interrupted, "reboot", "connection reset").maybe_applied(true);
        assert!(error.is_retryable() && error.may_have_been_applied());
        assert!(error.to_string().ends_with("not known whether this had an effect"));
    }

    #[test]
    fn a_nodes_text_is_tamed() {
        let error = Error::new(ErrorKind::Server, "read", "a\u{1b}[31mb\r\nc");
        assert_eq!(error.message(), "a\u{fffd}[31mb\u{fffd}\nc");
        let error = Error::new(ErrorKind::Server, "read", "x".repeat(LONGEST * 2));
        assert!(error.message().len() < LONGEST + 8);
    }
}
