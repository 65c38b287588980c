//! Numbers.

use num_bigint::BigInt;

use super::Arguments;
use crate::spec::hcl::eval::Result;
use crate::spec::hcl::number::Number;
use crate::spec::hcl::value::Value;

pub(super) fn abs(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::number(given.number(0)?.abs()))
}

pub(super) fn ceil(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::number(given.number(0)?.ceil()))
}

pub(super) fn floor(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::number(given.number(0)?.floor()))
}

pub(super) fn signum(given: &Arguments<'_>) -> Result<Value> {
    Ok(Value::number(given.integer(0)?.signum()))
}

fn numbers(given: &Arguments<'_>) -> Result<Vec<Number>> {
    (0..given.len()).map(|at| given.number(at)).collect()
}

pub(super) fn max(given: &Arguments<'_>) -> Result<Value> {
    match numbers(given)?.into_iter().max() {
        Some(number) => Ok(Value::number(number)),
        None => given.fail("at least one number is needed"),
    }
}

pub(super) fn min(given: &Arguments<'_>) -> Result<Value> {
    match numbers(given)?.into_iter().min() {
        Some(number) => Ok(Value::number(number)),
        None => given.fail("at least one number is needed"),
    }
}

fn computed(given: &Arguments<'_>, number: f64) -> Result<Value> {
    match Number::from_f64(number) {
        Some(number) => Ok(Value::number(number)),
        None => given.fail("the result is not a number"),
    }
}

pub(super) fn log(given: &Arguments<'_>) -> Result<Value> {
    // To the last bit: `ceil(log(9, 3))` is 3 with Go's logarithm, and so with this one.
    let (number, base) = (given.number(0)?.to_f64(), given.number(1)?.to_f64());
    computed(given, libm::log(number) / libm::log(base))
}

pub(super) fn pow(given: &Arguments<'_>) -> Result<Value> {
    let (number, power) = (given.number(0)?.to_f64(), given.number(1)?.to_f64());
    computed(given, power_of(number, power))
}

/// Largest power that is computed by multiplying.
const LARGEST_POWER: f64 = 4096.0;

/// A power as Go computes it, whose last bit is not always that of other libraries: a whole power
/// by squaring a mantissa, with the exponent apart.
fn power_of(number: f64, power: f64) -> f64 {
    let is_plain = number.is_normal() && power.fract() == 0.0 && power.abs() <= LARGEST_POWER;
    if !is_plain {
        return number.powf(power);
    }
    let (mut mantissa, mut exponent) = libm::frexp(number);
    let (mut product, mut places) = (1.0, 0_i32);
    #[expect(clippy::cast_possible_truncation, reason = "it is a whole number of 12 bits")]
    let mut left = power.abs() as i32;
    while left != 0 {
        if exponent.abs() > 1 << 12 {
            // Beyond every number: what is left to multiply does not matter.
            places += exponent;
            break;
        }
        if left & 1 == 1 {
            product *= mantissa;
            places += exponent;
        }
        mantissa *= mantissa;
        exponent <<= 1;
        if mantissa < 0.5 {
            mantissa += mantissa;
            exponent -= 1;
        }
        left >>= 1;
    }
    if power < 0.0 {
        return libm::ldexp(1.0 / product, -places);
    }
    libm::ldexp(product, places)
}

pub(super) fn parseint(given: &Arguments<'_>) -> Result<Value> {
    let Some(text) = given.value(0)?.as_str() else {
        return Err(given.failure(0, "text is needed"));
    };
    let base = given.integer(1)?;
    let Some(radix) = u32::try_from(base).ok().filter(|base| (2..=62).contains(base)) else {
        return given.fail("the base must be 2 to 62");
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut number = BigInt::from(0);
    for digit in digits.chars() {
        let value = match digit {
            '0'..='9' => u32::from(digit) - u32::from('0'),
            'a'..='z' => u32::from(digit) - u32::from('a') + 10,
            // Up to base 36 both cases mean the same.
            'A'..='Z' if radix <= 36 => u32::from(digit) - u32::from('A') + 10,
            'A'..='Z' => u32::from(digit) - u32::from('A') + 36,
            _ => u32::MAX,
        };
        if value >= radix {
            return given.fail(format!("{text:?} is not a number of base {radix}"));
        }
        number = number * radix + value;
    }
    if digits.is_empty() {
        return given.fail("the text is empty");
    }
    Ok(Value::number(Number::from(if negative { -number } else { number })))
}

pub(super) fn sum(given: &Arguments<'_>) -> Result<Value> {
    let items = given.items(0)?;
    if items.is_empty() {
        return given.fail("the list is empty");
    }
    let list = Arguments { name: "sum", values: items.to_vec() };
    let total = numbers(&list)?.into_iter().reduce(|sum, number| sum.add(&number));
    Ok(Value::number(total.unwrap_or_else(|| Number::from(0))))
}
