//! The lab's own authority, and certificates for the names of the tree.

use std::collections::BTreeSet;
use std::path::Path;

use imagefactory::sim::SimTls;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde::{Deserialize, Serialize};

use super::super::error::{LabError, LabErrorKind};
use crate::state::{Mode, read_if_present, write};

/// An authority that outlives the process.
#[derive(Serialize, Deserialize)]
pub(super) struct Authority {
    pub(super) ca_pem: String,
    key_pem: String,
}

fn failed(error: rcgen::Error) -> LabError {
    LabError::new(LabErrorKind::Start, "make the lab's certificates").because(error)
}

impl Authority {
    /// The one of earlier runs, or a new one.
    ///
    /// # Errors
    /// It cannot be read, made or written.
    pub(super) fn open(path: &Path) -> Result<Self, LabError> {
        if let Some(bytes) = read_if_present(path).map_err(LabError::file("read", path))? {
            return serde_json::from_slice(&bytes).map_err(LabError::file("read", path));
        }
        let key = KeyPair::generate().map_err(failed)?;
        let ca = Self::parameters().self_signed(&key).map_err(failed)?;
        let made = Self { ca_pem: ca.pem(), key_pem: key.serialize_pem() };
        let text = serde_json::to_vec(&made).map_err(LabError::file("write", path))?;
        write(path, &text, Mode::Private).map_err(LabError::file("write", path))?;
        Ok(made)
    }

    fn parameters() -> CertificateParams {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name.push(DnType::CommonName, "clusterctl lab authority");
        ca
    }

    /// A certificate for these names and for loopback.
    ///
    /// # Errors
    /// A name cannot stand in a certificate.
    pub(super) fn issue(&self, names: &BTreeSet<String>) -> Result<SimTls, LabError> {
        let key = KeyPair::from_pem(&self.key_pem).map_err(failed)?;
        let issuer = Issuer::from_ca_cert_pem(&self.ca_pem, key).map_err(failed)?;
        let fixed = ["localhost", "127.0.0.1"].map(str::to_owned);
        let names: BTreeSet<String> = names.iter().cloned().chain(fixed).collect();
        let mut leaf =
            CertificateParams::new(names.into_iter().collect::<Vec<_>>()).map_err(failed)?;
        leaf.use_authority_key_identifier_extension = true;
        leaf.distinguished_name.push(DnType::CommonName, "clusterctl lab");
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = leaf.signed_by(&key, &issuer).map_err(failed)?;
        Ok(SimTls::from_pem(&self.ca_pem, &certificate.pem(), &key.serialize_pem()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_made_once_and_issues_for_any_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("authority.json");
        let first = Authority::open(&path).unwrap();
        let again = Authority::open(&path).unwrap();
        assert_eq!(first.ca_pem, again.ca_pem);
        let names = BTreeSet::from(["factory.talos.dev".to_owned()]);
        assert!(!again.issue(&names).unwrap().certificate_der().unwrap().is_empty());
    }
}
