//! Images: from the factory, to the Proxmox nodes, to the site's registry.

use std::collections::{BTreeMap, BTreeSet};

use proxmox_client::plan::vm::VmObserved;
use semver::Version;

use super::compute::is_making;
use super::{Draft, Sketch, extension};
use crate::compose::action::Action;
use crate::compose::cilium;
use crate::compose::image::{foreign_file, ledger_id};
use crate::compose::machine::MEDIUM_KEY;
use crate::compose::target::{Extent, IMAGES, REGISTRY, Stage};
use crate::compose::world::NodeSeen;
use crate::engine::Impact;
use crate::spec::site::{Cluster, Node, Role};
use crate::state::StoredFile;

impl Draft<'_> {
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

    pub(super) fn images(&mut self) {
        if self.wish.target.images == Extent::None {
            return;
        }
        let storage = self.world.storages.iso.clone();
        for (version, places) in self.wanted_isos() {
            let Some(images) = self.crew.images.versions.get(&version).cloned() else { continue };
            let file = images.factory.iso_name.clone();
            let known = self.lock_file.images.get(&file);
            let known = known.filter(|pin| pin.talos_version == format!("v{version}"));
            let changed = known.and_then(|pin| changed(&pin.schematic, &self.crew.images.identity));
            let pin = known.filter(|_| changed.is_none()).cloned();
            let volid = format!("{storage}:iso/{file}");
            let mut uploads: Vec<(String, String, Impact)> = Vec::new();
            for node in places {
                let files = self.world.files.get(&node);
                let there = files.and_then(|files| files.iter().find(|one| one.volid == volid));
                let id = ledger_id(&node, &storage, &file);
                let impact = if there.is_some() { Impact::Live } else { Impact::None };
                let reason = match (there, &pin) {
                    (None, _) => "it is not there",
                    // Once it is fetched its length tells; a file of others is not written over.
                    (Some(_), None) => changed
                        .as_deref()
                        .unwrap_or("nothing tells what is in the file that is there"),
                    (Some(there), Some(pin)) => match self.lock_file.stored(&id, there.size, pin) {
                        StoredFile::Wanted => continue,
                        StoredFile::Ours => "the file that is there is another one of ours",
                        StoredFile::Foreign => {
                            let (text, help) = foreign_file(&file, &node, &storage);
                            self.problem(text, help);
                            continue;
                        }
                    },
                };
                if self.world.iso_is_shared && !uploads.is_empty() {
                    continue;
                }
                uploads.push((node, reason.to_owned(), impact));
            }
            let pinned = pin.is_some();
            if !pinned || !uploads.is_empty() {
                self.fetch(&version, &file, pinned, changed.as_deref());
            }
            if self.wish.target.registry > Extent::None {
                for (node, reason, impact) in uploads {
                    self.upload(&version, &file, node, (&reason, impact));
                }
            }
            if self.crew.images.build.is_some() {
                self.build_installer(&version, images.installer_copy.as_deref());
            } else if let Some(copy) = &images.installer_copy
                && !self.lock_file.is_copied(&images.factory.installer, copy)
            {
                let title = format!("copy {} to {copy}", images.factory.installer);
                let sketch = Sketch::new(format!("image/v{version}/installer"), IMAGES, title)
                    .because("the lock file does not tell that it was copied")
                    .after(["image/schematic".to_owned()])
                    .seconds(30, 3600);
                self.step(sketch, Action::CopyInstaller { version: version.to_string() });
            }
        }
        self.tell_of_mirrors();
    }

    /// Nodes may ask mirrors that are not asked from here: where images are read, that is told.
    fn tell_of_mirrors(&mut self) {
        let mirrors = &self.crew.mirrors_not_asked;
        let built = self.crew.images.build.is_some();
        let reads = |action: &Action| {
            matches!(action, Action::CopyInstaller { .. })
                || built && matches!(action, Action::FetchIso { .. })
        };
        if !mirrors.is_empty() && self.steps.actions().any(reads) {
            self.notes.push(format!(
                "images come from their registries themselves, not from: {}",
                mirrors.join(", ")
            ));
        }
    }

    /// The step that pins the image with which a new cluster installs Cilium, where it is given by a
    /// tag alone. Its machines are made after it: an image that is not there is told while there is
    /// nothing of the cluster. Where control planes may have an image already, they keep it.
    pub(super) fn cilium_pin(&mut self, cluster: &Cluster) -> Option<String> {
        let wanted = cilium::wanted_image(cluster).filter(|one| !one.contains('@'))?;
        let is_settled = self.lock_file.references.contains_key(wanted)
            || self.lock_file.kept_cilium_cli_image(cluster.id, wanted).is_some()
            || self.had_etcd(cluster)
            || cluster.nodes.iter().any(|node| self.may_have_manifests(node));
        let is_awaited = self.wish.target.stage(&cluster.folder, Stage::Config) > Extent::None
            || cluster.nodes.iter().any(|node| self.machine(node).is_none_or(is_making));
        if is_settled || !is_awaited {
            return None;
        }
        let id = pin_id(wanted);
        if !self.has(&id) {
            let sketch = Sketch::new(&id, IMAGES, format!("pin {wanted}"))
                .because("it installs Cilium, and its tag may mean another image tomorrow")
                .seconds(1, 120);
            self.step(sketch, Action::PinImage { reference: wanted.to_owned() });
        }
        Some(id)
    }

    /// Whether a node is a control plane that may have a configuration.
    fn may_have_manifests(&self, node: &Node) -> bool {
        node.role == Role::ControlPlane
            && may_be_configured(self.world.nodes.get(&node.name), self.machine(node))
    }

    fn build_installer(&mut self, version: &Version, copy: Option<&str>) {
        let Some(copy) = copy else { return };
        let pin = self.lock_file.images.get(copy);
        if pin.is_some_and(|pin| pin.schematic == self.crew.images.identity) {
            return;
        }
        let reason = match pin {
            None => "the lock file has no digest of it",
            Some(_) => "its extensions, kernel arguments or base have changed",
        };
        let id = format!("image/v{version}/installer");
        let sketch = Sketch::new(id, IMAGES, format!("build {copy} and push it"))
            .because(reason)
            .after([format!("image/v{version}/iso"), extension::STEP.to_owned()])
            .token("build", "images".to_owned())
            .seconds(60, 3600);
        self.step(sketch, Action::CopyInstaller { version: version.to_string() });
    }

    /// Fetches or builds an image: to put it where it lacks, or since another schematic or none is
    /// in the lock file.
    fn fetch(&mut self, version: &Version, file: &str, pinned: bool, changed: Option<&str>) {
        if self.crew.images.build.is_some() {
            let count = self.crew.images.build.as_ref().map_or(0, |build| build.extensions.len());
            let reason = if let Some(changed) = changed {
                changed.to_owned()
            } else if pinned {
                "it is put on a node that lacks it; its digest is in the lock file".to_owned()
            } else {
                format!("nothing was built yet of these {count} extension(s) and arguments")
            };
            let id = format!("image/v{version}/iso");
            let sketch = Sketch::new(id, IMAGES, format!("build {file}"))
                .because(reason)
                .after([extension::STEP.to_owned()])
                .token("build", "images".to_owned())
                .seconds(60, 3600);
            self.step(sketch, Action::FetchIso { version: version.to_string() });
            return;
        }
        if !self.has("image/schematic") {
            let id = self.crew.images.schematic_id.as_str();
            let title = format!("tell the factory schematic {}", short(id));
            let sketch = Sketch::new("image/schematic", IMAGES, title)
                .because(format!("{} asks for it", self.crew.images.factory))
                .seconds(1, 120);
            self.step(sketch, Action::Schematic);
        }
        let reason = if pinned {
            "it is put on a node that lacks it; its digest is in the lock file"
        } else {
            changed.unwrap_or("the lock file has no digest of it")
        };
        let sketch = Sketch::new(format!("image/v{version}/iso"), IMAGES, format!("fetch {file}"))
            .because(reason)
            .after(["image/schematic".to_owned()])
            .seconds(60, 3600);
        self.step(sketch, Action::FetchIso { version: version.to_string() });
    }

    fn upload(
        &mut self,
        version: &Version,
        file: &str,
        node: String,
        (reason, impact): (&str, Impact),
    ) {
        let storage = self.world.storages.iso.clone();
        let place = if self.world.iso_is_shared { "the shared storage" } else { &node };
        let title = format!("put {file} on {storage} of {place}");
        let sketch = Sketch::new(format!("upload/{node}/{file}"), REGISTRY, title)
            .because(reason)
            .impact(impact)
            .after([format!("image/v{version}/iso")])
            .token("upload", node.clone())
            .seconds(20, 3600);
        self.step(sketch, Action::Upload { version: version.to_string(), node, storage });
    }
}

/// Whether a node may have a configuration, as far as it and its machine tell.
fn may_be_configured(seen: Option<&NodeSeen>, machine: Option<&VmObserved>) -> bool {
    let made = machine.filter(|machine| !is_making(machine));
    match seen {
        Some(NodeSeen::Configured(_)) => true,
        Some(NodeSeen::Maintenance) | None => false,
        // Its medium stays in its drive until it has proven that it runs from its disk.
        Some(NodeSeen::Unknown(_)) => made.is_some(),
        // Without a medium it was installed. With one it was hardly started: where it was switched
        // off between its configuration and the proof that it runs, the lock file tells; whoever
        // lost that file too may see the image that installs Cilium chosen anew.
        Some(NodeSeen::Off) => made.is_some_and(|machine| machine.medium(MEDIUM_KEY).is_none()),
    }
}

/// The step that pins an image.
fn pin_id(reference: &str) -> String {
    format!("image/{reference}/pin")
}

/// What is told of an image that the lock file has of another schematic.
fn changed(before: &str, after: &str) -> Option<String> {
    (before != after)
        .then(|| format!("the schematic changed from {} to {}", short(before), short(after)))
}

/// An id as people tell it from others.
fn short(id: &str) -> String {
    let start: String = id.chars().take(12).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use proxmox_client::VmId;

    use super::*;

    #[test]
    fn another_schematic_is_told_by_the_short_ids_of_both() {
        let (one, other) = ("a".repeat(64), "b".repeat(64));
        assert_eq!(changed(&one, &one), None);
        let told = "the schematic changed from aaaaaaaaaaaa… to bbbbbbbbbbbb…";
        assert_eq!(changed(&one, &other).as_deref(), Some(told));
    }

    #[test]
    fn a_medium_proves_nothing_of_a_node_that_runs_and_does_not_answer() {
        let machine = |lock: Option<&str>, medium: Option<&str>| VmObserved {
            vmid: VmId::try_from(101_011).unwrap(),
            node: "pve01".to_owned(),
            running: true,
            lock: lock.map(str::to_owned),
            config: medium
                .map(|value| (MEDIUM_KEY.to_owned(), value.to_owned()))
                .into_iter()
                .collect(),
            pending: BTreeSet::new(),
        };
        let iso = Some("local:iso/talos.iso,media=cdrom");
        let (with, without) = (machine(None, iso), machine(None, Some("none,media=cdrom")));
        let unknown = NodeSeen::Unknown("no answer".to_owned());
        let making = machine(Some("create"), iso);
        let may = |seen, machine| may_be_configured(Some(seen), machine);
        assert!(may(&unknown, Some(&with)) && may(&unknown, Some(&without)));
        assert!(!may(&unknown, Some(&making)) && !may(&unknown, None));
        // One that is off never started from its medium, or was installed and lost it.
        assert!(!may(&NodeSeen::Off, Some(&with)) && may(&NodeSeen::Off, Some(&without)));
        assert!(!may(&NodeSeen::Maintenance, Some(&with)) && !may_be_configured(None, None));
    }
}
