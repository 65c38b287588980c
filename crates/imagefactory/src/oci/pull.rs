//! Reading from registries and their mirrors.

use std::sync::PoisonError;

use bytes::Bytes;
use http::{Method, header};
use url::Url;

use super::client::{
    Access, DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, INDEX, MANIFEST, RegistryClient, Resolved,
    document,
};
use super::reference::ImageReference;
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::{Request, read_all, shown, unreachable};

/// Most bytes of a manifest.
const MOST_MANIFEST: usize = 8 << 20;

impl RegistryClient {
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
        let mut lacking = Vec::new();
        for mirror in self.mirrors_of(image) {
            match self.manifest_at(image, Some(mirror)).await {
                Err(error) => lacking.extend(self.pass_over(mirror, &error)),
                found => return found,
            }
        }
        let found = self.manifest_at(image, None).await;
        found.map_err(|error| self.with_mirrors(image, &lacking, error))
    }

    async fn manifest_at(
        &self,
        image: &ImageReference,
        mirror: Option<&Url>,
    ) -> Result<(Resolved, Bytes)> {
        let url = self.source(image, mirror, &format!("manifests/{}", image.wanted()))?;
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
        let mut lacking = Vec::new();
        for mirror in self.mirrors_of(image) {
            match self.pull_blob_once(image, Some(mirror), blob, cache).await {
                // The cache cannot be written: no other place would help.
                Err(error) if error.kind() == ErrorKind::Io => return Err(error),
                Err(error) => lacking.extend(self.pass_over(mirror, &error)),
                found => return found,
            }
        }
        let mut attempt = 1;
        loop {
            match self.pull_blob_once(image, None, blob, cache).await {
                Err(error) => {
                    let waited = self.transport.wait_after(&mut attempt, error).await;
                    waited.map_err(|error| self.with_mirrors(image, &lacking, error))?;
                }
                done => return done,
            }
        }
    }

    async fn pull_blob_once(
        &self,
        image: &ImageReference,
        mirror: Option<&Url>,
        blob: &Descriptor,
        cache: &Cache,
    ) -> Result<std::path::PathBuf> {
        let url = self.source(image, mirror, &format!("blobs/{}", blob.digest))?;
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

    fn mirrors_of(&self, image: &ImageReference) -> impl Iterator<Item = &Url> {
        let failed = self.failed_mirrors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = self.mirrors.get(image.registry()).into_iter().flatten();
        all.filter(move |mirror| !failed.contains_key(mirror))
    }

    /// A mirror that lacks an image may have the next one, and why is returned; one that fails is
    /// not waited for again, and why is kept.
    fn pass_over(&self, mirror: &Url, error: &Error) -> Option<String> {
        let (name, why) = (shown(mirror), error.told());
        if error.is_not_found() {
            tracing::debug!(mirror = name, why, "the registry is asked itself");
            // The URL that was asked begins with the mirror's own.
            return Some(why);
        }
        tracing::warn!(mirror = name, why, "a mirror fails, the registry is asked itself");
        let mut failed = self.failed_mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        failed.insert(mirror.clone(), why);
        None
    }

    /// What the registry itself says, with what its mirrors said before, be it for another image.
    fn with_mirrors(&self, image: &ImageReference, lacking: &[String], error: Error) -> Error {
        let failed = self.failed_mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.mirrors.get(image.registry()).into_iter().flatten();
        let mut told: Vec<String> = all
            .filter_map(|mirror| Some(format!("{}: {}", shown(mirror), failed.get(mirror)?)))
            .collect();
        told.extend_from_slice(lacking);
        match told.is_empty() {
            true => error,
            false => error.within(format!(
                "{image}: no mirror gives it ({}), nor does the registry",
                told.join("; ")
            )),
        }
    }

    /// Where something of an image is read from: a mirror is told whose image it is, as containerd
    /// does.
    fn source(&self, image: &ImageReference, mirror: Option<&Url>, path: &str) -> Result<Url> {
        let Some(mirror) = mirror else { return self.at(image, path) };
        if !self.may_be_asked(mirror) {
            let text = "it is not asked: without TLS only registries of this machine are";
            return Err(Error::new(ErrorKind::InvalidArgument, text));
        }
        let mut url = mirror.clone();
        let front = url.path().trim_end_matches('/');
        // An endpoint with a path of its own names all of it.
        let front = if front.is_empty() { "/v2" } else { front };
        let whole = format!("{front}/{}/{path}", image.repository());
        url.set_path(&whole);
        url.query_pairs_mut().append_pair("ns", image.registry());
        Ok(url)
    }
}
