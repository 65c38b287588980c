//! Talos image factory client: schematics, verified downloads, OCI images by digest.
//!
//! ```
//! use imagefactory::Schematic;
//!
//! let schematic = Schematic::parse(b"customization: {extraKernelArgs: [net.ifnames=0]}")?;
//! println!("{}", schematic.id());
//! # Ok::<(), imagefactory::SchematicError>(())
//! ```
//!
//! | want | take |
//! |---|---|
//! | the id of a schematic, offline | [`Schematic::id`] |
//! | names of images | [`desired`], [`iso_name`], [`installer_reference`] |
//! | an ISO, verified and resumable | [`FactoryClient::download`] |
//! | an image by digest, copied between registries | [`RegistryClient::copy`] |
//! | what was fetched once | [`Cache`] |
//! | a factory and a registry for tests and labs | the feature `sim` |

#[cfg(feature = "build")]
pub mod build;
mod cache;
mod digest;
mod error;
mod factory;
mod fetch;
mod name;
mod oci;
mod pin;
mod redirect;
pub mod schematic;
#[cfg(feature = "sim")]
pub mod sim;
mod transport;

pub use cache::{Cache, Pruned};
pub use digest::Digest;
pub use error::{Error, ErrorKind, Result};
pub use factory::{CreatedSchematic, Downloaded, Expected, FactoryClient};
pub use fetch::Fetcher;
pub use name::{
    Architecture, Asset, DesiredImages, OfficialExtension, Wanted, desired, extension_alias,
    find_extension, installer_reference, iso_name, talos_version,
};
pub use oci::{
    Credential, Descriptor, ImageReference, Layer, RegistryClient, RegistryOptions, Resolved,
    credentials,
};
pub use pin::{Pin, PinState, Pins};
pub use schematic::{Schematic, SchematicError, SchematicId};
pub use transport::{TransportOptions, Trust};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
