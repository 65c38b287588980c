//! The client of an image factory.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use semver::Version;
use serde::Deserialize;
use sha2::Digest as _;
use tokio::io::AsyncWriteExt as _;
use url::Url;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result, io};
use crate::name::{Asset, OfficialExtension};
use crate::schematic::{Schematic, SchematicId};
use crate::transport::{
    Body, Request, Transport, TransportOptions, read_all, refusal, shown, unreachable,
};

/// Most bytes of an answer that is a list.
const MOST: usize = 16 << 20;

/// A client of an image factory.
#[derive(Debug, Clone)]
pub struct FactoryClient {
    transport: Transport,
    base: Url,
    authorization: Option<SecretString>,
}

/// A schematic that the factory took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedSchematic {
    /// The id that the factory gave.
    pub id: SchematicId,
    /// The id that we computed; where they differ, the factory's counts.
    pub computed: SchematicId,
}

impl CreatedSchematic {
    /// Whether the factory's id is the one we computed.
    pub fn is_as_computed(&self) -> bool {
        self.id == self.computed
    }
}

/// What a download must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its digest, if known.
    pub digest: Option<Digest>,
    /// Its size in bytes, if known.
    pub size: Option<u64>,
}

/// A file that was downloaded and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Where it lies.
    pub path: PathBuf,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl FactoryClient {
    /// A client of the factory at a URL; plain HTTP only if the URL says so.
    ///
    /// # Errors
    /// The URL is not of HTTP, or TLS cannot be set up.
    pub fn new(base: Url, options: TransportOptions) -> Result<Self> {
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("{} is no URL of a factory", shown(&base)),
            )
            .with_help("write it like https://factory.talos.dev"));
        }
        let mut base = base;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { transport: Transport::new(options)?, base, authorization: None })
    }

    /// Sends this `Authorization` header to the factory (and to no other host).
    #[must_use]
    pub fn with_authorization(mut self, value: SecretString) -> Self {
        self.authorization = Some(value);
        self
    }

    /// Where the factory is.
    pub fn url(&self) -> &Url {
        &self.base
    }

    /// Creates a schematic; one that is there already stays as it is.
    ///
    /// # Errors
    /// The factory refuses the schematic, or cannot be reached.
    pub async fn create_schematic(&self, schematic: &Schematic) -> Result<CreatedSchematic> {
        #[derive(Deserialize)]
        struct Answer {
            id: String,
        }
        let url = self.at("schematics")?;
        let text = Bytes::from(schematic.canonical());
        let request = self.request(Method::POST, url.clone())?.body(Body::Bytes(text));
        let answer = self.answer(&request).await?;
        let answer: Answer = json(&url, answer).await?;
        let id: SchematicId = answer.id.parse().map_err(|source: crate::SchematicError| {
            Error::new(ErrorKind::Protocol, format!("{}: the answer has no id", shown(&url)))
                .with_source(source)
        })?;
        let computed = schematic.id();
        if id != computed {
            tracing::warn!(%id, %computed, "the factory computes another schematic id");
        }
        Ok(CreatedSchematic { id, computed })
    }

    /// The versions of Talos that the factory knows, oldest first.
    ///
    /// # Errors
    /// The factory cannot be reached, or its answer makes no sense.
    pub async fn versions(&self) -> Result<Vec<Version>> {
        let url = self.at("versions")?;
        let answer = self.answer(&self.request(Method::GET, url.clone())?).await?;
        let texts: Vec<String> = json(&url, answer).await?;
        texts.iter().map(|text| crate::name::talos_version(text)).collect()
    }

    /// The official extensions for a version of Talos.
    ///
    /// # Errors
    /// The factory does not know the version, cannot be reached, or its answer makes no sense.
    pub async fn official_extensions(&self, version: &Version) -> Result<Vec<OfficialExtension>> {
        let url = self.at(&format!("version/v{version}/extensions/official"))?;
        let answer = self.answer(&self.request(Method::GET, url.clone())?).await?;
        json(&url, answer).await
    }

    /// Asks how large an asset is; the factory builds it if need be, which takes minutes.
    ///
    /// # Errors
    /// The factory refuses to build it, does not know it, or cannot be reached.
    pub async fn size_of(&self, asset: &Asset) -> Result<Option<u64>> {
        let url = self.at(&asset.path())?;
        let answer = self.answer(&self.request(Method::HEAD, url)?).await?;
        Ok(number(&answer, header::CONTENT_LENGTH))
    }

    /// Downloads an asset to a file; `progress` is told the bytes that are there and their sum.
    ///
    /// What is there of an earlier attempt (`PATH.part`) is continued where the server can do
    /// that. The file appears under its name only once its size and digest are verified.
    ///
    /// # Errors
    /// The factory refuses, cannot be reached, or what arrives is not what was expected.
    pub async fn download(
        &self,
        asset: &Asset,
        path: &Path,
        expected: Expected,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<Downloaded> {
        let mut partial = Partial::open(path, &self.at(&asset.path())?).await?;
        let mut attempt = 1;
        let total = loop {
            let before = partial.size;
            match self.continue_download(&mut partial, progress).await {
                Ok(total) => break total,
                Err(error) if error.is_retryable() => {
                    // Bytes that came are worth a fresh set of attempts.
                    attempt = if partial.size > before { 1 } else { attempt + 1 };
                    if attempt > self.transport.attempts() {
                        return Err(error);
                    }
                    tokio::time::sleep(self.transport.pause(attempt)).await;
                }
                Err(error) => return Err(error),
            }
        };
        partial.finish(path, expected, total).await
    }

    async fn continue_download(
        &self,
        partial: &mut Partial,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<Option<u64>> {
        let mut request = self.request(Method::GET, partial.url.clone())?;
        if let (Some(tag), true) = (&partial.tag, partial.size > 0) {
            request = request
                .header(header::RANGE, &format!("bytes={}-", partial.size))?
                .header(header::IF_RANGE, tag)?;
        }
        let answer = self.follow(&request).await?;
        let url = partial.url.clone();
        let resumed = match answer.status() {
            StatusCode::PARTIAL_CONTENT => range_start(&answer) == Some(partial.size),
            StatusCode::OK => false,
            StatusCode::RANGE_NOT_SATISFIABLE if partial.size > 0 => {
                partial.restart().await?;
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("{}: what was there of it is not part of it", shown(&url)),
                ));
            }
            _ => return Err(refusal(&url, answer).await),
        };
        if answer.status() == StatusCode::PARTIAL_CONTENT && !resumed {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("{}: another range came than was asked for", shown(&url)),
            ));
        }
        if !resumed {
            partial.restart().await?;
            partial.remember(strong_tag(&answer)).await?;
        }
        let rest = number(&answer, header::CONTENT_LENGTH);
        let total = rest.map(|rest| rest + partial.size);
        let mut answer = answer;
        progress(partial.size, total);
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    partial.write(&chunk).await?;
                    progress(partial.size, total);
                }
                Ok(None) => break,
                Err(source) => {
                    partial.flush().await?;
                    return Err(unreachable(&url, source));
                }
            }
        }
        partial.flush().await?;
        if total.is_some_and(|total| total != partial.size) {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("{}: the answer broke off", shown(&url)),
            ));
        }
        Ok(total)
    }

    fn at(&self, path: &str) -> Result<Url> {
        self.base.join(path).map_err(|source| {
            Error::new(ErrorKind::InvalidArgument, format!("{path:?} cannot be part of a URL"))
                .with_source(source)
        })
    }

    fn request(&self, method: Method, url: Url) -> Result<Request> {
        let request = Request::new(method, url);
        match &self.authorization {
            Some(value) => request.header(header::AUTHORIZATION, value.expose_secret()),
            None => Ok(request),
        }
    }

    async fn answer(&self, request: &Request) -> Result<reqwest::Response> {
        let answer = self.follow(request).await?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(refusal(&request.url, answer).await),
        }
    }

    async fn follow(&self, request: &Request) -> Result<reqwest::Response> {
        crate::redirect::follow(&self.transport, request).await
    }
}

fn number(answer: &reqwest::Response, name: http::HeaderName) -> Option<u64> {
    answer.headers().get(name)?.to_str().ok()?.trim().parse().ok()
}

fn strong_tag(answer: &reqwest::Response) -> Option<String> {
    let tag = answer.headers().get(header::ETAG)?.to_str().ok()?;
    tag.starts_with('"').then(|| tag.to_owned())
}

fn range_start(answer: &reqwest::Response) -> Option<u64> {
    let range = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

async fn json<T: for<'de> Deserialize<'de>>(url: &Url, answer: reqwest::Response) -> Result<T> {
    let bytes = read_all(url, answer, MOST).await?;
    serde_json::from_slice(&bytes).map_err(|source| {
        Error::new(ErrorKind::Protocol, format!("{}: the answer makes no sense", shown(url)))
            .with_source(source)
    })
}

/// A file that is on its way, with the hash of what is there.
struct Partial {
    path: PathBuf,
    note: PathBuf,
    url: Url,
    tag: Option<String>,
    file: tokio::fs::File,
    hash: sha2::Sha256,
    size: u64,
}

impl Partial {
    /// Opens what is there of a file; another source or no way to continue it: begins anew.
    async fn open(path: &Path, url: &Url) -> Result<Self> {
        let beside = |suffix: &str| {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(suffix);
            path.with_file_name(name)
        };
        let (part, note) = (beside(".part"), beside(".part.from"));
        let file = tokio::fs::OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&part)
            .await
            .map_err(io(format!("open {}", part.display())))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(
            |error| {
                io(format!("lock {}", part.display()))(error.into())
                    .with_help("another process downloads the same file; wait for it")
            },
        )?;
        let mut partial = Self {
            path: part,
            note,
            url: url.clone(),
            tag: None,
            file,
            hash: sha2::Sha256::new(),
            size: 0,
        };
        let noted = tokio::fs::read_to_string(&partial.note).await.unwrap_or_default();
        match noted.split_once('\n') {
            Some((from, tag)) if from == url.as_str() && !tag.is_empty() => {
                partial.tag = Some(tag.to_owned());
                partial.read_what_is_there().await?;
            }
            _ => partial.restart().await?,
        }
        Ok(partial)
    }

    async fn read_what_is_there(&mut self) -> Result<()> {
        use tokio::io::AsyncReadExt as _;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = self.file.read(&mut buffer).await.map_err(io(self.what("read")))?;
            let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else {
                return Ok(());
            };
            self.hash.update(chunk);
            self.size += read as u64;
        }
    }

    fn what(&self, verb: &str) -> String {
        format!("{verb} {}", self.path.display())
    }

    async fn restart(&mut self) -> Result<()> {
        use tokio::io::AsyncSeekExt as _;
        self.file.set_len(0).await.map_err(io(self.what("empty")))?;
        self.file.rewind().await.map_err(io(self.what("rewind")))?;
        self.hash = sha2::Sha256::new();
        self.size = 0;
        self.tag = None;
        Ok(())
    }

    async fn remember(&mut self, tag: Option<String>) -> Result<()> {
        let text = format!("{}\n{}", self.url, tag.as_deref().unwrap_or_default());
        self.tag = tag;
        let what = format!("write {}", self.note.display());
        tokio::fs::write(&self.note, text).await.map_err(io(what))
    }

    async fn write(&mut self, chunk: &[u8]) -> Result<()> {
        self.file.write_all(chunk).await.map_err(io(self.what("write")))?;
        self.hash.update(chunk);
        self.size += chunk.len() as u64;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.file.flush().await.map_err(io(self.what("write")))
    }

    async fn finish(
        self,
        path: &Path,
        expected: Expected,
        total: Option<u64>,
    ) -> Result<Downloaded> {
        let digest = Digest::from_bytes(self.hash.clone().finalize().into());
        let wrong_size = expected.size.or(total).is_some_and(|size| size != self.size);
        let wrong = wrong_size || expected.digest.is_some_and(|expected| expected != digest);
        if wrong {
            let url = shown(&self.url);
            let (wanted, size) = (expected.digest, expected.size);
            let path = self.path.clone();
            drop(self.file);
            drop(tokio::fs::remove_file(&path).await);
            drop(tokio::fs::remove_file(&self.note).await);
            let shown = |value: Option<String>| value.unwrap_or_else(|| "any".to_owned());
            let text = format!(
                "{url}: {digest} of {} bytes came, but digest {} and size {} were expected",
                self.size,
                shown(wanted.map(|digest| digest.to_string())),
                shown(size.map(|size| size.to_string())),
            );
            return Err(Error::new(ErrorKind::Mismatch, text).with_help(
                "a factory does not build the same bytes twice; if its image is wanted anew, remove the pin",
            ));
        }
        self.file.sync_all().await.map_err(io(self.what("sync")))?;
        tokio::fs::rename(&self.path, path)
            .await
            .map_err(io(format!("rename to {}", path.display())))?;
        drop(tokio::fs::remove_file(&self.note).await);
        Ok(Downloaded { path: path.to_owned(), digest, size: self.size })
    }
}
