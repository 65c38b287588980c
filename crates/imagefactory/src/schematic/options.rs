//! Free values of an overlay's options.

use std::cmp::Ordering;

use serde::Serialize;

use super::node::{Kind, Node};
use super::read::SchematicError;
use super::style::{Plain, resolve};

/// A value of an overlay's option.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum OptionValue {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number within 64 bits, signed or not.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// A moment, in RFC 3339.
    Time(String),
    /// Text.
    Text(String),
    /// Values in their order.
    List(Vec<Self>),
    /// Named values; written in natural order.
    Map(Vec<(Self, Self)>),
}

/// The value that a node means.
pub(super) fn value(node: &Node) -> Result<OptionValue, SchematicError> {
    Ok(match &node.kind {
        Kind::Scalar { text, plain, tag } => scalar(node, text, *plain, tag.as_deref())?,
        Kind::List(items) => OptionValue::List(items.iter().map(value).collect::<Result<_, _>>()?),
        Kind::Map(entries) => {
            let mut map = Vec::with_capacity(entries.len());
            for (key, item) in entries {
                if !matches!(key.kind, Kind::Scalar { .. }) {
                    return Err(SchematicError::new(key.line, "a key is a list or a map"));
                }
                map.push((value(key)?, value(item)?));
            }
            OptionValue::Map(map)
        }
    })
}

fn scalar(
    node: &Node,
    text: &str,
    plain: bool,
    tag: Option<&str>,
) -> Result<OptionValue, SchematicError> {
    let wrong = || SchematicError::new(node.line, "the value does not fit its tag");
    match tag {
        Some("str") => return Ok(OptionValue::Text(text.to_owned())),
        Some("binary") => return super::read::binary(node, text).map(OptionValue::Text),
        Some("float") => {
            return match resolve(text) {
                #[expect(clippy::cast_precision_loss, reason = "the tag asks for it")]
                Plain::Int(number) => Ok(OptionValue::Float(number as f64)),
                Plain::Float(number) => Ok(OptionValue::Float(number)),
                _ => Err(wrong()),
            };
        }
        Some("int") if !matches!(resolve(text), Plain::Int(_)) => return Err(wrong()),
        Some("bool") if !matches!(resolve(text), Plain::Bool(_)) => return Err(wrong()),
        Some("null") => return Ok(OptionValue::Null),
        Some("timestamp") => {
            return match resolve(text) {
                Plain::Time(time) => Ok(OptionValue::Time(time)),
                _ => Err(wrong()),
            };
        }
        _ => {}
    }
    if !plain && tag.is_none() {
        return Ok(OptionValue::Text(text.to_owned()));
    }
    Ok(match resolve(text) {
        Plain::Null => OptionValue::Null,
        Plain::Bool(flag) => OptionValue::Bool(flag),
        Plain::Int(0) if text.starts_with('-') => OptionValue::Float(-0.0),
        Plain::Int(number) => OptionValue::Int(number),
        Plain::Float(number) => OptionValue::Float(number),
        Plain::Time(time) => OptionValue::Time(time),
        Plain::Merge | Plain::Text => OptionValue::Text(text.to_owned()),
    })
}

/// The order of keys: letter by letter, numbers by their value.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut after_digit = false;
    for (at, (x, y)) in a.iter().zip(&b).enumerate() {
        if x == y {
            after_digit = x.is_ascii_digit();
            continue;
        }
        return match (x.is_alphabetic(), y.is_alphabetic()) {
            (true, true) => x.cmp(y),
            (x_is_letter, true) | (x_is_letter @ true, _) => {
                // After a digit the letter goes first, else the other one.
                if x_is_letter == after_digit { Ordering::Less } else { Ordering::Greater }
            }
            (false, false) => by_number(&a, &b, at),
        };
    }
    a.len().cmp(&b.len())
}

fn by_number(a: &[char], b: &[char], at: usize) -> Ordering {
    let run = |letters: &[char]| -> (u64, usize) {
        let digits: Vec<char> =
            letters.iter().skip(at).take_while(|letter| letter.is_numeric()).copied().collect();
        let number = digits
            .iter()
            // Digits of other scripts count by how far they are from zero, as the library counts.
            .map(|digit| u64::from(u32::from(*digit).wrapping_sub(u32::from('0'))))
            .fold(0_u64, |number, digit| number.wrapping_mul(10).wrapping_add(digit));
        (number, digits.len())
    };
    let ((number_a, length_a), (number_b, length_b)) = (run(a), run(b));
    let zero = |letters: &[char]| letters.get(at) == Some(&'0');
    // Runs that began before the difference count as a whole when one of them starts with zero.
    if zero(a) || zero(b) {
        let before = |letters: &[char]| {
            letters
                .iter()
                .take(at)
                .rev()
                .take_while(|letter| letter.is_ascii_digit())
                .any(|d| *d != '0')
        };
        if before(a) {
            return (1_u64, length_a)
                .cmp(&(1_u64, length_b))
                .then_with(|| a.get(at).cmp(&b.get(at)));
        }
    }
    number_a
        .cmp(&number_b)
        .then_with(|| length_a.cmp(&length_b))
        .then_with(|| a.get(at).cmp(&b.get(at)))
}
