//! Which changes of a configuration a node takes without a reboot.

use serde_json::Value;

use super::diff::unified;
use super::load::Config;

/// Keys of `machine` whose change is taken live.
const LIVE: [&str; 19] = [
    "ca",
    "acceptedCAs",
    "certSANs",
    "time",
    "install",
    "network",
    "sysfs",
    "sysctls",
    "logging",
    "controlPlane",
    "kubelet",
    "kernel",
    "registries",
    "pods",
    "seccompProfiles",
    "nodeAnnotations",
    "nodeLabels",
    "nodeTaints",
    "persist",
];

/// Keys of `machine.features` whose change is taken live.
const LIVE_FEATURES: [&str; 5] =
    ["kubernetesTalosAPIAccess", "kubePrism", "hostDNS", "imageCache", "nodeAddressSortAlgorithm"];

/// What a new configuration changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Unified diff of the texts, empty when nothing changes.
    pub(crate) diff: String,
    /// Diff of what needs a reboot, empty when nothing does.
    pub(crate) needs_reboot: String,
}

/// Compare the active configuration with a new one.
pub(crate) fn change(old: &Config, new: &Config) -> Change {
    let diff = unified(&old.encode(), &new.encode());
    let needs_reboot = match (old.v1alpha1(), new.v1alpha1()) {
        (Some(a), Some(b)) => unified(&new.with_v1alpha1(&live(a, b)).encode(), &new.encode()),
        _ => String::new(),
    };
    Change { diff, needs_reboot }
}

/// The new document with every value that needs a reboot put back to the old one.
fn live(old: &Value, new: &Value) -> Value {
    let mut out = new.clone();
    let (Some(before), Some(after)) = (old.get("machine"), out.get_mut("machine")) else {
        return out;
    };
    let kept = |key: &str| LIVE.contains(&key);
    put_back(before, after, "Machine", &kept);
    if let (Some(a), Some(b)) = (before.get("features"), new.pointer("/machine/features")) {
        let mut features = b.clone();
        put_back(a, &mut features, "Features", &|key| LIVE_FEATURES.contains(&key));
        if let Some(map) = after.as_object_mut() {
            map.insert("features".to_owned(), features);
        }
    }
    out
}

/// Take every key that is not live from the old value, keeping the order of the schema.
fn put_back(old: &Value, new: &mut Value, structure: &str, is_live: &dyn Fn(&str) -> bool) {
    let mut out = serde_json::Map::new();
    for field in super::schema::fields(structure) {
        let source = if is_live(&field.name) { &*new } else { old };
        if let Some(value) = source.get(&field.name) {
            out.insert(field.name.clone(), value.clone());
        }
    }
    *new = Value::Object(out);
}
