//! Keys and certificates in the exact form that Talos makes and reads.

mod certificate;
mod der;
mod key;
mod pem;

pub use certificate::{Authority, Issued, issue_client, make_authority};
pub use key::{KeyKind, PrivateKey};
pub use pem::Pem;

use std::fmt;

/// Why a key or certificate cannot be used. It holds nothing of either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PkiError(&'static str);

impl PkiError {
    pub(crate) fn new(message: &'static str) -> Self {
        Self(message)
    }
}

impl fmt::Display for PkiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for PkiError {}

type Result<T> = std::result::Result<T, PkiError>;

#[cfg(test)]
mod tests;
