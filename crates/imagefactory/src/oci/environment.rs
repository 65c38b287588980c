//! Credentials as the tools of containers keep them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde::Deserialize;

use super::auth::Credential;
use crate::error::{Error, ErrorKind, Result};

/// Tokens in the environment: variable, variable of the user, registry.
const TOKENS: [(&str, &str, &str); 2] =
    [("GHCR_TOKEN", "GHCR_USER", "ghcr.io"), ("DOCKER_TOKEN", "DOCKER_USER", "docker.io")];
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// Credentials by registry: those of `docker login` and `podman login` (`$REGISTRY_AUTH_FILE`,
/// `$DOCKER_CONFIG/config.json`, `~/.docker/config.json`: the first that is there), then
/// `GHCR_TOKEN` (with `GHCR_USER`) and `DOCKER_TOKEN` (with `DOCKER_USER`), which win.
///
/// Programs that keep credentials (`credHelpers`, `credsStore`) are not run.
///
/// # Errors
/// A file is there and cannot be read; its text is in no message.
pub fn credentials(variables: &BTreeMap<String, String>) -> Result<BTreeMap<String, Credential>> {
    let set = |name: &str| variables.get(name).filter(|value| !value.is_empty());
    let named = set("REGISTRY_AUTH_FILE").map(PathBuf::from);
    let docker = set("DOCKER_CONFIG").map(|dir| Path::new(dir).join("config.json"));
    let home = set("HOME").map(|dir| Path::new(dir).join(".docker/config.json"));
    let mut found = BTreeMap::new();
    for path in [named, docker, home].into_iter().flatten() {
        match fs_err::read(&path) {
            Ok(bytes) => {
                found = parse(&path, &bytes)?;
                break;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Error::new(ErrorKind::Io, "read credentials").with_source(error));
            }
        }
    }
    for (token, user, registry) in TOKENS {
        if let Some(token) = set(token) {
            // ghcr.io takes any name beside a token.
            let user = set(user).map_or("token", String::as_str).to_owned();
            let password = token.clone().into();
            found.insert(registry.to_owned(), Credential::Basic { user, password });
        }
    }
    Ok(found)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, Credential>> {
    // The parser's words might have a secret in them.
    let wrong = |what: &str| {
        Error::new(ErrorKind::InvalidInput, format!("{}: {what}", path.display()))
            .with_help("log in again: docker login REGISTRY")
    };
    let config: Config = serde_json::from_slice(bytes).map_err(|_| wrong("it cannot be read"))?;
    let mut found = BTreeMap::new();
    for (name, entry) in config.auths {
        let registry = match name.as_str() {
            DOCKER_HUB => "docker.io",
            name => {
                let name = name.trim_start_matches("https://").trim_start_matches("http://");
                name.split('/').next().unwrap_or(name)
            }
        };
        let pair = match (entry.username, entry.password, entry.auth) {
            (Some(user), Some(password), _) => Some((user, password)),
            (_, _, Some(packed)) if !packed.is_empty() => {
                let engine = base64::engine::general_purpose::STANDARD;
                let text = engine.decode(packed.trim()).ok();
                let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
                let pair = text.as_deref().and_then(|text| text.split_once(':'));
                let (user, password) =
                    pair.ok_or_else(|| wrong(&format!("the entry of {registry} makes no sense")))?;
                Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
            }
            _ => None,
        };
        let credential = match (pair, entry.identitytoken.filter(|token| !token.is_empty())) {
            (_, Some(token)) => Credential::Bearer(token.into()),
            (Some((user, password)), None) => Credential::Basic { user, password: password.into() },
            (None, None) => continue,
        };
        found.insert(registry.to_owned(), credential);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_login_is_found_and_a_token_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let text = r#"{"auths": {"ghcr.io": {"auth": "YW5uOnMzY3JldA=="},
            "https://index.docker.io/v1/": {"username": "bob", "password": "pw"},
            "https://reg.example:5000/v2/": {"auth": "YW5uOnMzY3JldA=="}, "empty.example": {}},
            "credsStore": "desktop"}"#;
        fs_err::write(&path, text).unwrap();
        let place = dir.path().display().to_string();
        let found = credentials(&variables(&[("DOCKER_CONFIG", &place)])).unwrap();
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["docker.io", "ghcr.io", "reg.example:5000"]);
        assert!(
            matches!(found.get("ghcr.io"), Some(Credential::Basic { user, .. }) if user == "ann")
        );
        let all = variables(&[("DOCKER_CONFIG", &place), ("GHCR_TOKEN", "t")]);
        let found = credentials(&all).unwrap();
        assert!(
            matches!(found.get("ghcr.io"), Some(Credential::Basic { user, .. }) if user == "token")
        );
        fs_err::write(&path, r#"{"auths": {"ghcr.io": {"auth": "s3cret!"}}}"#).unwrap();
        let error = credentials(&variables(&[("DOCKER_CONFIG", &place)])).unwrap_err();
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        assert!(credentials(&variables(&[("HOME", "/nowhere")])).unwrap().is_empty());
    }
}
