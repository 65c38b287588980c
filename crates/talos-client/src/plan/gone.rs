//! What a version of Kubernetes no longer has: a part that is started with it does not start, an object
//! that is written for it is refused.
//!
//! The table holds what Kubernetes' deprecation guide, its change logs and the lifetimes in its sources
//! name for 1.25 to 1.37, as far as a cluster of Talos can have it.

use std::fmt;

use super::Component;

/// How a part of Kubernetes is started on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Host name of the node.
    pub node: String,
    /// The part.
    pub component: Component,
    /// Its arguments, such as `--feature-gates=A=true,B=false`; the name of the program may be among
    /// them.
    pub arguments: Vec<String>,
}

/// A version of an API that somebody still asks for, as the API server counts it in
/// `apiserver_requested_deprecated_apis`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiInUse {
    /// Group, such as `policy`.
    pub group: String,
    /// Version, such as `v1beta1`.
    pub version: String,
    /// Resource in the plural, such as `podsecuritypolicies`; empty for any of that version.
    pub resource: String,
}

/// What kind of thing is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GoneKind {
    /// A version of an API, or a resource of it.
    Api,
    /// An argument.
    Flag,
    /// A feature gate, which is an error where it is still named.
    FeatureGate,
    /// A plug-in for admission.
    AdmissionPlugin,
}

/// Something in use that the new version no longer has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gone {
    /// What kind of thing it is.
    pub kind: GoneKind,
    /// Its name.
    pub name: String,
    /// The minor version of Kubernetes 1 that is the first without it.
    pub since: u64,
    /// Where it is used: a node and a part; empty for an API.
    pub place: String,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            GoneKind::Api => "API",
            GoneKind::Flag => "argument",
            GoneKind::FeatureGate => "feature gate",
            GoneKind::AdmissionPlugin => "admission plug-in",
        };
        let Self { name, since, place, .. } = self;
        if !place.is_empty() {
            write!(f, "{place}: ")?;
        }
        write!(f, "Kubernetes 1.{since} no longer has the {kind} {name}")
    }
}

/// What is used and gone after an upgrade from one minor version of Kubernetes 1 to another.
pub fn removed(from: u64, to: u64, parts: &[CommandLine], apis: &[ApiInUse]) -> Vec<Gone> {
    let mut found = Vec::new();
    for part in parts {
        let place = format!("{}: {}", part.node, part.component);
        for (since, what) in within(from, to) {
            let (kind, name) = match what {
                Flag(of, name) if of == part.component && has_flag(part, name) => {
                    (GoneKind::Flag, name)
                }
                Gate(name) if values(part, "feature-gates").any(|gate| gate_name(gate) == name) => {
                    (GoneKind::FeatureGate, name)
                }
                Admission(name)
                    if part.component == ApiServer
                        && ["enable-admission-plugins", "disable-admission-plugins"]
                            .iter()
                            .any(|flag| values(part, flag).any(|plugin| plugin == name)) =>
                {
                    (GoneKind::AdmissionPlugin, name)
                }
                _ => continue,
            };
            found.push(Gone { kind, name: name.to_owned(), since, place: place.clone() });
        }
    }
    for api in apis {
        for (since, what) in within(from, to) {
            let Api(group, version, resource) = what else { continue };
            let is_it = group == api.group
                && version == api.version
                && (resource.is_empty() || api.resource.is_empty() || resource == api.resource);
            if is_it {
                let name = match api.resource.as_str() {
                    "" => format!("{group}/{version}"),
                    resource => format!("{group}/{version} {resource}"),
                };
                found.push(Gone { kind: GoneKind::Api, name, since, place: String::new() });
            }
        }
    }
    found
}

fn within(from: u64, to: u64) -> impl Iterator<Item = (u64, What)> {
    TABLE.iter().copied().filter(move |(since, _)| *since > from && *since <= to)
}

/// An argument without its dashes: name and value.
fn argument(text: &str) -> Option<(&str, &str)> {
    let bare = text.strip_prefix("--")?;
    Some(bare.split_once('=').unwrap_or((bare, "")))
}

fn has_flag(part: &CommandLine, name: &str) -> bool {
    part.arguments.iter().filter_map(|text| argument(text)).any(|(flag, _)| flag == name)
}

/// The values of a list that an argument has, which may be given more than once, or as two words.
fn values<'a>(part: &'a CommandLine, name: &'a str) -> impl Iterator<Item = &'a str> {
    let next = part.arguments.iter().skip(1).map(Some).chain([None]);
    part.arguments.iter().zip(next).flat_map(move |(text, next)| {
        let list = match argument(text) {
            Some((flag, "")) if flag == name && !text.ends_with('=') => {
                next.map(String::as_str).filter(|next| !next.starts_with("--")).unwrap_or_default()
            }
            Some((flag, list)) if flag == name => list,
            _ => "",
        };
        list.split(',').map(str::trim).filter(|value| !value.is_empty())
    })
}

fn gate_name(gate: &str) -> &str {
    gate.split('=').next().unwrap_or_default()
}

/// What is gone.
#[derive(Clone, Copy)]
enum What {
    /// Group, version, resource; an empty resource for all.
    Api(&'static str, &'static str, &'static str),
    Flag(Component, &'static str),
    Gate(&'static str),
    Admission(&'static str),
}

use Component::{ApiServer, ControllerManager, Kubelet};
use What::{Admission, Api, Flag, Gate};

/// The first minor version without it, and what it is.
const TABLE: [(u64, What); 116] = [
    (25, Api("batch", "v1beta1", "cronjobs")),
    (25, Api("discovery.k8s.io", "v1beta1", "")),
    (25, Api("events.k8s.io", "v1beta1", "")),
    (25, Api("autoscaling", "v2beta1", "")),
    (25, Api("policy", "v1beta1", "poddisruptionbudgets")),
    (25, Api("policy", "v1beta1", "podsecuritypolicies")),
    (25, Api("node.k8s.io", "v1beta1", "")),
    (25, Flag(ApiServer, "service-account-api-audiences")),
    (25, Admission("PodSecurityPolicy")),
    (25, Flag(ControllerManager, "deleting-pods-qps")),
    (25, Flag(ControllerManager, "deleting-pods-burst")),
    (25, Flag(ControllerManager, "register-retry-count")),
    (25, Gate("CSIVolumeFSGroupPolicy")),
    (25, Gate("ConfigurableFSGroupPolicy")),
    (25, Gate("PodDisruptionBudget")),
    (25, Gate("SelectorIndex")),
    (26, Api("flowcontrol.apiserver.k8s.io", "v1beta1", "")),
    (26, Api("autoscaling", "v2beta2", "")),
    (26, Flag(ApiServer, "master-service-namespace")),
    (26, Gate("DynamicKubeletConfig")),
    (27, Api("storage.k8s.io", "v1beta1", "csistoragecapacities")),
    (27, Flag(ControllerManager, "enable-taint-manager")),
    (27, Flag(ControllerManager, "pod-eviction-timeout")),
    (27, Flag(Kubelet, "container-runtime")),
    (27, Flag(Kubelet, "master-service-namespace")),
    (27, Gate("ExpandCSIVolumes")),
    (27, Gate("ExpandInUsePersistentVolumes")),
    (27, Gate("ExpandPersistentVolumes")),
    (27, Gate("ControllerManagerLeaderMigration")),
    (27, Gate("CSIMigration")),
    (27, Gate("CSIInlineVolume")),
    (27, Gate("EphemeralContainers")),
    (27, Gate("LocalStorageCapacityIsolation")),
    (27, Gate("NetworkPolicyEndPort")),
    (27, Gate("StatefulSetMinReadySeconds")),
    (27, Gate("IdentifyPodOS")),
    (27, Gate("DaemonSetUpdateSurge")),
    (28, Gate("AdvancedAuditing")),
    (28, Gate("DelegateFSGroupToCSIDriver")),
    (28, Gate("DevicePlugins")),
    (28, Gate("DisableAcceleratorUsageMetrics")),
    (28, Gate("EndpointSliceTerminatingCondition")),
    (28, Gate("CSIStorageCapacity")),
    (28, Gate("CSIMigrationGCE")),
    (28, Gate("KubeletCredentialProviders")),
    (28, Gate("MixedProtocolLBService")),
    (28, Gate("ServiceInternalTrafficPolicy")),
    (28, Gate("ServiceIPStaticSubrange")),
    (28, Gate("WindowsHostProcessContainers")),
    (29, Api("flowcontrol.apiserver.k8s.io", "v1beta2", "")),
    (29, Api("networking.k8s.io", "v1alpha1", "clustercidrs")),
    (30, Admission("SecurityContextDeny")),
    (30, Gate("ExpandedDNSConfig")),
    (30, Gate("ExperimentalHostUserNamespaceDefaultingGate")),
    (30, Gate("IPTablesOwnershipCleanup")),
    (30, Gate("KubeletPodResources")),
    (30, Gate("KubeletPodResourcesGetAllocatable")),
    (30, Gate("MinimizeIPTablesRestore")),
    (30, Gate("ProxyTerminatingEndpoints")),
    (30, Gate("RemoveSelfLink")),
    (31, Flag(Kubelet, "keep-terminated-pod-volumes")),
    (31, Flag(Kubelet, "iptables-masquerade-bit")),
    (31, Flag(Kubelet, "iptables-drop-bit")),
    (31, Flag(ControllerManager, "volume-host-cidr-denylist")),
    (31, Flag(ControllerManager, "volume-host-allow-local-loopback")),
    (31, Flag(ControllerManager, "horizontal-pod-autoscaler-upscale-delay")),
    (31, Flag(ControllerManager, "horizontal-pod-autoscaler-downscale-delay")),
    (31, Gate("APIPriorityAndFairness")),
    (31, Gate("CSINodeExpandSecret")),
    (31, Gate("ConsistentHTTPGetHandlers")),
    (31, Gate("DefaultHostNetworkHostPortsInPodTemplates")),
    (31, Gate("ServiceNodePortStaticSubrange")),
    (31, Gate("SkipReadOnlyValidationGCE")),
    (32, Api("flowcontrol.apiserver.k8s.io", "v1beta3", "")),
    (32, Api("resource.k8s.io", "v1alpha3", "podschedulingcontexts")),
    (32, Gate("AllowServiceLBStatusOnNonLB")),
    (32, Gate("CloudDualStackNodeIPs")),
    (32, Gate("DRAControlPlaneController")),
    (32, Gate("HPAContainerMetrics")),
    (32, Gate("KMSv2")),
    (32, Gate("KMSv2KDF")),
    (32, Gate("LegacyServiceAccountTokenCleanUp")),
    (32, Gate("MinDomainsInPodTopologySpread")),
    (32, Gate("NewVolumeManagerReconstruction")),
    (32, Gate("NodeOutOfServiceVolumeDetach")),
    (32, Gate("ServerSideApply")),
    (32, Gate("ServerSideFieldValidation")),
    (32, Gate("StableLoadBalancerNodeSet")),
    (32, Gate("ValidatingAdmissionPolicy")),
    (32, Gate("ZeroLimitedNominalConcurrencyShares")),
    (33, Flag(ApiServer, "cloud-config")),
    (33, Gate("AppArmor")),
    (33, Gate("AppArmorFields")),
    (33, Gate("CPUManager")),
    (33, Gate("DisableCloudProviders")),
    (33, Gate("DisableKubeletCloudCredentialProviders")),
    (33, Gate("JobPodFailurePolicy")),
    (33, Gate("KubeProxyDrainingTerminatingNodes")),
    (33, Gate("PDBUnhealthyPodEvictionPolicy")),
    (33, Gate("PersistentVolumeLastPhaseTransitionTime")),
    (33, Gate("VolumeCapacityPriority")),
    (34, Api("admissionregistration.k8s.io", "v1beta1", "validatingadmissionpolicies")),
    (34, Api("admissionregistration.k8s.io", "v1beta1", "validatingadmissionpolicybindings")),
    (34, Flag(Kubelet, "cloud-config")),
    (34, Gate("DevicePluginCDIDevices")),
    (34, Gate("LegacySidecarContainers")),
    (34, Gate("PodDisruptionConditions")),
    (35, Flag(Kubelet, "pod-infra-container-image")),
    (35, Gate("SizeMemoryBackedVolumes")),
    (35, Gate("UserNamespacesHostNetworkSupport")),
    (36, Gate("CSIMigrationPortworx")),
    (36, Gate("InTreePluginPortworxUnregister")),
    (36, Gate("WatchFromStorageWithoutResourceVersion")),
    (37, Api("networking.k8s.io", "v1beta1", "ipaddresses")),
    (37, Api("networking.k8s.io", "v1beta1", "servicecidrs")),
    (37, Api("storage.k8s.io", "v1beta1", "volumeattributesclasses")),
];
