//! Values for people: what is secret in them, or may be, is told apart and not told.

use serde_json::Value;

use super::machine::{fingerprint, is_secret};
use super::url::GoUrl;

/// Longest text that is shown as it is, in characters.
const LONGEST: usize = 120;

/// Longest list or map that is shown as it is, in characters of JSON.
const LONGEST_TREE: usize = 1000;

/// Longest text in which URLs are looked for, in bytes.
const LONGEST_SEARCHED: usize = 4 * 1024;

/// What stands between the scheme of a URL and its host.
const SLASHES: &str = "://";

/// Whether a field holds the user's own text, which may be anything, secrets too: files, manifests,
/// pods, environments, headers of requests.
fn is_free(name: &str) -> bool {
    matches!(
        name,
        "content"
            | "contents"
            | "env"
            | "environment"
            | "extraManifestHeaders"
            | "headers"
            | "manifest"
            | "pod"
            | "pods"
            | "variables"
    )
}

/// Whether the names in a map are the user's: a label may be called `env`.
fn is_labels(name: &str) -> bool {
    matches!(
        name,
        "nodeLabels" | "nodeAnnotations" | "nodeTaints" | "labels" | "annotations" | "taints"
    )
}

/// A value for people.
pub(super) fn shown(path: &[String], value: &Value) -> String {
    let name = path.last().map(String::as_str).unwrap_or_default();
    // What comes first counts: labels are labels, but those of a pod are the pod's.
    let first = path.iter().find(|name| is_labels(name) || is_free(name));
    let text = match value {
        Value::String(text) if text.is_empty() => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if first.is_some_and(|name| is_free(name)) {
        return hashed(&text);
    }
    let in_labels = first.is_some();
    match field(name, value, in_labels) {
        // A long text, such as a manifest, is told apart by its hash.
        Value::String(told) if !is_secret(name) && value.is_string() => {
            let is_long = text.chars().count() > LONGEST || text.contains('\n');
            if is_long { hashed(&text) } else { told }
        }
        Value::String(told) => told,
        tree => {
            let told = tree.to_string();
            if told.chars().count() > LONGEST_TREE { hashed(&told) } else { told }
        }
    }
}

/// A text by its hash and length.
fn hashed(text: &str) -> String {
    format!("{} of {} bytes", fingerprint(text).replace("secret ", ""), text.len())
}

/// A value with the secrets in it replaced.
pub(super) fn hidden(value: &Value, in_labels: bool) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), field(key, value, in_labels))).collect()
        }
        Value::Array(items) => items.iter().map(|item| hidden(item, in_labels)).collect(),
        Value::String(text) => without_secrets(text).into(),
        other => other.clone(),
    }
}

/// The value of a field with the secrets in it replaced; what is empty hides nothing.
fn field(name: &str, value: &Value, in_labels: bool) -> Value {
    let is_free = !in_labels && is_free(name);
    match value {
        Value::String(text) if text.is_empty() => value.clone(),
        Value::Object(map) if map.is_empty() => value.clone(),
        Value::Array(items) if items.is_empty() => value.clone(),
        Value::String(text) if is_secret(name) => fingerprint(text).into(),
        Value::Number(number) if is_secret(name) => fingerprint(&number.to_string()).into(),
        Value::Array(items) if is_secret(name) => {
            items.iter().map(|item| field(name, item, in_labels)).collect()
        }
        Value::Null => Value::Null,
        Value::String(text) if is_free => hashed(text).into(),
        other if is_free => hashed(&other.to_string()).into(),
        other => hidden(other, in_labels || is_labels(name)),
    }
}

/// A text in which the URLs tell neither who asks nor what they ask with: user, password and the
/// values of the query are replaced by their fingerprints.
fn without_secrets(text: &str) -> String {
    if !text.contains(SLASHES) {
        return match text.split_once('?') {
            Some((before, query)) if query.contains('=') && is_url(text) => {
                format!("{before}?{}", without_values(query))
            }
            _ => text.to_owned(),
        };
    }
    if text.len() > LONGEST_SEARCHED {
        return hashed(text);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(SLASHES) {
        out.push_str(before);
        out.push_str(SLASHES);
        let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | '`');
        let (url, behind) = split(after, after.find(is_end));
        let (user, url) = split(url, Some(user_end(url)));
        if !user.is_empty() {
            out.push_str(&fingerprint(user));
        }
        // There may be another URL in the path, or behind a comma.
        let query = url.find('?').filter(|at| url.find(SLASHES).is_none_or(|next| *at < next));
        rest = after.strip_prefix(user).unwrap_or_default();
        if let Some((before, query)) = query.and_then(|_| url.split_once('?')) {
            out.push_str(before);
            out.push('?');
            out.push_str(&without_values(query));
            rest = behind;
        }
    }
    out + rest
}

/// A text in two at a place, or whole and nothing.
fn split(text: &str, at: Option<usize>) -> (&str, &str) {
    text.split_at_checked(at.unwrap_or(text.len())).unwrap_or((text, ""))
}

/// Where user and password of a URL end, behind its slashes: at its beginning where there are none.
fn user_end(url: &str) -> usize {
    let (authority, _) = split(url, url.find(['/', '?', '#']));
    let is_odd = |(_, port): (&str, &str)| !port.bytes().all(|byte| byte.is_ascii_digit());
    // A password in which a character is not escaped ends the host too early.
    let is_broken = !authority.contains('[') && authority.rsplit_once(':').is_some_and(is_odd);
    match authority.rfind('@') {
        None if is_broken => url.rfind('@').unwrap_or_default(),
        found => found.unwrap_or_default(),
    }
}

/// Whether a text without slashes is a URL.
fn is_url(text: &str) -> bool {
    !text.contains(char::is_whitespace)
        && GoUrl::parse(text).is_ok_and(|url| !url.scheme().is_empty())
}

/// A query of which only the names are told.
fn without_values(query: &str) -> String {
    let (query, fragment) = match query.split_once('#') {
        Some((query, fragment)) if fragment.contains(['=', '@', ':']) => {
            (query, format!("#{}", fingerprint(fragment)))
        }
        Some((query, fragment)) => (query, format!("#{fragment}")),
        None => (query, String::new()),
    };
    let told = query.split('&').map(|pair| match pair.split_once('=') {
        None | Some((_, "")) if pair.is_empty() || pair.ends_with('=') => pair.to_owned(),
        Some((name, value)) => format!("{name}={}", fingerprint(value)),
        None => fingerprint(pair),
    });
    told.collect::<Vec<_>>().join("&") + &fragment
}

#[cfg(test)]
mod tests {
    use super::super::MachineConfig;
    use super::*;

    #[test]
    fn urls_tell_no_user_and_no_values() {
        let secret = |text: &str| fingerprint(text);
        for (text, told) in [
            ("https://h:5000/v2", "https://h:5000/v2".to_owned()),
            ("ghcr.io/a/b:v1@sha256:abc", "ghcr.io/a/b:v1@sha256:abc".to_owned()),
            ("tcp://[fd00::1]:514/", "tcp://[fd00::1]:514/".to_owned()),
            ("https://u:p@h/x@y", format!("https://{}@h/x@y", secret("u:p"))),
            ("https://u:p/w@h/x", format!("https://{}@h/x", secret("u:p/w"))),
            (
                "grpc://h?jointoken=t&a=&b",
                format!("grpc://h?jointoken={}&a=&{}", secret("t"), secret("b")),
            ),
            ("grpc:h?jointoken=t", format!("grpc:h?jointoken={}", secret("t"))),
            (
                "talos.config=https://u:p@h/c?k=v#f x=1",
                format!("talos.config=https://{}@h/c?k={}#f x=1", secret("u:p"), secret("v")),
            ),
            (
                "http://u:p@h,http://v:q@i",
                format!("http://{}@h,http://{}@i", secret("u:p"), secret("v:q")),
            ),
            (
                "https://h/https://u:p@i?a=b",
                format!("https://h/https://{}@i?a={}", secret("u:p"), secret("b")),
            ),
            ("a ? b : c == d", "a ? b : c == d".to_owned()),
        ] {
            assert_eq!(without_secrets(text), told, "{text}");
        }
    }

    #[test]
    fn texts_of_any_length_are_looked_through() {
        for text in ["://".repeat(1300), "://a?b#".repeat(100_000), "://?@".repeat(800)] {
            assert!(!without_secrets(&text).is_empty());
        }
    }

    /// Each field that holds a secret, or may: once as `geheim`, once as another.
    const PLACES: [&str; 20] = [
        "apiVersion: v1alpha1\nkind: EnvironmentConfig\nvariables: {A: 'geheim'}",
        "apiVersion: v1alpha1\nkind: KubeInlineManifestConfig\nname: a\nmanifest: 'geheim'",
        "cluster: {extraManifestHeaders: {Authorization: 'geheim'}}",
        "apiVersion: v1alpha1\nkind: KubeExternalManifestConfig\nname: a\nheaders: {Authorization: 'geheim'}",
        "apiVersion: v1alpha1\nkind: KubeStaticPodConfig\nname: a\npod: {metadata: {annotations: {a: 'geheim'}}}",
        "machine: {pods: [{spec: {containers: [{env: [{value: 'geheim'}]}]}}]}",
        "machine: {token: 'geheim'}",
        "secrets: {secretboxencryptionsecret: 'geheim'}",
        "secrets: {aescbcencryptionsecret: 'geheim'}",
        "secrets: {bootstraptoken: 'geheim'}",
        "trustdinfo: {token: 'geheim'}",
        "machine: {registries: {mirrors: {a: {endpoints: ['https://geheim@h/v2']}}}}",
        "cluster: {extraManifests: ['https://h/a?token=geheim']}",
        "machine: {logging: {destinations: [{endpoint: 'tcp://u:geheim@h:1/', format: json_lines}]}}",
        "apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: a\nurl: 'tcp://u:geheim@h:1/'",
        "machine: {systemDiskEncryption: {state: {keys: [{kms: {endpoint: 'https://u:geheim@h'}}]}}}",
        "apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: 'grpc://h?jointoken=geheim'",
        "machine: {install: {extraKernelArgs: ['talos.config=https://h/?k=geheim']}}",
        "apiVersion: v1alpha1\nkind: RegistryMirrorConfig\nname: a\nendpoints: [{url: 'https://u:geheim@h'}]",
        "cluster: {apiServer: {extraArgs: {token: ['geheim']}}}",
    ];

    #[test]
    fn no_place_tells_its_secret_and_every_change_is_seen() {
        for text in PLACES {
            let parsed = |text: &str| MachineConfig::parse(text).unwrap();
            let (one, other) = (parsed(text), parsed(&text.replace("geheim", "secrecy")));
            let shown = one.redacted().to_yaml();
            assert!(!shown.contains("geheim"), "{text}: {}", *shown);
            assert_ne!(shown, other.redacted().to_yaml(), "{text}");
            let name = text.split(':').next().unwrap();
            let none = parsed(if name == "apiVersion" { "machine: {}" } else { "{x: y}" });
            for changes in [one.diff(&other), none.diff(&one), one.diff(&none)] {
                assert!(!changes.is_empty(), "{text}");
                assert!(changes.iter().all(|one| one.before != one.after), "{text}");
                let told: Vec<String> = changes.iter().map(ToString::to_string).collect();
                let told = told.join("\n");
                assert!(!told.contains("geheim") && !told.contains("secrecy"), "{text}: {told}");
            }
        }
        let number = MachineConfig::parse("machine: {token: 4711471147}").unwrap();
        assert!(!number.redacted().to_yaml().contains("4711471147"));
    }
}
