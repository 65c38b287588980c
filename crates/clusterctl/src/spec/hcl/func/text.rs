//! Text.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::{Captures, Regex};
use unicode_segmentation::UnicodeSegmentation as _;

use super::{Arguments, pattern};
use crate::spec::hcl::eval::{MOST_ELEMENTS, Result};
use crate::spec::hcl::value::{Kind, Type, Value};

pub(super) fn upper(given: &Arguments<'_>) -> Result<Value> {
    // Letter by letter: a sharp s stays one, as in Go.
    Ok(Value::string(each_letter(&given.string(0)?, |letter| {
        let mut upper = letter.to_uppercase();
        if upper.len() == 1 { upper.next().unwrap_or(letter) } else { letter }
    })))
}

pub(super) fn lower(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::string(each_letter(&given.string(0)?, |letter| {
        letter.to_lowercase().next().unwrap_or(letter)
    })))
}

fn each_letter(text: &str, change: impl Fn(char) -> char) -> String {
    text.chars().map(change).collect()
}

pub(super) fn title(given: &Arguments<'_>) -> Result<Value> {
    let text = given.string(0)?;
    let mut out = String::with_capacity(text.len());
    let mut begins = true;
    for letter in text.chars() {
        if begins && letter.is_alphabetic() {
            out.push(title_case(letter));
        } else {
            out.push(letter);
        }
        // As Go has it: what ends a word is white space, or any other sign of ASCII.
        begins = if letter.is_ascii() {
            !(letter.is_ascii_alphanumeric() || letter == '_')
        } else {
            letter.is_whitespace()
        };
    }
    Ok(Value::string(out))
}

/// A letter as the first one of a word: letters that are two have only their first part large.
fn title_case(letter: char) -> char {
    match letter {
        'Ǆ'..='ǆ' => 'ǅ',
        'Ǉ'..='ǉ' => 'ǈ',
        'Ǌ'..='ǌ' => 'ǋ',
        'Ǳ'..='ǳ' => 'ǲ',
        // Georgian has large letters, but no word begins with one.
        'ა'..='ჺ' | 'ჽ'..='ჿ' => letter,
        _ => {
            let mut upper = letter.to_uppercase();
            if upper.len() == 1 { upper.next().unwrap_or(letter) } else { letter }
        }
    }
}

pub(super) fn trim(given: &Arguments<'_>) -> Result<Value> {
    let (text, cut) = (given.string(0)?, given.string(1)?);
    Ok(Value::string(text.trim_matches(|letter| cut.contains(letter))))
}

pub(super) fn trimprefix(given: &Arguments<'_>) -> Result<Value> {
    let (text, cut) = (given.string(0)?, given.string(1)?);
    Ok(Value::string(text.strip_prefix(&*cut).unwrap_or(&text)))
}

pub(super) fn trimsuffix(given: &Arguments<'_>) -> Result<Value> {
    let (text, cut) = (given.string(0)?, given.string(1)?);
    Ok(Value::string(text.strip_suffix(&*cut).unwrap_or(&text)))
}

pub(super) fn trimspace(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::string(given.string(0)?.trim()))
}

pub(super) fn chomp(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::string(given.string(0)?.trim_end_matches(['\r', '\n'])))
}

pub(super) fn indent(given: &Arguments<'_>) -> Result<Value> {
    let Ok(width) = usize::try_from(given.integer(0)?) else {
        return given.fail("the indentation must not be negative");
    };
    let text = given.string(1)?;
    let lines = text.matches('\n').count();
    if width.saturating_mul(lines) > MOST_ELEMENTS {
        return given.fail("the indentation is too large");
    }
    let pad = if lines == 0 { String::new() } else { " ".repeat(width) };
    Ok(Value::string(text.replace('\n', &format!("\n{pad}"))))
}

pub(super) fn startswith(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::bool(given.string(0)?.starts_with(&*given.string(1)?)))
}

pub(super) fn endswith(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::bool(given.string(0)?.ends_with(&*given.string(1)?)))
}

pub(super) fn strcontains(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::bool(given.string(0)?.contains(&*given.string(1)?)))
}

pub(super) fn strrev(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::string(given.string(0)?.graphemes(true).rev().collect::<String>()))
}

pub(super) fn substr(given: &Arguments<'_>) -> Result<Value> {
    let text = given.string(0)?;
    let (offset, length) = (given.integer(1)?, given.integer(2)?);
    let letters: Vec<&str> = text.graphemes(true).collect();
    let count = i64::try_from(letters.len()).unwrap_or(i64::MAX);
    let start = if offset < 0 { (offset + count).max(0) } else { offset.min(count) };
    // From the end, a length of zero is no limit either: Terraform looks at it too late.
    let open = length < 0 || (length == 0 && offset < 0);
    let end = if open { count } else { start.saturating_add(length).min(count) };
    let take = |at: i64| usize::try_from(at).unwrap_or(0);
    let part = letters.get(take(start)..take(end)).unwrap_or_default();
    Ok(Value::string(part.concat()))
}

pub(super) fn split(given: &Arguments<'_>) -> Result<Value> {
    let (separator, text) = (given.string(0)?, given.string(1)?);
    if text.is_empty() && !separator.is_empty() {
        return Ok(Value::strings([String::new()]));
    }
    if separator.is_empty() {
        return Ok(Value::strings(text.chars().map(String::from)));
    }
    Ok(Value::strings(text.split(&*separator).map(str::to_owned)))
}

pub(super) fn join(given: &Arguments<'_>) -> Result<Value> {
    let separator = given.string(0)?;
    let mut words: Vec<Arc<str>> = Vec::new();
    for at in 1..given.len() {
        for word in given.strings(at)? {
            match word {
                Some(word) => words.push(word),
                None => return Err(given.failure(at, "an element is null")),
            }
        }
    }
    Ok(Value::string(words.join(&*separator)))
}

pub(super) fn basename(given: &Arguments<'_>) -> Result<Value> {
    let path = given.string(0)?;
    let short = path.trim_end_matches('/');
    Ok(Value::string(match (path.is_empty(), short) {
        (true, _) => ".",
        (false, "") => "/",
        (false, short) => short.rsplit('/').next().unwrap_or(short),
    }))
}

pub(super) fn dirname(given: &Arguments<'_>) -> Result<Value> {
    let path = given.string(0)?;
    let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
    let dir = if dir.is_empty() && path.starts_with('/') { "/" } else { dir };
    Ok(Value::string(clean(dir)))
}

/// A path without `.`, `..` after a name, and doubled slashes; `.` when nothing is left.
pub(in crate::spec::hcl) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(last) if *last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// Largest compiled regular expression, in bytes.
const LARGEST_REGEX: usize = 1 << 20;

fn compiled(given: &Arguments<'_>, pattern: &str) -> Result<Regex> {
    let built = pattern::of_re2(pattern)
        .and_then(|own| regex::RegexBuilder::new(&own).size_limit(LARGEST_REGEX).build().ok());
    match built {
        Some(regex) => Ok(regex),
        None => given.fail(format!("{pattern:?} is no regular expression (RE2 syntax)")),
    }
}

/// What a match is as a value: the text, a tuple of its groups, or an object of named ones.
fn matched(regex: &Regex, captures: &Captures<'_>) -> Value {
    let group = |found: Option<regex::Match<'_>>| {
        found.map_or(Value::null(Type::String), |found| Value::string(found.as_str()))
    };
    let names: Vec<&str> = regex.capture_names().flatten().collect();
    if !names.is_empty() {
        let named: BTreeMap<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), group(captures.name(name)))).collect();
        return Value::object(named);
    }
    if captures.len() == 1 {
        return group(captures.get(0));
    }
    Value::tuple((1..captures.len()).map(|at| group(captures.get(at))).collect())
}

fn mixed_groups(regex: &Regex) -> bool {
    let named = regex.capture_names().flatten().count();
    named > 0 && named + 1 < regex.captures_len()
}

pub(super) fn regex(given: &Arguments<'_>) -> Result<Value> {
    let (pattern, text) = (given.string(0)?, given.string(1)?);
    let regex = compiled(given, &pattern)?;
    if mixed_groups(&regex) {
        return given.fail("named and unnamed groups cannot be mixed");
    }
    match regex.captures(&text) {
        Some(captures) => Ok(matched(&regex, &captures)),
        None => given.fail(format!("{pattern:?} does not match")),
    }
}

pub(super) fn regexall(given: &Arguments<'_>) -> Result<Value> {
    let (pattern, text) = (given.string(0)?, given.string(1)?);
    let regex = compiled(given, &pattern)?;
    if mixed_groups(&regex) {
        return given.fail("named and unnamed groups cannot be mixed");
    }
    let items: Vec<Value> =
        regex.captures_iter(&text).map(|captures| matched(&regex, &captures)).collect();
    let item = items.first().map_or(Type::String, Value::type_of);
    Ok(Kind::List(item, Arc::new(items)).into())
}

pub(super) fn replace(given: &Arguments<'_>) -> Result<Value> {
    let (text, from, to) = (given.string(0)?, given.string(1)?, given.string(2)?);
    let pattern = from.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    let Some(pattern) = pattern.filter(|_| from.len() > 1) else {
        return Ok(Value::string(text.replace(&*from, &to)));
    };
    let regex = compiled(given, pattern)?;
    // `$1x` names the group 1x in Go and here alike; `${1}` is the way to say it.
    Ok(Value::string(regex.replace_all(&text, &*to)))
}
