//! HTTP with explicit trust, an explicit map of sockets, and retries of what may be repeated.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use url::Url;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};

/// Which servers are trusted.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// Those that the operating system trusts.
    #[default]
    System,
    /// Those that these authorities vouch for (PEM), and no others.
    Authorities(Vec<u8>),
    /// The one whose certificate has this SHA-256.
    Pin(Digest),
}

/// How servers are reached.
#[derive(Debug, Clone)]
pub struct TransportOptions {
    /// Which servers are trusted.
    pub trust: Trust,
    /// Sockets to use instead of what a name and port say; TLS and `Host` keep the name.
    pub dial: BTreeMap<(String, u16), SocketAddr>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a server may be silent. A factory sends nothing while it builds.
    pub read_timeout: Duration,
    /// How often a request that may be repeated is sent at most.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles.
    pub pause: Duration,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            trust: Trust::System,
            dial: BTreeMap::new(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_mins(25),
            attempts: 4,
            pause: Duration::from_millis(500),
        }
    }
}

/// A request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    None,
    Bytes(Bytes),
    File(std::path::PathBuf, u64),
}

impl Request {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Body::None }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Result<Self> {
        let mut value = HeaderValue::from_str(value).map_err(|source| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("{name} has characters that a header cannot"),
            )
            .with_source(source)
        })?;
        value.set_sensitive(name == header::AUTHORIZATION);
        self.headers.insert(name, value);
        Ok(self)
    }

    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

/// Sends requests.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    http: reqwest::Client,
    options: Arc<TransportOptions>,
}

impl Transport {
    pub(crate) fn new(options: TransportOptions) -> Result<Self> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(&options.trust)?)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout)
            .user_agent(concat!("imagefactory/", env!("CARGO_PKG_VERSION")));
        let mut mapped: BTreeMap<&str, IpAddr> = BTreeMap::new();
        for ((host, port), to) in &options.dial {
            let unusable = host.parse::<IpAddr>().is_ok_and(|ip| ip != to.ip())
                || mapped.insert(host, to.ip()).is_some_and(|before| before != to.ip());
            if unusable {
                let text = format!("{host}:{port} cannot be mapped to {to}");
                return Err(Error::new(ErrorKind::InvalidArgument, text)
                    .with_help("map names, and each name to one address"));
            }
            builder = builder.resolve(host, SocketAddr::new(to.ip(), 0));
        }
        let http = builder.build().map_err(|source| {
            Error::new(ErrorKind::Tls, "the HTTP client cannot be set up").with_source(source)
        })?;
        Ok(Self { http, options: Arc::new(options) })
    }

    /// Sends once; any status is an answer.
    pub(crate) async fn send_once(&self, request: &Request) -> Result<reqwest::Response> {
        let mut url = request.url.clone();
        let mut headers = request.headers.clone();
        if let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default())
            && let Some(to) = self.options.dial.get(&(host.to_ascii_lowercase(), port))
        {
            let authority = url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
            if let Ok(value) = HeaderValue::from_str(&authority) {
                headers.insert(header::HOST, value);
            }
            let _ = url.set_port(Some(to.port()));
        }
        let mut builder = self.http.request(request.method.clone(), url).headers(headers);
        match &request.body {
            Body::None => {}
            Body::Bytes(bytes) => builder = builder.body(bytes.clone()),
            Body::File(path, size) => {
                let file = tokio::fs::File::open(path)
                    .await
                    .map_err(crate::error::io(format!("open {}", path.display())))?;
                let stream = tokio_util::io::ReaderStream::with_capacity(file, 1 << 18);
                builder = builder
                    .header(header::CONTENT_LENGTH, *size)
                    .body(reqwest::Body::wrap_stream(stream));
            }
        }
        builder.send().await.map_err(|source| unreachable(&request.url, source))
    }

    /// Sends a request that may be repeated, and repeats it while the server is unavailable.
    pub(crate) async fn send(&self, request: &Request) -> Result<reqwest::Response> {
        let mut attempt = 1;
        loop {
            let outcome = match self.send_once(request).await {
                Ok(answer)
                    if answer.status().is_server_error()
                        || answer.status() == StatusCode::TOO_MANY_REQUESTS =>
                {
                    Err(refusal(&request.url, answer).await)
                }
                outcome => outcome,
            };
            match outcome {
                Err(error) => self.wait_after(&mut attempt, error).await?,
                answer => return answer,
            }
        }
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.options.attempts
    }

    /// Waits for the next attempt at what failed; the error comes back where there is none.
    pub(crate) async fn wait_after(&self, attempt: &mut u32, error: Error) -> Result<()> {
        if !error.is_retryable() || *attempt >= self.attempts() {
            return Err(error);
        }
        tracing::debug!(attempt, %error, "trying again");
        tokio::time::sleep(self.pause(*attempt)).await;
        *attempt += 1;
        Ok(())
    }

    pub(crate) fn pause(&self, attempt: u32) -> Duration {
        self.options.pause.saturating_mul(1 << attempt.saturating_sub(1).min(6))
    }
}

/// A URL without what may be secret in it.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.to_string()
}

/// `HOST[:PORT]`, as references and logins name a server.
pub(crate) fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or(host.to_owned(), |port| format!("{host}:{port}")))
}

pub(crate) fn unreachable(url: &Url, source: reqwest::Error) -> Error {
    let certificate =
        std::iter::successors(Some(&source as &dyn std::error::Error), |error| error.source()).any(
            |error| {
                let text = error.to_string();
                text.contains("certificate") || text.contains("UnknownIssuer")
            },
        );
    let source = source.without_url();
    if certificate {
        return Error::new(ErrorKind::Tls, format!("{}: the server is not trusted", shown(url)))
            .with_source(source)
            .with_help("name the authority that signed its certificate, or pin the certificate");
    }
    Error::new(ErrorKind::Unavailable, format!("{}: no answer", shown(url))).with_source(source)
}

/// The error that an answer means.
pub(crate) async fn refusal(url: &Url, answer: reqwest::Response) -> Error {
    let status = answer.status();
    let text = bounded_text(answer).await;
    let kind = match status {
        StatusCode::NOT_FOUND => ErrorKind::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Unauthorized,
        StatusCode::TOO_MANY_REQUESTS => ErrorKind::Unavailable,
        status if status.is_server_error() => ErrorKind::Unavailable,
        status if status.is_client_error() => ErrorKind::Refused,
        _ => ErrorKind::Protocol,
    };
    let error = Error::new(kind, format!("{}: {status}: {text}", shown(url)));
    match kind {
        ErrorKind::Unauthorized => {
            let host = authority(url).unwrap_or_default();
            error.with_help(format!("give a credential that {host} accepts: docker login {host}"))
        }
        ErrorKind::NotFound => error.with_help("check the version, the schematic and the name"),
        _ => error,
    }
}

/// The first line or so of an answer's text.
async fn bounded_text(mut answer: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > 2048 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let text: String = text.chars().filter(|character| !character.is_control()).take(300).collect();
    text.trim().to_owned()
}

/// Reads an answer that must not be larger than `most`.
pub(crate) async fn read_all(
    url: &Url,
    mut answer: reqwest::Response,
    most: usize,
) -> Result<Bytes> {
    let mut bytes = bytes::BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|source| unreachable(url, source))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > most {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("{}: the answer is larger than {most} bytes", shown(url)),
            ));
        }
    }
    Ok(bytes.freeze())
}

fn tls(trust: &Trust) -> Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let failed = |source: rustls::Error| {
        Error::new(ErrorKind::Tls, "TLS cannot be set up").with_source(source)
    };
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let builder = match trust {
        Trust::System => {
            let verifier = rustls_platform_verifier::Verifier::new(provider).map_err(failed)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        Trust::Authorities(pem) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|source| {
                    Error::new(ErrorKind::Tls, "an authority's PEM text cannot be read")
                        .with_source(source)
                })?;
                roots.add(certificate).map_err(failed)?;
            }
            if roots.is_empty() {
                return Err(Error::new(ErrorKind::Tls, "no certificate of an authority was given"));
            }
            return Ok(builder.with_root_certificates(roots).with_no_client_auth());
        }
        Trust::Pin(digest) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { digest: *digest, provider })),
    };
    Ok(builder.with_no_client_auth())
}

/// Accepts one certificate.
#[derive(Debug)]
struct Pinned {
    digest: Digest,
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if Digest::of(certificate) == self.digest {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
