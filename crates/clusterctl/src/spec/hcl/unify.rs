//! Which types convert to which, and the one type that several convert to: a rule for rule
//! account of how Terraform chooses, since what a list holds and which branches fit together
//! depends on it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use super::value::Type;

/// Whether a value of one type may convert to another. Text may be a number; only its value tells.
pub(super) fn converts(from: &Type, to: &Type) -> bool {
    use Type as T;
    match (from, to) {
        (from, to) if from == to => true,
        (_, T::Dynamic)
        | (T::Dynamic, _)
        | (T::Bool | T::Number, T::String)
        | (T::String, T::Bool | T::Number) => true,
        (T::Object(from), T::Object(to)) => {
            to.iter().all(|(name, to)| from.get(name).is_some_and(|from| converts(from, to)))
        }
        (T::Tuple(from), T::Tuple(to)) => {
            from.len() == to.len() && from.iter().zip(to).all(|(from, to)| converts(from, to))
        }
        (T::List(from) | T::Set(from), T::List(to) | T::Set(to)) | (T::Map(from), T::Map(to)) => {
            converts(from, to)
        }
        (T::Tuple(from), T::List(to) | T::Set(to)) => {
            let Some(item) = item_type(from, to) else { return from.is_empty() };
            // What is not typed at all may stand beside typed elements only if it becomes theirs.
            (item != T::Dynamic || from.iter().all(|from| *from == T::Dynamic))
                && from.iter().all(|from| converts(from, &item))
        }
        (T::Object(from), T::Map(to)) => {
            let types: Vec<T> = from.values().cloned().collect();
            match item_type(&types, to) {
                Some(item) => from.values().all(|from| converts(from, &item)),
                None => from.is_empty(),
            }
        }
        (T::Map(from), T::Object(to)) => to.values().all(|to| converts(from, to)),
        _ => false,
    }
}

/// The type of a collection's elements: the one wanted, else the one of all; none if there is none.
pub(super) fn item_type(types: &[Type], wanted: &Type) -> Option<Type> {
    if *wanted == Type::Dynamic { unify(types) } else { Some(wanted.clone()) }
}

/// The one type that all convert to; none if there is none, or no type is given.
pub(super) fn unify(types: &[Type]) -> Option<Type> {
    let types = each_once(types);
    if let [single] = types.as_slice() {
        return Some(single.clone());
    }
    let count = |is: fn(&Type) -> bool| types.iter().filter(|kind| is(kind)).count();
    let maps = count(|kind| matches!(kind, Type::Map(_)));
    let lists = count(|kind| matches!(kind, Type::List(_)));
    let sets = count(|kind| matches!(kind, Type::Set(_)));
    let objects = count(|kind| matches!(kind, Type::Object(_)));
    let tuples = count(|kind| matches!(kind, Type::Tuple(_)));
    let untyped = count(|kind| *kind == Type::Dynamic);
    let all_are = |some: usize| some + untyped == types.len();
    let kind = if maps > 0 && all_are(maps) {
        collections(&types, Type::Map)
    } else if maps > 0 && all_are(maps + objects) {
        structures_as(&types, |kind| matches!(kind, Type::Object(_)), one_map)
            .filter(|kind| matches!(kind, Type::Map(_)))
            .or_else(|| preferred(&types))
    } else if lists > 0 && all_are(lists) {
        collections(&types, Type::List)
    } else if lists > 0 && all_are(lists + tuples) {
        structures_as(&types, |kind| matches!(kind, Type::Tuple(_)), one_list)
            .filter(|kind| matches!(kind, Type::List(_)))
            .or_else(|| preferred(&types))
    } else if sets > 0 && all_are(sets) {
        collections(&types, Type::Set)
    } else if objects > 0 && all_are(objects) {
        unless_untyped(&types, || one_object(&types))
    } else if tuples > 0 && all_are(tuples) {
        unless_untyped(&types, || one_tuple(&types))
    } else if objects > 0 && tuples > 0 {
        None
    } else {
        preferred(&types)
    };
    kind.filter(|_| !types.is_empty())
}

fn each_once(types: &[Type]) -> Vec<Type> {
    let mut distinct: Vec<Type> = Vec::new();
    for kind in types {
        if !distinct.contains(kind) {
            distinct.push(kind.clone());
        }
    }
    distinct
}

/// Beside what has no type, typed structures are not looked at: nothing is known of the whole.
fn unless_untyped(types: &[Type], one: impl FnOnce() -> Option<Type>) -> Option<Type> {
    if types.contains(&Type::Dynamic) { Some(Type::Dynamic) } else { one() }
}

fn collections(types: &[Type], of: fn(Box<Type>) -> Type) -> Option<Type> {
    unless_untyped(types, || {
        let items: Vec<Type> = types
            .iter()
            .filter_map(|kind| match kind {
                Type::List(item) | Type::Set(item) | Type::Map(item) => Some((**item).clone()),
                _ => None,
            })
            .collect();
        Some(of(Box::new(unify(&items)?)))
    })
}

/// Unifies collections with structures beside them, which become one collection first.
fn structures_as(
    types: &[Type],
    is_structure: fn(&Type) -> bool,
    as_one: fn(&[Type]) -> Option<Type>,
) -> Option<Type> {
    let structures: Vec<Type> = types.iter().filter(|kind| is_structure(kind)).cloned().collect();
    let one = as_one(&structures)?;
    let collections =
        types.iter().map(|kind| if is_structure(kind) { one.clone() } else { kind.clone() });
    unify(&collections.collect::<Vec<_>>())
}

/// Objects with the same names are one object; else, or if that cannot be, they are a map.
fn one_object(types: &[Type]) -> Option<Type> {
    let objects: Vec<&BTreeMap<String, Type>> = types
        .iter()
        .filter_map(|kind| if let Type::Object(items) = kind { Some(items) } else { None })
        .collect();
    let (first, rest) = objects.split_first()?;
    if rest.iter().any(|other| !other.keys().eq(first.keys())) {
        return one_map(types);
    }
    let mut attributes = BTreeMap::new();
    for name in first.keys() {
        let across: Vec<Type> =
            objects.iter().filter_map(|items| items.get(name)).cloned().collect();
        attributes.insert(name.clone(), unify(&across)?);
    }
    let object = Type::Object(attributes);
    if types.iter().all(|kind| converts(kind, &object)) { Some(object) } else { one_map(types) }
}

fn one_map(types: &[Type]) -> Option<Type> {
    let items: Vec<Type> = types
        .iter()
        .flat_map(|kind| match kind {
            Type::Object(items) => items.values().cloned().collect(),
            _ => Vec::new(),
        })
        .collect();
    let map = Type::Map(Box::new(unify(&items)?));
    types.iter().all(|kind| converts(kind, &map)).then_some(map)
}

/// Tuples of one length are one tuple; else, or if that cannot be, they are a list.
fn one_tuple(types: &[Type]) -> Option<Type> {
    let tuples: Vec<&Vec<Type>> = types
        .iter()
        .filter_map(|kind| if let Type::Tuple(items) = kind { Some(items) } else { None })
        .collect();
    let (first, rest) = tuples.split_first()?;
    if rest.iter().any(|other| other.len() != first.len()) {
        return one_list(types);
    }
    let mut items = Vec::new();
    for at in 0..first.len() {
        let across: Vec<Type> = tuples.iter().filter_map(|items| items.get(at)).cloned().collect();
        items.push(unify(&across)?);
    }
    let tuple = Type::Tuple(items);
    if types.iter().all(|kind| converts(kind, &tuple)) { Some(tuple) } else { one_list(types) }
}

fn one_list(types: &[Type]) -> Option<Type> {
    let items: Vec<Type> = types
        .iter()
        .flat_map(|kind| if let Type::Tuple(items) = kind { items.clone() } else { Vec::new() })
        .collect();
    let list = Type::List(Box::new(unify(&items)?));
    types.iter().all(|kind| converts(kind, &list)).then_some(list)
}

/// The first of the types, the more general ones before others, that all convert to.
fn preferred(types: &[Type]) -> Option<Type> {
    by_generality(types)
        .into_iter()
        .filter_map(|at| types.get(at))
        .find(|wanted| types.iter().all(|kind| converts(kind, wanted)))
        .cloned()
}

/// The places of the types such that a more general one comes before what it is more general
/// than, and else as they are given.
fn by_generality(types: &[Type]) -> Vec<usize> {
    let before = |a: usize, b: usize| match (types.get(a), types.get(b)) {
        (Some(a), Some(b)) => generality(a, b) == Ordering::Less,
        _ => false,
    };
    let places = 0..types.len();
    let mut waits_for: Vec<usize> = places
        .clone()
        .map(|at| places.clone().filter(|other| before(*other, at)).count())
        .collect();
    let mut queue: VecDeque<usize> =
        places.clone().filter(|at| waits_for.get(*at) == Some(&0)).collect();
    let mut order = Vec::with_capacity(types.len());
    while let Some(at) = queue.pop_front() {
        order.push(at);
        for other in places.clone().filter(|other| before(at, *other)) {
            if let Some(count) = waits_for.get_mut(other) {
                *count -= 1;
                if *count == 0 {
                    queue.push_back(other);
                }
            }
        }
    }
    order
}

/// `Less` if `a` is the more general type.
fn generality(a: &Type, b: &Type) -> Ordering {
    use Type as T;
    match (a, b) {
        (T::Dynamic, T::Dynamic) => Ordering::Equal,
        // Anything converts to what has no type: it is the last resort.
        (T::Dynamic, _) => Ordering::Greater,
        (_, T::Dynamic) => Ordering::Less,
        (T::String, T::Bool | T::Number)
        | (T::List(_) | T::Tuple(_), T::Set(_))
        | (T::List(_), T::Tuple(_))
        | (T::Map(_), T::Object(_)) => Ordering::Less,
        (T::Bool | T::Number, T::String)
        | (T::Set(_), T::List(_) | T::Tuple(_))
        | (T::Tuple(_), T::List(_))
        | (T::Object(_), T::Map(_)) => Ordering::Greater,
        (T::List(a), T::List(b)) | (T::Set(a), T::Set(b)) | (T::Map(a), T::Map(b)) => {
            generality(a, b)
        }
        (T::Object(a), T::Object(b)) if a.keys().eq(b.keys()) => agreed(a.values().zip(b.values())),
        (T::Tuple(a), T::Tuple(b)) if a.len() == b.len() => agreed(a.iter().zip(b)),
        _ => Ordering::Equal,
    }
}

/// One is more general than the other if it is so in no part less.
fn agreed<'a>(pairs: impl Iterator<Item = (&'a Type, &'a Type)>) -> Ordering {
    let mut all = Ordering::Equal;
    for (a, b) in pairs {
        match (all, generality(a, b)) {
            (_, Ordering::Equal) => {}
            (Ordering::Equal, part) => all = part,
            (whole, part) if whole == part => {}
            _ => return Ordering::Equal,
        }
    }
    all
}
