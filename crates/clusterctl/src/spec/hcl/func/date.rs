//! Dates and times in RFC 3339.

use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::Arguments;
use crate::spec::hcl::eval::Result;
use crate::spec::hcl::value::Value;

/// A moment with the offset it was written with.
struct Moment {
    local: DateTime,
    offset: Offset,
}

fn moment(given: &Arguments<'_>, at: usize) -> Result<Moment> {
    let text = given.string(at)?;
    let bad = || given.failure(at, format!("{text:?} is no time (RFC 3339)"));
    let bytes = text.as_bytes();
    let fits = bytes.len() >= 20
        && bytes.get(10) == Some(&b'T')
        && [4, 7].iter().all(|at| bytes.get(*at) == Some(&b'-'))
        && [13, 16].iter().all(|at| bytes.get(*at) == Some(&b':'));
    let (local, zone) = match text.find(['Z', '+']).or_else(|| text.rfind('-')) {
        Some(at) if fits && at >= 19 => text.split_at_checked(at).ok_or_else(bad)?,
        _ => return Err(bad()),
    };
    if local.contains(',') || local.get(17..19) == Some("60") {
        return Err(bad());
    }
    // Parts of a second count up to nanoseconds.
    let local: DateTime = local.get(..29).unwrap_or(local).parse().map_err(|_| bad())?;
    let seconds = match zone.strip_prefix('Z') {
        Some("") => 0,
        Some(_) => return Err(bad()),
        None => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) =
                zone.get(1..).and_then(|rest| rest.split_once(':')).ok_or_else(bad)?;
            if hours.len() != 2 || minutes.len() != 2 {
                return Err(bad());
            }
            let hours: i32 = hours.parse().map_err(|_| bad())?;
            let minutes: i32 = minutes.parse().map_err(|_| bad())?;
            if hours > 23 || minutes > 59 {
                return Err(bad());
            }
            sign * (hours * 3600 + minutes * 60)
        }
    };
    let offset = Offset::from_seconds(seconds).map_err(|_| bad())?;
    Ok(Moment { local, offset })
}

impl Moment {
    /// Since 1970. Reckoned here, since the library's moments end before the year 9999 does.
    fn nanoseconds(&self) -> i128 {
        let local = self.local.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
        local.as_nanos() - i128::from(self.offset.seconds()) * 1_000_000_000
    }

    /// `+02:00`, or `Z`.
    fn zone(&self, zulu: bool, colon: bool) -> String {
        let seconds = self.offset.seconds();
        if seconds == 0 && zulu {
            return "Z".to_owned();
        }
        let sign = if seconds < 0 { '-' } else { '+' };
        let minutes = seconds.abs() / 60;
        let colon = if colon { ":" } else { "" };
        format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
    }

    /// Without parts of a second.
    fn rfc3339(&self) -> String {
        format!("{}{}", self.local.strftime("%Y-%m-%dT%H:%M:%S"), self.zone(true, true))
    }
}

/// Nanoseconds of a duration such as `-1h30m`.
fn duration(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0_i128;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(end)?;
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(scale)?)?;
        if !fraction.is_empty() {
            let digits: i128 = fraction.get(..fraction.len().min(18))?.parse().ok()?;
            let power = 10_i128.checked_pow(u32::try_from(fraction.len().min(18)).ok()?)?;
            total = total.checked_add(digits.checked_mul(scale)? / power)?;
        }
        rest = tail;
    }
    Some(sign * total)
}

pub(super) fn timeadd(given: &Arguments<'_>) -> Result<Value> {
    let start = moment(given, 0)?;
    let text = given.string(1)?;
    let Some(step) = duration(&text) else {
        return given.fail(format!("{text:?} is no duration such as 1h30m"));
    };
    let moved = i64::try_from(step)
        .ok()
        .and_then(|nanos| start.local.checked_add(jiff::SignedDuration::from_nanos(nanos)).ok());
    match moved {
        Some(local) => Ok(Value::string(Moment { local, offset: start.offset }.rfc3339())),
        None => given.fail("the time is out of range"),
    }
}

pub(super) fn timecmp(given: &Arguments<'_>) -> Result<Value> {
    let (a, b) = (moment(given, 0)?.nanoseconds(), moment(given, 1)?.nanoseconds());
    Ok(Value::number(match a.cmp(&b) {
        std::cmp::Ordering::Less => -1,
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Greater => 1,
    }))
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

pub(super) fn formatdate(given: &Arguments<'_>) -> Result<Value> {
    let pattern = given.string(0)?;
    let time = moment(given, 1)?;
    let mut out = String::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '\'' {
            if letters.peek() == Some(&'\'') {
                letters.next();
                out.push('\'');
                continue;
            }
            loop {
                match letters.next() {
                    None => return given.fail("a quote is not closed"),
                    Some('\'') if letters.peek() == Some(&'\'') => {
                        letters.next();
                        out.push('\'');
                    }
                    Some('\'') => break,
                    Some(other) => out.push(other),
                }
            }
            continue;
        }
        if !letter.is_ascii_alphabetic() {
            out.push(letter);
            continue;
        }
        let mut count = 1;
        while letters.peek() == Some(&letter) {
            letters.next();
            count += 1;
        }
        match field(&time, letter, count) {
            Some(text) => out.push_str(&text),
            None => {
                let verb = letter.to_string().repeat(count);
                return given.fail(format!("{verb:?} is no part of a date; quote it with '…'"));
            }
        }
    }
    Ok(Value::string(out))
}

fn field(time: &Moment, letter: char, count: usize) -> Option<String> {
    let local = time.local;
    let name = |names: &[&str], at: i8| -> Option<String> {
        names.get(usize::try_from(at).ok()?.checked_sub(1)?).map(|name| (*name).to_owned())
    };
    let short = |name: String| name.chars().take(3).collect::<String>();
    let number = |number: i8| match count {
        1 => Some(number.to_string()),
        2 => Some(format!("{number:02}")),
        _ => None,
    };
    let twelve = match local.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    match (letter, count) {
        ('Y', 2) => Some(format!("{:02}", local.year().rem_euclid(100))),
        ('Y', 4) => Some(format!("{:04}", local.year())),
        ('M', 1 | 2) => number(local.month()),
        ('M', 3) => name(&MONTHS, local.month()).map(short),
        ('M', 4) => name(&MONTHS, local.month()),
        ('D', 1 | 2) => number(local.day()),
        ('E', 3) => name(&DAYS, local.weekday().to_monday_one_offset()).map(short),
        ('E', 4) => name(&DAYS, local.weekday().to_monday_one_offset()),
        ('h', 1 | 2) => number(local.hour()),
        ('H', 1 | 2) => number(twelve),
        ('A', 2) => Some(if local.hour() < 12 { "AM" } else { "PM" }.to_owned()),
        ('a', 2) => Some(if local.hour() < 12 { "am" } else { "pm" }.to_owned()),
        ('m', 1 | 2) => number(local.minute()),
        ('s', 1 | 2) => number(local.second()),
        ('Z', 1) => Some(time.zone(true, true)),
        ('Z', 3) if time.offset.seconds() == 0 => Some("UTC".to_owned()),
        ('Z', 3 | 4) => Some(time.zone(false, false)),
        ('Z', 5) => Some(time.zone(false, true)),
        _ => None,
    }
}
