//! Certificates of the simulators.

use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::SimError;

/// A certificate with its key and its authority.
#[derive(Clone)]
pub struct SimTls {
    authority: String,
    chain: String,
    key: String,
}

impl std::fmt::Debug for SimTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimTls").finish_non_exhaustive()
    }
}

impl SimTls {
    /// Makes an authority and a certificate for these names, `localhost` and 127.0.0.1.
    ///
    /// # Errors
    /// A name cannot stand in a certificate.
    pub fn new(names: &[String]) -> Result<Self, SimError> {
        let failed = |error: rcgen::Error| SimError::new("no certificate can be made", error);
        let ca_key = rcgen::KeyPair::generate().map_err(failed)?;
        let mut ca = rcgen::CertificateParams::default();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        ca.distinguished_name.push(rcgen::DnType::CommonName, "lab image factory authority");
        let authority = ca.self_signed(&ca_key).map_err(failed)?.pem();
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let fixed = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let names: Vec<String> = names.iter().chain(&fixed).cloned().collect();
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let leaf = rcgen::CertificateParams::new(names).map_err(failed)?;
        let chain = leaf.signed_by(&key, &issuer).map_err(failed)?.pem();
        Ok(Self { authority, chain, key: key.serialize_pem() })
    }

    /// Takes a certificate (with its chain), its key and its authority, all PEM.
    pub fn from_pem(ca: &str, chain: &str, key: &str) -> Self {
        Self { authority: ca.to_owned(), chain: chain.to_owned(), key: key.to_owned() }
    }

    /// The authority.
    pub fn ca_pem(&self) -> &str {
        &self.authority
    }

    /// The first certificate, as DER.
    ///
    /// # Errors
    /// The PEM text makes no sense.
    pub fn certificate_der(&self) -> Result<Vec<u8>, SimError> {
        let certificate = CertificateDer::from_pem_slice(self.chain.as_bytes())
            .map_err(|error| SimError::new("its certificate cannot be read", error))?;
        Ok(certificate.to_vec())
    }

    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, SimError> {
        let unreadable = |error| SimError::new("its certificate cannot be read", error);
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(unreadable)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(unreadable)?;
        let failed = |error: rustls::Error| SimError::new("TLS cannot be set up", error);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(failed)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
