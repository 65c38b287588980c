//! Official extensions of a Talos version, as their own catalogue image names them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::image::OciImage;
use super::limits;
use super::source::{ImageSource, ended};
use super::unpack::{Selection, unpack_image};
use crate::cache::Cache;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Architecture, extension_alias};
use crate::oci::{ImageReference, RegistryClient};

const MOST_TEXT: u64 = 8 << 20;

/// An extension of a catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogExtension {
    /// Its name in schematics, such as `siderolabs/iscsi-tools`.
    pub name: String,
    /// Its image, by tag and digest.
    pub image: ImageReference,
    /// Who made it.
    pub author: String,
    /// What it does.
    pub description: String,
}

/// The extensions of one Talos version.
#[derive(Debug, Clone, Default)]
pub struct Catalog(BTreeMap<String, CatalogExtension>);

#[derive(Deserialize)]
struct Description {
    #[serde(default)]
    author: String,
    #[serde(default)]
    description: String,
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

impl Catalog {
    /// Reads the image `extensions:<version>`.
    ///
    /// # Errors
    /// It is not there, or is no catalogue.
    pub async fn read(
        source: &ImageSource,
        client: &RegistryClient,
        cache: &Cache,
    ) -> Result<Self> {
        let image = source.fetch(client, Architecture::Amd64, cache).await?;
        let (cache, name) = (cache.clone(), source.to_string());
        let read = move || Self::of_image(&name, &image, &cache);
        tokio::task::spawn_blocking(read).await.map_err(ended)?
    }

    fn of_image(name: &str, image: &OciImage, cache: &Cache) -> Result<Self> {
        let wanted = |path: &str| matches!(path, "image-digests" | "descriptions.yaml");
        let selection =
            Selection { wanted: &wanted, entries: limits::EXTENSION_ENTRIES, bytes: MOST_TEXT };
        let scratch = cache.work_folder()?;
        let tree = unpack_image(image, cache, selection, &scratch.path().join("spool"))?.tree;
        let digests = tree.text("image-digests", MOST_TEXT)?;
        let digests = digests.ok_or_else(|| invalid(format!("{name} has no image-digests")))?;
        let descriptions = tree.text("descriptions.yaml", MOST_TEXT)?.unwrap_or_default();
        Self::parse(&digests, &descriptions)
    }

    /// Reads `image-digests` (a reference by digest on each line) and `descriptions.yaml`.
    ///
    /// # Errors
    /// A line is no reference, or has no digest.
    pub fn parse(digests: &str, descriptions: &str) -> Result<Self> {
        let told: BTreeMap<String, Description> = match descriptions.trim() {
            "" => BTreeMap::new(),
            text => serde_saphyr::from_str(text).map_err(|source| {
                invalid("descriptions.yaml cannot be read".to_owned()).with_source(source)
            })?,
        };
        let mut all = BTreeMap::new();
        for line in digests.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let image: ImageReference = line.parse()?;
            if image.digest().is_none() {
                return Err(invalid(format!("image-digests: {line} has no digest")));
            }
            let name = image.repository().to_owned();
            let of = |field: fn(&Description) -> &String| {
                told.get(line).map(field).cloned().unwrap_or_default()
            };
            let extension = CatalogExtension {
                name: name.clone(),
                author: of(|told| &told.author),
                description: of(|told| &told.description),
                image,
            };
            all.insert(name, extension);
        }
        Ok(Self(all))
    }

    /// All of them, by name.
    pub fn extensions(&self) -> impl Iterator<Item = &CatalogExtension> {
        self.0.values()
    }

    /// The one of a name; an old name finds what became of it.
    ///
    /// # Errors
    /// There is none: the text names those that are close.
    pub fn find(&self, name: &str) -> Result<&CatalogExtension> {
        let found = self.0.get(name);
        let found = found.or_else(|| self.0.get(extension_alias(name)?));
        found.ok_or_else(|| {
            let stem = name.rsplit('/').next().unwrap_or(name);
            let front: String = stem.chars().take(3).collect();
            let close: Vec<&str> =
                self.0.keys().map(String::as_str).filter(|known| known.contains(&front)).collect();
            let error = Error::new(
                ErrorKind::NotFound,
                format!("there is no official extension {name} for this version of Talos"),
            );
            match close.as_slice() {
                [] => error,
                close => error.with_help(format!("there are {}", close.join(", "))),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Catalog;

    #[test]
    fn names_lead_to_images_by_digest() {
        let digest = |n: &str| format!("sha256:{}", n.repeat(64));
        let line = format!("ghcr.io/siderolabs/iscsi-tools:v0.2.0@{}", digest("a"));
        let digests = format!("{line}\n\nghcr.io/siderolabs/i915:2025@{}\n", digest("b"));
        let told = format!("{line}:\n  author: Sidero\n  description: |\n    [core] iscsi\n");
        let catalog = Catalog::parse(&digests, &told).unwrap();
        let found = catalog.find("siderolabs/iscsi-tools").unwrap();
        assert_eq!(
            (found.author.as_str(), found.description.as_str()),
            ("Sidero", "[core] iscsi\n")
        );
        assert_eq!(found.image.to_string(), line);
        assert_eq!(catalog.find("siderolabs/i915-ucode").unwrap().name, "siderolabs/i915");
        let help = catalog.find("siderolabs/iscsi").unwrap_err().help().map(str::to_owned);
        assert_eq!(help.as_deref(), Some("there are siderolabs/iscsi-tools"));
        assert!(Catalog::parse("ghcr.io/siderolabs/i915:2025", "").is_err());
        assert!(Catalog::parse(&digests, "- a").is_err());
    }
}
