#![doc = include_str!("../README.md")]

pub mod api;
mod client;
pub mod config;
mod error;
pub mod pki;
#[doc(hidden)]
pub mod proto;
pub mod secrets;
#[cfg(feature = "sim")]
pub mod sim;
pub mod talosconfig;
mod yaml;

pub use client::{Client, ClientConfig, Dialer, Fingerprint, Identity, PORT, Timeouts, Trust};
pub use error::{Error, ErrorKind};
pub use talosconfig::TalosConfig;
