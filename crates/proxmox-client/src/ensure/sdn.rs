//! The networks of a cluster as one transaction.

use std::time::Duration;

use tokio::time::Instant;

use super::{ATTEMPTS, pause};
use crate::api::Sdn;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{NodeName, Upid};
use crate::plan::sdn::{Kind, SdnChange, SdnObserved, SdnPlan, diff};

/// Pause between two looks at what the nodes say.
const LOOK: Duration = Duration::from_millis(500);

/// How long a reload of all nodes may take that somebody has to wait for.
const RELOAD: Duration = Duration::from_mins(20);

/// How a transaction is carried out.
#[derive(Debug, Clone)]
pub struct SdnOptions {
    /// Nodes that must have no changes of their own network waiting, and on which the zones must
    /// work at the end.
    pub nodes: Vec<NodeName>,
    /// A lock that is held is taken over. Only right where something else says that nobody is at
    /// work: a lock does not end by itself, that of a run that was cut stays.
    pub take_over_lock: bool,
    /// How long the nodes may take until the zones work, after their networks were reloaded.
    pub settle: Duration,
}

impl Default for SdnOptions {
    fn default() -> Self {
        Self { nodes: Vec::new(), take_over_lock: false, settle: Duration::from_mins(1) }
    }
}

/// What a transaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SdnDone {
    /// Changes that were saved, in order; none where everything was there already.
    pub saved: Vec<SdnChange>,
    /// The nodes have reloaded their networks.
    pub applied: bool,
}

impl Sdn<'_> {
    /// Carries out a plan as one transaction: locks the networks, saves what is left of the
    /// changes, applies them on every node, and looks whether the zones work. Where something
    /// fails before it took effect, what was saved is taken back and the lock released. It can be
    /// called again with the same plan.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where the plan has conflicts, a node or somebody else has changes
    /// waiting that would take effect too, or an object appeared since the plan was made;
    /// [`ErrorKind::Busy`] while somebody else holds the lock; [`ErrorKind::TaskFailed`] where a
    /// zone does not work on a node; or as [`Client::call`](crate::Client::call).
    pub async fn carry_out(&self, plan: &SdnPlan, options: &SdnOptions) -> Result<SdnDone> {
        if let [first, ..] = plan.conflicts.as_slice() {
            return Err(conflict(first.clone()));
        }
        for node in &options.nodes {
            if self.client.node(node).network_changes().await?.is_some() {
                return Err(conflict(format!(
                    "{node} has changes of its own network that are not applied: they would take effect too. Apply or revert them first"
                )));
            }
        }
        let token = match self.client.release().await?.has_sdn_lock() {
            true => Some(self.take_lock(options).await?),
            false => None,
        };
        let mut saved = Vec::new();
        let staged = self.stage(plan, token.as_deref(), &mut saved).await;
        let staged = match staged {
            // A node that failed to reload last time shows nothing waiting, but its zones do not
            // work.
            Ok(false) => self.broken(plan, options).await.map(|broken| broken.is_some()),
            other => other,
        };
        let applied = match staged {
            Ok(applied) => applied,
            Err(error) => {
                self.take_back(&saved, token.as_deref()).await;
                return Err(error);
            }
        };
        if applied {
            if let Err(error) = self.put_into_effect(token.as_deref()).await {
                if !error.may_have_been_applied() {
                    self.take_back(&saved, token.as_deref()).await;
                }
                return Err(error);
            }
        } else if let Some(token) = &token {
            self.release_lock(token).await;
        }
        let end = Instant::now() + options.settle;
        // Whatever fails from here on, the changes are in effect.
        let look =
            || async { self.broken(plan, options).await.map_err(|one| one.applied(applied)) };
        while let Some(broken) = look().await? {
            if Instant::now() >= end {
                let text = format!("{broken}: look at its network reload task");
                let error = Error::new(ErrorKind::TaskFailed, "PUT /cluster/sdn", text);
                return Err(error.applied(true));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(SdnDone { saved, applied })
    }

    async fn take_lock(&self, options: &SdnOptions) -> Result<String> {
        let mut attempt = 0;
        let mut lost = false;
        loop {
            attempt += 1;
            match self.lock().await {
                Ok(token) => return Ok(token),
                Err(error) if error.kind() == ErrorKind::Busy && options.take_over_lock => {
                    if attempt > ATTEMPTS {
                        return Err(error);
                    }
                    self.unlock(None).await?;
                }
                Err(error) if error.kind() == ErrorKind::Busy && lost => {
                    let text = "the answer to the lock was lost; what is held now may be ours: it can be taken over where nobody else is at work";
                    let busy = Error::new(ErrorKind::Busy, error.operation(), text);
                    return Err(busy.applied(true));
                }
                Err(error) if error.kind() == ErrorKind::Unreachable && attempt <= ATTEMPTS => {
                    lost |= error.may_have_been_applied();
                    pause(attempt, &error).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Saves what is left of a plan. Gives whether anything waits to be applied.
    async fn stage(
        &self,
        plan: &SdnPlan,
        token: Option<&str>,
        saved: &mut Vec<SdnChange>,
    ) -> Result<bool> {
        let mut attempt = 0;
        loop {
            let observed = self.observe().await?;
            foreign(plan, &observed)?;
            let left = remaining(plan, &observed)?;
            if left.is_empty() {
                return Ok(!observed.pending.is_empty());
            }
            for change in &left {
                match self.save(change, token).await {
                    Ok(()) => saved.push(change.clone()),
                    Err(error) if may_work(&error) && attempt < ATTEMPTS => {
                        attempt += 1;
                        if error.may_have_been_applied() {
                            // To be taken back too, should it have come through.
                            saved.push(change.clone());
                        }
                        pause(attempt, &error).await;
                        break;
                    }
                    Err(error) => {
                        if error.may_have_been_applied() {
                            saved.push(change.clone());
                        }
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Applies what is saved, on all nodes. Releases the lock.
    async fn put_into_effect(&self, mut token: Option<&str>) -> Result<()> {
        let (mut attempt, mut reloaded, mut sent) = (0, false, false);
        loop {
            attempt += 1;
            let error = match self.apply(token).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            sent |= error.may_have_been_applied();
            let uncertain = error.may_have_been_applied() || error.kind() == ErrorKind::Busy;
            if !(error.is_retryable() || uncertain) || attempt >= ATTEMPTS {
                return Err(error.applied(sent));
            }
            pause(attempt, &error).await;
            self.await_reloads().await;
            let observed = self.observe().await.map_err(|lost| lost.applied(sent))?;
            if observed.pending.is_empty() {
                // It came through: only the answer was lost.
                if error.kind() == ErrorKind::TaskFailed {
                    if reloaded {
                        return Err(error);
                    }
                    // It is committed, which released the lock, but nodes may not have reloaded:
                    // bridges that go would stay, and nobody sees them. Once more, for the nodes.
                    (reloaded, token) = (true, None);
                    continue;
                }
                if let Some(token) = token {
                    self.release_lock(token).await;
                }
                return Ok(());
            }
        }
    }

    async fn await_reloads(&self) {
        let rows = self.client.tasks().recent().await.unwrap_or_default();
        let reloads = rows.iter().filter(|row| {
            matches!(row.kind.as_str(), "reloadnetworkall" | "srvreload") && row.is_running()
        });
        for upid in reloads.filter_map(|row| row.upid.parse::<Upid>().ok()) {
            match self.client.tasks().wait(&upid, RELOAD).await {
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "a reload that was not waited for"),
            }
        }
    }

    /// Forgets what was saved, and releases the lock.
    async fn take_back(&self, saved: &[SdnChange], token: Option<&str>) {
        match (token, saved.is_empty()) {
            (Some(token), true) => self.release_lock(token).await,
            (Some(token), false) => {
                let mut attempt = 0;
                loop {
                    attempt += 1;
                    match self.rollback(token).await {
                        Ok(()) => return,
                        Err(error) if error.is_retryable() && attempt < ATTEMPTS => {
                            pause(attempt, &error).await;
                        }
                        Err(error) => {
                            tracing::warn!(%error, "the networks were not rolled back");
                            break;
                        }
                    }
                }
                self.release_lock(token).await;
            }
            // 8.4 cannot roll back: each change is undone.
            (None, _) => {
                for change in saved.iter().rev().map(inverse) {
                    match self.save(&change, None).await {
                        Ok(()) => {}
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        Err(error) => tracing::warn!(%error, %change, "not taken back"),
                    }
                }
            }
        }
    }

    async fn release_lock(&self, token: &str) {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.unlock(Some(token)).await {
                Ok(()) => return,
                Err(error) if error.kind() == ErrorKind::Unreachable && attempt < ATTEMPTS => {
                    pause(attempt, &error).await;
                }
                // It is not held any more, or by somebody else.
                Err(error) => {
                    tracing::debug!(%error, "the lock of the networks was not released");
                    return;
                }
            }
        }
    }

    /// A zone of a plan that does not work on a node, if there is one.
    async fn broken(&self, plan: &SdnPlan, options: &SdnOptions) -> Result<Option<String>> {
        let observed = self.observe().await?;
        let zones = zones_of(plan, &observed);
        for node in &options.nodes {
            let rows = self.zones_of(node).await?;
            let broken = zones.iter().find_map(|(zone, nodes)| {
                if nodes.as_ref().is_some_and(|nodes| !nodes.contains(&node.to_string())) {
                    return None;
                }
                let row = rows.iter().find(|row| row.zone == *zone);
                let status = row.and_then(|row| row.status.as_deref()).unwrap_or("absent");
                (status != "available").then(|| format!("zone {zone} is {status} on {node}"))
            });
            if broken.is_some() {
                return Ok(broken);
            }
        }
        Ok(None)
    }
}

/// Zones that a plan is about and that are there, with the nodes that they are on if not all.
fn zones_of(plan: &SdnPlan, observed: &SdnObserved) -> Vec<(String, Option<Vec<String>>)> {
    let named = plan.changes.iter().map(SdnChange::object).filter_map(|object| match object.kind {
        Kind::Zone => Some(object.id.as_str()),
        Kind::Vnet => object.fields.get("zone").map(String::as_str),
        Kind::Subnet => object.id.split('-').next(),
        Kind::Controller => None,
    });
    let waiting = plan.unapplied.iter().filter_map(|title| title.strip_prefix("zone "));
    let wanted: std::collections::BTreeSet<&str> = named.chain(waiting).collect();
    let zones = observed.objects.iter().filter(|object| object.kind == Kind::Zone);
    zones
        .filter(|zone| wanted.contains(zone.id.as_str()))
        .map(|zone| {
            let nodes = zone.fields.get("nodes").filter(|nodes| !nodes.is_empty());
            (zone.id.clone(), nodes.map(|nodes| crate::wire::split_list(nodes)))
        })
        .collect()
}

/// What somebody else has waiting would take effect too.
fn foreign(plan: &SdnPlan, observed: &SdnObserved) -> Result<()> {
    let ours: std::collections::BTreeSet<String> =
        plan.changes.iter().map(|change| change.object().title()).collect();
    let other = observed
        .pending
        .iter()
        .find(|(title, _)| !ours.contains(*title) && !plan.unapplied.contains(title));
    match other {
        None => Ok(()),
        Some((title, state)) => {
            Err(conflict(format!("{title} is {state} and not applied: somebody is at work")))
        }
    }
}

/// Changes of a plan that are not saved.
fn remaining(plan: &SdnPlan, observed: &SdnObserved) -> Result<Vec<SdnChange>> {
    let mut left = Vec::new();
    for change in &plan.changes {
        let object = change.object();
        let current = observed
            .objects
            .iter()
            .find(|other| other.kind == object.kind && other.id == object.id);
        match (change, current) {
            (SdnChange::Delete { .. }, None) => {}
            (SdnChange::Delete { .. }, Some(_)) | (SdnChange::Create { .. }, None) => {
                left.push(change.clone());
            }
            (SdnChange::Update { .. }, None) => {
                return Err(conflict(format!(
                    "{} is gone since the plan was made",
                    object.title()
                )));
            }
            (SdnChange::Create { .. } | SdnChange::Update { .. }, Some(_)) => {
                let found = diff(std::slice::from_ref(object), observed, |_| true, false).changes;
                if matches!(change, SdnChange::Create { .. }) && !found.is_empty() {
                    let text = format!("{} appeared since the plan was made", object.title());
                    return Err(conflict(text));
                }
                left.extend(found);
            }
        }
    }
    Ok(left)
}

fn inverse(change: &SdnChange) -> SdnChange {
    match change {
        SdnChange::Create { object } => SdnChange::Delete { object: object.clone() },
        SdnChange::Delete { object } => SdnChange::Create { object: object.clone() },
        SdnChange::Update { object, fields } => {
            let fields = fields
                .iter()
                .map(|(key, before, after)| (key.clone(), after.clone(), before.clone()))
                .collect();
            SdnChange::Update { object: object.clone(), fields }
        }
    }
}

/// Whether another try may succeed, after the state was read again.
fn may_work(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unreachable
            | ErrorKind::Quorum
            | ErrorKind::Conflict
            | ErrorKind::AlreadyExists
            | ErrorKind::NotFound
    ) || error.kind() == ErrorKind::Busy && !error.text().contains("lock token")
}

fn conflict(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Conflict, "change the networks", text)
}
