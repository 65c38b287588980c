//! Client configurations (`talosconfig`): contexts with endpoints and credentials.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use zeroize::Zeroize as _;

use crate::config::release;
use crate::pki::{Authority, PkiError, issue_client};
use crate::yaml::{self, Node};

/// How long a client's certificate is valid unless said otherwise, in seconds: 8760 hours.
pub const DEFAULT_LIFETIME: i64 = 8760 * 3600;

/// One context.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// Addresses of control-plane nodes, with a port where it is not 50000.
    pub endpoints: Vec<String>,
    /// Nodes that calls go to by default.
    pub nodes: Vec<String>,
    /// Authority of the machine API: base64 of PEM.
    pub ca: String,
    /// Certificate of the client: base64 of PEM.
    pub crt: String,
    /// Its key: base64 of PEM. Secret.
    pub key: String,
    /// Name of the cluster, for Omni.
    pub cluster: String,
    /// Ways to sign in with Omni.
    pub auth: Option<Auth>,
}

/// Ways to sign in with Omni.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// User name and password; the latter is secret.
    pub basic: Option<(String, String)>,
    /// An identity.
    pub siderov1: Option<String>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("siderov1", &self.siderov1).finish_non_exhaustive()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("endpoints", &self.endpoints)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// A client configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TalosConfig {
    /// The current context.
    pub context: String,
    /// Contexts by name.
    pub contexts: BTreeMap<String, Context>,
}

/// Why a text is no client configuration. It holds nothing of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TalosConfigError {
    line: usize,
    message: String,
}

impl fmt::Display for TalosConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

impl std::error::Error for TalosConfigError {}

/// A text is no duration in Go's notation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifetimeError {
    text: String,
}

impl fmt::Display for LifetimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no duration: write hours, minutes or seconds, such as 8760h", self.text)
    }
}

impl std::error::Error for LifetimeError {}

fn wrong(message: impl Into<String>) -> TalosConfigError {
    TalosConfigError { line: 0, message: message.into() }
}

impl TalosConfig {
    /// Reads a client configuration, as laxly as talosctl does: unknown fields are ignored,
    /// credentials are not decoded.
    ///
    /// # Errors
    /// The text is no YAML, or a field is of another type.
    pub fn parse(text: &str) -> Result<Self, TalosConfigError> {
        let document = yaml::first_document(text).map_err(|error| TalosConfigError {
            line: error.line,
            message: error.message.to_owned(),
        })?;
        let Some(document) = document else { return Err(wrong("the text is empty")) };
        let mut config = Self::default();
        for (name, value) in fields(&document, "the configuration")? {
            match name {
                "context" => config.context = scalar(value, "context")?,
                "contexts" => {
                    for (name, value) in fields(value, "contexts")? {
                        if value.is_null() {
                            return Err(wrong("a context is null"));
                        }
                        config.contexts.insert(name.to_owned(), context(value)?);
                    }
                }
                _ => {}
            }
        }
        Ok(config)
    }

    /// Makes a configuration with one context, and a certificate for it.
    ///
    /// `ca` and `ca_key` are PEM texts of the machine API's authority. Roles are trimmed; empty
    /// ones and repetitions are dropped.
    ///
    /// # Errors
    /// The authority cannot be read or cannot sign.
    pub fn generate(
        name: &str,
        ca: &str,
        ca_key: &str,
        options: &ClientOptions,
    ) -> Result<Self, PkiError> {
        let roles = cleaned(&options.roles);
        let authority =
            Authority::new(&crate::pki::Pem::parse(ca)?, &crate::pki::Pem::parse(ca_key)?)?;
        let issued = issue_client(&authority, &roles, options.now, options.lifetime)?;
        let context = Context {
            endpoints: options.endpoints.clone(),
            nodes: options.nodes.clone(),
            ca: STANDARD.encode(ca),
            crt: STANDARD.encode(issued.certificate.text().as_bytes()),
            key: STANDARD.encode(issued.key.text().as_bytes()),
            cluster: String::new(),
            auth: None,
        };
        let contexts = BTreeMap::from([(name.to_owned(), context)]);
        Ok(Self { context: name.to_owned(), contexts })
    }

    /// Adds the contexts of another configuration. One whose name is taken gets the first free
    /// `-1`, `-2`, …, even if it is identical. The other's current context becomes current under
    /// its new name. Gives the renames as (old, new).
    pub fn merge(&mut self, other: &Self) -> Vec<(String, String)> {
        let mut renames = Vec::new();
        let mut current = String::new();
        for (name, context) in &other.contexts {
            let mut target = name.clone();
            let mut number = 1;
            while self.contexts.contains_key(&target) {
                target = format!("{name}-{number}");
                number += 1;
            }
            if target != *name {
                renames.push((name.clone(), target.clone()));
            }
            if *name == other.context {
                current.clone_from(&target);
            }
            self.contexts.insert(target, context.clone());
        }
        if !other.context.is_empty() {
            self.context = current;
        }
        renames
    }

    /// As YAML text. It holds secrets: write it to a file of mode 0600.
    pub fn to_yaml(&self) -> String {
        let mut out = format!("context: {}\ncontexts:", yaml::scalar(&self.context));
        if self.contexts.is_empty() {
            out.push_str(" {}\n");
            return out;
        }
        out.push('\n');
        for (name, context) in &self.contexts {
            match yaml::is_long_key(name) {
                true => {
                    for part in ["    ? ", &yaml::scalar(name), "\n    :\n"] {
                        out.push_str(part);
                    }
                }
                false => heading(&mut out, 1, &yaml::scalar(name)),
            }
            context.write(&mut out);
        }
        out
    }

    /// As JSON with the fields of the file. It holds secrets.
    pub fn to_json(&self) -> Value {
        let contexts: Map<String, Value> =
            self.contexts.iter().map(|(name, context)| (name.clone(), context.to_json())).collect();
        json!({ "context": self.context, "contexts": contexts })
    }
}

/// What a client's configuration is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// Addresses of control-plane nodes.
    pub endpoints: Vec<String>,
    /// Nodes that calls go to by default.
    pub nodes: Vec<String>,
    /// What the client may do.
    pub roles: Vec<String>,
    /// Begin of the certificate, in seconds since 1970.
    pub now: i64,
    /// How long it is valid, in seconds.
    pub lifetime: i64,
}

/// Reads how long a certificate shall be valid, in seconds: a duration in Go's notation, such as
/// `8760h` or `1h30m`; empty means [`DEFAULT_LIFETIME`]. Parts of a second are cut off.
///
/// # Errors
/// It is no such duration. Go has no unit longer than the hour.
pub fn lifetime(text: &str) -> Result<i64, LifetimeError> {
    if text.is_empty() {
        return Ok(DEFAULT_LIFETIME);
    }
    let wrong = || LifetimeError { text: text.to_owned() };
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at_checked(digits).ok_or_else(wrong)?;
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit).ok_or_else(wrong)?;
        let part = nanoseconds(number, unit).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    let seconds = total / NANOSECONDS;
    Ok(if negative { -seconds } else { seconds })
}

/// Nanoseconds in a second.
const NANOSECONDS: i64 = 1_000_000_000;

/// One part of a duration; none when it is out of range (a duration has 63 bits) or misspelt.
fn nanoseconds(number: &str, unit: &str) -> Option<i64> {
    let scale = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => NANOSECONDS,
        "m" => 60 * NANOSECONDS,
        "h" => 3600 * NANOSECONDS,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let mut total: i64 = match whole {
        "" => 0,
        digits => digits.parse::<i64>().ok()?.checked_mul(scale)?,
    };
    // 15 digits reach below a nanosecond for every unit; what follows has no effect.
    let fraction = fraction.get(..15).unwrap_or(fraction);
    if !fraction.is_empty() {
        let digits = fraction.parse::<i128>().ok()?;
        let power = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = i64::try_from(i128::from(scale) * digits / power).ok()?;
        total = total.checked_add(part)?;
    }
    Some(total)
}

/// Roles without blanks around them, empty ones and repetitions.
fn cleaned(roles: &[String]) -> Vec<String> {
    let mut cleaned: Vec<String> = Vec::new();
    for role in roles.iter().map(|role| role.trim()).filter(|role| !role.is_empty()) {
        if !cleaned.iter().any(|other| other == role) {
            cleaned.push(role.to_owned());
        }
    }
    cleaned
}

/// Roles among these that Talos does not know; they are granted nothing, but are written all the
/// same.
pub fn unknown_roles(roles: &[String]) -> Vec<String> {
    cleaned(roles).into_iter().filter(|role| !release::has_role(u32::MAX, role)).collect()
}

impl Context {
    fn write(&self, out: &mut String) {
        list(out, "endpoints", &self.endpoints);
        if !self.nodes.is_empty() {
            list(out, "nodes", &self.nodes);
        }
        let credentials =
            [("ca", &self.ca), ("crt", &self.crt), ("key", &self.key), ("cluster", &self.cluster)];
        for (name, value) in credentials {
            if !value.is_empty() {
                entry(out, 2, name, value);
            }
        }
        if let Some(auth) = &self.auth {
            heading(out, 2, "auth");
            if let Some((username, password)) = &auth.basic {
                heading(out, 3, "basic");
                entry(out, 4, "username", username);
                entry(out, 4, "password", password);
            }
            if let Some(identity) = &auth.siderov1 {
                heading(out, 3, "siderov1");
                entry(out, 4, "identity", identity);
            }
        }
    }

    fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("endpoints".into(), json!(self.endpoints));
        if !self.nodes.is_empty() {
            out.insert("nodes".into(), json!(self.nodes));
        }
        let credentials =
            [("ca", &self.ca), ("crt", &self.crt), ("key", &self.key), ("cluster", &self.cluster)];
        for (name, value) in credentials {
            if !value.is_empty() {
                out.insert(name.into(), json!(value));
            }
        }
        if let Some(auth) = &self.auth {
            let mut ways = Map::new();
            if let Some((username, password)) = &auth.basic {
                let fields = json!({ "username": username, "password": password });
                ways.insert("basic".into(), fields);
            }
            if let Some(identity) = &auth.siderov1 {
                ways.insert("siderov1".into(), json!({ "identity": identity }));
            }
            out.insert("auth".into(), Value::Object(ways));
        }
        Value::Object(out)
    }
}

/// A line with a name at a depth; four blanks each, as talosctl writes.
fn heading(out: &mut String, depth: usize, name: &str) {
    out.push_str(&"    ".repeat(depth));
    out.push_str(name);
    out.push_str(":\n");
}

fn entry(out: &mut String, depth: usize, name: &str, value: &str) {
    out.push_str(&"    ".repeat(depth));
    for part in [name, ": ", &yaml::scalar(value), "\n"] {
        out.push_str(part);
    }
}

fn list(out: &mut String, name: &str, items: &[String]) {
    if items.is_empty() {
        for part in ["        ", name, ": []\n"] {
            out.push_str(part);
        }
        return;
    }
    heading(out, 2, name);
    for item in items {
        for part in ["            - ", &yaml::scalar(item), "\n"] {
            out.push_str(part);
        }
    }
}

fn fields<'a>(node: &'a Node, what: &str) -> Result<Vec<(&'a str, &'a Node)>, TalosConfigError> {
    match node {
        _ if node.is_null() => Ok(Vec::new()),
        Node::Map(entries) => {
            Ok(entries.iter().map(|(name, value)| (name.as_str(), value)).collect())
        }
        _ => Err(wrong(format!("{what} is not a map"))),
    }
}

fn scalar(node: &Node, what: &str) -> Result<String, TalosConfigError> {
    node.text().map(str::to_owned).ok_or_else(|| wrong(format!("{what} is not text")))
}

fn texts(node: &Node, what: &str) -> Result<Vec<String>, TalosConfigError> {
    match node {
        _ if node.is_null() => Ok(Vec::new()),
        Node::List(items) => {
            items.iter().filter(|item| !item.is_null()).map(|item| scalar(item, what)).collect()
        }
        _ => Err(wrong(format!("{what} is not a list"))),
    }
}

fn context(node: &Node) -> Result<Context, TalosConfigError> {
    let mut context = Context::default();
    let mut target = String::new();
    for (name, value) in fields(node, "a context")? {
        match name {
            "endpoints" => context.endpoints = texts(value, name)?,
            "nodes" => context.nodes = texts(value, name)?,
            "ca" => context.ca = scalar(value, name)?,
            "crt" => context.crt = scalar(value, name)?,
            "key" => context.key = scalar(value, name)?,
            "cluster" => context.cluster = scalar(value, name)?,
            "target" => target = scalar(value, name)?,
            "auth" => context.auth = auth(value)?,
            _ => {}
        }
    }
    // An older form names one endpoint.
    if !target.is_empty() {
        context.endpoints.push(target);
    }
    Ok(context)
}

fn auth(node: &Node) -> Result<Option<Auth>, TalosConfigError> {
    let mut auth = Auth::default();
    for (name, value) in fields(node, "auth")? {
        match name {
            "basic" => {
                let (mut username, mut password) = (String::new(), String::new());
                for (name, value) in fields(value, name)? {
                    match name {
                        "username" => username = scalar(value, name)?,
                        "password" => password = scalar(value, name)?,
                        _ => {}
                    }
                }
                auth.basic = Some((username, password));
            }
            "siderov1" => {
                for (name, value) in fields(value, name)? {
                    if name == "identity" {
                        auth.siderov1 = Some(scalar(value, name)?);
                    }
                }
            }
            _ => {}
        }
    }
    Ok((auth != Auth::default()).then_some(auth))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "context: a\ncontexts:\n    a:\n        endpoints:\n            - 10.0.0.1\n        ca: Q0EK\n        crt: Q1JU\n        key: S0VZ\n";

    #[test]
    fn what_is_written_reads_back() {
        let config = TalosConfig::parse(TEXT).unwrap();
        assert_eq!(TalosConfig::parse(&config.to_yaml()).unwrap(), config);
        let odd = TalosConfig {
            context: "my ctx: 1".into(),
            contexts: BTreeMap::from([("my ctx: 1".into(), Context::default())]),
        };
        assert_eq!(TalosConfig::parse(&odd.to_yaml()).unwrap(), odd);
    }

    #[test]
    fn a_name_that_is_taken_gets_the_first_free_number() {
        let mut config = TalosConfig::parse(TEXT).unwrap();
        let renames = config.merge(&TalosConfig::parse(TEXT).unwrap());
        assert_eq!(renames, [("a".to_owned(), "a-1".to_owned())]);
        assert_eq!(config.context, "a-1");
    }

    #[test]
    fn lifetimes_are_written_as_in_go() {
        for (text, seconds) in [
            ("", DEFAULT_LIFETIME),
            ("0", 0),
            ("-1h", -3600),
            ("1h30m", 5400),
            ("1.5h", 5400),
            ("+90s", 90),
            (".5m", 30),
            ("1500ms", 1),
            ("1h0.000000000000000000001s", 3600),
        ] {
            assert_eq!(lifetime(text), Ok(seconds), "{text}");
        }
        for bad in ["1d", "1y", "1", "h", "-", "1h ", "1..5h", ".h", "9999999999h", "1h-1m"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = TalosConfig::parse(TEXT).unwrap();
        assert!(!format!("{config:?}").contains("S0VZ"));
    }
}
