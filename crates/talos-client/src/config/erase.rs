//! Directives of a partial document: `$patch: delete` takes away what it stands in.

use serde_json::{Map, Value};

use super::machine::ConfigError;
use super::schema;
use super::typed::bare;
use crate::yaml::Node;

/// The directive.
pub(super) const DIRECTIVE: &str = "$patch";

/// Whether a value is taken away. Any other word is an ordinary field.
pub(super) fn is_directive(value: &Value) -> bool {
    value.as_object().is_some_and(deletes)
}

pub(super) fn deletes(map: &Map<String, Value>) -> bool {
    map.get(DIRECTIVE).and_then(Value::as_str) == Some("delete")
}

fn has_directive(node: &Node) -> bool {
    node.get(DIRECTIVE).and_then(Node::text) == Some("delete")
}

/// Refuses directives where none can stand: on a key inside of a list's item.
pub(super) fn check(node: &Node, in_item: bool) -> Result<(), ConfigError> {
    match node {
        Node::Scalar { .. } => Ok(()),
        Node::List(items) => items.iter().try_for_each(|item| check(item, true)),
        Node::Map(entries) => entries.iter().try_for_each(|(key, inner)| {
            if in_item && has_directive(inner) {
                let text = format!("{key}: a field of a list's item cannot be deleted");
                return Err(ConfigError::classed("delete-inside-list-element", text));
            }
            check(inner, in_item)
        }),
    }
}

/// Whether a field below has a directive.
pub(super) fn is_below(node: &Node) -> bool {
    match node {
        Node::Scalar { .. } => false,
        Node::List(items) => items.iter().any(|item| has_directive(item) || is_below(item)),
        Node::Map(entries) => {
            entries.iter().any(|(_, inner)| has_directive(inner) || is_below(inner))
        }
    }
}

/// A document as its kind must have it: what it takes away has no type, such as a number that is
/// named only to be removed.
pub(super) fn without(node: Node) -> Node {
    match node {
        Node::Map(entries) => {
            let is_root =
                entries.iter().any(|(key, node)| key == DIRECTIVE && node.text() == Some("delete"));
            let kept = entries
                .into_iter()
                .filter(|(key, node)| !(has_directive(node) || is_root && key == DIRECTIVE));
            Node::Map(kept.map(|(key, node)| (key, without(node))).collect())
        }
        Node::List(items) => {
            let kept = items.into_iter().filter(|item| !has_directive(item));
            Node::List(kept.map(without).collect())
        }
        scalar @ Node::Scalar { .. } => scalar,
    }
}

/// A typed patch with the directives of the one as it was written.
pub(super) fn with(typed: Value, written: Value) -> Value {
    match (typed, written) {
        (Value::Object(mut typed), Value::Object(written)) => {
            let mut out = Map::new();
            for (key, value) in written {
                match typed.shift_remove(&key) {
                    _ if key == DIRECTIVE || is_directive(&value) => drop(out.insert(key, value)),
                    Some(inner) => drop(out.insert(key, with(inner, value))),
                    None => {}
                }
            }
            // Parts that reading adds, such as the key of a certificate.
            out.extend(typed);
            Value::Object(out)
        }
        (Value::Array(typed), Value::Array(written)) => {
            let count = written.iter().filter(|item| !is_directive(item)).count();
            if typed.len() != count {
                return Value::Array(typed);
            }
            let mut typed = typed.into_iter();
            let items = written.into_iter().filter_map(|item| match is_directive(&item) {
                true => Some(item),
                false => typed.next().map(|typed| with(typed, item)),
            });
            Value::Array(items.collect())
        }
        (typed, _) => typed,
    }
}

fn absent(path: &str) -> ConfigError {
    ConfigError::classed("delete-lookup-failed", format!("{path}: there is nothing to delete"))
}

/// Carries out the directives of a patch of a kind and takes them out of it.
pub(super) fn carry_out(
    kind: &str,
    target: &mut Value,
    patch: &mut Value,
    path: &str,
) -> Result<(), ConfigError> {
    let schema = schema::schema();
    let name = schema.and_then(|schema| schema.kinds.get(kind)).map_or("any", String::as_str);
    section(name, target, patch, path)
}

/// The type of a field; none when its section has no fields of its own.
fn type_of(kind: &str, field: &str) -> Option<&'static str> {
    schema::schema()?.types.get(bare(kind))?.get(field)?.as_str()
}

fn section(
    kind: &str,
    target: &mut Value,
    patch: &mut Value,
    path: &str,
) -> Result<(), ConfigError> {
    let Value::Object(entries) = patch else { return Ok(()) };
    let mut done: Vec<String> = Vec::new();
    for (key, value) in entries.iter_mut() {
        let place = format!("{path}.{key}");
        match value {
            directive if is_directive(directive) => {
                let Value::Object(current) = target else { return Err(absent(&place)) };
                // A field of a section may be empty; what a map does not have cannot be taken.
                if current.shift_remove(key).is_none() && type_of(kind, key).is_none() {
                    return Err(absent(&place));
                }
                done.push(key.clone());
            }
            Value::Object(_) => {
                let mut nothing = Value::Null;
                let inner = target.get_mut(key.as_str()).unwrap_or(&mut nothing);
                section(type_of(kind, key).unwrap_or("any"), inner, value, &place)?;
            }
            Value::Array(items) if items.iter().any(is_directive) => {
                let current = target.get_mut(key.as_str()).and_then(Value::as_array_mut);
                items_of(current.ok_or_else(|| absent(&place))?, items, &place)?;
                if items.is_empty() {
                    done.push(key.clone());
                }
            }
            Value::Array(items) => {
                for item in items.iter() {
                    nested(item, &place)?;
                }
            }
            _ => {}
        }
    }
    for key in done {
        entries.shift_remove(&key);
    }
    Ok(())
}

/// Takes the directives out of a patch without carrying them out.
pub(super) fn forget(patch: &mut Value) {
    match patch {
        Value::Object(entries) => {
            entries.retain(|_, value| !is_directive(value));
            entries.values_mut().for_each(forget);
        }
        Value::Array(items) => {
            items.retain(|item| !is_directive(item));
            items.iter_mut().for_each(forget);
        }
        _ => {}
    }
}

/// A list inside of a list's item cannot be reached.
fn nested(item: &Value, path: &str) -> Result<(), ConfigError> {
    let inner = item.as_object().into_iter().flat_map(Map::values);
    for value in inner {
        let has = value.as_array().is_some_and(|items| items.iter().any(is_directive));
        if has {
            let text = format!("{path}: a list inside of a list's item cannot be deleted from");
            return Err(ConfigError::classed("delete-list-path", text));
        }
        nested(value, path)?;
    }
    Ok(())
}

/// Removes items: each directive the first one whose field has the text of its selector.
fn items_of(
    current: &mut Vec<Value>,
    items: &mut Vec<Value>,
    path: &str,
) -> Result<(), ConfigError> {
    for item in items.iter().filter(|item| !is_directive(item)) {
        nested(item, path)?;
    }
    for item in items.iter().filter(|item| is_directive(item)) {
        let selector =
            item.as_object().and_then(|map| map.iter().find(|(key, _)| *key != DIRECTIVE));
        let (field, wanted) = selector.ok_or_else(|| {
            let text = format!("{path}: a directive needs a selector");
            ConfigError::classed("delete-list-selector", text)
        })?;
        // Numbers, truth values, lists and sections never match.
        let position = current
            .iter()
            .position(|one| {
                one.get(field).is_some_and(|value| value.is_string() && value == wanted)
            })
            .ok_or_else(|| absent(path))?;
        current.remove(position);
    }
    items.retain(|item| !is_directive(item));
    Ok(())
}
