//! SOPS files with age recipients, read and written in process.
//!
//! Reads YAML, JSON, dotenv and binary files; writes YAML, JSON and binary files of our own.
//! INI is refused by name, other key services with the name of the service. Every value is
//! opened with its path as additional data, and the MAC over all of them is verified before
//! anything is handed out.

mod cipher;
mod config;
mod dotenv;
mod error;
mod identity;
mod json;
mod metadata;
mod read;
mod rule;
mod shamir;
mod tree;
mod write;
mod yaml;

pub use config::{CreationRule, EncryptOptions, find_rule, rule_of};
pub use error::{SopsClass, SopsError};
pub use identity::{Identities, IdentitySources};
pub use read::{Decrypted, decrypt};
pub use rule::Selection;
pub use tree::{Key, Tree, Value};

pub use write::{Encrypted, Plain, Step, encrypt, time_text};

use std::path::Path;

/// Forms of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML, one or more documents.
    Yaml,
    /// A JSON object.
    Json,
    /// `KEY=value` lines.
    Dotenv,
    /// INI; refused.
    Ini,
    /// Any bytes, kept in a JSON envelope.
    Binary,
}

impl Format {
    /// The form that a file's name means, as sops guesses it.
    pub fn of_path(path: &Path) -> Self {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("yaml" | "yml") => Self::Yaml,
            Some("json") => Self::Json,
            Some("env") => Self::Dotenv,
            Some("ini") => Self::Ini,
            _ => Self::Binary,
        }
    }

    /// Reads a form's name.
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "yaml" => Self::Yaml,
            "json" => Self::Json,
            "dotenv" => Self::Dotenv,
            "ini" => Self::Ini,
            "binary" => Self::Binary,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
