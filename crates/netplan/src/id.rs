//! Identifiers with their ranges, parsed once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text or number is not the identifier it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}, not `{given}`")]
pub struct IdError {
    what: &'static str,
    rule: &'static str,
    given: String,
}

impl IdError {
    fn new(what: &'static str, rule: &'static str, given: impl fmt::Display) -> Self {
        Self { what, rule, given: given.to_string() }
    }

    /// What the identifier is of, such as `cluster id`.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// What would be accepted.
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $repr:ty, $what:literal, $low:literal, $high:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name($repr);

        impl $name {
            /// The smallest one.
            pub const MIN: Self = Self($low);
            /// The largest one.
            pub const MAX: Self = Self($high);

            /// Takes a number.
            ///
            /// # Errors
            ///
            /// When it is outside of the range in the type's first line.
            pub fn new(number: u64) -> Result<Self, IdError> {
                match <$repr>::try_from(number) {
                    Ok(value) if (Self::MIN.0..=Self::MAX.0).contains(&value) => Ok(Self(value)),
                    _ => Err(IdError::new($what, $rule, number)),
                }
            }

            /// The number.
            pub const fn get(self) -> $repr {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = IdError;

            fn try_from(number: u64) -> Result<Self, IdError> {
                Self::new(number)
            }
        }

        impl From<$name> for u64 {
            fn from(id: $name) -> Self {
                Self::from(id.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let number = if plain { text.parse::<u64>().ok() } else { None };
                number
                    .and_then(|number| Self::new(number).ok())
                    .ok_or_else(|| IdError::new($what, $rule, text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// Identity of a cluster: 1..=999.
    ClusterId, u16, "cluster id", 1, 999, "a number from 1 to 999"
}
number_id! {
    /// The number that a cluster's addresses use: 1..=999.
    TenantId, u16, "tenant id", 1, 999, "a number from 1 to 999"
}
number_id! {
    /// Last part of a node's addresses: 1..=999.
    Suffix, u16, "node suffix", 1, 999, "a number from 1 to 999"
}
number_id! {
    /// Id of a virtual machine: 100..=999999999.
    VmId, u32, "VM id", 100, 999_999_999, "a number from 100 to 999999999"
}
number_id! {
    /// VXLAN network identifier: 1..=16777215.
    Vni, u32, "VXLAN tag", 1, 16_777_215, "a number from 1 to 16777215"
}
number_id! {
    /// VLAN tag: 1..=4094.
    VlanId, u16, "VLAN tag", 1, 4094, "a number from 1 to 4094"
}
number_id! {
    /// Autonomous system number: 1..=4294967295.
    Asn, u32, "AS number", 1, 4_294_967_295, "a number from 1 to 4294967295"
}

impl Asn {
    /// First of the four-byte numbers for private use.
    pub const PRIVATE_FIRST: Self = Self(4_200_000_000);
    /// Last of the four-byte numbers for private use.
    pub const PRIVATE_LAST: Self = Self(4_294_967_294);

    /// Whether it lies among the four-byte numbers for private use.
    pub const fn is_private(self) -> bool {
        self.0 >= Self::PRIVATE_FIRST.0 && self.0 <= Self::PRIVATE_LAST.0
    }
}

impl From<ClusterId> for TenantId {
    /// A cluster's addresses use its id unless it says otherwise.
    fn from(id: ClusterId) -> Self {
        Self(id.get())
    }
}

/// Longest label of a host name.
pub const LABEL_MAX: usize = 63;

/// Whether a text is a lower-case host name label as RFC 1123 has it.
pub fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= LABEL_MAX
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Name of a cluster: a lower-case host name label of at most 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(String);

impl ClusterName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if is_label(text) {
            return Ok(Self(text.to_owned()));
        }
        let rule = "1 to 63 lower-case letters, digits and hyphens, no hyphen at either end";
        Err(IdError::new("cluster name", rule, text))
    }
}

impl TryFrom<String> for ClusterName {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ClusterName> for String {
    fn from(name: ClusterName) -> Self {
        name.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// Takes six bytes.
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The six bytes.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether it is a locally administered address of one station.
    pub const fn is_local_unicast(self) -> bool {
        self.0[0] & 0b11 == 0b10
    }

    /// As a number, most significant byte first.
    pub(crate) fn number(self) -> u128 {
        self.0.iter().fold(0, |number, byte| (number << 8) | u128::from(*byte))
    }
}

impl fmt::Display for MacAddr {
    /// Upper case, as Proxmox VE prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02X}")?;
        }
        Ok(())
    }
}

impl FromStr for MacAddr {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::new("MAC address", "six bytes such as `02:00:5E:00:53:01`", text);
        let mut bytes = [0_u8; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(bad)?;
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for MacAddr {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_at_both_ends() {
        assert!(ClusterId::new(0).is_err());
        assert_eq!(ClusterId::new(1), Ok(ClusterId::MIN));
        assert_eq!(ClusterId::new(999), Ok(ClusterId::MAX));
        assert!(ClusterId::new(1000).is_err());
        assert!(VlanId::new(4095).is_err());
        assert!(VmId::new(99).is_err());
        assert!(Vni::new(1 << 24).is_err());
        assert!(Asn::new(1 << 32).is_err());
    }

    #[test]
    fn text_is_digits_and_nothing_else() {
        assert_eq!("101".parse(), ClusterId::new(101));
        for text in ["", "+5", "-5", " 5", "5 ", "0x5", "5.0", "99999999999999999999999"] {
            assert!(text.parse::<ClusterId>().is_err(), "{text:?}");
        }
        let error = "1000".parse::<ClusterId>().unwrap_err();
        assert_eq!(error.to_string(), "cluster id must be a number from 1 to 999, not `1000`");
    }

    #[test]
    fn names_are_labels() {
        for good in ["a", "sol", "a-1", &"x".repeat(63)] {
            assert!(good.parse::<ClusterName>().is_ok(), "{good}");
        }
        for bad in ["", "Sol", "-a", "a-", "a.b", "a_b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<ClusterName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn mac_addresses_round_trip() {
        let mac: MacAddr = "02:00:5e:00:53:01".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5E:00:53:01");
        assert!(mac.is_local_unicast());
        for bad in
            ["", "02:00:5e:00:53", "02:00:5e:00:53:01:02", "2:0:5e:0:53:1", "02-00-5e-00-53-01"]
        {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn serde_keeps_the_ranges() {
        assert_eq!(serde_json::to_string(&ClusterId::MAX).unwrap(), "999");
        assert!(serde_json::from_str::<ClusterId>("1000").is_err());
        assert!(serde_json::from_str::<ClusterName>("\"Sol\"").is_err());
    }
}
