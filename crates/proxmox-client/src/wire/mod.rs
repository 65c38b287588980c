//! How Proxmox VE writes values: property strings, sizes, lists.

mod format;
mod list;
mod size;
mod table;

pub use format::{Format, PropertyError, PropertyString, Scalar};
pub use list::split_list;
pub use size::Size;
