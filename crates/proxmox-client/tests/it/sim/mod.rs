//! The simulated Proxmox VE server.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_push_string,
    clippy::disallowed_methods,
    reason = "a test ends where something is not as it must be"
)]

mod fabrics;
mod firewall;
mod life;
mod matcher;
mod parts;
mod replay;
mod wire;
