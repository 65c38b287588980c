//! Why the lab cannot be had.

use std::fmt;
use std::path::Path;

use crate::error::{Error, ErrorKind};

/// What is wrong with the lab, for whoever wants to tell one from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabErrorKind {
    /// No lab runs here.
    NotRunning,
    /// The lab that runs was started by another build of this program.
    OtherBuild,
    /// It did not start, or ended while it started.
    Start,
    /// The process does not answer, or not in time.
    Unreachable,
    /// It answered that it cannot do what was asked.
    Refused,
    /// A file or folder of the lab cannot be used.
    File,
    /// This build has no lab.
    Missing,
}

/// Why the lab cannot be had.
#[derive(Debug)]
pub struct LabError {
    kind: LabErrorKind,
    message: String,
    details: Vec<String>,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl LabError {
    pub(super) fn new(kind: LabErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), details: Vec::new(), hint: None, source: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    pub(super) fn because(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A file that cannot be used; for `map_err`.
    pub(super) fn file<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        action: &str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        let message = format!("{action} {}", path.display());
        move |error| Self::new(LabErrorKind::File, message).because(error)
    }

    /// Which kind.
    pub fn kind(&self) -> LabErrorKind {
        self.kind
    }

    /// What to do about it.
    pub fn help(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for LabError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl From<LabError> for Error {
    fn from(error: LabError) -> Self {
        let kind = match error.kind {
            LabErrorKind::OtherBuild => ErrorKind::Refused,
            LabErrorKind::Missing => ErrorKind::Usage,
            _ => ErrorKind::Failed,
        };
        let mut failure = Self::new(kind, error.message);
        for detail in error.details {
            failure = failure.detail(detail);
        }
        if let Some(hint) = error.hint {
            failure = failure.hint(hint);
        }
        match error.source {
            Some(source) => failure.because(source),
            None => failure,
        }
    }
}
