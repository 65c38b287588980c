//! Comparison of an answer with a recorded one that has places for values of its own.

use serde_json::Value;

/// The first difference, if any.
pub(super) fn differs(want: &Value, got: Option<&Value>, at: &str) -> Option<String> {
    if let Some((name, argument)) = special(want) {
        return place(name, argument, got, at);
    }
    let Some(got) = got else { return Some(format!("{at}: missing")) };
    match (want, got) {
        (Value::Object(a), Value::Object(b)) => {
            let extra = b.keys().find(|k| !a.contains_key(*k) && *k != "protoSpec");
            let below = a.iter().find_map(|(k, v)| differs(v, b.get(k), &format!("{at}.{k}")));
            below.or_else(|| extra.map(|k| format!("{at}.{k}: not expected")))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(i, (x, y))| differs(x, Some(y), &format!("{at}[{i}]"))),
        _ if want == got => None,
        _ => Some(format!("{at}: expected {want}, got {got}")),
    }
}

fn special(value: &Value) -> Option<(&str, &Value)> {
    let map = value.as_object().filter(|m| m.len() == 1)?;
    map.iter().next().filter(|(k, _)| k.starts_with('$')).map(|(k, v)| (k.as_str(), v))
}

fn place(name: &str, argument: &Value, got: Option<&Value>, at: &str) -> Option<String> {
    if name == "$maybe" {
        return got.and_then(|g| differs(argument, Some(g), at));
    }
    let Some(got) = got else { return Some(format!("{at}: missing")) };
    let text = got.as_str().unwrap_or_default();
    let fits = match name {
        "$any" => true,
        "$int" => got.is_number() || text.parse::<i128>().is_ok(),
        "$bool" => got.is_boolean(),
        "$uuid" => uuid::Uuid::parse_str(text).is_ok(),
        "$time" => text.parse::<jiff::Timestamp>().is_ok(),
        "$b64" => !text.is_empty(),
        "$list" => got.is_array(),
        "$set" => return set(argument.as_array().unwrap(), got, at),
        "$text" => return differs(argument, decoded(text).as_ref(), at),
        "$contains" => {
            let all = got.as_array().map(Vec::as_slice).unwrap_or_default();
            let has = |w: &Value| all.iter().any(|g| differs(w, Some(g), at).is_none());
            argument.as_array().unwrap().iter().all(has)
        }
        "$like" => like(argument.as_str().unwrap_or_default(), text),
        "$oneof" => {
            argument.as_array().unwrap().iter().any(|a| differs(a, Some(got), at).is_none())
        }
        "$yaml" => return differs(argument, yaml(text).as_ref(), at),
        other => panic!("unknown place {other}"),
    };
    (!fits).then(|| format!("{at}: {got} is not {name} {argument}"))
}

/// The same elements, in any order.
fn set(want: &[Value], got: &Value, at: &str) -> Option<String> {
    let Some(all) = got.as_array() else { return Some(format!("{at}: {got} is no list")) };
    let mut left: Vec<&Value> = all.iter().collect();
    for one in want {
        match left.iter().position(|g| differs(one, Some(g), at).is_none()) {
            Some(place) => drop(left.remove(place)),
            None => return Some(format!("{at}: none is {one} in {got}")),
        }
    }
    left.first().map(|more| format!("{at}: not expected: {more}"))
}

/// Bytes that are a text.
fn decoded(text: &str) -> Option<Value> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    String::from_utf8(bytes).ok().map(Value::String)
}

pub(super) fn yaml(text: &str) -> Option<Value> {
    super::super::config::yaml::parse(text)
        .ok()?
        .first()
        .map(super::super::config::yaml::Node::value)
}

/// Whether a text has the literal parts of a pattern in their order, beginning and end included.
fn like(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    let mut parts = pattern.split("{{");
    let Some(tail) = rest.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    rest = tail;
    let mut open = false;
    for part in parts {
        let literal = part.split_once("}}").map_or("", |(_, l)| l);
        open = literal.is_empty();
        match rest.split_once(literal) {
            _ if open => {}
            Some((_, tail)) => rest = tail,
            None => return false,
        }
    }
    open || rest.is_empty()
}
