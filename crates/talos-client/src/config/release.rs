//! What differs from one release of Talos to the next: a row a minor version.
//!
//! The source is Talos' machinery library, asked in its newest release of each minor version.

use crate::secrets::Contract;

/// Image of the API server of Kubernetes, without a tag.
pub const APISERVER_IMAGE: &str = "registry.k8s.io/kube-apiserver";
/// Image of the controller manager of Kubernetes, without a tag.
pub const CONTROLLER_MANAGER_IMAGE: &str = "registry.k8s.io/kube-controller-manager";
/// Image of the scheduler of Kubernetes, without a tag.
pub const SCHEDULER_IMAGE: &str = "registry.k8s.io/kube-scheduler";
/// Image of kube-proxy, without a tag.
pub const PROXY_IMAGE: &str = "registry.k8s.io/kube-proxy";
/// Image of the kubelet, without a tag.
pub const KUBELET_IMAGE: &str = "ghcr.io/siderolabs/kubelet";
/// Image of CoreDNS, without a tag.
pub const COREDNS_IMAGE: &str = "registry.k8s.io/coredns/coredns";
/// Port of the API server of Kubernetes on control planes.
pub const CONTROL_PLANE_PORT: u16 = 6443;
/// Port at which every node reaches the API server by itself, from 1.6 on.
pub const KUBEPRISM_PORT: u16 = 7445;
/// Port at which control planes sign certificates of workers.
pub const TRUSTD_PORT: u16 = 50_001;
/// UDP port of KubeSpan's tunnels.
pub const KUBESPAN_PORT: u16 = 51_820;
/// MTU of KubeSpan's link, where nothing else is said; the smallest is [`KUBESPAN_MTU_MIN`].
pub const KUBESPAN_MTU: u32 = 1420;
/// Smallest MTU of KubeSpan's link: what IPv6 needs.
pub const KUBESPAN_MTU_MIN: u32 = 1280;
/// The discovery service that nodes find one another by.
pub const DISCOVERY_ENDPOINT: &str = "https://discovery.talos.dev/";
/// Domain of the services of a cluster.
pub const DNS_DOMAIN: &str = "cluster.local";
/// The time server of a node to which none is named.
pub const NTP_SERVER: &str = "time.cloudflare.com";
/// The resolvers of a node to which none is named.
pub const RESOLVERS: [&str; 2] = ["1.1.1.1", "8.8.8.8"];
/// Pods of a cluster that says nothing else: IPv4, and IPv6 where it has that.
pub const POD_SUBNETS: [&str; 2] = ["10.244.0.0/16", "fc00:db8:10::/56"];
/// Services of a cluster that says nothing else: IPv4, and IPv6 where it has that.
pub const SERVICE_SUBNETS: [&str; 2] = ["10.96.0.0/12", "fc00:db8:20::/112"];
/// Largest message of the machine API, in bytes.
pub const GRPC_MESSAGE_MAX: usize = 32 << 20;
/// Random bytes of a cluster's id, and as many of its secret.
pub const CLUSTER_SECRET_BYTES: usize = 32;

/// A release of Talos 1: what it brings when a configuration says nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Release {
    /// Its minor version.
    pub minor: u32,
    /// The newest release whose library was asked.
    pub version: &'static str,
    /// Kubernetes, without `v`.
    pub kubernetes: &'static str,
    /// Image of etcd, without a tag.
    pub etcd_image: &'static str,
    /// Tag of that image.
    pub etcd: &'static str,
    /// Tag of CoreDNS' image.
    pub coredns: &'static str,
    /// Tag of Flannel's image.
    pub flannel: &'static str,
}

const RELEASES: [Release; 4] = [
    Release {
        minor: 11,
        version: "v1.11.6",
        kubernetes: "1.34.1",
        etcd_image: "gcr.io/etcd-development/etcd",
        etcd: "v3.6.5",
        coredns: "v1.12.4",
        flannel: "v0.27.4",
    },
    Release {
        minor: 12,
        version: "v1.12.7",
        kubernetes: "1.35.4",
        etcd_image: "registry.k8s.io/etcd",
        etcd: "v3.6.9",
        coredns: "v1.13.2",
        flannel: "v0.27.4",
    },
    Release {
        minor: 13,
        version: "v1.13.9",
        kubernetes: "1.36.3",
        etcd_image: "registry.k8s.io/etcd",
        etcd: "v3.6.12",
        coredns: "v1.14.6",
        flannel: "0.28.8",
    },
    Release {
        minor: 14,
        version: "v1.14.0-alpha.2",
        kubernetes: "1.36.2",
        etcd_image: "registry.k8s.io/etcd",
        etcd: "3.7.0-rc.0-0",
        coredns: "v1.14.2",
        flannel: "v0.28.5",
    },
];

/// The release of Talos 1 of a minor version: 11 to 14.
///
/// # Errors
/// It is none of them; the text names those that are.
pub fn release(minor: u32) -> Result<&'static Release, String> {
    RELEASES
        .iter()
        .find(|release| release.minor == minor)
        .ok_or_else(|| format!("Talos 1.{minor} is not known; 1.11 to 1.14 are"))
}

/// Roles of the machine API, each with the first minor version that has it.
const ROLES: [(&str, u32); 7] = [
    ("os:admin", 0),
    ("os:etcd:backup", 0),
    ("os:image:verifier", 13),
    ("os:impersonator", 0),
    ("os:meta:writer", 13),
    ("os:operator", 0),
    ("os:reader", 0),
];

/// Whether the machine API of a minor version has a role.
pub(crate) fn has_role(minor: u32, role: &str) -> bool {
    ROLES.iter().any(|(name, first)| *name == role && *first <= minor)
}

impl Release {
    /// Roles of its machine API, sorted.
    pub fn roles(&self) -> impl Iterator<Item = &'static str> {
        let minor = self.minor;
        ROLES.iter().filter(move |(_, first)| *first <= minor).map(|(role, _)| *role)
    }

    /// What a configuration for `contract` says otherwise than one for Talos 1.0, as far as this
    /// release's library knows of it; sorted by name.
    pub fn switches(&self, contract: Contract) -> impl Iterator<Item = &'static Switch> {
        let (minor, library) = (contract.minor(), self.minor);
        SWITCHES.iter().filter(move |switch| {
            switch.known <= library
                && switch.first <= minor
                && switch.last.is_none_or(|last| minor <= last)
        })
    }
}

/// Something that configurations have from one contract on, or up to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Switch {
    /// The name that Talos' library gives it.
    pub name: &'static str,
    /// Minor version of the first contract that has it.
    pub first: u32,
    /// Minor version of the last one; none when the newest has it still.
    pub last: Option<u32>,
    /// Minor version of the first library that knows it.
    known: u32,
}

const fn since(name: &'static str, first: u32) -> Switch {
    Switch { name, first, last: None, known: first }
}

const SWITCHES: [Switch; 30] = [
    since("APIServerAuditPolicySupported", 3),
    since("AddExcludeFromExternalLoadBalancer", 8),
    since("ApidExtKeyUsageCheckEnabled", 3),
    since("ClusterNameForWorkers", 8),
    since("DiscoveryServiceMultidocConfig", 14),
    since("DiskQuotaSupportEnabled", 5),
    since("FilesystemTrimEnabledByDefault", 14),
    since("GrubUseUKICmdlineDefault", 12),
    since("HideDisablePSP", 12),
    since("HideRBACAndKeyUsage", 12),
    since("HostDNSEnabled", 7),
    since("HostDNSForwardKubeDNSToHost", 8),
    since("HostDNSMultidocConfig", 14),
    since("KubePrismEnabled", 6),
    since("KubeSpanMultidocConfig", 13),
    since("KubeletDefaultRuntimeSeccompProfileEnabled", 2),
    since("KubeletManifestsDirectoryDisabled", 3),
    since("KubernetesAllowSchedulingOnControlPlanes", 2),
    Switch { name: "KubernetesAlternateImageRegistries", first: 2, last: Some(2), known: 2 },
    since("KubernetesDiscoveryBackendDisabled", 2),
    since("MultidocKubernetesConfigSupported", 14),
    since("MultidocNetworkConfigSupported", 12),
    since("MultidocSysctlConfigSupported", 14),
    since("PodSecurityAdmissionEnabled", 1),
    // The library of 1.12 named what older contracts had always had.
    Switch { name: "PopulateClusterSANsFromEndpoint", first: 0, last: Some(11), known: 12 },
    since("SecretboxEncryptionSupported", 3),
    since("SecureBootEnrollEnforcementSupported", 8),
    since("StableHostnameEnabled", 2),
    since("UseRSAServiceAccountKey", 7),
    since("VolumeConfigEncryptionSupported", 11),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_those_of_a_contract_that_a_library_knows() {
        let names = |minor: u32, contract: &str| -> Vec<&str> {
            let contract = contract.parse().unwrap();
            release(minor).unwrap().switches(contract).map(|switch| switch.name).collect()
        };
        assert!(names(11, "1.0").is_empty());
        assert_eq!(names(12, "1.0"), ["PopulateClusterSANsFromEndpoint"]);
        assert!(!names(11, "1.12").contains(&"MultidocNetworkConfigSupported"));
        assert!(names(12, "v1.12.3").contains(&"MultidocNetworkConfigSupported"));
        assert!(!names(14, "1.3").contains(&"KubernetesAlternateImageRegistries"));
        let all = names(14, "1.14");
        assert!(all.is_sorted() && all.len() == 28);
    }

    #[test]
    fn an_unknown_release_is_told_with_those_that_are_known() {
        assert_eq!(release(13).unwrap().roles().count(), 7);
        assert_eq!(release(12).unwrap().roles().count(), 5);
        assert!(release(15).unwrap_err().contains("1.11 to 1.14"));
    }
}
