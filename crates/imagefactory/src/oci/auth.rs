//! Credentials, and the tokens that registries give for them.

use std::collections::BTreeMap;

use base64::Engine as _;
use http::{Method, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::transport::{Request, Transport, read_all, refusal, shown};

/// How a registry knows us.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A user with a password.
    Basic {
        /// The user's name.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// A token that goes into every request.
    Bearer(SecretString),
}

impl Credential {
    /// The value of the header `Authorization`.
    pub fn header(&self) -> SecretString {
        match self {
            Self::Basic { user, password } => {
                let text = format!("{user}:{}", password.expose_secret());
                let packed = base64::engine::general_purpose::STANDARD.encode(text);
                format!("Basic {packed}").into()
            }
            Self::Bearer(token) => format!("Bearer {}", token.expose_secret()).into(),
        }
    }
}

/// What a 401 asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer(BTreeMap<String, String>),
}

impl Challenge {
    pub(super) fn of(answer: &reqwest::Response) -> Option<Self> {
        let text = answer.headers().get(header::WWW_AUTHENTICATE)?.to_str().ok()?;
        Self::parse(text)
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut fields = BTreeMap::new();
        let mut rest = rest.trim();
        while let Some((name, tail)) = rest.split_once('=') {
            let (value, tail) = match tail.strip_prefix('"') {
                Some(tail) => tail.split_once('"')?,
                None => {
                    tail.find(',').and_then(|at| tail.split_at_checked(at)).unwrap_or((tail, ""))
                }
            };
            fields.insert(name.trim().to_ascii_lowercase(), value.to_owned());
            rest = tail.trim_start_matches([',', ' ']);
        }
        Some(Self::Bearer(fields))
    }
}

/// Gets a token from the service that a challenge of a registry names.
///
/// # Errors
/// The challenge names no service, or one without TLS although the registry has it; the service
/// refuses or cannot be reached.
pub(super) async fn token(
    transport: &Transport,
    (registry, fields): (&Url, &BTreeMap<String, String>),
    scope: &str,
    credential: Option<&Credential>,
) -> Result<SecretString> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let realm = fields.get("realm").map(String::as_str).unwrap_or_default();
    let wrong = || {
        Error::new(
            ErrorKind::Protocol,
            format!("the registry names no service of tokens ({realm:?})"),
        )
    };
    let mut url: Url =
        realm.parse().map_err(|source: url::ParseError| wrong().with_source(source))?;
    if registry.scheme() == "https" && url.scheme() != "https" {
        let text = format!("{}: the service of tokens leads out of TLS", shown(registry));
        return Err(Error::new(ErrorKind::Protocol, text));
    }
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = fields.get("service") {
            query.append_pair("service", service);
        }
        query.append_pair("scope", fields.get("scope").map_or(scope, String::as_str));
    }
    let mut request = Request::new(Method::GET, url.clone());
    if let Some(credential) = credential {
        request = request.header(header::AUTHORIZATION, credential.header().expose_secret())?;
    }
    let answer = transport.send(&request).await?;
    if !answer.status().is_success() {
        return Err(refusal(&url, answer).await);
    }
    let bytes = read_all(&url, answer, 1 << 20).await?;
    let no_token =
        || Error::new(ErrorKind::Protocol, format!("{}: the answer has no token", shown(&url)));
    // What was received may be secret: the parser's words are not kept.
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| no_token())?;
    answer.token.or(answer.access_token).map(Into::into).ok_or_else(no_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_with_commas_in_quotes() {
        let text = r#"Bearer realm="https://auth.example/token",service=reg, scope="repository:a/b:pull,push""#;
        let Some(Challenge::Bearer(fields)) = Challenge::parse(text) else {
            unreachable!("it is a bearer challenge")
        };
        let get = |name: &str| fields.get(name).map(String::as_str);
        assert_eq!(get("realm"), Some("https://auth.example/token"));
        assert_eq!(get("service"), Some("reg"));
        assert_eq!(get("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(Challenge::parse("basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Digest x=y"), None);
    }
}
