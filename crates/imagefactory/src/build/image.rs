//! Container images whose parts lie in a cache: assembled, pushed, written as a layout.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::format::Content;
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result, io};
use crate::name::Architecture;
use crate::oci::{Descriptor, ImageReference, RegistryClient};

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(super) const MOST_DOCUMENT: u64 = 8 << 20;

/// An image of one platform; manifest, configuration and layers lie in a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciImage {
    /// Its architecture.
    pub architecture: Architecture,
    /// Its manifest.
    pub manifest: Descriptor,
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<Descriptor>,
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

impl OciImage {
    /// An image of layers that are in the cache; layers take the names of OCI.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn assemble(
        cache: &Cache,
        architecture: Architecture,
        config: &Value,
        layers: Vec<Descriptor>,
    ) -> Result<Self> {
        let layers: Vec<Descriptor> = layers
            .into_iter()
            .map(|layer| Descriptor {
                media_type: match layer.media_type.as_str() {
                    "application/vnd.docker.image.rootfs.diff.tar.gzip" => LAYER_GZIP.to_owned(),
                    "application/vnd.docker.image.rootfs.diff.tar" => {
                        "application/vnd.oci.image.layer.v1.tar".to_owned()
                    }
                    _ => layer.media_type,
                },
                ..layer
            })
            .collect();
        let store = |media_type: &str, value: &Value| -> Result<Descriptor> {
            let bytes = value.to_string();
            let digest = cache.put(bytes.as_bytes())?;
            let size = bytes.len() as u64;
            Ok(Descriptor { media_type: media_type.to_owned(), digest, size })
        };
        let config = store(CONFIG, config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": layers,
        });
        let manifest = store(MANIFEST, &manifest)?;
        Ok(Self { architecture, manifest, config, layers })
    }

    /// Its configuration.
    ///
    /// # Errors
    /// It is not in the cache, or makes no sense.
    pub fn configuration(&self, cache: &Cache) -> Result<Value> {
        let bytes = Content::file(cache.path_of(&self.config.digest))?.read_all(MOST_DOCUMENT)?;
        serde_json::from_slice(&bytes).map_err(|source| {
            invalid("the configuration of an image makes no sense").with_source(source)
        })
    }

    /// The digests of its layers unpacked.
    ///
    /// # Errors
    /// As [`configuration`](Self::configuration).
    pub fn diff_ids(&self, cache: &Cache) -> Result<Vec<Digest>> {
        let config = self.configuration(cache)?;
        let found = config.pointer("/rootfs/diff_ids").cloned().unwrap_or_default();
        serde_json::from_value(found).map_err(|source| {
            invalid("the configuration of an image names no layers").with_source(source)
        })
    }

    /// Everything that belongs to it, the manifest last.
    pub fn parts(&self) -> impl Iterator<Item = &Descriptor> {
        self.layers.iter().chain([&self.config, &self.manifest])
    }

    /// An index of images, one for each architecture.
    pub fn index(images: &[Self]) -> Vec<u8> {
        let entry = |image: &Self| {
            json!({
                "mediaType": MANIFEST,
                "digest": image.manifest.digest,
                "size": image.manifest.size,
                "platform": {"architecture": image.architecture, "os": "linux"},
            })
        };
        let mut images: Vec<&Self> = images.iter().collect();
        images.sort_by_key(|image| image.architecture);
        let entries: Vec<Value> = images.into_iter().map(entry).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        index.to_string().into_bytes()
    }

    /// Pushes images of one name and an index of them, which gets the tag; what the registry has
    /// is not sent again.
    ///
    /// # Errors
    /// A part is not in the cache, or the registry refuses or cannot be reached.
    pub async fn push(
        images: &[Self],
        to: &ImageReference,
        client: &RegistryClient,
        cache: &Cache,
    ) -> Result<Digest> {
        Self::push_near(images, to, &[], client, cache).await
    }

    /// As [`push`](Self::push); layers that came from one of these images of the same registry are
    /// taken over from there.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub async fn push_near(
        images: &[Self],
        to: &ImageReference,
        from: &[ImageReference],
        client: &RegistryClient,
        cache: &Cache,
    ) -> Result<Digest> {
        let near = from.iter().filter(|one| one.registry() == to.registry());
        let near: Vec<&str> = near.map(ImageReference::repository).collect();
        for image in images {
            for part in &image.layers {
                client.push_cached(to, part, &near, cache).await?;
            }
            client.push_cached(to, &image.config, &[], cache).await?;
            let bytes =
                Content::file(cache.path_of(&image.manifest.digest))?.read_all(MOST_DOCUMENT)?;
            let target = to.with_digest(image.manifest.digest);
            client.push_manifest(&target, MANIFEST, bytes.into()).await?;
        }
        let index = Self::index(images);
        let digest = Digest::of(&index);
        client.push_manifest(to, INDEX, index.into()).await?;
        Ok(digest)
    }

    /// Writes images as a folder in the OCI image layout; the folder must not exist.
    ///
    /// # Errors
    /// A part is not in the cache, or the folder cannot be written.
    pub fn write_layout(images: &[Self], tag: &str, dir: &Path, cache: &Cache) -> Result<Digest> {
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let failed = || format!("write the layout {}", dir.display());
        if dir.exists() {
            return Err(Error::new(ErrorKind::Io, format!("{} is there already", dir.display())));
        }
        let temporary = tempfile::tempdir_in(parent).map_err(io(failed()))?;
        let blobs = temporary.path().join("blobs/sha256");
        fs_err::create_dir_all(&blobs).map_err(io(failed()))?;
        for part in images.iter().flat_map(Self::parts) {
            let from = cache.path_of(&part.digest);
            fs_err::copy(from, blobs.join(part.digest.hex())).map_err(io(failed()))?;
        }
        let index = Self::index(images);
        let digest = Digest::of(&index);
        fs_err::write(blobs.join(digest.hex()), &index).map_err(io(failed()))?;
        let top = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{
                "mediaType": INDEX,
                "digest": digest,
                "size": index.len(),
                "annotations": {"org.opencontainers.image.ref.name": tag},
            }],
        });
        fs_err::write(temporary.path().join("index.json"), top.to_string())
            .map_err(io(failed()))?;
        let layout = json!({"imageLayoutVersion": "1.0.0"}).to_string();
        fs_err::write(temporary.path().join("oci-layout"), layout).map_err(io(failed()))?;
        fs_err::rename(temporary.keep(), dir).map_err(io(failed()))?;
        Ok(digest)
    }
}
