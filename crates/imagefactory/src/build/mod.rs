//! The builder: extensions, installers and ISOs made on this machine, without Docker.
//!
//! ```no_run
//! use imagefactory::build::{BuildRequest, Builder, Platform};
//! use imagefactory::{Architecture, Cache, RegistryClient, RegistryOptions, talos_version};
//!
//! # async fn build() -> imagefactory::Result<()> {
//! let client = RegistryClient::new(RegistryOptions::default())?;
//! let builder = Builder::new(Cache::open("cache")?, client);
//! let request = BuildRequest {
//!     version: talos_version("v1.12.11")?,
//!     architecture: Architecture::Amd64,
//!     platform: Platform::Nocloud,
//!     imager: "ghcr.io/siderolabs/imager:v1.12.11".parse()?,
//!     installer_base: None,
//!     iso: true,
//!     extensions: vec!["registry.example/frr:v1".parse()?],
//!     kernel_args: vec!["net.ifnames=1".into()],
//!     schematic: None,
//! };
//! let built = builder.build(&request, &|step| println!("{step}")).await?;
//! # Ok(())
//! # }
//! ```

mod base;
mod builder;
mod catalog;
mod cmdline;
mod extension;
pub mod format;
mod identity;
mod image;
mod initramfs;
mod limits;
mod manifest;
mod package;
mod recipe;
mod record;
mod service;
mod source;
mod tree;
mod unpack;
mod work;

use std::fmt;
use std::str::FromStr;

pub use builder::{BuildRequest, Builder, Built, BuiltFile, Progress};
pub use catalog::{Catalog, CatalogExtension};
pub use extension::Extension;
pub use identity::IsoIdentity;
pub use image::OciImage;
pub use manifest::{Compatibility, Constraint, Manifest, Metadata};
pub use recipe::{ExtensionRecipe, ServiceRecipe};
pub use source::ImageSource;
pub use tree::{Node, Tree};

use crate::error::{Error, ErrorKind, Result};

/// A platform that images are built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Platform {
    /// Machines without a metadata service.
    Metal,
    /// Machines that read a cloud-init disk, as virtual machines of Proxmox do.
    Nocloud,
}

impl Platform {
    /// Its name in image names and on the kernel command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metal => "metal",
            Self::Nocloud => "nocloud",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "metal" => Ok(Self::Metal),
            "nocloud" => Ok(Self::Nocloud),
            _ => {
                let text = format!("the builder does not know the platform {text:?}");
                let error = Error::new(ErrorKind::Unsupported, text);
                Err(error.with_help("it builds for metal and nocloud"))
            }
        }
    }
}
