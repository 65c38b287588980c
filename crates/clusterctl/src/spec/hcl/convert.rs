//! Conversion of values between types.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::number::Number;
use super::order::distinct_sorted;
use super::unify::{converts, item_type, unify};
use super::value::{Kind, Type, Value};

/// Why a value cannot be converted.
pub(super) type Refusal = String;

/// Converts a value; marks stay.
pub(super) fn convert(value: &Value, to: &Type) -> Result<Value, Refusal> {
    if value.is_unknown() {
        return Ok(value.clone());
    }
    let from = value.type_of();
    if from == *to {
        return Ok(value.clone());
    }
    if !converts(&from, to) {
        return match value.unknown_reason() {
            // Once it is known it may fit.
            Some(reason) => Ok(Value::unknown(reason).marked(value.sensitive)),
            None => Err(refusal(&from, to)),
        };
    }
    let kind = match (to, &value.kind) {
        (Type::Dynamic, kind) => kind.clone(),
        (to, Kind::Null(_)) => Kind::Null(settled(&from, to)),
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
            let (item, items) = elements(kind, item)?;
            Kind::List(item, Arc::new(items))
        }
        (Type::Set(item), kind) => {
            let (item, items) = elements(kind, item)?;
            Kind::Set(item, Arc::new(distinct_sorted(items)))
        }
        (Type::Map(item), Kind::Map(_, items) | Kind::Object(items)) => {
            let values: Vec<Value> = items.values().cloned().collect();
            let (item, values) = of_one_type(&from, &values, item)?;
            Kind::Map(item, Arc::new(items.keys().cloned().zip(values).collect()))
        }
        (Type::Tuple(types), Kind::Tuple(items)) => {
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
        _ => return Err(refusal(&from, to)),
    };
    Ok(Value { kind, sensitive: value.sensitive })
}

fn refusal(from: &Type, to: &Type) -> Refusal {
    match (from, to) {
        (Type::Tuple(_), Type::List(_)) => "cannot convert tuple to list of any single type".into(),
        (Type::Tuple(_), Type::Set(_)) => "cannot convert tuple to set of any single type".into(),
        (Type::Object(_), Type::Map(_)) => "cannot convert object to map of any single type".into(),
        _ => format!("{to} required, but have {from}"),
    }
}

/// The elements of a list, set or tuple as those of one collection.
fn elements(kind: &Kind, item: &Type) -> Result<(Type, Vec<Value>), Refusal> {
    let (Kind::List(_, items) | Kind::Set(_, items) | Kind::Tuple(items)) = kind else {
        return Err(refusal(
            &Value::from(kind.clone()).type_of(),
            &Type::List(item.clone().into()),
        ));
    };
    of_one_type(&Value::from(kind.clone()).type_of(), items, item)
}

/// Values of `from` as elements of one collection, and the type of those.
fn of_one_type(
    from: &Type,
    values: &[Value],
    wanted: &Type,
) -> Result<(Type, Vec<Value>), Refusal> {
    let known = values.iter().filter(|value| !value.is_unknown());
    let types: Vec<Type> = known.map(Value::type_of).collect();
    let mixed = || "the elements have no type in common".to_owned();
    let item = match (from, wanted) {
        // A collection that is empty keeps its type.
        (Type::List(own) | Type::Set(own) | Type::Map(own), Type::Dynamic) => (**own).clone(),
        (_, wanted) if types.is_empty() => wanted.clone(),
        (_, wanted) => item_type(&types, wanted).ok_or_else(mixed)?,
    };
    let convert_all = |values: &[Value], to: &Type| {
        values.iter().map(|value| convert(value, to)).collect::<Result<Vec<_>, _>>()
    };
    let mut values = convert_all(values, &item)?;
    // Where the type wanted leaves parts open, the elements settle them together.
    let types: Vec<Type> = values.iter().map(Value::type_of).collect();
    if types.is_empty() {
        return Ok((item, values));
    }
    if let Some(common) = unify(&types) {
        values = convert_all(&values, &common)?;
    }
    match one_type(&values) {
        Some(item) => Ok((item, values)),
        None => Err(mixed()),
    }
}

/// The type that all values have which have one; none if they differ.
pub(super) fn one_type(values: &[Value]) -> Option<Type> {
    let mut one = Type::Dynamic;
    for kind in values.iter().map(Value::type_of).filter(|kind| *kind != Type::Dynamic) {
        if one == Type::Dynamic {
            one = kind;
        } else if one != kind {
            return None;
        }
    }
    Some(one)
}

/// A type whose open parts are those of the type that is converted to it.
fn settled(from: &Type, to: &Type) -> Type {
    use Type as T;
    let one = |types: &[T]| unify(types).unwrap_or(T::Dynamic);
    let within = |from: &T, to: &T| Box::new(settled(from, to));
    match (from, to) {
        (T::Dynamic, to) => to.clone(),
        (from, T::Dynamic) => from.clone(),
        (T::List(from) | T::Set(from), T::List(to)) => T::List(within(from, to)),
        (T::List(from) | T::Set(from), T::Set(to)) => T::Set(within(from, to)),
        (T::Tuple(from), T::List(to)) => T::List(within(&one(from), to)),
        (T::Tuple(from), T::Set(to)) => T::Set(within(&one(from), to)),
        (T::Map(from), T::Map(to)) => T::Map(within(from, to)),
        (T::Object(from), T::Map(to)) => {
            T::Map(within(&one(&from.values().cloned().collect::<Vec<_>>()), to))
        }
        (T::Tuple(from), T::Tuple(to)) => {
            T::Tuple(from.iter().zip(to).map(|(from, to)| settled(from, to)).collect())
        }
        (from, T::Object(to)) => T::Object(
            to.iter()
                .map(|(name, to)| {
                    let from = match from {
                        T::Object(from) => from.get(name),
                        T::Map(from) => Some(&**from),
                        _ => None,
                    };
                    (name.clone(), from.map_or_else(|| to.clone(), |from| settled(from, to)))
                })
                .collect(),
        ),
        (_, to) => to.clone(),
    }
}

/// Whether two values are equal, as `==` sees it: of one type and the same. What is null is equal
/// to anything null, but within another value its type counts.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (&a.kind, &b.kind) {
        (Kind::Null(_), other) | (other, Kind::Null(_)) => matches!(other, Kind::Null(_)),
        _ => a.type_of() == b.type_of() && same(a, b),
    }
}

/// The same, if both are of one type.
fn same(a: &Value, b: &Value) -> bool {
    match (&a.kind, &b.kind) {
        (Kind::Null(_), Kind::Null(_)) => true,
        (Kind::Bool(a), Kind::Bool(b)) => a == b,
        (Kind::Number(a), Kind::Number(b)) => a.is_same(b),
        (Kind::String(a), Kind::String(b)) => a == b,
        (Kind::List(_, a), Kind::List(_, b))
        | (Kind::Set(_, a), Kind::Set(_, b))
        | (Kind::Tuple(a), Kind::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b))
        }
        (Kind::Map(_, a), Kind::Map(_, b)) | (Kind::Object(a), Kind::Object(b)) => {
            a.len() == b.len()
                && a.iter().zip(b.iter()).all(|((x, a), (y, b))| x == y && same(a, b))
        }
        _ => false,
    }
}
