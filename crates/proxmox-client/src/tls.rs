//! Which certificates are trusted.

use std::fmt;
use std::sync::{Arc, Mutex};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// Which server certificates are trusted.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Trust {
    /// The roots of the operating system.
    #[default]
    System,
    /// These CA certificates, in PEM.
    Ca(String),
    /// Leaf certificates with one of these SHA-256 fingerprints. Each node of a cluster has its own.
    Pins(Vec<Fingerprint>),
    /// Any certificate. Every client made so logs a warning: whoever sits in between reads the credentials.
    DangerousInsecure,
}

/// The SHA-256 of a certificate: 32 pairs of hex digits, joined by colons.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::config(format!(
                "{text:?} is not a SHA-256 fingerprint: 32 hex pairs joined by colons"
            ))
        };
        let bytes = text
            .split(':')
            .map(|pair| {
                let hex = pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
                u8::from_str_radix(pair, 16).ok().filter(|_| hex)
            })
            .collect::<Option<Vec<u8>>>()
            .ok_or_else(wrong)?;
        bytes.try_into().map(Self).map_err(|_| wrong())
    }
}

/// Accepts by fingerprint, or notes what it sees; signatures are checked in any case.
#[derive(Debug)]
struct Watcher {
    provider: Arc<CryptoProvider>,
    pins: Option<Vec<Fingerprint>>,
    seen: Mutex<Option<Fingerprint>>,
}

impl ServerCertVerifier for Watcher {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let fingerprint = Fingerprint::of(end_entity);
        if let Ok(mut seen) = self.seen.lock() {
            *seen = Some(fingerprint);
        }
        match &self.pins {
            Some(pins) if !pins.contains(&fingerprint) => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn failed(source: rustls::Error) -> Error {
    Error::config("TLS cannot be set up").because(source)
}

fn verifier(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    let watch =
        |pins| Arc::new(Watcher { provider: Arc::clone(provider), pins, seen: Mutex::new(None) });
    Ok(match trust {
        Trust::System => {
            Arc::new(rustls_platform_verifier::Verifier::new(Arc::clone(provider)).map_err(failed)?)
        }
        Trust::Ca(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate
                    .map_err(|source| Error::config("the CA is not PEM").because(source))?;
                roots.add(certificate).map_err(failed)?;
            }
            if roots.is_empty() {
                return Err(Error::config("the CA file holds no certificate"));
            }
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|source| Error::config("the CA cannot be used").because(source))?
        }
        Trust::Pins(pins) if pins.is_empty() => {
            return Err(Error::config("no fingerprint is given: no certificate would be trusted"));
        }
        Trust::Pins(pins) => watch(Some(pins.clone())),
        Trust::DangerousInsecure => {
            tracing::warn!("the certificate of the Proxmox VE server is not checked");
            watch(None)
        }
    })
}

pub(crate) fn client_config(trust: &Trust) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = verifier(trust, &provider)?;
    Ok(with_verifier(provider, verifier)?.with_no_client_auth())
}

fn with_verifier(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>> {
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

/// Reads the fingerprint of the certificate that `host` shows, sending no credentials. Compare it
/// with what the node itself says before trusting it.
///
/// # Errors
/// Where nothing speaks TLS at that address.
pub async fn probe_fingerprint(host: &str, port: u16) -> Result<Fingerprint> {
    let target = format!("{host}:{port}");
    let fail =
        |text: &str| Error::new(ErrorKind::Unreachable, "read the fingerprint", text).at(&target);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let watcher =
        Arc::new(Watcher { provider: Arc::clone(&provider), pins: None, seen: Mutex::new(None) });
    let verifier: Arc<dyn ServerCertVerifier> = Arc::<Watcher>::clone(&watcher);
    let config = with_verifier(provider, verifier)?.with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())
        .map_err(|source| Error::config(format!("{host:?} is no host name")).because(source))?;
    let socket = tokio::net::TcpStream::connect((host, port))
        .await
        .map_err(|source| fail("no connection").because(source))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    drop(connector.connect(name, socket).await.map_err(|source| fail("no TLS").because(source))?);
    let seen = watcher.seen.lock().ok().and_then(|seen| *seen);
    seen.ok_or_else(|| fail("the server showed no certificate"))
}
