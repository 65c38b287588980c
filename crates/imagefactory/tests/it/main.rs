//! The client against the simulated factory and registry.
#![cfg(feature = "sim")]

#[cfg(feature = "build")]
mod build;
mod download;
mod factory;
mod registry;
mod support;
