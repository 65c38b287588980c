//! Encodings.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use super::Arguments;
use crate::spec::hcl::eval::Result;
use crate::spec::hcl::value::{Kind, Type, Value};

/// Go reads base64 whose last letter has bits that stand for nothing.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

pub(super) fn base64encode(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::string(STANDARD.encode(given.string(0)?.as_bytes())))
}

/// The bytes of base64, in which line breaks do not count.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    LENIENT.decode(text).ok()
}

pub(super) fn base64decode(given: &Arguments<'_>) -> Result<Value> {
    match decode_base64(&given.string(0)?).map(String::from_utf8) {
        Some(Ok(text)) => Ok(Value::string(text)),
        Some(Err(_)) => given.fail("the decoded bytes are no text (UTF-8)"),
        None => given.fail("the text is no base64"),
    }
}

pub(super) fn base64gzip(given: &Arguments<'_>) -> Result<Value> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let written = encoder.write_all(given.string(0)?.as_bytes()).and_then(|()| encoder.finish());
    match written {
        Ok(bytes) => Ok(Value::string(STANDARD.encode(bytes))),
        Err(error) => given.fail(error),
    }
}

pub(super) fn jsonencode(given: &Arguments<'_>) -> Result<Value> {
    let value = given.values.first().unwrap_or(&Value::NULL);
    match value.to_json_escaped() {
        Some(text) => Ok(Value::string(text)),
        None => given.fail("a value is not known"),
    }
}

pub(super) fn jsondecode(given: &Arguments<'_>) -> Result<Value> {
    match super::super::json::parse(&given.string(0)?) {
        Some(value) => Ok(value),
        None => given.fail("the text is no JSON"),
    }
}

pub(super) fn urlencode(given: &Arguments<'_>) -> Result<Value> {
    let text = given.string(0)?;
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            other => {
                use std::fmt::Write as _;
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    Ok(Value::string(out))
}

/// A row of comma-separated text; fields in quotes may hold commas, quotes and line breaks.
fn rows(text: &str) -> Option<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    let mut row: Vec<String> = Vec::new();
    let mut field = String::new();
    let mut letters = text.chars().peekable();
    let mut quoted = false;
    let mut begins = true;
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' if quoted => {
                quoted = false;
                if !matches!(letters.peek(), None | Some(',' | '\n' | '\r')) {
                    return None;
                }
            }
            '"' if begins => quoted = true,
            '"' => return None,
            ',' if !quoted => {
                row.push(std::mem::take(&mut field));
                begins = true;
                continue;
            }
            '\r' if !quoted && letters.peek() == Some(&'\n') => continue,
            '\n' if !quoted => {
                if !(row.is_empty() && field.is_empty() && begins) {
                    row.push(std::mem::take(&mut field));
                    rows.push(std::mem::take(&mut row));
                }
                begins = true;
                continue;
            }
            other => field.push(other),
        }
        begins = false;
    }
    if quoted {
        return None;
    }
    if !(row.is_empty() && field.is_empty()) {
        row.push(field);
        rows.push(row);
    }
    Some(rows)
}

pub(super) fn csvdecode(given: &Arguments<'_>) -> Result<Value> {
    let Some(rows) = rows(&given.string(0)?) else { return given.fail("the text is no CSV") };
    let Some((header, rows)) = rows.split_first() else {
        return given.fail("the header line is missing");
    };
    let mut items = Vec::new();
    for row in rows {
        if row.len() != header.len() {
            return given.fail(format!(
                "a line has {} fields, the header {}",
                row.len(),
                header.len()
            ));
        }
        let fields: BTreeMap<String, Value> =
            header.iter().cloned().zip(row.iter().map(Value::string)).collect();
        if fields.len() < header.len() {
            return given.fail("a column's name stands twice in the header");
        }
        items.push(Value::object(fields));
    }
    let columns = header.iter().map(|name| (name.clone(), Type::String)).collect();
    Ok(Kind::List(Type::Object(columns), Arc::new(items)).into())
}
