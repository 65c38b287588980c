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
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::{
    Body, Request, Transport, TransportOptions, read_all, refusal, shown, unreachable,
};

/// Most bytes of a manifest.
const MOST_MANIFEST: usize = 8 << 20;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

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
    transport: Transport,
    plain_http: Arc<BTreeSet<String>>,
    plain_loopback: bool,
    credentials: Arc<BTreeMap<String, Credential>>,
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
struct Document {
    media_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// What may be done with a repository.
#[derive(Debug, Clone, Copy)]
enum Access {
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
            tokens: Arc::default(),
        })
    }

    /// What a name stands for now; the digest is computed from the manifest itself.
    ///
    /// # Errors
    /// The registry does not have it, refuses, cannot be reached, or gives other content than
    /// the name's digest says.
    pub async fn resolve(&self, image: &ImageReference) -> Result<Resolved> {
        self.manifest(image).await.map(|(resolved, _)| resolved)
    }

    /// A manifest or index with its bytes.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub async fn manifest(&self, image: &ImageReference) -> Result<(Resolved, Bytes)> {
        let url = self.at(image, &format!("manifests/{}", image.wanted()))?;
        let accept = [INDEX, MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST].join(", ");
        let request = Request::new(Method::GET, url.clone()).header(header::ACCEPT, &accept)?;
        let answer = self.successful(image, Access::Pull, request).await?;
        let header = |name| {
            answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let media_type = header(header::CONTENT_TYPE.as_str());
        let said = header("docker-content-digest");
        let bytes = read_all(&url, answer, MOST_MANIFEST).await?;
        let digest = Digest::of(&bytes);
        let wrong = image.digest().is_some_and(|wanted| wanted != digest)
            || said.is_some_and(|said| said.starts_with("sha256:") && said != digest.to_string());
        if wrong {
            let text = format!("{image}: the registry gave a manifest whose digest is {digest}");
            return Err(Error::new(ErrorKind::Mismatch, text));
        }
        let document = document(image, &bytes)?;
        let media_type = document.media_type.or(media_type).unwrap_or_else(|| MANIFEST.to_owned());
        Ok((Resolved { digest, size: bytes.len() as u64, media_type }, bytes))
    }

    /// Pulls content into a cache, unless it is there; verifies size and digest.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve), or the cache cannot be written.
    pub async fn pull_blob(
        &self,
        image: &ImageReference,
        blob: &Descriptor,
        cache: &Cache,
    ) -> Result<std::path::PathBuf> {
        if let Some(path) = cache.get(&blob.digest)? {
            return Ok(path);
        }
        let mut attempt = 1;
        loop {
            match self.pull_blob_once(image, blob, cache).await {
                Err(error) if error.is_retryable() && attempt < self.transport.attempts() => {
                    tokio::time::sleep(self.transport.pause(attempt)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn pull_blob_once(
        &self,
        image: &ImageReference,
        blob: &Descriptor,
        cache: &Cache,
    ) -> Result<std::path::PathBuf> {
        let url = self.at(image, &format!("blobs/{}", blob.digest))?;
        let request = Request::new(Method::GET, url.clone());
        let mut answer = self.successful(image, Access::Pull, request).await?;
        let mut writer = cache.writer()?;
        while let Some(chunk) = answer.chunk().await.map_err(|source| unreachable(&url, source))? {
            writer.write(&chunk)?;
            if writer.size() > blob.size {
                break;
            }
        }
        if writer.size() != blob.size {
            let text = format!(
                "{image}: {} of {} bytes of {} came",
                writer.size(),
                blob.size,
                blob.digest
            );
            return Err(Error::new(ErrorKind::Mismatch, text));
        }
        writer.finish(&blob.digest)
    }

    /// Copies an image with everything it names, by digest; the target's tag, if it has one,
    /// is set last. What the target has already is not sent again.
    ///
    /// # Errors
    /// Either registry refuses or cannot be reached, or content is not what its digest says.
    pub async fn copy(
        &self,
        from: &ImageReference,
        to: &ImageReference,
        cache: &Cache,
    ) -> Result<Resolved> {
        let (resolved, bytes) = self.manifest(from).await?;
        let source = from.with_digest(resolved.digest);
        for child in document(from, &bytes)?.manifests {
            let child_source = from.with_digest(child.digest);
            let (child_resolved, child_bytes) = self.manifest(&child_source).await?;
            let inner = document(from, &child_bytes)?;
            if !inner.manifests.is_empty() {
                let text = format!("{from}: an index within an index");
                return Err(Error::new(ErrorKind::Protocol, text));
            }
            self.copy_blobs(&child_source, to, &inner, cache).await?;
            let target = to.with_digest(child_resolved.digest);
            self.push_manifest(&target, &child_resolved.media_type, child_bytes).await?;
        }
        self.copy_blobs(&source, to, &document(from, &bytes)?, cache).await?;
        self.push_manifest(to, &resolved.media_type, bytes).await?;
        Ok(resolved)
    }

    async fn copy_blobs(
        &self,
        from: &ImageReference,
        to: &ImageReference,
        document: &Document,
        cache: &Cache,
    ) -> Result<()> {
        for blob in document.config.iter().chain(&document.layers) {
            if self.has_blob(to, &blob.digest).await? {
                continue;
            }
            let path = self.pull_blob(from, blob, cache).await?;
            self.push_blob(to, &blob.digest, Body::File(path, blob.size)).await?;
        }
        Ok(())
    }

    /// Pushes an image of one platform: its layers, a configuration, a manifest.
    ///
    /// # Errors
    /// The registry refuses or cannot be reached.
    pub async fn push(
        &self,
        to: &ImageReference,
        config: &serde_json::Value,
        layers: Vec<Layer>,
    ) -> Result<Resolved> {
        let config = Bytes::from(config.to_string());
        let described = |media_type: &str, content: &Bytes| Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(content),
            size: content.len() as u64,
        };
        let config_descriptor = described(CONFIG, &config);
        let mut descriptors = Vec::new();
        let layers = layers.into_iter().map(|layer| (layer.media_type, layer.content));
        for (media_type, content) in layers.chain([(CONFIG.to_owned(), config)]) {
            let descriptor = described(&media_type, &content);
            if !self.has_blob(to, &descriptor.digest).await? {
                self.push_blob(to, &descriptor.digest, Body::Bytes(content)).await?;
            }
            descriptors.push(descriptor);
        }
        descriptors.pop();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config_descriptor,
            "layers": descriptors,
        });
        let bytes = Bytes::from(manifest.to_string());
        let digest = Digest::of(&bytes);
        let size = bytes.len() as u64;
        self.push_manifest(to, MANIFEST, bytes).await?;
        Ok(Resolved { digest, size, media_type: MANIFEST.to_owned() })
    }

    /// Whether the registry lets us push, by beginning an upload and ending it.
    ///
    /// # Errors
    /// It does not, with its reason, or cannot be reached.
    pub async fn check_push(&self, to: &ImageReference) -> Result<()> {
        let start = self.at(to, "blobs/uploads/")?;
        let request =
            Request::new(Method::POST, start.clone()).header(header::CONTENT_LENGTH, "0")?;
        let answer = self.successful(to, Access::Push, request).await?;
        // An upload that is not ended expires: that it cannot be ended is no reason to fail.
        if let Ok(url) = crate::redirect::target(&start, &answer)
            && url.origin() == start.origin()
        {
            let request = Request::new(Method::DELETE, url);
            if let Err(error) = self.authorised(to, Access::Push, request).await {
                tracing::debug!(%error, "the upload that was begun as a check is not ended");
            }
        }
        Ok(())
    }

    /// Pushes a file of the cache, unless it is there.
    #[cfg(feature = "build")]
    pub(crate) async fn push_cached(
        &self,
        to: &ImageReference,
        blob: &Descriptor,
        cache: &Cache,
    ) -> Result<()> {
        if self.has_blob(to, &blob.digest).await? {
            return Ok(());
        }
        let path = cache.path_of(&blob.digest);
        self.push_blob(to, &blob.digest, Body::File(path, blob.size)).await
    }

    async fn has_blob(&self, image: &ImageReference, digest: &Digest) -> Result<bool> {
        let url = self.at(image, &format!("blobs/{digest}"))?;
        let answer =
            self.authorised(image, Access::Push, Request::new(Method::HEAD, url.clone())).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(refusal(&url, answer).await),
        }
    }

    async fn push_blob(&self, image: &ImageReference, digest: &Digest, body: Body) -> Result<()> {
        let start = self.at(image, "blobs/uploads/")?;
        let request =
            Request::new(Method::POST, start.clone()).header(header::CONTENT_LENGTH, "0")?;
        let answer = self.successful(image, Access::Push, request).await?;
        let mut url = crate::redirect::target(&start, &answer)?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let same_host = url.origin() == start.origin();
        let request = Request::new(Method::PUT, url.clone())
            .header(header::CONTENT_TYPE, "application/octet-stream")?
            .body(body);
        let answer = match same_host {
            true => self.authorised(image, Access::Push, request).await?,
            false => self.transport.send(&request).await?,
        };
        if answer.status().is_success() {
            return Ok(());
        }
        let error = refusal(&url, answer).await;
        // An earlier attempt may have arrived although its answer was lost.
        match self.has_blob(image, digest).await {
            Ok(true) => Ok(()),
            _ => Err(error),
        }
    }

    pub(crate) async fn push_manifest(
        &self,
        image: &ImageReference,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<()> {
        let url = self.at(image, &format!("manifests/{}", image.wanted()))?;
        let request = Request::new(Method::PUT, url)
            .header(header::CONTENT_TYPE, media_type)?
            .body(Body::Bytes(bytes));
        self.successful(image, Access::Push, request).await.map(drop)
    }

    fn at(&self, image: &ImageReference, path: &str) -> Result<Url> {
        let registry = image.registry();
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let name = registry.rsplit_once(':').map_or(registry, |(name, _)| name);
        let loopback = self.plain_loopback && matches!(name, "localhost" | "127.0.0.1");
        let scheme = if loopback || self.plain_http.contains(registry) { "http" } else { "https" };
        let text = format!("{scheme}://{host}/v2/{}/{path}", image.repository());
        text.parse().map_err(|source: url::ParseError| {
            Error::new(ErrorKind::InvalidArgument, format!("{image}: the registry is no host"))
                .with_source(source)
        })
    }

    async fn successful(
        &self,
        image: &ImageReference,
        access: Access,
        request: Request,
    ) -> Result<reqwest::Response> {
        let url = request.url.clone();
        let answer = self.authorised(image, access, request).await?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(refusal(&url, answer).await),
        }
    }

    /// Sends with what the registry last accepted; answers its challenge once; follows
    /// redirections to where it keeps its content, without the credential.
    async fn authorised(
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
        let key = format!("{} {scope}", image.registry());
        if let Some(value) = self.token(&key) {
            request = request.header(header::AUTHORIZATION, value.expose_secret())?;
        }
        let mut answer = self.transport.send(&request).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let credential = self.credentials.get(image.registry());
            let value = match (Challenge::of(&answer), credential) {
                (Some(Challenge::Bearer(fields)), Some(Credential::Basic { .. }) | None) => {
                    let token = auth::token(&self.transport, &fields, &scope, credential).await?;
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
        self.follow(request, answer).await
    }

    fn token(&self, key: &str) -> Option<SecretString> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    async fn follow(
        &self,
        request: Request,
        mut answer: reqwest::Response,
    ) -> Result<reqwest::Response> {
        let readable = matches!(request.method, Method::GET | Method::HEAD);
        let mut url = request.url.clone();
        let mut hops = 0;
        while readable && matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            hops += 1;
            if hops > 5 {
                let text = format!("{}: too many redirections", shown(&request.url));
                return Err(Error::new(ErrorKind::Protocol, text));
            }
            let next = crate::redirect::target(&url, &answer)?;
            let mut following = Request::new(request.method.clone(), next.clone());
            following.headers = request.headers.clone();
            if next.origin() != request.url.origin() {
                following.headers.remove(header::AUTHORIZATION);
            }
            answer = self.transport.send(&following).await?;
            url = next;
        }
        Ok(answer)
    }
}

fn document(image: &ImageReference, bytes: &Bytes) -> Result<Document> {
    serde_json::from_slice(bytes).map_err(|source| {
        Error::new(ErrorKind::Protocol, format!("{image}: the manifest makes no sense"))
            .with_source(source)
    })
}
