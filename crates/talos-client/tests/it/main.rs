//! Integration tests: the client against simulated nodes.
#![cfg(feature = "sim")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops on what it did not expect"
)]

mod bring_up;
mod calls;
mod examples;
mod faults;
mod files;
mod flow;
mod fuzz;
mod go;
mod health;
mod lab;
mod newer;
mod openssl;
mod peer;
mod restore;
mod role;
mod rolling;
mod rollout;
mod streams;
mod sweep;
mod trust;
mod whole;
