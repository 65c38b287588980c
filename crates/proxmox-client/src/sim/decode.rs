//! Bodies and queries as fields.

use std::collections::BTreeMap;

use serde_json::Value;

use super::auth::percent_encoding_lite::decode;
use super::fail::Fail;
use super::schema::Input;

pub(crate) fn decode_body(
    kind: &str,
    bytes: &[u8],
    length: u64,
) -> Result<BTreeMap<String, Input>, Fail> {
    let bare = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match bare.as_str() {
        "" | "application/x-www-form-urlencoded" => {
            Ok(decode_form(&String::from_utf8_lossy(bytes)))
        }
        "application/json" => decode_json(bytes),
        _ if length == 0 && bytes.is_empty() => Ok(BTreeMap::new()),
        _ => Err(Fail::text(506, format!("upload 'Content-Type '{kind}' not implemented"))),
    }
}

pub(crate) fn decode_form(text: &str) -> BTreeMap<String, Input> {
    let mut fields: BTreeMap<String, Input> = BTreeMap::new();
    for pair in text.split(['&', ';']).filter(|pair| !pair.is_empty()) {
        let mut parts = pair.split('=');
        let key = decode(parts.next().unwrap_or_default(), true);
        let value = decode(parts.next().unwrap_or_default(), true);
        add(&mut fields, key, value);
    }
    fields
}

fn add(fields: &mut BTreeMap<String, Input>, key: String, value: String) {
    match fields.get_mut(&key) {
        None => {
            fields.insert(key, Input::Text(value));
        }
        Some(Input::List(rows)) => rows.push(value),
        Some(old) => {
            let first = old.as_text().unwrap_or_default().to_owned();
            *old = Input::List(vec![first, value]);
        }
    }
}

pub(crate) fn decode_json(bytes: &[u8]) -> Result<BTreeMap<String, Input>, Fail> {
    if bytes.is_empty() {
        return Err(Fail::text(
            500,
            "malformed JSON string, neither tag, array, object, number, string or atom, at character offset 0 (before \"(end of string)\")",
        ));
    }
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| Fail::text(500, format!("malformed JSON string: {error}")))?;
    let Value::Object(map) = value else {
        return Err(Fail::text(
            500,
            "Not a HASH reference at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 1.",
        ));
    };
    Ok(map.into_iter().map(|(key, value)| (key, json_input(value))).collect())
}

fn json_input(value: Value) -> Input {
    let scalar = |value: &Value| match value {
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match value {
        Value::Null => Input::Null,
        Value::Array(rows) => Input::List(rows.iter().map(scalar).collect()),
        Value::Object(_) => Input::Hash,
        one => Input::Text(scalar(&one)),
    }
}
