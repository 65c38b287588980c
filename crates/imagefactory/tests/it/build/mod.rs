//! The builder, checked with Debian's programs.

mod bases;
mod boot;
mod corrupt;
mod format;
mod programs;
mod registry;
mod twice;
mod work;
