//! talos-client.

#[cfg(feature = "sim")]
pub mod sim;
