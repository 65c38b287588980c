//! YAML of machine configurations: a tree with line numbers, and text as the node itself writes it.

use serde_json::{Map, Value, json};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle};

/// One node of a document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Line on which it starts, from 1.
    pub(crate) line: usize,
    /// Line of its key, for a value of a mapping.
    pub(crate) key_line: usize,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Text, and whether it stood without quotes.
    Scalar(String, bool),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the text.
    Map(Vec<(String, Node)>),
}

/// Why text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct YamlError {
    text: String,
}

impl Node {
    /// The value below a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Whether it is null.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(text, true) if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value without types of a schema: plain scalars are what YAML says they are.
    pub(crate) fn value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(text, false) => json!(text),
            Kind::Scalar(text, true) => resolve(text),
            Kind::List(items) => Value::Array(items.iter().map(Self::value).collect()),
            Kind::Map(entries) => {
                let mut sorted: Vec<_> = entries.iter().collect();
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                Value::Object(sorted.iter().map(|(k, v)| (k.clone(), v.value())).collect())
            }
        }
    }
}

/// Places where a mapping repeats a key: (line, key, line of the first).
pub(crate) fn repeated_keys(node: &Node, out: &mut Vec<(usize, String, usize)>) {
    match &node.kind {
        Kind::Map(entries) => {
            for (index, (key, value)) in entries.iter().enumerate() {
                if let Some((_, first)) = entries.iter().take(index).find(|(k, _)| k == key) {
                    out.push((value.key_line, key.clone(), first.key_line));
                }
                repeated_keys(value, out);
            }
        }
        Kind::List(items) => items.iter().for_each(|item| repeated_keys(item, out)),
        Kind::Scalar(..) => {}
    }
}

/// Read all documents of a text; empty ones are left out.
///
/// # Errors
/// When the text is not YAML; the wording is that of the node.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, YamlError> {
    let mut builder = Builder::default();
    for item in Parser::new_from_str(text) {
        let (event, span) = item.map_err(|error| scan_error(text, &error))?;
        builder.event(event, span.start.line())?;
    }
    Ok(builder.documents)
}

fn scan_error(text: &str, error: &impl ScanLike) -> YamlError {
    let line = error.at_line();
    let last = text.lines().count().max(1);
    YamlError {
        text: format!(
            "yaml: while parsing a {} node at line {}: did not find expected node content",
            if text.contains('{') || text.contains('[') { "flow" } else { "block" },
            line.clamp(1, last)
        ),
    }
}

trait ScanLike {
    fn at_line(&self) -> usize;
}

impl ScanLike for granit_parser::ScanError {
    fn at_line(&self) -> usize {
        self.marker().line()
    }
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    stack: Vec<Open>,
    anchors: Vec<(usize, Node)>,
}

struct Open {
    line: usize,
    anchor: usize,
    is_map: bool,
    items: Vec<Node>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let node = Node { line, key_line: 0, kind: Kind::Scalar(text.into_owned(), plain) };
                self.finish(node, anchor);
            }
            Event::SequenceStart(_, anchor, _) => self.open(line, anchor, false),
            Event::MappingStart(_, anchor, _) => self.open(line, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.stack.pop() else { return Ok(()) };
                let kind = if open.is_map { pairs(open.items) } else { Kind::List(open.items) };
                self.finish(Node { line: open.line, key_line: 0, kind }, open.anchor);
            }
            Event::Alias(id) => {
                let found = self.anchors.iter().rev().find(|(a, _)| *a == id);
                let node = found.map(|(_, n)| n.clone()).ok_or_else(|| YamlError {
                    text: format!("yaml: line {line}: unknown anchor referenced"),
                })?;
                self.finish(node, 0);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, line: usize, anchor: usize, is_map: bool) {
        self.stack.push(Open { line, anchor, is_map, items: Vec::new() });
    }

    fn finish(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.push((anchor, node.clone()));
        }
        match self.stack.last_mut() {
            Some(open) => open.items.push(node),
            None if node.is_null() => {}
            None => self.documents.push(node),
        }
    }
}

fn pairs(items: Vec<Node>) -> Kind {
    let mut entries = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(key), Some(mut value)) = (items.next(), items.next()) {
        value.key_line = key.line;
        let name = key.text().unwrap_or_default().to_owned();
        if name == "<<" {
            if let Kind::Map(merged) = value.kind {
                entries.extend(merged);
            }
            continue;
        }
        entries.push((name, value));
    }
    Kind::Map(entries)
}

fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return json!(true),
        "false" | "False" | "FALSE" => return json!(false),
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>() {
        return json!(number);
    }
    if let Some(octal) = text.strip_prefix("0o").and_then(|t| i64::from_str_radix(t, 8).ok()) {
        return json!(octal);
    }
    if let Some(hex) = text.strip_prefix("0x").and_then(|t| i64::from_str_radix(t, 16).ok()) {
        return json!(hex);
    }
    let float_like =
        text.contains('.') && text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    match text.parse::<f64>() {
        Ok(number) if float_like => json!(number),
        _ => json!(text),
    }
}

/// Write a value as the node does: four spaces, lists indented below their key.
pub(crate) fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => write_map(map, 0, &mut out),
        Value::Array(list) if !list.is_empty() => write_list(list, 0, &mut out),
        other => {
            // Go's reader wants the lines of a text indented, at the top level too.
            out.push_str(&scalar(other, deeper(0)));
            out.push('\n');
        }
    }
    out
}

fn write_map(map: &Map<String, Value>, indent: usize, out: &mut String) {
    for (key, value) in map {
        pad(indent, out);
        write_entry(key, value, indent, out);
    }
}

fn write_entry(key: &str, value: &Value, indent: usize, out: &mut String) {
    out.push_str(&plain_or_quoted(key));
    out.push(':');
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            write_map(map, deeper(indent), out);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            write_list(list, deeper(indent), out);
        }
        other => {
            out.push(' ');
            out.push_str(&scalar(other, deeper(indent)));
            out.push('\n');
        }
    }
}

fn write_list(list: &[Value], indent: usize, out: &mut String) {
    for item in list {
        pad(indent, out);
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => {
                for (index, (key, value)) in map.iter().enumerate() {
                    if index > 0 {
                        pad(indent + 2, out);
                    }
                    write_entry(key, value, indent + 2, out);
                }
            }
            Value::Array(inner) if !inner.is_empty() => {
                let mut text = String::new();
                write_list(inner, indent + 2, &mut text);
                out.push_str(text.trim_start());
            }
            other => {
                out.push_str(&scalar(other, deeper(indent)));
                out.push('\n');
            }
        }
    }
}

/// The next multiple of four, as the node's writer indents.
fn deeper(indent: usize) -> usize {
    (indent + 4) / 4 * 4
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(value: &Value, indent: usize) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        Value::String(text) if text.contains('\n') => block(text, indent),
        Value::String(text) => plain_or_quoted(text),
        other => other.to_string(),
    }
}

fn block(text: &str, indent: usize) -> String {
    let keep = match (text.ends_with("\n\n"), text.ends_with('\n')) {
        (true, _) => "|+",
        (false, true) => "|",
        (false, false) => "|-",
    };
    let mut out = keep.to_owned();
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(indent, &mut out);
            out.push_str(line);
        }
    }
    out
}

fn plain_or_quoted(text: &str) -> String {
    if means_another_type(text) {
        return format!("\"{text}\"");
    }
    if needs_quotes(text) {
        if text.chars().any(char::is_control) || text.contains('\\') && text.contains('\'') {
            return json!(text).to_string();
        }
        return format!("'{}'", text.replace('\'', "''"));
    }
    text.to_owned()
}

fn means_another_type(text: &str) -> bool {
    const WORDS: [&str; 13] =
        ["", "~", "null", "true", "false", "y", "n", "yes", "no", "on", "off", "<<", "="];
    let lower = text.to_ascii_lowercase();
    let digits = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_ascii_digit() || c == '_');
    WORDS.contains(&lower.as_str())
        || !resolve(text).is_string()
        || digits(text)
        || (text.contains(':') && text.split(':').all(digits))
        || text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10
        || matches!(lower.as_str(), ".inf" | "-.inf" | "+.inf" | ".nan")
        || (text.parse::<f64>().is_ok()
            && text.starts_with(|c: char| c.is_ascii_digit() || c == '-'))
}

fn needs_quotes(text: &str) -> bool {
    let first = text.chars().next().unwrap_or(' ');
    let starts = "!&*%@`|>\"'#,[]{}".contains(first)
        || (matches!(first, '-' | '?' | ':') && text.chars().nth(1).is_none_or(|c| c == ' '));
    starts
        || text.starts_with(' ')
        || text.ends_with(' ')
        || text.ends_with(':')
        || text.contains(": ")
        || text.contains(" #")
        || text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_know_their_lines() {
        let docs = parse("a: 1\n\n---\n# note\nb:\n  - x\n").unwrap();
        assert_eq!(docs.iter().map(|d| d.line).collect::<Vec<_>>(), [1, 5]);
        assert_eq!(docs[1].value(), json!({"b": ["x"]}));
    }

    #[test]
    fn broken_flow_is_worded_as_the_node_does() {
        let error = parse("{{{").unwrap_err().to_string();
        let want = "yaml: while parsing a flow node at line 1: did not find expected node content";
        assert_eq!(error, want);
    }

    #[test]
    fn text_round_trips_through_the_writer() {
        let value = json!({"auto": "off", "list": [{"a": 1, "b": ["x", "0.0.0.0/0"]}], "e": {}, "t": "a\nb\n", "s": "x: y"});
        let text = write(&value);
        assert!(text.contains("auto: \"off\"\n"), "{text}");
        assert!(text.contains("list:\n    - a: 1\n      b:\n        - x\n"), "{text}");
        let mut sorted: Vec<_> = value.as_object().unwrap().clone().into_iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(parse(&text).unwrap()[0].value(), Value::Object(sorted.into_iter().collect()));
    }
}
