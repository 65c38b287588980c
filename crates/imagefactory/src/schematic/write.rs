//! The canonical text.

use super::Schematic;
use super::options::{OptionValue, natural};
use super::style::{Style, double, single, style};

/// One level of indentation.
const STEP: usize = 4;

/// What ends a line: a key that has one stands behind `?`.
const BREAKS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// Longest key that stands before its colon, in bytes; a longer one is marked with `?`.
const LONGEST_KEY: usize = 128;

/// The next level: a multiple of the step, also from inside of a list item.
fn deeper(indent: usize) -> usize {
    STEP * ((indent + STEP) / STEP)
}

pub(super) fn canonical(schematic: &Schematic) -> String {
    let mut out = Writer { text: String::new() };
    if !schematic.owner.is_empty() {
        out.field(0, "owner", &schematic.owner);
    }
    let overlay = &schematic.overlay;
    if !(overlay.image.is_empty() && overlay.name.is_empty() && overlay.options.is_empty()) {
        out.key(0, "overlay");
        out.line_end();
        out.field(STEP, "image", &overlay.image);
        out.field(STEP, "name", &overlay.name);
        if !overlay.options.is_empty() {
            let options: Vec<(OptionValue, OptionValue)> = overlay
                .options
                .iter()
                .map(|(name, value)| (OptionValue::Text(name.clone()), value.clone()))
                .collect();
            out.key(STEP, "options");
            out.line_end();
            out.map(2 * STEP, &options);
        }
    }
    out.key(0, "customization");
    let before = out.text.len();
    out.line_end();
    let start = out.text.len();
    customization(&mut out, schematic);
    if out.text.len() == start {
        out.text.truncate(before);
        out.text.push_str(" {}\n");
    }
    out.text
}

fn customization(out: &mut Writer, schematic: &Schematic) {
    if !schematic.embedded_machine_configuration.is_empty() {
        out.field(STEP, "embeddedMachineConfiguration", &schematic.embedded_machine_configuration);
    }
    out.list(STEP, "extraKernelArgs", &schematic.extra_kernel_args);
    if !schematic.meta.is_empty() {
        out.key(STEP, "meta");
        out.line_end();
        for value in &schematic.meta {
            out.pad(2 * STEP);
            out.text.push_str("- key: ");
            out.text.push_str(&value.key.to_string());
            out.line_end();
            out.pad(2 * STEP + 2);
            out.text.push_str("value: ");
            out.string(&value.value, deeper(2 * STEP + 2));
            out.line_end();
        }
    }
    if !schematic.official_extensions.is_empty() {
        out.key(STEP, "systemExtensions");
        out.line_end();
        out.list(2 * STEP, "officialExtensions", &schematic.official_extensions);
    }
    if let Some(bootloader) = schematic.bootloader {
        out.field(STEP, "bootloader", bootloader.name());
    }
    if !schematic.enroll_keys.is_empty() || schematic.include_well_known_certificates {
        out.key(STEP, "secureboot");
        out.line_end();
        if !schematic.enroll_keys.is_empty() {
            out.field(2 * STEP, "enrollKeys", &schematic.enroll_keys);
        }
        if schematic.include_well_known_certificates {
            out.key(2 * STEP, "includeWellKnownCertificates");
            out.text.push_str(" true");
            out.line_end();
        }
    }
    if schematic.sector_size > 0 {
        out.key(STEP, "diskImage");
        out.line_end();
        out.key(2 * STEP, "sectorSize");
        out.text.push(' ');
        out.text.push_str(&schematic.sector_size.to_string());
        out.line_end();
    }
}

struct Writer {
    text: String,
}

impl Writer {
    fn pad(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
    }

    fn line_end(&mut self) {
        if !self.text.ends_with('\n') || self.text.ends_with(": \n") {
            self.text.push('\n');
        }
    }

    fn key(&mut self, indent: usize, name: &str) {
        self.pad(indent);
        self.text.push_str(name);
        self.text.push(':');
    }

    fn field(&mut self, indent: usize, name: &str, value: &str) {
        self.key(indent, name);
        self.text.push(' ');
        self.string(value, deeper(indent));
        self.line_end();
    }

    fn list(&mut self, indent: usize, name: &str, items: &[String]) {
        if items.is_empty() {
            return;
        }
        self.key(indent, name);
        self.line_end();
        for item in items {
            self.pad(indent + STEP);
            self.text.push_str("- ");
            self.string(item, indent + STEP + 2);
            self.line_end();
        }
    }

    /// A text; the lines of a literal one are indented by `indent`. A literal ends its last line
    /// by itself.
    fn string(&mut self, text: &str, indent: usize) {
        if let Some(base64) = text.strip_prefix(super::read::NOT_TEXT) {
            self.text.push_str("!!binary ");
            self.text.push_str(base64);
            return;
        }
        match style(text) {
            Style::Plain => self.text.push_str(text),
            Style::Single => self.text.push_str(&single(text)),
            Style::Double => self.text.push_str(&double(text)),
            Style::Literal => self.literal(text, indent),
        }
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.text.push('|');
        if text.starts_with(' ') {
            // The library prints its step, whatever the offset is.
            self.text.push('4');
        }
        let is_break = |c: char| matches!(c, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let mut ends = text.chars().rev();
        match (ends.next(), ends.next()) {
            (Some(last), _) if !is_break(last) => self.text.push('-'),
            (_, Some(before)) if is_break(before) => self.text.push('+'),
            (_, None) => self.text.push('+'),
            _ => {}
        }
        self.text.push('\n');
        let mut at_start = true;
        for letter in text.chars() {
            if is_break(letter) {
                self.text.push(letter);
                at_start = true;
                continue;
            }
            if std::mem::take(&mut at_start) {
                self.pad(indent);
            }
            self.text.push(letter);
        }
        if !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    fn map(&mut self, indent: usize, entries: &[(OptionValue, OptionValue)]) {
        self.pad(indent);
        self.map_from_here(indent, entries);
    }

    /// The first entry stands where the line is, the others below it.
    fn map_from_here(&mut self, indent: usize, entries: &[(OptionValue, OptionValue)]) {
        let mut sorted: Vec<&(OptionValue, OptionValue)> = entries.iter().collect();
        sorted.sort_by(|(a, _), (b, _)| natural(&plain_key(a), &plain_key(b)));
        for (number, (key, value)) in sorted.into_iter().enumerate() {
            if number > 0 {
                self.pad(indent);
            }
            self.entry(indent, key, value);
        }
    }

    fn entry(&mut self, indent: usize, key: &OptionValue, value: &OptionValue) {
        let inner = deeper(indent);
        let mut marked = false;
        match key {
            OptionValue::Text(text) if text.contains(BREAKS) || text.len() > LONGEST_KEY => {
                self.text.push_str("? ");
                self.string(text, inner);
                self.line_end();
                self.pad(indent);
                marked = true;
            }
            _ => self.leaf(key, inner),
        }
        self.text.push(':');
        match value {
            // Behind a marked key the value begins on the line of its colon.
            OptionValue::Map(entries) if marked && !entries.is_empty() => {
                self.pad(inner - indent - 1);
                self.map_from_here(inner, entries);
            }
            OptionValue::List(items) if marked && !items.is_empty() => {
                self.pad(inner - indent - 1);
                self.items_from_here(inner, items);
            }
            OptionValue::Map(entries) if !entries.is_empty() => {
                self.text.push('\n');
                self.map(inner, entries);
            }
            OptionValue::List(items) if !items.is_empty() => {
                self.text.push('\n');
                self.pad(inner);
                self.items_from_here(inner, items);
            }
            _ => {
                self.text.push(' ');
                self.leaf(value, inner);
                self.line_end();
            }
        }
    }

    fn items_from_here(&mut self, indent: usize, items: &[OptionValue]) {
        for (number, item) in items.iter().enumerate() {
            if number > 0 {
                self.pad(indent);
            }
            self.item(indent, item);
        }
    }

    fn item(&mut self, indent: usize, item: &OptionValue) {
        self.text.push_str("- ");
        match item {
            OptionValue::Map(entries) if !entries.is_empty() => {
                self.map_from_here(indent + 2, entries);
            }
            OptionValue::List(items) if !items.is_empty() => {
                self.items_from_here(indent + 2, items);
            }
            _ => {
                self.leaf(item, indent + 2);
                self.line_end();
            }
        }
    }

    fn leaf(&mut self, value: &OptionValue, indent: usize) {
        let text = match value {
            OptionValue::Null => "null".to_owned(),
            OptionValue::Bool(flag) => flag.to_string(),
            OptionValue::Int(number) => number.to_string(),
            OptionValue::Float(number) => float(*number),
            OptionValue::Time(time) => time.clone(),
            OptionValue::List(_) => "[]".to_owned(),
            OptionValue::Map(_) => "{}".to_owned(),
            OptionValue::Text(text) => return self.string(text, indent),
        };
        self.text.push_str(&text);
    }
}

fn plain_key(key: &OptionValue) -> String {
    match key {
        OptionValue::Text(text) | OptionValue::Time(text) => text.clone(),
        OptionValue::Int(number) => number.to_string(),
        OptionValue::Float(number) => float(*number),
        OptionValue::Bool(flag) => flag.to_string(),
        _ => String::new(),
    }
}

/// A number as Go's shortest form: an exponent below 1e-4 and from 1e6 on.
fn float(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e6).contains(&size) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{number}")
}
