//! proxmox-client.
