//! The client against the simulated factory and registry.
#![cfg(feature = "sim")]

mod download;
mod factory;
mod registry;
mod support;
