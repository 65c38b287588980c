//! Operators.

use super::ast::{Binary, Unary};
use super::convert::{convert, equal};
use super::error::Failure;
use super::eval::{Result, not_known};
use super::value::{Kind, Type, Value};

/// `!` and `-`.
pub(super) fn unary(operator: Unary, value: &Value) -> Result<Value> {
    if value.is_unknown() {
        return Ok(value.clone());
    }
    let kind = match operator {
        Unary::Not => Type::Bool,
        Unary::Negate => Type::Number,
    };
    let wrong =
        || Failure::value(format!("a {kind} is needed here, this is {}", value.type_name()));
    let made = match (operator, convert(value, &kind).map_err(|_| wrong())?.kind) {
        (Unary::Not, Kind::Bool(flag)) => Value::bool(!flag),
        (Unary::Negate, Kind::Number(number)) => Value::number(number.neg()),
        _ => return Err(wrong()),
    };
    Ok(made.marked(value.sensitive))
}

/// Operators between two values.
pub(super) fn binary(operator: Binary, left: &Value, right: &Value) -> Result<Value> {
    let sensitive = left.sensitive || right.sensitive;
    match operator {
        Binary::Equal | Binary::NotEqual => {
            if left.unknown_reason().is_some() {
                return Ok(not_known(left).marked(sensitive));
            }
            if right.unknown_reason().is_some() {
                return Ok(not_known(right).marked(sensitive));
            }
            let same = equal(left, right);
            let sensitive = left.has_sensitive() || right.has_sensitive();
            return Ok(Value::bool(same == (operator == Binary::Equal)).marked(sensitive));
        }
        _ => {}
    }
    let kind = match operator {
        Binary::And | Binary::Or => Type::Bool,
        _ => Type::Number,
    };
    for side in [left, right] {
        if side.is_unknown() {
            return Ok(side.clone().marked(sensitive));
        }
    }
    let operand = |value: &Value| -> Result<Kind> {
        let wrong =
            || Failure::value(format!("a {kind} is needed here, this is {}", value.type_name()));
        if value.is_null() {
            return Err(wrong());
        }
        convert(value, &kind).map(|value| value.kind).map_err(|_| wrong())
    };
    let made = match (operand(left)?, operand(right)?) {
        (Kind::Bool(a), Kind::Bool(b)) => match operator {
            Binary::And => Value::bool(a && b),
            _ => Value::bool(a || b),
        },
        (Kind::Number(a), Kind::Number(b)) => match operator {
            Binary::Add => Value::number(a.add(&b)),
            Binary::Subtract => Value::number(a.sub(&b)),
            Binary::Multiply => Value::number(a.mul(&b)),
            Binary::Divide => match a.div(&b) {
                Some(quotient) => Value::number(quotient),
                None => return Err(Failure::value("a number cannot be divided by zero")),
            },
            Binary::Remainder => match a.rem(&b) {
                Some(rest) => Value::number(rest),
                None => return Err(Failure::value("a number cannot be divided by zero")),
            },
            Binary::Less => Value::bool(a < b),
            Binary::LessEqual => Value::bool(a <= b),
            Binary::Greater => Value::bool(a > b),
            _ => Value::bool(a >= b),
        },
        _ => return Err(Failure::value("these values cannot be computed with")),
    };
    Ok(made.marked(sensitive))
}
