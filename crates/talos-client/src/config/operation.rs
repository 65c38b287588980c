//! Lists of operations: RFC 6902, as Talos' library carries them out.

use serde_json::{Map, Value};

use super::machine::ConfigError;

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    op: String,
    path: String,
    from: String,
    value: Value,
}

impl Operation {
    /// What it brings in; null where it brings nothing.
    pub(super) fn value(&self) -> &Value {
        &self.value
    }
}

fn refused(class: &'static str, text: impl Into<String>) -> ConfigError {
    ConfigError::classed(class, text)
}

/// Reads a list of operations.
pub(super) fn parse(list: &Value) -> Result<Vec<Operation>, ConfigError> {
    let Value::Array(items) = list else {
        return Err(refused("json-bad-patch", "it is no list of operations (RFC 6902)"));
    };
    items
        .iter()
        .map(|item| {
            if !item.is_object() {
                return Err(refused("json-bad-patch", "an operation is no map"));
            }
            let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
            let bad =
                |what: &str| refused("json-bad-operation", format!("an operation has no {what}"));
            let op = text("op").ok_or_else(|| bad("op"))?;
            if !["add", "remove", "replace", "move", "copy", "test"].contains(&op.as_str()) {
                return Err(refused("json-bad-operation", format!("there is no operation {op:?}")));
            }
            let from = match op.as_str() {
                "move" | "copy" => text("from").ok_or_else(|| bad("from"))?,
                _ => String::new(),
            };
            let path = text("path").ok_or_else(|| bad("path"))?;
            Ok(Operation { op, path, from, value: item.get("value").cloned().unwrap_or_default() })
        })
        .collect()
}

/// Carries operations out: all of them, or none.
pub(super) fn apply(document: &Value, operations: &[Operation]) -> Result<Value, ConfigError> {
    let mut root = document.clone();
    for operation in operations {
        let Operation { op, path, from, value } = operation;
        if !path.is_empty() && !path.contains('/') {
            return Err(missing(path));
        }
        match op.as_str() {
            "add" => add(&mut root, path, value.clone())?,
            "replace" => replace(&mut root, path, value.clone())?,
            "remove" => drop(remove(&mut root, path)?),
            "move" => {
                let value = remove(&mut root, from)?;
                add(&mut root, path, value)?;
            }
            "copy" => {
                let value = get(&root, from)?.unwrap_or_default();
                add(&mut root, path, value)?;
            }
            _ => {
                if get(&root, path)?.unwrap_or_default() != *value {
                    return Err(refused("json-test-failed", format!("{path} has another value")));
                }
            }
        }
    }
    Ok(root)
}

/// Steps of a path. What stands before the first slash does not count.
fn steps(path: &str) -> Vec<String> {
    let rest = path.split_once('/').map(|(_, rest)| rest);
    let parts = rest.into_iter().flat_map(|rest| rest.split('/'));
    parts.map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

fn missing(path: &str) -> ConfigError {
    refused("json-missing-path", format!("there is no {path}"))
}

/// A position in a list; negative ones count from its end.
fn position(step: &str, length: usize, path: &str) -> Result<usize, ConfigError> {
    let bad = || refused("json-bad-index", format!("{path}: {step:?} is no position in the list"));
    let number: i64 = step.parse().map_err(|_| bad())?;
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let number = if number < 0 { number + length } else { number };
    match usize::try_from(number) {
        Ok(at) if number < length => Ok(at),
        _ => Err(bad()),
    }
}

/// The value in which the last step of a path is looked up.
fn parent<'a>(
    root: &'a mut Value,
    steps: &[String],
    path: &str,
) -> Result<&'a mut Value, ConfigError> {
    let mut at = root;
    for step in steps.split_last().map(|(_, front)| front).unwrap_or_default() {
        at = match at {
            Value::Object(map) => map.get_mut(step).ok_or_else(|| missing(path))?,
            Value::Array(items) => {
                let index = position(step, items.len(), path)?;
                items.get_mut(index).ok_or_else(|| missing(path))?
            }
            _ => return Err(missing(path)),
        };
    }
    Ok(at)
}

fn get(root: &Value, path: &str) -> Result<Option<Value>, ConfigError> {
    let steps = steps(path);
    let Some(last) = steps.last() else { return Ok(Some(root.clone())) };
    let mut copy = root.clone();
    Ok(match parent(&mut copy, &steps, path)? {
        Value::Object(map) => map.get(last).cloned(),
        Value::Array(items) => items.get(position(last, items.len(), path)?).cloned(),
        _ => return Err(missing(path)),
    })
}

fn add(root: &mut Value, path: &str, value: Value) -> Result<(), ConfigError> {
    let steps = steps(path);
    let Some(last) = steps.last() else {
        *root = value;
        return Ok(());
    };
    match parent(root, &steps, path)? {
        Value::Object(map) => put(map, last, value),
        Value::Array(items) if last == "-" || *last == items.len().to_string() => items.push(value),
        Value::Array(items) => {
            // Counting from the end, -1 is behind the last one.
            let at = position(last, items.len() + 1, path)?;
            items.insert(at, value);
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    map.insert(key.to_owned(), value);
}

fn replace(root: &mut Value, path: &str, value: Value) -> Result<(), ConfigError> {
    let steps = steps(path);
    let Some(last) = steps.last() else {
        *root = value;
        return Ok(());
    };
    match parent(root, &steps, path)? {
        // One that is not there is added.
        Value::Object(map) => put(map, last, value),
        Value::Array(items) => {
            // One behind the end is missing; what is no number is no position.
            let is_number = last.parse::<i64>().is_ok();
            let at = position(last, items.len(), path)
                .map_err(|error| if is_number { missing(path) } else { error })?;
            if let Some(place) = items.get_mut(at) {
                *place = value;
            }
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn remove(root: &mut Value, path: &str) -> Result<Value, ConfigError> {
    let steps = steps(path);
    let Some(last) = steps.last() else { return Err(missing(path)) };
    match parent(root, &steps, path)? {
        Value::Object(map) => map.shift_remove(last).ok_or_else(|| missing(path)),
        Value::Array(items) => {
            let at = position(last, items.len(), path)?;
            Ok(items.remove(at))
        }
        _ => Err(missing(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn done(document: &Value, list: &Value) -> Result<Value, &'static str> {
        parse(list).and_then(|list| apply(document, &list)).map_err(|error| error.class())
    }

    #[test]
    fn a_path_without_a_slash_leads_nowhere() {
        let document = serde_json::json!({ "a": 1 });
        let apply_at = |path: &str| {
            let list = serde_json::json!([{ "op": "add", "path": path, "value": 2 }]);
            apply(&document, &parse(&list).unwrap()).map_err(|error| error.class().to_owned())
        };
        assert_eq!(apply_at("a"), Err("json-missing-path".to_owned()));
        assert_eq!(apply_at("x/a"), Ok(serde_json::json!({ "a": 2 })));
        assert_eq!(apply_at(""), Ok(serde_json::json!(2)));
    }

    #[test]
    fn operations_are_carried_out_as_the_library_does() {
        let start = json!({"a": {"b": [1, 2]}, "c/d": 1});
        let run = |op: Value| done(&start, &json!([op]));
        assert_eq!(
            run(json!({"op": "add", "path": "/a/b/-", "value": 3})).unwrap()["a"]["b"],
            json!([1, 2, 3])
        );
        assert_eq!(
            run(json!({"op": "add", "path": "/a/b/0", "value": 0})).unwrap()["a"]["b"],
            json!([0, 1, 2])
        );
        assert_eq!(run(json!({"op": "remove", "path": "/a/b/-1"})).unwrap()["a"]["b"], json!([1]));
        assert_eq!(
            run(json!({"op": "replace", "path": "/c~1d", "value": 2})).unwrap()["c/d"],
            json!(2)
        );
        assert_eq!(
            run(json!({"op": "replace", "path": "/new", "value": 2})).unwrap()["new"],
            json!(2)
        );
        assert_eq!(
            run(json!({"op": "move", "from": "/a/b", "path": "/e"})).unwrap()["e"],
            json!([1, 2])
        );
        assert_eq!(
            run(json!({"op": "copy", "from": "/nothing", "path": "/e"})).unwrap()["e"],
            json!(null)
        );
        assert_eq!(run(json!({"op": "test", "path": "/a/b/1", "value": 2})).unwrap(), start);
        assert_eq!(run(json!({"op": "add", "path": "", "value": 1})).unwrap(), json!(1));
        for (op, class) in [
            (json!({"op": "remove", "path": "/x"}), "json-missing-path"),
            (json!({"op": "add", "path": "/x/y", "value": 1}), "json-missing-path"),
            (json!({"op": "add", "path": "/a/b/9", "value": 1}), "json-bad-index"),
            (json!({"op": "remove", "path": "/a/b/x"}), "json-bad-index"),
            (json!({"op": "test", "path": "/a/b/0", "value": 2}), "json-test-failed"),
            (json!({"op": "nonsense", "path": "/a"}), "json-bad-operation"),
            (json!({"op": "move", "path": "/a"}), "json-bad-operation"),
        ] {
            assert_eq!(run(op).unwrap_err(), class);
        }
    }
}
