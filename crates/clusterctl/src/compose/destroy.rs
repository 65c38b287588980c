//! From what is there to a plan that removes it: a pure function.
//!
//! Only what is proven to be ours goes: machines by their UUID and tags, VNets by their mark,
//! zones, subnets, controllers and files by the ledger. Whatever else is found stays, and is
//! named. Nothing of it asks a cluster whether it is well: a sick one must be removable too.

use std::collections::BTreeSet;

use proxmox_client::plan::vm::VmObserved;

use super::action::Action;
use super::crew::Crew;
use super::draft::{Drafted, Problem};
use super::network;
use super::proof::{has_tags_of, lost_its_tags, made_for, tags_back_of};
use super::sketch::{Sketch, Steps};
use super::target::{Extent, REGISTRY, Stage, Target};
use super::world::World;
use crate::engine::{Base, Impact, Plan};
use crate::error::Error;
use crate::spec::site::Cluster;
use crate::state::ThingKind;

/// Makes the plan that removes what a target has made.
///
/// # Errors
/// The steps have no order: a mistake of this program.
pub fn destroy(crew: &Crew, world: &World, target: &Target, base: Base) -> Result<Drafted, Error> {
    let mut razing = Razing {
        crew,
        world,
        steps: Steps::default(),
        problems: Vec::new(),
        left: Vec::new(),
        clusters: BTreeSet::new(),
    };
    for cluster in &crew.site.clusters {
        if target.stage(&cluster.folder, Stage::Compute) == Extent::Full {
            razing.cluster(cluster);
        } else if target.stage(&cluster.folder, Stage::Bootstrap) == Extent::Full {
            razing.access(cluster);
        }
    }
    if target.registry == Extent::Full {
        razing.files();
    }
    if target.sdn == Extent::Full {
        razing.networks();
    }
    let Razing { steps, problems, mut left, clusters, .. } = razing;
    left.sort();
    left.dedup();
    let mut plan = Plan::new(base, target.names.clone(), steps.into_steps()).map_err(|error| {
        Error::new(crate::error::ErrorKind::Bug, "order the plan").because(error)
    })?;
    plan.notes = left;
    Ok(Drafted { plan, problems, clusters })
}

struct Razing<'a> {
    crew: &'a Crew,
    world: &'a World,
    steps: Steps,
    problems: Vec<Problem>,
    /// What stays, each with its reason.
    left: Vec<String>,
    clusters: BTreeSet<String>,
}

impl Razing<'_> {
    fn cluster(&mut self, cluster: &Cluster) {
        let before = self.steps.len();
        for machine in self.machines_of(cluster) {
            self.machine(cluster, &machine);
        }
        self.access(cluster);
        if self.steps.len() > before {
            self.clusters.insert(cluster.name.clone());
        }
        self.left.push(format!(
            "the secrets of cluster {} stay: {} is yours to delete",
            cluster.name,
            self.crew.layout.bundle(&cluster.folder).display()
        ));
    }

    /// Machines under the numbers of a cluster, and all others that carry its tag.
    fn machines_of(&self, cluster: &Cluster) -> Vec<VmObserved> {
        let tag = format!("cluster-{}", cluster.id);
        let planned: BTreeSet<u32> = cluster.nodes.iter().map(|node| node.vmid).collect();
        let machines = self.world.machines.values().filter(|machine| {
            planned.contains(&machine.vmid.get()) || machine.tags().contains(&tag)
        });
        machines.cloned().collect()
    }

    fn machine(&mut self, cluster: &Cluster, machine: &VmObserved) {
        let name = machine.config.get("name").cloned().unwrap_or_default();
        let vmid = machine.vmid.get();
        let planned = cluster.nodes.iter().find(|node| node.vmid == vmid);
        let uuid = machine.uuid();
        let is_ours = match planned {
            Some(node) => has_tags_of(cluster, machine) && uuid == Some(node.uuid.to_string()),
            None => made_for(&self.crew.site, cluster, machine).is_some(),
        };
        // A machine that nobody finished making has its number and not yet its configuration.
        let is_making = planned.is_some() && machine.lock.as_deref() == Some("create");
        if is_making {
            self.problems.push(Problem {
                text: format!("VM {vmid} is locked (create): it is being made"),
                help: "wait for its task; a lock that nothing holds any more is removed with `qm unlock`".into(),
            });
            return;
        }
        if !is_ours {
            let why = if lost_its_tags(&self.crew.site, cluster, machine) {
                format!("it is ours without its tags; {}", tags_back_of(cluster))
            } else {
                "it was not made here".to_owned()
            };
            self.left.push(format!("VM {vmid} {name} on {} stays: {why}", machine.node));
            return;
        }
        if let Some(lock) = &machine.lock {
            self.problems.push(Problem {
                text: format!("VM {vmid} {name} is locked ({lock})"),
                help: "wait for what holds it; a lock that nothing holds any more is removed with `qm unlock`".into(),
            });
            return;
        }
        if machine.config.get("protection").is_some_and(|value| value == "1") {
            self.problems.push(Problem {
                text: format!("VM {vmid} {name} is protected from removal"),
                help: format!("if it may go: `qm set {vmid} --protection 0` on {}", machine.node),
            });
            return;
        }
        let disks: Vec<&str> = machine
            .config
            .keys()
            .map(String::as_str)
            .filter(|key| key.starts_with("scsi") && *key != "scsihw")
            .collect();
        let sketch = Sketch::new(
            format!("vm/{name}/destroy"),
            Stage::Compute.path(&cluster.folder),
            format!("destroy {name} (VM {vmid}) with its disks on {}", machine.node),
        )
        .impact(Impact::Destroy)
        .because(format!("{} disk(s): {}", disks.len(), disks.join(", ")))
        .because(if machine.running { "it runs: it is stopped first" } else { "it is stopped" })
        .token("vmid", vmid.to_string())
        .seconds(10, 900);
        let action = Action::DestroyMachine {
            node: machine.node.clone(),
            vmid,
            uuid: uuid.unwrap_or_default(),
            name,
        };
        self.steps.add(sketch, action);
    }

    fn access(&mut self, cluster: &Cluster) {
        let layout = &self.crew.layout;
        let files = [layout.kubeconfig(&cluster.folder), layout.talosconfig(&cluster.folder)];
        let mut there: Vec<String> = files
            .iter()
            .filter(|path| path.exists())
            .map(|path| path.display().to_string())
            .collect();
        if self.crew.lock_file().cluster(cluster.id).is_some() {
            there.push("its versions in the lock file".to_owned());
        }
        if there.is_empty() {
            return;
        }
        let machines = self.steps.ids().map(str::to_owned).collect::<Vec<_>>();
        let sketch = Sketch::new(
            format!("access/{}/remove", cluster.folder),
            Stage::Bootstrap.path(&cluster.folder),
            format!("remove kubeconfig and talosconfig of cluster {}", cluster.name),
        )
        .impact(Impact::Destroy)
        .because(there.join(", "))
        .after(machines)
        .seconds(1, 60);
        self.steps.add(sketch, Action::RemoveAccess { cluster: cluster.folder.clone() });
    }

    /// ISO files that the ledger says are ours, unless a machine that stays has one in a drive.
    fn files(&mut self) {
        let lock_file = self.crew.lock_file();
        for entry in lock_file.ledger.iter().filter(|one| one.kind == ThingKind::StorageFile) {
            let Some((node, volid)) = entry.id.split_once('/') else { continue };
            let Some((storage, file)) = volid.split_once(":iso/") else { continue };
            let there = self.world.files.get(node);
            if !there.is_some_and(|files| files.iter().any(|one| one.volid == volid)) {
                continue;
            }
            if let Some(user) = self.user_of(|value| value.split(',').next() == Some(volid)) {
                self.left
                    .push(format!("{file} on {storage} of {node} stays: {user} has it in a drive"));
                continue;
            }
            let machines: Vec<String> = self.steps.ids().map(str::to_owned).collect();
            let sketch = Sketch::new(
                format!("upload/{node}/{file}/remove"),
                REGISTRY,
                format!("remove {file} from {storage} of {node}"),
            )
            .impact(Impact::Destroy)
            .because("it was put there from here")
            .after(machines)
            .token("upload", node)
            .seconds(2, 300);
            let action = Action::RemoveIso {
                file: file.to_owned(),
                node: node.to_owned(),
                storage: storage.to_owned(),
            };
            self.steps.add(sketch, action);
        }
    }

    /// A machine that stays and has a value that fits; its name for people.
    fn user_of(&self, fits: impl Fn(&str) -> bool) -> Option<String> {
        let gone = self.steps.machines_that_go();
        let stays = |machine: &&VmObserved| !gone.contains(&machine.vmid.get());
        let uses = |machine: &&VmObserved| machine.config.values().any(|value| fits(value));
        let found = self.world.machines.values().filter(stays).find(uses)?;
        let name = found.config.get("name").cloned().unwrap_or_default();
        Some(format!("VM {} {name}", found.vmid))
    }

    fn networks(&mut self) {
        let ledger = self.crew.lock_file().ledger;
        let unwanted = network::present(&self.crew.site, self.world, &ledger);
        let gone = self.steps.machines_that_go();
        let World { sdn, network_users, .. } = self.world;
        let removal = network::removal(unwanted, sdn, &ledger, network_users, &gone);
        self.left.extend(removal.used.iter().chain(&removal.needed).cloned());
        if removal.is_empty() {
            return;
        }
        let of_others = removal.of_others(sdn).into_iter();
        self.problems.extend(of_others.map(|conflict| Problem {
            text: format!("networks: {conflict}"),
            help: "apply or revert it in Proxmox: it would be applied with the removal".to_owned(),
        }));
        self.problems.extend(network::unapplied(self.world));
        let before = self.steps.ids().map(str::to_owned).collect();
        let sketch = removal.step("remove the networks and apply that", before);
        self.steps.add(sketch, Action::Networks { plan: removal.plan });
    }
}
