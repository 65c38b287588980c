//! What a node does with a change of its configuration: takes it as it runs, restarts a service, waits
//! for a reboot, or for the next installation.

use super::diff::FieldChange;
use crate::api::ApplyMode;

/// What a change takes until it holds, the lightest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Effect {
    /// It holds at once, and nothing is interrupted.
    Live,
    /// These start again by themselves: services of the machine, or static pods of a control plane.
    Restart(Vec<String>),
    /// It holds after a reboot.
    Reboot,
    /// It holds from the next installation or upgrade on.
    Reinstall,
}

impl Effect {
    /// What both take together.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Restart(mut services), Self::Restart(more)) => {
                services.extend(more);
                services.sort();
                services.dedup();
                Self::Restart(services)
            }
            (one, other) => one.max(other),
        }
    }
}

/// What is to be expected of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prediction {
    /// What they take.
    pub effect: Effect,
    /// Whether the node takes the configuration without a reboot; what holds only later is taken all the same.
    pub is_taken_live: bool,
}

impl Prediction {
    /// What is to be expected of all these changes together on a node of a minor version of Talos 1.
    pub fn of(changes: &[FieldChange], minor: u32) -> Self {
        let mut all = Self { effect: Effect::Live, is_taken_live: true };
        for change in changes {
            let one = change.prediction(minor);
            all.is_taken_live &= one.is_taken_live;
            all.effect = all.effect.and(one.effect);
        }
        all
    }

    /// The way to apply them: without a reboot where the node takes that.
    pub fn mode(&self) -> ApplyMode {
        if self.is_taken_live { ApplyMode::NoReboot } else { ApplyMode::Reboot }
    }
}

impl FieldChange {
    /// What is to be expected of this change on a node of a minor version of Talos 1.
    pub fn prediction(&self, minor: u32) -> Prediction {
        let kind = self.document.split(|c: char| !c.is_ascii_alphanumeric()).next();
        let kind = kind.unwrap_or_default();
        let rules = RULES.iter().filter(|(of, ..)| *of == kind);
        let is_within = |inner: &str, outer: &str| {
            let rest = inner.strip_prefix(outer);
            outer.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        // The nearest rule above, and where a whole section changes all that are within it.
        let above = rules.clone().filter(|(_, path, _)| is_within(&self.path, path));
        let nearest = above.max_by_key(|(_, path, _)| path.len());
        let within = rules.filter(|(_, path, _)| {
            is_within(path, &self.path) && (*path != self.path || path.is_empty())
        });
        let weights = nearest.into_iter().chain(within).map(|(.., weight)| weight);
        let mut all = Prediction { effect: Effect::Live, is_taken_live: true };
        for weight in weights {
            let effect = match weight {
                Live => Effect::Live,
                Restart(services) => {
                    Effect::Restart(services.iter().map(ToString::to_string).collect())
                }
                Extension => {
                    let name = self.document.get(kind.len()..).unwrap_or_default();
                    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric());
                    Effect::Restart(vec![format!("ext-{name}")])
                }
                Later | Reboot => Effect::Reboot,
                Install => Effect::Reinstall,
            };
            // From 1.14 on a node takes everything, and does what needs a reboot at the next one.
            all.is_taken_live &= minor >= 14 || *weight != Reboot;
            all.effect = all.effect.and(effect);
        }
        all
    }
}

/// What a rule says of a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    Live,
    Restart(&'static [&'static str]),
    /// The service of the extension that the document names starts again.
    Extension,
    /// Taken, but it holds only after a reboot.
    Later,
    /// Up to 1.13 only taken with a reboot.
    Reboot,
    /// Taken, but only an installer looks at it.
    Install,
}

use Weight::{Extension, Install, Later, Live, Reboot, Restart};

const KUBELET: Weight = Restart(&["kubelet"]);
const API_SERVER: Weight = Restart(&["kube-apiserver"]);
const CONTROLLER_MANAGER: Weight = Restart(&["kube-controller-manager"]);
const SCHEDULER: Weight = Restart(&["kube-scheduler"]);
const CONTROL_PLANE: Weight =
    Restart(&["kube-apiserver", "kube-controller-manager", "kube-scheduler"]);

/// Kind, path, and what follows. What is not named here is live in documents of their own and takes a reboot in the
/// main one; which parts of that are live was read in 1.13. The parts of a control plane start again when what
/// their pods are made from changes.
const RULES: [(&str, &str, Weight); 64] = [
    ("v1alpha1", "", Reboot),
    ("v1alpha1", "debug", Live),
    ("v1alpha1", "machine.acceptedCAs", Live),
    ("v1alpha1", "machine.ca", Live),
    ("v1alpha1", "machine.certSANs", Live),
    ("v1alpha1", "machine.controlPlane", CONTROL_PLANE),
    ("v1alpha1", "machine.features", Reboot),
    ("v1alpha1", "machine.features.hostDNS", Live),
    ("v1alpha1", "machine.features.imageCache", Live),
    ("v1alpha1", "machine.features.kubePrism", Live),
    ("v1alpha1", "machine.features.kubernetesTalosAPIAccess", Live),
    ("v1alpha1", "machine.features.nodeAddressSortAlgorithm", Live),
    ("v1alpha1", "machine.install", Install),
    ("v1alpha1", "machine.kernel", Live),
    ("v1alpha1", "machine.kubelet", KUBELET),
    ("v1alpha1", "machine.logging", Live),
    ("v1alpha1", "machine.network", Live),
    ("v1alpha1", "machine.network.hostname", KUBELET),
    ("v1alpha1", "machine.nodeAnnotations", Live),
    ("v1alpha1", "machine.nodeLabels", Live),
    ("v1alpha1", "machine.nodeTaints", Live),
    ("v1alpha1", "machine.pods", Live),
    ("v1alpha1", "machine.registries", Live),
    ("v1alpha1", "machine.seccompProfiles", Live),
    ("v1alpha1", "machine.sysctls", Live),
    ("v1alpha1", "machine.sysfs", Live),
    ("v1alpha1", "machine.time", Live),
    ("v1alpha1", "cluster", Live),
    ("v1alpha1", "cluster.aescbcEncryptionSecret", API_SERVER),
    ("v1alpha1", "cluster.aggregatorCA", API_SERVER),
    ("v1alpha1", "cluster.allowSchedulingOnControlPlanes", KUBELET),
    ("v1alpha1", "cluster.apiServer", API_SERVER),
    ("v1alpha1", "cluster.ca", CONTROL_PLANE),
    ("v1alpha1", "cluster.controlPlane", API_SERVER),
    ("v1alpha1", "cluster.controllerManager", CONTROLLER_MANAGER),
    ("v1alpha1", "cluster.etcd", Later),
    (
        "v1alpha1",
        "cluster.externalCloudProvider",
        Restart(&["kube-apiserver", "kube-controller-manager", "kubelet"]),
    ),
    ("v1alpha1", "cluster.network.dnsDomain", KUBELET),
    ("v1alpha1", "cluster.network.podSubnets", CONTROLLER_MANAGER),
    (
        "v1alpha1",
        "cluster.network.serviceSubnets",
        Restart(&["kube-apiserver", "kube-controller-manager", "kubelet"]),
    ),
    ("v1alpha1", "cluster.scheduler", SCHEDULER),
    ("v1alpha1", "cluster.secretboxEncryptionSecret", API_SERVER),
    ("v1alpha1", "cluster.serviceAccount", API_SERVER),
    ("ExtensionServiceConfig", "", Extension),
    ("HostnameConfig", "", KUBELET),
    ("KubeAPIServerCAConfig", "", CONTROL_PLANE),
    ("KubeAPIServerConfig", "", API_SERVER),
    ("KubeAdmissionControlConfig", "", API_SERVER),
    ("KubeAggregatorCAConfig", "", API_SERVER),
    ("KubeAuditPolicyConfig", "", API_SERVER),
    ("KubeAuthenticationConfig", "", API_SERVER),
    ("KubeAuthorizerConfig", "", API_SERVER),
    ("KubeClusterConfig", "endpoint", API_SERVER),
    ("KubeControllerManagerConfig", "", CONTROLLER_MANAGER),
    ("KubeEtcdEncryptionConfig", "", API_SERVER),
    ("KubeNetworkConfig", "dnsDomain", KUBELET),
    ("KubeNetworkConfig", "podSubnets", CONTROLLER_MANAGER),
    (
        "KubeNetworkConfig",
        "serviceSubnets",
        Restart(&["kube-apiserver", "kube-controller-manager", "kubelet"]),
    ),
    ("KubeSchedulerConfig", "", SCHEDULER),
    ("KubeServiceAccountConfig", "", API_SERVER),
    ("KubeletConfig", "", KUBELET),
    ("UnattendedInstallConfig", "", Install),
    ("VolumeConfig", "encryption", Later),
    ("VolumeConfig", "provisioning", Install),
];

#[cfg(test)]
mod tests {
    use super::super::MachineConfig;
    use super::*;

    const BASE: &str = concat!(
        "machine: {type: worker, token: a, kubelet: {image: k:v1}, sysctls: {a: '1'}, install: {image: i:v1}, ",
        "features: {kubePrism: {enabled: true, port: 7445}}}\n",
        "cluster: {apiServer: {image: a:v1}, network: {podSubnets: [10.0.0.0/8]}}\n",
        "---\napiVersion: v1alpha1\nkind: HostnameConfig\nhostname: a\n",
    );

    fn of(from: &str, to: &str, minor: u32) -> Prediction {
        let after = BASE.replace(from, to);
        assert_ne!(after, BASE, "{from}");
        let (before, after) = (MachineConfig::parse(BASE), MachineConfig::parse(&after));
        Prediction::of(&before.unwrap().diff(&after.unwrap()), minor)
    }

    fn restart(services: &[&str]) -> Effect {
        Effect::Restart(services.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_change_takes_what_its_field_takes() {
        for (from, to, effect, live) in [
            ("a: '1'", "a: '2'", Effect::Live, true),
            ("port: 7445", "port: 7446", Effect::Live, true),
            ("k:v1", "k:v2", restart(&["kubelet"]), true),
            ("a:v1", "a:v2", restart(&["kube-apiserver"]), true),
            ("10.0.0.0/8", "10.1.0.0/16", restart(&["kube-controller-manager"]), true),
            ("hostname: a", "hostname: b", restart(&["kubelet"]), true),
            ("i:v1", "i:v2", Effect::Reinstall, true),
            ("token: a", "token: b", Effect::Reboot, false),
            ("type: worker", "type: controlplane", Effect::Reboot, false),
            ("features: {", "features: {diskQuotaSupport: true, ", Effect::Reboot, false),
            ("sysctls: {a: '1'}", "env: {a: b}", Effect::Reboot, false),
        ] {
            let found = of(from, to, 13);
            assert_eq!((&found.effect, found.is_taken_live), (&effect, live), "{from} to {to}");
            let mode = if live { ApplyMode::NoReboot } else { ApplyMode::Reboot };
            assert_eq!(found.mode(), mode);
            assert!(of(from, to, 14).is_taken_live, "1.14 takes everything");
        }
    }

    #[test]
    fn changes_together_take_the_heaviest_and_all_restarts() {
        let before = MachineConfig::parse(BASE).unwrap();
        let after = BASE.replace("k:v1", "k:v2").replace("a:v1", "a:v2").replace("'1'", "'2'");
        let changes = before.diff(&MachineConfig::parse(&after).unwrap());
        let found = Prediction::of(&changes, 13);
        assert_eq!(found.effect, restart(&["kube-apiserver", "kubelet"]));
        assert_eq!(Prediction::of(&[], 13).effect, Effect::Live);
    }

    #[test]
    fn a_whole_section_takes_what_is_in_it() {
        let change = |document: &str, path: &str| FieldChange {
            document: document.to_owned(),
            path: path.to_owned(),
            before: None,
            after: Some("{}".to_owned()),
        };
        assert_eq!(change("v1alpha1", "machine").prediction(13).effect, Effect::Reinstall);
        assert!(!change("v1alpha1", "machine").prediction(13).is_taken_live);
        let network = change("v1alpha1", "cluster.network").prediction(13);
        let services = ["kube-apiserver", "kube-controller-manager", "kubelet"];
        assert_eq!(network.effect, restart(&services));
        let extension = change("ExtensionServiceConfig/tailscale", "environment").prediction(13);
        assert_eq!(extension.effect, restart(&["ext-tailscale"]));
        assert_eq!(change("LinkConfig/eth0", "").prediction(12).effect, Effect::Live);
    }
}
