//! Calls of functions, and those that judge the expressions they are given: try and can.

use super::{Evaluator, Result};
use crate::spec::hcl::ast::{Call, Expr, Node};
use crate::spec::hcl::error::Failure;
use crate::spec::hcl::func;
use crate::spec::hcl::value::Value;

impl Evaluator<'_> {
    pub(super) fn call(&mut self, call: &Call) -> Result<Value> {
        match &*call.name {
            "try" => return self.first_that_works(call),
            "can" => {
                let [argument] = call.arguments.as_slice() else {
                    return Err(Failure::value("can takes one expression"));
                };
                if call.expand {
                    let value = self.expr(argument)?;
                    if value.is_unknown() {
                        return Ok(value);
                    }
                    let [_] = spread(&value, argument)?.as_slice() else {
                        return Err(Failure::value("can takes one expression"));
                    };
                }
                return Ok(Value::bool(self.expr(argument).is_ok()));
            }
            "templatestring" => {
                if let Some(template) = call.arguments.first()
                    && !matches!(
                        template.node,
                        Node::Name(_) | Node::Attribute(..) | Node::Index(..)
                    )
                {
                    return Err(Failure::value(
                        "templatestring takes the name of a value that holds the template",
                    )
                    .at(&template.span)
                    .help("a template in this place needs no function: write it as text"));
                }
            }
            _ => {}
        }
        let mut arguments = Vec::with_capacity(call.arguments.len());
        let last = call.arguments.len().saturating_sub(1);
        for (number, argument) in call.arguments.iter().enumerate() {
            let value = self.expr(argument)?;
            if !(call.expand && number == last) {
                arguments.push(value);
                continue;
            }
            if value.is_unknown() {
                return Ok(value);
            }
            arguments.extend(spread(&value, argument)?);
        }
        if let Some(result) = self.scope.call(&call.name, &arguments) {
            return result;
        }
        func::call(&call.name, &arguments)
    }

    fn first_that_works(&mut self, call: &Call) -> Result<Value> {
        let (written, expanded) = match call.arguments.split_last() {
            // What `...` stands for is evaluated before try sees it: its failures count.
            Some((last, written)) if call.expand => {
                let value = self.expr(last)?;
                if value.is_unknown() {
                    return Ok(value);
                }
                (written, spread(&value, last)?)
            }
            _ => (call.arguments.as_slice(), Vec::new()),
        };
        let mut failed = None;
        for argument in written {
            match self.expr(argument) {
                Ok(value) => return Ok(value),
                Err(failure) => failed = Some(failure),
            }
        }
        if let Some(value) = expanded.into_iter().next() {
            return Ok(value);
        }
        Err(Failure::value(match failed {
            Some(last) => format!("no expression of try works; the last one: {last}"),
            None => "try needs at least one expression".to_owned(),
        }))
    }
}

/// The elements of a list, set or tuple, which `argument` gave, as arguments.
fn spread(value: &Value, argument: &Expr) -> Result<Vec<Value>> {
    match value.items() {
        Some(items) => Ok(items.iter().map(|item| item.clone().marked(value.sensitive)).collect()),
        None => Err(Failure::value("`...` needs a list, set or tuple").at(&argument.span)),
    }
}
