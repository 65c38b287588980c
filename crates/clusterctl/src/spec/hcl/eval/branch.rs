//! Conditionals. Only the branch taken is evaluated for its value, but the other one has a say in
//! the type, even where it would fail, and in whether it is sensitive.

use std::collections::BTreeMap;

use super::{Evaluator, Result, object_key};
use crate::spec::hcl::ast::{Binary, Expr, Node, ObjectKey, Part, Unary};
use crate::spec::hcl::convert::convert;
use crate::spec::hcl::error::Failure;
use crate::spec::hcl::unify::unify;
use crate::spec::hcl::value::{Kind, Type, Value};

impl Evaluator<'_> {
    pub(super) fn conditional(&mut self, condition: &Expr, yes: &Expr, no: &Expr) -> Result<Value> {
        let test = self.expr(condition)?;
        if test.is_unknown() {
            return Ok(test);
        }
        let flag = match convert(&test, &Type::Bool) {
            Ok(Value { kind: Kind::Bool(flag), .. }) => flag,
            _ => {
                return Err(Failure::value(format!(
                    "the condition must be true or false, it is {}",
                    test.type_name()
                ))
                .at(&condition.span));
            }
        };
        let (taken, other) = if flag { (yes, no) } else { (no, yes) };
        let value = self.expr(taken)?;
        let other = self.typed(other);
        let is_sensitive = test.sensitive || other.as_ref().is_ok_and(|other| other.sensitive);
        let other = type_of(other);
        let own = value.type_of();
        let kind = match (&own, &other) {
            // What has no type of its own takes the other's; only null is ever converted so.
            (Type::Dynamic, other) => Some(other.clone()),
            (_, Type::Dynamic) => Some(own.clone()),
            _ => unify(&[own.clone(), other.clone()]),
        };
        let Some(kind) = kind else {
            return Err(Failure::value(format!(
                "the results of the condition differ in type: {} and {other}",
                value.type_name()
            )));
        };
        let value = convert(&value, &kind).map_err(Failure::value)?;
        Ok(value.marked(is_sensitive))
    }

    /// The value of an expression; if it fails, as much of its type as its form tells.
    fn typed(&mut self, expr: &Expr) -> std::result::Result<Value, Type> {
        let kind = match &expr.node {
            Node::Group(inner) => return self.typed(inner),
            Node::Tuple(items) => {
                let items: Vec<_> = items.iter().map(|item| self.typed(item)).collect();
                if items.iter().all(std::result::Result::is_ok) {
                    return Ok(Value::tuple(items.into_iter().flatten().collect()));
                }
                return Err(Type::Tuple(items.into_iter().map(type_of).collect()));
            }
            Node::Object(items) => return self.typed_object(items),
            Node::Template(parts) => match parts.as_slice() {
                [Part::Value(inner)] => return self.typed(inner),
                _ => Type::String,
            },
            Node::Unary(Unary::Not, _) => Type::Bool,
            Node::Unary(Unary::Negate, _) => Type::Number,
            Node::Binary(
                Binary::Add
                | Binary::Subtract
                | Binary::Multiply
                | Binary::Divide
                | Binary::Remainder,
                _,
            ) => Type::Number,
            Node::Binary(..) => Type::Bool,
            _ => Type::Dynamic,
        };
        self.expr(expr).map_err(|_| kind)
    }

    fn typed_object(&mut self, items: &[(ObjectKey, Expr)]) -> std::result::Result<Value, Type> {
        let mut attributes = BTreeMap::new();
        for (key, value) in items {
            let name = match key {
                ObjectKey::Word(word, _) => word.to_string(),
                ObjectKey::Expr(key) => {
                    let key = self.expr(key).map_err(|_| Type::Dynamic)?;
                    object_key(&key).ok().flatten().ok_or(Type::Dynamic)?
                }
            };
            attributes.insert(name, self.typed(value));
        }
        if attributes.values().all(std::result::Result::is_ok) {
            let known =
                attributes.into_iter().filter_map(|(name, value)| Some((name, value.ok()?)));
            return Ok(Value::object(known.collect()));
        }
        let types = attributes.into_iter().map(|(name, value)| (name, type_of(value)));
        Err(Type::Object(types.collect()))
    }
}

fn type_of(typed: std::result::Result<Value, Type>) -> Type {
    typed.map_or_else(|kind| kind, |value| value.type_of())
}
