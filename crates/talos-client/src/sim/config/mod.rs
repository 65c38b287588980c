//! The machine configuration as a node reads it: documents, checks, what it writes, what changes.

mod change;
mod diff;
mod load;
pub(crate) mod net;
mod schema;
mod script;
mod validate;
pub(crate) mod yaml;

pub(crate) use change::{Change, change};
pub(crate) use diff::unified;
pub(crate) use load::{Config, load};
pub(crate) use validate::{Mode, validate};
