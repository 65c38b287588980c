//! `yamlencode` and `yamldecode`: YAML 1.1 as Terraform's library has it.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::Arguments;
use crate::spec::hcl::eval::Result;
use crate::spec::hcl::number::Number;
use crate::spec::hcl::value::{Kind, Value};

/// Deepest nesting that is read.
const DEEPEST: usize = 100;

/// Most nodes of a text once its aliases are written out.
const MOST_NODES: usize = 1 << 18;

pub(super) fn encode(given: &Arguments<'_>) -> Result<Value> {
    let value = given.values.first().unwrap_or(&Value::NULL);
    let mut out = String::new();
    write(&mut out, value, 0, Place::Top);
    if matches!(value.kind, Kind::Null(_) | Kind::Bool(_) | Kind::Number(_)) {
        // A bare scalar leaves the document open, so its end is marked.
        out.push_str("...\n");
    }
    Ok(Value::string(out))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    /// Behind `key:`.
    Key,
    /// Behind `-`.
    Item,
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn write(out: &mut String, value: &Value, indent: usize, place: Place) {
    match &value.kind {
        Kind::List(_, items) | Kind::Set(_, items) | Kind::Tuple(items) if !items.is_empty() => {
            if place == Place::Key {
                out.push('\n');
            }
            for (number, item) in items.iter().enumerate() {
                if !(place == Place::Item && number == 0) {
                    pad(out, indent);
                }
                out.push_str("- ");
                write(out, item, indent + 2, Place::Item);
            }
        }
        Kind::Map(_, items) | Kind::Object(items) if !items.is_empty() => {
            if place == Place::Key {
                out.push('\n');
            }
            for (number, (name, item)) in items.iter().enumerate() {
                if !(place == Place::Item && number == 0) {
                    pad(out, indent);
                }
                write_text(out, name, indent, true);
                out.push(':');
                let is_list = item.items().is_some_and(|items| !items.is_empty());
                let nests = is_list || item.attributes().is_some_and(|items| !items.is_empty());
                if !nests {
                    out.push(' ');
                }
                // A list stands below its key without further indentation.
                write(out, item, if is_list { indent } else { indent + 2 }, Place::Key);
            }
        }
        _ => {
            write_leaf(out, value, indent);
            out.push('\n');
        }
    }
}

fn write_leaf(out: &mut String, value: &Value, indent: usize) {
    match &value.kind {
        Kind::Null(_) | Kind::Unknown(_) => out.push_str("null"),
        Kind::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Kind::Number(number) => out.push_str(&number.to_string()),
        Kind::String(text) => write_text(out, text, indent, false),
        Kind::List(..) | Kind::Set(..) | Kind::Tuple(_) => out.push_str("[]"),
        Kind::Map(..) | Kind::Object(_) => out.push_str("{}"),
    }
}

/// Text is quoted, or a literal block when it has several lines.
fn write_text(out: &mut String, text: &str, indent: usize, is_key: bool) {
    let literal = !is_key
        && text.contains('\n')
        && text.chars().all(|c| c == '\n' || is_printable(c))
        && !text.lines().any(|line| line.ends_with(' '));
    if !literal {
        out.push_str(&double_quoted(text));
        return;
    }
    out.push('|');
    if text.starts_with([' ', '\n']) {
        // A reader could not tell the indentation from the first line.
        out.push('2');
    }
    let all_breaks = text.bytes().all(|byte| byte == b'\n');
    out.push_str(match text.len() - text.trim_end_matches('\n').len() {
        0 => "-",
        1 if !all_breaks => "",
        _ => "+",
    });
    let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
    for line in lines {
        out.push('\n');
        if !line.is_empty() {
            pad(out, indent.max(2));
            out.push_str(line);
        }
    }
}

/// What Terraform's library writes as it is; it takes all beyond 16 bits for unprintable.
fn is_printable(letter: char) -> bool {
    matches!(letter,
        ' '..='~' | '\u{a0}'..='\u{fffd}' if !matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}'))
}

fn double_quoted(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            '\u{1b}' => out.push_str("\\e"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\u{85}' => out.push_str("\\N"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            other if is_printable(other) => out.push(other),
            other => {
                let _ = match u32::from(other) {
                    code @ 0..=0xff => write!(out, "\\x{code:02X}"),
                    code @ 0x100..=0xffff => write!(out, "\\u{code:04X}"),
                    code => write!(out, "\\U{code:08X}"),
                };
            }
        }
    }
    out.push('"');
    out
}

pub(super) fn decode(given: &Arguments<'_>) -> Result<Value> {
    let text = given.string(0)?;
    match read(&text) {
        Ok(value) => Ok(value),
        Err(why) => given.fail(why),
    }
}

type Read<T> = std::result::Result<T, String>;
type YamlParser<'a> = Parser<'a, granit_parser::StrInput<'a>>;

fn next<'a>(parser: &mut YamlParser<'a>) -> Read<Option<Event<'a>>> {
    loop {
        return match parser.next_event() {
            None => Ok(None),
            Some(Err(error)) => Err(format!(
                "the text is no YAML: line {}, column {}",
                error.marker().line(),
                error.marker().col() + 1
            )),
            Some(Ok((event, _))) => {
                let structure = matches!(
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
                );
                if !structure {
                    continue;
                }
                Ok(Some(event))
            }
        };
    }
}

fn read(text: &str) -> Read<Value> {
    let version = text.lines().find_map(|line| line.strip_prefix("%YAML "));
    if version.is_some_and(|version| version.trim() != "1.1") {
        return Err("the text says that it is YAML of another version than 1.1".to_owned());
    }
    let mut parser = Parser::new_from_str(text);
    let mut reader = Reader { anchors: BTreeMap::new(), nodes: 0 };
    let mut found: Option<Value> = None;
    while let Some(event) = next(&mut parser)? {
        match event {
            Event::DocumentStart(..) if found.is_some() => {
                return Err("there is more than one document".to_owned());
            }
            Event::DocumentStart(..) => {
                let Some(event) = next(&mut parser)? else { break };
                found = Some(reader.node(&mut parser, event, 0)?);
            }
            _ => {}
        }
    }
    found.ok_or_else(|| "the text has no document".to_owned())
}

struct Reader {
    anchors: BTreeMap<usize, Value>,
    nodes: usize,
}

impl Reader {
    fn node(&mut self, parser: &mut YamlParser<'_>, event: Event<'_>, depth: usize) -> Read<Value> {
        self.nodes += 1;
        if depth > DEEPEST || self.nodes > MOST_NODES {
            return Err("the text nests too deeply or is too large".to_owned());
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
                (anchor, Value::tuple(items))
            }
            Event::MappingStart(_, anchor, _) => (anchor, self.map(parser, depth)?),
            Event::Alias(id) => {
                let value =
                    self.anchors.get(&id).cloned().ok_or("an alias has no anchor before it")?;
                self.nodes += size(&value);
                return Ok(value);
            }
            _ => return Err("the text ends in the middle of a value".to_owned()),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn map(&mut self, parser: &mut YamlParser<'_>, depth: usize) -> Read<Value> {
        let mut entries: BTreeMap<String, Value> = BTreeMap::new();
        while let Some(event) = next(parser)? {
            if event == Event::MappingEnd {
                break;
            }
            let merges = matches!(
                &event,
                Event::Scalar(text, ScalarStyle::Plain, _, _) if text == "<<"
            );
            let key = self.node(parser, event, depth + 1)?;
            let Some(event) = next(parser)? else { break };
            let value = self.node(parser, event, depth + 1)?;
            if merges {
                // Terraform's library has no lists of maps here, and takes what is merged where
                // it stands: it replaces what came before it.
                let merged = value.attributes().ok_or("`<<` needs a map")?;
                entries.extend(merged.iter().map(|(name, value)| (name.clone(), value.clone())));
                continue;
            }
            let name = match &key.kind {
                Kind::String(text) => text.to_string(),
                Kind::Bool(flag) => flag.to_string(),
                Kind::Number(number) => number.to_string(),
                _ => return Err("a key of the map is not text".to_owned()),
            };
            entries.insert(name, value);
        }
        Ok(Value::object(entries))
    }
}

fn size(value: &Value) -> usize {
    1 + value.children().map(size).sum::<usize>()
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Read<Value> {
    let tag = tag.map(Tag::to_string);
    let core = tag.as_deref().and_then(|tag| tag.strip_prefix("tag:yaml.org,2002:"));
    if let (Some(tag), None) = (&tag, core) {
        return Err(format!("the tag {tag} is not known"));
    }
    match core {
        Some("str") => return Ok(Value::string(text)),
        Some("binary") => {
            let packed: String = text.split_whitespace().collect();
            return Ok(Value::string(packed));
        }
        _ => {}
    }
    if style != ScalarStyle::Plain {
        return Ok(Value::string(text));
    }
    plain(text)
}

/// What a plain scalar means: YAML 1.1, so `yes` is true.
fn plain(text: &str) -> Read<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::NULL),
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            return Ok(Value::bool(true));
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            return Ok(Value::bool(false));
        }
        _ => {}
    }
    if matches!(text.trim_start_matches(['+', '-']), ".inf" | ".Inf" | ".INF")
        || matches!(text, ".nan" | ".NaN" | ".NAN")
    {
        return Err(format!("{text} is no number that can be computed with"));
    }
    if let Some(number) = number(text)? {
        return Ok(Value::number(number));
    }
    Ok(Value::string(time(text).unwrap_or_else(|| text.to_owned())))
}

/// Decimal numbers; hexadecimal and octal ones without a sign. `_` and `0b` make none.
fn number(text: &str) -> Read<Option<Number>> {
    let radix = |prefix: &str| {
        let digits = text.strip_prefix(prefix)?;
        (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .then_some(digits)
    };
    let based = match (radix("0x"), radix("0o")) {
        (Some(digits), _) => u64::from_str_radix(digits, 16),
        (None, Some(digits)) if digits.bytes().all(|digit| digit < b'8') => {
            u64::from_str_radix(digits, 8)
        }
        _ => {
            let starts =
                text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
            return Ok(Number::parse(text).filter(|_| starts));
        }
    };
    based.map(|number| Some(Number::from(number))).map_err(|_| format!("{text} is too large"))
}

/// A date or time, as RFC 3339.
fn time(text: &str) -> Option<String> {
    let date = text.get(..10)?;
    let fits = date.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    if !fits {
        return None;
    }
    date.parse::<jiff::civil::Date>().ok()?;
    let rest = text.get(10..)?;
    if rest.is_empty() {
        return Some(format!("{date}T00:00:00Z"));
    }
    let clock = rest.strip_prefix(['T', 't']).or_else(|| rest.strip_prefix(' '))?.trim_start();
    let zone_at = clock.find(['Z', '+', '-']).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at_checked(zone_at)?;
    let parsed: jiff::civil::Time = clock.trim().parse().ok()?;
    let zone = if zone.is_empty() { "Z" } else { zone };
    if !matches!(zone.len(), 1 | 6) {
        return None;
    }
    // Parts of a second are lost.
    Some(format!("{date}T{}{zone}", parsed.strftime("%H:%M:%S")))
}
