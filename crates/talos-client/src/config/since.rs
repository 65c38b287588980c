//! What older versions of Talos do not know yet: kinds, fields, ways to write a value.

use super::schema::{self, Schema};
use super::typed::{self, Refused};
use crate::yaml::Node;

/// The first minor version whose loader has no older habits.
pub(super) const NEWEST: u32 = 14;

/// Kinds by the minor version that brought them, after 1.11.
const KINDS: [(u32, &[&str]); 2] = [
    (
        12,
        &[
            "BondConfig",
            "BridgeConfig",
            "DHCPv4Config",
            "DHCPv6Config",
            "DummyLinkConfig",
            "HCloudVIPConfig",
            "HostnameConfig",
            "Layer2VIPConfig",
            "LinkAliasConfig",
            "LinkConfig",
            "OOMConfig",
            "RegistryAuthConfig",
            "RegistryMirrorConfig",
            "RegistryTLSConfig",
            "ResolverConfig",
            "StaticHostConfig",
            "TimeSyncConfig",
            "VLANConfig",
            "WireguardConfig",
        ],
    ),
    (
        13,
        &[
            "BlackholeRouteConfig",
            "EnvironmentConfig",
            "ExternalVolumeConfig",
            "ImageVerificationConfig",
            "KubeSpanConfig",
            "RoutingRuleConfig",
            "TCPProbeConfig",
            "VRFConfig",
        ],
    ),
];

/// Fields of older types by the minor version that brought them, after 1.11.
const FIELDS: [(u32, &str, &str); 11] = [
    (12, "block.EncryptionKeyTPM", "options"),
    (12, "block.UserVolumeConfigV1Alpha1", "volumeType"),
    (12, "network.EthernetConfigV1Alpha1", "wakeOnLan"),
    (12, "v1alpha1.InstallConfig", "grubUseUKICmdline"),
    (12, "v1alpha1.KubeSpanFilters", "excludeAdvertisedNetworks"),
    (13, "block.ExistingMountSpec", "secure"),
    (13, "block.ExistingMountSpec", "disableAccessTime"),
    (13, "block.UserVolumeConfigV1Alpha1", "mount"),
    (13, "block.VolumeConfigV1Alpha1", "mount"),
    (13, "runtime.OOMV1Alpha1", "strictCgroupClassOrdering"),
    (13, "v1alpha1.FlannelCNIConfig", "kubeNetworkPoliciesEnabled"),
];

/// Whether a minor version of Talos 1 has a kind.
pub(super) fn has_kind(kind: &str, minor: u32) -> bool {
    let is_there = KINDS.iter().all(|(since, kinds)| *since <= minor || !kinds.contains(&kind));
    is_there && (minor >= NEWEST || !schema::is_newest_kind(kind))
}

/// A document without the fields that came after a minor version, and the first of those.
pub(super) fn without_newer(kind: &str, node: Node, minor: u32) -> (Node, Option<Refused>) {
    let Some(schema) = schema::schema().filter(|_| minor < NEWEST) else { return (node, None) };
    let Some(name) = schema.kinds.get(kind) else { return (node, None) };
    let mut walk = Walk { schema, minor, unknown: None };
    let node = walk.stripped(name, node, kind);
    (node, walk.unknown)
}

/// Refuses ways to write a value that came after a minor version.
pub(super) fn check(kind: &str, node: &Node, minor: u32) -> Result<(), Refused> {
    let Some(schema) = schema::schema().filter(|_| minor < NEWEST) else { return Ok(()) };
    let Some(name) = schema.kinds.get(kind) else { return Ok(()) };
    Walk { schema, minor, unknown: None }.value(name, node, kind)
}

struct Walk<'a> {
    schema: &'a Schema,
    minor: u32,
    /// The first field that is not known; told after all that does not fit.
    unknown: Option<Refused>,
}

impl<'a> Walk<'a> {
    /// Types of the fields of a mapping: of those with names of their own, and of all others.
    fn fields(
        &self,
        kind: &'a str,
    ) -> (Option<&'a serde_json::Map<String, serde_json::Value>>, Option<&'a str>) {
        let fields = self.schema.types.get(kind);
        let rest = fields.and_then(|fields| fields.get("*")?.as_str()).unwrap_or(kind);
        let inner = rest.strip_prefix("map<").and_then(|rest| rest.strip_suffix('>'));
        let further = inner.and_then(|inner| inner.split_once(',')).map(|(_, value)| value);
        (fields, further)
    }

    fn stripped(&mut self, kind: &'a str, node: Node, path: &str) -> Node {
        let kind = typed::bare(kind);
        match node {
            Node::List(items) => {
                let item = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                let Some(item) = item else { return Node::List(items) };
                let strip = |(index, node)| self.stripped(item, node, &format!("{path}[{index}]"));
                Node::List(items.into_iter().enumerate().map(strip).collect())
            }
            Node::Map(entries) => {
                let (fields, further) = self.fields(kind);
                let mut out = Vec::new();
                for (name, node) in entries {
                    if self.is_newer(kind, &name, path) {
                        continue;
                    }
                    let field = fields.and_then(|fields| fields.get(&name)?.as_str());
                    let node = match field.or(further) {
                        Some(kind) => self.stripped(kind, node, &format!("{path}.{name}")),
                        None => node,
                    };
                    out.push((name, node));
                }
                Node::Map(out)
            }
            scalar @ Node::Scalar { .. } => scalar,
        }
    }

    fn value(&self, kind: &'a str, node: &Node, path: &str) -> Result<(), Refused> {
        let kind = typed::bare(kind);
        let refused = |class: &'static str, what: &str| {
            let message = format!("{path} cannot be {what} in this version");
            Err(Refused::of(class, path, message))
        };
        match node {
            Node::List(_) if kind == "v1alpha1.ArgValue" && self.minor < 13 => {
                refused("wrong-type", "a list")
            }
            Node::List(items) => {
                let item = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                let Some(item) = item else { return Ok(()) };
                let mut items = items.iter().enumerate();
                items.try_for_each(|(index, node)| {
                    self.value(item, node, &format!("{path}[{index}]"))
                })
            }
            Node::Map(entries) => {
                let (fields, further) = self.fields(kind);
                entries.iter().try_for_each(|(name, node)| {
                    let field = fields.and_then(|fields| fields.get(name)?.as_str());
                    let kind = field.or(further);
                    kind.map_or(Ok(()), |kind| self.value(kind, node, &format!("{path}.{name}")))
                })
            }
            Node::Scalar { text, .. } => match kind {
                "block.ByteSize" | "block.Size" if self.minor < 13 && text.starts_with('-') => {
                    refused("bad-value", "negative")
                }
                "block.Size" if self.minor < 12 && text.ends_with('%') => {
                    refused("bad-value", "a percentage")
                }
                owner if schema::is_newest_word(owner, text) => refused("bad-value", "such a word"),
                _ => Ok(()),
            },
        }
    }

    /// Whether a field came later; the first one is remembered.
    fn is_newer(&mut self, owner: &str, field: &str, path: &str) -> bool {
        let is_newer = |(since, kind, name): &(u32, &str, &str)| {
            *since > self.minor && *kind == owner && *name == field
        };
        let found = FIELDS.iter().any(is_newer) || schema::is_newest_field(owner, field);
        if found && self.unknown.is_none() {
            let message = format!("{path} has no field {field:?} in this version");
            self.unknown = Some(Refused::of("unknown-keys", &format!("{path}.{field}"), message));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::MachineConfig;

    #[test]
    fn older_versions_refuse_what_came_later() {
        let volume = |rest: &str| {
            format!("apiVersion: v1alpha1\nkind: VolumeConfig\nname: EPHEMERAL\n{rest}\n")
        };
        let link = "apiVersion: v1alpha1\nkind: LinkConfig\nname: a\n".to_owned();
        let lists = "cluster: {apiServer: {extraArgs: {a: [b, c]}}}".to_owned();
        for (text, first, class) in [
            ("null".to_owned(), 12, "not-a-mapping"),
            ("kind: KmsgLogConfig".to_owned(), 12, "unknown-document"),
            (link, 12, "unknown-document"),
            (volume("provisioning: {maxSize: -5GB}"), 13, "bad-value"),
            (volume("provisioning: {minSize: -5GB}"), 13, "bad-value"),
            (volume("provisioning: {maxSize: 50%}"), 12, "bad-value"),
            (volume("mount: {secure: true}"), 13, "unknown-keys"),
            (lists, 13, "wrong-type"),
        ] {
            for minor in [11, 12, 13] {
                let found = MachineConfig::load_for(&text, minor).err().map(|error| error.class());
                assert_eq!(found == Some(class), minor < first, "{text} in 1.{minor}: {found:?}");
            }
        }
    }
}
