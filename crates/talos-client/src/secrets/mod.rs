//! Secrets bundles (`secrets.yaml`): everything of a cluster that must never be lost.

mod import;
mod make;
mod read;
mod write;

pub(crate) use make::AUTHORITY_LIFETIME;
pub use make::Contract;

use std::fmt;

use zeroize::Zeroizing;

use crate::pki::{Pem, PkiError};

/// A secrets bundle. Reading is lax, so every section may be absent; see [`Bundle::problems`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Identity of the cluster.
    pub cluster: Option<Cluster>,
    /// Secrets of Kubernetes.
    pub secrets: Option<Tokens>,
    /// Token that nodes show to trustd.
    pub trustd_token: Option<Text>,
    /// Authorities and keys.
    pub certs: Option<Certs>,
}

/// Identity of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// An opaque text.
    pub id: Text,
    /// 32 bytes in base64.
    pub secret: Text,
}

/// Secrets of Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Token of `kubeadm`'s form, such as `abcdef.0123456789abcdef`.
    pub bootstrap: Text,
    /// Encrypts what etcd stores, up to contract 1.2; empty when absent.
    pub aescbc: Text,
    /// Encrypts what etcd stores, from contract 1.3 on; empty when absent.
    pub secretbox: Text,
}

/// Authorities and keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certs {
    /// Authority of etcd.
    pub etcd: Option<Pair>,
    /// Authority of Kubernetes.
    pub k8s: Option<Pair>,
    /// Authority of the aggregated API.
    pub k8s_aggregator: Option<Pair>,
    /// Key that signs tokens of service accounts, as PEM.
    pub k8s_service_account: Option<Text>,
    /// Authority of the Talos API.
    pub os: Option<Pair>,
}

/// A certificate with its key, both as PEM texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub crt: Text,
    /// The key; `******` where it was redacted.
    pub key: Text,
}

/// A text that is not shown and is wiped when it is dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text(Zeroizing<Vec<u8>>);

impl Text {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Nothing stands there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, if it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    fn has_pem(&self) -> bool {
        self.text().is_some_and(|text| Pem::parse(text).is_ok())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Zeroizing::new(text.as_bytes().to_vec()))
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "(secret)" })
    }
}

/// Why a bundle cannot be read or made. It holds nothing of the bundle's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleError {
    /// The text is no bundle.
    Read {
        /// Line, from 1; 0 when there is none.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A file of a Kubernetes PKI folder is missing.
    Missing(&'static str),
    /// A file of a Kubernetes PKI folder cannot be used.
    Unusable(&'static str),
    /// A contract is not `v1.13` or the like.
    Contract(String),
    /// A key or certificate cannot be made.
    Pki(PkiError),
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { line: 0, message } => f.write_str(message),
            Self::Read { line, message } => write!(f, "line {line}: {message}"),
            Self::Missing(name) => write!(f, "the PKI folder has no {name}"),
            Self::Unusable(name) => write!(f, "{name} of the PKI folder has no usable PEM block"),
            Self::Contract(text) => write!(f, "{text:?} is no version such as v1.13"),
            Self::Pki(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BundleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Pki(error) => Some(error),
            _ => None,
        }
    }
}

impl From<PkiError> for BundleError {
    fn from(error: PkiError) -> Self {
        Self::Pki(error)
    }
}

impl Bundle {
    /// What keeps the bundle from being used, in the order of its fields; empty when nothing does.
    ///
    /// As with Talos, only presence and PEM are asked for: not that a key belongs to its
    /// certificate, nor algorithms, expiry or the form of tokens.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut need = |present: bool, what: &str| {
            if !present {
                problems.push(format!("{what} is required"));
            }
            present
        };
        if need(self.cluster.is_some(), "cluster") {
            let cluster = self.cluster.clone().unwrap_or_default();
            need(!cluster.id.is_empty(), "cluster.id");
            need(!cluster.secret.is_empty(), "cluster.secret");
        }
        if need(self.secrets.is_some(), "secrets") {
            let tokens = self.secrets.clone().unwrap_or_default();
            need(!tokens.bootstrap.is_empty(), "secrets.bootstraptoken");
            match (tokens.secretbox.is_empty(), tokens.aescbc.is_empty()) {
                (true, true) => {
                    need(false, "one of secretboxencryptionsecret and aescbcencryptionsecret");
                }
                (false, false) => {
                    need(false, "only one of secretboxencryptionsecret and aescbcencryptionsecret");
                }
                _ => {}
            }
        }
        if need(self.trustd_token.is_some(), "trustdinfo") {
            need(self.trustd_token.as_ref().is_some_and(|t| !t.is_empty()), "trustdinfo.token");
        }
        let Some(certs) = &self.certs else {
            need(false, "certs");
            return problems;
        };
        for (name, pair) in certs.pairs() {
            match pair {
                None => problems.push(format!("certs.{name} is required")),
                Some(pair) if !pair.crt.has_pem() || !pair.key.has_pem() => {
                    problems.push(format!("certs.{name} has no usable PEM block"));
                }
                Some(_) => {}
            }
        }
        match &certs.k8s_service_account {
            None => problems.push("certs.k8sserviceaccount is required".to_owned()),
            Some(key) if !key.has_pem() => {
                problems.push("certs.k8sserviceaccount has no usable PEM block".to_owned());
            }
            Some(_) => {}
        }
        problems
    }
}

impl Certs {
    /// The authorities with their names in the file.
    pub fn pairs(&self) -> [(&'static str, Option<&Pair>); 4] {
        [
            ("etcd", self.etcd.as_ref()),
            ("k8s", self.k8s.as_ref()),
            ("k8saggregator", self.k8s_aggregator.as_ref()),
            ("os", self.os.as_ref()),
        ]
    }
}

#[cfg(test)]
mod tests;
