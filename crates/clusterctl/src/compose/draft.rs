//! From what should be and what is to a plan: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use proxmox_client::VmId;
use proxmox_client::plan::sdn;
use proxmox_client::plan::vm::{self, VmObserved};
use semver::Version;

use super::action::{Action, ApplyMode, Level};
use super::crew::Crew;
use super::machine::{self, DISK_KEY, Ground, MEDIUM_KEY, TAG};
use super::network;
use super::observe::{NodeSeen, Running, SecretsSeen, World};
use super::target::{Extent, IMAGES, REGISTRY, SDN, Stage, Target};
use crate::engine::{Base, Impact, Plan, Step, StepId, Token};
use crate::error::Error;
use crate::spec::site::{Cluster, Cni, Node, Role};
use crate::state::{LedgerEntry, LockFile, ThingKind};

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
        steps: Vec::new(),
        ids: BTreeSet::new(),
        problems: Vec::new(),
        notes: Vec::new(),
        clusters: BTreeSet::new(),
    };
    draft.networks();
    draft.images();
    for cluster in &crew.site.clusters {
        if wish.target.clusters.contains_key(&cluster.folder) {
            draft.cluster(cluster);
        }
    }
    let names = wish.target.names.clone();
    let mut plan = Plan::new(base, names, draft.steps).map_err(|error| {
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
    steps: Vec<Step<Action>>,
    ids: BTreeSet<StepId>,
    problems: Vec<Problem>,
    notes: Vec<String>,
    clusters: BTreeSet<String>,
}

/// What a step is made from, beside its action.
struct Sketch {
    id: String,
    stage: String,
    title: String,
    impact: Impact,
    reasons: Vec<String>,
    after: Vec<String>,
    tokens: Vec<Token>,
    /// How long it usually takes and may take, in seconds.
    seconds: (u64, u64),
}

impl Sketch {
    fn new(id: impl Into<String>, stage: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            stage: stage.into(),
            title: title.into(),
            impact: Impact::None,
            reasons: Vec::new(),
            after: Vec::new(),
            tokens: Vec::new(),
            seconds: (1, 300),
        }
    }

    fn impact(mut self, impact: Impact) -> Self {
        self.impact = impact;
        self
    }

    fn because(mut self, reason: impl Into<String>) -> Self {
        self.reasons.push(reason.into());
        self
    }

    fn after(mut self, ids: impl IntoIterator<Item = String>) -> Self {
        self.after.extend(ids);
        self
    }

    fn token(mut self, class: &str, key: impl Into<String>) -> Self {
        self.tokens.push(Token::new(class, key));
        self
    }

    fn seconds(mut self, usual: u64, longest: u64) -> Self {
        self.seconds = (usual, longest);
        self
    }
}

impl<'a> Draft<'a> {
    /// Adds a step; what it waits for counts only as far as it is in the plan.
    fn step(&mut self, sketch: Sketch, action: Action) {
        let id = StepId::new(sketch.id);
        let after = sketch
            .after
            .into_iter()
            .map(StepId::new)
            .filter(|other| self.ids.contains(other))
            .collect();
        self.ids.insert(id.clone());
        self.steps.push(Step {
            id,
            stage: sketch.stage,
            title: sketch.title,
            action,
            impact: sketch.impact,
            reasons: sketch.reasons,
            after,
            tokens: sketch.tokens.into_iter().collect(),
            estimate_ms: sketch.seconds.0 * 1000,
            budget_ms: sketch.seconds.1 * 1000,
        });
    }

    fn problem(&mut self, text: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem { text: text.into(), help: help.into() });
    }

    fn has(&self, id: &str) -> bool {
        self.ids.contains(&StepId::new(id))
    }

    fn networks(&mut self) {
        let extent = self.wish.target.sdn;
        if extent == Extent::None || self.crew.site.sdn.is_none() {
            return;
        }
        let full = extent == Extent::Full;
        let desired = if full {
            network::desired(&self.crew.site)
        } else {
            let mut needed: Vec<_> = self
                .meant()
                .flat_map(|cluster| network::needed_by(&self.crew.site, cluster))
                .collect();
            needed.sort();
            needed.dedup();
            needed
        };
        let ledger = &self.lock_file.ledger;
        let is_ours = |object: &sdn::Object| {
            network::is_marked(object)
                || ledger_kind(object.kind).is_some_and(|kind| {
                    ledger.contains(&LedgerEntry { kind, id: object.id.clone() })
                })
        };
        let found = sdn::diff(&desired, &self.world.sdn, is_ours, !full);
        for conflict in &found.conflicts {
            self.problem(
                format!("networks: {conflict}"),
                "change the tree, or the networks by hand; nothing of others is overwritten",
            );
        }
        if found.changes.is_empty() && found.unapplied.is_empty() {
            return;
        }
        for node in &self.world.pending_networks {
            self.problem(
                format!("Proxmox node {node} has network changes that are not applied"),
                "apply or revert them there: applying the networks of the cluster would apply them too",
            );
        }
        let mut sketch = Sketch::new("networks", SDN, "change the networks and apply them")
            .token("cluster-file", "sdn")
            .seconds(15, 1500);
        let updates =
            found.changes.iter().any(|change| !matches!(change, sdn::SdnChange::Create { .. }));
        if updates {
            sketch = sketch.impact(Impact::Live);
        }
        if !full {
            sketch = sketch.because("added: the target needs it and it is not there");
        }
        for change in &found.changes {
            sketch = sketch.because(change.to_string());
        }
        for title in &found.unapplied {
            sketch = sketch.because(format!("{title} is saved and not applied"));
        }
        self.step(sketch, Action::Networks { changes: found.changes });
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

    /// Versions whose images are needed, with the Proxmox nodes that need their ISO.
    fn wanted_isos(&self) -> BTreeMap<Version, BTreeSet<String>> {
        let target = &self.wish.target;
        let mut wanted: BTreeMap<Version, BTreeSet<String>> = BTreeMap::new();
        let all = target.registry == Extent::Full;
        if all || target.images == Extent::Full {
            let version = self.crew.site.versions.talos.clone();
            let places = wanted.entry(version).or_default();
            if all {
                places.extend(self.crew.site.registry.node_names.iter().cloned());
            }
        }
        for cluster in self.meant() {
            if cluster.artifact_overrides.iso_file_id.is_some() {
                continue;
            }
            // A cluster whose machines are all there boots from their disks.
            let absent = cluster.nodes.iter().filter(|node| self.machine(node).is_none());
            for node in absent {
                let places = wanted.entry(cluster.versions.talos.clone()).or_default();
                places.insert(node.proxmox_node.clone());
            }
        }
        wanted
    }

    fn images(&mut self) {
        if self.wish.target.images == Extent::None {
            return;
        }
        let storage = self.world.storages.iso.clone();
        for (version, places) in self.wanted_isos() {
            let Some(images) = self.crew.images.versions.get(&version).cloned() else { continue };
            let file = images.factory.iso_name.clone();
            let pin = self.lock_file.images.get(&file).filter(|pin| {
                pin.schematic == self.crew.images.schematic_id.as_str()
                    && pin.talos_version == format!("v{version}")
            });
            let size = pin.map(|pin| pin.size);
            let volid = format!("{storage}:iso/{file}");
            let mut uploads: Vec<(String, String)> = Vec::new();
            for node in places {
                let files = self.world.files.get(&node);
                let there = files.and_then(|files| files.iter().find(|one| one.volid == volid));
                let reason = match (there, size) {
                    (None, _) => "it is not there".to_owned(),
                    (Some(_), None) => "nothing tells what is in the file that is there".to_owned(),
                    (Some(there), Some(size)) if there.size != Some(size) => {
                        "the file that is there has another size".to_owned()
                    }
                    _ => continue,
                };
                if self.world.iso_is_shared && !uploads.is_empty() {
                    continue;
                }
                uploads.push((node, reason));
            }
            let pinned = size.is_some();
            if !pinned || !uploads.is_empty() {
                self.fetch(&version, &file, pinned);
            }
            if self.wish.target.registry > Extent::None {
                for (node, reason) in uploads {
                    self.upload(&version, &file, node, reason);
                }
            }
            if let Some(copy) = &images.installer_copy
                && !self.lock_file.references.contains_key(copy)
            {
                let title = format!("copy {} to {copy}", images.factory.installer);
                let sketch = Sketch::new(format!("image/v{version}/installer"), IMAGES, title)
                    .because("the lock file has no digest of it")
                    .after(["image/schematic".to_owned()])
                    .seconds(30, 3600);
                self.step(sketch, Action::CopyInstaller { version: version.to_string() });
            }
        }
    }

    fn fetch(&mut self, version: &Version, file: &str, pinned: bool) {
        if !self.has("image/schematic") {
            let id = self.crew.images.schematic_id.as_str();
            let short: String = id.chars().take(12).collect();
            let title = format!("tell the factory schematic {short}…");
            let sketch = Sketch::new("image/schematic", IMAGES, title)
                .because(format!("{} asks for it", self.crew.images.factory))
                .seconds(1, 120);
            self.step(sketch, Action::Schematic);
        }
        let reason = if pinned {
            "it is put on a node that lacks it; its digest is in the lock file"
        } else {
            "the lock file has no digest of it"
        };
        let sketch = Sketch::new(format!("image/v{version}/iso"), IMAGES, format!("fetch {file}"))
            .because(reason)
            .after(["image/schematic".to_owned()])
            .seconds(60, 3600);
        self.step(sketch, Action::FetchIso { version: version.to_string() });
    }

    fn upload(&mut self, version: &Version, file: &str, node: String, reason: String) {
        let storage = self.world.storages.iso.clone();
        let place = if self.world.iso_is_shared { "the shared storage" } else { &node };
        let title = format!("put {file} on {storage} of {place}");
        let sketch = Sketch::new(format!("upload/{node}/{file}"), REGISTRY, title)
            .because(reason)
            .after([format!("image/v{version}/iso")])
            .token("upload", node.clone())
            .seconds(20, 3600);
        self.step(sketch, Action::Upload { version: version.to_string(), node, storage });
    }

    fn machine(&self, node: &Node) -> Option<&'a VmObserved> {
        VmId::try_from(node.vmid).ok().and_then(|vmid| self.world.machines.get(&vmid))
    }

    fn cluster(&mut self, cluster: &'a Cluster) {
        let before = self.steps.len();
        if !self.secrets(cluster) {
            return;
        }
        for node in &cluster.nodes {
            self.compute(cluster, node);
        }
        self.removals(cluster);
        for node in &cluster.nodes {
            self.config(cluster, node);
        }
        self.bootstrap(cluster);
        if self.steps.len() > before {
            self.clusters.insert(cluster.name.clone());
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
                    self.machine(node).is_some()
                        && !matches!(
                            self.world.nodes.get(&node.name),
                            Some(NodeSeen::Off | NodeSeen::Maintenance)
                        )
                });
                let names: Vec<&str> = ours.map(|node| node.name.as_str()).collect();
                if !names.is_empty() {
                    self.problem(
                        format!(
                            "cluster {} has no secrets, and {} is not proven to be unconfigured",
                            cluster.name,
                            names.join(", ")
                        ),
                        "restore its secrets.sops.yaml, or take it over with `clusterctl secrets import`",
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

    fn compute(&mut self, cluster: &'a Cluster, node: &'a Node) {
        let extent = self.wish.target.stage(&cluster.folder, Stage::Compute);
        if extent == Extent::None {
            return;
        }
        let stage = Stage::Compute.path(&cluster.folder);
        let names = (cluster.folder.clone(), node.name.clone());
        let observed = self.machine(node);
        let is_making = observed.is_some_and(|machine| machine.lock.as_deref() == Some("create"));
        match observed {
            Some(observed) if !is_making => self.existing(cluster, node, observed, extent),
            _ => {
                let file = self.crew.images.iso_of(cluster).unwrap_or_default();
                let version = &cluster.versions.talos;
                let title =
                    format!("create {} (VM {}) on {}", node.name, node.vmid, node.proxmox_node);
                let mut uploads: Vec<String> = vec![format!("upload/{}/{file}", node.proxmox_node)];
                if self.world.iso_is_shared {
                    uploads = self
                        .ids
                        .iter()
                        .map(ToString::to_string)
                        .filter(|id| id.starts_with("upload/") && id.ends_with(file))
                        .collect();
                }
                let mut sketch = Sketch::new(format!("vm/{}/create", node.name), &stage, title)
                    .because(format!(
                        "{} cores, {} MiB, {} GiB, Talos v{version}",
                        node.cores, node.memory_mib, node.disk_gib
                    ))
                    .after([format!("secrets/{}", cluster.folder)])
                    .after(uploads)
                    .token("vmid", node.vmid.to_string())
                    .token("storage", self.world.storages.vm.clone())
                    .seconds(5, 1800);
                if cluster.segment.use_sdn {
                    sketch = sketch.after(["networks".to_owned()]);
                }
                if extent == Extent::IfAbsent {
                    sketch = sketch.because("added: the target needs it and it is not there");
                }
                let (cluster, node) = names.clone();
                self.step(sketch, Action::CreateMachine { cluster, node });
            }
        }
        let runs = observed.is_some_and(|machine| machine.running) && !is_making;
        if !runs && !self.problems_of(node) {
            let title = format!("start {}", node.name);
            let reason = if observed.is_some() { "it is stopped" } else { "it is new" };
            let sketch = Sketch::new(format!("vm/{}/start", node.name), stage, title)
                .because(reason)
                .after([format!("vm/{}/create", node.name), format!("vm/{}/change", node.name)])
                .token("vmid", node.vmid.to_string())
                .seconds(2, 600);
            let (cluster, node) = names;
            self.step(sketch, Action::StartMachine { cluster, node });
        }
    }

    /// Whether something stands in the way of a node's machine.
    fn problems_of(&self, node: &Node) -> bool {
        let start = format!("{}:", node.name);
        self.problems.iter().any(|problem| problem.text.starts_with(&start))
    }

    fn existing(&mut self, cluster: &Cluster, node: &Node, observed: &VmObserved, extent: Extent) {
        let ground = Ground {
            site: &self.crew.site,
            storages: &self.world.storages,
            guest_agent: has_agent(self.crew),
        };
        let desired = match machine::desired(ground, cluster, node, "") {
            Ok(desired) => desired,
            Err(error) => {
                self.problem(format!("{}: {error}", node.name), "see the tree");
                return;
            }
        };
        if let Err(foreign) = desired.owns(observed) {
            self.problem(
                format!("{}: its number is taken: {}", node.name, foreign.reason),
                "remove that machine, or give the node another number in the tree",
            );
            return;
        }
        if let Some(lock) = &observed.lock {
            self.problem(
                format!("{}: its machine is locked ({lock})", node.name),
                "wait for what holds it; a lock that nothing holds any more is removed with `qm unlock`",
            );
            return;
        }
        if observed.node != node.proxmox_node {
            self.notes.push(format!(
                "{} lives on {}, the tree makes it on {}: it stays where it is",
                node.name, observed.node, node.proxmox_node
            ));
        }
        if extent != Extent::Full {
            return;
        }
        let found = vm::diff(&desired, observed);
        for refused in &found.refused {
            self.problem(format!("{}: {refused}", node.name), "see node_overrides and vm_sizing");
        }
        if found.changes.is_empty() {
            return;
        }
        let stop = observed.running && found.impact() == Some(vm::Impact::StopStart);
        let mut sketch = Sketch::new(
            format!("vm/{}/change", node.name),
            Stage::Compute.path(&cluster.folder),
            format!("change {} (VM {})", node.name, node.vmid),
        )
        .impact(if stop { Impact::Reboot } else { Impact::Live })
        .token("vmid", node.vmid.to_string())
        .seconds(5, 1800);
        if stop {
            sketch = sketch.token("disruption", cluster.folder.clone());
        }
        for change in &found.changes {
            sketch = sketch.because(change.to_string());
        }
        let (folder, name) = (cluster.folder.clone(), node.name.clone());
        let changes = found.changes;
        self.step(sketch, Action::ChangeMachine { cluster: folder, node: name, changes });
    }

    /// Machines of the cluster that the tree has no more.
    fn removals(&mut self, cluster: &Cluster) {
        if self.wish.target.stage(&cluster.folder, Stage::Compute) != Extent::Full {
            return;
        }
        let tag = format!("cluster-{}", cluster.id);
        let planned: BTreeSet<u32> = cluster.nodes.iter().map(|node| node.vmid).collect();
        let strays: Vec<&VmObserved> = self
            .world
            .machines
            .values()
            .filter(|machine| {
                let tags = machine.tags();
                tags.contains(&tag) && tags.contains(TAG) && !planned.contains(&machine.vmid.get())
            })
            .collect();
        for machine in strays {
            let name = machine.config.get("name").cloned().unwrap_or_default();
            let is_controlplane = name.starts_with(&format!("{}cp", cluster.name));
            if is_controlplane {
                self.problem(
                    format!(
                        "the tree has no {name} any more: a control plane has to leave etcd first"
                    ),
                    "this version does not remove control planes; raise controlplanes again",
                );
                continue;
            }
            if !self.wish.allow_remove {
                self.problem(
                    format!("the tree has no {name} (VM {}) any more", machine.vmid),
                    "`--allow-remove` removes it with its disks; drain it first",
                );
                continue;
            }
            let sketch = Sketch::new(
                format!("vm/{name}/destroy"),
                Stage::Compute.path(&cluster.folder),
                format!("destroy {name} (VM {}) with its disks", machine.vmid),
            )
            .impact(Impact::Destroy)
            .because("the tree has it no more")
            .token("vmid", machine.vmid.to_string())
            .seconds(10, 900);
            let action = Action::DestroyMachine {
                node: machine.node.clone(),
                vmid: machine.vmid.get(),
                uuid: machine.uuid().unwrap_or_default(),
                name,
            };
            self.step(sketch, action);
        }
    }

    fn config(&mut self, cluster: &'a Cluster, node: &'a Node) {
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
        if let Some(reason) = first {
            let sketch = Sketch::new(
                format!("config/{}", node.name),
                &stage,
                format!("configure {}", node.name),
            )
            .because(reason)
            .after([
                format!("vm/{}/start", node.name),
                format!("vm/{}/change", node.name),
                format!("secrets/{}", cluster.folder),
            ])
            .seconds(60, 1800);
            let (cluster, node) = (cluster.folder.clone(), node.name.clone());
            self.step(sketch, Action::Configure { cluster, node });
        }
        let has_medium = match self.machine(node) {
            Some(machine) => machine.medium(MEDIUM_KEY).is_some(),
            None => true,
        };
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
        let live = running.changes.iter().all(|change| is_live(&change.document, &change.path));
        let (mode, impact) = if live {
            (ApplyMode::NoReboot, Impact::Live)
        } else {
            (ApplyMode::Reboot, Impact::Reboot)
        };
        let mut sketch = Sketch::new(
            format!("reconfig/{}", node.name),
            Stage::Config.path(&cluster.folder),
            format!("change the configuration of {}", node.name),
        )
        .impact(impact)
        .after([format!("vm/{}/change", node.name)])
        .seconds(if live { 3 } else { 120 }, 1800);
        if !live {
            sketch = sketch.token("disruption", cluster.folder.clone());
        }
        for change in &running.changes {
            sketch = sketch.because(change.to_string());
        }
        let (cluster, node) = (cluster.folder.clone(), node.name.clone());
        self.step(sketch, Action::Reconfigure { cluster, node, mode });
    }

    fn bootstrap(&mut self, cluster: &Cluster) {
        if self.wish.target.stage(&cluster.folder, Stage::Bootstrap) != Extent::Full {
            return;
        }
        let Some(seen) = self.world.clusters.get(&cluster.folder) else { return };
        let stage = Stage::Bootstrap.path(&cluster.folder);
        let folder = cluster.folder.clone();
        let controlplanes: Vec<&Node> =
            cluster.nodes.iter().filter(|node| node.role == Role::ControlPlane).collect();
        let started = controlplanes.iter().any(|node| {
            matches!(self.world.nodes.get(&node.name), Some(NodeSeen::Configured(one)) if one.has_etcd)
        });
        if !started {
            let title = format!("bootstrap etcd of cluster {}", cluster.name);
            let sketch = Sketch::new(format!("bootstrap/{folder}"), &stage, title)
                .because("no control plane has it")
                .after(controlplanes.iter().map(|node| format!("config/{}", node.name)))
                .seconds(10, 900);
            self.step(sketch, Action::Bootstrap { cluster: folder.clone() });
        }
        let level = match cluster.cni {
            Cni::None => Level::NodesRegistered,
            Cni::Cilium | Cni::Flannel => Level::NodesReady,
        };
        let lacking = lacking(cluster, level, seen.kubernetes.as_ref());
        let changing = cluster.nodes.iter().any(|node| {
            ["config", "reconfig"].iter().any(|kind| self.has(&format!("{kind}/{}", node.name)))
        });
        if lacking.is_some() || changing {
            let title = format!("wait until cluster {} is at {level}", cluster.name);
            let after = cluster.nodes.iter().flat_map(|node| {
                ["config", "reconfig"].map(|kind| format!("{kind}/{}", node.name))
            });
            let sketch = Sketch::new(format!("await/{folder}"), &stage, title)
                .because(lacking.unwrap_or_else(|| "nodes of it change".to_owned()))
                .after(after)
                .after([format!("bootstrap/{folder}")])
                .seconds(60, 1800);
            self.step(sketch, Action::AwaitCluster { cluster: folder.clone(), level });
        }
        let reasons: Vec<String> =
            [("kubeconfig", &seen.kubeconfig), ("talosconfig", &seen.talosconfig)]
                .into_iter()
                .filter_map(|(name, problem)| Some(format!("{name}: {}", problem.as_ref()?)))
                .collect();
        if !reasons.is_empty() {
            let title = format!("write kubeconfig and talosconfig of cluster {}", cluster.name);
            let mut sketch = Sketch::new(format!("access/{folder}"), &stage, title)
                .after([format!("bootstrap/{folder}"), format!("secrets/{folder}")])
                .after(controlplanes.iter().map(|node| format!("config/{}", node.name)))
                .seconds(1, 600);
            for reason in reasons {
                sketch = sketch.because(reason);
            }
            self.step(sketch, Action::WriteAccess { cluster: folder });
        }
    }
}

/// Why a cluster is not at a level yet; none when it is.
pub fn lacking(
    cluster: &Cluster,
    level: Level,
    kubernetes: Result<&BTreeMap<String, super::kubernetes::NodeState>, &String>,
) -> Option<String> {
    let nodes = match kubernetes {
        Err(why) => return Some(format!("its API server does not answer: {why}")),
        Ok(nodes) => nodes,
    };
    if level == Level::Api {
        return None;
    }
    for node in &cluster.nodes {
        match nodes.get(&node.name) {
            None => return Some(format!("{} is not registered", node.name)),
            Some(state) if level == Level::NodesReady && !state.ready => {
                return Some(format!("{} is not ready: {}", node.name, state.reason));
            }
            Some(_) => {}
        }
    }
    None
}

/// Whether the images have the QEMU guest agent.
pub fn has_agent(crew: &Crew) -> bool {
    let extensions = &crew.images.schematic.official_extensions;
    extensions.iter().any(|name| name == "siderolabs/qemu-guest-agent")
}

/// The ledger's word for an object that cannot carry a mark.
pub fn ledger_kind(kind: sdn::Kind) -> Option<ThingKind> {
    match kind {
        sdn::Kind::Zone => Some(ThingKind::SdnZone),
        sdn::Kind::Controller => Some(ThingKind::SdnController),
        sdn::Kind::Subnet => Some(ThingKind::SdnSubnet),
        sdn::Kind::Vnet => None,
    }
}

/// Whether a change of configuration takes effect without a reboot.
fn is_live(document: &str, path: &str) -> bool {
    if document != "v1alpha1" {
        // Network, time and registry documents are watched by the node.
        return !document.starts_with("VolumeConfig") && !document.starts_with("WatchdogTimer");
    }
    const LIVE: [&str; 17] = [
        "debug",
        "cluster",
        "machine.acceptedCAs",
        "machine.ca",
        "machine.certSANs",
        "machine.controlPlane",
        "machine.features.kubernetesTalosAPIAccess",
        "machine.kernel",
        "machine.kubelet",
        "machine.logging",
        "machine.network",
        "machine.nodeAnnotations",
        "machine.nodeLabels",
        "machine.nodeTaints",
        "machine.pods",
        "machine.sysctls",
        "machine.time",
    ];
    LIVE.iter().any(|live| path == *live || path.starts_with(&format!("{live}.")))
        || ["machine.registries", "machine.seccompProfiles", "machine.token", "machine.sysfs"]
            .iter()
            .any(|live| path.starts_with(live))
}
