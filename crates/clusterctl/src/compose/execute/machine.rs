//! Virtual machines.

use std::time::Duration;

use proxmox_client::plan::vm::{self, VmChange, VmDesired, VmDiff, VmObserved, diff};
use proxmox_client::{NodeName, VmId};

use super::Hands;
use super::verdict::{own, proxmox};
use crate::compose::action::Action;
use crate::compose::draft::has_agent;
use crate::compose::machine::{Ground, MEDIUM_KEY, desired};
use crate::compose::observe::node_name;
use crate::compose::proof::why_not_ours;
use crate::engine::{Check, Impact, Step, StepContext, StepError};
use crate::error::Error;
use crate::spec::site::Node;

/// How long a machine may take to be made.
const CREATE: Duration = Duration::from_mins(30);

/// How long any other task of a machine may take.
const TASK: Duration = Duration::from_mins(10);

/// How long a guest may take to shut down, in seconds.
const SHUTDOWN_SECONDS: &str = "180";

/// How far a change of a machine is.
pub(super) struct Changing {
    pub(super) check: Check,
    /// The machine runs: whoever relies on it is disturbed.
    pub(super) runs: bool,
}

/// Whether a change was planned to take a restart.
fn restarts(step: &Step<Action>) -> bool {
    step.impact >= Impact::Reboot
}

impl Hands {
    fn wanted(&self, cluster: &str, node: &str) -> Result<VmDesired, StepError> {
        let (cluster, node) = self.crew.node(cluster, node).map_err(own)?;
        let ground = Ground {
            site: &self.crew.site,
            storages: &self.storages,
            guest_agent: has_agent(&self.crew),
        };
        let iso = match &cluster.artifact_overrides.iso_file_id {
            Some(volid) => volid.clone(),
            None => {
                let file = self.crew.images.iso_of(cluster).ok_or_else(|| {
                    own(Error::failed(format!("no ISO is known for cluster {}", cluster.name)))
                })?;
                format!("{}:iso/{file}", self.storages.iso)
            }
        };
        desired(ground, cluster, node, &iso).map_err(own)
    }

    /// A machine by its number; `None` when it is nowhere. It is looked for where the tree makes
    /// it first, so that a node that is down stops only the machines that can be on it.
    async fn find(
        &self,
        vmid: VmId,
        planned: &str,
    ) -> Result<Option<(NodeName, VmObserved)>, StepError> {
        let api = &self.crew.proxmox;
        let planned = node_name(planned).map_err(own)?;
        let unread = match api.qemu(&planned).observe(vmid).await {
            Ok(Some(machine)) => return Ok(Some((planned, machine))),
            Ok(None) => None,
            Err(error) => Some(proxmox(&format!("read machine {vmid}"))(error)),
        };
        let rows = api.nodes().await.map_err(proxmox("list the Proxmox nodes"))?;
        let (offline, online): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.status.as_deref() == Some("offline"));
        for row in online.iter().filter(|row| row.node != planned.as_str()) {
            let name = node_name(&row.node).map_err(own)?;
            let found = api.qemu(&name).observe(vmid).await;
            if let Some(machine) = found.map_err(proxmox(&format!("read machine {vmid}")))? {
                return Ok(Some((name, machine)));
            }
        }
        match (offline.as_slice(), unread) {
            ([], None) => Ok(None),
            ([], Some(error)) => Err(error),
            (down, _) => {
                let names: Vec<&str> = down.iter().map(|row| row.node.as_str()).collect();
                Err(StepError::Later(format!("Proxmox node {} is offline", names.join(", "))))
            }
        }
    }

    /// The machine of a node, proven to be ours.
    async fn ours(&self, wanted: &VmDesired) -> Result<Option<(NodeName, VmObserved)>, StepError> {
        let Some((name, observed)) = self.find(wanted.vmid, &wanted.node).await? else {
            return Ok(None);
        };
        if observed.lock.as_deref() == Some("create") {
            return Ok(Some((name, observed)));
        }
        match why_not_ours(wanted, &observed) {
            Some((text, help)) => Err(StepError::failed_with_help(text, help)),
            None => Ok(Some((name, observed))),
        }
    }

    pub(super) async fn check_create(&self, cluster: &str, node: &str) -> Result<Check, StepError> {
        let wanted = self.wanted(cluster, node)?;
        Ok(match self.ours(&wanted).await? {
            None => Check::Ready,
            Some((_, machine)) => match machine.lock {
                Some(lock) => Check::NotYet(format!("VM {} is locked ({lock})", wanted.vmid)),
                None => Check::Done("it is there".to_owned()),
            },
        })
    }

    pub(super) async fn create_machine(
        &self,
        cluster: &str,
        node: &str,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let wanted = self.wanted(cluster, node)?;
        let name = node_name(&wanted.node).map_err(own)?;
        let params = wanted.create_params();
        let params: Vec<(&str, &str)> =
            params.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let what = format!("create VM {} on {}", wanted.vmid, wanted.node);
        let upid = self
            .crew
            .proxmox
            .qemu(&name)
            .create(wanted.vmid, &params)
            .await
            .map_err(proxmox(&what))?;
        context.mark("upid", upid.as_str())?;
        self.crew.proxmox.tasks().wait(&upid, CREATE).await.map(drop).map_err(proxmox(&what))
    }

    pub(super) async fn verify_machine(&self, cluster: &str, node: &str) -> Result<(), StepError> {
        let wanted = self.wanted(cluster, node)?;
        let Some((_, machine)) = self.ours(&wanted).await? else {
            return Err(StepError::Later("it is not there yet".to_owned()));
        };
        if let Some(lock) = machine.lock {
            return Err(StepError::Later(format!("VM {} is locked ({lock})", wanted.vmid)));
        }
        let left = diff(&wanted, &machine);
        if left.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> =
            left.changes.iter().map(ToString::to_string).chain(left.refused).collect();
        let waiting = left.waiting.iter().map(|key| format!("{key} waits for a restart"));
        let texts: Vec<String> = texts.into_iter().chain(waiting).collect();
        Err(StepError::failed_with_help(
            format!("it was made, but not as asked for: {}", texts.join("; ")),
            "run plan: it shows what differs",
        ))
    }

    pub(super) async fn check_change(
        &self,
        step: &Step<Action>,
        cluster: &str,
        node: &str,
    ) -> Result<Changing, StepError> {
        let wanted = self.wanted(cluster, node)?;
        let Some((_, machine)) = self.ours(&wanted).await? else {
            return Err(StepError::failed("its machine is gone; run plan again"));
        };
        let left = diff(&wanted, &machine);
        let is_set = left.changes.is_empty() && left.waiting.is_empty();
        let check = match machine.lock {
            Some(lock) => Check::NotYet(format!("VM {} is locked ({lock})", wanted.vmid)),
            // Switched off for the change, and not yet on again.
            None if is_set && (machine.running || !restarts(step)) => {
                Check::Done("it is as it should be".to_owned())
            }
            None => Check::Ready,
        };
        Ok(Changing { check, runs: machine.running })
    }

    /// Sets what differs. What takes a restart is set while the machine is off: of some keys nothing
    /// tells afterwards that they wait for one, so a run that is cut must not leave them set on a
    /// machine that runs. One that is off differs, or is started by the next plan.
    pub(super) async fn change_machine(
        &self,
        step: &Step<Action>,
        (cluster, node): (&str, &str),
        context: &StepContext,
    ) -> Result<(), StepError> {
        let wanted = self.wanted(cluster, node)?;
        let Some((name, machine)) = self.ours(&wanted).await? else {
            return Err(StepError::failed("its machine is gone; run plan again"));
        };
        let left = diff(&wanted, &machine);
        if !restarts(step) {
            if machine.running && left.impact() == Some(vm::Impact::StopStart) {
                return Err(StepError::failed_with_help(
                    format!("VM {} runs since, and the change takes a restart", wanted.vmid),
                    "run plan again",
                ));
            }
            return self.set(&name, wanted.vmid, &left).await;
        }
        if machine.running {
            context.waiting("the machine is shut down");
            let what = format!("shut down VM {}", wanted.vmid);
            let keys = [("timeout", SHUTDOWN_SECONDS)];
            let upid = self.crew.proxmox.qemu(&name).power(wanted.vmid, "shutdown", &keys).await;
            let upid = upid.map_err(proxmox(&what))?;
            self.crew.proxmox.tasks().wait(&upid, TASK).await.map_err(proxmox(&what))?;
            // Under high availability the task only asks for it.
            if self.ours(&wanted).await?.is_some_and(|(_, machine)| machine.running) {
                return Err(StepError::Later("it is shutting down".to_owned()));
            }
        }
        let set = self.set(&name, wanted.vmid, &left).await;
        if let Err(again @ (StepError::Later(_) | StepError::Uncertain(_))) = set {
            // It stays off until the next try, which would shut it down once more.
            return Err(again);
        }
        context.waiting("the machine is started again");
        // Also where the change was refused: it ran before.
        let started = self.start(&name, wanted.vmid, context).await;
        set.and(started)
    }

    /// Carries out changes of a configuration.
    async fn set(&self, name: &NodeName, vmid: VmId, left: &VmDiff) -> Result<(), StepError> {
        let what = format!("change VM {vmid}");
        let qemu = self.crew.proxmox.qemu(name);
        let mut keys: Vec<(String, String)> = Vec::new();
        let mut removed: Vec<&str> = Vec::new();
        for change in &left.changes {
            match change {
                VmChange::Set { key, after, .. } => keys.push((key.clone(), after.clone())),
                VmChange::Delete { key, .. } => removed.push(key),
                VmChange::Grow { key, after_gib, .. } => {
                    let size = format!("{after_gib}G");
                    let upid = qemu.resize(vmid, key, &size).await.map_err(proxmox(&what))?;
                    let ended = self.crew.proxmox.tasks().wait(&upid, TASK).await;
                    ended.map_err(proxmox(&what))?;
                }
            }
        }
        if !removed.is_empty() {
            keys.push(("delete".to_owned(), removed.join(",")));
        }
        if keys.is_empty() {
            return Ok(());
        }
        let keys: Vec<(&str, &str)> =
            keys.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        if let Some(upid) = qemu.update(vmid, &keys).await.map_err(proxmox(&what))? {
            self.crew.proxmox.tasks().wait(&upid, TASK).await.map_err(proxmox(&what))?;
        }
        Ok(())
    }

    pub(super) async fn check_start(&self, cluster: &str, node: &str) -> Result<Check, StepError> {
        let wanted = self.wanted(cluster, node)?;
        Ok(match self.ours(&wanted).await? {
            None => return Err(StepError::failed("its machine is gone; run plan again")),
            Some((_, machine)) if machine.running => Check::Done("it runs".to_owned()),
            Some((_, machine)) => match machine.lock {
                Some(lock) => Check::NotYet(format!("VM {} is locked ({lock})", wanted.vmid)),
                None => Check::Ready,
            },
        })
    }

    pub(super) async fn start_machine(
        &self,
        cluster: &str,
        node: &str,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let wanted = self.wanted(cluster, node)?;
        let Some((name, _)) = self.ours(&wanted).await? else {
            return Err(StepError::failed("its machine is gone; run plan again"));
        };
        self.start(&name, wanted.vmid, context).await
    }

    async fn start(
        &self,
        name: &NodeName,
        vmid: VmId,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let what = format!("start VM {vmid}");
        let started = self.crew.proxmox.qemu(name).power(vmid, "start", &[]).await;
        let upid = started.map_err(proxmox(&what))?;
        context.mark("upid", upid.as_str())?;
        match self.crew.proxmox.tasks().wait(&upid, TASK).await {
            Err(error) if error.text().contains("already running") => Ok(()),
            ended => ended.map(drop).map_err(proxmox(&what)),
        }
    }

    pub(super) async fn verify_running(&self, cluster: &str, node: &str) -> Result<(), StepError> {
        match self.check_start(cluster, node).await? {
            Check::Done(_) => Ok(()),
            _ => Err(StepError::Later("it does not run yet".to_owned())),
        }
    }

    pub(super) async fn check_eject(&self, cluster: &str, node: &str) -> Result<Check, StepError> {
        let wanted = self.wanted(cluster, node)?;
        Ok(match self.ours(&wanted).await? {
            None => return Err(StepError::failed("its machine is gone; run plan again")),
            Some((_, machine)) if machine.medium(MEDIUM_KEY).is_none() => {
                Check::Done("the drive is empty".to_owned())
            }
            Some(_) => Check::Ready,
        })
    }

    pub(super) async fn eject_medium(&self, cluster: &str, node: &str) -> Result<(), StepError> {
        let wanted = self.wanted(cluster, node)?;
        let Some((name, _)) = self.ours(&wanted).await? else {
            return Err(StepError::failed("its machine is gone; run plan again"));
        };
        let what = format!("eject the medium of VM {}", wanted.vmid);
        let keys = [(MEDIUM_KEY, "none,media=cdrom")];
        let upid = self
            .crew
            .proxmox
            .qemu(&name)
            .update(wanted.vmid, &keys)
            .await
            .map_err(proxmox(&what))?;
        if let Some(upid) = upid {
            self.crew.proxmox.tasks().wait(&upid, TASK).await.map_err(proxmox(&what))?;
        }
        Ok(())
    }

    /// Whether a node was installed: its machine has no installation medium any more.
    pub(super) async fn is_installed(&self, node: &Node) -> Result<bool, StepError> {
        let Ok(vmid) = VmId::try_from(node.vmid) else { return Ok(false) };
        let found = self.find(vmid, &node.proxmox_node).await?;
        Ok(found.is_some_and(|(_, machine)| machine.medium(MEDIUM_KEY).is_none()))
    }

    /// A machine that is to be destroyed, proven by its UUID.
    async fn doomed(
        &self,
        node: &str,
        vmid: u32,
        uuid: &str,
    ) -> Result<Option<(VmId, NodeName, VmObserved)>, StepError> {
        let vmid = VmId::try_from(vmid)
            .map_err(|error| StepError::failed(format!("read the plan: {error}")))?;
        let Some((name, machine)) = self.find(vmid, node).await? else { return Ok(None) };
        if machine.uuid().as_deref() != Some(uuid) {
            return Err(StepError::failed_with_help(
                format!("VM {vmid} is not the machine that was planned for"),
                "run plan again",
            ));
        }
        Ok(Some((vmid, name, machine)))
    }

    pub(super) async fn check_destroy(
        &self,
        node: &str,
        vmid: u32,
        uuid: &str,
    ) -> Result<Check, StepError> {
        Ok(match self.doomed(node, vmid, uuid).await? {
            None => Check::Done("it is gone".to_owned()),
            Some(_) => Check::Ready,
        })
    }

    pub(super) async fn destroy_machine(
        &self,
        node: &str,
        vmid: u32,
        uuid: &str,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let Some((vmid, name, machine)) = self.doomed(node, vmid, uuid).await? else {
            return Ok(());
        };
        let what = format!("destroy VM {vmid}");
        let qemu = self.crew.proxmox.qemu(&name);
        if machine.running {
            context.waiting("it is stopped");
            let upid = qemu.power(vmid, "stop", &[]).await.map_err(proxmox(&what))?;
            self.crew.proxmox.tasks().wait(&upid, TASK).await.map_err(proxmox(&what))?;
        }
        let upid = qemu.destroy(vmid).await.map_err(proxmox(&what))?;
        context.mark("upid", upid.as_str())?;
        self.crew.proxmox.tasks().wait(&upid, TASK).await.map(drop).map_err(proxmox(&what))
    }

    /// A machine is gone when Proxmox does not know it any more and none of its volumes is left.
    pub(super) async fn verify_destroyed(
        &self,
        node: &str,
        vmid: u32,
        uuid: &str,
    ) -> Result<(), StepError> {
        if self.doomed(node, vmid, uuid).await?.is_some() {
            return Err(StepError::Later("it is still there".to_owned()));
        }
        let name = node_name(node).map_err(own)?;
        let what = format!("list the disks on {} of {node}", self.storages.vm);
        let content = self.crew.proxmox.storage(&name).content(&self.storages.vm, None).await;
        let left: Vec<String> = content
            .map_err(proxmox(&what))?
            .into_iter()
            .filter(|volume| volume.vmid == Some(u64::from(vmid)))
            .map(|volume| volume.volid)
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(StepError::failed_with_help(
            format!("VM {vmid} is gone and left {}", left.join(", ")),
            format!("look at them, then on {node}: pvesm free {}", left.join("; pvesm free ")),
        ))
    }
}
