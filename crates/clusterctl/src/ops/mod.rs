//! The verbs, one file each.

mod error;

pub use error::{Error, ErrorKind, chain};
