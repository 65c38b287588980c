//! JSON files.

use super::error::{Result, SopsClass, fail};
use super::tree::Value;

/// Reads a JSON object.
pub(super) fn read(bytes: &[u8]) -> Result<Value> {
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        Ok(json @ serde_json::Value::Object(_)) => Ok(Value::of_json(&json)),
        Ok(_) => fail(SopsClass::BadFormat, "the file is JSON, but no object"),
        Err(error) => fail(
            SopsClass::BadFormat,
            format!("the file is not JSON: line {}, column {}", error.line(), error.column()),
        ),
    }
}

/// Writes a tree as JSON with tabs and a final newline.
pub(super) fn write(value: &Value) -> Result<Vec<u8>> {
    use serde::Serialize as _;
    let cannot = || fail(SopsClass::CannotEmit, "JSON cannot say a value that is not a number");
    let Some(json) = value.to_json() else { return cannot() };
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    if json.serialize(&mut serializer).is_err() {
        return cannot();
    }
    out.push(b'\n');
    Ok(out)
}
