//! Integration tests.

mod collision;
mod scheme;
mod size;
