//! The builder, checked with Debian's programs.

mod format;
mod programs;
