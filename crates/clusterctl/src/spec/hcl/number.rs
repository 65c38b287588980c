//! Numbers: fractions rounded to the 512 bits that Terraform computes with, printed as it prints them.

use std::cmp::Ordering;
use std::fmt;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One as _, Pow as _, Signed as _, ToPrimitive as _, Zero as _};

/// Bits of a fraction's mantissa. Whole numbers keep all theirs.
const BITS: u64 = 512;

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
            rounded(BigRational::new(number, power))
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
        Self(rounded(&self.0 + &other.0))
    }

    /// Difference.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        Self(rounded(&self.0 - &other.0))
    }

    /// Product.
    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        Self(rounded(&self.0 * &other.0))
    }

    /// Quotient; none by zero.
    pub fn div(&self, other: &Self) -> Option<Self> {
        (!other.is_zero()).then(|| Self(rounded(&self.0 / &other.0)))
    }

    /// Remainder with the sign of the dividend; none by zero.
    pub fn rem(&self, other: &Self) -> Option<Self> {
        (!other.is_zero()).then(|| Self(rounded(&self.0 % &other.0)))
    }
}

/// The nearest fraction of [`BITS`] bits, the even one of two; a whole number stays as it is.
fn rounded(number: BigRational) -> BigRational {
    if number.is_integer() {
        return number;
    }
    let shift = shift(&number);
    let (numerator, denominator) = match shift < 0 {
        true => (number.numer().abs(), number.denom() << shift.unsigned_abs()),
        false => (number.numer().abs() << shift.unsigned_abs(), number.denom().clone()),
    };
    let mut mantissa = &numerator / &denominator;
    let rest = numerator - &mantissa * &denominator;
    match (rest << 1_u32).cmp(&denominator) {
        Ordering::Greater => mantissa += 1,
        Ordering::Equal if mantissa.bit(0) => mantissa += 1,
        _ => {}
    }
    let mantissa = if number.is_negative() { -mantissa } else { mantissa };
    BigRational::from_integer(mantissa) / power_of_two(shift)
}

/// Places by which a fraction is shifted to make a whole number of [`BITS`] bits of it.
fn shift(number: &BigRational) -> i64 {
    let bits = |part: &BigInt| i64::try_from(part.bits()).unwrap_or(i64::MAX);
    // The quotient has as many bits as its parts tell, or one more.
    let shift =
        i64::try_from(BITS).unwrap_or(i64::MAX) - bits(number.numer()) + bits(number.denom());
    let fits = number.abs() * power_of_two(shift) < power_of_two(i64::try_from(BITS).unwrap_or(0));
    if fits { shift } else { shift - 1 }
}

fn power_of_two(exponent: i64) -> BigRational {
    let power = BigInt::one() << exponent.unsigned_abs();
    match exponent < 0 {
        true => BigRational::new_raw(BigInt::one(), power),
        false => BigRational::from_integer(power),
    }
}

impl fmt::Display for Number {
    /// The shortest decimal that reads back as this number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_integer() {
            return write!(f, "{}", self.0.numer());
        }
        let sign = if self.0.is_negative() { "-" } else { "" };
        // Everything is counted in halves of the last bit: a reader may be off by one.
        let places = u64::try_from(shift(&self.0).max(0)).unwrap_or(0) + 1;
        let one = BigInt::one() << places;
        let scaled = self.0.numer().abs() * &one / self.0.denom();
        let mut digits = &scaled >> places;
        let mut rest = scaled - (&digits << places);
        let mut slack = BigInt::one();
        let mut count = 0;
        let up = loop {
            let missing = &one - &rest;
            if rest < slack || missing < slack {
                break missing < rest;
            }
            rest *= 10;
            slack *= 10;
            let digit = &rest >> places;
            rest -= &digit << places;
            digits = digits * 10 + digit;
            count += 1;
        };
        let text = (if up { digits + 1 } else { digits }).to_string();
        let text = format!("{text:0>width$}", width = count + 1);
        let (whole, fraction) = text.split_at_checked(text.len() - count).unwrap_or((&text, ""));
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{sign}{whole}"),
            fraction => write!(f, "{sign}{whole}.{fraction}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_512_bits() {
        let number = |text| Number::parse(text).unwrap();
        assert_eq!(number("0.1").add(&number("0.2")), number("0.3"));
        assert_eq!(number("0.7").mul(&number("10")), number("7"));
        let third = number("1").div(&number("3")).unwrap();
        assert_eq!(third.mul(&number("3")), number("1"));
        assert_ne!(number("1.1").sub(&number("1")), number("0.1"));
        let long = number("123456789012345678901234567890123456789");
        assert_eq!(long.add(&number("1")).to_string(), "123456789012345678901234567890123456790");
    }

    #[test]
    fn numbers_print_as_they_are() {
        for text in
            ["0", "1", "-1", "0.1", "-2.5", "4210101011", "12345678901234567890123", "0.001"]
        {
            assert_eq!(Number::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Number::parse("1e3").unwrap().to_string(), "1000");
        assert_eq!(Number::parse("007").unwrap().to_string(), "7");
        // Terraform's digits: the last ones are those of 512 bits.
        let quotient = |a, b| Number::from(a).div(&Number::from(b)).unwrap().to_string();
        assert_eq!(quotient(1, 3), format!("0.{}5", "3".repeat(154)));
        assert_eq!(quotient(2, 3), format!("0.{}7", "6".repeat(153)));
        assert_eq!(quotient(10, 3), format!("3.{}2", "3".repeat(153)));
        assert_eq!(quotient(-100, 7), format!("-14.{}286", "285714".repeat(25)));
        for bad in ["", "x", "1e", "1e99999", ".", "0x1", "1_0"] {
            assert!(Number::parse(bad).is_none(), "{bad}");
        }
    }
}
