//! The networks' transaction.

use std::collections::BTreeSet;

use proxmox_client::NodeName;
use proxmox_client::ensure::SdnOptions;
use proxmox_client::plan::sdn::{SdnChange, SdnObserved, SdnPlan, diff};

use super::Hands;
use super::verdict::{own, proxmox};
use crate::compose::neighbour::network_users;
use crate::compose::network::{NETWORKS, REMOVAL, ledger_entry, title_of, vnets_that_go};
use crate::compose::observe::node_name;
use crate::engine::{Check, StepContext, StepError, StepId};
use crate::state::{LedgerEntry, LockFile};

impl Hands {
    pub(super) async fn check_networks(&self, plan: &SdnPlan) -> Result<Check, StepError> {
        let observed = self.observed().await?;
        let is_done = plan.changes.iter().all(|change| is_there(change, &observed));
        if !(is_done && observed.pending.is_empty()) {
            return Ok(Check::Ready);
        }
        // Also where the answer to the change was lost.
        self.forget(&removed(plan))?;
        self.forget_gone(&plan.unapplied, &observed)?;
        Ok(Check::Done("they are as they should be".to_owned()))
    }

    async fn observed(&self) -> Result<SdnObserved, StepError> {
        self.crew.proxmox.sdn().observe().await.map_err(proxmox("read the networks"))
    }

    /// Carries the plan out as one transaction. A lock that an interrupted run of ours left is
    /// taken over: the site's own lock says that no other run is at work.
    pub(super) async fn change_networks(
        &self,
        step: &StepId,
        plan: &SdnPlan,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let options = SdnOptions {
            nodes: self.all_nodes().await?,
            take_over_lock: self.may_hold_lock(),
            ..SdnOptions::default()
        };
        self.nobody_on(plan).await?;
        // Written down first: whatever is cut from here on, what was made is known as ours.
        let noted = self.note(plan)?;
        context.mark("network-transaction", "begun")?;
        context.waiting(format!("{} change(s), then the nodes reload", plan.changes.len()));
        let done = self.crew.proxmox.sdn().carry_out(plan, &options).await;
        match done {
            Ok(_) => {}
            Err(error) if error.may_have_been_applied() => {
                // A lock of the networks that is held from here on may be ours.
                self.note_interrupted(step);
                return Err(proxmox("change the networks")(error));
            }
            Err(error) => {
                // Nothing of it took effect. What was ours before stays: its removal may wait.
                self.forget(&noted)?;
                return Err(proxmox("change the networks")(error));
            }
        }
        self.forget(&removed(plan))?;
        match plan.unapplied.is_empty() {
            true => Ok(()),
            false => self.forget_gone(&plan.unapplied, &self.observed().await?),
        }
    }

    /// Whether the lock of the networks, where one is held, may be that of a run of ours: what
    /// removes networks takes the same one as what makes them.
    fn may_hold_lock(&self) -> bool {
        [NETWORKS, REMOVAL].into_iter().any(|id| self.was_interrupted(&StepId::new(id)))
    }

    /// Every Proxmox node: applying networks applies what waits on any of them.
    async fn all_nodes(&self) -> Result<Vec<NodeName>, StepError> {
        let rows = self.crew.proxmox.nodes().await.map_err(proxmox("list the Proxmox nodes"))?;
        rows.iter().map(|row| node_name(&row.node).map_err(own)).collect()
    }

    /// Proxmox removes a network whoever is on it: somebody may be since the plan was made.
    async fn nobody_on(&self, plan: &SdnPlan) -> Result<(), StepError> {
        let observed = match plan.unapplied.is_empty() {
            true => SdnObserved::default(),
            false => self.observed().await?,
        };
        let vnets = vnets_that_go(plan, &observed);
        if vnets.is_empty() {
            return Ok(());
        }
        let users = network_users(&self.crew).await.map_err(own)?;
        match vnets.iter().find_map(|vnet| Some((vnet, users.of(vnet, &BTreeSet::new())?))) {
            None => Ok(()),
            Some((vnet, user)) => Err(StepError::failed_with_help(
                format!("{vnet} stays: {user} is on it"),
                "run plan again: it shows what can go",
            )),
        }
    }

    /// Remembers what is made here; returns what was not known before.
    fn note(&self, plan: &SdnPlan) -> Result<BTreeSet<LedgerEntry>, StepError> {
        let made = entries(plan, |change| matches!(change, SdnChange::Create { .. }));
        let mut noted = BTreeSet::new();
        let write = |lock: &mut LockFile| {
            noted = made.difference(&lock.ledger).cloned().collect();
            lock.ledger.extend(made);
        };
        self.crew.update_lock_file(write).map_err(own)?;
        Ok(noted)
    }

    /// Forgets what an earlier run had removed and this one has applied.
    fn forget_gone(&self, titles: &[String], observed: &SdnObserved) -> Result<(), StepError> {
        let is_gone = |title: &String| {
            titles.contains(title) && !observed.objects.iter().any(|one| one.title() == *title)
        };
        let keep = |entry: &LedgerEntry| !title_of(entry).is_some_and(|title| is_gone(&title));
        self.crew.update_lock_file(|lock| lock.ledger.retain(keep)).map_err(own)
    }

    fn forget(&self, entries: &BTreeSet<LedgerEntry>) -> Result<(), StepError> {
        self.crew
            .update_lock_file(|lock| lock.ledger.retain(|entry| !entries.contains(entry)))
            .map_err(own)
    }
}

fn is_there(change: &SdnChange, observed: &SdnObserved) -> bool {
    let object = change.object();
    match change {
        SdnChange::Delete { .. } => {
            !observed.objects.iter().any(|one| one.kind == object.kind && one.id == object.id)
        }
        SdnChange::Create { .. } | SdnChange::Update { .. } => {
            diff(std::slice::from_ref(object), observed, |_| true, false).changes.is_empty()
        }
    }
}

/// What a plan removes.
fn removed(plan: &SdnPlan) -> BTreeSet<LedgerEntry> {
    entries(plan, |change| matches!(change, SdnChange::Delete { .. }))
}

fn entries(plan: &SdnPlan, which: fn(&SdnChange) -> bool) -> BTreeSet<LedgerEntry> {
    let changes = plan.changes.iter().filter(|change| which(change));
    changes.map(|change| ledger_entry(change.object())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::compose::crew::tests::crew;
    use crate::compose::machine::Storages;

    #[test]
    fn a_lock_that_either_step_left_is_taken_over_by_both() {
        let crew = Arc::new(crew(12, "controlplanes = 1\n"));
        let may = |cut: &[&str]| {
            let storages = Storages { iso: "local".into(), vm: "local".into() };
            let cut = cut.iter().map(|id| (*id).to_owned()).collect();
            Hands::new(Arc::clone(&crew), storages, cut).may_hold_lock()
        };
        assert!(may(&[NETWORKS]) && may(&[REMOVAL]));
        assert!(!may(&[]) && !may(&["vm/solcp01/create"]));
    }
}
