//! Integration tests.

#[cfg(feature = "sim")]
mod client;
mod plan;
mod recorded;
#[cfg(feature = "sim")]
mod sim;
