//! One declarative tree to running Talos Linux Kubernetes clusters on Proxmox VE.

pub mod cli;
pub mod compose;
pub mod engine;
pub mod ops;
pub mod spec;
pub mod state;
