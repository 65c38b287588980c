//! Answers to `pve-canonical` and `pve-validate`.

use proxmox_client::Upid;
use proxmox_client::sim::{Dialect, Verdict};
use proxmox_client::wire::{Format, PropertyString, Scalar, Size, split_list};
use serde_json::{Map, Value, json};

/// Our answer to a case of `pve-validate`: the simulator's.
pub(super) fn validate(case: &Value) -> anyhow::Result<Value> {
    let text = |field: &str| case[field].as_str().unwrap_or_default();
    let json = text("encoding") == "json";
    let (method, path, body) = (text("method"), text("path"), text("body"));
    Ok(match Verdict::of(Dialect::V9_2, method, path, json, body)? {
        Verdict::Valid => json!({ "status": "valid" }),
        Verdict::Invalid(errors) => json!({ "status": "400", "errors": errors }),
        Verdict::Unreadable => json!({ "status": "400" }),
        Verdict::NoMethod => json!({ "status": "501" }),
    })
}

/// Our answer to a case of `pve-canonical`.
pub(super) fn answer(case: &Value) -> Value {
    let input = case["input"].as_str().unwrap_or_default();
    match case["kind"].as_str().unwrap_or_default() {
        "size" => {
            let size = Size::parse(input);
            // A size in bytes is printed in bytes.
            json!({ "output": size.map(|size| size.to_string()), "bytes": size.map(Size::bytes) })
        }
        "upid" => json!({ "parsed": input.parse::<Upid>().ok().map(|upid| upid_fields(&upid)) }),
        "list" => json!({ "parsed": split_list(input) }),
        kind => property(kind, case["key"].as_str(), input),
    }
}

fn upid_fields(upid: &Upid) -> Value {
    json!({
        "id": upid.id(),
        "node": upid.node(),
        "pid": upid.pid(),
        "pstart": upid.pstart(),
        "starttime": upid.starttime(),
        "type": upid.kind(),
        "user": upid.user(),
    })
}

fn property(kind: &str, key: Option<&str>, input: &str) -> Value {
    let format = match kind {
        "drive-stored" | "drive-request" => key.and_then(Format::of_key),
        "pve-qemu-machine-fmt" => Some(Format::Machine),
        "pve-vm-cpu-conf" => Some(Format::Cpu),
        other => Format::of_key(other.trim_start_matches("pve-qm-")),
    };
    let parsed = format.and_then(|format| PropertyString::parse(format, input).ok());
    let Some(parsed) = parsed else { return json!({ "parsed": null, "output": null }) };
    let mut fields: Map<String, Value> =
        parsed.values().map(|(key, value)| (key.to_owned(), shown(value))).collect();
    if let Some(key) = key.filter(|_| parsed.format().is_drive()) {
        let interface = key.trim_end_matches(|c: char| c.is_ascii_digit());
        fields.insert("interface".into(), json!(interface));
        fields.insert("index".into(), json!(key.trim_start_matches(interface)));
    }
    json!({ "parsed": fields, "output": parsed.to_string() })
}

fn shown(value: &Scalar) -> Value {
    match value {
        Scalar::Bool(flag) => json!(u8::from(*flag)),
        Scalar::Size(size) => json!(size.bytes()),
        Scalar::Text(text) => json!(text),
    }
}
