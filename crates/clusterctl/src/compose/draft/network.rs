//! Zone, controller, VNets, subnets.

use std::collections::BTreeSet;

use proxmox_client::plan::sdn;

use super::{Draft, Sketch};
use crate::compose::action::Action;
use crate::compose::network;
use crate::compose::target::{Extent, SDN};
use crate::engine::Impact;
use crate::state::LedgerEntry;

/// The step that removes networks.
const REMOVAL: &str = "networks/remove";

impl Draft<'_> {
    pub(super) fn networks(&mut self) {
        let extent = self.wish.target.sdn;
        if extent == Extent::None || self.crew.site.sdn.is_none() {
            return;
        }
        let full = extent == Extent::Full;
        let desired = if full {
            network::desired(&self.crew.site, &self.world.peers)
        } else {
            let mut needed: Vec<_> = self
                .meant()
                .flat_map(|cluster| network::needed_by(&self.crew.site, cluster, &self.world.peers))
                .collect();
            needed.sort();
            needed.dedup();
            needed
        };
        let ledger = self.lock_file.ledger.clone();
        if full {
            self.left_networks(&desired, &ledger);
        }
        let is_ours = |object: &sdn::Object| network::is_ours(object, &ledger);
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
        self.unapplied_networks();
        let mut sketch = Sketch::new("networks", SDN, "change the networks and apply them")
            .after([REMOVAL.to_owned()])
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
        self.step(sketch, Action::Networks { plan: found });
    }

    /// What was made here and the tree has no more: it is named, and with `--allow-remove` removed
    /// unless a guest is on it.
    fn left_networks(&mut self, desired: &[sdn::Object], ledger: &BTreeSet<LedgerEntry>) {
        let titles: BTreeSet<String> = desired.iter().map(sdn::Object::title).collect();
        let objects = self.world.sdn.objects.iter();
        // The mark of a VNet does not tell which tree it is of: the ledger is this one's.
        let (left, others): (Vec<sdn::Object>, Vec<sdn::Object>) = objects
            .filter(|one| !titles.contains(&one.title()) && network::is_ours(one, ledger))
            .cloned()
            .partition(|one| ledger.contains(&network::ledger_entry(one)));
        let zone = self.crew.site.sdn.as_ref().map(|sdn| &sdn.zone_id);
        let others = others.iter().filter(|one| one.fields.get("zone") == zone);
        let others: Vec<String> = others.map(sdn::Object::title).collect();
        if !others.is_empty() {
            self.notes.push(format!(
                "made by clusterctl, and for another tree or before the lock file: {}: it stays \
                 until it is removed by hand",
                others.join(", ")
            ));
        }
        if left.is_empty() {
            return;
        }
        if !self.wish.allow_remove {
            let names: Vec<String> = left.iter().map(sdn::Object::title).collect();
            self.notes.push(format!(
                "made here, and the tree has it no more: {}: it stays; `--allow-remove` removes it",
                names.join(", ")
            ));
            return;
        }
        let mut unused = Vec::new();
        for object in left {
            let user = network::vnet_of(&object)
                .and_then(|vnet| self.world.network_users.of(vnet, &BTreeSet::new()));
            match user {
                Some(user) => self.notes.push(format!(
                    "{} stays, which the tree has no more: {user} is on it",
                    object.title()
                )),
                None => unused.push(object),
            }
        }
        let found = sdn::removal(&unused, &self.world.sdn, |one| network::is_ours(one, ledger));
        let stays = found.conflicts.iter();
        self.notes.extend(stays.map(|why| format!("networks: {why}; it stays")));
        if found.changes.is_empty() {
            return;
        }
        self.unapplied_networks();
        let title = "remove networks that the tree has no more, and apply that";
        let mut sketch = Sketch::new(REMOVAL, SDN, title)
            .impact(Impact::Destroy)
            .token("cluster-file", "sdn")
            .seconds(15, 1500);
        for change in &found.changes {
            sketch = sketch.because(change.to_string());
        }
        let plan = sdn::SdnPlan { conflicts: Vec::new(), ..found };
        self.step(sketch, Action::Networks { plan });
    }

    /// What was changed on the nodes and waits to be applied would be applied with ours.
    fn unapplied_networks(&mut self) {
        for node in &self.world.pending_networks {
            self.problem(
                format!("Proxmox node {node} has network changes that are not applied"),
                "apply or revert them there: applying the networks of the cluster would apply them too",
            );
        }
    }
}
