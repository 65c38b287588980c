//! Reading a schematic, as strictly as a factory does.

use std::fmt;

use super::node::{Kind, Node, first_document};
use super::options;
use super::style::{Plain, resolve};
use super::{Bootloader, MetaValue, Overlay, Schematic};

/// Largest text that is read, in bytes.
const LARGEST: usize = 4 << 20;

/// Why a text is no schematic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchematicError {
    line: usize,
    message: String,
}

impl SchematicError {
    pub(super) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }

    /// The line, from 1; 0 when the text as a whole is meant.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for SchematicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

impl std::error::Error for SchematicError {}

type Result<T> = std::result::Result<T, SchematicError>;

pub(super) fn schematic(bytes: &[u8]) -> Result<Schematic> {
    if bytes.len() > LARGEST {
        return Err(SchematicError::new(0, "the text is too large"));
    }
    let text = text_of(bytes)?;
    let text: String = text.chars().map(shelter).collect();
    let Some(document) = first_document(&text)? else {
        return Err(SchematicError::new(0, "the text is empty"));
    };
    let mut schematic = Schematic::default();
    for (name, value) in fields(&document)? {
        match name.as_str() {
            "owner" => schematic.owner = string(value)?,
            "overlay" => schematic.overlay = overlay(value)?,
            "customization" => customization(value, &mut schematic)?,
            _ => return Err(unknown(value, &name)),
        }
    }
    Ok(schematic)
}

/// Marks a value whose bytes are no text.
pub(super) const NOT_TEXT: char = '\u{f8fc}';

/// Letters that the factory takes and the parser does not, each with one that stands for it.
const SHELTERED: [(char, char); 2] = [('\u{7f}', '\u{f8fe}'), ('\u{feff}', '\u{f8fd}')];

fn shelter(letter: char) -> char {
    SHELTERED.iter().find(|(real, _)| *real == letter).map_or(letter, |(_, stand_in)| *stand_in)
}

/// The text with the letters that were sheltered.
pub(super) fn restore(text: &str) -> String {
    text.chars()
        .map(|letter| {
            SHELTERED
                .iter()
                .find(|(_, stand_in)| *stand_in == letter)
                .map_or(letter, |(real, _)| *real)
        })
        .collect()
}

/// UTF-8, or UTF-16 with a byte order mark.
fn text_of(bytes: &[u8]) -> Result<String> {
    let wide = |rest: &[u8], read: fn([u8; 2]) -> u16| {
        let (pairs, odd) = rest.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| read(*pair)).collect();
        String::from_utf16(&units).ok().filter(|_| odd.is_empty())
    };
    let text = if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        wide(rest, u16::from_le_bytes)
    } else if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        wide(rest, u16::from_be_bytes)
    } else {
        let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        std::str::from_utf8(rest).ok().map(str::to_owned)
    };
    text.ok_or_else(|| SchematicError::new(0, "the text is neither UTF-8 nor UTF-16"))
}

fn unknown(value: &Node, name: &str) -> SchematicError {
    SchematicError::new(value.line, format!("there is no field {name:?} here"))
}

/// The fields of a map; nothing stands for an empty one.
fn fields(node: &Node) -> Result<Vec<(String, &Node)>> {
    if node.is_null() {
        return Ok(Vec::new());
    }
    let Kind::Map(entries) = &node.kind else {
        return Err(SchematicError::new(node.line, "a map is expected here"));
    };
    let mut fields = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        match &key.kind {
            // A null key passes unseen.
            _ if key.is_null() => {}
            Kind::Scalar { text, .. } => fields.push((text.clone(), value)),
            _ => return Err(SchematicError::new(key.line, "a key is a list or a map")),
        }
    }
    Ok(fields)
}

pub(super) fn binary(node: &Node, text: &str) -> Result<String> {
    use base64::Engine as _;
    let packed: String = text.split_whitespace().collect();
    let engine = base64::engine::general_purpose::STANDARD;
    let Ok(bytes) = engine.decode(packed) else {
        return Err(SchematicError::new(node.line, "a binary value is no base64"));
    };
    // Bytes that are no text are carried as base64 and written with their tag again.
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| format!("{NOT_TEXT}{}", engine.encode(error.as_bytes()))))
}

/// A scalar by the text it has.
fn string(node: &Node) -> Result<String> {
    if node.is_null() {
        return Ok(String::new());
    }
    let Kind::Scalar { text, tag, .. } = &node.kind else {
        return Err(SchematicError::new(node.line, "text is expected here"));
    };
    let fits = match tag.as_deref() {
        Some("binary") => return binary(node, text),
        Some("int") => matches!(resolve(text), Plain::Int(_)),
        Some("float") => matches!(resolve(text), Plain::Int(_) | Plain::Float(_)),
        Some("bool") => matches!(resolve(text), Plain::Bool(_)),
        Some("timestamp") => matches!(resolve(text), Plain::Time(_)),
        _ => true,
    };
    if fits {
        return Ok(text.clone());
    }
    Err(SchematicError::new(node.line, "the value does not fit its tag"))
}

fn strings(node: &Node) -> Result<Vec<String>> {
    if node.is_null() {
        return Ok(Vec::new());
    }
    let Kind::List(items) = &node.kind else {
        return Err(SchematicError::new(node.line, "a list of texts is expected here"));
    };
    items.iter().filter(|item| !item.is_null()).map(string).collect()
}

fn flag(node: &Node) -> Result<bool> {
    if node.is_null() {
        return Ok(false);
    }
    if let Kind::Scalar { text, plain, tag } = &node.kind {
        let tagged = tag.as_deref() == Some("bool");
        if (*plain || tagged)
            && let Plain::Bool(flag) = resolve(text)
        {
            return Ok(flag);
        }
        match text.as_str() {
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Ok(true),
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Ok(false),
            _ => {}
        }
    }
    Err(SchematicError::new(node.line, "true or false is expected here"))
}

fn number(node: &Node, largest: u64) -> Result<u64> {
    if node.is_null() {
        return Ok(0);
    }
    let wrong = || {
        SchematicError::new(node.line, format!("a number of at most {largest} is expected here"))
    };
    let Kind::Scalar { text, plain, tag } = &node.kind else { return Err(wrong()) };
    if !plain && tag.is_none() {
        return Err(wrong());
    }
    let number = match resolve(text) {
        Plain::Int(number) => u64::try_from(number).ok(),
        Plain::Float(number) if number.fract() == 0.0 && number >= 0.0 => {
            format!("{number}").parse().ok()
        }
        _ => None,
    };
    number.filter(|number| *number <= largest).ok_or_else(wrong)
}

fn overlay(node: &Node) -> Result<Overlay> {
    let mut overlay = Overlay::default();
    for (name, value) in fields(node)? {
        match name.as_str() {
            "image" => overlay.image = string(value)?,
            "name" => overlay.name = string(value)?,
            "options" => {
                for (name, value) in fields(value)? {
                    overlay.options.push((name, options::value(value)?));
                }
            }
            _ => return Err(unknown(value, &name)),
        }
    }
    Ok(overlay)
}

fn customization(node: &Node, schematic: &mut Schematic) -> Result<()> {
    for (name, value) in fields(node)? {
        match name.as_str() {
            "embeddedMachineConfiguration" => {
                schematic.embedded_machine_configuration = string(value)?;
            }
            "extraKernelArgs" => schematic.extra_kernel_args = strings(value)?,
            "meta" => schematic.meta = meta(value)?,
            "systemExtensions" => {
                for (name, value) in fields(value)? {
                    match name.as_str() {
                        "officialExtensions" => schematic.official_extensions = strings(value)?,
                        _ => return Err(unknown(value, &name)),
                    }
                }
            }
            "bootloader" => schematic.bootloader = bootloader(value)?,
            "secureboot" => {
                for (name, value) in fields(value)? {
                    match name.as_str() {
                        "enrollKeys" => schematic.enroll_keys = string(value)?,
                        "includeWellKnownCertificates" => {
                            schematic.include_well_known_certificates = flag(value)?;
                        }
                        _ => return Err(unknown(value, &name)),
                    }
                }
            }
            "diskImage" => {
                for (name, value) in fields(value)? {
                    match name.as_str() {
                        "sectorSize" => schematic.sector_size = number(value, u64::MAX)?,
                        _ => return Err(unknown(value, &name)),
                    }
                }
            }
            _ => return Err(unknown(value, &name)),
        }
    }
    Ok(())
}

fn meta(node: &Node) -> Result<Vec<MetaValue>> {
    if node.is_null() {
        return Ok(Vec::new());
    }
    let Kind::List(items) = &node.kind else {
        return Err(SchematicError::new(node.line, "a list is expected here"));
    };
    let mut values = Vec::new();
    // Nothing is no item, as in every list.
    for item in items.iter().filter(|item| !item.is_null()) {
        let mut value = MetaValue { key: 0, value: String::new() };
        for (name, field) in fields(item)? {
            match name.as_str() {
                "key" => value.key = u8::try_from(number(field, 255)?).unwrap_or(u8::MAX),
                "value" => value.value = string(field)?,
                _ => return Err(unknown(field, &name)),
            }
        }
        values.push(value);
    }
    Ok(values)
}

fn bootloader(node: &Node) -> Result<Option<Bootloader>> {
    if node.is_null() {
        return Ok(None);
    }
    let Kind::Scalar { text, .. } = &node.kind else {
        return Err(SchematicError::new(node.line, "text is expected here"));
    };
    match text.to_lowercase().as_str() {
        "none" => Ok(None),
        "dual-boot" => Ok(Some(Bootloader::DualBoot)),
        "sd-boot" => Ok(Some(Bootloader::SdBoot)),
        "grub" => Ok(Some(Bootloader::Grub)),
        other => Err(SchematicError::new(
            node.line,
            format!("boot loader {other:?} is none of none, dual-boot, sd-boot, grub"),
        )),
    }
}
