//! YAML files, with scalars understood as go-yaml understands them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use granit_parser::{Event, Parser, ScalarStyle, Tag};
use regex::Regex;

use super::error::{Result, SopsClass, fail};
use super::tree::{Key, Tree, Value};

/// Deepest nesting that is read.
const DEEPEST: usize = 200;

/// Most nodes that a file may have once its aliases are written out.
const MOST_NODES: usize = 1_000_000;

fn bad<T>(text: impl Into<String>) -> Result<T> {
    fail(SopsClass::BadFormat, text)
}

/// Reads the documents of a YAML stream; each is a map.
pub(super) fn read(bytes: &[u8]) -> Result<Tree> {
    let text = text_of(bytes)?;
    let text = text.as_ref();
    if text.contains('\0') {
        return bad("the file has control characters");
    }
    let mut reader = Reader { anchors: BTreeMap::new(), nodes: 0 };
    let mut documents = Vec::new();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = next(&mut parser)? {
        match event {
            Event::DocumentStart(..) => {
                let Some(event) = next(&mut parser)? else { break };
                documents.push(reader.node(&mut parser, event, 0)?);
            }
            Event::StreamEnd => break,
            _ => {}
        }
    }
    if documents.is_empty() && !text.is_empty() {
        return bad("the file has no document");
    }
    // An empty document among others is skipped.
    documents.retain(|document| *document != Value::Null);
    if documents.iter().any(|document| !matches!(document, Value::Map(_))) {
        return bad("the file is YAML, but no map");
    }
    Ok(documents)
}

/// The text of a file: UTF-8, or UTF-16 with a byte order mark.
fn text_of(bytes: &[u8]) -> Result<std::borrow::Cow<'_, str>> {
    let wide = |rest: &[u8], read: fn([u8; 2]) -> u16| {
        let units = rest.chunks_exact(2).map(|pair| {
            let mut unit = [0; 2];
            unit.copy_from_slice(pair);
            read(unit)
        });
        char::decode_utf16(units).collect::<std::result::Result<String, _>>().ok()
    };
    let text = if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        wide(rest, u16::from_le_bytes).map(Into::into)
    } else if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        wide(rest, u16::from_be_bytes).map(Into::into)
    } else {
        std::str::from_utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
            .ok()
            .map(Into::into)
    };
    match text {
        Some(text) => Ok(text),
        None => bad("the file is not UTF-8"),
    }
}

type YamlParser<'a> = Parser<'a, granit_parser::StrInput<'a>>;

fn next<'a>(parser: &mut YamlParser<'a>) -> Result<Option<Event<'a>>> {
    loop {
        match parser.next_event() {
            None => return Ok(None),
            Some(Ok((event, _))) if is_structure(&event) => return Ok(Some(event)),
            // Comments and other remarks on presentation.
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                let at = error.marker();
                return bad(format!(
                    "the file is not YAML: line {}, column {}",
                    at.line(),
                    at.col() + 1
                ));
            }
        }
    }
}

fn is_structure(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd
    )
}

struct Reader {
    anchors: BTreeMap<usize, Value>,
    nodes: usize,
}

impl Reader {
    fn node(
        &mut self,
        parser: &mut YamlParser<'_>,
        event: Event<'_>,
        depth: usize,
    ) -> Result<Value> {
        self.count(1)?;
        if depth > DEEPEST {
            return bad(format!("the file nests deeper than {DEEPEST} levels"));
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, scalar(&text, style, tag.as_deref())?)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                while let Some(event) = next(parser)? {
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(self.node(parser, event, depth + 1)?);
                }
                (anchor, Value::List(items))
            }
            Event::MappingStart(_, anchor, _) => (anchor, self.map(parser, depth)?),
            Event::Alias(id) => {
                let Some(value) = self.anchors.get(&id).cloned() else {
                    return bad("the file has an alias without an anchor");
                };
                self.count(size(&value))?;
                return Ok(value);
            }
            _ => return bad("the file ends in the middle of a value"),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn count(&mut self, nodes: usize) -> Result<()> {
        self.nodes += nodes;
        if self.nodes > MOST_NODES {
            return bad("the file's aliases grow beyond measure");
        }
        Ok(())
    }

    fn map(&mut self, parser: &mut YamlParser<'_>, depth: usize) -> Result<Value> {
        let mut entries: Vec<(Key, Value)> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        while let Some(event) = next(parser)? {
            if event == Event::MappingEnd {
                break;
            }
            let is_merge = matches!(
                &event,
                Event::Scalar(text, ScalarStyle::Plain, _, _) if text == "<<"
            );
            let key = match self.node(parser, event, depth + 1)? {
                Value::Str(ref text) => Key::Str(text.clone()),
                Value::Null => Key::Other("null"),
                Value::Bool(_) => Key::Other("bool"),
                Value::Int(_) | Value::Huge(_) => Key::Other("int"),
                Value::Float(_) => Key::Other("float"),
                Value::Time(_) => Key::Other("time"),
                Value::Bytes(_) | Value::Comment(_) | Value::Map(_) | Value::List(_) => {
                    return bad("a key of the file is a map or a list");
                }
            };
            if let Key::Str(text) = &key
                && !seen.insert(text.clone())
                && !is_merge
            {
                return bad(format!("the key {text:?} stands twice in one map"));
            }
            let Some(event) = next(parser)? else { break };
            let value = self.node(parser, event, depth + 1)?;
            entries.push((key, value));
        }
        Ok(Value::Map(entries))
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Map(entries) => 1 + entries.iter().map(|(_, value)| size(value)).sum::<usize>(),
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        _ => 1,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value> {
    let core = tag.and_then(Tag::core_suffix);
    match core {
        Some("str") => return Ok(Value::Str(text.to_owned())),
        Some("binary") => {
            use base64::Engine as _;
            let packed: String = text.split_whitespace().collect();
            let decoded = base64::engine::general_purpose::STANDARD.decode(packed);
            return match decoded.map(String::from_utf8) {
                Ok(Ok(text)) => Ok(Value::Str(text)),
                Ok(Err(_)) => {
                    fail(SopsClass::UnsupportedValue, "a value is bytes that are no text")
                }
                Err(_) => bad("a value tagged as binary is no base64"),
            };
        }
        Some("float") => {
            if let Value::Int(number) = plain(text) {
                #[expect(clippy::cast_precision_loss, reason = "a tag asks for the conversion")]
                return Ok(Value::Float(number as f64));
            }
        }
        _ => {}
    }
    if style != ScalarStyle::Plain && core.is_none() {
        return Ok(Value::Str(text.to_owned()));
    }
    Ok(plain(text))
}

static FLOAT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$").ok());

static TIME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(\d{4})-(\d{1,2})-(\d{1,2})(?:(?:[Tt]|[ \t]+)(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d+))?[ \t]*(Z|[-+]\d\d:\d\d)?)?$",
    )
    .ok()
});

/// What a plain scalar means.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Value::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let starts_number =
        text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.'));
    if !starts_number {
        return Value::Str(text.to_owned());
    }
    if text.starts_with(|first: char| first.is_ascii_digit())
        && let Some(time) = time(text)
    {
        return Value::Time(time);
    }
    let digits = text.replace('_', "");
    if let Some(value) = integer(&digits) {
        return value;
    }
    if FLOAT.as_ref().is_some_and(|float| float.is_match(&digits))
        && let Ok(number) = digits.parse::<f64>()
        && number.is_finite()
    {
        return Value::Float(number);
    }
    Value::Str(text.to_owned())
}

/// Whole numbers: decimal, `0x`, `0o`, `0b`, and a leading zero for octal.
fn integer(text: &str) -> Option<Value> {
    let (negative, body) = match text.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = body.to_ascii_lowercase();
    let (radix, digits) = if let Some(digits) = lower.strip_prefix("0x") {
        (16, digits)
    } else if let Some(digits) = lower.strip_prefix("0o") {
        (8, digits)
    } else if let Some(digits) = lower.strip_prefix("0b") {
        (2, digits)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.get(1..)?)
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    let number = if negative { -number } else { number };
    if let Ok(number) = i64::try_from(number) {
        return Some(Value::Int(number));
    }
    u64::try_from(number).ok().map(|number| Value::Huge(number.to_string()))
}

/// A YAML timestamp as RFC 3339; a date alone is its midnight.
fn time(text: &str) -> Option<String> {
    let captures = TIME.as_ref()?.captures(text)?;
    let part = |number: usize| captures.get(number).map(|part| part.as_str());
    let two = |number: usize| part(number).map(|part| format!("{part:0>2}"));
    let date = format!("{}-{}-{}", part(1)?, two(2)?, two(3)?);
    let time = match (two(4), two(5), two(6)) {
        (Some(hour), Some(minute), Some(second)) => format!("{hour}:{minute}:{second}"),
        _ => "00:00:00".to_owned(),
    };
    let fraction = part(7).map(|digits| format!(".{digits}")).unwrap_or_default();
    let zone = part(8).unwrap_or("Z");
    super::metadata::rfc3339_nano(&format!("{date}T{time}{fraction}{zone}"))
}

/// Writes a map as YAML: indent 4, lists indented below their key, long texts as literal blocks.
pub(super) fn write(value: &Value) -> Result<Vec<u8>> {
    let mut out = String::new();
    let Value::Map(entries) = value else {
        return fail(SopsClass::CannotEmit, "a YAML file is a map");
    };
    if entries.is_empty() {
        out.push_str("{}\n");
    }
    write_map(&mut out, entries, 0);
    Ok(out.into_bytes())
}

fn write_map(out: &mut String, entries: &[(Key, Value)], indent: usize) {
    for (key, value) in entries {
        let Key::Str(key) = key else { continue };
        pad(out, indent);
        write_text(out, key, indent, true);
        out.push(':');
        write_after(out, value, indent);
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Writes a value behind `key:` or `-`.
fn write_after(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            write_map(out, entries, indent + 4);
        }
        Value::List(items) if !items.is_empty() => {
            out.push('\n');
            write_list(out, items, indent + 4);
        }
        _ => {
            out.push(' ');
            write_leaf(out, value, indent);
            out.push('\n');
        }
    }
}

fn write_list(out: &mut String, items: &[Value], indent: usize) {
    for item in items {
        pad(out, indent);
        out.push('-');
        match item {
            Value::Map(entries) if !entries.is_empty() => {
                // The first entry stands behind the dash, the others below it.
                let mut text = String::new();
                write_map(&mut text, entries, indent + 2);
                out.push_str(text.get(indent + 1..).unwrap_or(&text));
            }
            Value::List(items) if !items.is_empty() => {
                let mut text = String::new();
                write_list(&mut text, items, indent + 2);
                out.push_str(text.get(indent + 1..).unwrap_or(&text));
            }
            _ => write_after(out, item, indent),
        }
    }
}

fn write_leaf(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null | Value::Comment(_) => out.push_str("null"),
        Value::Bytes(bytes) => write_text(out, &String::from_utf8_lossy(bytes), indent, false),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Huge(text) | Value::Time(text) => out.push_str(text),
        Value::Float(number) => out.push_str(&match number {
            number if number.is_nan() => ".nan".to_owned(),
            number if number.is_infinite() => {
                if *number > 0.0 {
                    ".inf".to_owned()
                } else {
                    "-.inf".to_owned()
                }
            }
            // Without a point it would be read as a whole number, which has no sign.
            number if *number == 0.0 && number.is_sign_negative() => "-0.0".to_owned(),
            number => super::tree::float_text(*number),
        }),
        Value::Str(text) => write_text(out, text, indent, false),
        Value::Map(_) => out.push_str("{}"),
        Value::List(_) => out.push_str("[]"),
    }
}

fn write_text(out: &mut String, text: &str, indent: usize, is_key: bool) {
    let literal = !is_key
        && text.contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control())
        && text.lines().all(|line| !line.ends_with([' ', '\t', '\r']));
    if literal {
        out.push('|');
        let body = text.trim_end_matches('\n');
        match text.len() - body.len() {
            0 => out.push('-'),
            1 => {}
            _ => out.push('+'),
        }
        let lines: Vec<&str> = body.split('\n').collect();
        for line in &lines {
            out.push('\n');
            if !line.is_empty() {
                pad(out, indent + 4);
                out.push_str(line);
            }
        }
        out.extend(std::iter::repeat_n('\n', (text.len() - body.len()).saturating_sub(1)));
    } else if is_plain(text) {
        out.push_str(text);
    } else {
        // A JSON string is a YAML double-quoted scalar.
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Whether a text may stand without quotes, for readers of YAML 1.1 and 1.2 alike.
fn is_plain(text: &str) -> bool {
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "<<", "="];
    let safe = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(
                c,
                '_' | '-' | '.' | '/' | '+' | '=' | '@' | '%' | ',' | '[' | ']' | ':' | ' '
            )
    };
    !text.is_empty()
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_')
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && text.chars().all(safe)
        && !words.contains(&text.to_ascii_lowercase().as_str())
        && matches!(plain(text), Value::Str(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_go_yaml_says() {
        let int = |text: &str| plain(text) == Value::Int(8);
        assert!(int("8") && int("010") && int("0x8") && int("0o10") && int("0b1000") && int("+8"));
        assert_eq!(plain("08"), Value::Float(8.0));
        assert_eq!(plain("1_000"), Value::Int(1000));
        assert_eq!(plain("1e3"), Value::Float(1000.0));
        assert_eq!(plain("yes"), Value::Str("yes".into()));
        assert_eq!(plain("2001-01-01"), Value::Time("2001-01-01T00:00:00Z".into()));
        assert_eq!(plain("18446744073709551615"), Value::Huge("18446744073709551615".into()));
        assert_eq!(plain("12:30:45"), Value::Str("12:30:45".into()));
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = "a: x\n\
            b:\n    - 1\n    - k: v\n      l:\n        - y\n    - - z\n\
            c: |\n    one\n    two\nd: \"yes\"\ne: {}\nf: []\ng: null\nh: \" x\"\n";
        let tree = read(text.as_bytes()).unwrap();
        let written = write(&tree[0]).unwrap();
        assert_eq!(read(&written).unwrap(), tree, "{}", String::from_utf8_lossy(&written));
    }

    #[test]
    fn an_alias_bomb_is_stopped() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for n in 1..12 {
            let items = vec![format!("*a{}", n - 1); 10].join(",");
            let _ = writeln!(text, "a{n}: &a{n} [{items}]");
        }
        assert_eq!(read(text.as_bytes()).unwrap_err().class(), SopsClass::BadFormat);
    }
}
