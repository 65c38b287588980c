//! Zone, controller, VNets, subnets.

use std::collections::BTreeSet;

use proxmox_client::plan::sdn;

use super::{Draft, Sketch, ledger_kind};
use crate::compose::action::Action;
use crate::compose::network;
use crate::compose::target::{Extent, SDN};
use crate::engine::Impact;
use crate::state::LedgerEntry;

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
        let ledger = &self.lock_file.ledger;
        let is_ours = |object: &sdn::Object| {
            network::is_marked(object)
                || ledger_kind(object.kind).is_some_and(|kind| {
                    ledger.contains(&LedgerEntry { kind, id: object.id.clone() })
                })
        };
        if full {
            let titles: BTreeSet<String> = desired.iter().map(sdn::Object::title).collect();
            let objects = self.world.sdn.objects.iter().filter(|object| is_ours(object));
            let left: Vec<String> =
                objects.map(sdn::Object::title).filter(|title| !titles.contains(title)).collect();
            if !left.is_empty() {
                self.notes.push(format!(
                    "made here, and the tree has it no more: {}: it stays until it is removed by hand",
                    left.join(", ")
                ));
            }
        }
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
        self.step(sketch, Action::Networks { plan: found });
    }
}
