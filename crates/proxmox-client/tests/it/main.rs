//! Integration tests.

#[cfg(feature = "sim")]
mod client;
#[cfg(feature = "sim")]
mod sim;
