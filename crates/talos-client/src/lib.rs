#![doc = include_str!("../README.md")]

mod config;
pub mod pki;
pub mod secrets;
#[cfg(feature = "sim")]
pub mod sim;
pub mod talosconfig;
mod yaml;

pub use talosconfig::TalosConfig;
