//! Where images come from: registries, layouts and archives.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use serde_json::Value;

use super::format::Content;
use super::image::{MANIFEST, MOST_DOCUMENT, OciImage};
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result, io};
use crate::name::Architecture;
use crate::oci::{Descriptor, ImageReference, RegistryClient};

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// A registry.
    Registry(ImageReference),
    /// A folder in the OCI image layout; written `oci:PATH`.
    Layout(PathBuf),
    /// A tar archive of such a folder, or one that `docker save` makes; written `oci-archive:PATH`
    /// or `docker-archive:PATH`.
    Archive(PathBuf),
}

impl FromStr for ImageSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(path) = text.strip_prefix("oci:") {
            return Ok(Self::Layout(path.into()));
        }
        let archive =
            text.strip_prefix("oci-archive:").or_else(|| text.strip_prefix("docker-archive:"));
        match archive {
            Some(path) => Ok(Self::Archive(path.into())),
            None => text.parse().map(Self::Registry),
        }
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(image) => image.fmt(f),
            Self::Layout(path) => write!(f, "oci:{}", path.display()),
            Self::Archive(path) => write!(f, "oci-archive:{}", path.display()),
        }
    }
}

/// A manifest or an index, as far as reading needs it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Child>,
}

#[derive(Debug, Deserialize)]
struct Child {
    #[serde(flatten)]
    descriptor: Descriptor,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

fn document(what: &dyn fmt::Display, bytes: &[u8]) -> Result<Document> {
    serde_json::from_slice(bytes).map_err(|source| {
        invalid(format!("{what}: its manifest makes no sense")).with_source(source)
    })
}

/// The entry of an index that is for an architecture; attestations are none.
fn child(
    what: &dyn fmt::Display,
    index: Document,
    architecture: Architecture,
) -> Result<Descriptor> {
    let wanted = architecture.to_string();
    let mut real: Vec<Child> = index
        .manifests
        .into_iter()
        .filter(|child| !child.annotations.contains_key("vnd.docker.reference.type"))
        .filter(|child| child.platform.as_ref().is_none_or(|platform| platform.os != "unknown"))
        .collect();
    let at = real.iter().position(|child| {
        let platform = child.platform.as_ref();
        platform.is_some_and(|platform| platform.os == "linux" && platform.architecture == wanted)
    });
    match (at, real.len()) {
        (Some(at), _) => Ok(real.swap_remove(at).descriptor),
        (None, 1) if real.first().is_some_and(|child| child.platform.is_none()) => {
            Ok(real.swap_remove(0).descriptor)
        }
        _ => {
            let have: Vec<String> = real
                .iter()
                .filter_map(|child| child.platform.as_ref())
                .map(|platform| format!("{}/{}", platform.os, platform.architecture))
                .collect();
            let text =
                format!("{what} is not there for linux/{wanted}: it has {}", have.join(", "));
            Err(Error::new(ErrorKind::NotFound, text))
        }
    }
}

impl ImageSource {
    /// What is told of it to whoever reads about an image that was built with it: not where on this
    /// machine it lay.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Registry(image) => image.to_string(),
            Self::Layout(path) | Self::Archive(path) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                name.to_string_lossy().into_owned()
            }
        }
    }

    /// What it is now, by digest, without fetching it.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn identity(&self, client: &RegistryClient) -> Result<Digest> {
        match self {
            Self::Registry(image) => match image.digest() {
                Some(digest) => Ok(digest),
                None => Ok(client.resolve(image).await?.digest),
            },
            Self::Layout(path) => {
                let index = path.join("index.json");
                Content::file(index)?.read_all(MOST_DOCUMENT).map(|bytes| Digest::of(&bytes))
            }
            Self::Archive(path) => {
                let content = Content::file(path)?;
                tokio::task::spawn_blocking(move || content.digest()).await.map_err(ended)?
            }
        }
    }

    /// Fetches it whole into a cache; what is there already is not fetched again.
    ///
    /// # Errors
    /// It is not there, not for the architecture, or not what its digests say.
    pub async fn fetch(
        &self,
        client: &RegistryClient,
        architecture: Architecture,
        cache: &Cache,
    ) -> Result<OciImage> {
        match self {
            Self::Registry(image) => from_registry(image, client, architecture, cache).await,
            Self::Layout(path) => {
                let (path, cache, name) = (path.clone(), cache.clone(), self.to_string());
                let read = move || from_layout(&path, &name, architecture, &cache);
                tokio::task::spawn_blocking(read).await.map_err(ended)?
            }
            Self::Archive(path) => {
                let (path, cache, name) = (path.clone(), cache.clone(), self.to_string());
                let read = move || from_archive(&path, &name, architecture, &cache);
                tokio::task::spawn_blocking(read).await.map_err(ended)?
            }
        }
    }
}

pub(super) fn ended(source: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Io, "the work ended before it was done").with_source(source)
}

async fn from_registry(
    image: &ImageReference,
    client: &RegistryClient,
    architecture: Architecture,
    cache: &Cache,
) -> Result<OciImage> {
    let manifest = async |image: &ImageReference| -> Result<(Digest, Vec<u8>)> {
        if let Some(digest) = image.digest()
            && let Some(path) = cache.get(&digest)?
        {
            return Ok((digest, Content::file(path)?.read_all(MOST_DOCUMENT)?));
        }
        let (resolved, bytes) = client.manifest(image).await?;
        cache.put(&bytes)?;
        Ok((resolved.digest, bytes.to_vec()))
    };
    let (mut digest, mut bytes) = manifest(image).await?;
    let mut found = document(image, &bytes)?;
    if found.config.is_none() {
        let chosen = child(image, found, architecture)?;
        (digest, bytes) = manifest(&image.with_digest(chosen.digest)).await?;
        found = document(image, &bytes)?;
    }
    let config = found.config.ok_or_else(|| invalid(format!("{image} is no image")))?;
    let source = image.with_digest(digest);
    for blob in std::iter::once(&config).chain(&found.layers) {
        client.pull_blob(&source, blob, cache).await?;
    }
    let manifest = Descriptor { media_type: MANIFEST.to_owned(), digest, size: bytes.len() as u64 };
    checked(image, OciImage { architecture, manifest, config, layers: found.layers }, cache)
}

fn from_layout(
    dir: &Path,
    name: &str,
    architecture: Architecture,
    cache: &Cache,
) -> Result<OciImage> {
    let blob = |descriptor: &Descriptor| -> Result<PathBuf> {
        let digest = &descriptor.digest;
        if let Some(path) = cache.get(digest)? {
            return Ok(path);
        }
        let content = Content::file(dir.join("blobs/sha256").join(digest.hex()))?;
        if content.len() != descriptor.size {
            let text =
                format!("{name}: {digest} has {} bytes, not {}", content.len(), descriptor.size);
            return Err(Error::new(ErrorKind::Mismatch, text));
        }
        cache.store(&content, Some(digest)).map(|(_, path)| path)
    };
    let index = Content::file(dir.join("index.json"))?.read_all(MOST_DOCUMENT)?;
    by_index(name, &index, architecture, cache, &blob)
}

fn by_index(
    name: &str,
    index: &[u8],
    architecture: Architecture,
    cache: &Cache,
    blob: &dyn Fn(&Descriptor) -> Result<PathBuf>,
) -> Result<OciImage> {
    let mut found = document(&name, index)?;
    let mut manifest = None;
    for _ in 0..3 {
        if found.config.is_some() {
            break;
        }
        let chosen = child(&name, found, architecture)?;
        let bytes = Content::file(blob(&chosen)?)?.read_all(MOST_DOCUMENT)?;
        found = document(&name, &bytes)?;
        manifest = Some(chosen);
    }
    let (Some(config), Some(manifest)) = (found.config, manifest) else {
        return Err(invalid(format!("{name} holds no image")));
    };
    for part in std::iter::once(&config).chain(&found.layers) {
        blob(part)?;
    }
    checked(&name, OciImage { architecture, manifest, config, layers: found.layers }, cache)
}

/// What `manifest.json` of `docker save` tells.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

fn from_archive(
    path: &Path,
    name: &str,
    architecture: Architecture,
    cache: &Cache,
) -> Result<OciImage> {
    let broken = |source: std::io::Error| {
        invalid(format!("{name}: the archive is broken")).with_source(source)
    };
    let file = fs_err::File::open(path).map_err(io("open an archive"))?;
    let mut archive = tar::Archive::new(std::io::BufReader::with_capacity(1 << 18, file));
    let mut members: BTreeMap<String, Descriptor> = BTreeMap::new();
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let member =
            String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
        if members.len() > 10_000 {
            return Err(invalid(format!("{name}: it is no archive of an image")));
        }
        let kind = entry.header().entry_type();
        if kind.is_symlink() || kind.is_hard_link() {
            // Older versions of Docker link layers that are the same.
            let target = entry.link_name_bytes().unwrap_or_default();
            let target = String::from_utf8_lossy(&target).trim_start_matches("../").to_owned();
            if let Some(known) = members.get(&target).cloned() {
                members.insert(member, known);
            }
            continue;
        }
        if !kind.is_file() {
            continue;
        }
        let mut writer = cache.writer()?;
        let size = std::io::copy(&mut entry, &mut writer).map_err(broken)?;
        let (digest, _) = writer.keep(None)?;
        members.insert(member, Descriptor { media_type: String::new(), digest, size });
    }
    let content = |member: &str| -> Result<Vec<u8>> {
        let found = members.get(member);
        let found = found.ok_or_else(|| invalid(format!("{name}: it has no {member}")))?;
        Content::file(cache.path_of(&found.digest))?.read_all(MOST_DOCUMENT)
    };
    if members.contains_key("index.json") && members.contains_key("oci-layout") {
        let blob = |wanted: &Descriptor| {
            let member = format!("blobs/sha256/{}", wanted.digest.hex());
            match members.get(&member) {
                Some(found) if found.digest == wanted.digest => Ok(cache.path_of(&found.digest)),
                Some(_) => {
                    let text = format!("{name}: {member} is not what its name says");
                    Err(Error::new(ErrorKind::Mismatch, text))
                }
                None => Err(invalid(format!("{name}: it has no {member}"))),
            }
        };
        return by_index(name, &content("index.json")?, architecture, cache, &blob);
    }
    let saved: Vec<Saved> =
        serde_json::from_slice(&content("manifest.json")?).map_err(|source| {
            invalid(format!("{name}: manifest.json makes no sense")).with_source(source)
        })?;
    let [saved] = saved.as_slice() else {
        return Err(invalid(format!("{name}: it holds {} images, not one", saved.len())));
    };
    let config: Value = serde_json::from_slice(&content(&saved.config)?).map_err(|source| {
        invalid(format!("{name}: its configuration makes no sense")).with_source(source)
    })?;
    if config.get("architecture").and_then(Value::as_str) != Some(&architecture.to_string()) {
        let text = format!("{name} is not for linux/{architecture}");
        return Err(Error::new(ErrorKind::NotFound, text));
    }
    let mut layers = Vec::new();
    for member in &saved.layers {
        let found = members.get(member);
        let found = found.ok_or_else(|| invalid(format!("{name}: it has no {member}")))?;
        let head = Content::part(cache.path_of(&found.digest), 0, found.size).head(2)?;
        let packed = if head == [0x1f, 0x8b] { "+gzip" } else { "" };
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{packed}");
        layers.push(Descriptor { media_type, ..found.clone() });
    }
    let image = OciImage::assemble(cache, architecture, &config, layers)?;
    checked(&name, image, cache)
}

fn checked(name: &dyn fmt::Display, image: OciImage, cache: &Cache) -> Result<OciImage> {
    let count = image.diff_ids(cache)?.len();
    if count != image.layers.len() {
        let text = format!(
            "{name}: its configuration tells {count} layers, its manifest {}",
            image.layers.len()
        );
        return Err(Error::new(ErrorKind::Mismatch, text));
    }
    Ok(image)
}
