//! Scalars of go-yaml: what plain text means, and how text is written.

/// What a plain scalar is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plain {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    /// A moment, in RFC 3339.
    Time(String),
    Merge,
    Text,
}

/// What a plain scalar of this text is.
pub(super) fn resolve(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        "<<" => return Plain::Merge,
        ".nan" | ".NaN" | ".NAN" => return Plain::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Plain::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Plain::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let Some(first) = text.chars().next() else { return Plain::Null };
    if first == '.' {
        return match go_float(text) {
            Some(number) => Plain::Float(number),
            None => Plain::Text,
        };
    }
    if !(first.is_ascii_digit() || matches!(first, '+' | '-')) {
        return Plain::Text;
    }
    if let Some(time) = time(text) {
        return Plain::Time(time);
    }
    let digits = text.replace('_', "");
    if let Some(number) = integer(&digits) {
        return Plain::Int(number);
    }
    match decimal(&digits) {
        Some(number) => Plain::Float(number),
        None => Plain::Text,
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn decimal(text: &str) -> Option<f64> {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (body.get(..at)?, body.get(at + 1..)),
        None => (body, None),
    };
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let shaped = numeric(whole) && numeric(fraction) && (!whole.is_empty() || !fraction.is_empty());
    if !shaped {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn go_float(text: &str) -> Option<f64> {
    decimal(&text.replace('_', ""))
}

/// Whole numbers as Go reads them with base 0, within 64 bits.
pub(super) fn integer(text: &str) -> Option<i128> {
    let (negative, body) = match text.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = body.to_ascii_lowercase();
    let (radix, digits) = if let Some(digits) = lower.strip_prefix("0x") {
        (16, digits)
    } else if let Some(digits) = lower.strip_prefix("0o") {
        (8, digits)
    } else if let Some(digits) = lower.strip_prefix("0b") {
        (2, digits)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.get(1..)?)
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    let number = if negative { -number } else { number };
    let signed_plus = text.starts_with('+');
    let largest = if signed_plus { i128::from(i64::MAX) } else { i128::from(u64::MAX) };
    (number >= i128::from(i64::MIN) && number <= largest).then_some(number)
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

/// A timestamp as RFC 3339, if the text is one.
fn time(text: &str) -> Option<String> {
    let four = text.get(..4)?;
    if !four.bytes().all(|byte| byte.is_ascii_digit()) || text.get(4..5)? != "-" {
        return None;
    }
    let year: u32 = four.parse().ok()?;
    let rest = text.get(5..)?;
    let (month, rest) = rest.split_once('-')?;
    let day_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (day, rest) = rest.split_at_checked(day_end)?;
    let small = |part: &str, least: u32, most: u32| -> Option<u32> {
        let fits = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|number| fits && (least..=most).contains(number))
    };
    let month = small(month, 1, 12)?;
    let day = small(day, 1, days(year, month))?;
    let date = format!("{year:04}-{month:02}-{day:02}");
    if rest.is_empty() {
        return Some(format!("{date}T00:00:00Z"));
    }
    let with_zone = rest.starts_with(['T', 't']);
    let clock = rest.strip_prefix(['T', 't', ' '])?;
    let zone_at = clock.find(['Z', '+', '-']).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at_checked(zone_at)?;
    if with_zone == zone.is_empty() {
        return None;
    }
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut parts = clock.split(':');
    let hour = small(parts.next()?, 0, 23)?;
    let minute = small(parts.next()?, 0, 59)?;
    let second = small(parts.next()?, 0, 59)?;
    if parts.next().is_some() {
        return None;
    }
    let zone = match zone {
        "" | "Z" | "+00:00" | "-00:00" => "Z".to_owned(),
        zone => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let whole = hours.len() == 2 && minutes.len() == 2;
            small(hours, 0, 23).filter(|_| whole)?;
            small(minutes, 0, 59)?;
            zone.to_owned()
        }
    };
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}{dot}{fraction}{zone}"))
}

/// Words that were booleans in YAML 1.1, and numbers of base 60.
fn is_old(text: &str) -> bool {
    let words = [
        "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off",
        "OFF", "<<",
    ];
    words.contains(&text) || is_base_60(text)
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`
fn is_base_60(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = body.split(':');
    let first = parts.next().unwrap_or_default();
    let first_fits = first.starts_with(|c: char| c.is_ascii_digit())
        && first.chars().all(|c| c.is_ascii_digit() || c == '_');
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else { return false };
    let sixty = |part: &str| {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        digits
            && (part.len() == 1
                || (part.len() == 2 && part.starts_with(['0', '1', '2', '3', '4', '5'])))
    };
    let (whole, fraction) = last.split_once('.').unwrap_or((last, ""));
    first_fits
        && middle.iter().all(|part| sixty(part))
        && sixty(whole)
        && fraction.chars().all(|c| c.is_ascii_digit() || c == '_')
}

fn is_printable(letter: char) -> bool {
    matches!(letter,
        '\n' | '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && letter != '\u{feff}'
}

fn is_break(letter: char) -> bool {
    matches!(letter, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// The style that the factory's library gives a text.
pub(super) fn style(text: &str) -> Style {
    if text.contains('\n') {
        if text.len() < 2 || text.chars().all(char::is_whitespace) {
            return Style::Double;
        }
        return if may_be_literal(text) { Style::Literal } else { Style::Double };
    }
    if is_old(text) || !matches!(resolve(text), Plain::Text) {
        return Style::Double;
    }
    if must_be_double(text) {
        return Style::Double;
    }
    if must_be_quoted(text) { Style::Single } else { Style::Plain }
}

fn may_be_literal(text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    let space_before_break = letters.windows(2).any(|pair| match pair {
        [' ', next] => is_break(*next),
        _ => false,
    });
    let printable = letters.iter().all(|letter| *letter == '\t' || is_printable(*letter));
    printable
        && !space_before_break
        && letters.last() != Some(&' ')
        && !text.starts_with('\u{feff}')
}

fn must_be_double(text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    let break_and_space = letters.windows(2).any(|pair| match pair {
        [' ', next] => is_break(*next),
        [first, ' '] => is_break(*first),
        _ => false,
    });
    break_and_space || letters.iter().any(|letter| !is_printable(*letter))
}

fn must_be_quoted(text: &str) -> bool {
    if text.starts_with("---") || text.starts_with("...") {
        return true;
    }
    let letters: Vec<char> = text.chars().collect();
    let blank = |letter: Option<&char>| {
        letter.is_none_or(|letter| matches!(letter, ' ' | '\t') || is_break(*letter))
    };
    let first = letters.first().copied().unwrap_or(' ');
    if "#,[]{}&*!|>'\"%@`".contains(first) {
        return true;
    }
    if matches!(first, '?' | ':' | '-') && blank(letters.get(1)) {
        return true;
    }
    if first == ' '
        || letters.last() == Some(&' ')
        || letters.iter().any(|letter| is_break(*letter))
    {
        return true;
    }
    letters.iter().enumerate().any(|(at, letter)| match letter {
        ':' => blank(letters.get(at + 1)),
        '#' => at > 0 && blank(letters.get(at - 1)),
        _ => false,
    })
}

/// A text in single quotes.
pub(super) fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A text in double quotes; what cannot be printed is escaped.
pub(super) fn double(text: &str) -> String {
    use std::fmt::Write as _;
    let escape_all = text.starts_with('\u{feff}');
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' => out.push_str("\\e"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{85}' => out.push_str("\\N"),
            '\u{a0}' if escape_all => out.push_str("\\_"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            letter if is_printable(letter) && !escape_all => out.push(letter),
            letter => {
                let code = u32::from(letter);
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02X}"),
                    0x100..=0xffff => write!(out, "\\u{code:04X}"),
                    _ => write!(out, "\\U{code:08X}"),
                };
            }
        }
    }
    out.push('"');
    out
}
