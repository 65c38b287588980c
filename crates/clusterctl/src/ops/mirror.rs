//! `image mirror`: images copied to another registry, those of a site as a whole.

use imagefactory::build::Catalog;
use imagefactory::{Cache, Fetcher, TransportOptions};
use semver::Version;

use super::image::{cache, client, failed, reference, runtime};
use super::{Context, Error, chain};
use crate::compose::chart;
use crate::compose::cilium::wanted_image;
use crate::compose::need::{extensions_list, needed};
use crate::state::{Layout, LockFile};

/// The images that the tree's site needs, and what it needs besides that could not be found out.
///
/// # Errors
/// The tree has errors; the list of official extensions cannot be fetched.
pub fn of_site(context: &Context) -> Result<(Vec<String>, Vec<String>), Error> {
    let (_, loaded) = context.load_valid()?;
    let site = loaded.site.ok_or_else(|| Error::failed("the tree gave no site"))?;
    let found = needed(&site)?;
    let mut images = found.images;
    let lock = LockFile::read(&Layout::new(&site.live, false).lock_file())
        .map_err(|error| Error::failed("read the lock file").because(error))?;
    // A tag may mean another image since the clusters were made.
    images.extend(site.clusters.iter().filter_map(|cluster| {
        wanted_image(cluster).map(|wanted| lock.cilium_cli_image(cluster.id, wanted))
    }));
    let (cache, client, runtime) = (cache(context)?, client(context)?, runtime()?);
    let mut lists = std::collections::BTreeMap::new();
    for (version, name) in &found.extensions {
        if !lists.contains_key(version) {
            let list = extensions_list(version);
            let what = format!("read the list of official extensions {list}");
            let source = list.parse().map_err(failed(&what))?;
            let read = runtime.block_on(Catalog::read(&source, &client, &cache));
            lists.insert(version.clone(), read.map_err(failed(&what))?);
        }
        if let Some(list) = lists.get(version) {
            images.insert(list.find(name).map_err(failed("find an extension"))?.image.to_string());
        }
    }
    let mut notes = found.notes;
    for version in &found.charts {
        match runtime.block_on(envoy(version, &cache)) {
            Ok(image) => images.extend(image),
            Err(error) => drop(notes.insert(format!(
                "not among them: the `cilium-envoy` that Cilium {version} names: {}",
                chain(&error)
            ))),
        }
    }
    Ok((images.into_iter().collect(), notes.into_iter().collect()))
}

/// The image that the chart of Cilium names beside those of its version.
async fn envoy(version: &Version, cache: &Cache) -> Result<Option<String>, Error> {
    let text = chart::url(version);
    let what = || format!("read {text}");
    let fetcher = Fetcher::new(TransportOptions::default()).map_err(failed(what()))?;
    let url =
        text.parse().map_err(|error: url::ParseError| Error::failed(what()).because(error))?;
    let fetched = fetcher.fetch(&url, None, chart::MOST_PACKAGE, cache).await;
    let (_, path) = fetched.map_err(failed(what()))?;
    let file = fs_err::File::open(path).map_err(|error| Error::failed(what()).because(error))?;
    chart::envoy_image(file).map_err(|why| Error::failed(what()).because(why))
}

/// Copies images to another registry, each under its own repository; returns pairs of what was
/// copied and its reference by digest.
///
/// # Errors
/// A registry refuses or cannot be reached; what was copied before stays.
pub fn mirror(
    context: &Context,
    images: &[String],
    to: &str,
    tell: &dyn Fn(&str),
) -> Result<Vec<(String, String)>, Error> {
    let (cache, client, runtime) = (cache(context)?, client(context)?, runtime()?);
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
        let copied = runtime
            .block_on(client.copy(&from, &target, &cache))
            .map_err(failed(format!("copy {from} to {target}")))?;
        done.push((from.to_string(), target.with_digest(copied.digest).to_string()));
    }
    Ok(done)
}
