//! URLs as Talos reads them: with the rules of Go's `net/url` package, which are laxer than those
//! of the WHATWG. What it makes of an endpoint is what ends up in a configuration.

use std::fmt::{self, Write as _};

/// A URL in its parts, each as it is written again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoUrl {
    scheme: String,
    /// What follows a scheme without `//` and without a leading slash.
    opaque: String,
    user: Option<String>,
    host: String,
    /// The `//` was not there.
    omit_host: bool,
    path: String,
    query: Option<String>,
    fragment: Option<String>,
}

/// Why a text is no URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UrlError(&'static str);

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Where a character stands: each place allows other ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Host,
    Zone,
    Path,
    User,
    Fragment,
}

impl GoUrl {
    /// Reads a URL.
    pub(crate) fn parse(text: &str) -> Result<Self, UrlError> {
        if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(UrlError("it has a control character"));
        }
        let (text, fragment) = match text.split_once('#') {
            Some((before, after)) => {
                unescape(after, Place::Fragment)?;
                (before, Some(after.to_owned()))
            }
            None => (text, None),
        };
        let (scheme, rest) = scheme(text)?;
        let (rest, query) = match rest.split_once('?') {
            Some((before, after)) => (before, Some(after.to_owned())),
            None => (rest, None),
        };
        let mut url = Self {
            scheme: scheme.to_ascii_lowercase(),
            opaque: String::new(),
            user: None,
            host: String::new(),
            omit_host: false,
            path: String::new(),
            query,
            fragment,
        };
        let mut rest = rest;
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                rest.clone_into(&mut url.opaque);
                return Ok(url);
            }
            if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
                return Err(UrlError("its first part has a colon; a scheme is missing"));
            }
        }
        let may_have_host = !url.scheme.is_empty() || !rest.starts_with("///");
        match rest.strip_prefix("//").filter(|_| may_have_host) {
            Some(after) => {
                let end = after.find('/').unwrap_or(after.len());
                let (authority, path) = after.split_at_checked(end).unwrap_or((after, ""));
                url.authority(authority)?;
                rest = path;
            }
            None => url.omit_host = !url.scheme.is_empty() && rest.starts_with('/'),
        }
        unescape(rest, Place::Path)?;
        url.path = as_written(rest);
        Ok(url)
    }

    fn authority(&mut self, authority: &str) -> Result<(), UrlError> {
        let host = match authority.rsplit_once('@') {
            None => authority,
            Some((user, host)) => {
                let allowed =
                    |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
                if !user.chars().all(allowed) {
                    return Err(UrlError("its user name has a character that cannot stand there"));
                }
                unescape(user, Place::User)?;
                self.user = Some(user.to_owned());
                host
            }
        };
        let (name, port) = match host.strip_prefix('[') {
            Some(inner) => {
                let Some((name, port)) = inner.rsplit_once(']') else {
                    return Err(UrlError("its host lacks a closing bracket"));
                };
                let (address, zone) = match name.split_once("%25") {
                    Some((address, zone)) => (address, Some(zone)),
                    None => (name, None),
                };
                if address.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(UrlError("its host in brackets is no IPv6 address"));
                }
                if let Some(zone) = zone {
                    unescape(zone, Place::Zone)?;
                }
                (format!("[{name}]"), port)
            }
            None => match host.rfind(':') {
                Some(at) => {
                    let (name, port) = host.split_at_checked(at).unwrap_or((host, ""));
                    if name.contains(':') {
                        return Err(UrlError(
                            "its host has a colon; an IPv6 address needs brackets",
                        ));
                    }
                    (name.to_owned(), port)
                }
                None => (host.to_owned(), ""),
            },
        };
        let is_port = port.is_empty()
            || port.strip_prefix(':').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        if !is_port {
            return Err(UrlError("its port is no number"));
        }
        let plain = unescape(&name, Place::Host)?;
        self.host = escape_host(&plain) + port;
        Ok(())
    }

    /// Another URL over this one, part by part: what the other does not have is kept. None when
    /// both name a user.
    pub(crate) fn overlaid(self, over: Self) -> Option<Self> {
        if self.user.is_some() && over.user.is_some() {
            return None;
        }
        let text = |one: String, other: String| if other.is_empty() { one } else { other };
        Some(Self {
            scheme: text(self.scheme, over.scheme),
            opaque: text(self.opaque, over.opaque),
            user: over.user.or(self.user),
            host: text(self.host, over.host),
            omit_host: over.omit_host || self.omit_host,
            path: text(self.path, over.path),
            query: over.query.filter(|query| !query.is_empty()).or(self.query),
            fragment: over.fragment.filter(|text| !text.is_empty()).or(self.fragment),
        })
    }

    /// The scheme, in lower case; empty when there is none.
    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Host and port as they are written.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The port as text; empty when there is none.
    pub(crate) fn port(&self) -> &str {
        let after = self.host.rsplit(']').next().unwrap_or_default();
        after.rsplit_once(':').map_or("", |(_, port)| port)
    }

    /// The path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The host without port; an IPv6 address without brackets.
    pub(crate) fn host_name(&self) -> &str {
        match self.host.strip_prefix('[') {
            Some(inner) => inner.split(']').next().unwrap_or_default(),
            None => self.host.split(':').next().unwrap_or_default(),
        }
    }
}

impl fmt::Display for GoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if self.opaque.is_empty() {
            let has_authority = !self.host.is_empty() || self.user.is_some();
            let shows = !self.scheme.is_empty() || has_authority;
            if shows && (has_authority || !self.omit_host) {
                if has_authority || !self.path.is_empty() {
                    f.write_str("//")?;
                }
                if let Some(user) = &self.user {
                    write!(f, "{user}@")?;
                }
                f.write_str(&self.host)?;
            }
            f.write_str(&self.path)?;
        } else {
            f.write_str(&self.opaque)?;
        }
        if let Some(query) = &self.query {
            write!(f, "?{query}")?;
        }
        if let Some(fragment) = self.fragment.as_ref().filter(|text| !text.is_empty()) {
            write!(f, "#{fragment}")?;
        }
        Ok(())
    }
}

/// Splits a scheme off; a text whose beginning cannot be one has none.
fn scheme(text: &str) -> Result<(&str, &str), UrlError> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err(UrlError("it begins with a colon; a scheme is missing")),
            ':' => {
                let (scheme, rest) = text.split_at_checked(at).unwrap_or((text, ""));
                return Ok((scheme, rest.strip_prefix(':').unwrap_or(rest)));
            }
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

fn unescape(text: &str, place: Place) -> Result<Vec<u8>, UrlError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            let is_odd = place == Place::Host
                && byte.is_ascii()
                && !byte.is_ascii_alphanumeric()
                && !b"!$&'()*+,;=:[]<>\"-_.~".contains(&byte);
            if is_odd {
                return Err(UrlError("its host has a character that cannot stand there"));
            }
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
            return Err(UrlError("it has a % that is not followed by two hexadecimal digits"));
        };
        let value = u8::try_from(high * 16 + low).unwrap_or_default();
        // In a host only what is not ASCII is written so.
        if place == Place::Host && value < 0x80 && value != b'%' {
            return Err(UrlError("its host has an escape that cannot stand there"));
        }
        out.push(value);
    }
    Ok(out)
}

fn escape_host(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        let plain = byte.is_ascii_alphanumeric() || b"!$&'()*+,;=:[]<>\"-_.~".contains(byte);
        if plain {
            out.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _: fmt::Result = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A path as it is written: kept when every character may stand there, else escaped.
fn as_written(path: &str) -> String {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@[]%/".contains(&byte);
    if path.bytes().all(allowed) {
        return path.to_owned();
    }
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if allowed(byte) && !b"[]".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _: fmt::Result = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Option<String> {
        GoUrl::parse(text).ok().map(|url| url.to_string())
    }

    #[test]
    fn endpoints_are_read_and_written_as_talos_does() {
        let same = [
            "https://10.0.0.1:6443",
            "https://[fd00::1]:6443",
            "https://K8s.Lan",
            "ftp://a/b?c=d#e",
            "",
            "/x",
        ];
        for text in same {
            assert_eq!(written(text).as_deref(), Some(text));
        }
        assert_eq!(written("HTTPS://Host:1/").as_deref(), Some("https://Host:1/"));
        assert_eq!(written("https://bücher.lan").as_deref(), Some("https://b%C3%BCcher.lan"));
        assert_eq!(written("host:6443").as_deref(), Some("host:6443"));
        assert_eq!(GoUrl::parse("host:6443").unwrap().host_name(), "");
        assert_eq!(GoUrl::parse("https://[fd00::1]:6443").unwrap().host_name(), "fd00::1");
        assert_eq!(written("fd00::1").as_deref(), Some("fd00::1"));
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "2001:db8::1",
            "10.0.0.1:6443",
            "[fd00::1]:6443",
            "https://10.0.0.1:port",
            "https://a\tb",
            "https://%zz:6443",
            "://nothing",
            "https://[fd00::1",
            "https://a b",
            "https://[1.2.3.4]",
        ] {
            assert_eq!(written(text), None, "{text}");
        }
    }
}
