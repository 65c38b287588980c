//! Integration tests.

#![expect(clippy::unwrap_used, reason = "a test helper that fails is a test that fails")]

mod collision;
mod scheme;
mod size;
