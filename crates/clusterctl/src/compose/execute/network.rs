//! The networks' transaction.

use std::time::Duration;

use proxmox_client::plan::sdn::{Kind, SdnChange, SdnPlan, diff};

use super::Hands;
use super::verdict::{own, proxmox};
use crate::compose::action::Action;
use crate::compose::draft::ledger_kind;
use crate::compose::network;
use crate::compose::observe::node_name;
use crate::engine::{Check, Step, StepContext, StepError};
use crate::state::LedgerEntry;

/// Pause between two looks at what the nodes say of a zone.
const LOOK: Duration = Duration::from_millis(500);

impl Hands {
    /// What is left of the planned changes.
    async fn left(&self, changes: &[SdnChange]) -> Result<SdnPlan, StepError> {
        let observed =
            self.crew.proxmox.sdn().observe().await.map_err(proxmox("read the networks"))?;
        let mut wanted: Vec<_> = changes.iter().map(|change| change.object().clone()).collect();
        if wanted.is_empty() {
            wanted = network::desired(&self.crew.site);
        }
        // The plan has settled what may be changed.
        let mut left = diff(&wanted, &observed, |_| true, false);
        left.conflicts.clear();
        Ok(left)
    }

    pub(super) async fn check_networks(&self, step: &Step<Action>) -> Result<Check, StepError> {
        let Action::Networks { changes } = &step.action else { return Ok(Check::Ready) };
        let left = self.left(changes).await?;
        Ok(if left.changes.is_empty() && left.unapplied.is_empty() {
            Check::Done("they are as they should be".to_owned())
        } else {
            Check::Ready
        })
    }

    pub(super) async fn change_networks(
        &self,
        step: &Step<Action>,
        changes: &[SdnChange],
        context: &StepContext,
    ) -> Result<(), StepError> {
        let sdn = self.crew.proxmox.sdn();
        let token = self.network_lock(step, context).await?;
        let left = self.left(changes).await?;
        for change in &left.changes {
            context.waiting(change.to_string());
            if let Err(error) = sdn.save(change, token.as_deref()).await {
                let verdict = proxmox(&change.to_string())(error);
                if matches!(verdict, StepError::Failed { .. })
                    && let Some(token) = &token
                {
                    // Nothing of it has taken effect: leave the site as it was.
                    match sdn.rollback(token).await {
                        Ok(()) => {}
                        Err(error) => tracing::warn!(%error, "the networks were not rolled back"),
                    }
                }
                return Err(verdict);
            }
            self.note_made(change)?;
        }
        context.waiting("the nodes reload their networks");
        sdn.apply(token.as_deref()).await.map_err(proxmox("apply the networks"))
    }

    /// Keeps others from writing. A lock that an interrupted run of ours left is taken over: the
    /// site's own lock says that no other run is at work.
    async fn network_lock(
        &self,
        step: &Step<Action>,
        context: &StepContext,
    ) -> Result<Option<String>, StepError> {
        if !self.has_network_lock {
            return Ok(None);
        }
        let sdn = self.crew.proxmox.sdn();
        let ours_was_cut = self.interrupted.iter().any(|id| id == step.id.as_str());
        let token = match sdn.lock().await {
            Err(error) if error.kind() == proxmox_client::ErrorKind::Busy && ours_was_cut => {
                sdn.unlock(None)
                    .await
                    .map_err(proxmox("release the lock of a run that was cut"))?;
                sdn.lock().await
            }
            other => other,
        };
        let token = token.map_err(proxmox("lock the networks"))?;
        context.mark("network-lock", "held")?;
        Ok(Some(token))
    }

    /// Remembers what cannot carry a mark of ours.
    fn note_made(&self, change: &SdnChange) -> Result<(), StepError> {
        let SdnChange::Create { object } = change else { return Ok(()) };
        let Some(kind) = ledger_kind(object.kind) else { return Ok(()) };
        let entry = LedgerEntry { kind, id: object.id.clone() };
        self.crew
            .update_lock_file(|lock| {
                lock.ledger.insert(entry);
            })
            .map_err(own)
    }

    pub(super) async fn verify_networks(&self) -> Result<(), StepError> {
        let Some(sdn) = &self.crew.site.sdn else { return Ok(()) };
        let saved =
            self.crew.proxmox.sdn().observe().await.map_err(proxmox("read the networks"))?;
        let exists = |id: &str| {
            saved.objects.iter().any(|object| object.kind == Kind::Zone && object.id == id)
        };
        if !exists(&sdn.zone_id) {
            return Ok(());
        }
        for name in &sdn.nodes {
            let node = node_name(name).map_err(own)?;
            let what = format!("read the zones of {name}");
            let zones = self.crew.proxmox.sdn().zones_of(&node).await.map_err(proxmox(&what))?;
            let status = zones.iter().find(|zone| zone.zone == sdn.zone_id);
            let status = status.and_then(|zone| zone.status.as_deref()).unwrap_or("absent");
            if status != "available" {
                tokio::time::sleep(LOOK).await;
                return Err(StepError::Later(format!(
                    "zone {} is {status} on {name}: look at its network reload task",
                    sdn.zone_id
                )));
            }
        }
        Ok(())
    }
}
