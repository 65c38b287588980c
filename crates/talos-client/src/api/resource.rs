//! Resources of a node: what its controllers know.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::service::timestamp;
use crate::client::{Client, call};
use crate::error::{Error, ErrorKind};
use crate::proto::cosi::resource as cosi;

/// Kinds of resources, as (namespace, type).
pub mod kinds {
    /// A kind: namespace and type.
    pub type Kind = (&'static str, &'static str);

    /// Stage and readiness of the machine; id `machine`.
    pub const MACHINE_STATUS: Kind = ("runtime", "MachineStatuses.runtime.talos.dev");
    /// Control plane or worker; id `machine-type`.
    pub const MACHINE_TYPE: Kind = ("config", "MachineTypes.config.talos.dev");
    /// Machine configurations; ids `v1alpha1` (active) and `persistent`. Secret.
    pub const MACHINE_CONFIG: Kind = ("config", "MachineConfigs.config.talos.dev");
    /// SMBIOS; id `systeminformation`.
    pub const SYSTEM_INFORMATION: Kind = ("hardware", "SystemInformations.hardware.talos.dev");
    /// Addresses of the node; ids `default`, `current`, `accumulative`, `routed` and variants.
    pub const NODE_ADDRESS: Kind = ("network", "NodeAddresses.net.talos.dev");
    /// Host name; id `hostname`.
    pub const HOSTNAME: Kind = ("network", "HostnameStatuses.net.talos.dev");
    /// Network cards and other links.
    pub const LINK: Kind = ("network", "LinkStatuses.net.talos.dev");
    /// Addresses, each with its link.
    pub const ADDRESS: Kind = ("network", "AddressStatuses.net.talos.dev");
    /// Routes.
    pub const ROUTE: Kind = ("network", "RouteStatuses.net.talos.dev");
    /// What the network has reached; id `status`.
    pub const NETWORK_STATUS: Kind = ("network", "NetworkStatuses.net.talos.dev");
    /// Whether the time is in sync; id `node`.
    pub const TIME_STATUS: Kind = ("runtime", "TimeStatuses.v1alpha1.talos.dev");
    /// Members of the cluster that discovery found.
    pub const MEMBER: Kind = ("cluster", "Members.cluster.talos.dev");
    /// Name and identity of the cluster; id `current`.
    pub const CLUSTER_INFO: Kind = ("cluster", "Infos.cluster.talos.dev");
    /// Services that run.
    pub const SERVICE: Kind = ("runtime", "Services.v1alpha1.talos.dev");
    /// Disks.
    pub const DISK: Kind = ("runtime", "Disks.block.talos.dev");
    /// The disk that Talos is installed on; id `system-disk`.
    pub const SYSTEM_DISK: Kind = ("runtime", "SystemDisks.block.talos.dev");
    /// What was found on disks.
    pub const DISCOVERED_VOLUME: Kind = ("runtime", "DiscoveredVolumes.block.talos.dev");
    /// Volumes and their phases.
    pub const VOLUME_STATUS: Kind = ("runtime", "VolumeStatuses.block.talos.dev");
    /// Keys that survive a new installation.
    pub const META_KEY: Kind = ("runtime", "MetaKeys.runtime.talos.dev");
    /// Name of the Kubernetes node; id `nodename`.
    pub const NODENAME: Kind = ("k8s", "Nodenames.kubernetes.talos.dev");
    /// Settings of the kubelet; id `kubelet`.
    pub const KUBELET_SPEC: Kind = ("k8s", "KubeletSpecs.kubernetes.talos.dev");
    /// Settings of the API server; id `kube-apiserver`.
    pub const API_SERVER_CONFIG: Kind = ("controlplane", "APIServerConfigs.kubernetes.talos.dev");
    /// Settings of the controller manager; id `kube-controller-manager`.
    pub const CONTROLLER_MANAGER_CONFIG: Kind =
        ("controlplane", "ControllerManagerConfigs.kubernetes.talos.dev");
    /// Settings of the scheduler; id `kube-scheduler`.
    pub const SCHEDULER_CONFIG: Kind = ("controlplane", "SchedulerConfigs.kubernetes.talos.dev");
    /// The node as Kubernetes has it; id is its name.
    pub const NODE_STATUS: Kind = ("k8s", "NodeStatuses.kubernetes.talos.dev");
    /// Pods that a node shall run itself.
    pub const STATIC_POD: Kind = ("k8s", "StaticPods.kubernetes.talos.dev");
    /// Pods that a node runs itself, as its kubelet sees them.
    pub const STATIC_POD_STATUS: Kind = ("k8s", "StaticPodStatuses.kubernetes.talos.dev");
    /// Manifests that the control plane applies.
    pub const MANIFEST: Kind = ("controlplane", "Manifests.kubernetes.talos.dev");
    /// This node's member of etcd; id `local`.
    pub const ETCD_MEMBER: Kind = ("etcd", "EtcdMembers.etcd.talos.dev");
    /// Problems that the node sees itself.
    pub const DIAGNOSTIC: Kind = ("runtime", "Diagnostics.runtime.talos.dev");
    /// Version of Talos; id `version`.
    pub const VERSION: Kind = ("runtime", "Versions.runtime.talos.dev");
    /// Platform, with what it tells of the machine; id `platformmetadata`.
    pub const PLATFORM_METADATA: Kind = ("runtime", "PlatformMetadatas.talos.dev");
    /// Secure boot and its like; id `securitystate`.
    pub const SECURITY_STATE: Kind = ("runtime", "SecurityStates.talos.dev");
    /// System extensions.
    pub const EXTENSION_STATUS: Kind = ("runtime", "ExtensionStatuses.runtime.talos.dev");
    /// How far an installation is that nobody attends, from 1.14 on.
    pub const UNATTENDED_INSTALL: Kind = ("runtime", "UnattendedInstallStatuses.runtime.talos.dev");
    /// The kinds that this node has.
    pub const RESOURCE_DEFINITION: Kind = ("meta", "ResourceDefinitions.meta.cosi.dev");
    /// Identity of the boot, from 1.14 on.
    pub const BOOT_ID: Kind = ("runtime", "BootIDs.runtime.talos.dev");
}

/// A resource of a node. It may hold secrets, so its content is not shown.
#[derive(Clone)]
#[non_exhaustive]
pub struct Resource {
    /// Namespace.
    pub namespace: String,
    /// Type, such as `MachineStatuses.runtime.talos.dev`.
    pub kind: String,
    /// Name within its kind.
    pub id: String,
    /// Counts changes; `undefined` for something that is not there.
    pub version: String,
    /// The controller that owns it.
    pub owner: String,
    /// It is being torn down.
    pub tearing_down: bool,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it was changed.
    pub updated: Option<Timestamp>,
    /// Who must let go of it before it can be destroyed.
    pub finalizers: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its content; null if it has none, or one that is no single document of YAML.
    pub spec: Value,
    /// Its content as the node encodes it, where it sends that.
    pub proto_spec: Vec<u8>,
    yaml: SecretString,
}

impl Resource {
    /// Its content as the node's YAML text.
    pub fn yaml(&self) -> &str {
        self.yaml.expose_secret()
    }

    /// A text of the content, by JSON pointer such as `/status/ready`; empty pointer for a content
    /// that is a text itself.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.spec.pointer(pointer)?.as_str()
    }

    /// The content as a type of the caller.
    ///
    /// # Errors
    /// It does not fit.
    pub fn typed<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.spec).map_err(|_| {
            let text = format!("the content of {self} does not have the expected form");
            Error::protocol(call::GET.name, text)
        })
    }

    pub(super) fn from_wire(wire: cosi::Resource) -> Self {
        let metadata = wire.metadata.unwrap_or_default();
        let spec = wire.spec.unwrap_or_default();
        Self {
            namespace: metadata.namespace,
            kind: metadata.r#type,
            id: metadata.id,
            version: metadata.version,
            owner: metadata.owner,
            tearing_down: metadata.phase == "tearingDown",
            created: timestamp(metadata.created),
            updated: timestamp(metadata.updated),
            finalizers: metadata.finalizers,
            labels: metadata.labels,
            annotations: metadata.annotations,
            spec: value(&spec.yaml_spec),
            proto_spec: spec.proto_spec,
            yaml: spec.yaml_spec.into(),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}/{}@{})", self.kind, self.namespace, self.id, self.version)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resource({self})")
    }
}

/// YAML as a value; null for what is no single document.
fn value(yaml: &str) -> Value {
    if yaml.is_empty() {
        return Value::Null;
    }
    serde_saphyr::from_str(yaml).unwrap_or(Value::Null)
}

/// Which resources of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query {
    /// Those that have all of these labels with these values.
    pub labels: BTreeMap<String, String>,
    /// Those whose id fits a regular expression.
    pub id: Option<String>,
}

impl Query {
    /// Those with a label of that value.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Those whose id fits a regular expression.
    #[must_use]
    pub fn id(mut self, expression: impl Into<String>) -> Self {
        self.id = Some(expression.into());
        self
    }

    pub(super) fn label_query(&self) -> Vec<cosi::LabelQuery> {
        if self.labels.is_empty() {
            return Vec::new();
        }
        let terms = self.labels.iter().map(|(key, value)| cosi::LabelTerm {
            key: key.clone(),
            op: cosi::label_term::Operation::Equal.into(),
            value: vec![value.clone()],
            invert: false,
        });
        vec![cosi::LabelQuery { terms: terms.collect() }]
    }

    pub(super) fn id_query(&self) -> Option<cosi::IdQuery> {
        self.id.clone().map(|regexp| cosi::IdQuery { regexp })
    }
}

impl Client {
    /// One resource; see [`kinds`] for namespaces and types.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none; [`ErrorKind::PermissionDenied`] for secret ones,
    /// and for kinds that this version of Talos does not have.
    pub async fn get(&self, namespace: &str, kind: &str, id: &str) -> Result<Resource, Error> {
        let request = cosi::GetRequest {
            namespace: namespace.to_owned(),
            r#type: kind.to_owned(),
            id: id.to_owned(),
            options: None,
        };
        let answer: cosi::GetResponse = self.unary(&call::GET, request).await?;
        let wire = answer.resource.ok_or_else(|| self.odd(&call::GET, "the answer is empty"))?;
        Ok(Resource::from_wire(wire))
    }

    /// The same, with nothing for a resource that is not there.
    ///
    /// # Errors
    /// As for [`Client::get`], but for `NotFound`.
    pub async fn find(
        &self,
        namespace: &str,
        kind: &str,
        id: &str,
    ) -> Result<Option<Resource>, Error> {
        match self.get(namespace, kind, id).await {
            Ok(resource) => Ok(Some(resource)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All resources of a kind.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn list(&self, namespace: &str, kind: &str) -> Result<Vec<Resource>, Error> {
        self.list_where(namespace, kind, &Query::default()).await
    }

    /// Those resources of a kind that fit.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn list_where(
        &self,
        namespace: &str,
        kind: &str,
        query: &Query,
    ) -> Result<Vec<Resource>, Error> {
        let request = cosi::ListRequest {
            namespace: namespace.to_owned(),
            r#type: kind.to_owned(),
            options: Some(cosi::ListOptions {
                label_query: query.label_query(),
                id_query: query.id_query(),
            }),
        };
        let answers = self.gather::<_, cosi::ListResponse>(&call::LIST, request).await?;
        Ok(answers.into_iter().filter_map(|a| a.resource).map(Resource::from_wire).collect())
    }
}
