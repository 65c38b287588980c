//! Forms that texts must have.

use std::net::IpAddr;

use ipnet::IpNet;

/// A prefix, host bits or not.
pub(super) fn is_prefix(text: &str) -> bool {
    text.contains('/') && text.parse::<IpNet>().is_ok()
}

/// An address or a prefix.
pub(super) fn is_address_or_prefix(text: &str) -> bool {
    is_prefix(text) || text.parse::<IpAddr>().is_ok()
}

/// An address or a prefix, or `!` before one.
pub(super) fn is_subnet_filter(text: &str) -> bool {
    is_address_or_prefix(text.strip_prefix('!').unwrap_or(text))
}

/// A DNS domain: labels of letters, digits, `_` and `-` up to 63, none beginning with `-`.
pub(super) fn is_domain(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        })
}

/// Why a text is no label's name: an optional DNS prefix, a slash, and a name.
pub(super) fn label_name(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let is_subdomain = |text: &str| {
        !text.is_empty()
            && text.len() <= 253
            && text.split('.').all(|label| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            })
    };
    prefix.is_none_or(is_subdomain) && is_qualified(name) && !name.is_empty()
}

/// A value of a label.
pub(super) fn label_value(text: &str) -> bool {
    text.is_empty() || is_qualified(text)
}

fn is_qualified(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(ends)
        && text.ends_with(ends)
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// 32 bytes of base64: a key of WireGuard.
pub(super) fn is_wireguard_key(text: &str) -> bool {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    decoded.is_ok_and(|bytes| bytes.len() == 32)
}

/// Host and port.
pub(super) fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_ok = match host.strip_prefix('[') {
        Some(inner) => inner.ends_with(']'),
        None => !host.contains(':'),
    };
    host_ok && !port.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart() {
        assert!(is_prefix("10.0.0.1/8") && !is_prefix("10.0.0.1") && !is_prefix("10.0.0.1/99"));
        assert!(is_subnet_filter("!fd00::/8") && !is_subnet_filter("10.0.0"));
        assert!(is_domain("cluster.local.") && !is_domain("a b") && !is_domain("-a"));
        assert!(label_name("a.b/c") && label_name("x") && !label_name("a b") && !label_name("A/b"));
        assert!(label_value("") && !label_value("-a"));
        assert!(is_host_port("[::1]:3333") && !is_host_port("a") && !is_host_port("::1:3"));
    }
}
