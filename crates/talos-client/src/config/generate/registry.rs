//! Mirrors and trust of registries: a section of the main document up to contract 1.11, documents
//! of their own from 1.12 on.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::machine::ConfigError;
use super::super::url::GoUrl;
use super::input::GenerateInput;

/// Endpoints by registry; one that was named again adds up.
fn mirrors(input: &GenerateInput) -> BTreeMap<&str, Vec<&str>> {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (host, endpoints) in &input.registry_mirrors {
        all.entry(host).or_default().extend(endpoints.iter().map(String::as_str));
    }
    all
}

/// What is said of the certificates of a registry.
#[derive(Default)]
struct Tls<'a> {
    ca: Option<&'a str>,
    insecure: bool,
}

fn trust(input: &GenerateInput) -> BTreeMap<&str, Tls<'_>> {
    let mut all: BTreeMap<&str, Tls<'_>> = BTreeMap::new();
    for (host, pem) in &input.registry_cas {
        all.entry(host).or_default().ca = Some(pem);
    }
    for host in &input.registry_insecure {
        all.entry(host).or_default().insecure = true;
    }
    all
}

/// The section of the main document; `None` when there is nothing to say.
pub(super) fn section(input: &GenerateInput, minor: u32) -> Option<Value> {
    let mut section = Map::new();
    let mut all = mirrors(input);
    if minor == 2 {
        all.entry("k8s.gcr.io")
            .or_insert_with(|| vec!["https://registry.k8s.io", "https://k8s.gcr.io"]);
    }
    if !all.is_empty() {
        let map: Map<String, Value> = all
            .into_iter()
            .map(|(host, endpoints)| (host.to_owned(), json!({ "endpoints": endpoints })))
            .collect();
        section.insert("mirrors".into(), Value::Object(map));
    }
    let config: Map<String, Value> = trust(input)
        .into_iter()
        .map(|(host, tls)| {
            let mut map = Map::new();
            if let Some(pem) = tls.ca {
                map.insert("ca".into(), json!(STANDARD.encode(pem)));
            }
            if tls.insecure {
                map.insert("insecureSkipVerify".into(), json!(true));
            }
            (host.to_owned(), json!({ "tls": map }))
        })
        .collect();
    if !config.is_empty() {
        section.insert("config".into(), Value::Object(config));
    }
    (!section.is_empty()).then_some(Value::Object(section))
}

/// The documents: mirrors, then trust, each by name.
pub(super) fn documents(input: &GenerateInput) -> Result<Vec<Value>, ConfigError> {
    let mut documents = Vec::new();
    for (host, endpoints) in mirrors(input) {
        let mut list = Vec::new();
        for endpoint in endpoints {
            let url = GoUrl::parse(endpoint).map_err(|error| {
                ConfigError::new(format!("the mirror {endpoint:?} of {host} is no URL: {error}"))
            })?;
            list.push(json!({ "url": url.to_string() }));
        }
        documents.push(json!({
            "apiVersion": "v1alpha1",
            "kind": "RegistryMirrorConfig",
            "name": host,
            "endpoints": list,
        }));
    }
    for (host, tls) in trust(input) {
        let mut map = Map::new();
        map.insert("apiVersion".into(), json!("v1alpha1"));
        map.insert("kind".into(), json!("RegistryTLSConfig"));
        map.insert("name".into(), json!(host));
        if let Some(pem) = tls.ca {
            map.insert("ca".into(), json!(pem));
        }
        if tls.insecure {
            map.insert("insecureSkipVerify".into(), json!(true));
        }
        documents.push(Value::Object(map));
    }
    Ok(documents)
}
