//! Integration tests.

#[cfg(feature = "sim")]
mod sim;
