//! The order in which a set is gone through. Terraform calls it undefined but for text, numbers
//! and flags; it is one all the same, and lists that are made of sets are in it.

use std::cmp::Ordering;

use super::func::shortest_decimal;
use super::value::{Kind, Value};

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
        (Kind::Null(_), _) | (_, Kind::Null(_)) => a.is_null().cmp(&b.is_null()),
        (Kind::String(a), Kind::String(b)) => a.cmp(b),
        (Kind::Number(a), Kind::Number(b)) => a.cmp(b),
        (Kind::Bool(a), Kind::Bool(b)) => a.cmp(b),
        // Keys that do not tell two values apart leave that to the values themselves.
        _ => key(a).cmp(&key(b)).then_with(|| a.to_json().cmp(&b.to_json())),
    }
}

/// The text by which Terraform tells the structures of a set apart: 10 comes before 1 in it, since
/// a semicolon follows.
fn key(value: &Value) -> String {
    let mut out = String::new();
    write_key(value, &mut out);
    out
}

fn write_key(value: &Value, out: &mut String) {
    let mut all = |open: char, items: &mut dyn Iterator<Item = &Value>, close: char| {
        out.push(open);
        for item in items {
            write_key(item, out);
            out.push(';');
        }
        out.push(close);
    };
    match &value.kind {
        Kind::Unknown(_) => out.push('?'),
        Kind::Null(_) => out.push('~'),
        Kind::Bool(flag) => out.push(if *flag { 'T' } else { 'F' }),
        Kind::Number(number) => out.push_str(&shortest_decimal(number, 10)),
        Kind::String(_) => out.push_str(&value.to_json().unwrap_or_default()),
        Kind::List(_, items) | Kind::Set(_, items) => all('[', &mut items.iter(), ']'),
        Kind::Tuple(items) => all('<', &mut items.iter(), '>'),
        Kind::Object(items) => all('<', &mut items.values(), '>'),
        Kind::Map(_, items) => {
            out.push('{');
            for (name, item) in items.iter() {
                write_key(&Value::string(name), out);
                out.push(':');
                write_key(item, out);
                out.push(';');
            }
            out.push('}');
        }
    }
}
