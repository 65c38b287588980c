//! Certificates of a simulated node, made from the authorities of its configuration.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PkiError(String);

fn problem(error: impl std::fmt::Display) -> PkiError {
    PkiError(error.to_string())
}

/// A certificate authority with its key.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    ed25519: bool,
}

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Leaf {
    /// The certificate.
    pub(crate) der: CertificateDer<'static>,
    /// The key, PKCS#8.
    pub(crate) key: Vec<u8>,
    /// Label of the key in PEM.
    label: &'static str,
}

/// What a certificate is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// Common name, left out when empty.
    pub(crate) name: String,
    /// Organisations.
    pub(crate) organizations: Vec<String>,
    /// Names and addresses of a server.
    pub(crate) sans: Vec<String>,
    /// Whether it is for a client.
    pub(crate) client: bool,
    /// How long it is valid.
    pub(crate) lifetime: Duration,
}

impl Authority {
    /// From base64 of PEM, as configurations have it.
    pub(crate) fn new(crt: &str, key: &str) -> Result<Self, PkiError> {
        let der = certificate(crt)?;
        let (label, key) = pem(key)?;
        let ed25519 = label == "ED25519 PRIVATE KEY" || (label == "PRIVATE KEY" && key.len() < 90);
        let (der_key, algorithm) = match label.as_str() {
            "EC PRIVATE KEY" => {
                (PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(key)), &PKCS_ECDSA_P256_SHA256)
            }
            _ if ed25519 => (PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)), &PKCS_ED25519),
            _ => (PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)), &PKCS_ECDSA_P256_SHA256),
        };
        let pair = KeyPair::from_der_and_sign_algo(&der_key, algorithm).map_err(problem)?;
        let issuer = Issuer::from_ca_cert_der(&der, pair).map_err(problem)?;
        Ok(Self { issuer, der, ed25519 })
    }

    /// Sign a certificate for a fresh key of the authority's kind.
    pub(crate) fn sign(&self, request: &Request) -> Result<Leaf, PkiError> {
        let algorithm = if self.ed25519 { &PKCS_ED25519 } else { &PKCS_ECDSA_P256_SHA256 };
        let pair = KeyPair::generate_for(algorithm).map_err(problem)?;
        let params = params(request);
        let cert = params.signed_by(&pair, &self.issuer).map_err(problem)?;
        let label = if self.ed25519 { "ED25519 PRIVATE KEY" } else { "PRIVATE KEY" };
        Ok(Leaf { der: cert.der().clone(), key: pair.serialize_der(), label })
    }

    /// The authority's own certificate as PEM.
    pub(crate) fn pem(&self) -> String {
        armour("CERTIFICATE", &self.der)
    }
}

impl Leaf {
    /// The certificate as PEM.
    pub(crate) fn pem(&self) -> String {
        armour("CERTIFICATE", &self.der)
    }

    /// The key as PEM.
    pub(crate) fn key_pem(&self) -> String {
        armour(self.label, &self.key)
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))
    }
}

/// The certificate of a node without configuration.
pub(crate) fn maintenance(sans: &[String]) -> Result<Leaf, PkiError> {
    let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(problem)?;
    let mut request = Request { sans: sans.to_vec(), ..Request::default() };
    "maintenance-service.talos.dev".clone_into(&mut request.name);
    request.lifetime = Duration::from_hours(24);
    let cert = params(&request).self_signed(&pair).map_err(problem)?;
    Ok(Leaf { der: cert.der().clone(), key: pair.serialize_der(), label: "ED25519 PRIVATE KEY" })
}

fn params(request: &Request) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    for organization in &request.organizations {
        name.push(DnType::OrganizationName, organization.as_str());
    }
    if !request.name.is_empty() {
        name.push(DnType::CommonName, request.name.as_str());
    }
    params.distinguished_name = name;
    params.subject_alt_names = request.sans.iter().filter_map(|san| subject(san)).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let usage = if request.client {
        ExtendedKeyUsagePurpose::ClientAuth
    } else {
        ExtendedKeyUsagePurpose::ServerAuth
    };
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params.serial_number =
        Some(SerialNumber::from(rand::random::<[u8; 16]>().map(|b| b & 0x7f).to_vec()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(Duration::from_secs(10));
    params.not_after = epoch + now + request.lifetime;
    params
}

fn subject(text: &str) -> Option<SanType> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Some(SanType::IpAddress(ip)),
        Err(_) => text.try_into().ok().map(SanType::DnsName),
    }
}

/// DER of a certificate given as base64 of PEM.
pub(crate) fn certificate(text: &str) -> Result<CertificateDer<'static>, PkiError> {
    pem(text).map(|(_, der)| CertificateDer::from(der))
}

fn pem(text: &str) -> Result<(String, Vec<u8>), PkiError> {
    let bytes = STANDARD.decode(text.trim()).map_err(problem)?;
    let text = String::from_utf8(bytes).map_err(problem)?;
    let begin = text.lines().find_map(|l| l.strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    let label = begin.ok_or_else(|| problem("not PEM"))?.to_owned();
    let body: String = text
        .lines()
        .skip_while(|l| !l.starts_with("-----BEGIN"))
        .skip(1)
        .take_while(|l| !l.starts_with("-----"))
        .collect();
    Ok((label, STANDARD.decode(body).map_err(problem)?))
}

fn armour(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while let Some((line, tail)) = rest.split_at_checked(64) {
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    if !rest.is_empty() {
        out.push_str(rest);
        out.push('\n');
    }
    format!("{out}-----END {label}-----\n")
}

/// How clients must prove who they are.
pub(crate) enum Clients<'a> {
    /// Not at all.
    Any,
    /// By a certificate of one of these authorities.
    Required(&'a [CertificateDer<'static>]),
    /// By a certificate of one of these authorities, if they have one.
    Optional(&'a [CertificateDer<'static>]),
}

/// Configuration of a TLS server.
pub(crate) fn server(
    leaf: &Leaf,
    clients: &Clients<'_>,
    protocols: &[&str],
) -> Result<Arc<rustls::ServerConfig>, PkiError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(problem)?;
    let builder = match clients {
        Clients::Any => builder.with_no_client_auth(),
        Clients::Required(authorities) | Clients::Optional(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in *authorities {
                roots.add(authority.clone()).map_err(problem)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match clients {
                Clients::Optional(_) => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            builder.with_client_cert_verifier(verifier.build().map_err(problem)?)
        }
    };
    let mut config =
        builder.with_single_cert(vec![leaf.der.clone()], leaf.private_key()).map_err(problem)?;
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Common name and organisations of a client's certificate, when it may be used as a client's.
pub(crate) fn identity(
    der: &CertificateDer<'_>,
    strict_usage: bool,
) -> Option<(String, Vec<String>)> {
    let (_, cert) = x509_parser::parse_x509_certificate(der).ok()?;
    if strict_usage {
        let usage = cert.extended_key_usage().ok()??.value;
        if !usage.client_auth || usage.server_auth || usage.any || usage.code_signing {
            return None;
        }
    }
    let name =
        cert.subject().iter_common_name().next().and_then(|a| a.as_str().ok()).unwrap_or_default();
    let roles = cert.subject().iter_organization().filter_map(|a| a.as_str().ok());
    Some((name.to_owned(), roles.filter(|r| !r.is_empty()).map(str::to_owned).collect()))
}
