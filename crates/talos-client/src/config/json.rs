//! A text as JSON for lists of operations: through YAML 1.1, as Talos' library reads it there.

use serde_json::{Map, Number, Value};

use super::machine::ConfigError;
use crate::yaml::{self, NO_KEY, Node};

/// The one document of a text.
///
/// # Errors
/// The text is no YAML, has several documents, or a key that is nothing.
pub(super) fn read(text: &str) -> Result<Value, ConfigError> {
    let nodes = yaml::lax_documents(text, key).map_err(|error| {
        let class =
            if error.message == NO_KEY { "json-config-not-json" } else { "json-config-not-yaml" };
        ConfigError::classed(class, format!("line {}: {}", error.line, error.message))
    })?;
    let mut nodes = nodes.into_iter();
    match (nodes.next(), nodes.next()) {
        (None, _) => Ok(Value::Null),
        (Some(node), None) => Ok(sorted(value(node))),
        _ => Err(ConfigError::classed(
            "multi-document-json6902",
            "a list of operations (RFC 6902) cannot patch a configuration of several documents: \
             write a partial document",
        )),
    }
}

/// The operations of a patch that is written as YAML: its first document, nothing is no operation.
pub(super) fn operations(text: &str) -> Result<Value, ConfigError> {
    let refused = |text: String| ConfigError::classed("json-bad-patch", text);
    let nodes = yaml::first_document(text).map_err(|error| refused(error.message.to_owned()))?;
    match nodes {
        None => Ok(Value::Array(Vec::new())),
        Some(node) if node.is_null() => Ok(Value::Array(Vec::new())),
        Some(node @ Node::List(_)) if has_other_keys(&node) => {
            Err(refused("a key is no text".to_owned()))
        }
        Some(node @ Node::List(_)) => Ok(super::text::free(node)),
        Some(_) => Err(refused("it is no list of operations (RFC 6902)".to_owned())),
    }
}

/// Whether a map below has a key that YAML takes for something else than text.
fn has_other_keys(node: &Node) -> bool {
    match node {
        Node::Scalar { .. } => false,
        Node::List(items) => items.iter().any(has_other_keys),
        Node::Map(entries) => entries.iter().any(|(key, inner)| {
            let plain = Node::Scalar { text: key.clone(), plain: true };
            !super::text::value(plain).is_string() || has_other_keys(inner)
        }),
    }
}

fn key(text: String, plain: bool) -> Option<String> {
    if !plain {
        return Some(text);
    }
    match scalar(&text) {
        Value::Null => None,
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => Some(text),
    }
}

fn value(node: Node) -> Value {
    match node {
        Node::List(items) => Value::Array(items.into_iter().map(value).collect()),
        Node::Map(entries) => {
            Value::Object(entries.into_iter().map(|(key, node)| (key, value(node))).collect())
        }
        Node::Scalar { text, plain: false } => Value::String(text),
        Node::Scalar { text, plain: true } => scalar(&text),
    }
}

/// What YAML 1.1 takes a plain scalar for.
fn scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let radix = |prefix: &str, radix: u32| {
        let rest = digits.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
        i64::from_str_radix(rest, radix).ok().map(|number| Number::from(sign * number))
    };
    if let Some(number) = radix("0x", 16).or_else(|| radix("0b", 2)).or_else(|| radix("0o", 8)) {
        return Some(number);
    }
    if is_digits(digits) {
        if digits.len() > 1 && digits.starts_with('0') {
            return radix("0", 8);
        }
        let signed = digits.parse::<i64>().map(|number| Number::from(sign * number)).ok();
        return signed
            .or_else(|| (sign > 0).then(|| digits.parse::<u64>().ok())?.map(Number::from));
    }
    let is_float = digits.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b))
        && digits.bytes().any(|b| b.is_ascii_digit());
    let float = plain.parse::<f64>().ok().filter(|_| is_float)?;
    Number::from_f64(float)
}

/// Maps in the order of their keys, as JSON is written there.
pub(super) fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(Map::from_iter(entries))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn old_words_and_numbers_are_what_they_were() {
        let text = "y: on\n017: 1_000\nb: 017\nc: 'no'\na: ~\nd: 2024-01-02\nd: 1.5\n";
        let found = read(text).unwrap();
        assert_eq!(
            found,
            json!({"15": 1000, "a": null, "b": 15, "c": "no", "d": 1.5, "true": true})
        );
        let keys: Vec<&String> = found.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["15", "a", "b", "c", "d", "true"]);
        assert_eq!(read("null: x").unwrap_err().class(), "json-config-not-json");
        assert_eq!(read("a: [").unwrap_err().class(), "json-config-not-yaml");
        assert_eq!(read("a: 1\n---\n").unwrap_err().class(), "multi-document-json6902");
        assert_eq!(
            operations("- {op: add, path: /x, value: {1: a}}").unwrap_err().class(),
            "json-bad-patch"
        );
        assert_eq!(operations("# nothing").unwrap(), json!([]));
    }
}
