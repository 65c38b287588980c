//! When certificates end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::prelude::FromDer as _;

use crate::config::ConfigError;
use crate::pki::Pem;
use crate::yaml::{self, Node};

/// A certificate that was found, and when it is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Where it stands, such as `certs.os.crt`.
    pub path: String,
    /// Whom it is of, as RFC 4514 writes it; empty where it says nothing.
    pub subject: String,
    /// Whether it is an authority.
    pub is_authority: bool,
    /// Its begin, in seconds since 1970.
    pub not_before: i64,
    /// Its end, in seconds since 1970.
    pub not_after: i64,
}

impl Expiry {
    /// How many seconds are left; below zero when it has ended.
    pub fn left(&self, now: i64) -> i64 {
        self.not_after.saturating_sub(now)
    }

    /// Whether it is valid at a time.
    pub fn is_valid(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

/// All certificates in a text, whatever it is: a bundle, machine configuration, talosconfig or kubeconfig.
/// Those that end first come first. PEM is found as it is and in base64.
///
/// # Errors
/// The text is no YAML.
pub fn expiries(text: &str) -> Result<Vec<Expiry>, ConfigError> {
    let mut found = Vec::new();
    for document in yaml::documents(text)? {
        walk(&document, "", &mut found);
    }
    found.sort_by(|one, other| (one.not_after, &one.path).cmp(&(other.not_after, &other.path)));
    Ok(found)
}

fn walk(node: &Node, path: &str, found: &mut Vec<Expiry>) {
    match node {
        Node::Map(entries) => {
            for (name, node) in entries {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(node, &path, found);
            }
        }
        Node::List(items) => {
            for (index, node) in items.iter().enumerate() {
                walk(node, &format!("{path}[{index}]"), found);
            }
        }
        Node::Scalar { text, .. } => {
            if text.contains(BEGIN) {
                certificates(text, path, found);
            } else if text.starts_with(BEGIN_ENCODED) {
                let packed: String = text.split_whitespace().collect();
                let decoded = STANDARD.decode(packed).ok();
                if let Some(text) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
                    certificates(&text, path, found);
                }
            }
        }
    }
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// The same in base64, as far as it does not depend on what follows.
const BEGIN_ENCODED: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t";

fn certificates(text: &str, path: &str, found: &mut Vec<Expiry>) {
    for (start, _) in text.match_indices(BEGIN) {
        let pem = text.get(start..).and_then(|rest| Pem::parse(rest).ok());
        found.extend(pem.and_then(|pem| expiry(&pem, path)));
    }
}

fn expiry(pem: &Pem, path: &str) -> Option<Expiry> {
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(pem.der()).ok()?;
    Some(Expiry {
        path: path.to_owned(),
        subject: parsed.subject().to_string(),
        is_authority: parsed.is_ca(),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
    })
}
