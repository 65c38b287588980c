//! The images that the tree asks for: their schematic, names and places.

use std::collections::{BTreeMap, BTreeSet};

use imagefactory::{Architecture, DesiredImages, Schematic, SchematicId, Wanted};
use semver::Version;
use url::Url;

use crate::error::Error;
use crate::spec::site::{Cluster, ImageSource, Site};

/// Everything about the images of a site, known before anything exists.
#[derive(Debug, Clone)]
pub struct Images {
    /// The factory.
    pub factory: Url,
    /// What is baked into all images.
    pub schematic: Schematic,
    /// Its id, which names every image.
    pub schematic_id: SchematicId,
    /// What the images are told by in the lock file and the cache: the schematic's id, or one over
    /// everything that they are built from.
    pub identity: String,
    /// What they are built from; `None` when the factory makes them.
    pub build: Option<Recipe>,
    /// Extensions that were given with a tag or digest: what the factory's list must say.
    pub pinned: Vec<PinnedExtension>,
    /// The images of each Talos version that a cluster runs.
    pub versions: BTreeMap<Version, VersionImages>,
}

/// The images of one Talos version.
#[derive(Debug, Clone)]
pub struct VersionImages {
    /// What the factory calls them.
    pub factory: DesiredImages,
    /// The reference that machine configurations have.
    pub installer: String,
    /// Where the installer is copied to, when the site has a registry of its own.
    pub installer_copy: Option<String>,
}

/// What images are built from, beside the version of Talos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Extensions as image references, or as names of the official list, in the order of layers.
    pub extensions: Vec<String>,
    /// Repository of the base of images.
    pub imager: String,
    /// Repository of the base of installers.
    pub installer_base: String,
    /// The one of the extensions that is made here.
    pub own: Option<OwnExtension>,
}

/// An extension that is made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnExtension {
    /// Its image, by tag, as it stands among the extensions.
    pub reference: String,
    /// The content address of what it is made from.
    pub address: String,
}

/// An official extension as the tree names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedExtension {
    /// As it stands in the tree.
    pub text: String,
    /// The name in the factory's list, such as `siderolabs/iscsi-tools`.
    pub name: String,
    /// Its tag.
    pub tag: Option<String>,
    /// Its digest, with algorithm.
    pub digest: Option<String>,
}

/// What the tree asks for.
///
/// # Errors
/// An extension is no official one, or a name cannot be made.
pub fn desired(site: &Site) -> Result<Images, Error> {
    let failed = |what: &str| Error::failed(format!("name the images: {what}"));
    let factory: Url = site
        .images
        .factory_url
        .parse()
        .map_err(|error: url::ParseError| failed("factory_url is no URL").because(error))?;
    let source = &site.schematic;
    // The order counts: it is part of the schematic's id.
    let mut names: Vec<String> = Vec::new();
    let mut pinned = Vec::new();
    let build = match site.images.source {
        ImageSource::Build => Some(recipe(site)?),
        ImageSource::Factory => None,
    };
    for text in &source.system_extensions {
        let extension = official(text).ok_or_else(|| {
            Error::refused(format!("{text} is no official extension"))
                .hint("the factory knows siderolabs/NAME only; name others in custom_extensions")
        })?;
        if !names.contains(&extension.name) {
            names.push(extension.name.clone());
        }
        pinned.push(extension);
    }
    for name in &source.factory_extensions {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let schematic = Schematic {
        official_extensions: names,
        extra_kernel_args: source.kernel_args.clone(),
        owner: site.images.factory_owner.clone().unwrap_or_default(),
        ..Schematic::default()
    };
    let schematic_id = schematic.id();
    let identity = match &build {
        None => schematic_id.to_string(),
        Some(recipe) => {
            let mut text = serde_json::json!({
                "schematic": schematic.canonical(),
                "extensions": recipe.extensions,
                "imager": recipe.imager,
                "installer": recipe.installer_base,
            });
            // Without one the identity is that of lock files of before.
            if let (Some(own), Some(fields)) = (&recipe.own, text.as_object_mut()) {
                fields.insert("own".to_owned(), own.address.clone().into());
            }
            format!("build-{}", imagefactory::Digest::of(text.to_string().as_bytes()).hex())
        }
    };
    let architecture: Architecture = site
        .versions
        .architecture
        .parse()
        .map_err(|error| failed("talos_architecture").because(error))?;
    let mut versions = BTreeMap::new();
    let wanted: Vec<&Version> = std::iter::once(&site.versions.talos)
        .chain(site.clusters.iter().map(|cluster| &cluster.versions.talos))
        .collect();
    for version in wanted {
        if versions.contains_key(version) {
            continue;
        }
        let images = imagefactory::desired(&Wanted {
            factory: &factory,
            schematic: &schematic_id,
            version,
            platform: &site.versions.platform,
            architecture,
            prefix: site.registry.file_name_prefix.as_deref().unwrap_or("talos"),
        })
        .map_err(|error| failed("the factory's names").because(error))?;
        let copy =
            site.images.installer_registry.as_ref().map(|place| format!("{place}:v{version}"));
        let installer = copy.clone().unwrap_or_else(|| images.installer.clone());
        let mut images = images;
        if let Some(name) = &site.images.iso_name
            && *version == site.versions.talos
        {
            images.iso_name.clone_from(name);
        }
        versions.insert(
            version.clone(),
            VersionImages { factory: images, installer, installer_copy: copy },
        );
    }
    Ok(Images { factory, schematic, schematic_id, identity, build, pinned, versions })
}

/// What a site's images are built from.
fn recipe(site: &Site) -> Result<Recipe, Error> {
    let source = &site.schematic;
    let own = |name: &str| format!("ghcr.io/siderolabs/{name}");
    let mut extensions: Vec<String> = Vec::new();
    let lists = [&source.system_extensions, &source.factory_extensions, &source.custom_extensions];
    for text in lists.into_iter().flatten() {
        if !extensions.contains(text) {
            extensions.push(text.clone());
        }
    }
    let made = match &site.extension {
        None => None,
        Some(extension) => Some(OwnExtension {
            reference: extension.reference(),
            address: super::extension::address(extension, &site.versions.architecture)?,
        }),
    };
    Ok(Recipe {
        extensions,
        own: made,
        imager: site.images.imager.clone().unwrap_or_else(|| own("imager")),
        installer_base: site.images.installer_base.clone().unwrap_or_else(|| own("installer-base")),
    })
}

/// The mirrors of a site by registry, and endpoints that are none: images that are built from come
/// from where the nodes have theirs.
pub(super) fn mirrors(
    all: &BTreeMap<String, Vec<String>>,
) -> (BTreeMap<String, Vec<Url>>, BTreeSet<String>) {
    let mut unreadable = BTreeSet::new();
    let mut read = |text: &String| {
        let url = text.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        if url.is_none() {
            // What stands before the host may be a credential.
            unreadable.insert(text.rsplit('@').next().unwrap_or_default().to_owned());
        }
        url
    };
    let mut mirrors = BTreeMap::new();
    for (registry, endpoints) in all {
        mirrors.insert(registry.clone(), endpoints.iter().filter_map(&mut read).collect());
    }
    (mirrors, unreadable)
}

impl Images {
    /// The reference of the installer that a cluster's configuration has.
    pub fn installer_of(&self, cluster: &Cluster) -> Option<String> {
        match &cluster.artifact_overrides.installer_image {
            Some(image) => Some(image.clone()),
            None => self.versions.get(&cluster.versions.talos).map(|i| i.installer.clone()),
        }
    }

    /// The file name of the ISO that a cluster's machines boot from.
    pub fn iso_of(&self, cluster: &Cluster) -> Option<&str> {
        self.versions.get(&cluster.versions.talos).map(|images| images.factory.iso_name.as_str())
    }
}

/// Reads `[ghcr.io/]siderolabs/NAME[:TAG][@DIGEST]`.
fn official(text: &str) -> Option<PinnedExtension> {
    let rest = text.strip_prefix("ghcr.io/").unwrap_or(text);
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.to_owned())),
        None => (rest, None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) => (path, Some(tag.to_owned())),
        None => (rest, None),
    };
    let name = path.strip_prefix("siderolabs/")?;
    if name.is_empty() || name.contains('/') {
        return None;
    }
    let name = format!("siderolabs/{name}");
    let name = imagefactory::extension_alias(&name).map_or(name, str::to_owned);
    Some(PinnedExtension { text: text.to_owned(), name, tag, digest })
}

/// A file of others that stands where one of ours should: what is the matter, and what to do.
pub(super) fn foreign_file(file: &str, node: &str, storage: &str) -> (String, String) {
    (
        format!(
            "{file} is on {storage} of {node} already: it was not put there from here, and is another file"
        ),
        "rename or remove it there, or give ours another name: iso_name in artifacts/images, \
         file_name_prefix in artifacts/registry"
            .to_owned(),
    )
}

/// How the ledger calls a file.
pub(super) fn ledger_id(node: &str, storage: &str, file: &str) -> String {
    format!("{node}/{storage}:iso/{file}")
}

#[cfg(test)]
mod tests {
    use super::{mirrors, official};

    #[test]
    fn no_endpoint_of_a_mirror_is_lost_without_a_word() {
        let endpoints =
            ["https://one.example", "http://two.example:5000", "ann:s3cret-word@three:5000"];
        let all = [("docker.io".to_owned(), endpoints.map(str::to_owned).to_vec())].into();
        let (found, unreadable) = mirrors(&all);
        let found: Vec<&str> = found["docker.io"].iter().map(url::Url::as_str).collect();
        // What is spoken to without TLS is told by the registries' client.
        assert_eq!(found, ["https://one.example/", "http://two.example:5000/"]);
        assert_eq!(unreadable.into_iter().collect::<Vec<_>>(), ["three:5000"]);
    }

    #[test]
    fn official_extensions_are_told_by_their_reference() {
        let found = official("ghcr.io/siderolabs/iscsi-tools:v0.2.0@sha256:ab").unwrap();
        assert_eq!(found.name, "siderolabs/iscsi-tools");
        assert_eq!(found.tag.as_deref(), Some("v0.2.0"));
        assert_eq!(found.digest.as_deref(), Some("sha256:ab"));
        assert!(official("ghcr.io/other/frr:1").is_none());
        assert!(official("siderolabs/").is_none());
    }
}
