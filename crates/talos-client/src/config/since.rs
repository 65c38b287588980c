//! What older versions of Talos do not know yet: kinds, fields, ways to write a value.

use super::schema::{self, Schema};
use super::typed::{self, Refused};
use crate::yaml::Node;

/// The first minor version whose loader has no older habits.
pub(super) const NEWEST: u32 = 13;

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
    KINDS.iter().all(|(since, kinds)| *since <= minor || !kinds.contains(&kind))
}

/// Refuses what a minor version does not know in a document that newer ones take.
pub(super) fn check(kind: &str, node: &Node, minor: u32) -> Result<(), Refused> {
    let Some(schema) = schema::schema().filter(|_| minor < NEWEST) else { return Ok(()) };
    let Some(name) = schema.kinds.get(kind) else { return Ok(()) };
    let mut walk = Walk { schema, minor, unknown: None };
    walk.value(name, node, kind)?;
    walk.unknown.map_or(Ok(()), Err)
}

struct Walk<'a> {
    schema: &'a Schema,
    minor: u32,
    /// The first field that is not known; told after all that does not fit.
    unknown: Option<Refused>,
}

impl Walk<'_> {
    fn value(&mut self, kind: &str, node: &Node, path: &str) -> Result<(), Refused> {
        let kind = typed::bare(kind);
        let refused = |class: &'static str, what: &str| {
            Err(Refused { class, message: format!("{path} cannot be {what} in this version") })
        };
        match node {
            Node::List(_) if kind == "v1alpha1.ArgValue" => refused("wrong-type", "a list"),
            Node::List(items) => {
                let item = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                let Some(item) = item else { return Ok(()) };
                let mut items = items.iter().enumerate();
                items.try_for_each(|(index, node)| {
                    self.value(item, node, &format!("{path}[{index}]"))
                })
            }
            Node::Map(entries) => {
                let schema = self.schema;
                let fields = schema.types.get(kind);
                let rest = fields.and_then(|fields| fields.get("*")?.as_str()).unwrap_or(kind);
                let further = rest
                    .strip_prefix("map<")
                    .and_then(|rest| rest.strip_suffix('>'))
                    .and_then(|inner| inner.split_once(','))
                    .map(|(_, value)| value);
                for (name, node) in entries {
                    self.known(kind, name, path);
                    let field = fields.and_then(|fields| fields.get(name)?.as_str());
                    if let Some(kind) = field.or(further) {
                        self.value(kind, node, &format!("{path}.{name}"))?;
                    }
                }
                Ok(())
            }
            Node::Scalar { text, .. } => match kind {
                "block.ByteSize" | "block.Size" if text.starts_with('-') => {
                    refused("bad-value", "negative")
                }
                "block.Size" if self.minor < 12 && text.ends_with('%') => {
                    refused("bad-value", "a percentage")
                }
                _ => Ok(()),
            },
        }
    }

    fn known(&mut self, owner: &str, field: &str, path: &str) {
        let is_newer = |(since, kind, name): &(u32, &str, &str)| {
            *since > self.minor && *kind == owner && *name == field
        };
        if self.unknown.is_none() && FIELDS.iter().any(is_newer) {
            let message = format!("{path} has no field {field:?} in this version");
            self.unknown = Some(Refused { class: "unknown-keys", message });
        }
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
