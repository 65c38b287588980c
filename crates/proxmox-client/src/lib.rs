#![doc = include_str!("../README.md")]

mod id;
#[cfg(feature = "sim")]
pub mod sim;
pub mod wire;

pub use id::{IdError, Upid};
