//! Integration tests.

#[cfg(feature = "sim")]
mod client;
#[cfg(feature = "sim")]
mod contract;
mod firewall_laws;
mod fuzz;
mod plan;
mod plan_laws;
mod recorded;
#[cfg(feature = "sim")]
mod sim;
