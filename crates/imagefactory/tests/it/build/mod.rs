//! The builder, checked with Debian's programs.

mod bases;
mod boot;
mod format;
mod programs;
