//! Writing to registries: only what they lack.

use bytes::Bytes;
use http::{Method, StatusCode, header};
use url::Url;

use super::client::{
    Access, CONFIG, Descriptor, Document, Layer, MANIFEST, RegistryClient, Resolved, document,
};
use super::reference::ImageReference;
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::{Body, Request, refusal};

impl RegistryClient {
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
            let same = from.registry() == to.registry();
            if same && self.mount(to, from.repository(), &blob.digest).await? {
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
        self.abandon(to, &start, &answer).await;
        Ok(())
    }

    /// Pushes a file of the cache, unless it is there, or in one of these repositories of the same
    /// registry.
    #[cfg(feature = "build")]
    pub(crate) async fn push_cached(
        &self,
        to: &ImageReference,
        blob: &Descriptor,
        near: &[&str],
        cache: &Cache,
    ) -> Result<()> {
        if self.has_blob(to, &blob.digest).await? {
            return Ok(());
        }
        for repository in near {
            if self.mount(to, repository, &blob.digest).await? {
                return Ok(());
            }
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

    /// Takes content over from another repository of the same registry; false where it does not do
    /// that, or there is no such content.
    async fn mount(&self, to: &ImageReference, from: &str, digest: &Digest) -> Result<bool> {
        let start = self.at(to, "blobs/uploads/")?;
        let mut url = start.clone();
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let request = Request::new(Method::POST, url).header(header::CONTENT_LENGTH, "0")?;
        let answer = self.authorised(to, Access::Push, request).await?;
        if answer.status() == StatusCode::CREATED {
            return Ok(true);
        }
        // A registry that does not take it over has begun an upload instead.
        if answer.status() == StatusCode::ACCEPTED {
            self.abandon(to, &start, &answer).await;
        }
        Ok(false)
    }

    /// Ends an upload without content. It expires by itself: that it cannot be ended is no reason
    /// to fail.
    async fn abandon(&self, to: &ImageReference, start: &Url, answer: &reqwest::Response) {
        if let Ok(url) = crate::redirect::target(start, answer)
            && url.origin() == start.origin()
        {
            let request = Request::new(Method::DELETE, url);
            if let Err(error) = self.authorised(to, Access::Push, request).await {
                tracing::debug!(%error, "an upload that was begun is not ended");
            }
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
}
