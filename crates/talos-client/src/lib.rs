#![doc = include_str!("../README.md")]

mod again;
pub mod api;
mod client;
pub mod config;
mod error;
pub mod health;
pub mod pki;
pub mod plan;
#[doc(hidden)]
pub mod proto;
pub mod restore;
pub mod rollout;
pub mod rotation;
pub mod secrets;
#[cfg(feature = "sim")]
pub mod sim;
pub mod talosconfig;
mod wait;
mod yaml;

pub use client::{
    Chunks, Client, ClientConfig, Dialer, Fingerprint, Found, Identity, PORT, Timeouts, Trust,
    probe, wait_for_install,
};
pub use error::{Error, ErrorKind};
pub use talosconfig::TalosConfig;
