//! Answers to `schematic-id`.

use base64::Engine as _;
use imagefactory::Schematic;
use serde_json::{Value, json};

/// Our answer to a case.
pub(super) fn answer(case: &Value) -> anyhow::Result<Value> {
    let bytes = match case["yaml_base64"].as_str() {
        Some(text) => base64::engine::general_purpose::STANDARD.decode(text)?,
        None => case["yaml"].as_str().unwrap_or_default().as_bytes().to_vec(),
    };
    Ok(match Schematic::parse(&bytes) {
        Ok(schematic) => json!({
            "schematic_id": schematic.id().as_str(),
            "canonical": schematic.canonical(),
        }),
        Err(error) => json!({ "error": { "text": error.to_string() } }),
    })
}
