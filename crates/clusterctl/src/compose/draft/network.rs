//! Zone, controller, VNets, subnets.

use std::collections::BTreeSet;

use proxmox_client::plan::sdn;

use super::{Draft, Sketch};
use crate::compose::action::Action;
use crate::compose::network::{self, NETWORKS, REMOVAL, Removal};
use crate::compose::target::{Extent, SDN};
use crate::compose::world::World;
use crate::engine::Impact;
use crate::state::LedgerEntry;

impl Draft<'_> {
    /// What goes is removed first, after the machines that go: numbers and prefixes that it had may
    /// be given to something else in the same plan.
    pub(super) fn networks(&mut self) {
        let extent = self.wish.target.sdn;
        let ledger = self.lock_file.ledger.clone();
        if extent == Extent::None || !network::has_any(&self.crew.site, &ledger) {
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
        let mut removal = match full {
            true => self.left_networks(&desired, &ledger),
            false => Removal::default(),
        };
        removal.apply_too(&desired, &self.world.sdn);
        let stays = removal.leaves(&self.world.sdn);
        let (made, help) = match full {
            true => (
                desired.clone(),
                "`--allow-remove` removes what was made here and the tree has no more, once no guest \
                 is on it; what others made is theirs: change the tree",
            ),
            // What is there stays as it is.
            false => (
                network::absent(&desired, &stays),
                "`clusterctl apply common` changes and removes networks of the tree; what others made \
                 is theirs: change the tree",
            ),
        };
        for clash in network::clashes(&made, &stays) {
            self.problem(format!("networks: {clash}"), help);
        }
        let is_ours = |object: &sdn::Object| network::is_ours(object, &ledger);
        let found = sdn::diff(&desired, &stays, is_ours, !full);
        let of_others: BTreeSet<String> = removal.of_others(&self.world.sdn).into_iter().collect();
        for conflict in of_others.union(&found.conflicts.iter().cloned().collect()) {
            self.problem(
                format!("networks: {conflict}"),
                "change the tree, or the networks by hand; nothing of others is overwritten",
            );
        }
        let changes = !(found.changes.is_empty() && found.unapplied.is_empty());
        if changes || !removal.is_empty() {
            self.problems.extend(network::unapplied(self.world));
        }
        if !removal.is_empty() {
            let vnets = removal.vnets(&self.world.sdn);
            let is_on = |vmid| vnets.iter().any(|vnet| self.world.network_users.is_on(vnet, vmid));
            let machines = self.steps.removing(is_on);
            let title = "remove networks that the tree has no more, and apply that";
            let sketch = removal.step(title, machines);
            self.step(sketch, Action::Networks { plan: removal.plan });
        }
        if changes {
            self.changed_networks(found, full);
        }
    }

    fn changed_networks(&mut self, found: sdn::SdnPlan, full: bool) {
        let mut sketch = Sketch::new(NETWORKS, SDN, "change the networks and apply them")
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
    fn left_networks(
        &mut self,
        desired: &[sdn::Object],
        ledger: &BTreeSet<LedgerEntry>,
    ) -> Removal {
        self.tell_of_networks_of_others(desired, ledger);
        let left = network::left(desired, &self.world.sdn, ledger);
        if self.wish.allow_remove {
            let gone = self.steps.machines_that_go();
            let World { sdn, network_users, .. } = self.world;
            let removal = network::removal(left, sdn, ledger, network_users, &gone);
            let used = removal.used.iter().map(|why| format!("the tree has no more: {why}"));
            self.notes.extend(used.chain(removal.needed.iter().cloned()));
            return removal;
        }
        let told = |titles: Vec<String>, what: &str, does: &str| {
            let is_any = !titles.is_empty();
            is_any.then(|| {
                format!("{what}: {}: it stays; `--allow-remove` {does}", titles.join(", "))
            })
        };
        // What this plan changes or makes again does not stay, and is told there.
        let is_ours = |object: &sdn::Object| network::is_ours(object, ledger);
        let changes = sdn::diff(desired, &self.world.sdn, is_ours, false).changes;
        let changed: BTreeSet<String> = changes.iter().map(|one| one.object().title()).collect();
        let left = left.iter().filter(|one| !changed.contains(&one.title()));
        let left = left.map(|one| network::name_of_left(one, desired)).collect();
        self.notes.extend(told(left, "made here, and the tree has no more", "removes it"));
        let mut removed = network::unapplied_removals(&self.world.sdn, ledger);
        removed.retain(|title| !changed.contains(title));
        self.notes.extend(told(removed, "removed here, and not applied", "applies that"));
        Removal::default()
    }

    /// VNets with our mark that the ledger does not know, in a zone that is this tree's.
    fn tell_of_networks_of_others(
        &mut self,
        desired: &[sdn::Object],
        ledger: &BTreeSet<LedgerEntry>,
    ) {
        let zones: BTreeSet<&str> = desired
            .iter()
            .chain(&self.world.sdn.objects)
            .filter(|one| one.kind == sdn::Kind::Zone)
            .filter(|one| desired.contains(one) || ledger.contains(&network::ledger_entry(one)))
            .map(|one| one.id.as_str())
            .collect();
        let is_theirs = |one: &&sdn::Object| {
            network::is_marked(one)
                && !ledger.contains(&network::ledger_entry(one))
                && !desired.iter().any(|wanted| wanted.title() == one.title())
                && one.fields.get("zone").is_some_and(|zone| zones.contains(zone.as_str()))
        };
        let others = self.world.sdn.objects.iter().filter(is_theirs);
        let others: Vec<String> = others.map(sdn::Object::title).collect();
        if !others.is_empty() {
            self.notes.push(format!(
                "made by clusterctl, and for another tree or before the lock file: {}: it stays \
                 until it is removed by hand",
                others.join(", ")
            ));
        }
    }
}
