//! Integration tests.

#[cfg(feature = "sim")]
mod client;
mod plan;
#[cfg(feature = "sim")]
mod sim;
