//! From desired to done: steps between the domains.

pub mod config;
