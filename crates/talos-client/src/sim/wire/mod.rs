//! Wire form of the machine API, from a table of names and numbers.
//!
//! Messages are handled as JSON values in protobuf's JSON form. The table is the simulator's own, so a slip in the
//! client's generated code shows as a difference instead of being shared by both sides.

mod codec;
pub(crate) mod resource;
mod table;

pub(crate) use codec::{decode, encode};
pub(crate) use table::table;
