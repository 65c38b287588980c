//! One declarative tree to running Talos Linux Kubernetes clusters on Proxmox VE.

pub mod engine;
