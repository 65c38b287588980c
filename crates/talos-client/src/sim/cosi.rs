//! The resource store of a node: get, list and watch as the machine API shows them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use super::config::yaml;
use super::fact::Fact;

/// Namespaces that can be read.
const NAMESPACES: [&str; 14] = [
    "runtime",
    "config",
    "network",
    "cluster",
    "k8s",
    "controlplane",
    "etcd",
    "secrets",
    "perf",
    "meta",
    "files",
    "cri",
    "hardware",
    "network-config",
];

/// Types that can be read, without those that nothing is ever shown of.
pub(crate) const TYPES: &[&str] = &[
    "MachineStatuses.runtime.talos.dev",
    "MachineTypes.config.talos.dev",
    "PlatformMetadatas.talos.dev",
    "SecurityStates.talos.dev",
    "MetaKeys.runtime.talos.dev",
    "Diagnostics.runtime.talos.dev",
    "Versions.runtime.talos.dev",
    "ExtensionStatuses.runtime.talos.dev",
    "MountStatuses.block.talos.dev",
    "Disks.block.talos.dev",
    "SystemDisks.block.talos.dev",
    "DiscoveredVolumes.block.talos.dev",
    "VolumeStatuses.block.talos.dev",
    "BlockDevices.block.talos.dev",
    "HostnameStatuses.net.talos.dev",
    "HostnameSpecs.net.talos.dev",
    "NodeAddresses.net.talos.dev",
    "AddressStatuses.net.talos.dev",
    "RouteStatuses.net.talos.dev",
    "ResolverStatuses.net.talos.dev",
    "NetworkStatuses.net.talos.dev",
    "LinkStatuses.net.talos.dev",
    "TimeServerStatuses.net.talos.dev",
    "Members.cluster.talos.dev",
    "Identities.cluster.talos.dev",
    "Affiliates.cluster.talos.dev",
    "Infos.cluster.talos.dev",
    "TimeStatuses.v1alpha1.talos.dev",
    "Services.v1alpha1.talos.dev",
    "EtcdMembers.etcd.talos.dev",
    "EtcdConfigs.etcd.talos.dev",
    "EtcdSpecs.etcd.talos.dev",
    "PKIStatuses.etcd.talos.dev",
    "Nodenames.kubernetes.talos.dev",
    "KubeletConfigs.kubernetes.talos.dev",
    "NodeIPs.kubernetes.talos.dev",
    "StaticPods.kubernetes.talos.dev",
    "StaticPodStatuses.kubernetes.talos.dev",
    "NodeStatuses.kubernetes.talos.dev",
    "NodeLabelSpecs.k8s.talos.dev",
    "NodeTaintSpecs.k8s.talos.dev",
    "NodeAnnotationSpecs.k8s.talos.dev",
    "KubePrismStatuses.kubernetes.talos.dev",
    "KubePrismConfigs.kubernetes.talos.dev",
    "ConfigStatuses.kubernetes.talos.dev",
    "Endpoints.kubernetes.talos.dev",
    "APIServerConfigs.kubernetes.talos.dev",
    "ControllerManagerConfigs.kubernetes.talos.dev",
    "SchedulerConfigs.kubernetes.talos.dev",
    "Manifests.kubernetes.talos.dev",
    "ManifestStatuses.kubernetes.talos.dev",
    "SystemInformations.hardware.talos.dev",
    "Processors.hardware.talos.dev",
    "MemoryModules.hardware.talos.dev",
    "Namespaces.meta.cosi.dev",
    "ResourceDefinitions.meta.cosi.dev",
    "UpgradeStatuses.runtime.talos.dev",
    "KernelParamStatuses.runtime.talos.dev",
    "MachineResetSignals.runtime.talos.dev",
    "DevicesStatuses.runtime.talos.dev",
    "ImageCacheConfigs.cri.talos.dev",
];

/// Types that only an administrator may read.
pub(crate) const SENSITIVE: &[&str] = &[
    "MachineConfigs.config.talos.dev",
    "KubeletSpecs.kubernetes.talos.dev",
    "KubernetesRootSecrets.secrets.talos.dev",
    "OSRootSecrets.secrets.talos.dev",
    "EtcdRootSecrets.secrets.talos.dev",
    "APIServerCertificates.secrets.talos.dev",
    "APICertificates.secrets.talos.dev",
    "EtcdCertificates.secrets.talos.dev",
    "TrustdCertificates.secrets.talos.dev",
    "KubernetesCertificates.secrets.talos.dev",
    "KubernetesDynamicCertificates.secrets.talos.dev",
    "MaintenanceServiceCertificates.secrets.talos.dev",
    "MaintenanceRoots.secrets.talos.dev",
    "EncryptionSalts.secrets.talos.dev",
    "KubeSpanIdentities.kubespan.talos.dev",
    "DiscoveryConfigs.cluster.talos.dev",
];

/// Why something cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No such namespace.
    Namespace(String),
    /// No such type.
    Type(String),
    /// No such resource.
    Absent(String),
}

/// Whether a namespace and type can be read.
///
/// # Errors
/// Which of them is unknown.
pub(crate) fn check(namespace: &str, kind: &str) -> Result<(), Refusal> {
    if !NAMESPACES.contains(&namespace) {
        return Err(Refusal::Namespace(format!("namespace {namespace:?} is not supported")));
    }
    if !TYPES.contains(&kind) && !SENSITIVE.contains(&kind) {
        return Err(Refusal::Type(format!("resource type {kind:?} is not supported")));
    }
    Ok(())
}

type Key = (String, String, String);

#[derive(Clone, Debug)]
struct Entry {
    fact: Fact,
    version: u64,
    created: Timestamp,
    updated: Timestamp,
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// `CREATED`, `UPDATED`, `DESTROYED`.
    pub(crate) kind: &'static str,
    /// The resource.
    pub(crate) resource: Value,
    /// What it was before an update.
    pub(crate) old: Option<Value>,
    /// Position in the log.
    pub(crate) bookmark: u64,
}

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<Key, Entry>,
    log: Vec<Event>,
}

/// All resources of a node.
#[derive(Debug)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
    sender: broadcast::Sender<Event>,
}

impl Default for Store {
    fn default() -> Self {
        Self { inner: Mutex::default(), sender: broadcast::channel(1024).0 }
    }
}

impl Store {
    /// Forget everything, as a boot does.
    pub(crate) fn clear(&self) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = Inner::default();
    }

    /// Make the store hold exactly these facts.
    pub(crate) fn sync(&self, facts: Vec<Fact>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted: BTreeMap<Key, Fact> = BTreeMap::new();
        for fact in facts {
            wanted.insert((fact.namespace.to_owned(), fact.kind.to_owned(), fact.id.clone()), fact);
        }
        let gone: Vec<Key> =
            inner.entries.keys().filter(|k| !wanted.contains_key(*k)).cloned().collect();
        for key in gone {
            if let Some(entry) = inner.entries.remove(&key) {
                self.emit(&mut inner, "DESTROYED", show(&entry), None);
            }
        }
        let now = Timestamp::now();
        for (key, fact) in wanted {
            match inner.entries.get(&key).cloned() {
                Some(old) if old.fact == fact => {}
                Some(old) => {
                    let entry = Entry {
                        fact,
                        version: old.version + 1,
                        created: old.created,
                        updated: now,
                    };
                    let (shown, before) = (show(&entry), show(&old));
                    inner.entries.insert(key, entry);
                    self.emit(&mut inner, "UPDATED", shown, Some(before));
                }
                None => {
                    let entry = Entry { fact, version: 1, created: now, updated: now };
                    let shown = show(&entry);
                    inner.entries.insert(key, entry);
                    self.emit(&mut inner, "CREATED", shown, None);
                }
            }
        }
    }

    fn emit(&self, inner: &mut Inner, kind: &'static str, resource: Value, old: Option<Value>) {
        let event = Event { kind, resource, old, bookmark: inner.log.len() as u64 };
        inner.log.push(event.clone());
        self.sender.send(event).ok();
    }

    /// How many changes there were since the boot.
    pub(crate) fn changes(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).log.len()
    }

    /// One resource.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn get(&self, namespace: &str, kind: &str, id: &str) -> Result<Value, Refusal> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), kind.to_owned(), id.to_owned());
        inner.entries.get(&key).map(show).ok_or_else(|| {
            Refusal::Absent(format!("resource {kind}({namespace}/{id}@undefined) doesn't exist"))
        })
    }

    /// All resources of a type, by id.
    pub(crate) fn list(&self, namespace: &str, kind: &str) -> Vec<Value> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |key: &Key| key.0 == namespace && key.1 == kind;
        inner.entries.iter().filter(|(k, _)| fits(k)).map(|(_, e)| show(e)).collect()
    }

    /// What there is now, what was before, and what comes.
    pub(crate) fn watch(
        &self,
        namespace: &str,
        kind: &str,
    ) -> (Vec<Value>, Vec<Event>, broadcast::Receiver<Event>) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.sender.subscribe();
        let fits = |key: &Key| key.0 == namespace && key.1 == kind;
        let now = inner.entries.iter().filter(|(k, _)| fits(k)).map(|(_, e)| show(e)).collect();
        let past =
            inner.log.iter().filter(|e| is_of(&e.resource, namespace, kind)).cloned().collect();
        (now, past, receiver)
    }
}

/// Whether a shown resource is of a type.
pub(crate) fn is_of(resource: &Value, namespace: &str, kind: &str) -> bool {
    let metadata = resource.get("metadata").unwrap_or(&Value::Null);
    metadata.get("namespace").and_then(Value::as_str) == Some(namespace)
        && metadata.get("type").and_then(Value::as_str) == Some(kind)
}

/// Id of a shown resource.
pub(crate) fn id_of(resource: &Value) -> &str {
    resource.pointer("/metadata/id").and_then(Value::as_str).unwrap_or_default()
}

/// A bookmark as bytes.
pub(crate) fn bookmark(position: u64) -> Value {
    let mut bytes = vec![0xff, 0xfe, 0xfd, 0xfc];
    bytes.extend(position.to_be_bytes());
    json!(STANDARD.encode(bytes))
}

fn show(entry: &Entry) -> Value {
    let fact = &entry.fact;
    let mut metadata = Map::new();
    metadata.insert("namespace".into(), json!(fact.namespace));
    metadata.insert("type".into(), json!(fact.kind));
    metadata.insert("id".into(), json!(fact.id));
    metadata.insert("version".into(), json!(entry.version.to_string()));
    metadata.insert("owner".into(), json!(fact.owner));
    metadata.insert("phase".into(), json!("running"));
    metadata.insert("created".into(), json!(entry.created.to_string()));
    metadata.insert("updated".into(), json!(entry.updated.to_string()));
    metadata.insert("finalizers".into(), json!(fact.finalizers));
    let map = |list: &[(String, String)]| -> Value {
        Value::Object(list.iter().map(|(k, v)| (k.clone(), json!(v))).collect())
    };
    metadata.insert("labels".into(), map(&fact.labels));
    metadata.insert("annotations".into(), map(&fact.annotations));
    json!({"metadata": metadata, "spec": {"yamlSpec": yaml::write(&fact.spec)}})
}
