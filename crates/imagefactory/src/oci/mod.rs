//! OCI images: names, resolution, pull, push and copies, all by digest.
//!
//! Names are parsed by `oci-client`. Its transport knows neither a map of sockets nor a pinned
//! certificate nor a TLS provider of its own, so requests go through this crate's transport.

mod auth;
mod client;
mod environment;
mod pull;
mod push;
mod reference;

pub use auth::Credential;
pub use client::{Descriptor, Layer, RegistryClient, RegistryOptions, Resolved};
pub use environment::credentials;
pub use reference::ImageReference;
