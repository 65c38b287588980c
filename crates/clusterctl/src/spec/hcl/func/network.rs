//! Prefixes and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use num_bigint::BigInt;
use num_traits::ToPrimitive as _;

use super::Arguments;
use crate::spec::hcl::eval::Result;
use crate::spec::hcl::value::{Kind, Type, Value};

/// A prefix as bits.
#[derive(Clone, Copy)]
struct Prefix {
    bits: u128,
    length: u32,
    width: u32,
}

fn prefix(given: &Arguments<'_>, at: usize) -> Result<Prefix> {
    let text = given.string(at)?;
    let bad = || given.failure(at, format!("{text:?} is no prefix such as 10.0.0.0/8"));
    let (address, length) = text.split_once('/').ok_or_else(bad)?;
    let plain = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let length: u32 = length.parse().ok().filter(|_| plain).ok_or_else(bad)?;
    let (bits, width) = match parse_address(address).ok_or_else(bad)? {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    if length > width {
        return Err(bad());
    }
    Ok(Prefix { bits: bits & mask(length, width), length, width })
}

/// Leading zeros in IPv4 numbers are decimal, as they were for Go once.
fn parse_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        *octet = part
            .trim_start_matches('0')
            .parse()
            .ok()
            .or_else(|| part.bytes().all(|byte| byte == b'0').then_some(0))?;
        if !plain {
            return None;
        }
    }
    parts.next().is_none().then(|| IpAddr::V4(Ipv4Addr::from(octets)))
}

fn mask(length: u32, width: u32) -> u128 {
    let host = width - length;
    let all = if width == 128 { u128::MAX } else { (1_u128 << width) - 1 };
    if host == 128 { 0 } else { all & !((1_u128 << host) - 1) }
}

fn address_text(bits: u128, width: u32) -> String {
    if width == 32 {
        Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(0)).to_string()
    } else {
        v6_text(Ipv6Addr::from_bits(bits))
    }
}

/// An IPv4-mapped address is written with groups, as everywhere else.
fn v6_text(address: Ipv6Addr) -> String {
    address.to_string()
}

impl Prefix {
    fn text(self) -> String {
        format!("{}/{}", address_text(self.bits, self.width), self.length)
    }

    /// The `number`-th of the prefixes that are `extra` bits longer.
    fn subnet(self, extra: u32, number: &BigInt) -> Option<Self> {
        let length = self.length + extra;
        if length > self.width {
            return None;
        }
        let number = number.to_u128()?;
        if extra < 128 && number >> extra != 0 {
            return None;
        }
        let shift = self.width - length;
        let bits = if shift == 128 { 0 } else { number << shift };
        Some(Self { bits: self.bits | bits, length, width: self.width })
    }
}

fn whole(given: &Arguments<'_>, at: usize) -> Result<BigInt> {
    given.number(at)?.to_integer().ok_or_else(|| given.failure(at, "a whole number is needed"))
}

fn extra_bits(given: &Arguments<'_>, at: usize) -> Result<u32> {
    u32::try_from(given.integer(at)?)
        .ok()
        .filter(|bits| *bits <= 128)
        .ok_or_else(|| given.failure(at, "a number of bits is needed"))
}

pub(super) fn cidrhost(given: &Arguments<'_>) -> Result<Value> {
    let prefix = prefix(given, 0)?;
    let number = whole(given, 1)?;
    let host_bits = prefix.width - prefix.length;
    let room = BigInt::from(1) << host_bits;
    let wanted = if number < BigInt::from(0) { &room + &number } else { number.clone() };
    let fits = wanted >= BigInt::from(0) && wanted < room;
    match wanted.to_u128().filter(|_| fits) {
        Some(host) => Ok(Value::string(address_text(prefix.bits | host, prefix.width))),
        None => given.fail(format!(
            "prefix of {} does not accommodate a host numbered {number}",
            prefix.length
        )),
    }
}

pub(super) fn cidrnetmask(given: &Arguments<'_>) -> Result<Value> {
    let prefix = prefix(given, 0)?;
    if prefix.width == 128 {
        return given.fail("IPv6 has no netmask in this form");
    }
    Ok(Value::string(address_text(mask(prefix.length, 32), 32)))
}

pub(super) fn cidrsubnet(given: &Arguments<'_>) -> Result<Value> {
    let prefix = prefix(given, 0)?;
    let extra = extra_bits(given, 1)?;
    let number = whole(given, 2)?;
    if prefix.length + extra > prefix.width {
        return given.fail(format!(
            "not enough remaining address space for a subnet with a prefix of {} bits",
            prefix.length + extra
        ));
    }
    match prefix.subnet(extra, &number) {
        Some(subnet) => Ok(Value::string(subnet.text())),
        None => given.fail(format!(
            "prefix extension of {extra} does not accommodate a subnet numbered {number}"
        )),
    }
}

pub(super) fn cidrsubnets(given: &Arguments<'_>) -> Result<Value> {
    let prefix = prefix(given, 0)?;
    let mut next = BigInt::from(prefix.bits);
    let end = BigInt::from(prefix.bits) + (BigInt::from(1) << (prefix.width - prefix.length));
    let mut subnets = Vec::new();
    for at in 1..given.len() {
        let extra = extra_bits(given, at)?;
        let length = prefix.length + extra;
        // Terraform's own limit is 32; only IPv6 has room for more.
        if extra == 0 || extra > 32 || length > prefix.width {
            return Err(given.failure(at, "the prefix cannot be longer by that many bits"));
        }
        let size = BigInt::from(1) << (prefix.width - length);
        // The next multiple of the subnet's size.
        let start: BigInt = (&next + &size - 1_u8) / &size * &size;
        if &start + &size > end {
            return Err(given.failure(at, "there is no room for the subnet"));
        }
        let bits = start.to_u128().unwrap_or(0);
        subnets.push(Value::string(Prefix { bits, length, width: prefix.width }.text()));
        next = start + size;
    }
    Ok(Kind::List(Type::String, Arc::new(subnets)).into())
}
