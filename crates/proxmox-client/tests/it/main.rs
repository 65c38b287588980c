//! Integration tests.

#[cfg(feature = "sim")]
mod client;
mod firewall_laws;
mod plan;
mod recorded;
#[cfg(feature = "sim")]
mod sim;
