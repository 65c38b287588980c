//! How Proxmox is reached: the environment wins over the SOPS file, that over the tree.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proxmox_client::{Auth, ClientConfig, Fingerprint, Trust};
use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;
use crate::spec::site::{self as spec, Site};
use crate::spec::sops::{self, Format};

/// The port of the API, where nothing else is said.
const API_PORT: u16 = 8006;

/// The names of the values, and the variables that win over them, where there are any.
const NAMES: [(&str, &str); 7] = [
    ("pve_endpoint", "PROXMOX_VE_ENDPOINT"),
    ("pve_api_token", "PROXMOX_VE_API_TOKEN"),
    ("pve_username", "PROXMOX_VE_USERNAME"),
    ("pve_password", "PROXMOX_VE_PASSWORD"),
    ("pve_otp", "PROXMOX_VE_OTP"),
    ("pve_fingerprint", ""),
    ("pve_ca_file", ""),
];

/// Where Proxmox is and who we are there.
pub struct Credentials {
    values: BTreeMap<&'static str, SecretString>,
    insecure: bool,
    /// Where `pve_ca_file` is looked for.
    folder: PathBuf,
    /// Host names of the Proxmox nodes, the one that is asked first before the others.
    hosts: Vec<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&&str> = self.values.keys().collect();
        f.debug_struct("Credentials").field("given", &names).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Gathers them; a SOPS file is opened, and `unseal` asked for what is encrypted in
    /// `credentials.hcl` itself, only when the environment does not say everything.
    ///
    /// # Errors
    /// The file cannot be opened, or says what is no text.
    pub fn gather(
        site: &Site,
        variables: &BTreeMap<String, String>,
        unseal: impl FnOnce() -> Result<spec::Credentials, Error>,
    ) -> Result<Self, Error> {
        let mut values: BTreeMap<&'static str, SecretString> = BTreeMap::new();
        for (name, variable) in NAMES {
            if let Some(text) = variables.get(variable).filter(|text| !text.is_empty()) {
                values.insert(name, text.clone().into());
            }
        }
        // A user named for this run wins over a token that lies in a file.
        let is_user = values.contains_key("pve_username") && !values.contains_key("pve_api_token");
        let wanted = |name: &str| !(is_user && name == "pve_api_token");
        let is_whole = values.contains_key("pve_endpoint")
            && (values.contains_key("pve_api_token")
                || (values.contains_key("pve_username") && values.contains_key("pve_password")));
        let unsealed;
        let of_tree = match site.credentials.sealed.is_some() && !is_whole {
            true => {
                unsealed = unseal()?;
                &unsealed
            }
            false => &site.credentials,
        };
        if let Some(file) = of_tree.secrets_file.as_ref().filter(|_| !is_whole) {
            let opened = open(of_tree, file, variables)?;
            for (name, _) in NAMES.iter().filter(|(name, _)| wanted(name)) {
                if let Some(text) = opened.get(*name) {
                    values.entry(name).or_insert_with(|| text.clone().into());
                }
            }
        }
        for (name, _) in NAMES.iter().filter(|(name, _)| wanted(name)) {
            let secret = of_tree.secret.get(*name).cloned();
            let plain = of_tree.direct.get(*name);
            if let Some(text) = secret.or_else(|| plain.map(|text| text.clone().into())) {
                values.entry(name).or_insert(text);
            }
        }
        if let Some(endpoint) = &site.proxmox.api_endpoint {
            values.entry("pve_endpoint").or_insert_with(|| endpoint.clone().into());
        }
        let insecure = variables
            .get("PROXMOX_VE_INSECURE")
            .is_some_and(|text| matches!(text.to_ascii_lowercase().as_str(), "1" | "true" | "yes"));
        let folder = site.live.join("common");
        // Who names an endpoint for this run means it alone.
        let is_chosen = variables.get("PROXMOX_VE_ENDPOINT").is_some_and(|text| !text.is_empty());
        let hosts = if is_chosen { Vec::new() } else { hosts(site) };
        Ok(Self { values, insecure, folder, hosts })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(ExposeSecret::expose_secret)
    }

    /// The endpoint.
    pub fn endpoint(&self) -> Option<&str> {
        self.text("pve_endpoint")
    }

    /// The endpoint, and other nodes of the cluster that are asked when it cannot be reached.
    fn endpoints(&self) -> Option<(String, Vec<String>)> {
        let of = |host: &str, port: u16| {
            let host = match host.parse::<std::net::Ipv6Addr>() {
                Ok(address) => format!("[{address}]"),
                Err(_) => host.to_owned(),
            };
            format!("https://{host}:{port}")
        };
        let Some(first) = self.endpoint() else {
            let mut all = self.hosts.iter().map(|host| of(host, API_PORT));
            return Some((all.next()?, all.collect()));
        };
        // A pin is that of one node's certificate.
        if self.values.contains_key("pve_fingerprint") {
            return Some((first.to_owned(), Vec::new()));
        }
        let url = url::Url::parse(first).ok();
        let host = url.as_ref().and_then(url::Url::host_str).unwrap_or_default();
        let port = url.as_ref().and_then(url::Url::port).unwrap_or(API_PORT);
        let others = self.hosts.iter().filter(|other| {
            !other.eq_ignore_ascii_case(host) && host.trim_matches(['[', ']']) != other.as_str()
        });
        Some((first.to_owned(), others.map(|host| of(host, port)).collect()))
    }

    /// Checks of certificates are switched off, by the user's explicit wish.
    pub fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// The settings of a client.
    ///
    /// # Errors
    /// Something is missing or cannot be used.
    pub fn client_config(&self) -> Result<ClientConfig, Error> {
        let missing = |what: &str| {
            Error::failed(format!("reach Proxmox: no {what} is given")).hint(
                "common/credentials.hcl names a SOPS file with pve_endpoint and pve_api_token; \
                 PROXMOX_VE_ENDPOINT and PROXMOX_VE_API_TOKEN win over it",
            )
        };
        let (endpoint, others) = self.endpoints().ok_or_else(|| missing("endpoint"))?;
        if self.values.contains_key("pve_otp") {
            return Err(Error::failed("reach Proxmox: one-time passwords are not supported")
                .hint("use an API token: it needs no second factor"));
        }
        let auth = match (self.text("pve_api_token"), self.text("pve_username")) {
            (Some(token), _) => Auth::token(token).ok_or_else(|| {
                Error::failed("reach Proxmox: pve_api_token has not the form USER@REALM!ID=SECRET")
            })?,
            (None, Some(user)) => {
                let password = self.text("pve_password").ok_or_else(|| missing("pve_password"))?;
                Auth::password(user, password)
            }
            (None, None) => return Err(missing("pve_api_token")),
        };
        let config =
            others.into_iter().fold(ClientConfig::new(endpoint, auth), ClientConfig::endpoint);
        Ok(match (self.text("pve_fingerprint"), self.text("pve_ca_file")) {
            _ if self.insecure => config.trust(Trust::DangerousInsecure),
            (Some(text), _) => {
                let pin: Fingerprint = text.parse().map_err(|error| {
                    Error::failed("reach Proxmox: pve_fingerprint is no SHA-256 fingerprint")
                        .because(error)
                })?;
                config.trust(Trust::Pins(vec![pin]))
            }
            (None, Some(file)) => {
                let path = self.folder.join(file);
                let pem = fs_err::read_to_string(&path)
                    .map_err(|error| Error::failed("read pve_ca_file").because(error))?;
                config.trust(Trust::Ca(pem))
            }
            (None, None) => config,
        })
    }
}

/// Host names of the Proxmox nodes, as far as the tree has them; that of the primary node first.
fn hosts(site: &Site) -> Vec<String> {
    let proxmox = &site.proxmox;
    let first = proxmox.primary_node.iter();
    let rest = proxmox.nodes.iter().filter(|node| Some(*node) != proxmox.primary_node.as_ref());
    first.chain(rest).filter_map(|node| proxmox.hostnames.get(node).cloned()).collect()
}

fn open(
    credentials: &spec::Credentials,
    file: &std::path::Path,
    variables: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    let failed = || Error::failed(format!("open {}", file.display()));
    let bytes = fs_err::read(file).map_err(|error| failed().because(error))?;
    let key_files = credentials.age_key_file.iter().cloned().collect();
    let sources =
        sops::IdentitySources { variables: variables.clone(), key_files, ..Default::default() };
    let format = Format::of_path(file);
    let opened = sops::decrypt(&bytes, format, &mut sops::Identities::gather(&sources));
    let opened = opened.map_err(|error| {
        let failure = failed();
        match error.help() {
            Some(help) => failure.hint(help).because(error),
            None => failure.because(error),
        }
    })?;
    let text = opened.to_text(Format::Yaml).map_err(|error| failed().because(error))?;
    let map: BTreeMap<String, serde_json::Value> =
        serde_saphyr::from_str(&text).map_err(|_| failed().detail("it is no map of values"))?;
    texts(map).map_err(|why| failed().detail(why))
}

/// The values that are texts; one of ours that is none is an error that shows no value.
fn texts(map: BTreeMap<String, serde_json::Value>) -> Result<BTreeMap<String, String>, String> {
    use serde_json::Value;
    let mut found = BTreeMap::new();
    for (key, value) in map {
        let what = match value {
            Value::String(text) => {
                found.insert(key, text);
                continue;
            }
            Value::Null => "empty",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Array(_) | Value::Object(_) => "a list or a map",
        };
        if NAMES.iter().any(|(name, _)| *name == key) {
            return Err(format!("{key} is {what}, not text: put it in quotes"));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(values: &[(&'static str, &str)]) -> Credentials {
        let values = values.iter().map(|(name, text)| (*name, (*text).into())).collect();
        let hosts = ["pve02.example", "pve01.example", "fd00::3"].map(str::to_owned).into();
        Credentials { values, insecure: false, folder: PathBuf::new(), hosts }
    }

    #[test]
    fn other_nodes_are_asked_after_the_endpoint() {
        let of = |values: &[(&'static str, &str)]| credentials(values).endpoints().unwrap();
        let (first, others) = of(&[("pve_endpoint", "https://PVE01.example:8443/")]);
        assert_eq!(first, "https://PVE01.example:8443/");
        assert_eq!(others, ["https://pve02.example:8443", "https://[fd00::3]:8443"]);
        // A pin fits one node only; without an endpoint the primary node is asked.
        let pin = [("pve_endpoint", "https://pve01.example:8006"), ("pve_fingerprint", "AA")];
        assert!(of(&pin).1.is_empty());
        assert_eq!(of(&[]).0, "https://pve02.example:8006");
        assert_eq!(of(&[("pve_endpoint", "https://[fd00::3]:8006")]).1.len(), 2);
    }

    #[test]
    fn a_value_of_ours_that_is_no_text_is_named_and_not_shown() {
        let read = |text: &str| texts(serde_json::from_str(text).unwrap());
        let error = read(r#"{"pve_password": 12345}"#).unwrap_err();
        assert_eq!(error, "pve_password is a number, not text: put it in quotes");
        let found = read(r#"{"pve_endpoint": "https://pve", "mine": 7}"#).unwrap();
        assert_eq!(found.len(), 1);
    }
}
