//! From what should be and what is to a plan: a pure function.

mod bootstrap;
mod compute;
mod config;
mod extension;
mod image;
mod network;
mod ring;

use std::collections::{BTreeMap, BTreeSet};

use proxmox_client::VmId;
use proxmox_client::plan::vm::VmObserved;

use super::action::Action;
use super::crew::Crew;
use super::machine::TAG;
use super::sketch::{Sketch, Steps};
use super::target::{Stage, Target};
use super::world::{NodeSeen, SecretsSeen, World};
use crate::engine::{Base, Plan};
use crate::error::{Error, chain};
use crate::spec::site::{Cluster, Node};
use crate::state::LockFile;

pub use bootstrap::lacking;

/// Something that stops a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is in the way.
    pub text: String,
    /// What to do about it.
    pub help: String,
}

/// A plan with what stands in its way.
#[derive(Debug, Clone)]
pub struct Drafted {
    /// The plan.
    pub plan: Plan<Action>,
    /// What stops it; it must not be carried out while there is anything.
    pub problems: Vec<Problem>,
    /// Clusters whose machines or configuration change, by name.
    pub clusters: BTreeSet<String>,
}

/// What a plan is asked for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What it is about.
    pub target: Target,
    /// Machines that the tree has no more may be removed.
    pub allow_remove: bool,
}

/// Makes the plan.
///
/// # Errors
/// The steps have no order: a mistake of this program.
pub fn draft(crew: &Crew, world: &World, wish: &Wish, base: Base) -> Result<Drafted, Error> {
    let mut draft = Draft {
        crew,
        world,
        wish,
        lock_file: crew.lock_file(),
        steps: Steps::default(),
        problems: Vec::new(),
        notes: Vec::new(),
        clusters: BTreeSet::new(),
        carriers: carriers(world),
    };
    // Networks go after the machines that were on them, and are made before those that will be.
    for cluster in &crew.site.clusters {
        draft.removals(cluster);
    }
    draft.networks();
    draft.extension();
    draft.images();
    for cluster in &crew.site.clusters {
        if wish.target.clusters.contains_key(&cluster.folder) {
            draft.cluster(cluster);
        }
    }
    draft.strangers();
    let names = wish.target.names.clone();
    let mut steps = draft.steps.into_steps();
    ring::order(&mut steps, &ring::rings(&crew.site));
    let mut plan = Plan::new(base, names, steps).map_err(|error| {
        Error::new(crate::error::ErrorKind::Bug, "order the plan").because(error)
    })?;
    plan.notes = draft.notes;
    Ok(Drafted { plan, problems: draft.problems, clusters: draft.clusters })
}

struct Draft<'a> {
    crew: &'a Crew,
    world: &'a World,
    wish: &'a Wish,
    lock_file: LockFile,
    steps: Steps,
    problems: Vec<Problem>,
    notes: Vec<String>,
    clusters: BTreeSet<String>,
    carriers: BTreeMap<String, Vec<&'a VmObserved>>,
}

/// Our machines by each tag that they carry: looked at once, not once for each cluster.
fn carriers(world: &World) -> BTreeMap<String, Vec<&VmObserved>> {
    let mut found: BTreeMap<String, Vec<&VmObserved>> = BTreeMap::new();
    for machine in world.machines.values() {
        let mut tags = machine.tags();
        if tags.remove(TAG) {
            for tag in tags {
                found.entry(tag).or_default().push(machine);
            }
        }
    }
    found
}

impl<'a> Draft<'a> {
    /// Adds a step; what it waits for counts only as far as it is in the plan.
    fn step(&mut self, sketch: Sketch, action: Action) {
        self.steps.add(sketch, action);
    }

    fn problem(&mut self, text: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem { text: text.into(), help: help.into() });
    }

    fn has(&self, id: &str) -> bool {
        self.steps.has(id)
    }

    /// The clusters that are meant.
    fn meant(&self) -> impl Iterator<Item = &'a Cluster> {
        let target = &self.wish.target;
        self.crew
            .site
            .clusters
            .iter()
            .filter(move |cluster| target.clusters.contains_key(&cluster.folder))
    }

    fn machine(&self, node: &Node) -> Option<&'a VmObserved> {
        VmId::try_from(node.vmid).ok().and_then(|vmid| self.world.machines.get(&vmid))
    }

    fn cluster(&mut self, cluster: &'a Cluster) {
        let before = self.steps.len();
        if !self.secrets(cluster) {
            return;
        }
        let pin = self.cilium_pin(cluster);
        for node in &cluster.nodes {
            self.compute(cluster, node, pin.as_deref());
        }
        for node in &cluster.nodes {
            self.config(cluster, node, pin.as_deref());
        }
        self.bootstrap(cluster);
        if self.steps.len() > before {
            self.clusters.insert(cluster.name.clone());
        }
    }

    /// Machines of clusters that the tree does not have: a folder was removed while its machines
    /// run, or they belong to another tree. They are named, since nobody else would.
    fn strangers(&mut self) {
        if !self.wish.target.names.is_empty() {
            return;
        }
        for (tag, machines) in &self.carriers {
            let Some(id) = tag.strip_prefix("cluster-") else { continue };
            let site = &self.crew.site;
            if site.clusters.iter().any(|cluster| cluster.id.to_string() == id) {
                continue;
            }
            let why = match site
                .unmanaged
                .iter()
                .find(|one| one.id.is_some_and(|other| other.to_string() == id))
            {
                Some(one) => {
                    format!("clusters/{} is not managed, since {}", one.folder, one.reason)
                }
                None => format!("the tree has no cluster {id}"),
            };
            let names: Vec<String> = machines
                .iter()
                .map(|machine| {
                    let name = machine.config.get("name").map(String::as_str).unwrap_or_default();
                    format!("{name} (VM {} on {})", machine.vmid, machine.node)
                })
                .collect();
            self.notes.push(format!(
                "{why}, and Proxmox has machines of cluster {id}: {}; what is to go is destroyed \
                 with the folder as it was",
                names.join(", ")
            ));
        }
    }

    /// The first step of a cluster: its secrets. False when they stand in the way.
    fn secrets(&mut self, cluster: &Cluster) -> bool {
        let Some(seen) = self.world.clusters.get(&cluster.folder) else { return false };
        match &seen.secrets {
            SecretsSeen::Open => true,
            SecretsSeen::Sealed(why) => {
                self.problem(
                    format!("the secrets of cluster {} cannot be opened: {why}", cluster.name),
                    "the key of one of its recipients is needed: SOPS_AGE_KEY, SOPS_AGE_KEY_FILE",
                );
                false
            }
            SecretsSeen::Absent => {
                let ours = cluster.nodes.iter().filter(|node| {
                    self.has_own_machine(node)
                        && !matches!(self.world.nodes.get(&node.name), Some(NodeSeen::Maintenance))
                });
                let names: Vec<&str> = ours.map(|node| node.name.as_str()).collect();
                if !names.is_empty() {
                    self.problem(
                        format!(
                            "cluster {} has no secrets, and {} is not proven to be unconfigured",
                            cluster.name,
                            names.join(", ")
                        ),
                        "restore its secrets.sops.yaml, or take it over with `clusterctl secrets \
                         import`; a machine that was never configured proves it when it runs",
                    );
                    return false;
                }
                if self.lock_file.cluster(cluster.id).is_some() && self.has_machines(cluster) {
                    self.problem(
                        format!(
                            "cluster {} has no secrets, and clusterctl.lock says that it was made",
                            cluster.name
                        ),
                        "restore its secrets.sops.yaml; if the cluster is gone for good, \
                         `clusterctl destroy` removes what is left and forgets it",
                    );
                    return false;
                }
                if let Err(error) = self.crew.bundles.check_rule(cluster) {
                    let help = error.hints().first().cloned();
                    self.problem(
                        format!(
                            "the secrets of cluster {} cannot be encrypted: {}",
                            cluster.name,
                            chain(&error)
                        ),
                        help.unwrap_or_else(|| "see the nearest .sops.yaml".to_owned()),
                    );
                    return false;
                }
                let title = format!("make the secrets of cluster {}", cluster.name);
                let stage = Stage::Compute.path(&cluster.folder);
                let sketch = Sketch::new(format!("secrets/{}", cluster.folder), stage, title)
                    .because("there are none; they are written before anything is made with them")
                    .seconds(1, 120);
                self.step(sketch, Action::MakeSecrets { cluster: cluster.folder.clone() });
                true
            }
        }
    }

    /// Whether etcd of a cluster runs, or was seen to run before.
    fn had_etcd(&self, cluster: &Cluster) -> bool {
        self.world.has_etcd(cluster)
            || self.lock_file.cluster(cluster.id).is_some_and(|pin| pin.etcd_started)
    }

    /// Whether any node of a cluster has its machine.
    fn has_machines(&self, cluster: &Cluster) -> bool {
        cluster.nodes.iter().any(|node| self.has_own_machine(node))
    }

    /// Whether the machine under a node's number is that node's: by its UUID, whatever its tags.
    fn has_own_machine(&self, node: &Node) -> bool {
        self.machine(node).is_some_and(|one| one.uuid() == Some(node.uuid.to_string()))
    }

    /// Whether something stands in the way of a node's machine.
    fn problems_of(&self, node: &Node) -> bool {
        let start = format!("{}:", node.name);
        self.problems.iter().any(|problem| problem.text.starts_with(&start))
    }
}

/// Whether the images have the QEMU guest agent.
pub fn has_agent(crew: &Crew) -> bool {
    let extensions = &crew.images.schematic.official_extensions;
    extensions.iter().any(|name| name == "siderolabs/qemu-guest-agent")
}
