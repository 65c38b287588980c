//! From a base, extensions and arguments to an ISO and an installer.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join3;
use futures_util::stream::StreamExt as _;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Platform;
use super::base::{self, Base};
use super::extension::Extension;
use super::format::Content;
use super::image::OciImage;
use super::initramfs::{self, Prepared};
use super::manifest::{Compatibility, Constraint, Manifest, Metadata};
use super::source::{ImageSource, ended};
use super::tree::{Node, Tree};
use super::work::Work;
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::name::Architecture;
use crate::oci::{Descriptor, RegistryClient};
use crate::schematic::Schematic;

/// Goes up with every change that changes the bytes of an output.
const FORMAT: u32 = 2;
/// How many extensions are unpacked and packed at a time; each needs some megabytes.
const AT_ONCE: usize = 2;

/// What is to be built.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The version of Talos that the base is of.
    pub version: Version,
    /// For which machines.
    pub architecture: Architecture,
    /// For which platform.
    pub platform: Platform,
    /// The image `imager` of that version.
    pub imager: ImageSource,
    /// The image `installer-base` of that version; without it no installer is built.
    pub installer_base: Option<ImageSource>,
    /// Whether an ISO is built.
    pub iso: bool,
    /// System extensions, in the order of their layers.
    pub extensions: Vec<ImageSource>,
    /// Kernel arguments on top of those of Talos; `-name` takes one away.
    pub kernel_args: Vec<String>,
    /// What of it a factory would know: told to Talos, which shows it.
    pub schematic: Option<Schematic>,
}

/// An output that is a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltFile {
    /// Its SHA-256.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where it lies in the cache.
    #[serde(skip)]
    pub path: PathBuf,
}

/// What a build made, or found made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// The content address of all inputs; names the outputs.
    pub address: Digest,
    /// The ISO.
    pub iso: Option<BuiltFile>,
    /// The installer.
    pub installer: Option<OciImage>,
    /// The kernel command line of the installer, else of the ISO.
    pub command_line: String,
    /// Software bill of materials, SPDX 2.3 as JSON.
    pub sbom: BuiltFile,
    /// What was built from what, as JSON.
    pub provenance: BuiltFile,
    /// What whoever uses it should know.
    pub remarks: Vec<String>,
    /// Whether it was there already, and nothing was done.
    #[serde(skip)]
    pub unchanged: bool,
}

/// What is told while a build goes on.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Builds images; keeps what it makes in a cache.
#[derive(Debug, Clone)]
pub struct Builder {
    cache: Cache,
    client: RegistryClient,
}

/// An image by what it is now.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) digest: Digest,
}

fn unsupported(text: &str, help: &str) -> Error {
    Error::new(ErrorKind::Unsupported, text).with_help(help)
}

fn check(request: &BuildRequest) -> Result<()> {
    let version = &request.version;
    if version.major != 1 || !(10..=14).contains(&version.minor) {
        let text = format!("the builder knows Talos 1.10 to 1.14, not {version}");
        return Err(unsupported(&text, "build images of other versions at a factory"));
    }
    if !request.iso && request.installer_base.is_none() {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "neither an ISO nor an installer is wanted",
        ));
    }
    let Some(schematic) = &request.schematic else { return Ok(()) };
    if !schematic.enroll_keys.is_empty() || schematic.include_well_known_certificates {
        let help =
            "images for secure boot must be signed: build them at a factory that has the keys";
        return Err(unsupported("the builder does not sign for secure boot", help));
    }
    let overlay = &schematic.overlay;
    if !(overlay.name.is_empty() && overlay.image.is_empty() && overlay.options.is_empty()) {
        let help = "an overlay runs a program of its board: build such images at a factory";
        return Err(unsupported("the builder does not know overlays", help));
    }
    if !schematic.meta.is_empty() || !schematic.embedded_machine_configuration.is_empty() {
        let text = "the builder puts neither META values nor machine configurations into images";
        return Err(unsupported(text, "leave them out, or build at a factory"));
    }
    if schematic.bootloader.is_some() || schematic.sector_size > 0 {
        let text = "the builder chooses the boot loader itself and makes no disk images";
        return Err(unsupported(text, "leave bootloader and diskImage out"));
    }
    Ok(())
}

impl Builder {
    /// A builder that keeps everything in a cache.
    pub fn new(cache: Cache, client: RegistryClient) -> Self {
        Self { cache, client }
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Builds, unless the same was built before.
    ///
    /// Nothing is fetched for inputs that are named by digest and were built with before.
    ///
    /// # Errors
    /// The request cannot be built (kind [`Unsupported`](ErrorKind::Unsupported)), an input is
    /// broken or not there, or the cache cannot be written.
    pub async fn build(&self, request: &BuildRequest, progress: Progress<'_>) -> Result<Built> {
        check(request)?;
        let identity = async |source: &ImageSource| -> Result<Input> {
            let digest = source.identity(&self.client).await?;
            Ok(Input { name: source.told(), digest })
        };
        let mut inputs = vec![identity(&request.imager).await?];
        if let Some(base) = &request.installer_base {
            inputs.push(identity(base).await?);
        }
        for extension in &request.extensions {
            inputs.push(identity(extension).await?);
        }
        let address = address(request, &inputs);
        let note = format!("build-{}.json", address.hex());
        if let Some(built) = self.known(&note)? {
            return Ok(built);
        }
        let arch = request.architecture;
        let installer_base = async {
            let Some(source) = &request.installer_base else { return Ok(None) };
            progress(&format!("installer base {source}"));
            source.fetch(&self.client, arch, &self.cache).await.map(Some)
        };
        let first_extension = inputs.len() - request.extensions.len();
        let extensions: Vec<_> = request
            .extensions
            .iter()
            .zip(inputs.iter().skip(first_extension))
            .map(|(source, input)| self.extension(source, input, arch, progress))
            .collect();
        let base = self.base(request, first(&inputs), progress);
        let (base, installer_base, mut prepared) =
            Box::pin(until_all_ended(base, installer_base, extensions)).await?;
        for one in &prepared {
            Extension::of_manifest(one.manifest.clone()).check_version(&request.version)?;
        }
        if let Some(schematic) = &request.schematic {
            let cache = self.cache.clone();
            let own = schematic_extension(schematic)?;
            let prepare = move || initramfs::prepare(own, &cache);
            prepared.push(tokio::task::spawn_blocking(prepare).await.map_err(ended)??);
        }
        progress("images");
        let work = Work {
            request: request.clone(),
            cache: self.cache.clone(),
            inputs,
            address,
            base,
            installer_base,
            prepared,
        };
        let built = tokio::task::spawn_blocking(move || work.run()).await.map_err(ended)??;
        self.write_note(&note, &built)?;
        Ok(built)
    }

    async fn base(
        &self,
        request: &BuildRequest,
        digest: Digest,
        progress: Progress<'_>,
    ) -> Result<Base> {
        let arch = request.architecture;
        let note = format!("base-{FORMAT}-{}-{arch}.json", digest.hex());
        let known: Option<Base> = self.noted(&note)?;
        if let Some(known) = known.filter(|base| base.is_there(&self.cache)) {
            return Ok(known);
        }
        progress(&format!("base {}", request.imager));
        // Every child of the index has the files of all architectures.
        let image = match &request.imager {
            ImageSource::Registry(_) => Architecture::Amd64,
            _ => arch,
        };
        let image = request.imager.fetch(&self.client, image, &self.cache).await?;
        let (source, cache) = (request.imager.clone(), self.cache.clone());
        let read = move || base::read(&source, &image, arch, &cache);
        let base = tokio::task::spawn_blocking(read).await.map_err(ended)??;
        self.write_note(&note, &base)?;
        Ok(base)
    }

    async fn extension(
        &self,
        source: &ImageSource,
        input: &Input,
        architecture: Architecture,
        progress: Progress<'_>,
    ) -> Result<Prepared> {
        let note = format!("extension-{FORMAT}-{}-{architecture}.json", input.digest.hex());
        let known: Option<Prepared> = self.noted(&note)?;
        if let Some(known) = known.filter(|known| known.is_there(&self.cache)) {
            return Ok(known);
        }
        progress(&format!("extension {source}"));
        let image = source.fetch(&self.client, architecture, &self.cache).await?;
        let (cache, source) = (self.cache.clone(), source.clone());
        let prepare = move || -> Result<Prepared> {
            let scratch = cache.work_folder()?;
            let read = Extension::from_image(&image, &cache, &scratch.path().join("spool"));
            read.and_then(|extension| initramfs::prepare(extension, &cache))
                .map_err(|error| error.within(format!("the extension {source}")))
        };
        let prepared = tokio::task::spawn_blocking(prepare).await.map_err(ended)??;
        self.write_note(&note, &prepared)?;
        Ok(prepared)
    }

    fn known(&self, note: &str) -> Result<Option<Built>> {
        let Some(mut built) = self.noted::<Built>(note)? else { return Ok(None) };
        let files = [Some(&mut built.sbom), Some(&mut built.provenance), built.iso.as_mut()];
        for file in files.into_iter().flatten() {
            file.path = self.cache.path_of(&file.digest);
            self.cache.touch(&file.digest);
            let there = std::fs::metadata(&file.path).is_ok_and(|data| data.len() == file.size);
            if !there {
                return Ok(None);
            }
        }
        let parts = built.installer.iter().flat_map(OciImage::parts);
        let there = |part: &Descriptor| {
            let path = self.cache.path_of(&part.digest);
            self.cache.touch(&part.digest);
            std::fs::metadata(path).is_ok_and(|data| data.len() == part.size)
        };
        if !parts.into_iter().all(there) {
            return Ok(None);
        }
        built.unchanged = true;
        Ok(Some(built))
    }

    fn noted<T: for<'de> Deserialize<'de>>(&self, note: &str) -> Result<Option<T>> {
        // A note of another version of this program is as good as none.
        Ok(self.cache.note(note)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn write_note(&self, note: &str, value: &impl Serialize) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(value).map_err(|source| {
            Error::new(ErrorKind::Io, "write to the cache").with_source(source)
        })?;
        self.cache.write_note(note, &bytes)
    }
}

/// Does all of it side by side, extensions a few at a time. After an error no extension is begun
/// any more, and what is under way ends before the error is told: work on other threads goes on
/// when nobody waits for it, and would still use the cache of whoever was told.
async fn until_all_ended<A, B, C>(
    base: impl Future<Output = Result<A>>,
    installer_base: impl Future<Output = Result<B>>,
    extensions: Vec<impl Future<Output = Result<C>>>,
) -> Result<(A, B, Vec<C>)> {
    let failed = AtomicBool::new(false);
    let extensions = extensions.into_iter().map(|extension| async {
        // None of them is missed: the error stands in place of all.
        if failed.load(Ordering::Relaxed) { None } else { Some(noting(&failed, extension).await) }
    });
    // Of futures, not of what they are made from: so a task of any thread can hold this one.
    let extensions: Vec<_> = extensions.collect();
    let extensions = futures_util::stream::iter(extensions).buffered(AT_ONCE).collect::<Vec<_>>();
    let (base, installer_base) = (noting(&failed, base), noting(&failed, installer_base));
    let (base, installer_base, extensions) = join3(base, installer_base, extensions).await;
    let prepared = extensions.into_iter().flatten().collect::<Result<Vec<C>>>();
    Ok((base?, installer_base?, prepared?))
}

/// Does it, and notes whether it failed.
async fn noting<T>(failed: &AtomicBool, work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = work.await;
    failed.fetch_or(done.is_err(), Ordering::Relaxed);
    done
}

fn first(inputs: &[Input]) -> Digest {
    inputs.first().map_or_else(|| Digest::of(b""), |input| input.digest)
}

/// One address over everything that the bytes of the outputs depend on.
fn address(request: &BuildRequest, inputs: &[Input]) -> Digest {
    let text = json!({
        "format": FORMAT,
        "talos": request.version.to_string(),
        "architecture": request.architecture,
        "platform": request.platform.name(),
        "iso": request.iso,
        "installer": request.installer_base.is_some(),
        "inputs": inputs.iter().map(|input| input.digest).collect::<Vec<_>>(),
        "arguments": request.kernel_args,
        "schematic": request.schematic.as_ref().map(Schematic::canonical),
    });
    Digest::of(text.to_string().as_bytes())
}

/// What tells a running Talos which schematic it was built from.
fn schematic_extension(schematic: &Schematic) -> Result<Extension> {
    let id = schematic.id().to_string();
    let mut rootfs = Tree::default();
    let empty = Node::File { mode: 0o644, content: Content::default() };
    rootfs.insert(&format!("usr/local/share/schematic/{id}"), empty)?;
    let metadata = Metadata {
        name: "schematic".into(),
        version: id,
        author: "imagefactory".into(),
        description: "Virtual extension which specifies the schematic of the image.".into(),
        compatibility: Compatibility { talos: Constraint { version: ">= 1.0.0".into() } },
        extra_info: schematic.canonical(),
    };
    Ok(Extension {
        manifest: Manifest { version: "v1alpha1".into(), metadata },
        rootfs,
        remarks: Vec::new(),
    })
}
