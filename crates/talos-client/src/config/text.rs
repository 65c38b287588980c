//! Configurations as YAML text, and back.

use serde_json::{Map, Number, Value};

use super::machine::ConfigError;
use crate::yaml::{self, Node};

/// Reads the documents of a text; empty ones are left out.
pub(super) fn read(text: &str) -> Result<Vec<Value>, ConfigError> {
    let mut documents = Vec::new();
    for node in yaml::documents(text)? {
        if node.is_null() {
            continue;
        }
        match value(node) {
            document @ Value::Object(_) => documents.push(document),
            _ => return Err(ConfigError::new("a document is no mapping")),
        }
    }
    Ok(documents)
}

/// A node as data: plain scalars get the type that YAML gives them.
pub(super) fn value(node: Node) -> Value {
    match node {
        Node::List(items) => Value::Array(items.into_iter().map(value).collect()),
        Node::Map(entries) => {
            Value::Object(entries.into_iter().map(|(key, node)| (key, value(node))).collect())
        }
        Node::Scalar { text, plain: false } => Value::String(text),
        Node::Scalar { text, plain: true } => match text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Value::Null,
            "true" | "True" | "TRUE" => Value::Bool(true),
            "false" | "False" | "FALSE" => Value::Bool(false),
            _ => number(&text).map_or(Value::String(text), Value::Number),
        },
    }
}

/// A node without a type as data: days are points in time.
pub(super) fn free(node: Node) -> Value {
    match node {
        Node::List(items) => Value::Array(items.into_iter().map(free).collect()),
        Node::Map(entries) => {
            Value::Object(entries.into_iter().map(|(key, node)| (key, free(node))).collect())
        }
        Node::Scalar { text, plain: true } if is_day(&text) => {
            Value::String(format!("{text}T00:00:00Z"))
        }
        scalar @ Node::Scalar { .. } => value(scalar),
    }
}

fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits = |part: &str, count: usize| {
        part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    matches!(parts.as_slice(), [year, month, day]
        if digits(year, 4) && digits(month, 2) && digits(day, 2))
}

fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let radix = |prefix: &str, radix: u32| {
        let rest = digits.strip_prefix(prefix)?;
        let number = i64::from_str_radix(rest, radix).ok()?;
        Some(Number::from(if text.starts_with('-') { -number } else { number }))
    };
    if let Some(found) = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2)) {
        return Some(found);
    }
    // Permissions are written as octal numbers with a leading zero.
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) {
        return radix("0", 8);
    }
    let plain = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = plain.parse::<i64>() {
        return Some(number.into());
    }
    if let Ok(number) = plain.parse::<u64>() {
        return Some(number.into());
    }
    let is_float = digits.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b))
        && digits.bytes().any(|b| b.is_ascii_digit());
    plain.parse::<f64>().ok().filter(|_| is_float).and_then(Number::from_f64)
}

/// Columns of an indentation.
const STEP: usize = 4;

/// Writes documents as Talos does: what stands below a key begins at the next multiple of four
/// columns, also inside of list items, whose own fields begin two columns behind the dash.
pub(super) fn write(documents: &[Value]) -> String {
    // A text that grows leaves copies behind, and it holds secrets.
    let mut out = String::with_capacity(documents.iter().map(|one| room(one, 0)).sum());
    for (number, document) in documents.iter().enumerate() {
        if number > 0 {
            out.push_str("---\n");
        }
        match document {
            Value::Object(map) if !map.is_empty() => mapping(&mut out, map, 0, true),
            _ => out.push_str("{}\n"),
        }
    }
    out
}

/// About the bytes that a value at a column takes with its line.
fn room(value: &Value, column: usize) -> usize {
    let line = column + STEP;
    match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| key.len() + line + room(value, line)).sum()
        }
        Value::Array(items) => items.iter().map(|item| line + room(item, line)).sum(),
        Value::String(text) => text.len(),
        _ => STEP,
    }
}

fn pad(out: &mut String, columns: usize) {
    out.extend(std::iter::repeat_n(' ', columns));
}

/// The column at which something below a key at a column begins.
fn below(column: usize) -> usize {
    STEP * (column / STEP + 1)
}

/// `at_start`: the first line is not behind a dash.
fn mapping(out: &mut String, map: &Map<String, Value>, column: usize, at_start: bool) {
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 || at_start {
            pad(out, column);
        }
        let inner = below(column);
        let is_long = yaml::is_long_key(key);
        if is_long {
            out.push_str("? ");
        }
        out.push_str(&yaml::scalar(key));
        if is_long {
            out.push('\n');
            pad(out, column);
        }
        out.push(':');
        match value {
            // Behind the colon of a long key what follows begins in the same line.
            Value::Object(map) if !map.is_empty() => {
                start(out, is_long, inner - column - 1);
                mapping(out, map, inner, !is_long);
            }
            Value::Array(items) if !items.is_empty() => {
                start(out, is_long, inner - column - 1);
                list(out, items, inner, !is_long);
            }
            Value::String(text) if is_block(text) => block(out, text, inner),
            other => {
                out.push(' ');
                inline(out, other);
                out.push('\n');
            }
        }
    }
}

/// Goes on in the same line after so many columns, or begins another one.
fn start(out: &mut String, in_line: bool, columns: usize) {
    match in_line {
        true => pad(out, columns),
        false => out.push('\n'),
    }
}

fn list(out: &mut String, items: &[Value], column: usize, at_start: bool) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 || at_start {
            pad(out, column);
        }
        out.push('-');
        match item {
            Value::Object(map) if !map.is_empty() => {
                out.push(' ');
                mapping(out, map, column + 2, false);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push(' ');
                list(out, items, column + 2, false);
            }
            Value::String(text) if is_block(text) => block(out, text, column + 2),
            other => {
                out.push(' ');
                inline(out, other);
                out.push('\n');
            }
        }
    }
}

fn inline(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => out.push_str(&yaml::scalar(text)),
        other => out.push_str(&other.to_string()),
    }
}

/// Texts of several lines that a literal block can hold exactly.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control())
        && text.lines().all(|line| !line.ends_with([' ', '\t']) && !line.starts_with('\t'))
}

fn block(out: &mut String, text: &str, column: usize) {
    let end = match (text.ends_with("\n\n"), text.ends_with('\n')) {
        (true, _) => "+",
        (false, true) => "",
        (false, false) => "-",
    };
    out.push_str(" |");
    out.push_str(end);
    out.push('\n');
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            pad(out, column);
            out.push_str(line);
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_reads_as_the_same_data() {
        let documents = vec![
            json!({
                "version": "v1alpha1",
                "a": {"token": "123456.7890", "yes": "true", "n": 1, "f": 1.5, "e": [], "o": {}},
                "list": [{"name": "x", "sub": {"k": ["a", "b"]}}, "plain", ["n", ["m"]], null],
                "block": "one\ntwo\n", "cut": "one\ntwo", "more": "one\n\n\n", "odd": " a\nb",
                "nested": [{"contents": "---\nkind: Job\nspec:\n    x: |\n        y\n"}],
            }),
            json!({"kind": "HostnameConfig", "auto": "off", "perm": 420}),
        ];
        let text = write(&documents);
        assert_eq!(read(&text).unwrap(), documents, "{text}");
    }

    #[test]
    fn a_key_that_no_reader_would_find_the_colon_of_stands_behind_a_question_mark() {
        let (edge, long) = ("k".repeat(128), "k".repeat(2000));
        let documents = vec![json!({
            "a": {long.as_str(): "x", "b": 1, edge.as_str(): 2},
            long.as_str(): {"c": [1], "d": {}},
            "list": [{long.as_str(): ["y", {"e": "f"}]}, {"two\nlines": "g\nh\n", "i": 3}],
        })];
        let text = write(&documents);
        assert_eq!(read(&text).unwrap(), documents, "{text}");
        let shown = text.replace(&long, "LONG").replace(&edge, "EDGE");
        let expected = "a:\n    ? LONG\n    : x\n    b: 1\n    EDGE: 2\n\
                        ? LONG\n:   c:\n        - 1\n    d: {}\n\
                        list:\n    - ? LONG\n      : - \"y\"\n        - e: f\n    \
                        - ? \"two\\nlines\"\n      : |\n        g\n        h\n      i: 3\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn numbers_are_read_as_yaml_has_them() {
        let text = "a: 0x10\nb: 0o17\nc: 1e3\nd: 1.2.3\ne: '5'\nf: -7\ng: 0644\nh: fd00::1\n";
        let expected = json!({"a": 16, "b": 15, "c": 1000.0, "d": "1.2.3", "e": "5", "f": -7,
                              "g": 420, "h": "fd00::1"});
        assert_eq!(read(text).unwrap(), vec![expected]);
        assert!(read("- a\n").is_err());
    }
}
