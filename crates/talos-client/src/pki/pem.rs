//! PEM: one block with its label.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{PkiError, Result};

/// Length of a line, in characters.
const LINE: usize = 64;

/// The first block of a PEM text.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    label: String,
    der: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pem").field("label", &self.label).finish_non_exhaustive()
    }
}

impl Pem {
    /// A block.
    pub fn new(label: &str, der: Vec<u8>) -> Self {
        Self { label: label.to_owned(), der: Zeroizing::new(der) }
    }

    /// Reads the first block of a text.
    ///
    /// # Errors
    /// There is none, or its base64 is broken.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || PkiError::new("the text has no PEM block");
        let (_, rest) = text.split_once("-----BEGIN ").ok_or_else(bad)?;
        let (label, rest) = rest.split_once("-----").ok_or_else(bad)?;
        let (body, _) = rest.split_once(&format!("-----END {label}-----")).ok_or_else(bad)?;
        let packed: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
        let der = STANDARD.decode(packed.as_bytes()).map_err(|_| bad())?;
        if der.is_empty() {
            return Err(bad());
        }
        Ok(Self::new(label, der))
    }

    /// Its label, such as `CERTIFICATE`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its content.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// As text, with a final line break.
    pub fn text(&self) -> Zeroizing<String> {
        let packed = Zeroizing::new(STANDARD.encode(&*self.der));
        let mut out = Zeroizing::new(format!("-----BEGIN {}-----\n", self.label));
        let mut rest = packed.as_str();
        while !rest.is_empty() {
            let (line, left) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
            out.push_str(line);
            out.push('\n');
            rest = left;
        }
        for part in ["-----END ", &self.label, "-----\n"] {
            out.push_str(part);
        }
        out
    }
}
