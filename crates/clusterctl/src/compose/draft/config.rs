//! Machine configuration.

use std::collections::BTreeSet;

use talos_client::config::{Effect, FieldChange};

use super::{Draft, Sketch};
use crate::compose::action::{Action, ApplyMode};
use crate::compose::machine::{DISK_KEY, MEDIUM_KEY};
use crate::compose::manifest::{ObjectChange, ObjectFate, is_manifest};
use crate::compose::target::{Extent, Stage};
use crate::compose::world::{NodeSeen, Running};
use crate::engine::Impact;
use crate::error::chain;
use crate::spec::site::{Cluster, Node, Role};

impl<'a> Draft<'a> {
    pub(super) fn config(&mut self, cluster: &'a Cluster, node: &'a Node, pin: Option<&str>) {
        let extent = self.wish.target.stage(&cluster.folder, Stage::Config);
        if extent == Extent::None || self.problems_of(node) {
            return;
        }
        let Some(seen) = self.world.nodes.get(&node.name) else { return };
        let first = match seen {
            NodeSeen::Configured(running) => {
                self.running(cluster, node, running, extent);
                None
            }
            NodeSeen::Off => Some("it is not running yet".to_owned()),
            NodeSeen::Maintenance => Some("it waits for its configuration".to_owned()),
            NodeSeen::Unknown(why) => Some(format!("it cannot be told what it is: {why}")),
        };
        let stage = Stage::Config.path(&cluster.folder);
        let has_medium = match self.machine(node) {
            Some(machine) => machine.medium(MEDIUM_KEY).is_some(),
            None => true,
        };
        let is_new = has_medium || matches!(seen, NodeSeen::Maintenance);
        if first.is_some() && is_new && is_sample(cluster, node) {
            // Before anything exists, it is known whether the node will take it.
            if let Err(error) = self.crew.try_config(cluster, node) {
                self.problem(
                    format!("{}: {}", node.name, chain(&error)),
                    "see config_patches in its cluster.hcl, of all nodes, its role and the node",
                );
                return;
            }
        }
        if let Some(reason) = first {
            // Without a medium it was installed: it is waited for, and never configured unseen.
            let title = if is_new {
                format!("configure {}", node.name)
            } else {
                format!("reach {} and compare its configuration", node.name)
            };
            let sketch = Sketch::new(format!("config/{}", node.name), &stage, title)
                .because(reason)
                .after([
                    format!("vm/{}/start", node.name),
                    format!("vm/{}/change", node.name),
                    format!("secrets/{}", cluster.folder),
                ])
                .after(pin.map(str::to_owned))
                .seconds(60, 1800);
            let (cluster, node) = (cluster.folder.clone(), node.name.clone());
            let action = if is_new {
                Action::Configure { cluster, node }
            } else {
                Action::Reach { cluster, node }
            };
            self.step(sketch, action);
        }
        if has_medium {
            let title = format!("eject the installation medium of {}", node.name);
            let sketch = Sketch::new(format!("eject/{}", node.name), stage, title)
                .because(format!("it boots from {DISK_KEY}; a medium would keep it on its host"))
                .impact(if self.has(&format!("vm/{}/create", node.name)) {
                    Impact::None
                } else {
                    Impact::Live
                })
                .after([format!("config/{}", node.name)])
                .token("vmid", node.vmid.to_string())
                .seconds(1, 300);
            let (cluster, node) = (cluster.folder.clone(), node.name.clone());
            self.step(sketch, Action::EjectMedium { cluster, node });
        }
    }

    fn running(&mut self, cluster: &Cluster, node: &Node, running: &Running, extent: Extent) {
        let wanted = format!("v{}", cluster.versions.talos);
        if running.version != wanted {
            self.problem(
                format!("{}: it runs Talos {}, the tree asks for {wanted}", node.name, running.version),
                "upgrades are not part of apply, and this version has no `upgrade` yet: set talos_version back, or upgrade with talosctl",
            );
            return;
        }
        if let Some(why) = &running.uncompared {
            self.problem(
                format!("{}: its configuration cannot be compared: {why}", node.name),
                "see the tree",
            );
            return;
        }
        if running.changes.is_empty() || extent != Extent::Full {
            return;
        }
        if running.staged {
            self.notes.push(format!(
                "the configuration of {} is staged, waits for a reboot: {}",
                node.name,
                told(running).join("; ")
            ));
            return;
        }
        let images: Vec<String> = running
            .changes
            .iter()
            .filter(|change| change.path.rsplit('.').next() == Some("image"))
            .map(ToString::to_string)
            .collect();
        if !images.is_empty() {
            self.problem(
                format!("{}: images of a running node would change: {}", node.name, images.join("; ")),
                "that is an upgrade, which this version does not do yet: set the versions or extensions back, or upgrade with talosctl",
            );
            return;
        }
        let pods: Vec<String> =
            running.changes.iter().filter(|one| is_of_pods(one)).map(ToString::to_string).collect();
        if !pods.is_empty() && self.had_etcd(cluster) {
            self.problem(
                format!("{}: the network of its pods would change: {}", node.name, pods.join("; ")),
                "a cluster that runs keeps its CNI and the ranges of pods and services: set them back; a cluster moves by being made anew",
            );
            return;
        }
        let minor = u32::try_from(cluster.versions.talos.minor).unwrap_or(u32::MAX);
        let late = running.changes.iter().find(|one| !one.prediction(minor).is_taken_live);
        let (taken, reasons) = taken(&running.changes, minor);
        let (mode, impact, verb) = match (cluster.apply_mode.as_str(), late) {
            ("staged", _) => (ApplyMode::Staged, Impact::Live, "stage"),
            ("no-reboot", Some(change)) => {
                self.problem(
                    format!("{}: this takes a reboot: {change}", node.name),
                    "talos_apply_mode is no-reboot: set it to auto, or to staged for the next reboot",
                );
                return;
            }
            ("reboot", _) | (_, Some(_)) => (ApplyMode::Reboot, Impact::Reboot, "change"),
            (_, None) => (ApplyMode::NoReboot, taken, "change"),
        };
        let reboots = impact == Impact::Reboot;
        let mut sketch = Sketch::new(
            format!("reconfig/{}", node.name),
            Stage::Config.path(&cluster.folder),
            format!("{verb} the configuration of {}", node.name),
        )
        .impact(impact)
        .after([format!("vm/{}/change", node.name)])
        .seconds(if reboots { 120 } else { 3 }, 1800);
        // A control plane answers for the others while its services start again.
        let interrupts = impact == Impact::RestartService && node.role == Role::ControlPlane;
        if reboots || interrupts {
            sketch = sketch.token("disruption", cluster.folder.clone());
        }
        for change in told(running) {
            sketch = sketch.because(change);
        }
        if mode == ApplyMode::NoReboot {
            sketch = reasons.into_iter().fold(sketch, Sketch::because);
        }
        if mode == ApplyMode::Staged {
            sketch =
                sketch.because("talos_apply_mode is staged: it takes effect at the next reboot");
        } else if mode == ApplyMode::Reboot && late.is_none() {
            sketch = sketch.because("talos_apply_mode is reboot");
        }
        let (cluster, node) = (cluster.folder.clone(), node.name.clone());
        self.step(sketch, Action::Reconfigure { cluster, node, mode });
    }
}

/// Whether a change is one of what carries the pods of a whole cluster: nodes that have the old way
/// and nodes that have the new one do not reach each other, and Talos takes no CNI away.
fn is_of_pods(change: &FieldChange) -> bool {
    const PATHS: [&str; 4] = [
        "cluster.network.cni",
        "cluster.network.podSubnets",
        "cluster.network.serviceSubnets",
        "cluster.network.dnsDomain",
    ];
    let is_at = |path: &str| {
        let rest = change.path.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    change.document == "v1alpha1" && PATHS.iter().any(|path| is_at(path))
}

/// What changes that a node takes as it runs cost, and what is to be said of that. What holds only
/// later does not hide what restarts now.
fn taken(changes: &[FieldChange], minor: u32) -> (Impact, Vec<String>) {
    let (mut restarts, mut later) = (BTreeSet::new(), Vec::new());
    for change in changes {
        match change.prediction(minor).effect {
            Effect::Restart(services) => restarts.extend(services),
            Effect::Reboot | Effect::Reinstall => later.push(change.path.as_str()),
            _ => {}
        }
    }
    let (mut impact, mut reasons) = (Impact::Live, Vec::new());
    if !restarts.is_empty() {
        impact = Impact::RestartService;
        let services: Vec<String> = restarts.into_iter().collect();
        reasons.push(format!("{} will restart", services.join(", ")));
    }
    if !later.is_empty() {
        reasons.push(format!("from the next reboot or upgrade on: {}", later.join(", ")));
    }
    (impact, reasons)
}

/// What changes, line by line; of manifests, the objects in place of their text.
fn told(running: &Running) -> Vec<String> {
    let is_told_apart =
        |change: &&FieldChange| running.manifests.is_empty() || !is_manifest(change);
    let fields = running.changes.iter().filter(is_told_apart).map(ToString::to_string);
    let mut lines: Vec<String> =
        fields.chain(running.manifests.iter().map(ToString::to_string)).collect();
    let is_there = |one: &ObjectChange| matches!(one.fate, ObjectFate::Changed(_));
    if running.manifests.iter().any(is_there) {
        lines.push(
            "manifests: Talos makes what is not there; what is there changes with an upgrade of \
             Kubernetes, or by hand"
                .to_owned(),
        );
    }
    lines
}

/// Whether a node's configuration says something that those of others do not: nodes of one role
/// differ in names and addresses alone, but for patches of their own.
fn is_sample(cluster: &Cluster, node: &Node) -> bool {
    let first = cluster.nodes.iter().find(|other| other.role == node.role);
    !node.patches.is_empty() || first.is_some_and(|first| first.name == node.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_later_does_not_hide_what_restarts_now() {
        let change = |path: &str| FieldChange {
            document: "v1alpha1".to_owned(),
            path: path.to_owned(),
            before: None,
            after: Some("x".to_owned()),
        };
        let (sysctl, api, etcd) = (
            change("machine.sysctls"),
            change("cluster.apiServer.extraArgs.v"),
            change("cluster.etcd.extraArgs.v"),
        );
        assert_eq!(taken(std::slice::from_ref(&sysctl), 13), (Impact::Live, vec![]));
        let (impact, reasons) = taken(&[sysctl, api, etcd], 13);
        assert_eq!(impact, Impact::RestartService);
        let told = [
            "kube-apiserver will restart",
            "from the next reboot or upgrade on: cluster.etcd.extraArgs.v",
        ];
        assert_eq!(reasons, told);
    }
}
