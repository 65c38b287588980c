//! What an expression is made of, once its macros are spelled out.

use super::CelError;
use super::types::Type;

/// How deep an expression may be nested.
const DEPTH: usize = 200;

/// How many parts an expression may have; macros repeat some.
const SIZE: usize = 100_000;

/// One part.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    /// A value, of which only the type matters.
    Literal(Type),
    /// A name; with a dot in front it is not that of a loop's variable.
    Name(String),
    /// A field; with `test` only whether it is there.
    Field { of: Node, name: String, test: bool },
    /// A field of what may not be there.
    MaybeField { of: Node, name: String },
    /// A function, or a method of `target`. Operators are functions.
    Call { name: String, target: Option<Node>, arguments: Vec<Node> },
    /// A list; elements may be optional.
    List(Vec<(Node, bool)>),
    /// A map; entries may be optional.
    Map(Vec<(Node, Node, bool)>),
    /// A message with fields.
    Message { name: String, fields: Vec<(String, Node, bool)> },
    /// What macros become.
    Fold(Fold),
}

/// A loop over a range that carries one value along.
#[derive(Debug, Clone)]
pub(super) struct Fold {
    pub(super) range: Node,
    pub(super) variable: String,
    pub(super) carried: String,
    pub(super) start: Node,
    pub(super) condition: Node,
    pub(super) step: Node,
    pub(super) result: Node,
}

/// A part, its place, and how much is below it.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) expr: Box<Expr>,
    /// Column, from one.
    pub(super) column: usize,
    depth: usize,
    size: usize,
}

impl Node {
    /// A part at a place.
    ///
    /// # Errors
    /// It is nested too deep or too large.
    pub(super) fn new(expr: Expr, column: usize) -> Result<Self, CelError> {
        let (mut depth, mut size) = (0usize, 1usize);
        let mut below = |node: &Self| {
            depth = depth.max(node.depth);
            size = size.saturating_add(node.size);
        };
        match &expr {
            Expr::Literal(_) | Expr::Name(_) => {}
            Expr::Field { of, .. } | Expr::MaybeField { of, .. } => below(of),
            Expr::Call { target, arguments, .. } => {
                target.iter().for_each(&mut below);
                arguments.iter().for_each(below);
            }
            Expr::List(items) => items.iter().for_each(|(node, _)| below(node)),
            Expr::Map(entries) => entries.iter().for_each(|(key, value, _)| {
                below(key);
                below(value);
            }),
            Expr::Message { fields, .. } => fields.iter().for_each(|(_, node, _)| below(node)),
            Expr::Fold(fold) => {
                let Fold { range, start, condition, step, result, .. } = fold;
                [range, start, condition, step, result].into_iter().for_each(below);
            }
        }
        if depth >= DEPTH || size > SIZE {
            return Err(CelError::at(column, "the expression is nested too deep or too large"));
        }
        Ok(Self { expr: Box::new(expr), column, depth: depth + 1, size })
    }
}
