//! `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`.

use std::sync::LazyLock;

use aes_gcm::aead::consts::{U8, U12, U13, U16, U24, U32, U64};
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::aes::{Aes128, Aes192, Aes256};
use aes_gcm::{AesGcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use zeroize::Zeroizing;

use super::error::{Result, SopsClass, fail};
use super::tree::Value;

/// Length of the nonces that SOPS writes, in bytes.
const NONCE_BYTES: usize = 32;

/// Length of the authentication tag, in bytes.
const TAG_BYTES: usize = 16;

static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    // Without an end anchor: what stands behind the bracket does not count.
    Regex::new(r"^ENC\[AES256_GCM,data:(.+),iv:(.+),tag:(.+),type:(.+)\]").ok()
});

/// A data key.
pub(super) struct DataKey(pub(super) Zeroizing<Vec<u8>>);

/// The text of a value whose seal was opened, with the name of its type.
pub(super) struct Opened {
    pub(super) text: Zeroizing<Vec<u8>>,
    pub(super) kind: String,
}

/// Opens a sealed value; `path` is its additional data.
pub(super) fn open(text: &str, key: &DataKey, path: &str) -> Result<Opened> {
    let captures = PATTERN.as_ref().and_then(|pattern| pattern.captures(text));
    let Some(captures) = captures else {
        return fail(
            SopsClass::ValueNotEncrypted,
            format!("the value at {path:?} is not encrypted"),
        );
    };
    let part = |number: usize, name: &str| -> Result<Vec<u8>> {
        let text = captures.get(number).map_or("", |part| part.as_str());
        STANDARD.decode(text).or_else(|_| {
            fail(
                SopsClass::BadCiphertext,
                format!("the {name} of the value at {path:?} is no base64"),
            )
        })
    };
    let mut sealed = part(1, "data")?;
    let nonce = part(2, "nonce")?;
    let tag = part(3, "tag")?;
    // Data and tag are joined before they are opened: where the border stands does not matter.
    sealed.extend(tag);
    let kind = captures.get(4).map_or("", |part| part.as_str()).to_owned();
    match open_any(&key.0, &nonce, &sealed, path.as_bytes()) {
        Some(text) => Ok(Opened { text: Zeroizing::new(text), kind }),
        None => fail(
            SopsClass::BadCiphertext,
            format!(
                "the value at {path:?} cannot be opened: it was changed, moved or sealed with another key"
            ),
        ),
    }
}

/// Keys of 16, 24 and 32 bytes and nonces of several lengths occur; SOPS writes 32 and 32.
fn open_any(key: &[u8], nonce: &[u8], sealed: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    macro_rules! with_nonce {
        ($cipher:ty, $($length:literal => $size:ty),*) => {
            match nonce.len() {
                $($length => {
                    let cipher = AesGcm::<$cipher, $size>::new_from_slice(key).ok()?;
                    let payload = Payload { msg: sealed, aad: path };
                    cipher.decrypt(Nonce::<$size>::from_slice(nonce), payload).ok()
                })*
                _ => None,
            }
        };
    }
    macro_rules! with_key {
        ($cipher:ty) => {
            with_nonce!($cipher, 8 => U8, 12 => U12, 13 => U13, 16 => U16, 24 => U24, 32 => U32, 64 => U64)
        };
    }
    match key.len() {
        16 => with_key!(Aes128),
        24 => with_key!(Aes192),
        32 => with_key!(Aes256),
        _ => None,
    }
}

/// Seals a text.
pub(super) fn seal(text: &[u8], kind: &str, key: &DataKey, path: &str) -> Result<String> {
    use rand::RngCore as _;
    let mut nonce = [0_u8; NONCE_BYTES];
    rand::rng().fill_bytes(&mut nonce);
    let payload = Payload { msg: text, aad: path.as_bytes() };
    let sealed = AesGcm::<Aes256, U32>::new_from_slice(&key.0)
        .ok()
        .and_then(|cipher| cipher.encrypt(Nonce::<U32>::from_slice(&nonce), payload).ok());
    let Some((data, tag)) = sealed
        .as_ref()
        .and_then(|sealed| sealed.split_at_checked(sealed.len().saturating_sub(TAG_BYTES)))
    else {
        return fail(SopsClass::BadDataKey, "the data key has no usable length");
    };
    Ok(format!(
        "ENC[AES256_GCM,data:{},iv:{},tag:{},type:{kind}]",
        STANDARD.encode(data),
        STANDARD.encode(nonce),
        STANDARD.encode(tag)
    ))
}

/// Makes a value of an opened text.
pub(super) fn typed(opened: &Opened, path: &str) -> Result<Value> {
    let bad = |what: &str| {
        fail(SopsClass::BadPlaintext, format!("the value at {path:?} does not read as {what}"))
    };
    let text = std::str::from_utf8(&opened.text);
    Ok(match (opened.kind.as_str(), text) {
        ("str", Ok(text)) => Value::Str(text.to_owned()),
        ("str", Err(_)) => Value::Bytes(opened.text.to_vec()),
        ("comment", _) => Value::Comment(String::from_utf8_lossy(&opened.text).into_owned()),
        ("int", Ok(text)) => match go_int(text) {
            Some(number) => Value::Int(number),
            None => return bad("a whole number"),
        },
        ("float", Ok(text)) => match go_float(text) {
            Some(number) => Value::Float(number),
            None => return bad("a number"),
        },
        ("bool", Ok("True" | "true" | "TRUE" | "t" | "T" | "1")) => Value::Bool(true),
        ("bool", Ok("False" | "false" | "FALSE" | "f" | "F" | "0")) => Value::Bool(false),
        ("bool", _) => return bad("true or false"),
        ("time", Ok(text)) => match super::metadata::rfc3339_nano(text) {
            Some(text) => Value::Time(text),
            None => return bad("a time"),
        },
        ("bytes", _) => {
            return fail(SopsClass::UnknownType, format!("the value at {path:?} is of type bytes"));
        }
        ("int" | "float" | "time", Err(_)) => return bad("text"),
        (kind, _) => {
            return fail(
                SopsClass::UnknownType,
                format!("the value at {path:?} is of unknown type {kind}"),
            );
        }
    })
}

/// A whole number as Go's `Atoi` reads it: a sign and digits, nothing else.
fn go_int(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// A number as Go's `ParseFloat` reads it; hexadecimal forms too, out of range is refused.
fn go_float(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let (sign, body) = match lower.strip_prefix('-') {
        Some(body) => (-1.0, body),
        None => (1.0, lower.strip_prefix('+').unwrap_or(&lower)),
    };
    match body {
        "inf" | "infinity" => return Some(sign * f64::INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    if let Some(hex) = body.strip_prefix("0x") {
        return hex_float(hex).map(|number| sign * number);
    }
    if !body.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'+' | b'-'))
    {
        return None;
    }
    let number: f64 = body.parse().ok()?;
    number.is_finite().then_some(sign * number)
}

fn hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut number = 0.0_f64;
    for digit in whole.chars().chain(fraction.chars()) {
        number = number * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let shift = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    let exponent: i32 = exponent.parse().ok()?;
    Some(number * 2.0_f64.powi(exponent.checked_sub(shift)?))
}
