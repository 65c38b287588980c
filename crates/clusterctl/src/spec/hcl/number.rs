//! Numbers: exact fractions, printed as Terraform prints them.

use std::cmp::Ordering;
use std::fmt;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One as _, Pow as _, Signed as _, ToPrimitive as _, Zero as _};

/// Digits after which a fraction that does not end is cut: what 512 bits hold.
const DIGITS: usize = 154;

/// Largest decimal exponent that is read: more would only serve to exhaust memory.
const LARGEST_EXPONENT: i64 = 10_000;

/// A number.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Number(BigRational);

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

macro_rules! from_integer {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Number {
            fn from(number: $integer) -> Self {
                Self(BigRational::from_integer(BigInt::from(number)))
            }
        }
    )*};
}

from_integer!(i64, u64, i32, u32, u16, u8, usize, u128);

impl From<BigInt> for Number {
    fn from(number: BigInt) -> Self {
        Self(BigRational::from_integer(number))
    }
}

impl Number {
    /// Reads decimal text: a sign, digits with or without a point, an exponent.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, body) = match text.strip_prefix('-') {
            Some(body) => (true, body),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match body.find(['e', 'E']) {
            Some(at) => {
                let exponent = body.get(at + 1..)?;
                (body.get(..at)?, exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?)
            }
            None => (body, 0_i64),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty()
            || !digits.bytes().all(|byte| byte.is_ascii_digit())
            || exponent.abs() > LARGEST_EXPONENT
        {
            return None;
        }
        let number: BigInt = digits.parse().ok()?;
        let number = if negative { -number } else { number };
        let shift = exponent - i64::try_from(fraction.len()).ok()?;
        let power = BigInt::from(10).pow(u32::try_from(shift.abs()).ok()?);
        Some(Self(if shift >= 0 {
            BigRational::from_integer(number * power)
        } else {
            BigRational::new(number, power)
        }))
    }

    /// The nearest number to a floating point one; none for infinity and NaN.
    pub fn from_f64(number: f64) -> Option<Self> {
        // By way of the shortest decimal: 0.1 is one tenth, as it is when written in a file.
        number.is_finite().then(|| Self::parse(&format!("{number}"))).flatten()
    }

    /// As a floating point number.
    pub fn to_f64(&self) -> f64 {
        self.0.to_f64().unwrap_or(f64::NAN)
    }

    /// As a whole number, if it is one.
    pub fn to_integer(&self) -> Option<BigInt> {
        self.0.is_integer().then(|| self.0.to_integer())
    }

    /// As a whole number of 64 bits, if it is one.
    pub fn to_i64(&self) -> Option<i64> {
        self.to_integer()?.to_i64()
    }

    /// As a whole number that counts or indexes, if it is one.
    pub fn to_usize(&self) -> Option<usize> {
        self.to_integer()?.to_usize()
    }

    /// It is a whole number.
    pub fn is_integer(&self) -> bool {
        self.0.is_integer()
    }

    /// It is below zero.
    pub fn is_negative(&self) -> bool {
        self.0.is_negative()
    }

    /// It is zero.
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// Its absolute value.
    #[must_use]
    pub fn abs(&self) -> Self {
        Self(self.0.abs())
    }

    /// The largest whole number that is not larger.
    #[must_use]
    pub fn floor(&self) -> Self {
        Self(self.0.floor())
    }

    /// The smallest whole number that is not smaller.
    #[must_use]
    pub fn ceil(&self) -> Self {
        Self(self.0.ceil())
    }

    /// Its negative.
    #[must_use]
    pub fn neg(&self) -> Self {
        Self(-self.0.clone())
    }

    /// Sum.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        Self(&self.0 + &other.0)
    }

    /// Difference.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }

    /// Product.
    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        Self(&self.0 * &other.0)
    }

    /// Quotient; none by zero.
    pub fn div(&self, other: &Self) -> Option<Self> {
        (!other.is_zero()).then(|| Self(&self.0 / &other.0))
    }

    /// Remainder with the sign of the dividend; none by zero.
    pub fn rem(&self, other: &Self) -> Option<Self> {
        (!other.is_zero()).then(|| Self(&self.0 % &other.0))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_integer() {
            return write!(f, "{}", self.0.numer());
        }
        let negative = self.0.is_negative();
        let value = self.0.abs();
        let whole = value.to_integer();
        let mut rest = value - BigRational::from_integer(whole.clone());
        let ten = BigRational::from_integer(BigInt::from(10));
        let mut digits = String::new();
        let mut significant = if whole.is_zero() { 0 } else { whole.to_string().len() };
        while !rest.is_zero() && significant < DIGITS {
            rest *= &ten;
            let digit = rest.to_integer();
            rest -= BigRational::from_integer(digit.clone());
            if significant > 0 || !digit.is_zero() {
                significant += 1;
            }
            digits.push_str(&digit.to_string());
        }
        if !rest.is_zero() && rest * ten >= BigRational::from_integer(BigInt::from(5)) {
            return f.write_str(&rounded_up(&whole, &digits, negative));
        }
        write!(f, "{}{whole}.{digits}", if negative { "-" } else { "" })
    }
}

fn rounded_up(whole: &BigInt, digits: &str, negative: bool) -> String {
    let scaled: BigInt = format!("{whole}{digits}").parse().unwrap_or_default();
    let text = (scaled + BigInt::one()).to_string();
    let text = format!("{text:0>width$}", width = digits.len() + 1);
    let (whole, fraction) = text.split_at_checked(text.len() - digits.len()).unwrap_or((&text, ""));
    format!("{}{whole}.{}", if negative { "-" } else { "" }, fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_they_are() {
        for text in
            ["0", "1", "-1", "0.1", "-2.5", "4210101011", "12345678901234567890123", "0.001"]
        {
            assert_eq!(Number::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Number::parse("1e3").unwrap().to_string(), "1000");
        assert_eq!(Number::parse("007").unwrap().to_string(), "7");
        let third = Number::from(1).div(&Number::from(3)).unwrap().to_string();
        assert!(third.starts_with("0.33333333") && third.len() > 100);
        let most = Number::from(2).div(&Number::from(3)).unwrap().to_string();
        assert!(most.ends_with("67"), "{most}");
        for bad in ["", "x", "1e", "1e99999", ".", "0x1", "1_0"] {
            assert!(Number::parse(bad).is_none(), "{bad}");
        }
    }
}
