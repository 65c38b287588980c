//! Machines that are to be there, as described or gone.

use std::time::Duration;

use tokio::time::Instant;

use super::{ATTEMPTS, pause};
use crate::api::{TaskEnd, TaskRow, Vms};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{NodeName, Upid, VmId};
use crate::plan::vm::{VmChange, VmDesired, VmDiff, VmObserved, diff};

/// Pause between two looks at a machine that somebody else works on.
const LOOK: Duration = Duration::from_millis(500);

/// How often a number is looked up that should have become free.
const LOOKS: u32 = 6;

/// How many looks in a row must find a machine that is being made without a task that makes it,
/// before its making is taken for cut: a task ends a little after its lock.
const ABANDONED: u32 = 4;

/// How often the same difference may be met again before it is given up.
const ROUNDS: u32 = 12;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct VmLimits {
    /// Making a machine with its disks.
    pub create: Duration,
    /// One change.
    pub change: Duration,
    /// Stopping a machine, and destroying it.
    pub destroy: Duration,
}

impl Default for VmLimits {
    fn default() -> Self {
        Self {
            create: Duration::from_mins(30),
            change: Duration::from_mins(10),
            destroy: Duration::from_mins(10),
        }
    }
}

/// A machine that is as it should be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VmDone {
    /// The machine as it was read at the end. [`VmObserved::pending`] names what waits for a stop
    /// and start.
    pub observed: VmObserved,
    /// It was made.
    pub created: bool,
    /// Changes that were made to it, in order.
    pub changes: Vec<VmChange>,
    /// A task of it ended with warnings.
    pub warnings: bool,
}

/// What one look at a machine led to.
enum Step {
    Done(VmObserved),
    Created(TaskEnd),
    Changed(Vec<VmChange>, TaskEnd),
    /// Somebody else works on it.
    Locked(NodeName, String),
}

impl Vms<'_> {
    /// A machine as it should be: made stopped where there is none, else changed. It is neither
    /// started nor stopped, and its medium is left alone.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where the number belongs to another machine or a change cannot be
    /// made; [`ErrorKind::Busy`] where somebody else works on it for too long; or as
    /// [`Client::call`](crate::Client::call).
    pub async fn ensure(&self, desired: &VmDesired, limits: &VmLimits) -> Result<VmDone> {
        let (mut created, mut changes, mut warnings) = (false, Vec::new(), false);
        let (mut attempt, mut round) = (0, 0);
        let mut lock = Lock::until(Instant::now() + limits.create);
        loop {
            match self.step(desired, limits).await {
                Ok(Step::Done(observed)) => {
                    return Ok(VmDone { observed, created, changes, warnings });
                }
                Ok(Step::Created(ended)) => {
                    created = true;
                    warnings |= ended == TaskEnd::Warnings;
                }
                Ok(Step::Changed(made, ended)) => {
                    round += 1;
                    if round > ROUNDS {
                        let texts: Vec<String> = made.iter().map(ToString::to_string).collect();
                        let text = format!("the server does not keep: {}", texts.join("; "));
                        return Err(conflict(desired.vmid, text));
                    }
                    changes.extend(made);
                    warnings |= ended == TaskEnd::Warnings;
                }
                Ok(Step::Locked(node, kind)) => {
                    lock.wait(self, desired.vmid, &node, &kind).await?;
                }
                Err(error) if may_work(&error) && attempt < ATTEMPTS => {
                    attempt += 1;
                    pause(attempt, &error).await;
                    self.settle(desired.vmid, limits.create).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A machine that is gone, with its disks. One that runs is switched off. False when there was
    /// none.
    ///
    /// `is_ours` says why a machine must not be touched.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where it must not be touched; [`ErrorKind::Busy`] where somebody
    /// else works on it for too long; or as [`Client::call`](crate::Client::call).
    pub async fn ensure_absent(
        &self,
        id: VmId,
        limits: &VmLimits,
        is_ours: impl Fn(&VmObserved) -> std::result::Result<(), String>,
    ) -> Result<bool> {
        let (mut attempt, mut was_there) = (0, false);
        let mut lock = Lock::until(Instant::now() + limits.destroy);
        loop {
            let found = match self.find(id).await {
                Ok(None) => {
                    self.really_gone(id).await?;
                    return Ok(was_there);
                }
                Ok(Some(found)) => found,
                Err(error) => return Err(error),
            };
            if let Some(kind) = &found.lock {
                lock.wait(self, id, &node_of(&found)?, kind).await?;
                continue;
            }
            is_ours(&found).map_err(|reason| conflict(id, reason))?;
            was_there = true;
            match self.remove(id, &found, limits).await {
                Ok(()) => {}
                // Somebody else was faster.
                Err(error) if error.kind() == ErrorKind::NotFound && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                Err(error) if may_work(&error) && attempt < ATTEMPTS => {
                    attempt += 1;
                    pause(attempt, &error).await;
                    self.settle(id, limits.destroy).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A machine that no node shows may be on one that is offline, or not be ours to see.
    async fn really_gone(&self, id: VmId) -> Result<()> {
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(LOOK).await;
            }
            if self.client.is_free(id).await? {
                return Ok(());
            }
        }
        let text = "no node that is online shows it, but its number is taken: by a machine of a node that is offline, by one that may not be seen (VM.Audit), or by a container";
        Err(conflict(id, text))
    }

    async fn remove(&self, id: VmId, found: &VmObserved, limits: &VmLimits) -> Result<()> {
        let node = node_of(found)?;
        let qemu = self.client.qemu(&node);
        let upid = if found.running {
            qemu.power(id, "stop", &[("overrule-shutdown", "1")]).await?
        } else {
            qemu.destroy(id).await?
        };
        self.client.tasks().wait(&upid, limits.destroy).await.map(drop)
    }

    async fn step(&self, desired: &VmDesired, limits: &VmLimits) -> Result<Step> {
        let id = desired.vmid;
        let Some(found) = self.find(id).await? else { return self.create(desired, limits).await };
        if let Some(lock) = &found.lock {
            return Ok(Step::Locked(node_of(&found)?, lock.clone()));
        }
        desired.owns(&found).map_err(|foreign| conflict(id, foreign.reason))?;
        if next(&left(desired, &found)?).is_empty() {
            return Ok(Step::Done(found));
        }
        // A write carries the digest of a configuration that is older than what it is made from:
        // so one whose answer was lost is never made twice.
        let node = node_of(&found)?;
        let qemu = self.client.qemu(&node);
        let config = qemu.config(id, false).await?;
        let digest = config.get("digest").and_then(crate::loose::text_of).unwrap_or_default();
        let Some(found) = qemu.observe(id).await? else {
            return self.create(desired, limits).await;
        };
        let changes = next(&left(desired, &found)?);
        if changes.is_empty() {
            return Ok(Step::Done(found));
        }
        let upid = self.change(&node, id, &changes, &digest).await?;
        let ended = match upid {
            Some(upid) => self.client.tasks().wait(&upid, limits.change).await?,
            None => TaskEnd::Ok,
        };
        Ok(Step::Changed(changes, ended))
    }

    async fn create(&self, desired: &VmDesired, limits: &VmLimits) -> Result<Step> {
        let node: NodeName = desired.node.parse().map_err(|source| {
            Error::new(ErrorKind::Config, "create a machine", "its node has no name")
                .because(source)
        })?;
        let keys = desired.create_params();
        let keys: Vec<(&str, &str)> =
            keys.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        let upid = match self.client.qemu(&node).create(desired.vmid, &keys).await {
            Ok(upid) => upid,
            // An earlier call that was thought to be lost has come through, or another is at work.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return match self.find(desired.vmid).await? {
                    Some(found) => {
                        Ok(Step::Locked(node_of(&found)?, found.lock.unwrap_or_default()))
                    }
                    None => Err(error),
                };
            }
            Err(error) => return Err(error),
        };
        let ended = self.client.tasks().wait(&upid, limits.create).await?;
        Ok(Step::Created(ended))
    }

    async fn change(
        &self,
        node: &NodeName,
        id: VmId,
        changes: &[VmChange],
        digest: &str,
    ) -> Result<Option<Upid>> {
        let qemu = self.client.qemu(node);
        if let [VmChange::Grow { key, after_gib, .. }] = changes {
            return qemu.resize(id, key, &format!("{after_gib}G")).await.map(Some);
        }
        let mut keys: Vec<(&str, &str)> = Vec::new();
        let mut removed = Vec::new();
        for change in changes {
            match change {
                VmChange::Set { key, after, .. } => keys.push((key, after)),
                VmChange::Delete { key, .. } => removed.push(key.as_str()),
                VmChange::Grow { .. } => {}
            }
        }
        let removed = removed.join(",");
        if !removed.is_empty() {
            keys.push(("delete", &removed));
        }
        if !digest.is_empty() {
            keys.push(("digest", digest));
        }
        qemu.update(id, &keys).await
    }

    /// Waits until no task works on a machine: one whose answer was lost goes on.
    async fn settle(&self, id: VmId, limit: Duration) {
        let nodes = self.nodes().await.unwrap_or_default();
        let id = id.to_string();
        for node in &nodes {
            let keys = [("source", "active"), ("vmid", id.as_str())];
            let rows = self.client.tasks().list(node, &keys).await.unwrap_or_default();
            for upid in rows.iter().filter_map(|row| row.upid.parse::<Upid>().ok()) {
                match self.client.tasks().wait(&upid, limit).await {
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%error, "a task whose start was not answered"),
                }
            }
        }
    }
}

/// Whether another try may succeed: the state is read again before it.
fn may_work(error: &Error) -> bool {
    error.is_retryable() || error.kind() == ErrorKind::Conflict && error.status().is_some()
}

fn conflict(id: VmId, reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::Conflict, format!("machine {id}"), reason)
}

fn node_of(found: &VmObserved) -> Result<NodeName> {
    found.node.parse().map_err(|source| {
        Error::new(ErrorKind::Protocol, format!("machine {}", found.vmid), "its node has no name")
            .because(source)
    })
}

fn left(desired: &VmDesired, found: &VmObserved) -> Result<VmDiff> {
    let left = diff(desired, found);
    if left.refused.is_empty() {
        return Ok(left);
    }
    Err(conflict(desired.vmid, left.refused.join("; ")))
}

/// Of several changes those that go into the next call. The server applies the keys of one call
/// in any order and not as a whole, so what needs something else comes after it: first each drive
/// by itself, then plain keys, then the boot order, then what goes, then disks that grow.
fn next(left: &VmDiff) -> Vec<VmChange> {
    let rank = |change: &VmChange| match change {
        VmChange::Set { key, .. } if is_drive(key) => 0,
        VmChange::Set { key, .. } if key == "boot" => 2,
        VmChange::Set { .. } => 1,
        VmChange::Delete { .. } => 3,
        VmChange::Grow { .. } => 4,
    };
    let Some(first) = left.changes.iter().map(rank).min() else { return Vec::new() };
    let some = left.changes.iter().filter(|change| rank(change) == first).cloned();
    if matches!(first, 0 | 4) { some.take(1).collect() } else { some.collect() }
}

fn is_drive(key: &str) -> bool {
    let name = key.trim_end_matches(|c: char| c.is_ascii_digit());
    matches!(name, "scsi" | "virtio" | "sata" | "ide" | "efidisk" | "tpmstate")
}

/// The lock of a machine that somebody else works on, while it is waited for.
struct Lock {
    end: Instant,
    /// Looks in a row that found nobody at work.
    idle: u32,
}

impl Lock {
    fn until(end: Instant) -> Self {
        Self { end, idle: 0 }
    }

    /// Waits a while. A machine that a node was making when it went down stays locked for ever:
    /// that is told soon, and only somebody at the node can mend it.
    async fn wait(&mut self, vms: &Vms<'_>, id: VmId, node: &NodeName, kind: &str) -> Result<()> {
        let told = |text: String| Err(Error::new(ErrorKind::Busy, format!("machine {id}"), text));
        if kind == "create" {
            let number = id.to_string();
            let keys = [("source", "active"), ("vmid", number.as_str())];
            let rows = vms.client.tasks().list(node, &keys).await;
            let at_work = rows.map_or(true, |rows| rows.iter().any(TaskRow::is_running));
            self.idle = if at_work { 0 } else { self.idle + 1 };
            if self.idle >= ABANDONED {
                return told(format!(
                    "it was being made, and no task that may be seen works on it any more: where nobody else does, remove what is left on {node} with qm unlock {id} && qm destroy {id}, and try again"
                ));
            }
        }
        if Instant::now() >= self.end {
            return told(format!(
                "it is locked ({kind}) and does not get free: when no task works on it, qm unlock {id}"
            ));
        }
        tokio::time::sleep(LOOK).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str) -> VmChange {
        VmChange::Set { key: key.into(), before: None, after: "x".into() }
    }

    #[test]
    fn what_needs_something_else_comes_after_it() {
        let changes = vec![
            VmChange::Grow { key: "scsi0".into(), before_gib: 1, after_gib: 2 },
            VmChange::Delete { key: "net1".into(), before: "x".into() },
            set("boot"),
            set("cores"),
            set("scsi1"),
            set("name"),
            set("ide2"),
        ];
        let mut left = VmDiff { changes, ..VmDiff::default() };
        let mut order = Vec::new();
        loop {
            let now = next(&left);
            if now.is_empty() {
                break;
            }
            order.push(now.iter().map(|change| change.key().to_owned()).collect::<Vec<_>>());
            left.changes.retain(|change| !now.contains(change));
        }
        let order: Vec<String> = order.iter().map(|keys| keys.join("+")).collect();
        assert_eq!(order, ["scsi1", "ide2", "cores+name", "boot", "net1", "scsi0"]);
    }
}
