//! The client of OCI registries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::auth::{self, Challenge, Credential};
use super::reference::ImageReference;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::{Request, Transport, TransportOptions, authority, refusal, shown};

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// How registries are reached and who we are to them.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// Trust, sockets, timeouts.
    pub transport: TransportOptions,
    /// Registries (`HOST[:PORT]`) that speak plain HTTP; no other is ever spoken to without TLS.
    pub plain_http: BTreeSet<String>,
    /// Whether `localhost` and `127.0.0.1`, with any port, speak plain HTTP.
    pub plain_loopback: bool,
    /// Credentials by registry (`HOST[:PORT]`).
    pub credentials: BTreeMap<String, Credential>,
    /// Mirrors by registry, asked in order before it; one with a path stands for `/v2` with it. One
    /// without TLS is asked only where a registry would be.
    pub mirrors: BTreeMap<String, Vec<Url>>,
}

impl RegistryOptions {
    /// Registries on this machine, by these names, may speak plain HTTP.
    #[must_use]
    pub fn loopback_plain(mut self) -> Self {
        self.plain_loopback = true;
        self
    }
}

/// A client of OCI registries.
#[derive(Debug, Clone)]
pub struct RegistryClient {
    pub(super) transport: Transport,
    plain_http: Arc<BTreeSet<String>>,
    plain_loopback: bool,
    credentials: Arc<BTreeMap<String, Credential>>,
    pub(super) mirrors: Arc<BTreeMap<String, Vec<Url>>>,
    pub(super) failed_mirrors: Arc<Mutex<BTreeMap<Url, String>>>,
    tokens: Arc<Mutex<BTreeMap<String, SecretString>>>,
}

/// What a name stands for at a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Digest of the manifest or index.
    pub digest: Digest,
    /// Its size in bytes (not that of the layers).
    pub size: u64,
    /// Its media type.
    pub media_type: String,
}

/// Content that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A layer to push.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its media type.
    pub media_type: String,
    /// Its content.
    pub content: Bytes,
}

/// A manifest or an index, as far as a copy needs it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    pub(super) media_type: Option<String>,
    pub(super) config: Option<Descriptor>,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
}

/// What may be done with a repository.
#[derive(Debug, Clone, Copy)]
pub(super) enum Access {
    Pull,
    Push,
}

impl RegistryClient {
    /// A client.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(options: RegistryOptions) -> Result<Self> {
        Ok(Self {
            transport: Transport::new(options.transport)?,
            plain_http: Arc::new(options.plain_http),
            plain_loopback: options.plain_loopback,
            credentials: Arc::new(options.credentials),
            mirrors: Arc::new(options.mirrors),
            failed_mirrors: Arc::default(),
            tokens: Arc::default(),
        })
    }

    pub(super) fn at(&self, image: &ImageReference, path: &str) -> Result<Url> {
        let registry = image.registry();
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let scheme = if self.may_be_plain(registry) { "http" } else { "https" };
        let text = format!("{scheme}://{host}/v2/{}/{path}", image.repository());
        text.parse().map_err(|source: url::ParseError| {
            Error::new(ErrorKind::InvalidArgument, format!("{image}: the registry is no host"))
                .with_source(source)
        })
    }

    fn may_be_plain(&self, registry: &str) -> bool {
        let name = registry.rsplit_once(':').map_or(registry, |(name, _)| name);
        let loopback = self.plain_loopback && matches!(name, "localhost" | "127.0.0.1");
        loopback || self.plain_http.contains(registry)
    }

    /// Whether a mirror may be spoken to as its URL says.
    pub(super) fn may_be_asked(&self, mirror: &Url) -> bool {
        let plain = || authority(mirror).is_some_and(|registry| self.may_be_plain(&registry));
        mirror.scheme() == "https" || mirror.scheme() == "http" && plain()
    }

    /// Mirrors that are passed over, since they would be spoken to without TLS: their URLs, without
    /// credentials.
    pub fn mirrors_without_tls(&self) -> BTreeSet<String> {
        let all = self.mirrors.values().flatten();
        all.filter(|mirror| !self.may_be_asked(mirror)).map(shown).collect()
    }

    pub(super) async fn successful(
        &self,
        image: &ImageReference,
        access: Access,
        request: Request,
    ) -> Result<reqwest::Response> {
        let url = request.url.clone();
        let host = self.host_of(image, &url);
        // Services of tokens and stores have names of their own, which nobody logs in to.
        let named = |error: Error| match error.kind() {
            ErrorKind::Unauthorized => error
                .with_help(format!("give a credential that {host} accepts: docker login {host}")),
            _ => error,
        };
        let answer = self.authorised(image, access, request).await.map_err(named)?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(named(refusal(&url, answer).await)),
        }
    }

    /// The name that credentials are kept under. A mirror is another host, and gets no credential
    /// of the one that it stands for.
    fn host_of(&self, image: &ImageReference, url: &Url) -> String {
        match authority(url) {
            Some(host) if self.is_mirror(image, url) => host,
            _ => image.registry().to_owned(),
        }
    }

    /// Sends with what the registry last accepted; answers its challenge once; follows
    /// redirections to where it keeps its content, without the credential.
    pub(super) async fn authorised(
        &self,
        image: &ImageReference,
        access: Access,
        mut request: Request,
    ) -> Result<reqwest::Response> {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let scope = format!("repository:{}:{actions}", image.repository());
        let host = self.host_of(image, &request.url);
        let key = format!("{host} {scope}");
        if let Some(value) = self.token(&key) {
            request = request.header(header::AUTHORIZATION, value.expose_secret())?;
        }
        let mut answer = self.transport.send(&request).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let credential = self.credentials.get(&host);
            let value = match (Challenge::of(&answer), credential) {
                (Some(Challenge::Bearer(fields)), Some(Credential::Basic { .. }) | None) => {
                    let asked = (&request.url, &fields);
                    let token = auth::token(&self.transport, asked, &scope, credential).await?;
                    Some(SecretString::from(format!("Bearer {}", token.expose_secret())))
                }
                (_, Some(credential)) => Some(credential.header()),
                _ => None,
            };
            let Some(value) = value else { return Ok(answer) };
            request = request.header(header::AUTHORIZATION, value.expose_secret())?;
            self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
            answer = self.transport.send(&request).await?;
        }
        match request.method {
            Method::GET | Method::HEAD => {
                crate::redirect::onward(&self.transport, &request, answer).await
            }
            // What is sent goes nowhere else.
            _ => Ok(answer),
        }
    }

    fn is_mirror(&self, image: &ImageReference, url: &Url) -> bool {
        let mirrors = self.mirrors.get(image.registry());
        mirrors.is_some_and(|mirrors| mirrors.iter().any(|one| one.origin() == url.origin()))
    }

    fn token(&self, key: &str) -> Option<SecretString> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}

pub(super) fn document(image: &ImageReference, bytes: &Bytes) -> Result<Document> {
    serde_json::from_slice(bytes).map_err(|source| {
        Error::new(ErrorKind::Protocol, format!("{image}: the manifest makes no sense"))
            .with_source(source)
    })
}
