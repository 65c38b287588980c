//! Reading a configuration as strictly as a node does.

use std::collections::BTreeSet;

use super::machine::{ConfigError, MachineConfig};
use super::{since, typed};
use crate::yaml::{self, Node};

/// Keys of the main document, by which it is known without a kind.
const MAIN: [&str; 4] = ["debug", "persist", "machine", "cluster"];

/// Kinds that describe a link, with its addresses.
pub(super) const LINKS: &[&str] = &[
    "LinkConfig",
    "VLANConfig",
    "BondConfig",
    "BridgeConfig",
    "DummyLinkConfig",
    "WireguardConfig",
    "VRFConfig",
];

/// Kinds that exclude one another under one name.
const EXCLUDING: [&[&str]; 3] =
    [LINKS, &["Layer2VIPConfig", "HCloudVIPConfig"], &["UserVolumeConfig", "ExistingVolumeConfig"]];

/// Whether a document says nothing but its name: a patch leaves such a one out.
pub(super) fn is_bare(node: &Node) -> bool {
    let is_name = |key: &str| matches!(key, "version" | "kind" | "name");
    let Node::Map(entries) = node else { return false };
    entries.iter().all(|(key, node)| is_name(key) && matches!(node, Node::Scalar { .. }))
}

/// The kind of a document, as the newest version sees it.
pub(super) fn kind_of(node: &Node) -> Result<String, ConfigError> {
    kind_for(node, since::NEWEST)
}

fn kind_for(node: &Node, minor: u32) -> Result<String, ConfigError> {
    let Node::Map(entries) = node else {
        return Err(ConfigError::classed("not-a-mapping", "a document is no mapping"));
    };
    for name in ["apiVersion", "kind"] {
        if matches!(node.get(name), Some(Node::Map(_) | Node::List(_))) {
            return Err(ConfigError::classed("wrong-type", format!("{name} is no single value")));
        }
    }
    let text = |name: &str| node.get(name).and_then(Node::text).filter(|text| !text.is_empty());
    let (kind, version) = (text("kind"), text("apiVersion"));
    let is_main = || entries.iter().any(|(key, _)| MAIN.contains(&key.as_str()));
    match (kind, version) {
        (None, Some("v1alpha1")) => Ok("v1alpha1".to_owned()),
        (None, None) if is_main() => Ok("v1alpha1".to_owned()),
        (None, _) => Err(ConfigError::classed("missing-kind", "a document has no kind")),
        (Some(kind), None) if is_main() => Err(ConfigError::classed(
            if typed::is_kind(kind) && since::has_kind(kind, minor) {
                "unknown-keys"
            } else {
                "unknown-document"
            },
            format!("a document of kind {kind} has fields of the main document"),
        )),
        (Some(kind), None) => Err(ConfigError::classed(
            if minor < 12 { "unknown-document" } else { "missing-api-version" },
            format!("a document of kind {kind} has no apiVersion"),
        )),
        (Some(kind), Some("v1alpha1")) => Ok(kind.to_owned()),
        (Some(kind), Some(version)) => Err(ConfigError::classed(
            "unknown-document",
            format!("there is no document kind {kind:?} of version {version:?}"),
        )),
    }
}

/// Documents that stand together must not be doubled or exclude one another.
pub(super) fn add(
    seen: &mut BTreeSet<(String, String)>,
    kind: &str,
    name: &str,
) -> Result<(), ConfigError> {
    once(seen, kind, name)?;
    excluded(seen, kind, name)
}

fn once(seen: &mut BTreeSet<(String, String)>, kind: &str, name: &str) -> Result<(), ConfigError> {
    if seen.insert((kind.to_owned(), name.to_owned())) {
        return Ok(());
    }
    let text = format!("there are two documents {kind} {name}");
    Err(ConfigError::classed("duplicate-document", text.trim_end()))
}

fn excluded(seen: &BTreeSet<(String, String)>, kind: &str, name: &str) -> Result<(), ConfigError> {
    let others = EXCLUDING.iter().filter(|kinds| kinds.contains(&kind));
    for other in others.flat_map(|kinds| kinds.iter()).filter(|other| **other != kind) {
        if seen.contains(&((*other).to_owned(), name.to_owned())) {
            let text = format!("{other} and {kind} have the name {name:?}");
            return Err(ConfigError::classed("conflicting-documents", text));
        }
    }
    Ok(())
}

/// The name of a document of a kind; the main one has none.
pub(super) fn name_of(kind: &str, node: &Node) -> String {
    match kind {
        "v1alpha1" => String::new(),
        _ => node_name(node),
    }
}

fn node_name(node: &Node) -> String {
    node.get("name").and_then(Node::text).unwrap_or_default().to_owned()
}

impl MachineConfig {
    /// Reads a configuration as a node does: every field must be known and of its type.
    /// [`MachineConfig::parse`] keeps what it does not know.
    ///
    /// # Errors
    /// The text is no YAML, a kind, field or value is not one that Talos takes, or documents are
    /// doubled or exclude one another; [`ConfigError::class`] tells which.
    pub fn load(text: &str) -> Result<Self, ConfigError> {
        Self::load_for(text, since::NEWEST)
    }

    /// Reads a configuration as [`MachineConfig::load`] does, for a minor version of Talos 1: what
    /// came later is refused.
    ///
    /// # Errors
    /// As with [`MachineConfig::load`].
    pub fn load_for(text: &str, minor: u32) -> Result<Self, ConfigError> {
        let mut documents = Vec::new();
        let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
        let mut mains = BTreeSet::new();
        let nodes = yaml::documents(text)?.into_iter();
        let nodes = nodes.filter(|node| minor < 12 || !node.is_null());
        for (number, node) in nodes.enumerate() {
            let read = (|| {
                let kind = kind_for(&node, minor)?;
                if !since::has_kind(&kind, minor) {
                    let text = format!("Talos 1.{minor} has no document kind {kind:?}");
                    return Err(ConfigError::classed("unknown-document", text));
                }
                let name = name_of(&kind, &node);
                // Two main documents that say their version in unlike ways are told apart at first.
                let is_main = kind == "v1alpha1";
                let written = node.get("apiVersion").and_then(Node::text).unwrap_or_default();
                if is_main {
                    once(&mut mains, written, &node_name(&node))?;
                } else if typed::is_kind(&kind) {
                    once(&mut seen, &kind, &name)?;
                }
                let (node, newer) = since::without_newer(&kind, node, minor);
                let document = typed::document(&kind, &node)?;
                since::check(&kind, &node, minor)?;
                newer.map_or(Ok(()), Err)?;
                if is_main {
                    once(&mut seen, &kind, &name)?;
                }
                Ok(document)
            })();
            documents.push(read.map_err(|error: ConfigError| error.located(text, number))?);
        }
        for (kind, name) in &seen {
            excluded(&seen, kind, name)?;
        }
        if documents.is_empty() {
            return Err(ConfigError::classed("empty-config", "there is no document"));
        }
        // The main document comes first, wherever it stands.
        documents.sort_by_key(|document| document.get("kind").is_some());
        Ok(Self::of_documents(documents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_would_refuse_is_refused_with_its_class() {
        let class = |text: &str| MachineConfig::load(text).unwrap_err().class();
        for (text, wanted) in [
            ("", "empty-config"),
            ("a: [", "bad-yaml"),
            ("machine: {}\nmachine: {}", "duplicate-key"),
            ("- a", "not-a-mapping"),
            ("foo: bar", "missing-kind"),
            ("kind: KmsgLogConfig", "missing-api-version"),
            ("apiVersion: v2\nkind: HostnameConfig", "unknown-document"),
            ("apiVersion: v1alpha1\nkind: Nonsense", "unknown-document"),
            ("machine: {nonsense: 1}", "unknown-keys"),
            ("machine: {network: {interfaces: [{mtu: x}]}}", "wrong-type"),
            ("cluster: {controlPlane: {endpoint: 'https://%zz'}}", "bad-value"),
            ("machine: {}\n---\ncluster: {}", "duplicate-document"),
            ("machine: {}\n---\napiVersion: v1alpha1\nx: 1", "unknown-keys"),
            ("version: v1alpha1", "missing-kind"),
            ("kind: []", "wrong-type"),
            ("machine: {ca: {crt: {}}}", "wrong-type"),
            ("machine: {ca: {crt: Y2E=, other: a}}", "unknown-keys"),
            ("apiVersion: v1alpha1\nkind: RoutingRuleConfig\nname: '9'\ntable: 300\n", "bad-value"),
            (
                "apiVersion: v1alpha1\nkind: LinkConfig\nname: a\n---\napiVersion: v1alpha1\nkind: BondConfig\nname: a\n",
                "conflicting-documents",
            ),
        ] {
            assert_eq!(class(text), wanted, "{text}");
        }
    }
}
