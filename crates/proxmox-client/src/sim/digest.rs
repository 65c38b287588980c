//! Hashes in hex.

use sha1::Sha1;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// SHA-1 of a text.
pub(crate) fn sha1(text: &[u8]) -> String {
    hex(&Sha1::digest(text))
}

/// SHA-256 of bytes.
pub(crate) fn sha256(text: &[u8]) -> String {
    hex(&Sha256::digest(text))
}

/// A running hash of the kind that an API parameter names.
#[derive(Clone)]
pub(crate) enum Hasher {
    Md5(md5::Md5),
    Sha1(Sha1),
    Sha224(Sha224),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Hasher")
    }
}

impl Hasher {
    pub(crate) fn new(name: &str) -> Option<Self> {
        Some(match name {
            "md5" => Self::Md5(md5::Md5::default()),
            "sha1" => Self::Sha1(Sha1::default()),
            "sha224" => Self::Sha224(Sha224::default()),
            "sha256" => Self::Sha256(Sha256::default()),
            "sha384" => Self::Sha384(Sha384::default()),
            "sha512" => Self::Sha512(Sha512::default()),
            _ => return None,
        })
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hash) => md5::Digest::update(hash, bytes),
            Self::Sha1(hash) => sha1::Digest::update(hash, bytes),
            Self::Sha224(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha384(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> String {
        match self {
            Self::Md5(hash) => hex(&md5::Digest::finalize(hash)),
            Self::Sha1(hash) => hex(&sha1::Digest::finalize(hash)),
            Self::Sha224(hash) => hex(&hash.finalize()),
            Self::Sha256(hash) => hex(&hash.finalize()),
            Self::Sha384(hash) => hex(&hash.finalize()),
            Self::Sha512(hash) => hex(&hash.finalize()),
        }
    }
}
