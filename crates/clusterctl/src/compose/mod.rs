//! From desired to done: steps between the domains.

pub mod access;
pub mod action;
pub mod bundle;
pub mod cilium;
pub mod config;
pub mod image;
pub mod kubernetes;
pub mod machine;
pub mod network;
pub mod target;
