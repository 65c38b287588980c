//! Arguments of `image`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Build, look at and copy Talos images and system extensions; needs neither Docker nor a tree
///
/// Images are named as registries name them (REGISTRY/REPOSITORY:TAG or @sha256:…); a folder in the
/// OCI image layout is written oci:PATH, an archive oci-archive:PATH or docker-archive:PATH.
/// Credentials are those of `docker login`, and GHCR_TOKEN. Registries on this machine
/// (localhost, 127.0.0.1) are spoken to without TLS, all others with it.
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Print the canonical text of a schematic, and its id on standard error
    Schematic(ImageSchematic),
    /// Build an ISO and an installer; what was built before is not built again
    Build(ImageBuild),
    /// Show what an ISO file or an image in a registry is
    Inspect(ImageInspect),
    /// Make a system extension: of a folder, or the one of the tree
    Extension(ImageExtension),
    /// Copy images to another registry, each with everything it names
    Mirror(ImageMirror),
    /// Remove from the cache of images what was not used for some time
    Gc(ImageGc),
}

/// Print the canonical text of a schematic, and its id
///
/// Without FILE it is that of the tree, outside of a tree an empty one.
#[derive(Debug, Args)]
pub struct ImageSchematic {
    /// A schematic as YAML; what the options name is added
    pub file: Option<PathBuf>,
    /// An official extension, such as siderolabs/iscsi-tools
    #[arg(long = "extension", value_name = "NAME")]
    pub extensions: Vec<String>,
    /// A kernel argument; -NAME takes one away
    #[arg(long = "kernel-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub kernel_args: Vec<String>,
}

/// Build an ISO and an installer
///
/// Talos 1.10 to 1.14. Refused: secure boot, overlays, extensions with kernel modules.
#[derive(Debug, Args)]
pub struct ImageBuild {
    /// The version of Talos
    #[arg(long, value_name = "VERSION")]
    pub talos: String,
    /// amd64 (BIOS and UEFI) or arm64 (UEFI)
    #[arg(long, default_value = "amd64")]
    pub arch: String,
    /// metal or nocloud
    #[arg(long, default_value = "nocloud")]
    pub platform: String,
    /// A system extension as an image, or an official one by its name (siderolabs/NAME); the order
    /// is that of the layers
    #[arg(long = "extension", value_name = "IMAGE")]
    pub extensions: Vec<String>,
    /// A kernel argument; -NAME takes one away
    #[arg(long = "kernel-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub kernel_args: Vec<String>,
    /// Image that says which images official extensions are
    /// [default: ghcr.io/siderolabs/extensions:VERSION]
    #[arg(long, value_name = "IMAGE")]
    pub extensions_list: Option<String>,
    /// Image with kernel and boot loader [default: ghcr.io/siderolabs/imager:VERSION]
    #[arg(long, value_name = "IMAGE")]
    pub imager: Option<String>,
    /// Image that the installer is made from [default: ghcr.io/siderolabs/installer-base:VERSION]
    #[arg(long, value_name = "IMAGE")]
    pub installer_base: Option<String>,
    /// Write the ISO to this file, its bill of materials and provenance beside it
    #[arg(long, value_name = "FILE")]
    pub iso: Option<PathBuf>,
    /// Push the installer under this name
    #[arg(long, value_name = "IMAGE")]
    pub push: Option<String>,
    /// Write the installer to this folder, in the OCI image layout
    #[arg(long, value_name = "DIR")]
    pub layout: Option<PathBuf>,
}

/// Show what an ISO file or an image in a registry is
#[derive(Debug, Args)]
pub struct ImageInspect {
    /// A file, or an image reference
    pub what: String,
}

/// Make a system extension of a folder, or the one that artifacts/extension describes
///
/// Without --push and --layout it is only checked.
#[derive(Debug, Args)]
pub struct ImageExtension {
    /// The folder, with manifest.yaml and rootfs [default: what artifacts/extension says]
    pub dir: Option<PathBuf>,
    /// Architectures that its files are for; all of them for files that are data only
    #[arg(long, default_value = "amd64", value_delimiter = ',')]
    pub arch: Vec<String>,
    /// Tell of broken rules of Talos instead of refusing them
    #[arg(long)]
    pub relaxed: bool,
    /// Push it under this name
    #[arg(long, value_name = "IMAGE")]
    pub push: Option<String>,
    /// Write it to this folder, in the OCI image layout
    #[arg(long, value_name = "DIR")]
    pub layout: Option<PathBuf>,
}

/// Remove from the cache of images what was not used for some time
///
/// What is removed is fetched or built again when it is wanted. Nothing at a site is touched.
/// While another clusterctl uses the cache nothing is removed, and the exit code is 5: call it again
/// once that has ended.
#[derive(Debug, Args)]
pub struct ImageGc {
    /// Remove what was not used for so many days
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub unused_days: u32,
    /// Empty it
    #[arg(long, conflicts_with = "unused_days")]
    pub all: bool,
}

/// Copy images to another registry
///
/// Without IMAGES they are those that the site of the tree needs: what images are built from,
/// installers, Kubernetes, and the CNI.
#[derive(Debug, Args)]
pub struct ImageMirror {
    /// The images [default: all that the site needs]
    pub images: Vec<String>,
    /// Registry (and path) that they are copied to; repositories keep their names
    #[arg(long, value_name = "REGISTRY", required_unless_present = "list")]
    pub to: Option<String>,
    /// Only list them
    #[arg(long, conflicts_with = "to")]
    pub list: bool,
}
