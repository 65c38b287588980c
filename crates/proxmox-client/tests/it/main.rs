//! Integration tests.

#[cfg(feature = "sim")]
mod client;
mod firewall_laws;
mod fuzz;
mod plan;
mod plan_laws;
mod recorded;
#[cfg(feature = "sim")]
mod sim;
