//! The expressions in which configurations choose disks, volumes and links and judge memory, checked
//! as a node checks them: syntax and types of the Common Expression Language.
//!
//! Nothing is evaluated: a node says whether it takes an expression before it has anything to apply it to.

mod check;
mod declare;
mod expr;
mod lex;
mod parse;
mod spell;
mod types;

use std::fmt;

pub(super) use declare::Environment;

/// The type that an expression must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `true` or `false`.
    Bool,
    /// A number with a fraction.
    Double,
}

/// Why an expression is refused. It names what the expression says and holds no value of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CelError {
    /// Column, counted from one; nothing where the whole is meant.
    column: Option<usize>,
    message: String,
}

impl CelError {
    fn at(column: usize, message: impl Into<String>) -> Self {
        Self { column: Some(column), message: message.into() }
    }

    fn new(message: impl Into<String>) -> Self {
        Self { column: None, message: message.into() }
    }
}

impl fmt::Display for CelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "column {column}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Checks an expression in an environment of a minor version of Talos 1.
///
/// # Errors
/// The expression cannot be read, or names what is not there, or combines what does not fit, or has
/// another type than the one that is wanted.
pub(super) fn check(
    text: &str,
    environment: Environment,
    minor: u32,
    wanted: Wanted,
) -> Result<(), CelError> {
    let scope = declare::scope(environment, minor);
    let node = parse::parse(text, scope.has_optionals)?;
    let found = check::type_of(&node, &scope)?;
    let wanted = match wanted {
        Wanted::Bool => types::Type::Bool,
        Wanted::Double => types::Type::Double,
    };
    if found == wanted {
        return Ok(());
    }
    Err(CelError::new(format!("the expression is of type {found}, not {wanted}")))
}

#[cfg(test)]
mod tests;
