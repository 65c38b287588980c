//! Sets.

use std::sync::Arc;

use super::Arguments;
use crate::spec::hcl::convert::{convert, equal};
use crate::spec::hcl::eval::{MOST_ELEMENTS, Result};
use crate::spec::hcl::order::distinct_sorted;
use crate::spec::hcl::unify::unify;
use crate::spec::hcl::value::{Kind, Type, Value};

/// The arguments as sets of one type.
fn sets(given: &Arguments<'_>) -> Result<(Type, Vec<Vec<Value>>)> {
    let any = Type::Set(Box::new(Type::Dynamic));
    let mut types = Vec::new();
    let mut sets = Vec::new();
    for at in 0..given.len() {
        let set = convert(given.value(at)?, &any).map_err(|why| given.failure(at, why))?;
        match &set.kind {
            // An empty set of no type fits to any.
            Kind::Set(Type::Dynamic, items) if items.is_empty() => {}
            Kind::Set(item, _) => types.push(item.clone()),
            _ => return Err(given.failure(at, "a set is needed")),
        }
        sets.push(set);
    }
    let item = match unify(&types) {
        Some(item) => item,
        None if types.is_empty() => Type::Dynamic,
        None => return given.fail("all elements must have one type"),
    };
    let to = Type::Set(Box::new(item.clone()));
    let sets = sets.iter().enumerate().map(|(at, set)| {
        let set = convert(set, &to).map_err(|why| given.failure(at, why))?;
        Ok(set.items().map(|items| items.to_vec()).unwrap_or_default())
    });
    Ok((item, sets.collect::<Result<_>>()?))
}

fn made(item: Type, items: Vec<Value>) -> Value {
    Kind::Set(item, Arc::new(distinct_sorted(items))).into()
}

fn has(items: &[Value], wanted: &Value) -> bool {
    items.iter().any(|item| equal(item, wanted))
}

pub(super) fn union(given: &Arguments<'_>) -> Result<Value> {
    let (item, sets) = sets(given)?;
    Ok(made(item, sets.concat()))
}

pub(super) fn intersection(given: &Arguments<'_>) -> Result<Value> {
    let (item, sets) = sets(given)?;
    let Some((first, rest)) = sets.split_first() else { return Ok(made(item, Vec::new())) };
    let kept = first.iter().filter(|value| rest.iter().all(|set| has(set, value)));
    Ok(made(item, kept.cloned().collect()))
}

pub(super) fn subtract(given: &Arguments<'_>) -> Result<Value> {
    let (item, sets) = sets(given)?;
    let Some((first, rest)) = sets.split_first() else { return Ok(made(item, Vec::new())) };
    let kept = first.iter().filter(|value| !rest.iter().any(|set| has(set, value)));
    Ok(made(item, kept.cloned().collect()))
}

pub(super) fn product(given: &Arguments<'_>) -> Result<Value> {
    if given.len() < 2 {
        return given.fail("at least two sets are needed");
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    let mut types = Vec::new();
    let mut any_set = false;
    for at in 0..given.len() {
        let value = given.value(at)?;
        any_set |= matches!(value.kind, Kind::Set(..));
        let (item, items) = given.list(at)?;
        types.push(item);
        if rows.len().saturating_mul(items.len()) > MOST_ELEMENTS {
            return given.fail("the product is too large");
        }
        rows = rows
            .iter()
            .flat_map(|row| {
                items.iter().map(|item| {
                    let mut row = row.clone();
                    row.push(item.clone());
                    row
                })
            })
            .collect();
    }
    let rows: Vec<Value> = rows.into_iter().map(Value::tuple).collect();
    let item = Type::Tuple(types);
    Ok(if any_set { made(item, rows) } else { Kind::List(item, Arc::new(rows)).into() })
}
