//! Hashes.

use base64::Engine as _;
use sha2::Digest;

use super::Arguments;
use crate::spec::hcl::eval::Result;
use crate::spec::hcl::value::Value;

/// A hash in hex.
pub(in crate::spec::hcl) fn hex<D: Digest>(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    D::digest(bytes).iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A hash in base64.
pub(in crate::spec::hcl) fn base64<D: Digest>(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(D::digest(bytes))
}

pub(super) fn md5(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::string(hex::<md5::Md5>(given.string(0)?.as_bytes())))
}

pub(super) fn sha1(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::string(hex::<sha1::Sha1>(given.string(0)?.as_bytes())))
}

pub(super) fn sha256(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::string(hex::<sha2::Sha256>(given.string(0)?.as_bytes())))
}

pub(super) fn sha512(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::string(hex::<sha2::Sha512>(given.string(0)?.as_bytes())))
}

pub(super) fn base64sha256(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::string(base64::<sha2::Sha256>(given.string(0)?.as_bytes())))
}

pub(super) fn base64sha512(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::string(base64::<sha2::Sha512>(given.string(0)?.as_bytes())))
}

pub(super) fn uuidv5(given: &Arguments<'_>) -> Result<Value> {
    use uuid::Uuid;
    let (space, name) = (given.string(0)?, given.string(1)?);
    let space = match &*space {
        "dns" => Uuid::NAMESPACE_DNS,
        "url" => Uuid::NAMESPACE_URL,
        "oid" => Uuid::NAMESPACE_OID,
        "x500" => Uuid::NAMESPACE_X500,
        other => match Uuid::parse_str(other) {
            Ok(space) => space,
            Err(_) => return given.fail("the namespace is neither a name nor a UUID"),
        },
    };
    Ok(Value::string(Uuid::new_v5(&space, name.as_bytes()).to_string()))
}
