//! Lists, maps and objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use unicode_segmentation::UnicodeSegmentation as _;

use super::Arguments;
use crate::spec::hcl::convert::{convert, equal};
use crate::spec::hcl::eval::{MOST_ELEMENTS, Result};
use crate::spec::hcl::number::Number;
use crate::spec::hcl::unify::unify;
use crate::spec::hcl::value::{Kind, Type, Value};

/// A value that is not known stands for the whole result.
macro_rules! known {
    ($value:expr) => {{
        let value = $value;
        if value.is_unknown() {
            return Ok(value.clone());
        }
        value
    }};
}

/// A list if all elements have one type and it was one before, else a tuple.
fn like(value: &Value, items: Vec<Value>) -> Value {
    let kind = match &value.kind {
        Kind::List(item, _) | Kind::Set(item, _) => Kind::List(item.clone(), Arc::new(items)),
        _ => Kind::Tuple(Arc::new(items)),
    };
    Value { kind, sensitive: value.sensitive }
}

pub(super) fn length(given: &Arguments<'_>) -> Result<Value> {
    let value = known!(given.value(0)?);
    let count = match &value.kind {
        Kind::String(text) => text.graphemes(true).count(),
        Kind::List(_, items) | Kind::Set(_, items) | Kind::Tuple(items) => items.len(),
        Kind::Map(_, items) | Kind::Object(items) => items.len(),
        _ => return given.fail(format!("a {} has no length", value.type_name())),
    };
    Ok(Value::number(count).marked(value.sensitive))
}

fn flags(given: &Arguments<'_>) -> Result<Vec<Option<bool>>> {
    let list = convert(given.value(0)?, &Type::List(Box::new(Type::Bool)));
    let list = list.map_err(|why| given.failure(0, why))?;
    Ok(list.items().into_iter().flat_map(|items| items.iter()).map(Value::as_bool).collect())
}

pub(super) fn alltrue(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::bool(flags(given)?.into_iter().all(|flag| flag == Some(true))))
}

pub(super) fn anytrue(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::bool(flags(given)?.into_iter().any(|flag| flag == Some(true))))
}

pub(super) fn chunklist(given: &Arguments<'_>) -> Result<Value> {
    let sensitive = known!(given.value(0)?).sensitive;
    let (item, items) = given.list(0)?;
    let size = given.integer(1)?;
    let Ok(size) = usize::try_from(size) else {
        return given.fail("the size must not be negative");
    };
    let size = if size == 0 { items.len().max(1) } else { size };
    let chunks: Vec<Value> = items
        .chunks(size)
        .map(|chunk| Kind::List(item.clone(), Arc::new(chunk.to_vec())).into())
        .collect();
    let made: Value = Kind::List(Type::List(Box::new(item)), Arc::new(chunks)).into();
    Ok(made.marked(sensitive))
}

pub(super) fn coalesce(given: &Arguments<'_>) -> Result<Value> {
    let types: Vec<Type> = given.values.iter().map(Value::type_of).collect();
    let Some(kind) = unify(&types) else { return given.fail("all arguments must have one type") };
    for value in &given.values {
        let Ok(value) = convert(value, &kind) else { continue };
        if !value.is_null() && value.as_str() != Some("") {
            return Ok(value);
        }
    }
    given.fail("every argument is null or empty")
}

pub(super) fn coalescelist(given: &Arguments<'_>) -> Result<Value> {
    for at in 0..given.len() {
        if !given.value(at)?.is_unknown() {
            given.ordered(at)?;
        }
    }
    for at in 0..given.len() {
        let value = known!(given.value(at)?);
        if !given.items(at)?.is_empty() {
            return Ok(value.clone());
        }
    }
    given.fail("every list is empty")
}

pub(super) fn compact(given: &Arguments<'_>) -> Result<Value> {
    let words = given.strings(0)?.into_iter().flatten().filter(|word| !word.is_empty());
    Ok(Value::strings(words.map(|word| word.to_string())))
}

pub(super) fn concat(given: &Arguments<'_>) -> Result<Value> {
    if given.len() == 0 {
        return given.fail("at least one list is needed");
    }
    let mut types = Vec::new();
    let mut all = Vec::new();
    let mut sensitive = false;
    for at in 0..given.len() {
        let value = known!(given.value(at)?);
        sensitive |= value.sensitive;
        types.push(value.type_of());
        all.extend(given.ordered(at)?.iter().cloned());
    }
    let lists = types.iter().all(|kind| matches!(kind, Type::List(_)));
    let made = match unify(&types) {
        Some(list) if lists => {
            convert(&Value::tuple(all), &list).map_err(|why| given.failure(0, why))?
        }
        _ => Value::tuple(all),
    };
    Ok(made.marked(sensitive))
}

pub(super) fn contains(given: &Arguments<'_>) -> Result<Value> {
    let items = given.items(0)?;
    let wanted = given.value(1)?;
    Ok(Value::bool(items.iter().any(|item| equal(item, wanted))))
}

pub(super) fn distinct(given: &Arguments<'_>) -> Result<Value> {
    let (item, items) = given.list(0)?;
    let mut kept: Vec<Value> = Vec::new();
    for item in items.iter() {
        if !kept.iter().any(|other| equal(other, item)) {
            kept.push(item.clone());
        }
    }
    Ok(Kind::List(item, Arc::new(kept)).into())
}

pub(super) fn element(given: &Arguments<'_>) -> Result<Value> {
    let list = known!(given.value(0)?);
    if matches!(list.kind, Kind::Set(..)) {
        return given.fail("a set has no order");
    }
    let items = given.items(0)?;
    let index = given.integer(1)?;
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if count == 0 {
        return given.fail("the list is empty");
    }
    let wrapped = match list.kind {
        // The type of a tuple's element is known before its value: Terraform counts on from the
        // end there, but not back from the start, unless it comes out even.
        Kind::Tuple(_) => index % count,
        _ => index.rem_euclid(count),
    };
    let Ok(at) = usize::try_from(wrapped) else {
        return given.fail("the index of a tuple must not be negative");
    };
    Ok(items.get(at).cloned().unwrap_or(Value::NULL).marked(list.sensitive))
}

pub(super) fn flatten(given: &Arguments<'_>) -> Result<Value> {
    let value = known!(given.value(0)?);
    if value.items().is_none() {
        return given.fail(format!("a list is needed, this is {}", value.type_name()));
    }
    let mut flat = Vec::new();
    let mut sensitive = value.sensitive;
    flatten_into(value, &mut flat, &mut sensitive);
    Ok(Value::tuple(flat).marked(sensitive))
}

fn flatten_into(value: &Value, flat: &mut Vec<Value>, sensitive: &mut bool) {
    for item in value.items().into_iter().flat_map(|items| items.iter()) {
        if item.items().is_some() {
            *sensitive |= item.sensitive;
            flatten_into(item, flat, sensitive);
        } else {
            flat.push(item.clone());
        }
    }
}

pub(super) fn index(given: &Arguments<'_>) -> Result<Value> {
    let items = given.items(0)?;
    if items.is_empty() {
        return given.fail("the list is empty");
    }
    let wanted = given.value(1)?;
    match items.iter().position(|item| equal(item, wanted)) {
        Some(at) => Ok(Value::number(at)),
        None => given.fail("the list has no such element"),
    }
}

fn attributes(given: &Arguments<'_>, at: usize) -> Result<Arc<BTreeMap<String, Value>>> {
    let value = given.value(at)?;
    value
        .attributes()
        .map(Arc::clone)
        .ok_or_else(|| given.failure(at, format!("a map is needed, this is {}", value.type_name())))
}

pub(super) fn keys(given: &Arguments<'_>) -> Result<Value> {
    let value = known!(given.value(0)?);
    let names: Vec<Value> = attributes(given, 0)?.keys().map(Value::string).collect();
    let made = match value.kind {
        Kind::Map(..) => Kind::List(Type::String, Arc::new(names)).into(),
        _ => Value::tuple(names),
    };
    Ok(made.marked(value.sensitive))
}

pub(super) fn values(given: &Arguments<'_>) -> Result<Value> {
    let value = known!(given.value(0)?);
    let items: Vec<Value> = attributes(given, 0)?.values().cloned().collect();
    let made = match &value.kind {
        Kind::Map(item, _) => Kind::List(item.clone(), Arc::new(items)).into(),
        _ => Value::tuple(items),
    };
    Ok(made.marked(value.sensitive))
}

pub(super) fn lookup(given: &Arguments<'_>) -> Result<Value> {
    let map = known!(given.value(0)?);
    known!(given.value(1)?);
    let items = attributes(given, 0)?;
    let key = given.string(1)?;
    // Also a default that is not needed must be of the map's type.
    let default = match (given.values.get(2), &map.kind) {
        (Some(default), Kind::Map(item, _)) => {
            Some(convert(default, item).map_err(|why| given.failure(2, why))?)
        }
        (default, _) => default.cloned(),
    };
    if let Some(found) = items.get(&*key) {
        return Ok(found.clone().marked(map.sensitive));
    }
    match default {
        Some(default) => Ok(default.marked(map.sensitive)),
        None if map.sensitive => given.fail("there is no such key"),
        None => given.fail(format!("there is no key {key:?}, and no default is given")),
    }
}

pub(super) fn matchkeys(given: &Arguments<'_>) -> Result<Value> {
    let ((item, items), (key, keys), (wanted_key, wanted)) =
        (given.list(0)?, given.list(1)?, given.list(2)?);
    if unify(&[key, wanted_key]).is_none() {
        return given.fail("the keys and those that are wanted must have one type");
    }
    if items.len() != keys.len() {
        return given.fail("values and keys must be of one length");
    }
    let kept = items
        .iter()
        .zip(keys.iter())
        .filter(|(_, key)| wanted.iter().any(|wanted| equal(key, wanted)))
        .map(|(item, _)| item.clone())
        .collect();
    Ok(Kind::List(item, Arc::new(kept)).into())
}

pub(super) fn merge(given: &Arguments<'_>) -> Result<Value> {
    let mut merged = BTreeMap::new();
    let mut sensitive = false;
    for (at, value) in given.values.iter().enumerate() {
        sensitive |= value.sensitive;
        match &value.kind {
            Kind::Null(Type::Dynamic | Type::Map(_) | Type::Object(_)) => {}
            Kind::Unknown(_) => return Ok(value.clone().marked(sensitive)),
            Kind::Map(_, items) | Kind::Object(items) => {
                merged.extend(items.iter().map(|(name, item)| (name.clone(), item.clone())));
            }
            _ => {
                let have = value.type_of();
                return Err(given.failure(at, format!("a map is needed, this is {have}")));
            }
        }
    }
    // Maps of one type stay a map; each element keeps its own type otherwise.
    let (first, rest) = match given.values.split_first() {
        Some((first, rest)) => (first.type_of(), rest),
        None => (Type::Dynamic, [].as_slice()),
    };
    let kind = match first {
        Type::Map(item) if rest.iter().all(|other| other.type_of() == Type::Map(item.clone())) => {
            Kind::Map(*item, Arc::new(merged))
        }
        _ => Kind::Object(Arc::new(merged)),
    };
    Ok(Value { kind, sensitive })
}

pub(super) fn one(given: &Arguments<'_>) -> Result<Value> {
    let value = known!(given.value(0)?);
    match (given.items(0)?.as_slice(), &value.kind) {
        ([], Kind::List(item, _) | Kind::Set(item, _)) => {
            Ok(Value::null(item.clone()).marked(value.sensitive))
        }
        ([], _) => Ok(Value::NULL.marked(value.sensitive)),
        ([item], _) => Ok(item.clone().marked(value.sensitive)),
        (items, _) => {
            given.fail(format!("at most one element is expected, there are {}", items.len()))
        }
    }
}

pub(super) fn range(given: &Arguments<'_>) -> Result<Value> {
    let (start, end) = match given.len() {
        1 => (Number::from(0), given.number(0)?),
        _ => (given.number(0)?, given.number(1)?),
    };
    let down = end < start;
    let step = match given.len() {
        3 => given.number(2)?,
        _ if down => Number::from(-1),
        _ => Number::from(1),
    };
    if step.is_zero() && start != end {
        return given.fail("the step must not be zero");
    }
    if start != end && step.is_negative() != down {
        return given.fail("the step leads away from the end");
    }
    let mut items = Vec::new();
    let mut at = start;
    while if down { at > end } else { at < end } {
        // Terraform's own limit.
        if items.len() >= 1024.min(MOST_ELEMENTS) {
            return given.fail("more than 1024 numbers");
        }
        items.push(Value::number(at.clone()));
        at = at.add(&step);
    }
    Ok(Kind::List(Type::Number, Arc::new(items)).into())
}

pub(super) fn reverse(given: &Arguments<'_>) -> Result<Value> {
    let value = known!(given.value(0)?);
    let items = given.items(0)?.iter().rev().cloned().collect();
    Ok(like(value, items))
}

pub(super) fn slice(given: &Arguments<'_>) -> Result<Value> {
    let value = known!(given.value(0)?);
    if matches!(value.kind, Kind::Set(..)) {
        return given.fail("a set has no order");
    }
    let items = given.items(0)?;
    let bound = |at: usize| -> Result<usize> {
        usize::try_from(given.integer(at)?)
            .map_err(|_| given.failure(at, "it must not be negative"))
    };
    let (start, end) = (bound(1)?, bound(2)?);
    match items.get(start..end) {
        Some(part) => Ok(like(value, part.to_vec())),
        None => given.fail(format!("there are no elements {start} to {end} of {}", items.len())),
    }
}

pub(super) fn sort(given: &Arguments<'_>) -> Result<Value> {
    let mut words: Vec<String> = Vec::new();
    for word in given.strings(0)? {
        match word {
            Some(word) => words.push(word.to_string()),
            None => return given.fail("an element is null"),
        }
    }
    words.sort();
    Ok(Value::strings(words))
}

pub(super) fn transpose(given: &Arguments<'_>) -> Result<Value> {
    let value = known!(given.value(0)?);
    let mut turned: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, item) in attributes(given, 0)?.iter() {
        let list = Arguments { name: "transpose", values: vec![item.clone()] };
        for word in list.strings(0)? {
            let Some(word) = word else { return given.fail("an element is null") };
            turned.entry(word.to_string()).or_default().push(name.clone());
        }
    }
    let items = turned.into_iter().map(|(name, mut words)| {
        words.sort();
        (name, Value::strings(words))
    });
    let kind = Kind::Map(Type::List(Box::new(Type::String)), Arc::new(items.collect()));
    Ok(Value { kind, sensitive: value.sensitive })
}

pub(super) fn zipmap(given: &Arguments<'_>) -> Result<Value> {
    let (keys, values) = (known!(given.value(0)?).clone(), known!(given.value(1)?).clone());
    let (names, items) = (given.strings(0)?, given.ordered(1)?);
    if names.len() != items.len() {
        return given.fail("keys and values must be of one length");
    }
    let mut map = BTreeMap::new();
    for (name, item) in names.into_iter().zip(items.iter()) {
        match name {
            Some(name) => map.insert(name.to_string(), item.clone()),
            None => return given.fail("a key is null"),
        };
    }
    let kind = match &values.kind {
        Kind::List(item, _) => Kind::Map(item.clone(), Arc::new(map)),
        _ => Kind::Object(Arc::new(map)),
    };
    Ok(Value { kind, sensitive: keys.sensitive || values.sensitive })
}
