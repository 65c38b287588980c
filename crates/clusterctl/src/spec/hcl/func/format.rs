//! `format` and `formatlist`.

use num_bigint::BigInt;
use unicode_segmentation::UnicodeSegmentation as _;

use super::Arguments;
use crate::spec::hcl::convert::convert;
use crate::spec::hcl::error::Failure;
use crate::spec::hcl::eval::Result;
use crate::spec::hcl::number::Number;
use crate::spec::hcl::value::{Kind, Type, Value};

/// Widest padding that is written.
const WIDEST: usize = 1000;

/// A verb with its flags: `%[1]-05.2f`.
#[derive(Default)]
struct Verb {
    sharp: bool,
    plus: bool,
    minus: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
    letter: char,
}

pub(super) fn format(given: &Arguments<'_>) -> Result<Value> {
    let pattern = given.string(0)?;
    let values = given.values.get(1..).unwrap_or_default();
    Ok(Value::string(formatted(&pattern, values)?))
}

pub(super) fn formatlist(given: &Arguments<'_>) -> Result<Value> {
    let pattern = given.string(0)?;
    let values = given.values.get(1..).unwrap_or_default();
    let mut length: Option<usize> = None;
    for value in values {
        let count = match &value.kind {
            Kind::List(_, items) | Kind::Set(_, items) | Kind::Tuple(items) => items.len(),
            _ => continue,
        };
        if length.is_some_and(|length| length != count) {
            return given.fail("the lists must be of one length");
        }
        length = Some(count);
    }
    let mut lines = Vec::new();
    for at in 0..length.unwrap_or(1) {
        let row: Vec<Value> = values
            .iter()
            .map(|value| match value.items() {
                Some(items) => items.get(at).cloned().unwrap_or(Value::NULL),
                None => value.clone(),
            })
            .collect();
        lines.push(formatted(&pattern, &row)?);
    }
    Ok(Value::strings(lines))
}

fn bad<T>(text: impl std::fmt::Display) -> Result<T> {
    Err(Failure::value(format!("format: {text}")))
}

fn formatted(pattern: &str, values: &[Value]) -> Result<String> {
    let mut out = String::new();
    let mut letters = pattern.chars().peekable();
    let mut next = 0_usize;
    let mut highest = 0_usize;
    let mut explicit = false;
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let (verb, index) = verb(&mut letters)?;
        if verb.letter == '%' {
            out.push('%');
            continue;
        }
        let at = match index {
            Some(index) => {
                explicit = true;
                index
            }
            None => next,
        };
        next = at + 1;
        highest = highest.max(next);
        match values.get(at) {
            Some(value) => write_value(&mut out, &verb, value)?,
            None => return bad(format!("there is no argument for verb %{}", verb.letter)),
        }
    }
    if highest < values.len() && !explicit {
        return bad(format!("{} argument(s) given, {highest} used", values.len()));
    }
    if explicit && highest < values.len() {
        return bad("an argument is not used");
    }
    Ok(out)
}

fn verb(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<(Verb, Option<usize>)> {
    let mut verb = Verb::default();
    let mut index = None;
    while let Some(letter) = letters.peek() {
        match letter {
            '#' => verb.sharp = true,
            '+' => verb.plus = true,
            '-' => verb.minus = true,
            ' ' => verb.space = true,
            '0' => verb.zero = true,
            _ => break,
        }
        letters.next();
    }
    let number = |letters: &mut std::iter::Peekable<std::str::Chars<'_>>| -> Option<usize> {
        let mut digits = String::new();
        while let Some(digit) = letters.peek().filter(|letter| letter.is_ascii_digit()) {
            digits.push(*digit);
            letters.next();
        }
        digits.parse().ok()
    };
    verb.width = number(letters);
    if letters.peek() == Some(&'.') {
        letters.next();
        verb.precision = Some(number(letters).unwrap_or(0));
    }
    if letters.peek() == Some(&'[') {
        letters.next();
        let at = number(letters).and_then(|number| number.checked_sub(1));
        if at.is_none() || letters.next() != Some(']') {
            return bad("`[` must be followed by an argument's number and `]`");
        }
        index = at;
    }
    if verb.width.is_some_and(|width| width > WIDEST)
        || verb.precision.is_some_and(|width| width > WIDEST)
    {
        return bad("the width is too large");
    }
    match letters.next() {
        Some(letter) => verb.letter = letter,
        None => return bad("the text ends in the middle of a verb"),
    }
    Ok((verb, index))
}

fn write_value(out: &mut String, verb: &Verb, value: &Value) -> Result<()> {
    let text = match verb.letter {
        'v' => general(verb, value)?,
        's' => text_of(value)?,
        'q' => quoted(&text_of(value)?),
        't' => match convert(value, &Type::Bool) {
            Ok(Value { kind: Kind::Bool(flag), .. }) => flag.to_string(),
            _ => return bad("%t needs true or false"),
        },
        'd' | 'b' | 'o' | 'x' | 'X' => return padded_number(out, verb, &integer(verb, value)?),
        'e' | 'E' | 'f' | 'g' | 'G' => return padded_number(out, verb, &floating(verb, value)?),
        other => return bad(format!("there is no verb %{other}")),
    };
    let text = match (verb.precision, verb.letter) {
        (Some(most), 's' | 'q') if verb.letter == 's' => {
            text.graphemes(true).take(most).collect::<String>()
        }
        _ => text,
    };
    pad(out, verb, &text, if verb.zero && verb.letter == 'v' { '0' } else { ' ' });
    Ok(())
}

fn pad(out: &mut String, verb: &Verb, text: &str, with: char) {
    let count = text.graphemes(true).count();
    let missing = verb.width.unwrap_or(0).saturating_sub(count);
    if verb.minus {
        out.push_str(text);
        out.extend(std::iter::repeat_n(' ', missing));
    } else {
        out.extend(std::iter::repeat_n(with, missing));
        out.push_str(text);
    }
}

/// Zeros stand between the sign and the digits.
fn padded_number(out: &mut String, verb: &Verb, text: &str) -> Result<()> {
    if !verb.zero || verb.minus {
        pad(out, verb, text, ' ');
        return Ok(());
    }
    let digits = text.trim_start_matches(['-', '+', ' ']);
    let sign = text.strip_suffix(digits).unwrap_or_default();
    out.push_str(sign);
    let rest =
        Verb { width: verb.width.map(|width| width.saturating_sub(sign.len())), ..Verb::default() };
    pad(out, &rest, digits, '0');
    Ok(())
}

fn text_of(value: &Value) -> Result<String> {
    match convert(value, &Type::String) {
        Ok(Value { kind: Kind::String(text), .. }) => Ok(text.to_string()),
        _ => bad("%s needs text, or what can be converted to it; %#v writes any value as JSON"),
    }
}

fn general(verb: &Verb, value: &Value) -> Result<String> {
    let json =
        || value.to_json_escaped().ok_or_else(|| Failure::value("format: the value is not known"));
    match &value.kind {
        Kind::Null(_) => Ok("null".to_owned()),
        Kind::String(text) if !verb.sharp => Ok(text.to_string()),
        _ => json(),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    super::super::value::write_escaped(&mut out, text);
    out
}

fn signed(verb: &Verb, negative: bool, digits: String) -> String {
    match (negative, verb.plus, verb.space) {
        (true, ..) => format!("-{digits}"),
        (false, true, _) => format!("+{digits}"),
        (false, false, true) => format!(" {digits}"),
        _ => digits,
    }
}

fn integer(verb: &Verb, value: &Value) -> Result<String> {
    let number = match convert(value, &Type::Number) {
        Ok(Value { kind: Kind::Number(number), .. }) => number,
        _ => return bad(format!("%{} needs a number", verb.letter)),
    };
    let Some(whole) = number.to_integer() else {
        return bad(format!("%{} needs a whole number", verb.letter));
    };
    let negative = whole < BigInt::from(0);
    let size = if negative { -whole } else { whole };
    let digits = match verb.letter {
        'b' => size.to_str_radix(2),
        'o' => size.to_str_radix(8),
        'x' => size.to_str_radix(16),
        'X' => size.to_str_radix(16).to_uppercase(),
        _ => size.to_str_radix(10),
    };
    let digits = format!("{digits:0>width$}", width = verb.precision.unwrap_or(0));
    let prefix = match (verb.sharp, verb.letter) {
        (true, 'x') => "0x",
        (true, 'X') => "0X",
        (true, 'o') => "0",
        (true, 'b') => "0b",
        _ => "",
    };
    Ok(signed(verb, negative, format!("{prefix}{digits}")))
}

fn floating(verb: &Verb, value: &Value) -> Result<String> {
    let number = match convert(value, &Type::Number) {
        Ok(Value { kind: Kind::Number(number), .. }) => number,
        _ => return bad(format!("%{} needs a number", verb.letter)),
    };
    let size = number.abs().to_f64();
    let text = match verb.letter {
        'f' => format!("{size:.*}", verb.precision.unwrap_or(6)),
        'e' | 'E' => exponent(size, verb.precision.unwrap_or(6)),
        _ => shortest(size, verb.precision),
    };
    let text = if verb.letter.is_uppercase() { text.to_uppercase() } else { text };
    Ok(signed(verb, number.is_negative(), text))
}

/// Exponents have a sign and two digits at least.
fn exponent(number: f64, precision: usize) -> String {
    let text = format!("{number:.precision$e}");
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match power.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', power),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// A number with so many digits at most.
pub(in crate::spec::hcl) fn shortest_decimal(number: &Number, digits: usize) -> String {
    let sign = if number.is_negative() { "-" } else { "" };
    format!("{sign}{}", shortest(number.abs().to_f64(), Some(digits)))
}

/// As Go's `%g`: an exponent for the very small and the very large.
fn shortest(number: f64, precision: Option<usize>) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let scientific = match precision {
        Some(digits) => format!("{number:.*e}", digits.max(1) - 1),
        None => format!("{number:e}"),
    };
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let digits = mantissa.trim_end_matches('0').trim_end_matches('.');
    let digits = if mantissa.contains('.') { digits } else { mantissa };
    let limit = match precision {
        Some(digits) => i32::try_from(digits.max(1)).unwrap_or(21),
        None => 21,
    };
    if power < -4 || power >= limit {
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", power.abs());
    }
    let fraction = digits.split_once('.').map_or(0, |(_, part)| part.len());
    let places = usize::try_from(i32::try_from(fraction).unwrap_or(0) - power).unwrap_or(0);
    format!("{number:.places$}")
}
