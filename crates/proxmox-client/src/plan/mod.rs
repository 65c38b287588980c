//! How things should be, how they are, and what it takes to get from one to the other.
//!
//! Everything here is pure: no call is made. [`vm`] is about virtual machines, [`sdn`] about
//! zones, controllers, VNets and subnets, [`firewall`] about rules and sets of addresses,
//! [`mod@file`] about what lies in a storage, [`pool`] about resource pools, [`mapping`] about names
//! for devices, [`access`] about roles and tokens, [`user`] about users and groups, [`ha`] about high
//! availability, [`rights`] about what a plan needs to be allowed.

pub mod access;
pub mod file;
pub mod firewall;
pub mod ha;
pub mod mapping;
pub mod pool;
pub mod rights;
pub mod sdn;
pub mod user;
pub mod vm;
