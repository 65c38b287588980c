//! Numbers: fractions rounded to the bits that Terraform computes with, printed as it prints them.
//!
//! What is written has 512 bits, what a function counts 64, and what is computed as a floating
//! point number 53; a result has as many as the better one of its operands.

use std::cmp::Ordering;
use std::fmt;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One as _, Pow as _, Signed as _, ToPrimitive as _, Zero as _};

/// Bits of the mantissa of what is written.
const WRITTEN: u64 = 512;

/// Bits of what is counted.
const COUNTED: u64 = 64;

/// Bits of a floating point number.
const FLOATING: u64 = 53;

/// Largest decimal exponent that is read: more would only serve to exhaust memory.
const LARGEST_EXPONENT: i64 = 10_000;

/// A number.
#[derive(Clone)]
pub struct Number {
    value: BigRational,
    bits: u64,
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value.cmp(&other.value)
    }
}

macro_rules! from_integer {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Number {
            fn from(number: $integer) -> Self {
                Self::from(BigInt::from(number))
            }
        }
    )*};
}

from_integer!(i64, u64, i32, u32, u16, u8, usize, u128);

impl From<BigInt> for Number {
    fn from(number: BigInt) -> Self {
        let bits = number.bits().max(COUNTED);
        Self { value: BigRational::from_integer(number), bits }
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
        let value = if shift >= 0 {
            BigRational::from_integer(number * power)
        } else {
            BigRational::new(number, power)
        };
        Some(Self { value: rounded(value, WRITTEN), bits: WRITTEN })
    }

    /// A floating point number; none for infinity and NaN.
    pub fn from_f64(number: f64) -> Option<Self> {
        Some(Self { value: BigRational::from_float(number)?, bits: FLOATING })
    }

    /// A number computed with this one.
    fn made(&self, value: BigRational) -> Self {
        Self { value: rounded(value, self.bits), bits: self.bits }
    }

    fn made_with(&self, other: &Self, value: BigRational) -> Self {
        let bits = self.bits.max(other.bits);
        Self { value: rounded(value, bits), bits }
    }

    /// Whether `==` finds them equal: two fractions are if they are printed alike, since some have
    /// fewer bits than others.
    pub fn is_same(&self, other: &Self) -> bool {
        self == other
            || !self.is_integer() && !other.is_integer() && self.to_string() == other.to_string()
    }

    /// As a floating point number.
    pub fn to_f64(&self) -> f64 {
        self.value.to_f64().unwrap_or(f64::NAN)
    }

    /// As a whole number, if it is one.
    pub fn to_integer(&self) -> Option<BigInt> {
        self.value.is_integer().then(|| self.value.to_integer())
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
        self.value.is_integer()
    }

    /// It is below zero.
    pub fn is_negative(&self) -> bool {
        self.value.is_negative()
    }

    /// It is zero.
    pub fn is_zero(&self) -> bool {
        self.value.is_zero()
    }

    /// Its absolute value.
    #[must_use]
    pub fn abs(&self) -> Self {
        self.made(self.value.abs())
    }

    /// The largest whole number that is not larger.
    #[must_use]
    pub fn floor(&self) -> Self {
        self.made(self.value.floor())
    }

    /// The smallest whole number that is not smaller.
    #[must_use]
    pub fn ceil(&self) -> Self {
        self.made(self.value.ceil())
    }

    /// Its negative.
    #[must_use]
    pub fn neg(&self) -> Self {
        self.made(-self.value.clone())
    }

    /// Sum.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        self.made_with(other, &self.value + &other.value)
    }

    /// Difference.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        self.made_with(other, &self.value - &other.value)
    }

    /// Product.
    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        self.made_with(other, &self.value * &other.value)
    }

    /// Quotient; none by zero.
    pub fn div(&self, other: &Self) -> Option<Self> {
        (!other.is_zero()).then(|| self.made_with(other, &self.value / &other.value))
    }

    /// Remainder with the sign of the dividend; none by zero.
    pub fn rem(&self, other: &Self) -> Option<Self> {
        // By way of the quotient, which is rounded, as everything after it.
        let times = self.div(other)?.value.trunc();
        let whole = self.made(times * &other.value);
        Some(self.made(&self.value - whole.value))
    }
}

/// The nearest number of so many bits, the even one of two.
fn rounded(number: BigRational, bits: u64) -> BigRational {
    if number.is_integer() && number.numer().bits() <= bits {
        return number;
    }
    let shift = shift(&number, bits);
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

/// Places by which a number is shifted to make a whole number of so many bits of it.
fn shift(number: &BigRational, bits: u64) -> i64 {
    let bits = i64::try_from(bits).unwrap_or(i64::MAX);
    let length = |part: &BigInt| i64::try_from(part.bits()).unwrap_or(i64::MAX);
    // The quotient has as many bits as its parts tell, or one more.
    let shift = bits - length(number.numer()) + length(number.denom());
    let fits = number.abs() * power_of_two(shift) < power_of_two(bits);
    if fits { shift } else { shift - 1 }
}

fn power_of_two(exponent: i64) -> BigRational {
    let power = BigInt::one() << exponent.unsigned_abs();
    match exponent < 0 {
        true => BigRational::new_raw(BigInt::one(), power),
        false => BigRational::from_integer(power),
    }
}

/// The whole number with the most zeros at its end that reads back as this one of so many bits.
fn shortest_whole(number: &BigInt, bits: u64) -> BigInt {
    let Some(lost) = number.bits().checked_sub(bits).filter(|lost| *lost > 0) else {
        return number.clone();
    };
    let size = number.abs();
    let half = BigInt::one() << (lost - 1);
    // Half of the last bit away, the even mantissa is read.
    let is_even = !size.bit(lost);
    let reads_back = |away: &BigInt| *away < half || (is_even && *away == half);
    let mut power = BigInt::from(10).pow(u32::try_from(size.to_string().len()).unwrap_or(0));
    let mut shortest = size.clone();
    while power > BigInt::one() {
        power /= 10;
        let below = &size / &power * &power;
        let (down, up) = (&size - &below, &below + &power - &size);
        if reads_back(&down) || reads_back(&up) {
            let is_up = reads_back(&up) && (up < down || !reads_back(&down));
            shortest = if is_up { below + power } else { below };
            break;
        }
    }
    if number.is_negative() { -shortest } else { shortest }
}

impl fmt::Display for Number {
    /// The shortest decimal that reads back as this number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_integer() {
            return write!(f, "{}", shortest_whole(self.value.numer(), self.bits));
        }
        let sign = if self.value.is_negative() { "-" } else { "" };
        // Everything is counted in halves of the last bit: a reader may be off by one.
        let places = u64::try_from(shift(&self.value, self.bits).max(0)).unwrap_or(0) + 1;
        let one = BigInt::one() << places;
        let scaled = self.value.numer().abs() * &one / self.value.denom();
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
        let number = |text| Number::parse(text).unwrap();
        let quotient = |a, b| number(a).div(&number(b)).unwrap().to_string();
        assert_eq!(quotient("1", "3"), format!("0.{}5", "3".repeat(154)));
        assert_eq!(quotient("2", "3"), format!("0.{}7", "6".repeat(153)));
        assert_eq!(quotient("10", "3"), format!("3.{}2", "3".repeat(153)));
        assert_eq!(quotient("-100", "7"), format!("-14.{}286", "285714".repeat(25)));
        // Counted and computed numbers have fewer.
        let third = Number::from(1).div(&Number::from(3)).unwrap();
        assert_eq!(third.to_string(), "0.33333333333333333334");
        let float = |number| Number::from_f64(number).unwrap();
        assert_eq!(float(0.1).to_string(), "0.1");
        assert_eq!(float(2_f64.powi(64)).to_string(), "18446744073709550000");
        assert_eq!(float(-(2_f64.powi(70))).to_string(), "-1180591620717411300000");
        assert_eq!(float(2_f64.powi(64)).add(&number("1")).to_string(), "18446744073709551617");
        assert!(float(0.1).is_same(&number("0.1")) && float(0.1) != number("0.1"));
        for bad in ["", "x", "1e", "1e99999", ".", "0x1", "1_0"] {
            assert!(Number::parse(bad).is_none(), "{bad}");
        }
    }
}
