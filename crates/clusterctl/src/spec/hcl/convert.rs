//! Conversion between types, and the type that several can be converted to.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::number::Number;
use super::value::{Kind, Type, Value};

/// The one type that all can be converted to.
pub(super) fn unify(types: &[Type]) -> Option<Type> {
    let mut types = types.iter().filter(|kind| **kind != Type::Dynamic);
    let Some(first) = types.next() else { return Some(Type::Dynamic) };
    types.try_fold(first.clone(), |all, next| unify_two(&all, next))
}

fn unify_two(a: &Type, b: &Type) -> Option<Type> {
    use Type as T;
    if a == b {
        return Some(a.clone());
    }
    Some(match (a, b) {
        (T::Dynamic, other) | (other, T::Dynamic) => other.clone(),
        (T::String, T::Bool | T::Number) | (T::Bool | T::Number, T::String) => T::String,
        (T::List(x), T::List(y)) => T::List(Box::new(unify_two(x, y)?)),
        (T::Set(x), T::Set(y)) => T::Set(Box::new(unify_two(x, y)?)),
        (T::Map(x), T::Map(y)) => T::Map(Box::new(unify_two(x, y)?)),
        (T::Set(x), T::List(y)) | (T::List(x), T::Set(y)) => T::List(Box::new(unify_two(x, y)?)),
        (T::Tuple(x), T::Tuple(y)) if x.len() == y.len() => {
            T::Tuple(x.iter().zip(y).map(|(x, y)| unify_two(x, y)).collect::<Option<_>>()?)
        }
        (T::Tuple(x), T::Tuple(y)) => {
            let all: Vec<Type> = x.iter().chain(y).cloned().collect();
            T::List(Box::new(unify(&all)?))
        }
        (T::Tuple(items), T::List(item)) | (T::List(item), T::Tuple(items)) => {
            T::List(Box::new(unify_with(item, items)?))
        }
        (T::Tuple(items), T::Set(item)) | (T::Set(item), T::Tuple(items)) => {
            T::Set(Box::new(unify_with(item, items)?))
        }
        (T::Object(x), T::Object(y)) if x.keys().eq(y.keys()) => T::Object(
            x.iter()
                .zip(y.values())
                .map(|((name, x), y)| Some((name.clone(), unify_two(x, y)?)))
                .collect::<Option<_>>()?,
        ),
        (T::Object(x), T::Object(y)) => {
            let all: Vec<Type> = x.values().chain(y.values()).cloned().collect();
            T::Map(Box::new(unify(&all)?))
        }
        (T::Object(items), T::Map(item)) | (T::Map(item), T::Object(items)) => {
            let all: Vec<Type> = items.values().cloned().collect();
            T::Map(Box::new(unify_with(item, &all)?))
        }
        _ => return None,
    })
}

fn unify_with(item: &Type, items: &[Type]) -> Option<Type> {
    items.iter().try_fold(item.clone(), |all, next| unify_two(&all, next))
}

/// Why a value cannot be converted.
pub(super) type Refusal = String;

/// Converts a value; marks stay.
pub(super) fn convert(value: &Value, to: &Type) -> Result<Value, Refusal> {
    if matches!(value.kind, Kind::Null | Kind::Unknown(_)) || value.type_of() == *to {
        return Ok(value.clone());
    }
    let refuse = || Err(format!("{to} required, but have {}", value.type_name()));
    let kind = match (to, &value.kind) {
        (Type::Dynamic, kind) => kind.clone(),
        (Type::String, Kind::Bool(flag)) => Kind::String(flag.to_string().into()),
        (Type::String, Kind::Number(number)) => Kind::String(number.to_string().into()),
        (Type::Number, Kind::String(text)) => match Number::parse(text) {
            Some(number) => Kind::Number(number),
            None => return Err("a number is required".to_owned()),
        },
        (Type::Bool, Kind::String(text)) => match &**text {
            "true" | "1" => Kind::Bool(true),
            "false" | "0" => Kind::Bool(false),
            _ => return Err("a bool is required".to_owned()),
        },
        (Type::List(item), kind) => {
            let (item, items) = elements(kind, item, "list")?;
            Kind::List(item, Arc::new(items))
        }
        (Type::Set(item), kind) => {
            let (item, items) = elements(kind, item, "set")?;
            Kind::Set(item, Arc::new(distinct_sorted(items)))
        }
        (Type::Map(item), Kind::Map(_, items) | Kind::Object(items)) => {
            let values: Vec<&Value> = items.values().collect();
            let item = common(item, &values)
                .ok_or_else(|| "cannot convert object to map of any single type".to_owned())?;
            let items = items
                .iter()
                .map(|(name, value)| Ok((name.clone(), convert(value, &item)?)))
                .collect::<Result<BTreeMap<_, _>, Refusal>>()?;
            Kind::Map(item, Arc::new(items))
        }
        (Type::Tuple(types), kind) => {
            let items = match kind {
                Kind::Tuple(items) | Kind::List(_, items) if items.len() == types.len() => items,
                _ => return refuse(),
            };
            let items = items.iter().zip(types).map(|(item, to)| convert(item, to));
            Kind::Tuple(Arc::new(items.collect::<Result<_, _>>()?))
        }
        (Type::Object(types), Kind::Object(items) | Kind::Map(_, items)) => {
            let mut converted = BTreeMap::new();
            for (name, to) in types {
                let Some(item) = items.get(name) else {
                    return Err(format!("attribute {name:?} is required"));
                };
                converted.insert(name.clone(), convert(item, to)?);
            }
            Kind::Object(Arc::new(converted))
        }
        _ => return refuse(),
    };
    Ok(Value { kind, sensitive: value.sensitive })
}

fn common(wanted: &Type, values: &[&Value]) -> Option<Type> {
    if *wanted != Type::Dynamic {
        return Some(wanted.clone());
    }
    unify(&values.iter().map(|value| value.type_of()).collect::<Vec<_>>())
}

fn elements(kind: &Kind, item: &Type, name: &str) -> Result<(Type, Vec<Value>), Refusal> {
    let (Kind::List(_, items) | Kind::Set(_, items) | Kind::Tuple(items)) = kind else {
        let have = Value::from(kind.clone()).type_name();
        return Err(format!("{name} required, but have {have}"));
    };
    let values: Vec<&Value> = items.iter().collect();
    let item = common(item, &values)
        .ok_or_else(|| format!("cannot convert tuple to {name} of any single type"))?;
    let items = items.iter().map(|value| convert(value, &item)).collect::<Result<_, _>>()?;
    Ok((item, items))
}

/// The values of a set: each once, in the order in which sets are iterated.
pub(super) fn distinct_sorted(items: Vec<Value>) -> Vec<Value> {
    let mut distinct: Vec<Value> = Vec::with_capacity(items.len());
    let mut sorted = items;
    sorted.sort_by(order);
    for item in sorted {
        if distinct.last() != Some(&item) {
            distinct.push(item);
        }
    }
    distinct
}

fn order(a: &Value, b: &Value) -> Ordering {
    match (&a.kind, &b.kind) {
        // What is null comes last.
        (Kind::Null, _) | (_, Kind::Null) => a.is_null().cmp(&b.is_null()),
        (Kind::String(a), Kind::String(b)) => a.cmp(b),
        (Kind::Number(a), Kind::Number(b)) => a.cmp(b),
        (Kind::Bool(a), Kind::Bool(b)) => a.cmp(b),
        _ => a.to_json().cmp(&b.to_json()),
    }
}

/// Whether two values are equal, as `==` sees it: of one type and the same.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (&a.kind, &b.kind) {
        (Kind::Null, Kind::Null) => true,
        (Kind::Bool(a), Kind::Bool(b)) => a == b,
        (Kind::Number(a), Kind::Number(b)) => a == b,
        (Kind::String(a), Kind::String(b)) => a == b,
        (Kind::List(_, a), Kind::List(_, b))
        | (Kind::Set(_, a), Kind::Set(_, b))
        | (Kind::Tuple(a), Kind::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| equal(a, b))
        }
        (Kind::Map(_, a), Kind::Map(_, b)) | (Kind::Object(a), Kind::Object(b)) => {
            a.len() == b.len()
                && a.iter().zip(b.iter()).all(|((x, a), (y, b))| x == y && equal(a, b))
        }
        _ => false,
    }
}
