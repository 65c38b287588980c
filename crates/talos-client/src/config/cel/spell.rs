//! Macros, spelled out as the loops and calls that they mean.

use super::CelError;
use super::expr::{Expr, Fold, Node};
use super::parse::{Parsed, call};
use super::types::Type;

/// What macros carry along; no expression can name it.
const CARRIED: &str = "@result";

/// A function, or the macro that asks whether a field is there.
pub(super) fn function(name: String, mut arguments: Vec<Node>, column: usize) -> Parsed {
    if name != "has" || arguments.len() != 1 {
        return Node::new(Expr::Call { name, target: None, arguments }, column);
    }
    match arguments.pop().map(|node| *node.expr) {
        Some(Expr::Field { of, name, .. }) => {
            Node::new(Expr::Field { of, name, test: true }, column)
        }
        _ => Err(CelError::at(column, "`has` takes a field")),
    }
}

fn variable_of(node: &Node) -> Result<String, CelError> {
    match node.expr.as_ref() {
        Expr::Name(name) => Ok(name.clone()),
        _ => Err(CelError::at(node.column, "the variable of a loop is a single name")),
    }
}

/// A macro that goes through a range.
pub(super) struct Macro<'a> {
    pub(super) name: &'a str,
    pub(super) variable: &'a Node,
    pub(super) filter: Option<&'a Node>,
    pub(super) body: &'a Node,
}

impl Macro<'_> {
    /// The loop that it means.
    pub(super) fn spell_out(self, range: Node, column: usize) -> Parsed {
        let node = |expr: Expr| Node::new(expr, column);
        let carried = || node(Expr::Name(CARRIED.to_owned()));
        let truth = || node(Expr::Literal(Type::Bool));
        let one = || node(Expr::Literal(Type::Int));
        let added = |item: Node| {
            let list = node(Expr::List(vec![(item, false)]))?;
            call("_+_", vec![carried()?, list], column)
        };
        let only_if =
            |condition: Node, step: Node| call("_?_:_", vec![condition, step, carried()?], column);
        let variable = variable_of(self.variable)?;
        let body = self.body.clone();
        let (start, step, result) = match self.name {
            "all" => (truth()?, call("_&&_", vec![carried()?, body], column)?, carried()?),
            "exists" => (truth()?, call("_||_", vec![carried()?, body], column)?, carried()?),
            "exists_one" => {
                let more = call("_+_", vec![carried()?, one()?], column)?;
                (one()?, only_if(body, more)?, call("_==_", vec![carried()?, one()?], column)?)
            }
            "filter" => {
                let step = only_if(body, added(self.variable.clone())?)?;
                (node(Expr::List(Vec::new()))?, step, carried()?)
            }
            _ => {
                let step = added(body)?;
                let step = match self.filter {
                    Some(filter) => only_if(filter.clone(), step)?,
                    None => step,
                };
                (node(Expr::List(Vec::new()))?, step, carried()?)
            }
        };
        let carried = CARRIED.to_owned();
        let condition = truth()?;
        node(Expr::Fold(Fold { range, variable, carried, start, condition, step, result }))
    }
}

/// `target.optMap(variable, body)`: the body for what is there, nothing for what is not.
pub(super) fn optional_fold(
    target: Node,
    variable: &Node,
    body: &Node,
    is_flat: bool,
    column: usize,
) -> Parsed {
    let node = |expr: Expr| Node::new(expr, column);
    let method = |name: &str, of: Node| {
        let target = Some(of);
        node(Expr::Call { name: name.to_owned(), target, arguments: Vec::new() })
    };
    let carried = variable_of(variable)?;
    let fold = Fold {
        range: node(Expr::List(Vec::new()))?,
        variable: "#unused".to_owned(),
        start: method("value", target.clone())?,
        condition: node(Expr::Literal(Type::Bool))?,
        step: node(Expr::Name(carried.clone()))?,
        carried,
        result: body.clone(),
    };
    let mut there = node(Expr::Fold(fold))?;
    if !is_flat {
        there = call("optional.of", vec![there], column)?;
    }
    let nothing = call("optional.none", Vec::new(), column)?;
    call("_?_:_", vec![method("hasValue", target)?, there, nothing], column)
}
