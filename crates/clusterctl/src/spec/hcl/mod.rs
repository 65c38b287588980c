//! The language of the tree: HCL as Terraform evaluates it, files as Terragrunt reads them.

pub mod ast;
mod convert;
pub mod error;
pub mod eval;
mod file;
mod file_call;
mod func;
mod glob;
mod json;
mod loader;
mod number;
mod operator;
mod order;
mod parse;
mod place;
mod schema;
mod template;
mod unify;
mod value;

pub use error::{Class, Failure, Place, did_you_mean, slip_of};
pub use file::FileEval;
pub use loader::{Decrypt, DecryptedText, Loader, Options, Sealed, Strictness};
pub use number::Number;
pub use parse::{LARGEST_FILE, body as parse_body, expression as parse_expression};
pub use value::{Kind, Type, Value};

#[cfg(test)]
mod tests;
