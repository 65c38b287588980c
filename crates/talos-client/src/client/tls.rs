//! TLS towards a node: mutual, or without verification but for a pin.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
    ServerName, UnixTime,
};
use sha2::Digest as _;
use x509_parser::prelude::FromDer as _;

use super::config::{Identity, Trust};
use crate::error::Error;
use crate::pki::Pem;

const OPERATION: &str = "prepare the client";

/// What the verifier says about a key that the pin does not name; told apart by this text, since
/// a TLS library hands on nothing else.
pub(crate) const PIN_TEXT: &str = "the node's key has the fingerprint";

/// Fingerprint of a node's key: base64 of the SHA-256 of its public key (SubjectPublicKeyInfo), as
/// the console of a node in maintenance mode shows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate's key.
    ///
    /// # Errors
    /// The bytes are no certificate.
    pub fn of_certificate(der: &[u8]) -> Result<Self, Error> {
        let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(der)
            .map_err(|_| Error::config(OPERATION, "the bytes are no certificate"))?;
        Ok(Self(sha2::Sha256::digest(parsed.public_key().raw).into()))
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = STANDARD.decode(text.trim()).ok().and_then(|b| <[u8; 32]>::try_from(b).ok());
        bytes.map(Self).ok_or_else(|| {
            Error::config(OPERATION, "a fingerprint is the base64 of 32 bytes, 44 characters")
        })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Makes the settings of TLS.
pub(crate) fn settings(trust: &Trust) -> Result<rustls::ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config(OPERATION, error.to_string()))?;
    let mut config = match trust {
        Trust::Maintenance { pin } => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified { pin: *pin, provider }))
            .with_no_client_auth(),
        Trust::Mutual(identity) => {
            let roots = Arc::new(roots(identity)?);
            let verifier =
                rustls::client::WebPkiServerVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|error| Error::config(OPERATION, error.to_string()))?;
            let (chain, key) = credentials(identity)?;
            builder.with_webpki_verifier(verifier).with_client_auth_cert(chain, key).map_err(
                |error| {
                    let text = format!("the client's certificate and key do not fit: {error}");
                    Error::config(OPERATION, text)
                },
            )?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would not show the certificate again.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn roots(identity: &Identity) -> Result<rustls::RootCertStore, Error> {
    let wrong = || Error::config(OPERATION, "the authority is no certificate in PEM");
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(&identity.ca_pem).map_err(|()| wrong())? {
        roots.add(certificate).map_err(|_| wrong())?;
    }
    if roots.is_empty() { Err(wrong()) } else { Ok(roots) }
}

fn credentials(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let wrong = |what: &str| Error::config(OPERATION, format!("the client's {what}"));
    let chain = certificates(&identity.cert_pem).unwrap_or_default();
    if chain.is_empty() {
        return Err(wrong("certificate is no PEM"));
    }
    let key = Pem::parse(identity.key()).map_err(|_| wrong("key is no PEM"))?;
    let der = key.der().to_vec();
    // Talos calls a key in PKCS#8 by its algorithm.
    let key = match key.label() {
        "ED25519 PRIVATE KEY" | "PRIVATE KEY" => PrivatePkcs8KeyDer::from(der).into(),
        "EC PRIVATE KEY" => PrivateSec1KeyDer::from(der).into(),
        "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(der).into(),
        _ => return Err(wrong("key is of a kind that Talos does not make")),
    };
    Ok((chain, key))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, ()> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|_| ())
}

/// Takes any certificate, or any of one key. The peer still proves that the key is its own.
#[derive(Debug)]
struct Unverified {
    pin: Option<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(pin) = self.pin else { return Ok(ServerCertVerified::assertion()) };
        let found = Fingerprint::of_certificate(leaf).map_err(|_| {
            rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding)
        })?;
        if found == pin {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(format!("{PIN_TEXT} {found}, the pin is {pin}")))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_shown() {
        let text = STANDARD.encode([7; 32]);
        let read: Fingerprint = text.parse().unwrap();
        assert_eq!(read.to_string(), text);
        for bad in ["", "abc", &STANDARD.encode([7; 31])] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
