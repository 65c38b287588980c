//! Machine configuration: the first one, and changes of it.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use talos_client::api::{ApplyMode as Mode, Disk, Stage};
use talos_client::config::MachineConfig;

use super::Hands;
use super::verdict::{own, talos};
use crate::compose::action::{Action, ApplyMode};
use crate::compose::config::DiskSelector;
use crate::compose::machine::selectors;
use crate::compose::observe::{compare, look_at};
use crate::compose::reach::Opened;
use crate::compose::render::Chosen;
use crate::compose::world::NodeSeen;
use crate::engine::{Check, Impact, Step, StepContext, StepError};
use crate::spec::site::{Cluster, Node, Role};

impl Hands {
    pub(super) fn opened(&self, cluster: &Cluster) -> Result<Arc<Opened>, StepError> {
        self.crew.secrets(cluster).map_err(own)?.ok_or_else(|| {
            StepError::failed_with_help(
                format!("cluster {} has no secrets", cluster.name),
                "`clusterctl secrets generate` makes them, `secrets import` takes them over",
            )
        })
    }

    async fn seen(&self, cluster: &Cluster, node: &Node) -> Result<NodeSeen, StepError> {
        let opened = self.opened(cluster)?;
        Ok(look_at(&self.crew, cluster, node, Some(&opened)).await)
    }

    pub(super) async fn check_configure(
        &self,
        cluster: &str,
        node: &str,
    ) -> Result<Check, StepError> {
        let (cluster, node) = self.crew.node(cluster, node).map_err(own)?;
        Ok(match self.seen(cluster, node).await? {
            NodeSeen::Maintenance => Check::Ready,
            NodeSeen::Off => Check::NotYet("its machine does not run".to_owned()),
            NodeSeen::Unknown(why) => Check::NotYet(format!("it does not answer yet: {why}")),
            NodeSeen::Configured(running) => match running.changes.first() {
                // While it installs itself it cannot be told apart from one that is done.
                None if is_settled(&running.stage) => Check::Done("it is configured".to_owned()),
                None => Check::NotYet(format!("it is {}", running.stage)),
                Some(change) => {
                    return Err(StepError::failed_with_help(
                        format!("it has another configuration already, such as {change}"),
                        "run plan again: it shows what would change",
                    ));
                }
            },
        })
    }

    /// A node that was installed before is waited for; one that has lost its configuration since
    /// the plan was made is another plan's matter.
    pub(super) async fn check_reach(&self, cluster: &str, node: &str) -> Result<Check, StepError> {
        match self.check_configure(cluster, node).await? {
            Check::Ready => Err(StepError::failed_with_help(
                "it waits for a configuration, and the plan took it for installed",
                "run plan again: it shows what is to be done with it",
            )),
            other => Ok(other),
        }
    }

    pub(super) async fn configure(
        &self,
        cluster: &str,
        node: &str,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let (cluster, node) = self.crew.node(cluster, node).map_err(own)?;
        let opened = self.opened(cluster)?;
        let address = self.crew.address(node).map_err(own)?;
        let what = format!("configure {}", node.name);
        let client = self.crew.maintenance(address).await.map_err(talos(&what))?;
        // Nothing is sent to a machine that is not the one that was meant.
        client.expect_uuid(node.uuid).await.map_err(talos(&what))?;
        self.same_version(&client, cluster, node).await?;
        let disks = client.disks().await.map_err(talos(&what))?;
        let selector = choose(&disks, node)?;
        let chosen = Chosen::first(selector, cluster, &self.crew.lock_file());
        let config = self.crew.machine_config(cluster, node, &opened, &chosen).map_err(own)?;
        // Written down first: whatever is cut from here on, control planes that come later are given
        // the same image. Workers are given none, and settle nothing.
        let image = chosen.cilium_cli.as_deref().filter(|_| node.role == Role::ControlPlane);
        self.claim(cluster, image)?;
        context.waiting("the configuration is sent");
        let applied = match client.apply(config.to_yaml().as_bytes(), Mode::Auto, false).await {
            Ok(applied) => applied,
            Err(error) => {
                if !error.may_have_been_applied()
                    && let Err(unwritten) = self.disclaim(cluster, image)
                {
                    // Why the node refused it matters more.
                    context.remark(format!("the lock file keeps {}: {unwritten}", cluster.name));
                }
                return Err(talos(&what)(error));
            }
        };
        for warning in applied.warnings {
            context.remark(format!("the node warns: {warning}"));
        }
        Ok(())
    }

    /// The medium must hold the version that the configuration is for. Nodes up to 1.12 do not
    /// tell their version in maintenance mode.
    async fn same_version(
        &self,
        client: &talos_client::Client,
        cluster: &Cluster,
        node: &Node,
    ) -> Result<(), StepError> {
        let wanted = format!("v{}", cluster.versions.talos);
        match client.version().await {
            Ok(version) if version.tag == wanted => Ok(()),
            Ok(version) => Err(StepError::failed_with_help(
                format!("{} booted Talos {}, not {wanted}", node.name, version.tag),
                "its medium is another one than the tree asks for: look at its drive ide0",
            )),
            Err(error) if error.kind() == talos_client::ErrorKind::Unimplemented => Ok(()),
            Err(error) => Err(talos("ask for the version")(error)),
        }
    }

    /// A node is configured once it runs from its disk; a control plane may wait for etcd then.
    pub(super) async fn verify_configured(
        &self,
        cluster: &str,
        node: &str,
    ) -> Result<(), StepError> {
        let (cluster, node) = self.crew.node(cluster, node).map_err(own)?;
        match self.seen(cluster, node).await? {
            NodeSeen::Configured(running) if is_settled(&running.stage) => {
                match running.changes.first() {
                    None => Ok(()),
                    Some(change) => Err(StepError::Later(format!("it still has {change}"))),
                }
            }
            NodeSeen::Configured(running) => {
                Err(StepError::Later(format!("it is {}", running.stage)))
            }
            NodeSeen::Maintenance => Err(StepError::Later(
                "it waits for its configuration again: its installation may have failed".to_owned(),
            )),
            NodeSeen::Off => Err(StepError::Later("its machine does not run".to_owned())),
            NodeSeen::Unknown(why) => Err(StepError::Later(format!("it does not answer: {why}"))),
        }
    }

    /// A node whose change may have restarted it is back before the next one of its cluster has its
    /// turn: it runs, and a control plane whose cluster has etcd is a part of it again. A node that
    /// was never installed has nothing to come back to. A machine that does not run is waited for:
    /// Proxmox calls a restart done once it has shut it down.
    pub(super) async fn verify_in_service(
        &self,
        step: &Step<Action>,
        cluster: &str,
        node: &str,
    ) -> Result<(), StepError> {
        if step.impact < Impact::RestartService {
            return Ok(());
        }
        let (cluster, node) = self.crew.node(cluster, node).map_err(own)?;
        if self.crew.secrets(cluster).map_err(own)?.is_none() {
            return Ok(());
        }
        if !self.is_installed(node).await? {
            return Ok(());
        }
        match self.seen(cluster, node).await? {
            NodeSeen::Configured(running) if running.stage == Stage::Running.to_string() => Ok(()),
            // Its cluster waits for its bootstrap.
            NodeSeen::Configured(running) if !running.has_etcd() && is_settled(&running.stage) => {
                Ok(())
            }
            NodeSeen::Configured(running) => {
                Err(StepError::Later(format!("it is {}", running.stage)))
            }
            NodeSeen::Maintenance => Ok(()),
            NodeSeen::Off => Err(StepError::Later("its machine does not run".to_owned())),
            NodeSeen::Unknown(why) => Err(StepError::Later(format!("it is not back yet: {why}"))),
        }
    }

    pub(super) async fn check_reconfigure(
        &self,
        cluster: &str,
        node: &str,
    ) -> Result<Check, StepError> {
        let (cluster, node) = self.crew.node(cluster, node).map_err(own)?;
        Ok(match self.seen(cluster, node).await? {
            NodeSeen::Configured(running) if running.changes.is_empty() => {
                Check::Done("its configuration is as it should be".to_owned())
            }
            NodeSeen::Configured(running) if running.staged => {
                Check::Done("it is staged, waits for a reboot".to_owned())
            }
            NodeSeen::Configured(_) => Check::Ready,
            NodeSeen::Maintenance => {
                return Err(StepError::failed_with_help(
                    "it waits for its first configuration",
                    "run plan again",
                ));
            }
            NodeSeen::Off => Check::NotYet("its machine does not run".to_owned()),
            NodeSeen::Unknown(why) => Check::NotYet(format!("it does not answer: {why}")),
        })
    }

    pub(super) async fn reconfigure(
        &self,
        cluster: &str,
        node: &str,
        mode: ApplyMode,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let (cluster, node) = self.crew.node(cluster, node).map_err(own)?;
        let opened = self.opened(cluster)?;
        let address = self.crew.address(node).map_err(own)?;
        let what = format!("change the configuration of {}", node.name);
        let client = self.crew.talos(address, &opened).await.map_err(talos(&what))?;
        client.expect_uuid(node.uuid).await.map_err(talos(&what))?;
        let text = client.machine_config().await.map_err(talos(&what))?;
        let text = text.ok_or_else(|| StepError::failed("the node shows no configuration"))?;
        let current = MachineConfig::parse(text.expose_secret())
            .map_err(|error| StepError::failed(format!("{what}: {error}")))?;
        compare(&self.crew, cluster, node, &opened, text.expose_secret())
            .map_err(StepError::failed)?;
        let chosen = Chosen::of(&current, cluster, node, &self.crew.lock_file());
        let config = self.crew.machine_config(cluster, node, &opened, &chosen).map_err(own)?;
        // The plan has chosen; a reboot that the tree asks for happens whatever changes.
        let mode = match mode {
            ApplyMode::Staged => Mode::Staged,
            ApplyMode::NoReboot => Mode::NoReboot,
            ApplyMode::Reboot if cluster.apply_mode == "reboot" => Mode::Reboot,
            ApplyMode::Reboot => Mode::Auto,
        };
        context.waiting("the configuration is sent");
        let bytes = config.to_yaml();
        client.apply(bytes.as_bytes(), mode, false).await.map(drop).map_err(talos(&what))
    }
}

/// A stage in which a node stays: a control plane that waits for etcd is booting.
fn is_settled(stage: &str) -> bool {
    stage == Stage::Running.to_string() || stage == Stage::Booting.to_string()
}

/// The way to tell the system disk apart that fits exactly one disk.
fn choose(disks: &[Disk], node: &Node) -> Result<DiskSelector, StepError> {
    let usable: Vec<&Disk> = disks.iter().filter(|disk| disk.is_usable()).collect();
    let [by_name, _] = selectors(node);
    if let DiskSelector::Wwid(wanted) = &by_name {
        let found = usable.iter().filter(|disk| disk.wwid.eq_ignore_ascii_case(wanted)).count();
        match found {
            1 => return Ok(by_name),
            0 => {}
            _ => return Err(ambiguous(&usable, node, "the same world-wide name")),
        }
    }
    let bytes = u64::from(node.disk_gib) << 30;
    let fitting: Vec<&&Disk> = usable.iter().filter(|disk| disk.size == bytes).collect();
    match fitting.as_slice() {
        [disk] if !disk.bus_path.is_empty() => Ok(DiskSelector::BusPath(disk.bus_path.clone())),
        [_] => Ok(DiskSelector::Size(bytes)),
        [] => Err(StepError::failed_with_help(
            format!(
                "{} has no disk of {} GiB: it has {}",
                node.name,
                node.disk_gib,
                listed(&usable)
            ),
            "look at its scsi0 and at disk_gb in the tree",
        )),
        _ => Err(ambiguous(&usable, node, "the wanted size")),
    }
}

fn ambiguous(disks: &[&Disk], node: &Node, what: &str) -> StepError {
    StepError::failed_with_help(
        format!("{} has several disks of {what}: {}", node.name, listed(disks)),
        "nothing tells the system disk apart: give the disks different sizes in the tree",
    )
}

fn listed(disks: &[&Disk]) -> String {
    let texts: Vec<String> = disks
        .iter()
        .map(|disk| format!("{} ({} GiB, {})", disk.dev_path, disk.size >> 30, disk.wwid))
        .collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}
