//! `image`: images and extensions made, looked at and copied by hand; no tree is needed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use imagefactory::build::{
    BuildRequest, Builder, Built, Catalog, Extension, ImageSource, IsoIdentity, OciImage, Platform,
};
use imagefactory::{
    Architecture, Cache, Fetcher, ImageReference, Pruned, RegistryClient, RegistryOptions,
    Schematic, TransportOptions,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Context, Error, ErrorKind};
use crate::compose::extension::Workshop;
use crate::compose::need::{extensions_list, official_name};
use crate::state::{Layout, LockFile, copy_file};

/// What to build.
#[derive(Debug)]
pub struct Build {
    /// The version of Talos.
    pub talos: String,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// `metal` or `nocloud`.
    pub platform: String,
    /// The imager image, if it is not Talos' own.
    pub imager: Option<String>,
    /// The installer base, if it is not Talos' own.
    pub installer_base: Option<String>,
    /// Extensions as image references, or official ones by name.
    pub extensions: Vec<String>,
    /// The image that tells which images official extensions are, if it is not Talos' own.
    pub extensions_list: Option<String>,
    /// Kernel arguments.
    pub kernel_args: Vec<String>,
    /// Where the ISO goes.
    pub iso: Option<PathBuf>,
    /// Where the installer is pushed to.
    pub push: Option<String>,
    /// Folder that the installer is written to, in the OCI image layout.
    pub layout: Option<PathBuf>,
}

/// What was built.
#[derive(Debug, Serialize)]
pub struct BuildReport {
    /// The content address of all inputs.
    pub address: String,
    /// Whether it had been built before.
    pub unchanged: bool,
    /// The ISO with its SHA-256 and size in bytes.
    pub iso: Option<Value>,
    /// Reference and digest of the installer.
    pub installer: Option<Value>,
    /// The kernel command line.
    pub command_line: String,
    /// What whoever uses it should know.
    pub remarks: Vec<String>,
}

pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(imagefactory::Error) -> Error {
    let what = what.into();
    move |error| {
        let hint = error.help().map(str::to_owned);
        let kind = match error.kind() {
            imagefactory::ErrorKind::Busy => ErrorKind::Locked,
            _ => ErrorKind::Failed,
        };
        let outer = Error::new(kind, what).because(error);
        match hint {
            Some(hint) => outer.hint(hint),
            None => outer,
        }
    }
}

/// The cache of a tree, or outside of one that of the user.
pub(super) fn cache(context: &Context) -> Result<Cache, Error> {
    let dir = match context.root() {
        Ok(root) => Layout::new(&root.live, false).cache().join("oci"),
        Err(_) => {
            let variable =
                |name: &str| context.variables.get(name).filter(|value| !value.is_empty());
            let base = variable("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| variable("HOME").map(|home| Path::new(home).join(".cache")));
            let base = base.ok_or_else(|| {
                Error::usage("there is no place for a cache").hint("set XDG_CACHE_HOME or HOME")
            })?;
            base.join("clusterctl/oci")
        }
    };
    Cache::open(dir).map_err(failed("open the cache"))
}

pub(super) fn client(context: &Context) -> Result<RegistryClient, Error> {
    client_of(context, RegistryOptions::loopback_plain)
}

/// A client with the credentials of the environment and what else is set.
pub(super) fn client_of(
    context: &Context,
    set: impl FnOnce(RegistryOptions) -> RegistryOptions,
) -> Result<RegistryClient, Error> {
    let credentials = imagefactory::credentials(&context.variables)
        .map_err(failed("read the credentials of registries"))?;
    let options = set(RegistryOptions { credentials, ..RegistryOptions::default() });
    RegistryClient::new(options).map_err(failed("prepare the registries' client"))
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed("start the runtime").because(error))
}

pub(super) fn reference(text: &str) -> Result<ImageReference, Error> {
    text.parse().map_err(failed(format!("read the reference {text}")))
}

/// Builds an ISO and an installer.
///
/// # Errors
/// An input cannot be used, the registry would not take the installer, or something cannot be
/// written.
pub fn build(
    context: &Context,
    options: &Build,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<BuildReport, Error> {
    let version =
        imagefactory::talos_version(&options.talos).map_err(failed("read the version of Talos"))?;
    let architecture: Architecture =
        options.architecture.parse().map_err(failed("read the architecture"))?;
    let platform: Platform = options.platform.parse().map_err(failed("read the platform"))?;
    let source = |text: &str| -> Result<ImageSource, Error> {
        text.parse().map_err(failed(format!("read the image {text}")))
    };
    let own = |name: &str| format!("ghcr.io/siderolabs/{name}:v{version}");
    let installer = options.push.is_some() || options.layout.is_some();
    if options.iso.is_none() && !installer {
        return Err(Error::usage("nothing is to be built")
            .hint("name the ISO with --iso FILE, or the installer with --push or --layout"));
    }
    let base = options.installer_base.clone().unwrap_or_else(|| own("installer-base"));
    let list = options.extensions_list.clone().unwrap_or_else(|| extensions_list(&version));
    let mut request = BuildRequest {
        imager: source(options.imager.as_deref().unwrap_or(&own("imager")))?,
        installer_base: if installer { Some(source(&base)?) } else { None },
        iso: options.iso.is_some(),
        extensions: Vec::new(),
        kernel_args: options.kernel_args.clone(),
        schematic: Some(Schematic {
            extra_kernel_args: options.kernel_args.clone(),
            ..Schematic::default()
        }),
        version,
        architecture,
        platform,
    };
    let push = options.push.as_deref().map(reference).transpose()?;
    let (cache, client) = (cache(context)?, client(context)?);
    runtime()?.block_on(async {
        if let Some(to) = &push {
            // A long build whose end cannot be stored is no use.
            client.check_push(to).await.map_err(failed(format!("push to {to}")))?;
        }
        let mut official = None;
        for text in &options.extensions {
            let Some(name) = official_name(text) else {
                request.extensions.push(source(text)?);
                continue;
            };
            let found = match &mut official {
                Some(found) => found,
                none => {
                    let read = Catalog::read(&source(&list)?, &client, &cache).await;
                    let what = format!("read the list of official extensions {list}");
                    none.insert(read.map_err(failed(what))?)
                }
            };
            let found: &Catalog = found;
            let image = found.find(name).map_err(failed("find an extension"))?.image.clone();
            request.extensions.push(ImageSource::Registry(image));
        }
        let builder = Builder::new(cache.clone(), client.clone());
        let built = builder.build(&request, tell).await.map_err(failed("build the images"))?;
        let mut installer = None;
        if let Some(image) = &built.installer {
            let images = std::slice::from_ref(image);
            let mut told = json!({"digest": image.manifest.digest});
            if let Some(to) = &push {
                let digest = OciImage::push(images, to, &client, &cache)
                    .await
                    .map_err(failed(format!("push to {to}")))?;
                told = json!({"digest": digest, "reference": to.to_string()});
            }
            if let Some(dir) = &options.layout {
                let dir = context.cwd.join(dir);
                OciImage::write_layout(images, &format!("v{}", request.version), &dir, &cache)
                    .map_err(failed(format!("write {}", dir.display())))?;
            }
            installer = Some(told);
        }
        let iso = match (&built.iso, &options.iso) {
            (Some(_), Some(path)) => Some(write_iso(&built, &context.cwd.join(path))?),
            _ => None,
        };
        Ok(BuildReport {
            address: built.address.to_string(),
            unchanged: built.unchanged,
            iso,
            installer,
            command_line: built.command_line.clone(),
            remarks: built.remarks,
        })
    })
}

/// Puts the ISO where it is wanted, with its bill of materials and provenance beside it.
fn write_iso(built: &Built, path: &Path) -> Result<Value, Error> {
    let Some(iso) = &built.iso else { return Ok(Value::Null) };
    let named = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let files = [
        (&iso.path, path.to_path_buf()),
        (&built.sbom.path, named(".spdx.json")),
        (&built.provenance.path, named(".provenance.json")),
    ];
    for (from, to) in files {
        copy_file(from, &to)
            .map_err(|error| Error::failed(format!("write {}", to.display())).because(error))?;
    }
    Ok(json!({"path": path.display().to_string(), "digest": iso.digest, "size": iso.size}))
}

/// A folder that becomes an extension.
#[derive(Debug)]
pub struct MakeExtension {
    /// The folder, with `manifest.yaml` and `rootfs`; none: what the tree says.
    pub dir: Option<PathBuf>,
    /// Architectures.
    pub architectures: Vec<String>,
    /// Whether the rules of Talos are only remarked on.
    pub relaxed: bool,
    /// Where it is pushed to.
    pub push: Option<String>,
    /// Folder that it is written to, in the OCI image layout.
    pub layout: Option<PathBuf>,
}

/// An extension that was made.
#[derive(Debug, Serialize)]
pub struct ExtensionReport {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Digest of the index.
    pub digest: String,
    /// The reference by digest, if it was pushed.
    pub reference: Option<String>,
    /// What whoever uses it should know.
    pub remarks: Vec<String>,
}

/// Makes an extension of a folder.
///
/// # Errors
/// It breaks rules of Talos, or cannot be pushed or written.
pub fn extension(context: &Context, options: &MakeExtension) -> Result<ExtensionReport, Error> {
    let read = |text: &String| text.parse().map_err(failed("read the architecture"));
    let architectures: Vec<Architecture> =
        options.architectures.iter().map(read).collect::<Result<_, Error>>()?;
    let Packed { images, name, version, remarks } = match &options.dir {
        Some(dir) => of_folder(context, dir, &architectures, options.relaxed)?,
        None => of_tree(context, &architectures)?,
    };
    let cache = cache(context)?;
    let mut digest = imagefactory::Digest::of(&OciImage::index(&images));
    let mut pushed = None;
    if let Some(to) = &options.push {
        let (to, client) = (reference(to)?, client(context)?);
        digest = runtime()?
            .block_on(OciImage::push(&images, &to, &client, &cache))
            .map_err(failed(format!("push to {to}")))?;
        pushed = Some(to.with_digest(digest).to_string());
    }
    if let Some(layout) = &options.layout {
        let dir = context.cwd.join(layout);
        OciImage::write_layout(&images, &version, &dir, &cache)
            .map_err(failed(format!("write {}", dir.display())))?;
    }
    let digest = digest.to_string();
    Ok(ExtensionReport { name, version, digest, reference: pushed, remarks })
}

/// An extension in the cache, for each architecture.
struct Packed {
    images: Vec<OciImage>,
    name: String,
    version: String,
    remarks: Vec<String>,
}

fn of_folder(
    context: &Context,
    dir: &Path,
    architectures: &[Architecture],
    relaxed: bool,
) -> Result<Packed, Error> {
    let dir = context.cwd.join(dir);
    let what = format!("make an extension of {}", dir.display());
    let mut extension = Extension::from_folder(&dir).map_err(failed(&what))?;
    extension.check(relaxed).map_err(failed(&what))?;
    let cache = cache(context)?;
    let pack =
        |architecture: &Architecture| extension.pack(*architecture, &cache).map_err(failed(&what));
    let images = architectures.iter().map(pack).collect::<Result<Vec<_>, Error>>()?;
    let Extension { manifest, remarks, .. } = extension;
    let (name, version) = (manifest.metadata.name, manifest.metadata.version);
    Ok(Packed { images, name, version, remarks })
}

/// The one that `artifacts/extension` describes. Nothing is pinned: that is for `apply`.
fn of_tree(context: &Context, architectures: &[Architecture]) -> Result<Packed, Error> {
    let (_, loaded) = context.load_valid()?;
    let site = loaded.site.ok_or_else(|| Error::failed("the tree gave no site"))?;
    let source = site.extension.ok_or_else(|| {
        Error::usage("the tree has no artifacts/extension")
            .hint("name a folder with manifest.yaml and rootfs, or describe one there")
    })?;
    let lock = LockFile::read(&Layout::new(&site.live, false).lock_file())
        .map_err(|error| Error::failed("read the lock file").because(error))?;
    let fetcher = Fetcher::new(TransportOptions::default())
        .map_err(failed("prepare the client that fetches packages"))?;
    let (cache, pins) = (cache(context)?, lock.references);
    let workshop = Workshop { fetcher: &fetcher, cache: &cache, pins, lab: false };
    let mut packed = Packed {
        images: Vec::new(),
        name: source.name.clone(),
        version: source.version.clone(),
        remarks: Vec::new(),
    };
    let runtime = runtime()?;
    for architecture in architectures {
        let made = runtime.block_on(workshop.make(&source, *architecture, &|_| {}))?;
        packed.images.push(made.image);
        packed.remarks = made.remarks;
    }
    Ok(packed)
}

/// What an ISO file or an image is.
///
/// # Errors
/// It is not there, or is no image.
pub fn inspect(context: &Context, what: &str) -> Result<Value, Error> {
    let path = context.cwd.join(what);
    if path.is_file() {
        let identity = IsoIdentity::read(&path).map_err(failed(format!("look at {what}")))?;
        let identity = identity.ok_or_else(|| {
            Error::failed(format!("{what} was not built by clusterctl: it tells nothing of itself"))
        })?;
        return Ok(json!({"kind": "iso", "identity": identity}));
    }
    let image = reference(what)?;
    let client = client(context)?;
    let (resolved, bytes) =
        runtime()?.block_on(client.manifest(&image)).map_err(failed(format!("look at {image}")))?;
    let document: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Error::failed(format!("look at {image}")).because(error))?;
    Ok(json!({
        "kind": "image",
        "digest": resolved.digest,
        "mediaType": resolved.media_type,
        "manifest": document,
    }))
}

/// The canonical text of a schematic and its id: of a file, else of the tree, else of nothing, with
/// what is added.
///
/// # Errors
/// The file cannot be read, or is no schematic; the tree has errors.
pub fn schematic(
    context: &Context,
    file: Option<&Path>,
    extensions: &[String],
    kernel_args: &[String],
) -> Result<(String, String), Error> {
    let mut schematic = match file {
        // Outside of a tree, and only there, it begins with nothing.
        None if context.live.is_none() && context.root().is_err() => Schematic::default(),
        None => {
            let (_, loaded) = context.load_valid()?;
            let site = loaded.site.ok_or_else(|| Error::failed("the tree gave no site"))?;
            crate::compose::image::desired(&site)?.schematic
        }
        Some(file) => {
            let path = context.cwd.join(file);
            let bytes = fs_err::read(&path)
                .map_err(|error| Error::failed("read the schematic").because(error))?;
            Schematic::parse(&bytes)
                .map_err(|error| Error::failed(format!("read {}", path.display())).because(error))?
        }
    };
    schematic.official_extensions.extend(extensions.iter().cloned());
    schematic.extra_kernel_args.extend(kernel_args.iter().cloned());
    Ok((schematic.id().to_string(), schematic.canonical()))
}

/// Removes from the cache what was not used for so many days; everything for 0.
///
/// # Errors
/// Another program uses the cache: nothing is removed. A file cannot be removed.
pub fn gc(context: &Context, days: u32) -> Result<Pruned, Error> {
    let unused = Duration::from_hours(24 * u64::from(days));
    cache(context)?.prune_unused(unused).map_err(failed("clean the cache up"))
}
