//! Integration tests.
#![expect(clippy::unwrap_used, reason = "a test may stop on what it did not expect")]

mod bad_trees;
mod config;
mod image;
#[cfg(feature = "lab")]
mod lab;
mod reference;
mod secrets;
#[cfg(feature = "lab")]
mod site;
