//! `image mirror`: images copied to another registry, those of a site as a whole.

use std::collections::{BTreeMap, BTreeSet};

use imagefactory::build::Catalog;
use imagefactory::{Cache, Fetcher, RegistryClient, RegistryOptions, TransportOptions};
use semver::Version;
use tokio::runtime::Runtime;

use super::image::{cache, client, client_of, failed, reference, runtime};
use super::session::detour;
use super::{Context, Error, chain};
use crate::compose::chart;
use crate::compose::need::{Needed, extensions_list, needed};
use crate::lab::Lab;
use crate::state::{Layout, LockFile};

/// What images are found and copied with.
#[derive(Debug)]
pub struct Mirror {
    cache: Cache,
    client: RegistryClient,
    runtime: Runtime,
    lab: bool,
}

impl Mirror {
    /// A cache and a client. Those of the lab reach its registry alone: no other has a certificate
    /// that it vouches for.
    ///
    /// # Errors
    /// Settings of the environment cannot be used; there is no tree whose lab could be meant.
    pub fn open(context: &Context, lab: bool) -> Result<Self, Error> {
        let runtime = runtime()?;
        if !lab {
            let (cache, client) = (cache(context)?, client(context)?);
            return Ok(Self { cache, client, runtime, lab });
        }
        let (root, loaded) = context.load_valid_as(lab)?;
        let site = loaded.site.ok_or_else(|| Error::failed("the tree gave no site"))?;
        let there = Lab::ensure(&root, &site)?;
        let transport = detour(&there).transport();
        let client = client_of(context, |options| RegistryOptions { transport, ..options })?;
        let cache = Cache::open(Layout::new(&site.live, lab).cache().join("oci"))
            .map_err(failed("open the cache"))?;
        Ok(Self { cache, client, runtime, lab })
    }

    /// The images that the tree's site needs, and what it needs besides that could not be found
    /// out.
    ///
    /// # Errors
    /// The tree has errors; the list of official extensions cannot be fetched.
    pub fn of_site(&self, context: &Context) -> Result<(Vec<String>, Vec<String>), Error> {
        let (_, loaded) = context.load_valid_as(self.lab)?;
        let site = loaded.site.ok_or_else(|| Error::failed("the tree gave no site"))?;
        let lock = LockFile::read(&Layout::new(&site.live, self.lab).lock_file())
            .map_err(|error| Error::failed("read the lock file").because(error))?;
        let Needed { mut images, extensions, charts, mut notes } = needed(&site, &lock, self.lab)?;
        images.extend(self.official(&extensions, &lock)?);
        for version in &charts {
            match self.runtime.block_on(self.envoy(version)) {
                Ok(image) => images.extend(image),
                Err(error) => drop(notes.insert(format!(
                    "not among them: the `cilium-envoy` that Cilium {version} names: {}",
                    chain(&error)
                ))),
            }
        }
        Ok((images.into_iter().collect(), notes.into_iter().collect()))
    }

    /// The images of official extensions that are named without a tag: those of the list that the
    /// builds of the site have.
    fn official(
        &self,
        extensions: &BTreeSet<(Version, String)>,
        lock: &LockFile,
    ) -> Result<Vec<String>, Error> {
        let mut lists: BTreeMap<&Version, Catalog> = BTreeMap::new();
        let mut images = Vec::new();
        for (version, name) in extensions {
            if !lists.contains_key(version) {
                let list = lock.by_digest(&extensions_list(version));
                let what = format!("read the list of official extensions {list}");
                let source = list.parse().map_err(failed(&what))?;
                let read = Catalog::read(&source, &self.client, &self.cache);
                lists.insert(version, self.runtime.block_on(read).map_err(failed(&what))?);
            }
            if let Some(list) = lists.get(version) {
                let found = list.find(name).map_err(failed("find an extension"))?;
                images.push(found.image.to_string());
            }
        }
        Ok(images)
    }

    /// The image that the chart of Cilium names beside those of its version.
    async fn envoy(&self, version: &Version) -> Result<Option<String>, Error> {
        let text = chart::url(version);
        let what = || format!("read {text}");
        if self.lab {
            return Err(Error::failed("the lab has no charts"));
        }
        let fetcher = Fetcher::new(TransportOptions::default()).map_err(failed(what()))?;
        let url =
            text.parse().map_err(|error: url::ParseError| Error::failed(what()).because(error))?;
        let fetched = fetcher.fetch(&url, None, chart::MOST_PACKAGE, &self.cache).await;
        let (_, path) = fetched.map_err(failed(what()))?;
        let file =
            fs_err::File::open(path).map_err(|error| Error::failed(what()).because(error))?;
        chart::envoy_image(file).map_err(|why| Error::failed(what()).because(why))
    }

    /// Copies images to another registry, each under its own repository; returns pairs of what was
    /// copied and its reference by digest.
    ///
    /// # Errors
    /// A registry refuses or cannot be reached; what was copied before stays.
    pub fn copy(
        &self,
        images: &[String],
        to: &str,
        tell: &dyn Fn(&str),
    ) -> Result<Vec<(String, String)>, Error> {
        let pairs = images
            .iter()
            .map(|text| {
                let from = reference(text)?;
                let tag = from.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
                let target =
                    reference(&format!("{}/{}{tag}", to.trim_end_matches('/'), from.repository()))?;
                Ok((from, target))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let mut done = Vec::new();
        for (from, target) in pairs {
            tell(&format!("copy {from} to {target}"));
            // Without a tag the copy is named by digest alone.
            let target = match (target.tag(), from.digest()) {
                (None, Some(digest)) => target.with_digest(digest),
                _ => target,
            };
            let copied = self
                .runtime
                .block_on(self.client.copy(&from, &target, &self.cache))
                .map_err(failed(format!("copy {from} to {target}")))?;
            done.push((from.to_string(), target.with_digest(copied.digest).to_string()));
        }
        Ok(done)
    }
}
