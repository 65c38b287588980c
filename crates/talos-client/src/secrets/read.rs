//! Reading a bundle.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Bundle, BundleError, Certs, Cluster, Pair, Text, Tokens};
use crate::yaml::{self, Node};

/// What stands for a key that was taken out.
pub(super) const REDACTED: &str = "******";

type Result<T> = std::result::Result<T, BundleError>;

fn wrong(message: impl Into<String>) -> BundleError {
    BundleError::Read { line: 0, message: message.into() }
}

impl Bundle {
    /// Reads a bundle as laxly as Talos does: unknown fields are ignored, only the first document
    /// counts, numbers and booleans are taken as they are written.
    ///
    /// # Errors
    /// The text is no YAML, a field is of another type, or a certificate or key is no base64.
    pub fn parse(text: &str) -> Result<Self> {
        let document = yaml::first_document(text).map_err(|error| BundleError::Read {
            line: error.line,
            message: error.message.to_owned(),
        })?;
        let document = document.filter(|node| !node.is_null());
        let Some(document) = document else { return Err(wrong("the text is empty")) };
        let mut bundle = Self::default();
        for (name, value) in section(&document, "the bundle")?.unwrap_or_default() {
            match name {
                "cluster" => bundle.cluster = cluster(value)?,
                "secrets" => bundle.secrets = tokens(value)?,
                "trustdinfo" => bundle.trustd_token = trustd(value)?,
                "certs" => bundle.certs = certs(value)?,
                _ => {}
            }
        }
        Ok(bundle)
    }
}

type Fields<'a> = Vec<(&'a str, &'a Node)>;

/// Entries of a section; none when it is null.
fn section<'a>(node: &'a Node, what: &str) -> Result<Option<Fields<'a>>> {
    match node {
        _ if node.is_null() => Ok(None),
        Node::Map(entries) => {
            Ok(Some(entries.iter().map(|(name, value)| (name.as_str(), value)).collect()))
        }
        _ => Err(wrong(format!("{what} is not a map"))),
    }
}

fn text(node: &Node, what: &str) -> Result<Text> {
    node.text().map(Text::from).ok_or_else(|| wrong(format!("{what} is not text")))
}

fn cluster(node: &Node) -> Result<Option<Cluster>> {
    let Some(fields) = section(node, "cluster")? else { return Ok(None) };
    let mut cluster = Cluster::default();
    for (name, value) in fields {
        match name {
            "id" => cluster.id = text(value, "cluster.id")?,
            "secret" => cluster.secret = text(value, "cluster.secret")?,
            _ => {}
        }
    }
    Ok(Some(cluster))
}

fn tokens(node: &Node) -> Result<Option<Tokens>> {
    let Some(fields) = section(node, "secrets")? else { return Ok(None) };
    let mut tokens = Tokens::default();
    for (name, value) in fields {
        match name {
            "bootstraptoken" => tokens.bootstrap = text(value, "secrets.bootstraptoken")?,
            "aescbcencryptionsecret" => {
                tokens.aescbc = text(value, "secrets.aescbcencryptionsecret")?;
            }
            "secretboxencryptionsecret" => {
                tokens.secretbox = text(value, "secrets.secretboxencryptionsecret")?;
            }
            _ => {}
        }
    }
    Ok(Some(tokens))
}

fn trustd(node: &Node) -> Result<Option<Text>> {
    let Some(fields) = section(node, "trustdinfo")? else { return Ok(None) };
    let token = fields.into_iter().find(|(name, _)| *name == "token");
    token.map_or(Ok(Some(Text::default())), |(_, value)| text(value, "trustdinfo.token").map(Some))
}

fn certs(node: &Node) -> Result<Option<Certs>> {
    let Some(fields) = section(node, "certs")? else { return Ok(None) };
    let mut certs = Certs::default();
    for (name, value) in fields {
        match name {
            "etcd" => certs.etcd = pair(value, name)?,
            "k8s" => certs.k8s = pair(value, name)?,
            "k8saggregator" => certs.k8s_aggregator = pair(value, name)?,
            "k8sserviceaccount" => {
                certs.k8s_service_account = pair(value, name)?.map(|pair| pair.key);
            }
            "os" => certs.os = pair(value, name)?,
            _ => {}
        }
    }
    Ok(Some(certs))
}

fn pair(node: &Node, what: &str) -> Result<Option<Pair>> {
    let Some(fields) = section(node, what)? else { return Ok(None) };
    let mut pair = Pair::default();
    for (name, value) in fields {
        let decoded = |text: &str| -> Result<Text> {
            // Few are broken into lines.
            let one_line = || Zeroizing::new(text.replace(['\n', '\r'], ""));
            let bytes = STANDARD.decode(text).or_else(|_| STANDARD.decode(one_line().as_bytes()));
            let bytes = bytes.map_err(|_| wrong(format!("certs.{what}.{name} is no base64")))?;
            Ok(bytes.into())
        };
        let text = || {
            let text = value.text();
            text.ok_or_else(|| wrong(format!("certs.{what}.{name} is not text")))
        };
        match name {
            "crt" => pair.crt = decoded(text()?)?,
            "key" => {
                let text = text()?;
                pair.key = if text == REDACTED { Text::from(REDACTED) } else { decoded(text)? };
            }
            _ => {}
        }
    }
    Ok(Some(pair))
}
