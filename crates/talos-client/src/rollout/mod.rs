//! Another version of Talos on the nodes of a cluster, one after the other, as [`crate::plan`] orders it.
//!
//! What the older call does by itself, the newer calls leave to the client: the checks of etcd, draining,
//! the reboot. Here both ways take the same: nothing begins while etcd needs the node, and a node is done
//! when it runs another boot, of the version that was wanted, and votes again.

mod node;
mod unsure;

use std::time::Duration;

use futures_util::future::join_all;

pub use node::upgrade_node;

use crate::api::Version;
use crate::error::Error;
use crate::health::{Target, observe};
use crate::plan::{Candidate, Etcd, NodeStep, upgrade_order, version};
use crate::wait::refused;

const OPERATION: &str = "upgrade Talos";

/// What Kubernetes has to do with a node that goes away for a while. This crate does not talk to
/// Kubernetes: who does, says how.
pub trait Workloads {
    /// Whether there is a Kubernetes that is asked at all.
    fn answers(&self) -> bool {
        true
    }

    /// No new pods for the node, and those that it has move, with their disruption budgets kept. May be
    /// called again, after it failed or was cut, and for a node that it has drained.
    fn drain(&self, node: &str) -> impl Future<Output = Result<(), String>> + Send;

    /// The node is ready, as Kubernetes sees it.
    fn wait_ready(&self, node: &str) -> impl Future<Output = Result<(), String>> + Send;

    /// New pods for the node again.
    fn uncordon(&self, node: &str) -> impl Future<Output = Result<(), String>> + Send;

    /// Whether [`Workloads::drain`] closed the node to new pods, maybe in an earlier run and without coming to
    /// its end, and [`Workloads::uncordon`] has not opened it since. A node that somebody else closed stays so; one of
    /// which nothing is remembered counts as closed by somebody else.
    ///
    /// For a node that does not have its version yet it also says that an earlier run may have installed
    /// it: the node does not tell what it boots next, and is drained and rebooted before it is installed again.
    fn is_drained(&self, node: &str) -> impl Future<Output = Result<bool, String>> + Send;
}

/// No Kubernetes: nothing is drained, and nothing is remembered. The next run would install a second time in one
/// boot, and write over the system that the node could go back to. So reboot the node before it, if a run of it
/// ended with an error that says that a version is installed and waits for the reboot, or that what its installer
/// did is not known, or if the run was cut before the node left its boot.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWorkloads;

impl Workloads for NoWorkloads {
    fn answers(&self) -> bool {
        false
    }

    async fn drain(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    async fn wait_ready(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    async fn uncordon(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    async fn is_drained(&self, _: &str) -> Result<bool, String> {
        Ok(false)
    }
}

/// The version that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wanted {
    /// Installer's image: of the schematic and flavour that the nodes have.
    pub image: String,
    /// Tag of the version that it installs, such as `v1.13.9`.
    pub tag: String,
    /// Reboot with the firmware.
    pub power_cycle: bool,
    /// Clusters of one or two members of etcd may stand still meanwhile.
    pub downtime: bool,
    /// How many workers at once.
    pub workers_at_once: usize,
    /// The version may be older than what runs.
    pub back: bool,
    /// The image may be of another schematic than the node: its extensions change then.
    pub other_schematic: bool,
    /// The schematic of the image, where its name does not tell it: one under a registry of a site's own.
    pub image_schematic: Option<String>,
    /// How long each step of a node may take that waits for something.
    pub limit: Duration,
}

impl Wanted {
    /// A version by its installer's image, one worker at a time.
    pub fn new(image: impl Into<String>, tag: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            tag: tag.into(),
            power_cycle: false,
            downtime: false,
            workers_at_once: 1,
            back: false,
            other_schematic: false,
            image_schematic: None,
            limit: Duration::from_mins(15),
        }
    }

    /// Whether clusters of one or two members of etcd may stand still meanwhile.
    #[must_use]
    pub fn downtime(mut self, accepted: bool) -> Self {
        self.downtime = accepted;
        self
    }

    /// How many workers at once.
    #[must_use]
    pub fn workers_at_once(mut self, count: usize) -> Self {
        self.workers_at_once = count;
        self
    }

    /// How long each step of a node may take that waits for something.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Whether the image may be of another schematic than the node.
    #[must_use]
    pub fn other_schematic(mut self, allowed: bool) -> Self {
        self.other_schematic = allowed;
        self
    }

    /// The schematic of the image, where its name does not tell it.
    #[must_use]
    pub fn image_schematic(mut self, id: impl Into<String>) -> Self {
        self.image_schematic = Some(id.into());
        self
    }

    /// Whether a node that runs this version has what is wanted, however either is written.
    fn is_run_by(&self, tag: &str) -> bool {
        match (version("Talos", tag), version("Talos", &self.tag)) {
            (Ok(runs), Ok(wanted)) => runs == wanted,
            _ => tag == self.tag,
        }
    }

    /// The schematic that the image is of; none if neither its name nor the caller tells it.
    fn schematic(&self) -> Option<&str> {
        if let Some(id) = &self.image_schematic {
            return Some(id);
        }
        let bare = self.image.split('@').next().unwrap_or_default();
        let name = bare.rsplit('/').next().unwrap_or_default();
        let id = name.split(':').next().unwrap_or_default();
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_id.then_some(id)
    }

    /// Whether the version may be older than what runs.
    #[must_use]
    pub fn back(mut self, allowed: bool) -> Self {
        self.back = allowed;
        self
    }
}

/// What a node of a rollout does now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Host name of the node.
    pub node: String,
    /// Its step.
    pub step: NodeStep,
    /// What the step waits for, or what the installer says; empty at its beginning.
    pub text: String,
}

/// Upgrades all nodes that do not run the version yet: control planes one by one, the leader of etcd last,
/// then workers. Whatever was done before is left as it is, so it can be called again after a failure:
/// nodes that run the version but were left before they were ready are waited for first, and opened to pods.
///
/// # Errors
/// The first failure of a node ends it, and the error names the node: later ones are not touched.
pub async fn rollout<W: Workloads + Sync>(
    targets: &[Target],
    wanted: &Wanted,
    workloads: &W,
    progress: &(impl Fn(Progress) + Sync),
) -> Result<Vec<(String, Version)>, Error> {
    let mut done: Vec<(String, Version)> = Vec::new();
    let mut is_settled = false;
    loop {
        let observation = observe(targets).await;
        let nodes: Vec<Candidate> = observation
            .nodes
            .iter()
            .filter(|node| !done.iter().any(|(name, _)| *name == node.name))
            .map(|node| {
                let runs = node.version.as_ref().map(|version| version.tag.clone());
                Candidate::new(node.name.clone(), node.control_plane, runs.unwrap_or_default())
            })
            .collect();
        // Without its members the leader is not known; the quorum is asked for before each node anyway.
        let etcd = Etcd::of(&observation).unwrap_or_default();
        let at_once = wanted.workers_at_once;
        let waves = upgrade_order(&nodes, &etcd, &wanted.tag, at_once, wanted.back)
            .map_err(|why| refused(OPERATION, &why))?;
        if !is_settled {
            is_settled = true;
            let mut is_waited = false;
            for node in nodes.iter().filter(|node| wanted.is_run_by(&node.runs)) {
                upgrade_node(targets, &node.name, wanted, workloads, progress).await?;
                is_waited = true;
            }
            // Who leads may be another one by now.
            if is_waited {
                continue;
            }
        }
        let Some(wave) = waves.into_iter().next() else { return Ok(done) };
        let runs = wave.nodes.iter().map(|name| async {
            let version = upgrade_node(targets, name, wanted, workloads, progress).await;
            version.map(|version| (name.clone(), version))
        });
        for result in join_all(runs).await {
            done.push(result?);
        }
    }
}
