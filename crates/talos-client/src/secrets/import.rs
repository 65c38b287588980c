//! A bundle out of the machine configuration of a control plane.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Bundle, BundleError, Certs, Cluster, Pair, Text, Tokens};
use crate::config;
use crate::yaml::Node;

fn wrong(message: impl Into<String>) -> BundleError {
    BundleError::Read { line: 0, message: message.into() }
}

impl Bundle {
    /// Takes the secrets out of the machine configuration of a control plane.
    ///
    /// What it lacks stays absent, as with Talos; from the configuration of a worker comes a
    /// bundle without keys. Ask [`Bundle::problems`] before it is used.
    ///
    /// # Errors
    /// The text is no machine configuration: no YAML, without the main document, with unknown
    /// fields, or with a certificate or key that is no base64.
    pub fn from_machine_config(text: &str) -> Result<Self, BundleError> {
        let documents = config::documents(text)
            .map_err(|error| BundleError::Read { line: error.line, message: error.message })?;
        let of = |kind: &str| documents.iter().find(|(of, _)| of == kind).map(|(_, node)| node);
        let main = of("v1alpha1").ok_or_else(|| wrong("there is no document v1alpha1"))?;
        let at = |path: &[&str]| path.iter().try_fold(main, |node, name| node.get(name));
        let text = |path: &[&str]| -> Text {
            at(path).and_then(Node::text).map(Text::from).unwrap_or_default()
        };
        // From 1.14 on most of it stands in documents of their own, as PEM.
        let or = |old: Text, kind: &str, path: &[&str]| match old.is_empty() {
            false => old,
            true => {
                let found = of(kind)
                    .and_then(|node| path.iter().try_fold(node, |node, name| node.get(name)));
                found.and_then(Node::text).map(Text::from).unwrap_or_default()
            }
        };
        let issuing = |old: Option<Pair>, kind: &str| {
            let ca = || of(kind)?.get("issuingCA");
            let part =
                |name: &str| ca().and_then(|ca| ca.get(name)).and_then(Node::text).map(Text::from);
            let new = || {
                ca()?;
                let (crt, key) = (part("cert"), part("key"));
                Some(Pair { crt: crt.unwrap_or_default(), key: key.unwrap_or_default() })
            };
            old.or_else(new)
        };
        let token = text(&["cluster", "token"]);
        // Talos keeps the token as its two halves.
        let bootstrap = match token.text() {
            Some(token) if token.contains('.') => Text::from(token),
            _ => Text::from("."),
        };
        let account = pair(at(&["cluster", "serviceAccount"]), "cluster.serviceAccount")?;
        let account = account.map(|pair| pair.key).unwrap_or_default();
        let account = or(account, "KubeServiceAccountConfig", &["issuer", "privateKey"]);
        let certs = Certs {
            etcd: pair(at(&["cluster", "etcd", "ca"]), "cluster.etcd.ca")?,
            k8s: issuing(pair(at(&["cluster", "ca"]), "cluster.ca")?, "KubeAPIServerCAConfig"),
            k8s_aggregator: issuing(
                pair(at(&["cluster", "aggregatorCA"]), "cluster.aggregatorCA")?,
                "KubeAggregatorCAConfig",
            ),
            k8s_service_account: Some(account).filter(|account| {
                !account.is_empty() || at(&["cluster", "serviceAccount"]).is_some()
            }),
            os: pair(at(&["machine", "ca"]), "machine.ca")?,
        };
        let identity = "DiscoveryIdentityConfig";
        let provider = of("KubeEtcdEncryptionConfig").and_then(encryption);
        let provided = |name: &str| {
            let found = provider.filter(|(of, _)| *of == name);
            found.and_then(|(_, node)| node.text()).map(Text::from).unwrap_or_default()
        };
        let first = |old: Text, new: Text| if old.is_empty() { new } else { old };
        Ok(Self {
            cluster: Some(Cluster {
                id: or(text(&["cluster", "id"]), identity, &["clusterID"]),
                secret: or(text(&["cluster", "secret"]), identity, &["clusterSecret"]),
            }),
            secrets: Some(Tokens {
                bootstrap,
                aescbc: first(text(&["cluster", "aescbcEncryptionSecret"]), provided("aescbc")),
                secretbox: first(
                    text(&["cluster", "secretboxEncryptionSecret"]),
                    provided("secretbox"),
                ),
            }),
            trustd_token: Some(text(&["machine", "token"])),
            certs: Some(certs),
        })
    }
}

/// How etcd's secrets are encrypted: the first key of the first provider of the first block that is
/// about secrets.
fn encryption(document: &Node) -> Option<(&str, &Node)> {
    let blocks = list(document.get("config")?.get("resources"))?;
    let is_of_secrets = |block: &&Node| {
        let names = list(block.get("resources")).unwrap_or_default();
        names.iter().any(|name| name.text() == Some("secrets"))
    };
    let block = blocks.iter().find(is_of_secrets)?;
    let provider = list(block.get("providers"))?.first()?;
    let name = ["secretbox", "aescbc"].into_iter().find(|name| provider.get(name).is_some())?;
    let key = list(provider.get(name)?.get("keys"))?.first()?;
    Some((name, key.get("secret")?))
}

fn list(node: Option<&Node>) -> Option<&[Node]> {
    match node? {
        Node::List(items) => Some(items),
        _ => None,
    }
}

fn pair(node: Option<&Node>, what: &str) -> Result<Option<Pair>, BundleError> {
    let Some(node) = node.filter(|node| !node.is_null()) else { return Ok(None) };
    let part = |name: &str| -> Result<Text, BundleError> {
        let Some(node) = node.get(name) else { return Ok(Text::default()) };
        let text = node.text().ok_or_else(|| wrong(format!("{what}.{name} is not text")))?;
        if text == super::read::REDACTED {
            return Ok(Text::from(text));
        }
        let packed: String = text.split(['\n', '\r']).collect();
        let decoded = STANDARD.decode(packed);
        Ok(decoded.map_err(|_| wrong(format!("{what}.{name} is no base64")))?.into())
    };
    Ok(Some(Pair { crt: part("crt")?, key: part("key")? }))
}
