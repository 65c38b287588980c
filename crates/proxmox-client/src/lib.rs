#![doc = include_str!("../README.md")]

mod api;
mod client;
mod config;
mod error;
mod id;
mod loose;
pub mod plan;
#[cfg(feature = "sim")]
pub mod sim;
mod tls;
mod upload;
pub mod wire;

pub use api::{
    NodeRow, NodeStorage, Pool, Pools, Qemu, ResourceRow, Sdn, StorageStatus, TaskEnd, Tasks,
    Upload, Uploaded, Version, VmRow, Volume, ZoneStatus,
};
pub use client::{Client, Parameters};
pub use config::{Auth, ClientConfig};
pub use error::{Error, ErrorKind, Result};
pub use http::Method;
pub use id::{IdError, NodeName, Upid, VmId};
pub use secrecy::SecretString;
pub use tls::{Fingerprint, Trust, probe_fingerprint};
