//! An upgrade of Kubernetes: images in the machine configurations, part by part.

use std::collections::BTreeMap;
use std::fmt;

use super::{Refusal, version};
use crate::config::kubernetes_fits;
use crate::config::release::{
    APISERVER_IMAGE, CONTROLLER_MANAGER_IMAGE, KUBELET_IMAGE, PROXY_IMAGE, SCHEDULER_IMAGE,
};

/// A part of Kubernetes that a machine configuration names the image of, in the order of an upgrade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Component {
    /// The API server.
    #[default]
    ApiServer,
    /// The controller manager.
    ControllerManager,
    /// The scheduler.
    Scheduler,
    /// The proxy on every node, which the manifests of the control planes start.
    Proxy,
    /// The kubelet.
    Kubelet,
}

impl Component {
    const STATIC: [Self; 3] = [Self::ApiServer, Self::ControllerManager, Self::Scheduler];

    /// Name, as of its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Proxy => "kube-proxy",
            Self::Kubelet => "kubelet",
        }
    }

    fn default_image(self) -> &'static str {
        match self {
            Self::ApiServer => APISERVER_IMAGE,
            Self::ControllerManager => CONTROLLER_MANAGER_IMAGE,
            Self::Scheduler => SCHEDULER_IMAGE,
            Self::Proxy => PROXY_IMAGE,
            Self::Kubelet => KUBELET_IMAGE,
        }
    }

    /// Kind of the document that may have it, and the path in the main document.
    fn places(self) -> (&'static str, [&'static str; 2]) {
        match self {
            Self::ApiServer => ("KubeAPIServerConfig", ["cluster", "apiServer"]),
            Self::ControllerManager => {
                ("KubeControllerManagerConfig", ["cluster", "controllerManager"])
            }
            Self::Scheduler => ("KubeSchedulerConfig", ["cluster", "scheduler"]),
            Self::Proxy => ("KubeProxyConfig", ["cluster", "proxy"]),
            Self::Kubelet => ("KubeletConfig", ["machine", "kubelet"]),
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A node of a cluster whose Kubernetes is upgraded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KubernetesNode {
    /// Host name.
    pub name: String,
    /// It is a control plane.
    pub control_plane: bool,
    /// Tag of the version of Talos that it runs.
    pub talos: String,
    /// Images that it runs; one that is not named is that of `from`.
    pub images: BTreeMap<Component, String>,
    /// The cluster has no proxy of this kind.
    pub without_proxy: bool,
}

impl KubernetesNode {
    /// A node.
    pub fn new(name: impl Into<String>, control_plane: bool, talos: impl Into<String>) -> Self {
        Self { name: name.into(), control_plane, talos: talos.into(), ..Self::default() }
    }

    /// The same with an image that it runs.
    #[must_use]
    pub fn image(mut self, component: Component, image: impl Into<String>) -> Self {
        self.images.insert(component, image.into());
        self
    }
}

/// A step of an upgrade of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KubernetesStep {
    /// Nothing that is in use may be gone in the new version; see [`super::removed`].
    CheckRemoved {
        /// Minor version that runs.
        from: u64,
        /// Minor version that is wanted.
        to: u64,
    },
    /// The node pulls an image before anything stops. The kubelet's is one of the system.
    Pull {
        /// Host name.
        node: String,
        /// For which part.
        component: Component,
        /// Image.
        image: String,
    },
    /// The image is put into the node's configuration without a reboot, and the part runs with it
    /// before the next step begins.
    Image {
        /// Host name.
        node: String,
        /// Which part.
        component: Component,
        /// Image.
        image: String,
    },
    /// The manifests that Talos keeps are applied to the cluster.
    Manifests,
}

impl KubernetesStep {
    /// The patch of a node's configuration; none for a step that has none. `kinds` are the kinds of the
    /// documents that the configuration has beside the main one.
    pub fn patch(&self, kinds: &[&str]) -> Option<String> {
        let Self::Image { component, image, .. } = self else { return None };
        let (kind, [section, part]) = component.places();
        Some(if kinds.contains(&kind) {
            format!("apiVersion: v1alpha1\nkind: {kind}\nimage: {image}\n")
        } else {
            format!("{section}:\n    {part}:\n        image: {image}\n")
        })
    }
}

impl fmt::Display for KubernetesStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CheckRemoved { from, to } => {
                write!(f, "look for what is gone between 1.{from} and 1.{to}")
            }
            Self::Pull { node, image, .. } => write!(f, "{node}: pull {image}"),
            Self::Image { node, component, image } => write!(f, "{node}: {component} of {image}"),
            Self::Manifests => f.write_str("apply the manifests"),
        }
    }
}

/// What an upgrade of Kubernetes takes, in order: what is pulled, the parts of the control planes one
/// after the other on one node after the other, the proxy, then the kubelets, control planes first. What
/// has its image already is left out, so that a run that was interrupted goes on where it was.
///
/// # Errors
/// It is no step to the same or the next minor version; a node's Talos does not run it; or a kubelet would
/// be too old for the API server.
pub fn kubernetes_steps(
    from: &str,
    to: &str,
    nodes: &[KubernetesNode],
) -> Result<Vec<KubernetesStep>, Refusal> {
    let (old, new) = (version("Kubernetes", from)?, version("Kubernetes", to)?);
    if old.major != new.major || !(old.minor..=old.minor + 1).contains(&new.minor) {
        return Err(Refusal::ever(format!(
            "Kubernetes is upgraded to a patch or to the next minor version, not from {from} to {to}"
        )));
    }
    let mut control: Vec<&KubernetesNode> = nodes.iter().filter(|n| n.control_plane).collect();
    let mut workers: Vec<&KubernetesNode> = nodes.iter().filter(|n| !n.control_plane).collect();
    if control.is_empty() {
        return Err(Refusal::ever("the cluster has no control plane"));
    }
    control.sort_by(|a, b| a.name.cmp(&b.name));
    workers.sort_by(|a, b| a.name.cmp(&b.name));
    for node in control.iter().chain(&workers) {
        kubernetes_fits(&node.talos, &new.to_string())
            .map_err(|why| Refusal::ever(format!("{}: {why}", node.name)))?;
        skew(node, &new)?;
    }
    let wanted = |node: &KubernetesNode, component: Component| {
        let now = node.images.get(&component).map(String::as_str);
        let image = with_tag(now, component, &new);
        (now != Some(image.as_str())).then(|| (node.name.clone(), image))
    };
    let (mut pulls, mut steps) = (Vec::new(), Vec::new());
    for component in Component::STATIC {
        for node in &control {
            if let Some((node, image)) = wanted(node, component) {
                pulls.push(KubernetesStep::Pull {
                    node: node.clone(),
                    component,
                    image: image.clone(),
                });
                steps.push(KubernetesStep::Image { node, component, image });
            }
        }
    }
    for node in control.iter().filter(|node| !node.without_proxy) {
        if let Some((node, image)) = wanted(node, Component::Proxy) {
            steps.push(KubernetesStep::Image { node, component: Component::Proxy, image });
        }
    }
    for node in control.iter().chain(&workers) {
        let component = Component::Kubelet;
        if let Some((node, image)) = wanted(node, component) {
            let (name, what) = (node.clone(), image.clone());
            pulls.push(KubernetesStep::Pull { node: name, component, image: what });
            steps.push(KubernetesStep::Image { node, component, image });
        }
    }
    let mut all = Vec::new();
    if !steps.is_empty() && old.minor != new.minor {
        all.push(KubernetesStep::CheckRemoved { from: old.minor, to: new.minor });
    }
    all.extend(pulls);
    all.extend(steps);
    // Applying them once more does no harm, and an earlier run may not have come so far.
    all.push(KubernetesStep::Manifests);
    Ok(all)
}

/// A kubelet may be three minor versions older than the API server, and never newer.
fn skew(node: &KubernetesNode, new: &semver::Version) -> Result<(), Refusal> {
    let Some(image) = node.images.get(&Component::Kubelet) else { return Ok(()) };
    let Some(runs) = split(image).1.and_then(|tag| version("Kubernetes", tag).ok()) else {
        return Ok(());
    };
    if runs.minor > new.minor {
        let text = format!("{}: its kubelet {runs} is newer than {new}", node.name);
        return Err(Refusal::ever(text));
    }
    if runs.minor + 3 < new.minor {
        let text = format!(
            "{}: its kubelet {runs} is too old for an API server of {new}: upgrade it first",
            node.name
        );
        return Err(Refusal::ever(text));
    }
    Ok(())
}

/// An image's repository and tag. A colon before the last slash is that of a port.
fn split(image: &str) -> (&str, Option<&str>) {
    let bare = image.split('@').next().unwrap_or_default();
    let slash = bare.rfind('/').map_or(0, |at| at + 1);
    let colon = bare.get(slash..).and_then(|name| name.find(':')).map(|at| at + slash);
    match colon.and_then(|at| Some((bare.get(..at)?, bare.get(at + 1..)?))) {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (bare, None),
    }
}

/// The image of another version: the repository stays, and so does the kubelet's kind.
fn with_tag(now: Option<&str>, component: Component, new: &semver::Version) -> String {
    let (repository, tag) = match now {
        Some(image) => split(image),
        None => (component.default_image(), None),
    };
    let kind = ["-fat", "-slim"]
        .into_iter()
        .find(|kind| component == Component::Kubelet && tag.is_some_and(|tag| tag.ends_with(kind)));
    format!("{repository}:v{new}{}", kind.unwrap_or_default())
}
