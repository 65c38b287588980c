//! Address patterns: how a cluster's number becomes a prefix or an address.
//!
//! A pattern of host addresses is prefix text that the suffix completes (`10.%d.0.` and 11 give
//! `10.101.0.11`); one of ranges is a CIDR with the number in it (`10.%d.240.0/20`). Either may
//! also be a base with bits to add: the number chooses the subnet. No text at all means that there
//! are no addresses of that kind.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr as _;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::id::TenantId;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Internet Protocol version 6, which comes first wherever both exist.
    Ipv6,
    /// Internet Protocol version 4.
    Ipv4,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv6 => "IPv6",
            Self::Ipv4 => "IPv4",
        })
    }
}

impl Family {
    /// The family of a prefix.
    pub const fn of(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::Ipv4,
            IpNet::V6(_) => Self::Ipv6,
        }
    }
}

/// Why a pattern gives no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Something other than `%d` follows a `%`.
    #[error("`{0}` has a `%` that is not `%d`")]
    Verb(String),
    /// A base with more bits to add than it has.
    #[error("`{base}` cannot be cut into subnets with {newbits} more bits")]
    Bits {
        /// The base.
        base: IpNet,
        /// Bits to add.
        newbits: u8,
    },
    /// A text of the wrong family or no address at all.
    #[error("`{pattern}` gives `{text}`, which is not an {family} {what}")]
    Text {
        /// The pattern.
        pattern: String,
        /// What it gave.
        text: String,
        /// The family that was asked for.
        family: Family,
        /// `address` or `prefix`.
        what: &'static str,
    },
    /// Bits are set behind the prefix length.
    #[error(
        "`{pattern}` gives `{text}`, which has bits behind its length (did you mean `{meant}`?)"
    )]
    HostBits {
        /// The pattern.
        pattern: String,
        /// What it gave.
        text: String,
        /// The prefix without these bits.
        meant: IpNet,
    },
    /// The number does not fit into an IPv4 octet.
    #[error("{number} does not fit into the IPv4 octet of `{pattern}`")]
    Octet {
        /// The pattern.
        pattern: String,
        /// The number.
        number: u16,
    },
    /// The number is beyond the last subnet.
    #[error("`{pattern}` has {count} subnets, {number} is beyond the last")]
    Subnet {
        /// The pattern.
        pattern: String,
        /// How many subnets there are.
        count: u128,
        /// The number.
        number: u16,
    },
    /// The host is beyond the end of the subnet.
    #[error("`{net}` has no room for host {host}")]
    Host {
        /// The subnet.
        net: IpNet,
        /// The host part.
        host: String,
    },
}

/// How a number becomes a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// No addresses of this kind.
    None,
    /// Text with `%d` where the number goes.
    Text(String),
    /// The number-th subnet of a base.
    Subnet {
        /// The base.
        base: IpNet,
        /// Bits to add to its length.
        newbits: u8,
    },
}

impl Pattern {
    /// Takes a pattern as text; no text means no addresses.
    ///
    /// # Errors
    ///
    /// When a `%` is followed by anything but `d`.
    pub fn text(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Ok(Self::None);
        }
        if text.replace("%d", "").contains('%') {
            return Err(PatternError::Verb(text.to_owned()));
        }
        Ok(Self::Text(text.to_owned()))
    }

    /// Takes a base and the bits to add to its length.
    ///
    /// # Errors
    ///
    /// When the base has fewer bits left than that.
    pub fn subnet(base: IpNet, newbits: u8) -> Result<Self, PatternError> {
        let base = base.trunc();
        let room = base.max_prefix_len() - base.prefix_len();
        if newbits > room {
            return Err(PatternError::Bits { base, newbits });
        }
        Ok(Self::Subnet { base, newbits })
    }

    /// Whether there are no addresses of this kind.
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The host prefix of a number: with 64 bits for IPv6 and 24 for IPv4 when it is text.
    ///
    /// # Errors
    ///
    /// When the number does not fit or the text is no address.
    pub fn hosts(&self, family: Family, number: TenantId) -> Result<Option<HostNet>, PatternError> {
        match self {
            Self::None => Ok(None),
            Self::Text(pattern) => {
                let text = pattern.replace("%d", &number.to_string());
                let zero = address(pattern, &format!("{text}0"), family, number)?;
                let len = if family == Family::Ipv6 { 64 } else { 24 };
                let net = prefix(zero, len);
                Ok(Some(HostNet { net: net.trunc(), text: Some(text) }))
            }
            Self::Subnet { base, newbits } => {
                let net = self.nth(*base, *newbits, family, number)?;
                Ok(Some(HostNet { net, text: None }))
            }
        }
    }

    /// The range of a number, for a pattern that is a CIDR.
    ///
    /// # Errors
    ///
    /// When the number does not fit or the text is no prefix.
    pub fn range(&self, family: Family, number: TenantId) -> Result<Option<IpNet>, PatternError> {
        match self {
            Self::None => Ok(None),
            Self::Text(pattern) => {
                let text = pattern.replace("%d", &number.to_string());
                let net = match IpNet::from_str(&text) {
                    Ok(net) if Family::of(&net) == family => net,
                    _ if octet_overflow(pattern, family, number) => {
                        return Err(PatternError::Octet {
                            pattern: pattern.clone(),
                            number: number.get(),
                        });
                    }
                    _ => {
                        let (pattern, what) = (pattern.clone(), "prefix");
                        return Err(PatternError::Text { pattern, text, family, what });
                    }
                };
                if net == net.trunc() {
                    return Ok(Some(net));
                }
                let (pattern, meant) = (pattern.clone(), net.trunc());
                Err(PatternError::HostBits { pattern, text, meant })
            }
            Self::Subnet { base, newbits } => self.nth(*base, *newbits, family, number).map(Some),
        }
    }

    /// The prefix that holds what the pattern gives for every number, as far as that can be told.
    pub fn pool(&self, family: Family) -> Option<IpNet> {
        match self {
            Self::None => None,
            Self::Subnet { base, .. } => (Family::of(base) == family).then_some(*base),
            Self::Text(pattern) => {
                let (head, _) = pattern.split_once("%d")?;
                let (separator, bits) = if family == Family::Ipv6 { (':', 16) } else { ('.', 8) };
                if !head.ends_with(separator) || head.contains("::") {
                    return None;
                }
                let groups: Vec<&str> = head.trim_end_matches(separator).split(separator).collect();
                let zeros = (128 / 16_usize).checked_sub(groups.len())?;
                let len = u8::try_from(groups.len()).ok()?.checked_mul(bits)?;
                let text = if family == Family::Ipv6 {
                    if zeros == 0 {
                        return None;
                    }
                    format!("{}::", groups.join(":"))
                } else {
                    let rest = 4_usize.checked_sub(groups.len())?;
                    format!("{}{}", groups.join("."), ".0".repeat(rest))
                };
                let address = IpAddr::from_str(&text).ok()?;
                IpNet::new(address, len).ok().map(|net| net.trunc())
            }
        }
    }

    fn nth(
        &self,
        base: IpNet,
        newbits: u8,
        family: Family,
        number: TenantId,
    ) -> Result<IpNet, PatternError> {
        let pattern = self.to_string();
        if Family::of(&base) != family {
            let (text, what) = (base.to_string(), "prefix");
            return Err(PatternError::Text { pattern, text, family, what });
        }
        let count = 1_u128.checked_shl(u32::from(newbits)).unwrap_or(u128::MAX);
        let number = number.get();
        if u128::from(number) >= count {
            return Err(PatternError::Subnet { pattern, count, number });
        }
        let len = base.prefix_len() + newbits;
        let shift = u32::from(base.max_prefix_len() - len);
        Ok(match base {
            IpNet::V4(net) => {
                let add = u32::from(number).checked_shl(shift).unwrap_or(0);
                prefix(IpAddr::V4(Ipv4Addr::from(u32::from(net.network()) | add)), len)
            }
            IpNet::V6(net) => {
                let add = u128::from(number).checked_shl(shift).unwrap_or(0);
                prefix(IpAddr::V6(Ipv6Addr::from(u128::from(net.network()) | add)), len)
            }
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("\"\""),
            Self::Text(text) => f.write_str(text),
            Self::Subnet { base, newbits } => {
                write!(f, "{{ base = \"{base}\", newbits = {newbits} }}")
            }
        }
    }
}

/// The host prefix of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNet {
    net: IpNet,
    text: Option<String>,
}

impl HostNet {
    /// The prefix.
    pub const fn net(&self) -> IpNet {
        self.net
    }

    /// The address of a host. In IPv6 the host's digits are written as they are, so that host 11
    /// ends in `::11`.
    ///
    /// # Errors
    ///
    /// When the prefix has no such host.
    pub fn host(&self, host: &str) -> Result<IpAddr, PatternError> {
        let none = || PatternError::Host { net: self.net, host: host.to_owned() };
        let address = match (&self.text, self.net) {
            (Some(text), IpNet::V4(_)) => {
                IpAddr::V4(Ipv4Addr::from_str(&format!("{text}{host}")).map_err(|_| none())?)
            }
            (Some(text), IpNet::V6(_)) => {
                IpAddr::V6(Ipv6Addr::from_str(&format!("{text}{host}")).map_err(|_| none())?)
            }
            (None, IpNet::V4(net)) => {
                let host: u32 = host.parse().map_err(|_| none())?;
                let sum = u32::from(net.network()).checked_add(host).ok_or_else(none)?;
                IpAddr::V4(Ipv4Addr::from(sum))
            }
            (None, IpNet::V6(net)) => {
                let host = u128::from_str_radix(host, 16).map_err(|_| none())?;
                let sum = u128::from(net.network()).checked_add(host).ok_or_else(none)?;
                IpAddr::V6(Ipv6Addr::from(sum))
            }
        };
        let inside = self.net.contains(&address);
        let edge = match (self.net, address) {
            (IpNet::V4(net), IpAddr::V4(address)) if net.prefix_len() < 31 => {
                address == net.network() || address == net.broadcast()
            }
            _ => false,
        };
        if inside && !edge { Ok(address) } else { Err(none()) }
    }

    /// The last address that a gateway takes: one before the end in IPv4, `fffe` in IPv6.
    ///
    /// # Errors
    ///
    /// When the prefix is too small to have one.
    pub fn gateway(&self) -> Result<IpAddr, PatternError> {
        match self.net {
            IpNet::V4(net) if net.prefix_len() <= 30 => {
                Ok(IpAddr::V4(Ipv4Addr::from(u32::from(net.broadcast()) - 1)))
            }
            IpNet::V4(_) => Err(PatternError::Host { net: self.net, host: "gateway".to_owned() }),
            IpNet::V6(_) => self.host("fffe"),
        }
    }
}

/// A prefix around an address; the length is known to fit.
fn prefix(address: IpAddr, len: u8) -> IpNet {
    match address {
        IpAddr::V4(address) => IpNet::V4(v4(address, len)),
        IpAddr::V6(address) => IpNet::V6(v6(address, len)),
    }
}

/// An IPv4 prefix; a length beyond 32 is a single address.
pub(crate) fn v4(address: Ipv4Addr, len: u8) -> Ipv4Net {
    Ipv4Net::new(address, len).unwrap_or_else(|_| Ipv4Net::from(address))
}

/// An IPv6 prefix; a length beyond 128 is a single address.
pub(crate) fn v6(address: Ipv6Addr, len: u8) -> Ipv6Net {
    Ipv6Net::new(address, len).unwrap_or_else(|_| Ipv6Net::from(address))
}

fn octet_overflow(pattern: &str, family: Family, number: TenantId) -> bool {
    family == Family::Ipv4 && number.get() > 255 && pattern.contains("%d")
}

fn address(
    pattern: &str,
    text: &str,
    family: Family,
    number: TenantId,
) -> Result<IpAddr, PatternError> {
    match IpAddr::from_str(text) {
        Ok(address) if address.is_ipv4() == (family == Family::Ipv4) => Ok(address),
        _ if octet_overflow(pattern, family, number) => {
            Err(PatternError::Octet { pattern: pattern.to_owned(), number: number.get() })
        }
        _ => Err(PatternError::Text {
            pattern: pattern.to_owned(),
            text: text.to_owned(),
            family,
            what: "address",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> TenantId {
        TenantId::new(number).unwrap()
    }

    fn host(pattern: &Pattern, family: Family, number: u64, host: &str) -> String {
        let net = pattern.hosts(family, id(number)).unwrap().unwrap();
        format!("{} in {}", net.host(host).unwrap(), net.net())
    }

    #[test]
    fn both_ipv4_forms_and_the_ipv6_form() {
        let first = Pattern::text("10.%d.0.").unwrap();
        let second = Pattern::text("10.0.%d.").unwrap();
        let six = Pattern::text("fd00:%d::").unwrap();
        assert_eq!(host(&first, Family::Ipv4, 101, "11"), "10.101.0.11 in 10.101.0.0/24");
        assert_eq!(host(&second, Family::Ipv4, 101, "11"), "10.0.101.11 in 10.0.101.0/24");
        assert_eq!(host(&six, Family::Ipv6, 101, "11"), "fd00:101::11 in fd00:101::/64");
        assert_eq!(host(&six, Family::Ipv6, 999, "fffe"), "fd00:999::fffe in fd00:999::/64");
    }

    #[test]
    fn a_base_is_cut_by_number() {
        let four = Pattern::subnet("10.0.0.0/8".parse().unwrap(), 16).unwrap();
        assert_eq!(host(&four, Family::Ipv4, 300, "11"), "10.1.44.11 in 10.1.44.0/24");
        let six = Pattern::subnet("fd00::/48".parse().unwrap(), 16).unwrap();
        assert_eq!(host(&six, Family::Ipv6, 300, "11"), "fd00:0:0:12c::11 in fd00:0:0:12c::/64");
        let small = Pattern::subnet("10.0.0.0/16".parse().unwrap(), 8).unwrap();
        let error = small.hosts(Family::Ipv4, id(256)).unwrap_err();
        assert!(matches!(error, PatternError::Subnet { count: 256, number: 256, .. }), "{error}");
        assert!(Pattern::subnet("10.0.0.0/24".parse().unwrap(), 9).is_err());
    }

    #[test]
    fn an_id_above_255_has_no_octet() {
        let error = Pattern::text("10.%d.0.").unwrap().hosts(Family::Ipv4, id(256)).unwrap_err();
        assert!(matches!(error, PatternError::Octet { number: 256, .. }), "{error}");
        let error =
            Pattern::text("10.%d.0.0/16").unwrap().range(Family::Ipv4, id(300)).unwrap_err();
        assert!(matches!(error, PatternError::Octet { .. }), "{error}");
    }

    #[test]
    fn edges_of_an_ipv4_prefix_are_no_hosts() {
        let net = Pattern::text("10.%d.0.").unwrap().hosts(Family::Ipv4, id(1)).unwrap().unwrap();
        assert!(net.host("0").is_err());
        assert!(net.host("255").is_err());
        assert!(net.host("256").is_err());
        assert_eq!(net.gateway().unwrap().to_string(), "10.1.0.254");
    }

    #[test]
    fn ranges_are_prefixes_without_host_bits() {
        let pods = Pattern::text("10.%d.240.0/20").unwrap();
        assert_eq!(
            pods.range(Family::Ipv4, id(101)).unwrap().unwrap().to_string(),
            "10.101.240.0/20"
        );
        let off = Pattern::text("10.%d.240.1/20").unwrap().range(Family::Ipv4, id(1)).unwrap_err();
        assert!(matches!(off, PatternError::HostBits { .. }), "{off}");
        assert!(Pattern::text("10.%s.0.0/16").is_err());
        assert!(Pattern::text("10.1.0.").unwrap().range(Family::Ipv4, id(1)).is_err());
        assert!(Pattern::text("fd00::/64").unwrap().range(Family::Ipv4, id(1)).is_err());
        assert_eq!(Pattern::text("").unwrap().range(Family::Ipv4, id(1)), Ok(None));
    }

    #[test]
    fn the_pool_is_the_fixed_front() {
        let pool = |text: &str, family| {
            Pattern::text(text).unwrap().pool(family).map(|net| net.to_string())
        };
        assert_eq!(pool("10.255.%d.", Family::Ipv4).as_deref(), Some("10.255.0.0/16"));
        assert_eq!(pool("fd00:255:%d::", Family::Ipv6).as_deref(), Some("fd00:255::/32"));
        assert_eq!(pool("10.1%d.0.", Family::Ipv4), None);
        assert_eq!(pool("fd00::%d:", Family::Ipv6), None);
    }
}
