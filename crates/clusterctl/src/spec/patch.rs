//! Pieces of machine configuration that the user adds.

use std::fmt;

use secrecy::SecretString;
use serde::{Serialize, Serializer};

/// A piece of configuration that the user adds.
#[derive(Debug, Clone, Serialize)]
pub struct Patch {
    /// Where it stands, `file:line`.
    pub origin: String,
    /// What it says.
    pub text: PatchText,
}

/// YAML or JSON, either kind of patch. Shown and written out without its secrets.
#[derive(Clone)]
pub enum PatchText {
    /// It holds nothing secret.
    Clear(String),
    /// It has values in it that come from an encrypted file or are marked as sensitive.
    Secret {
        /// The whole text.
        text: SecretString,
        /// The values of its fields that must not be told.
        values: Vec<SecretString>,
    },
    /// Something in it is encrypted and was not opened, for this reason.
    Sealed(String),
}

impl PatchText {
    /// The values in it that must not be told.
    pub fn secrets(&self) -> &[SecretString] {
        match self {
            Self::Secret { values, .. } => values,
            Self::Clear(_) | Self::Sealed(_) => &[],
        }
    }

    /// What stands for it where it is shown.
    fn shown(&self) -> &str {
        match self {
            Self::Clear(text) => text,
            Self::Secret { .. } => "(sensitive value)",
            Self::Sealed(_) => "(encrypted)",
        }
    }
}

impl fmt::Debug for PatchText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for PatchText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}
