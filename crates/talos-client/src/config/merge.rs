//! Merging a partial document into one, by the types of its fields, as Talos' library does it.

use serde_json::{Map, Number, Value};

use super::machine::ConfigError;
use super::schema::{self, Schema};
use super::shape::is_optional_value;
use super::typed::bare;
use super::url::GoUrl;

/// What the library takes from the patch even when the patch does not name it: expressions and
/// sizes that its merge cannot look into.
const ALWAYS_COPIED: [(&str, &[&str]); 11] = [
    ("VolumeConfig", &["/provisioning/diskSelector/match", "/provisioning/minSize"]),
    ("UserVolumeConfig", &["/provisioning/diskSelector/match", "/provisioning/minSize"]),
    ("RawVolumeConfig", &["/provisioning/diskSelector/match", "/provisioning/minSize"]),
    ("SwapVolumeConfig", &["/provisioning/diskSelector/match", "/provisioning/minSize"]),
    ("ExistingVolumeConfig", &["/discovery/volumeSelector/match"]),
    ("LinkAliasConfig", &["/selector/match"]),
    ("OOMConfig", &["/triggerExpression", "/cgroupRankingExpression"]),
    ("LVMLogicalVolumeConfig", &["/provisioning/minSize"]),
    ("LVMVolumeGroupConfig", &["/provisioning/volumeSelector/match"]),
    ("RAIDArrayConfig", &["/provisioning/volumeSelector/match"]),
    ("UnattendedInstallConfig", &["/provisioning/diskSelector/match"]),
];

/// Fields that a patch replaces as a whole.
const REPLACED: [(&str, &str); 15] = [
    ("v1alpha1.ClusterNetworkConfig", "podSubnets"),
    ("v1alpha1.ClusterNetworkConfig", "serviceSubnets"),
    ("v1alpha1.APIServerConfig", "auditPolicy"),
    ("network.RuleConfigV1Alpha1", "ingress"),
    ("network.RulePortSelector", "ports"),
    ("k8s.KubeAuditPolicyConfigV1Alpha1", "configuration"),
    ("k8s.KubeCredentialProviderConfigV1Alpha1", "configuration"),
    ("k8s.KubeAuthenticationConfigV1Alpha1", "configuration"),
    ("k8s.KubeStaticPodConfigV1Alpha1", "pod"),
    ("k8s.KubeNetworkConfigV1Alpha1", "podSubnets"),
    ("k8s.KubeNetworkConfigV1Alpha1", "serviceSubnets"),
    ("network.BGPInstanceConfigV1Alpha1", "advertise"),
    ("network.BGPInstanceConfigV1Alpha1", "importRoutes"),
    ("network.BGPInstanceConfigV1Alpha1", "neighbors"),
    ("cri.CRIBaseRuntimeSpecConfigV1Alpha1", "overrides"),
];

/// How an item of a patch's list finds its partner.
#[derive(Clone, Copy)]
enum Key {
    /// By a field; an absent number is 0.
    Field(&'static str),
    /// Interfaces: by name, else by selector.
    Interface,
    /// By a field; the partner is replaced.
    Whole(&'static str),
}

const KEYED: [(&str, &str, Key); 5] = [
    ("v1alpha1.NetworkConfig", "interfaces", Key::Interface),
    ("v1alpha1.Device", "vlans", Key::Field("vlanId")),
    ("v1alpha1.APIServerConfig", "admissionControl", Key::Field("name")),
    ("extensions.ServiceConfigV1Alpha1", "configFiles", Key::Field("mountPath")),
    ("security.ImageVerificationConfigV1Alpha1", "rules", Key::Whole("image")),
];

type Merged = Result<(), ConfigError>;

/// Merges a partial document of a kind.
pub(super) fn document(kind: &str, target: &mut Value, patch: Value) -> Merged {
    let Some((schema, name)) =
        schema::schema().and_then(|schema| Some((schema, schema.kinds.get(kind)?)))
    else {
        return Err(ConfigError::classed(
            "unknown-document",
            format!("there is no document kind {kind:?}"),
        ));
    };
    if kind == "RoutingRuleConfig" {
        return Err(not_settable(
            "a RoutingRuleConfig cannot be merged with another: delete it and write it anew",
        ));
    }
    let copied = ALWAYS_COPIED.iter().find(|(name, _)| *name == kind);
    let named: Vec<(&str, bool)> = copied
        .map_or(&[][..], |(_, pointers)| pointers)
        .iter()
        .map(|pointer| (*pointer, patch.pointer(pointer).is_some_and(|value| !value.is_null())))
        .collect();
    Merge { schema, path: vec![kind.to_owned()] }.value(name, target, patch)?;
    for (pointer, _) in named.iter().filter(|(_, is_named)| !is_named) {
        remove(target, pointer);
    }
    Ok(())
}

/// Removes a field, and the sections that are empty without it.
fn remove(target: &mut Value, pointer: &str) {
    let Some((parent, field)) = pointer.rsplit_once('/') else { return };
    let Some(Value::Object(map)) = target.pointer_mut(parent) else { return };
    map.shift_remove(field);
    if map.is_empty() && !parent.is_empty() {
        remove(target, parent);
    }
}

fn not_settable(text: impl Into<String>) -> ConfigError {
    ConfigError::classed("merge-not-settable", text)
}

struct Merge<'a> {
    schema: &'a Schema,
    path: Vec<String>,
}

impl Merge<'_> {
    fn at(&self) -> String {
        self.path.join(".")
    }

    fn value(&mut self, kind: &str, target: &mut Value, patch: Value) -> Merged {
        let name = bare(kind);
        if patch.is_null() {
            return Ok(());
        }
        // What was not there is taken as it stands.
        if target.is_null() {
            *target = patch;
            return Ok(());
        }
        if let Some(inner) = name.strip_prefix("map<").and_then(|rest| rest.strip_suffix('>')) {
            let inner = inner.split_once(',').map_or("any", |(_, inner)| inner);
            return self.map(inner, target, patch);
        }
        if let Some(fields) = self.schema.types.get(name) {
            if fields.contains_key("*") {
                return self.free(target, patch);
            }
            return self.section(name, target, patch);
        }
        match name {
            "any" => self.free(target, patch),
            "v1alpha1.Endpoint" | "meta.URL" => self.url(target, &patch),
            "v1alpha1.InstallDiskSizeMatcher" => Err(not_settable(format!(
                "{}: a size of a selector cannot be merged with another: delete it first",
                self.at()
            ))),
            _ if name.starts_with("x509.") => {
                *target = patch;
                Ok(())
            }
            _ => self.plain(kind, target, patch),
        }
    }

    fn section(&mut self, name: &str, target: &mut Value, patch: Value) -> Merged {
        let (Value::Object(current), Value::Object(entries)) = (target, patch) else {
            return Err(self.mismatch());
        };
        for (field, value) in entries {
            if value.is_null() {
                continue;
            }
            self.path.push(field.clone());
            self.field(name, &field, current, value)?;
            self.path.pop();
        }
        Ok(())
    }

    fn field(
        &mut self,
        name: &str,
        field: &str,
        current: &mut Map<String, Value>,
        value: Value,
    ) -> Merged {
        let fields = self.schema.types.get(name);
        let kind = fields.and_then(|fields| fields.get(field)?.as_str()).unwrap_or("any");
        let is_replaced = REPLACED.contains(&(name, field));
        let is_empty_map = value.as_object().is_some_and(Map::is_empty);
        if is_replaced && !is_empty_map {
            current.insert(field.to_owned(), value);
            return Ok(());
        }
        let key = KEYED.iter().find(|(owner, list, _)| (*owner, *list) == (name, field));
        let target = current.entry(field.to_owned()).or_insert(Value::Null);
        match value {
            Value::Array(items) => {
                if target.is_null() {
                    *target = Value::Array(Vec::new());
                }
                let Value::Array(list) = target else { return Err(self.mismatch()) };
                let item = bare(kind).trim_start_matches('[').trim_end_matches(']').to_owned();
                match key {
                    Some((_, _, key)) => self.keyed(*key, &item, list, items),
                    None => {
                        list.extend(items);
                        Ok(())
                    }
                }
            }
            // A field that is held optionally is overwritten by whatever is there.
            value if is_optional_value(name, field, kind) => {
                *target = value;
                Ok(())
            }
            value => {
                self.value(kind, target, value)?;
                if target.is_null() {
                    current.shift_remove(field);
                }
                Ok(())
            }
        }
    }

    fn keyed(
        &mut self,
        key: Key,
        kind: &str,
        current: &mut Vec<Value>,
        items: Vec<Value>,
    ) -> Merged {
        for item in items {
            if item.is_null() || current.iter().any(Value::is_null) {
                let text = format!("{}: an empty item cannot be merged", self.at());
                return Err(ConfigError::classed("panic", text));
            }
            let found = current.iter_mut().find(|one| key.matches(one, &item));
            match (found, key) {
                (Some(one), Key::Whole(_)) => *one = item,
                (Some(one), _) => self.value(kind, one, item)?,
                (None, _) => current.push(item),
            }
        }
        Ok(())
    }

    fn map(&mut self, inner: &str, target: &mut Value, patch: Value) -> Merged {
        if inner == "any" {
            return self.free(target, patch);
        }
        let (Value::Object(current), Value::Object(entries)) = (target, patch) else {
            return Err(self.mismatch());
        };
        for (key, value) in entries {
            self.path.push(key.clone());
            match current.get_mut(&key) {
                Some(one) if bare(inner) == "v1alpha1.ArgValue" => *one = value,
                Some(one) => self.value(inner, one, value)?,
                None => drop(current.insert(key, value)),
            }
            self.path.pop();
        }
        Ok(())
    }

    /// Values without a type: what they are decides.
    fn free(&mut self, target: &mut Value, patch: Value) -> Merged {
        match (&mut *target, patch) {
            (Value::Object(current), Value::Object(entries)) => {
                for (key, value) in entries {
                    self.path.push(key.clone());
                    match current.get_mut(&key) {
                        Some(one) => self.free(one, value)?,
                        None => drop(current.insert(key, value)),
                    }
                    self.path.pop();
                }
                Ok(())
            }
            (Value::Array(current), Value::Array(items)) => {
                current.extend(items);
                Ok(())
            }
            (Value::Null, value) => {
                *target = value;
                Ok(())
            }
            (_, Value::Null) => {
                let text = format!("{}: nothing cannot be merged over a value", self.at());
                Err(ConfigError::classed("panic", text))
            }
            (Value::String(_), Value::String(text)) if text.is_empty() => Ok(()),
            (Value::Number(_), Value::Number(number)) if is_zero(&number) => Ok(()),
            (Value::Number(one), Value::Number(other)) if one.is_f64() != other.is_f64() => {
                Err(self.mismatch())
            }
            (Value::String(one), Value::String(text)) => {
                *one = text;
                Ok(())
            }
            (Value::Number(one), Value::Number(number)) => {
                *one = number;
                Ok(())
            }
            (Value::Bool(one), Value::Bool(flag)) => {
                *one = flag;
                Ok(())
            }
            _ => Err(self.mismatch()),
        }
    }

    /// Text, numbers, durations and words, which are held by value: one that is empty, zero or the
    /// first of its kind cannot be told from one that is not there.
    fn plain(&self, kind: &str, target: &mut Value, patch: Value) -> Merged {
        let first = self.schema.enums.get(bare(kind)).and_then(|words| words.first());
        let is_nothing = match &patch {
            Value::String(text) => {
                text.is_empty()
                    || first == Some(text)
                    || bare(kind) == "duration" && matches!(text.as_str(), "0s" | "0")
            }
            Value::Number(number) => is_zero(number),
            _ => false,
        };
        if !is_nothing {
            *target = patch;
        }
        Ok(())
    }

    fn url(&self, target: &mut Value, patch: &Value) -> Merged {
        let part = |value: &Value| value.as_str().and_then(|text| GoUrl::parse(text).ok());
        let (Some(left), Some(right)) = (part(target), part(patch)) else {
            target.clone_from(patch);
            return Ok(());
        };
        let merged = left.overlaid(right).ok_or_else(|| {
            not_settable(format!("{}: both URLs have a user: delete it first", self.at()))
        })?;
        *target = Value::String(merged.to_string());
        Ok(())
    }

    fn mismatch(&self) -> ConfigError {
        let text = format!("{}: the types do not fit", self.at());
        ConfigError::classed("merge-type-mismatch", text)
    }
}

fn is_zero(number: &Number) -> bool {
    number.as_f64() == Some(0.0)
}

impl Key {
    fn matches(self, one: &Value, item: &Value) -> bool {
        let text = |value: &Value, field: &str| {
            value.get(field).filter(|value| !value.is_null()).cloned().unwrap_or(match field {
                "vlanId" => Value::from(0),
                _ => Value::from(""),
            })
        };
        match self {
            Self::Field(field) | Self::Whole(field) => text(one, field) == text(item, field),
            Self::Interface => {
                let name = text(item, "interface");
                if name != "" {
                    return text(one, "interface") == name;
                }
                let selector = |value: &Value| value.get("deviceSelector").cloned();
                match (selector(one), selector(item)) {
                    // The library compares this flag by where it lies, not by what it says.
                    (Some(one), Some(item)) => one == item && item.get("physical").is_none(),
                    _ => false,
                }
            }
        }
    }
}
