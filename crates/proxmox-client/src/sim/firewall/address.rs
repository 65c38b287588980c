//! Addresses, networks and ranges with the texts of the library that the server reads them with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::port::split;

const NAME_MAX: usize = 64;

/// Whether the text is a name of an alias, a set or a group.
pub(crate) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && text.len() > 1
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Scope (`dc/`, `guest/` or empty) and name of a reference to an alias.
pub(crate) fn alias(text: &str) -> Option<(&str, &str)> {
    scoped(text, &["dc/", "guest/"])
}

/// Splits one of the scopes off a name.
pub(crate) fn scoped<'a>(text: &'a str, scopes: &[&str]) -> Option<(&'a str, &'a str)> {
    let length = scopes.iter().find(|scope| text.starts_with(**scope)).map_or(0, |one| one.len());
    let (scope, name) = text.split_at(length);
    is_name(name).then_some((scope, name))
}

/// Family of the addresses of `source` or `dest`; `None` for sets, aliases and the empty text.
///
/// # Errors
/// The server's text.
pub(crate) fn list(text: &str) -> Result<Option<u8>, String> {
    if text.len() > 1 && text.starts_with('+') && !text.contains(char::is_whitespace) {
        if text.len() > NAME_MAX + 1 {
            return Err("ipset name too long".to_owned());
        }
        return Ok(None);
    }
    if alias(text).is_some() {
        if text.len() > NAME_MAX {
            return Err("alias name too long".to_owned());
        }
        return Ok(None);
    }
    let parts = split(text)?;
    let mut family = None;
    for part in &parts {
        let (first, _) = range(part).map_err(|text| format!("invalid IP address: {text}"))?;
        let this = if first.is_ipv6() { 6 } else { 4 };
        if family.is_some_and(|family| family != this) {
            return Err(format!("detected mixed ipv4/ipv6 addresses in address list '{text}'"));
        }
        family = Some(this);
    }
    if parts.len() > 1 && parts.iter().any(|part| part.contains('-')) {
        return Err("you can't use a range in a list".to_owned());
    }
    Ok(family)
}

/// Checks an address or a network, whose host bits do not matter.
///
/// # Errors
/// The server's text.
pub(crate) fn block(text: &str) -> Result<(), String> {
    let (addr, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if addr.parse::<IpAddr>().is_err() || !length.is_none_or(digits) {
        return Err("value does not look like a valid IP address or CIDR network".to_owned());
    }
    range(&network(text)).map(drop)
}

/// A network without host bits; anything else unchanged. A length of one address is left out.
pub(crate) fn normal(text: &str) -> String {
    bare(&network(text))
}

/// Drops the length of a network of one address.
pub(crate) fn bare(text: &str) -> String {
    let end = if text.contains(':') { "/128" } else { "/32" };
    text.strip_suffix(end).unwrap_or(text).to_owned()
}

fn network(text: &str) -> String {
    let Some((addr, length)) = text.split_once('/') else { return text.to_owned() };
    let (Ok(addr), Ok(bits)) = (addr.parse::<IpAddr>(), length.parse::<u32>()) else {
        return text.to_owned();
    };
    if bits == 0 || bits > width(addr) {
        return text.to_owned();
    }
    let first = number(addr) & !tail(addr, bits);
    format!("{}/{length}", address(first, addr.is_ipv6()))
}

fn width(addr: IpAddr) -> u32 {
    if addr.is_ipv6() { 128 } else { 32 }
}

fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => u128::from(u32::from(addr)),
        IpAddr::V6(addr) => u128::from(addr),
    }
}

/// The bits after a prefix of `bits` bits.
fn tail(addr: IpAddr, bits: u32) -> u128 {
    let host = width(addr) - bits;
    if host == 0 { 0 } else { u128::MAX >> (128 - host) }
}

fn address(number: u128, six: bool) -> IpAddr {
    if six {
        return Ipv6Addr::from(number).into();
    }
    Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into()
}

/// First and last address of `a`, `a/len` or `a-b`.
///
/// # Errors
/// The text of the address library.
pub(crate) fn range(text: &str) -> Result<(IpAddr, IpAddr), String> {
    if let Some((addr, length)) =
        text.split_once('/').filter(|(addr, length)| !addr.is_empty() && !length.is_empty())
    {
        let addr = single(addr)?;
        // what is no number is not looked at
        let Ok(bits) = length.parse::<u32>() else { return Ok((addr, addr)) };
        prefix(addr, bits)?;
        let last = number(addr) | tail(addr, bits);
        return Ok((addr, address(last, addr.is_ipv6())));
    }
    if let Some((first, last)) =
        text.split_once('-').filter(|(first, last)| !first.is_empty() && !last.trim().is_empty())
    {
        let (first, last) = (single(first.trim_end())?, single(last.trim_start())?);
        if first.is_ipv6() != last.is_ipv6() {
            return Err(format!(
                "Begin and End addresses have different IP versions - {first} - {last}"
            ));
        }
        if first > last {
            return Err(format!(
                "Begin address is greater than End address {} - {}",
                expanded(first),
                expanded(last)
            ));
        }
        return Ok((first, last));
    }
    single(text).map(|addr| (addr, addr))
}

fn expanded(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(addr) => addr.to_string(),
        IpAddr::V6(addr) => {
            let groups: Vec<String> =
                addr.segments().iter().map(|group| format!("{group:04x}")).collect();
            groups.join(":")
        }
    }
}

fn prefix(addr: IpAddr, bits: u32) -> Result<(), String> {
    let width = width(addr);
    if bits > width {
        return Err(format!("Prefix length {bits} is longer than IP address ({width})"));
    }
    let value = number(addr);
    if value & tail(addr, bits) != 0 {
        let digits = usize::try_from(width).unwrap_or_default();
        return Err(format!("Invalid prefix {value:0digits$b}/{bits}"));
    }
    Ok(())
}

fn single(text: &str) -> Result<IpAddr, String> {
    if text.contains(':') { six(text) } else { four(text) }
}

/// Missing quads are zero, as in `10.1`.
fn four(text: &str) -> Result<IpAddr, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!("Invalid chars in IP {text}"));
    }
    if text.starts_with('.') {
        return Err(format!("Invalid IP {text} - starts with a dot"));
    }
    if text.ends_with('.') {
        return Err(format!("Invalid IP {text} - ends with a dot"));
    }
    let quads: Vec<&str> = text.split('.').collect();
    if quads.len() > 4 {
        return Err(format!("Invalid IP address {text}"));
    }
    if quads.contains(&"") {
        return Err(format!("Empty quad in IP address {text}"));
    }
    let mut bytes = [0_u8; 4];
    for (byte, quad) in bytes.iter_mut().zip(&quads) {
        *byte = quad.parse().map_err(|_| format!("Invalid quad in IP address {text} - {quad}"))?;
    }
    Ok(Ipv4Addr::from(bytes).into())
}

fn six(text: &str) -> Result<IpAddr, String> {
    let groups: Vec<&str> = text.split(':').collect();
    if groups.len() > 8 {
        return Err(String::new());
    }
    for (index, group) in groups.iter().enumerate() {
        let hex = group.len() <= 4 && group.bytes().all(|byte| byte.is_ascii_hexdigit());
        let embedded = index + 1 == groups.len() && four(group).is_ok();
        if !hex && !embedded {
            return Err(format!("Invalid IP address {text}"));
        }
    }
    if text.starts_with(':') && !text.starts_with("::") {
        return Err(format!("Invalid address {text} (starts with :)"));
    }
    if text.ends_with(':') && !text.ends_with("::") {
        return Err(format!("Invalid address {text} (ends with :)"));
    }
    let pairs = text.as_bytes().windows(2).filter(|pair| *pair == b"::").count();
    if pairs > 1 {
        return Err(format!("Invalid address {text} (More than one :: pattern)"));
    }
    text.parse::<Ipv6Addr>().map(IpAddr::from).map_err(|_| {
        let digits: Vec<String> = groups.iter().map(|group| format!("{group:0>4}")).collect();
        format!("Bad IP address {}", digits.concat().to_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_addresses() {
        assert_eq!(list("10.0.0.0/8,192.168.1.1"), Ok(Some(4)));
        assert_eq!(list("fd00::1"), Ok(Some(6)));
        assert_eq!(list("10.0.0.1-10.0.0.9"), Ok(Some(4)));
        assert_eq!(list("+dc/set"), Ok(None));
        assert_eq!(list("guest/name"), Ok(None));
        let fail = |text: &str| list(text).expect_err(text);
        let chars = "invalid IP address: Invalid chars in IP -";
        assert_eq!(fail("-"), chars);
        assert_eq!(
            fail("300.1.1.1"),
            "invalid IP address: Invalid quad in IP address 300.1.1.1 - 300"
        );
        assert_eq!(
            fail("10.0.0.1/8"),
            "invalid IP address: Invalid prefix 00001010000000000000000000000001/8"
        );
        assert_eq!(
            fail("10.0.0.0/33"),
            "invalid IP address: Prefix length 33 is longer than IP address (32)"
        );
        assert_eq!(fail("10.0.0.1,10.0.0.2-10.0.0.3"), "you can't use a range in a list");
        assert_eq!(
            fail("10.0.0.1,fd00::1"),
            "detected mixed ipv4/ipv6 addresses in address list '10.0.0.1,fd00::1'"
        );
        assert_eq!(fail("10.0.0.1,"), "extraneous commas in list");
    }

    #[test]
    fn networks_lose_their_host_bits() {
        assert_eq!(normal("10.7.0.5/24"), "10.7.0.0/24");
        assert_eq!(normal("FD00:8::1/64"), "fd00:8::/64");
        assert_eq!(normal("10.8.0.1/32"), "10.8.0.1");
        assert_eq!(normal("fd00:7::1"), "fd00:7::1");
        assert_eq!(normal("0.0.0.0/0"), "0.0.0.0/0");
        assert_eq!(block("10.1.2.3/24"), Ok(()));
        assert!(block("10.9.0.1-10.9.0.9").is_err());
        assert!(block("10.9.0.1/40").is_err());
    }
}
