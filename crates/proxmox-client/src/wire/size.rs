//! Sizes of disks.

use std::fmt;

/// A size in bytes, written with binary units: `60G`, `528K`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// A size in bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Reads `^\d+(\.\d+)?[KMGT]?$`; without a unit it is in bytes. `None` for anything else.
    ///
    /// ```
    /// use proxmox_client::wire::Size;
    ///
    /// assert_eq!(Size::parse("61440M").map(|size| size.to_string()).as_deref(), Some("60G"));
    /// assert_eq!(Size::parse("10GB"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, shift) = match text.chars().last()? {
            'K' => (text.strip_suffix('K')?, 10),
            'M' => (text.strip_suffix('M')?, 20),
            'G' => (text.strip_suffix('G')?, 30),
            'T' => (text.strip_suffix('T')?, 40),
            _ => (text, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let numeric =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !numeric(whole) || !numeric(fraction) {
            return None;
        }
        let whole: u64 = whole.parse().ok()?;
        let unit = 1_u64 << shift;
        // Twelve digits of a fraction are more than any unit can tell apart.
        let digits = fraction.get(..fraction.len().min(12))?;
        let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
        let part = u128::from(digits.parse::<u64>().ok()?) * u128::from(unit) / scale;
        whole.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?).map(Self)
    }
}

impl fmt::Display for Size {
    /// In the largest unit up to G that leaves no rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("G", 30), ("M", 20), ("K", 10)] {
            if self.0 > 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_binary_and_a_fraction_is_cut() {
        let bytes = |text| Size::parse(text).map(Size::bytes);
        assert_eq!(bytes("60"), Some(60));
        assert_eq!(bytes("1.5K"), Some(1536));
        assert_eq!(bytes("1T"), Some(1 << 40));
        for bad in ["", "K", "1e3", "-1", "1 G", "10GB", "1.", ".5G", "99999999999999999999"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        assert_eq!(Size::from_bytes(1 << 40).to_string(), "1024G");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(bytes in any::<u64>()) {
            let size = Size::from_bytes(bytes);
            prop_assert_eq!(Size::parse(&size.to_string()), Some(size));
        }
    }
}
