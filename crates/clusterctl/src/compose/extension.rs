//! The extension that a tree makes itself: its recipe, by what it is known, and how it is made.

use std::collections::BTreeMap;
use std::path::PathBuf;

use imagefactory::build::format::Content;
use imagefactory::build::{ExtensionRecipe, OciImage, ServiceRecipe};
use imagefactory::{Architecture, Cache, Digest, Fetcher};

use crate::error::Error;
use crate::spec::site::{ExtensionSource, PackagePlace, PackageSource};

/// Most bytes of a package.
const MOST_PACKAGE: u64 = 1 << 30;

/// The recipe, still without its packages.
pub(super) fn recipe(source: &ExtensionSource) -> ExtensionRecipe {
    let service = |(name, spec): (&String, &serde_json::Value)| ServiceRecipe {
        name: name.clone(),
        spec: spec.clone(),
    };
    ExtensionRecipe {
        name: source.name.clone(),
        version: source.version.clone(),
        compatibility: source.compatibility.clone(),
        folder: source.folder.clone(),
        packages: Vec::new(),
        services: source.services.iter().map(service).collect(),
    }
}

/// The content address of everything that the extension is made from. A package without a digest
/// counts by its URL: the lock file holds what it was. The architecture is part of it, for the image
/// is one of that alone.
///
/// # Errors
/// The folder or a file of the tree cannot be read.
pub fn address(source: &ExtensionSource, architecture: &str) -> Result<String, Error> {
    let failed = || Error::failed(format!("read what the extension {} is made from", source.name));
    let mut known = vec![architecture.to_owned()];
    for package in &source.packages {
        known.push(match (&package.sha256, &package.place) {
            (Some(digest), _) => digest.to_string(),
            (None, PackagePlace::Url(url)) => url.clone(),
            (None, PackagePlace::File(path)) => Content::file(path)
                .and_then(|content| content.digest())
                .map_err(|error| failed().because(error))?
                .to_string(),
        });
    }
    let address = recipe(source).address(&known);
    Ok(address.map_err(|error| failed().because(error))?.to_string())
}

/// What extensions are made with.
pub struct Workshop<'a> {
    /// Fetches packages.
    pub fetcher: &'a Fetcher,
    /// Keeps them, and what is made of them.
    pub cache: &'a Cache,
    /// What packages without a digest were when they first came, by URL.
    pub pins: BTreeMap<String, String>,
    /// Packages of the lab are synthetic, and are not what their digests say.
    pub lab: bool,
}

impl std::fmt::Debug for Workshop<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workshop").field("lab", &self.lab).finish_non_exhaustive()
    }
}

/// An extension that was made; it lies in the cache.
#[derive(Debug)]
pub struct Made {
    /// The image.
    pub image: OciImage,
    /// What packages were that came for the first time, by URL.
    pub pins: BTreeMap<String, String>,
    /// What whoever uses it should know.
    pub remarks: Vec<String>,
}

impl Workshop<'_> {
    /// Fetches packages, puts the extension together, checks it, packs it. `tell` is told how many
    /// packages are there.
    ///
    /// # Errors
    /// A package cannot be fetched or is not what it must be; the extension breaks rules of Talos.
    pub async fn make(
        &self,
        source: &ExtensionSource,
        architecture: Architecture,
        tell: &(dyn Fn(usize) + Sync),
    ) -> Result<Made, Error> {
        let what = format!("make the extension {}", source.name);
        let mut recipe = recipe(source);
        let mut pins = BTreeMap::new();
        for (number, package) in source.packages.iter().enumerate() {
            recipe.packages.push(self.package(package, &mut pins).await?);
            tell(number + 1);
        }
        let cache = self.cache.clone();
        let work = move || {
            let spool = cache.work_folder()?;
            let mut extension = recipe.assemble(spool.path())?;
            extension.check(false)?;
            let image = extension.pack(architecture, &cache)?;
            Ok((image, extension.remarks))
        };
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.map_err(|error| Error::failed(what.clone()).because(error))?;
        let (image, remarks) = done.map_err(failed(&what))?;
        Ok(Made { image, pins, remarks })
    }

    /// Where a package lies, once it is what it must be: what the tree says, else what the lock
    /// file says, else what comes now.
    async fn package(
        &self,
        package: &PackageSource,
        pins: &mut BTreeMap<String, String>,
    ) -> Result<PathBuf, Error> {
        let url = match &package.place {
            PackagePlace::File(path) => return file(path, package.sha256).await,
            PackagePlace::Url(url) => url,
        };
        let pinned = self.pins.get(url).map(|pin| pin.parse());
        let pinned = pinned.transpose().map_err(failed(&format!("read the pin of {url}")))?;
        let expected = if self.lab { None } else { package.sha256.or(pinned) };
        let place = url
            .parse()
            .map_err(|error| Error::failed(format!("{url} is no URL")).because(error))?;
        let fetched = self.fetcher.fetch(&place, expected.as_ref(), MOST_PACKAGE, self.cache).await;
        let (digest, path) = fetched.map_err(failed(&format!("fetch {url}")))?;
        if package.sha256.is_none() && pinned.is_none() {
            pins.insert(url.clone(), digest.to_string());
        }
        Ok(path)
    }
}

/// A file of the tree, looked at where the tree says what it is.
async fn file(path: &std::path::Path, sha256: Option<Digest>) -> Result<PathBuf, Error> {
    let Some(expected) = sha256 else { return Ok(path.to_path_buf()) };
    let (from, what) = (path.to_path_buf(), format!("read {}", path.display()));
    let hash = move || Content::file(from).and_then(|content| content.digest());
    let found = tokio::task::spawn_blocking(hash).await;
    let found = found.map_err(|error| Error::failed(what.clone()).because(error))?;
    let found = found.map_err(failed(&what))?;
    if found == expected {
        return Ok(path.to_path_buf());
    }
    Err(Error::failed(format!("{} is {found}, and the tree says {expected}", path.display()))
        .hint("put the right file there, or say its sha256 in artifacts/extension"))
}

fn failed(what: &str) -> impl FnOnce(imagefactory::Error) -> Error {
    let what = what.to_owned();
    move |error| {
        let help = error.help().map(str::to_owned);
        let outer = Error::failed(what).because(error);
        match help {
            Some(help) => outer.hint(help),
            None => outer,
        }
    }
}
