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
        let main = documents.into_iter().find(|(kind, _)| kind == "v1alpha1");
        let (_, main) = main.ok_or_else(|| wrong("there is no document v1alpha1"))?;
        let at = |path: &[&str]| path.iter().try_fold(&main, |node, name| node.get(name));
        let text = |path: &[&str]| -> Text {
            at(path).and_then(Node::text).map(Text::from).unwrap_or_default()
        };
        let token = text(&["cluster", "token"]);
        // Talos keeps the token as its two halves.
        let bootstrap = match token.text() {
            Some(token) if token.contains('.') => Text::from(token),
            _ => Text::from("."),
        };
        let certs = Certs {
            etcd: pair(at(&["cluster", "etcd", "ca"]), "cluster.etcd.ca")?,
            k8s: pair(at(&["cluster", "ca"]), "cluster.ca")?,
            k8s_aggregator: pair(at(&["cluster", "aggregatorCA"]), "cluster.aggregatorCA")?,
            k8s_service_account: pair(
                at(&["cluster", "serviceAccount"]),
                "cluster.serviceAccount",
            )?
            .map(|pair| pair.key),
            os: pair(at(&["machine", "ca"]), "machine.ca")?,
        };
        Ok(Self {
            cluster: Some(Cluster {
                id: text(&["cluster", "id"]),
                secret: text(&["cluster", "secret"]),
            }),
            secrets: Some(Tokens {
                bootstrap,
                aescbc: text(&["cluster", "aescbcEncryptionSecret"]),
                secretbox: text(&["cluster", "secretboxEncryptionSecret"]),
            }),
            trustd_token: Some(text(&["machine", "token"])),
            certs: Some(certs),
        })
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
