//! From desired to done: steps between the domains.

pub mod access;
pub mod action;
pub mod bundle;
pub mod cilium;
pub mod config;
pub mod credentials;
pub mod crew;
pub mod custody;
pub mod destroy;
pub mod draft;
pub mod effect;
pub mod execute;
mod host;
pub mod image;
pub mod issue;
pub mod kubernetes;
pub mod lock;
pub mod machine;
pub mod manifest;
pub mod network;
pub mod observe;
mod proof;
pub mod reach;
pub mod rights;
mod sketch;
pub mod target;
pub mod world;
