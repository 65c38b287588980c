//! The simulated Proxmox VE server.

mod life;
mod matcher;
mod replay;
mod wire;
