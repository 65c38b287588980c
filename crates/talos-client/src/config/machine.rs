//! A machine configuration: documents in their order, nothing of them lost.

use std::fmt;

use serde_json::Value;
use zeroize::Zeroizing;

use super::place::Lines;
use super::text;
use crate::yaml;

/// Why a configuration or a patch cannot be used. It names fields and holds no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// What it is about, such as a file.
    origin: Option<String>,
    /// The line, from 1; 0 when there is none.
    line: usize,
    message: String,
    class: &'static str,
    /// The field, behind the kind of its document.
    path: String,
    hint: Option<String>,
}

impl ConfigError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::classed("", message)
    }

    pub(super) fn classed(class: &'static str, message: impl Into<String>) -> Self {
        Self {
            origin: None,
            line: 0,
            message: message.into(),
            class,
            path: String::new(),
            hint: None,
        }
    }

    /// The line that it is about, from 1, where one is known.
    pub fn line(&self) -> Option<usize> {
        (self.line > 0).then_some(self.line)
    }

    /// What to do about it, where that can be told.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// What is wrong, without its place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Finds the line in the text that it comes from, for a document by its number.
    pub(super) fn located(mut self, text: &str, document: usize) -> Self {
        if self.line == 0 {
            // The kind of the document stands before its fields.
            let (_, path) = self.path.split_once('.').unwrap_or_default();
            self.line = Lines::of(text).line_in(document, path).unwrap_or_default();
        }
        self
    }

    /// A word that stays the same whatever the text says, such as `unknown-keys`; empty where
    /// there is none.
    pub fn class(&self) -> &'static str {
        self.class
    }

    pub(super) fn at(mut self, origin: &str) -> Self {
        self.origin = Some(origin.to_owned());
        self
    }
}

impl From<yaml::YamlError> for ConfigError {
    fn from(error: yaml::YamlError) -> Self {
        let class = match error.message {
            "a key stands twice in one map" => "duplicate-key",
            _ => "bad-yaml",
        };
        Self { line: error.line, ..Self::classed(class, error.message) }
    }
}

impl From<super::typed::Refused> for ConfigError {
    fn from(refused: super::typed::Refused) -> Self {
        Self {
            path: refused.path,
            hint: refused.hint,
            ..Self::classed(refused.class, refused.message)
        }
    }
}

impl From<super::SchemaError> for ConfigError {
    fn from(error: super::SchemaError) -> Self {
        let hint = error.hint();
        Self {
            line: error.line,
            path: error.path,
            hint,
            ..Self::classed("unknown-keys", error.message)
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// What tells one document from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId {
    /// `v1alpha1` for the document without a kind, else the kind.
    pub kind: String,
    /// The name, where the kind has one.
    pub name: String,
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            f.write_str(&self.kind)
        } else {
            write!(f, "{}/{}", self.kind, self.name)
        }
    }
}

/// The machine configuration of a node. Most of it is secret.
#[derive(Clone, PartialEq)]
pub struct MachineConfig {
    documents: Vec<Value>,
}

impl fmt::Debug for MachineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<String> = self.ids().map(|id| id.to_string()).collect();
        f.debug_struct("MachineConfig").field("documents", &ids).finish_non_exhaustive()
    }
}

/// The id of a document.
pub(super) fn id_of(document: &Value) -> DocumentId {
    let field = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind = if document.get("kind").is_some() { field("kind") } else { "v1alpha1" };
    DocumentId { kind: kind.to_owned(), name: field("name").to_owned() }
}

impl MachineConfig {
    pub(crate) fn of_documents(documents: Vec<Value>) -> Self {
        Self { documents }
    }

    /// Reads a configuration. Kinds and fields that are not known stay as they are.
    ///
    /// # Errors
    /// The text is no YAML, or a document is no mapping.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Ok(Self { documents: text::read(text)? })
    }

    /// The configuration as YAML, in the style of Talos' own writer.
    pub fn to_yaml(&self) -> Zeroizing<String> {
        Zeroizing::new(text::write(&self.documents))
    }

    /// What documents there are.
    pub fn ids(&self) -> impl Iterator<Item = DocumentId> {
        self.documents.iter().map(id_of)
    }

    /// The documents as data. They hold secrets.
    pub fn documents(&self) -> &[Value] {
        &self.documents
    }

    pub(super) fn into_documents(self) -> Vec<Value> {
        self.documents
    }

    /// The document of a kind and name.
    pub fn document(&self, kind: &str, name: &str) -> Option<&Value> {
        self.documents.iter().find(|document| {
            let id = id_of(document);
            id.kind == kind && id.name == name
        })
    }

    /// A value of the main document by its JSON pointer, such as `/machine/install/image`.
    pub fn value(&self, pointer: &str) -> Option<&Value> {
        self.document("v1alpha1", "")?.pointer(pointer)
    }
}

/// Names of fields whose values are secret, wherever they stand and in whatever case: a bundle of
/// secrets has them in lower case.
const SECRET: [&str; 14] = [
    "token",
    "key",
    "secret",
    "clusterSecret",
    "bootstraptoken",
    "aescbcEncryptionSecret",
    "secretboxEncryptionSecret",
    "privateKey",
    "passphrase",
    "password",
    "auth",
    "identityToken",
    "apiToken",
    "presharedKey",
];

pub(super) fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|one| one.eq_ignore_ascii_case(name))
}

/// Tells two secrets apart without telling either.
pub(super) fn fingerprint(text: &str) -> String {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    let digest = sha2::Sha256::digest(text.as_bytes());
    let hex = digest.iter().take(6).fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _: fmt::Result = write!(hex, "{byte:02x}");
        hex
    });
    format!("(secret sha256:{hex})")
}
