//! Protobuf's binary form to and from its JSON form, by the table.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::table::{Field, Label, table};

const MAX_DEPTH: usize = 32;

/// Why a message could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message")]
pub(crate) struct Malformed;

/// Write a value as a message of the named type. Unknown keys are left out.
pub(crate) fn encode(message: &str, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_message(message, value, &mut out);
    out
}

/// Read a message of the named type.
///
/// # Errors
/// When the bytes are not a message.
pub(crate) fn decode(message: &str, bytes: &[u8]) -> Result<Value, Malformed> {
    read_message(message, bytes, 0)
}

fn write_message(message: &str, value: &Value, out: &mut Vec<u8>) {
    match message {
        "google.protobuf.Timestamp" => return write_timestamp(value, out),
        "google.protobuf.Duration" => return write_duration(value, out),
        "google.protobuf.Any" => return write_any(value, out),
        _ => {}
    }
    let (Some(fields), Some(map)) = (table().message(message), value.as_object()) else { return };
    for field in fields {
        let Some(item) = map.get(&field.json).or_else(|| map.get(&field.name)) else { continue };
        match field.label {
            Label::Repeated => {
                for entry in item.as_array().into_iter().flatten() {
                    write_field(field, entry, true, out);
                }
            }
            Label::Map => {
                for (key, text) in item.as_object().into_iter().flatten() {
                    let mut entry = Vec::new();
                    put_bytes(1, key.as_bytes(), &mut entry);
                    put_bytes(2, text.as_str().unwrap_or_default().as_bytes(), &mut entry);
                    put_bytes(field.number, &entry, out);
                }
            }
            Label::Presence => write_field(field, item, true, out),
            Label::Single => write_field(field, item, false, out),
        }
    }
}

fn write_field(field: &Field, value: &Value, keep_default: bool, out: &mut Vec<u8>) {
    if value.is_null() {
        return;
    }
    let kind = field.kind.as_str();
    match kind {
        "string" => {
            let text = value.as_str().unwrap_or_default();
            if keep_default || !text.is_empty() {
                put_bytes(field.number, text.as_bytes(), out);
            }
        }
        "bytes" => {
            let data = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
            if keep_default || !data.is_empty() {
                put_bytes(field.number, &data, out);
            }
        }
        "double" => {
            let number = value.as_f64().unwrap_or_default();
            if keep_default || number != 0.0 {
                put_varint(field.number << 3 | 1, out);
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        _ if table().values(kind).is_some() || !kind.contains('.') => {
            let number = integer(kind, value);
            if keep_default || number != 0 {
                put_varint(field.number << 3, out);
                put_varint(number, out);
            }
        }
        _ => {
            let mut inner = Vec::new();
            write_message(kind, value, &mut inner);
            put_bytes(field.number, &inner, out);
        }
    }
}

fn integer(kind: &str, value: &Value) -> u64 {
    match value {
        Value::Bool(flag) => u64::from(*flag),
        Value::Number(n) => n.as_u64().or_else(|| n.as_i64().map(i64::cast_unsigned)).unwrap_or(0),
        Value::String(text) => table()
            .values(kind)
            .and_then(|list| list.iter().find(|(name, _)| name == text))
            .map(|(_, number)| number.cast_unsigned())
            .or_else(|| text.parse::<u64>().ok())
            .or_else(|| text.parse::<i64>().ok().map(i64::cast_unsigned))
            .unwrap_or(0),
        _ => 0,
    }
}

fn write_timestamp(value: &Value, out: &mut Vec<u8>) {
    let Some(time) = value.as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok()) else { return };
    put_pair(time.as_second(), time.subsec_nanosecond(), out);
}

fn write_duration(value: &Value, out: &mut Vec<u8>) {
    let text = value.as_str().unwrap_or_default().trim_end_matches('s');
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let nanos = format!("{part:0<9}").parse::<i32>().unwrap_or(0);
    put_pair(whole.parse().unwrap_or(0), nanos, out);
}

pub(super) fn put_pair(seconds: i64, nanos: i32, out: &mut Vec<u8>) {
    if seconds != 0 {
        put_varint(1 << 3, out);
        put_varint(seconds.cast_unsigned(), out);
    }
    if nanos != 0 {
        put_varint(2 << 3, out);
        put_varint(i64::from(nanos).cast_unsigned(), out);
    }
}

fn write_any(value: &Value, out: &mut Vec<u8>) {
    let Some(url) = value.get("@type").and_then(Value::as_str) else { return };
    let name = url.rsplit('/').next().unwrap_or_default();
    put_bytes(1, url.as_bytes(), out);
    let inner = encode(name, value);
    if !inner.is_empty() {
        put_bytes(2, &inner, out);
    }
}

pub(super) fn put_bytes(number: u64, data: &[u8], out: &mut Vec<u8>) {
    put_varint(number << 3 | 2, out);
    put_varint(data.len() as u64, out);
    out.extend_from_slice(data);
}

pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let (first, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            value |= u64::from(first & 0x7f).checked_shl(shift).ok_or(Malformed)?;
            if first & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn block(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        self.take(length)
    }
}

fn read_message(message: &str, bytes: &[u8], depth: usize) -> Result<Value, Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed);
    }
    match message {
        "google.protobuf.Timestamp" => return read_pair(bytes).map(|(s, n)| timestamp(s, n)),
        "google.protobuf.Duration" => return read_pair(bytes).map(|(s, n)| duration(s, n)),
        "google.protobuf.Any" => return read_any(bytes, depth),
        _ => {}
    }
    let fields = table().message(message).unwrap_or_default();
    let mut out = Map::new();
    let mut reader = Reader(bytes);
    while !reader.0.is_empty() {
        let tag = reader.varint()?;
        let (number, wire) = (tag >> 3, tag & 7);
        let field = fields.iter().find(|f| f.number == number);
        match wire {
            0 => {
                let raw = reader.varint()?;
                if let Some(field) = field {
                    store(field, scalar(&field.kind, raw), &mut out);
                }
            }
            1 => {
                let data = reader.take(8)?;
                if let (Some(field), Ok(raw)) = (field, <[u8; 8]>::try_from(data)) {
                    store(field, json!(f64::from_le_bytes(raw)), &mut out);
                }
            }
            2 => {
                let data = reader.block()?;
                if let Some(field) = field {
                    read_block(field, data, depth, &mut out)?;
                }
            }
            5 => drop(reader.take(4)?),
            _ => return Err(Malformed),
        }
    }
    Ok(Value::Object(out))
}

fn read_block(
    field: &Field,
    data: &[u8],
    depth: usize,
    out: &mut Map<String, Value>,
) -> Result<(), Malformed> {
    if field.label == Label::Map {
        let entry = read_pairs(data)?;
        let map = out.entry(field.json.clone()).or_insert_with(|| json!({}));
        if let Some(map) = map.as_object_mut() {
            map.insert(entry.0, Value::String(entry.1));
        }
        return Ok(());
    }
    match field.kind.as_str() {
        "string" => {
            let text = std::str::from_utf8(data).map_err(|_| Malformed)?;
            store(field, json!(text), out);
        }
        "bytes" => store(field, json!(STANDARD.encode(data)), out),
        kind if kind.contains('.') && table().values(kind).is_none() => {
            store(field, read_message(kind, data, depth + 1)?, out);
        }
        kind => {
            let mut packed = Reader(data);
            while !packed.0.is_empty() {
                let raw = packed.varint()?;
                store(field, scalar(kind, raw), out);
            }
        }
    }
    Ok(())
}

fn store(field: &Field, value: Value, out: &mut Map<String, Value>) {
    if field.label == Label::Repeated {
        let list = out.entry(field.json.clone()).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(value);
        }
    } else {
        out.insert(field.json.clone(), value);
    }
}

fn scalar(kind: &str, raw: u64) -> Value {
    match kind {
        "bool" => json!(raw != 0),
        "int32" | "uint32" => json!(raw.cast_signed()),
        "int64" => json!(raw.cast_signed().to_string()),
        "uint64" => json!(raw.to_string()),
        _ => {
            let number = raw.cast_signed();
            let name = table().values(kind).and_then(|l| l.iter().find(|(_, n)| *n == number));
            name.map_or_else(|| json!(number), |(name, _)| json!(name))
        }
    }
}

fn read_pair(bytes: &[u8]) -> Result<(i64, i64), Malformed> {
    let mut reader = Reader(bytes);
    let (mut seconds, mut nanos) = (0, 0);
    while !reader.0.is_empty() {
        match reader.varint()? {
            8 => seconds = reader.varint()?.cast_signed(),
            16 => nanos = reader.varint()?.cast_signed(),
            _ => return Err(Malformed),
        }
    }
    Ok((seconds, nanos))
}

fn timestamp(seconds: i64, nanos: i64) -> Value {
    let time = i32::try_from(nanos).ok().and_then(|n| jiff::Timestamp::new(seconds, n).ok());
    json!(time.unwrap_or_default().to_string())
}

fn duration(seconds: i64, nanos: i64) -> Value {
    if nanos == 0 {
        return json!(format!("{seconds}s"));
    }
    json!(format!("{seconds}.{nanos:09}s"))
}

fn read_any(bytes: &[u8], depth: usize) -> Result<Value, Malformed> {
    let mut reader = Reader(bytes);
    let (mut url, mut data) = (String::new(), &[][..]);
    while !reader.0.is_empty() {
        match reader.varint()? {
            10 => url = String::from_utf8_lossy(reader.block()?).into_owned(),
            18 => data = reader.block()?,
            _ => return Err(Malformed),
        }
    }
    let name = url.rsplit('/').next().unwrap_or_default().to_owned();
    let mut value = read_message(&name, data, depth + 1)?;
    if let (Some(map), false) = (value.as_object_mut(), url.is_empty()) {
        map.insert("@type".to_owned(), Value::String(url));
    }
    Ok(value)
}

fn read_pairs(bytes: &[u8]) -> Result<(String, String), Malformed> {
    let mut reader = Reader(bytes);
    let mut pair = (String::new(), String::new());
    while !reader.0.is_empty() {
        let tag = reader.varint()?;
        let text = String::from_utf8_lossy(reader.block()?).into_owned();
        match tag {
            10 => pair.0 = text,
            18 => pair.1 = text,
            _ => return Err(Malformed),
        }
    }
    Ok(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apply_request_keeps_its_values() {
        let value =
            json!({"data": "eA==", "mode": "AUTO", "dryRun": true, "tryModeTimeout": "60s"});
        let bytes = encode("machine.ApplyConfigurationRequest", &value);
        assert_eq!(decode("machine.ApplyConfigurationRequest", &bytes).unwrap(), value);
    }

    #[test]
    fn default_values_are_absent_unless_presence_counts() {
        assert!(encode("machine.ApplyConfiguration", &json!({"mode": "REBOOT"})).is_empty());
        let exit = json!({"progress": {"exitCode": 0}});
        let bytes = encode("machine.LifecycleServiceUpgradeResponse", &exit);
        assert_eq!(decode("machine.LifecycleServiceUpgradeResponse", &bytes).unwrap(), exit);
    }

    #[test]
    fn events_carry_their_type() {
        let event =
            json!({"data": {"@type": "talos/runtime/machine.TaskEvent", "task": "x"}, "id": "1"});
        let bytes = encode("machine.Event", &event);
        let back = decode("machine.Event", &bytes).unwrap();
        assert_eq!(back["data"]["task"], "x");
        assert_eq!(back["data"]["@type"], "talos/runtime/machine.TaskEvent");
    }

    #[test]
    fn cut_messages_are_refused() {
        assert_eq!(decode("common.Data", &[10, 5, 1]), Err(Malformed));
        assert_eq!(decode("common.Data", &[0xff; 12]), Err(Malformed));
    }
}
