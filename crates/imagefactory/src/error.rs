//! The one error type of this crate.

use std::error::Error as StdError;
use std::fmt;

/// What went wrong, as far as a caller may want to act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A schematic cannot be read: syntax, an unknown key, a wrong type.
    InvalidSchematic,
    /// An input of a build cannot be used: an archive, a manifest, a base image.
    InvalidInput,
    /// The builder cannot do this, and says so before it begins.
    Unsupported,
    /// An argument (a URL, a reference, a digest, a version) cannot be used.
    InvalidArgument,
    /// The server does not have it: an unknown version, schematic, image or blob.
    NotFound,
    /// The server wants a credential, or refuses the one it was given.
    Unauthorized,
    /// The server refuses the request and will refuse it again.
    Refused,
    /// The server could not be reached, broke off, or says that it cannot serve now.
    Unavailable,
    /// What arrived is not what was asked for: another digest, size or id.
    Mismatch,
    /// The server's answer makes no sense.
    Protocol,
    /// A file cannot be read or written.
    Io,
    /// TLS cannot be set up, or the server's certificate is not trusted.
    Tls,
    /// It is in use; nothing was done.
    Busy,
}

impl ErrorKind {
    /// A short name for messages and machine output.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidSchematic => "invalid-schematic",
            Self::InvalidInput => "invalid-input",
            Self::Unsupported => "unsupported",
            Self::InvalidArgument => "invalid-argument",
            Self::NotFound => "not-found",
            Self::Unauthorized => "unauthorized",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Mismatch => "mismatch",
            Self::Protocol => "protocol",
            Self::Io => "io",
            Self::Tls => "tls",
            Self::Busy => "busy",
        }
    }
}

/// An error of this crate: what was attempted, on what, and why it failed.
///
/// Its text does not repeat its [`source`](StdError::source).
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    help: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), help: None, source: None }))
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// The same failure, with what it happened to as the outer text; kind and help stay.
    pub(crate) fn within(self, what: impl Into<String>) -> Self {
        let mut outer = Self::new(self.kind(), what);
        outer.0.help.clone_from(&self.0.help);
        outer.with_source(self)
    }

    /// It and its causes on one line, for texts that are no error.
    pub(crate) fn told(&self) -> String {
        let causes = std::iter::successors(Some(self as &dyn StdError), |one| (*one).source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What to do about it, if that can be said.
    pub fn help(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }

    /// Whether the server does not have what was asked for.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("help", &self.0.help)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::new(ErrorKind::Io, what).with_source(source)
}
