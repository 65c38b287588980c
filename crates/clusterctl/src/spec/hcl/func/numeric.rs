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
    let (number, base) = (given.number(0)?.to_f64(), given.number(1)?.to_f64());
    computed(given, number.ln() / base.ln())
}

pub(super) fn pow(given: &Arguments<'_>) -> Result<Value> {
    let (number, power) = (given.number(0)?.to_f64(), given.number(1)?.to_f64());
    computed(given, number.powf(power))
}

pub(super) fn parseint(given: &Arguments<'_>) -> Result<Value> {
    let text = given.string(0)?;
    let base = given.integer(1)?;
    let Some(radix) = u32::try_from(base).ok().filter(|base| (2..=62).contains(base)) else {
        return given.fail("the base must be 2 to 62");
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
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
    let total = numbers(&list)?.into_iter().fold(Number::from(0), |sum, number| sum.add(&number));
    Ok(Value::number(total))
}
