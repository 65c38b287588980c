//! One node of a rollout.

use uuid::Uuid;

use super::{OPERATION, Progress, Wanted, Workloads};
use crate::again::repeat;
use crate::api::{ImageStore, RebootMode, Stage, UpgradeOptions, Version};
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::health::{Target, observe};
use crate::plan::{Etcd, NodeStep, Refusal, UpgradeWay, upgrade_steps};
use crate::wait::{self, refused};

/// A node that is upgraded, and what is known of it so far.
pub(super) struct Run<'a, W, P> {
    targets: &'a [Target],
    pub(super) target: &'a Target,
    pub(super) wanted: &'a Wanted,
    workloads: &'a W,
    progress: &'a P,
    /// The boot that has to end.
    pub(super) before: Option<Uuid>,
    /// It takes no new pods.
    pub(super) cordoned: bool,
    /// What is installed beside the running system.
    pub(super) beside: Beside,
    /// Why that was not known.
    pub(super) doubt: Option<String>,
    /// How often this run called for the installer.
    pub(super) tries: u32,
}

/// What is installed beside the system that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// Nothing that this run knows of.
    Nothing,
    /// It is not known: the answer that told it was lost, somebody else installs, or an earlier run may have
    /// installed. The next boot tells.
    Unknown,
    /// The version that is wanted.
    Wanted,
}

/// Upgrades one node of a cluster, and waits until it is back as it was: with the version that was wanted,
/// voting, and ready. `targets` are all nodes of the cluster, for the quorum of etcd. Of a node that runs the
/// version already, only what comes after its reboot is done: an earlier run may have ended there.
///
/// # Errors
/// [`ErrorKind::FailedPrecondition`] if etcd can never do without the node, or the node came back with
/// another version than was wanted: it could not boot that one, and fell back. Else what its steps gave.
/// A node that fails before the installation takes pods again. One that fails after it stays closed, by which the
/// next run knows that it has to be drained and rebooted before it may be installed: a second installation in one
/// boot would write over the system that it could go back to. The next run installs a node that fell back once
/// more, since nothing tells it from one that was never installed; if it falls back again, that ends this run too.
pub async fn upgrade_node<W: Workloads + Sync>(
    targets: &[Target],
    name: &str,
    wanted: &Wanted,
    workloads: &W,
    progress: &(impl Fn(Progress) + Sync),
) -> Result<Version, Error> {
    let Some(target) = targets.iter().find(|target| target.name == name) else {
        return Err(Error::config(OPERATION, format!("the cluster has no node {name}")));
    };
    let runs = target.client.version().await?;
    let mut run = Run {
        targets,
        target,
        wanted,
        workloads,
        progress,
        before: None,
        cordoned: false,
        beside: Beside::Nothing,
        doubt: None,
        tries: 0,
    };
    if wanted.is_run_by(&runs.tag) {
        run.settle().await?;
        return Ok(runs);
    }
    let way = UpgradeWay::of(&runs.tag).map_err(|why| refused(OPERATION, &why))?;
    keeps_schematic(&target.client, wanted).await?;
    let forfeit = target.control_plane && leads(&target.client).await;
    let steps = upgrade_steps(way, target.control_plane, forfeit, workloads.answers());
    run.take(&steps).await.map_err(|error| run.left(error))?;
    target.client.version().await
}

/// An image of another schematic than the node's may lack its extensions.
async fn keeps_schematic(client: &Client, wanted: &Wanted) -> Result<(), Error> {
    if wanted.other_schematic {
        return Ok(());
    }
    let (now, next) = (client.schematic().await?, wanted.schematic());
    let Some(now) = now.filter(|now| Some(now.as_str()) != next) else { return Ok(()) };
    let text = match next {
        Some(next) => format!(
            "the node is of the schematic {now}, the image of {next}: its extensions would change"
        ),
        None => format!(
            "the node is of the schematic {now}: it cannot be told whether {} has its extensions",
            wanted.image
        ),
    };
    Err(Error::new(ErrorKind::FailedPrecondition, OPERATION, text).at(client.address()))
}

/// Whether the node's member leads others that could take that over; not if it cannot be asked.
async fn leads(client: &Client) -> bool {
    let (status, members) = futures_util::join!(client.etcd_status(), client.etcd_members());
    let voters = members.map_or(0, |all| all.iter().filter(|member| !member.is_learner).count());
    voters > 1 && status.is_ok_and(|status| status.leader == status.member_id)
}

impl<W: Workloads, P: Fn(Progress)> Run<'_, W, P> {
    /// Takes the steps; of a node that an earlier run may have left on its way, those that it needs.
    async fn take(&mut self, steps: &[NodeStep]) -> Result<(), Error> {
        let mut first = steps.to_vec();
        if steps.contains(&NodeStep::Install) && self.is_drained().await? {
            self.resume().await?;
            // That it was closed does not say that its pods are gone: draining may have been cut.
            first.retain(|step| !matches!(step, NodeStep::Pull | NodeStep::Install));
            first.dedup();
        }
        let mut left = first.iter();
        while let Some(step) = left.next() {
            self.tell(step, "");
            match self.step(step).await {
                Ok(()) => {}
                Err(error) if *step == NodeStep::CheckVersion && self.may_install_again(&error) => {
                    // An earlier run may have pulled another image, and quorum and pods are asked for anew.
                    left = steps.iter();
                }
                Err(error) => {
                    // Before its installation the node is as it was.
                    if self.cordoned && self.beside == Beside::Nothing && self.before.is_none() {
                        drop(self.workloads.uncordon(&self.target.name).await);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn is_drained(&self) -> Result<bool, Error> {
        if !self.workloads.answers() {
            return Ok(false);
        }
        let drained = self.workloads.is_drained(&self.target.name).await;
        drained.map_err(|why| self.failed(ErrorKind::NotReady, format!("drained: {why}")))
    }

    /// What an error leaves behind is said with it.
    fn left(&self, error: Error) -> Error {
        let text = match (self.beside, &self.doubt) {
            (Beside::Wanted, _) if self.before.is_none() => {
                format!("{} is installed and waits for the reboot", self.wanted.tag)
            }
            (Beside::Unknown, Some(why)) => {
                format!("what its installer did is not known: {why}")
            }
            _ => return error,
        };
        let text = format!("{}; {text}", error.message());
        error.with_message(text)
    }

    /// What is left for a node that has its version: to vote, to be ready, and to take pods again if
    /// this closed it.
    async fn settle(&mut self) -> Result<(), Error> {
        let mut steps = Vec::new();
        if self.target.control_plane {
            steps.push(NodeStep::WaitMember);
        }
        if self.workloads.answers() {
            steps.push(NodeStep::WaitReady);
            if self.is_drained().await? {
                steps.push(NodeStep::Uncordon);
            }
        }
        for step in steps {
            self.tell(&step, "");
            self.step(&step).await?;
        }
        Ok(())
    }

    pub(super) fn tell(&self, step: &NodeStep, text: &str) {
        let (node, step) = (self.target.name.clone(), step.clone());
        (self.progress)(Progress { node, step, text: text.to_owned() });
    }

    pub(super) fn failed(&self, kind: ErrorKind, text: impl Into<String>) -> Error {
        Error::new(kind, OPERATION, text).at(self.target.client.address())
    }

    fn workload(&self, what: &str, result: Result<(), String>) -> Result<(), Error> {
        result.map_err(|why| self.failed(ErrorKind::NotReady, format!("{what}: {why}")))
    }

    async fn step(&mut self, step: &NodeStep) -> Result<(), Error> {
        let (client, name) = (&self.target.client, self.target.name.as_str());
        match step {
            NodeStep::AskQuorum => self.until(step, async || self.quorum().await).await,
            // Another one may lead by now; then nothing happens.
            NodeStep::Forfeit => {
                repeat(async || client.etcd_forfeit_leadership().await).await.map(drop)
            }
            NodeStep::Pull => {
                let (store, image) = (ImageStore::System, &self.wanted.image);
                repeat(async || client.image_pull(store, image, |_| {}).await).await.map(drop)
            }
            // One call of the other side does both.
            NodeStep::Cordon => Ok(()),
            NodeStep::Drain => {
                self.cordoned = true;
                let drained = self.workloads.drain(name).await;
                self.workload("the node cannot be drained", drained)
            }
            NodeStep::Install => self.install(step).await,
            NodeStep::Upgrade => {
                let options = UpgradeOptions {
                    power_cycle: self.wanted.power_cycle,
                    ..UpgradeOptions::default()
                };
                let image = self.wanted.image.as_str();
                self.leave(step, async || client.upgrade(image, options).await).await
            }
            NodeStep::Reboot => {
                let power = self.wanted.power_cycle;
                let mode = if power { RebootMode::PowerCycle } else { RebootMode::Default };
                self.leave(step, async || client.reboot(mode).await).await
            }
            NodeStep::WaitBoot => match self.before {
                Some(before) => client.wait_for_boot(before, self.wanted.limit).await.map(drop),
                None => Ok(()),
            },
            NodeStep::CheckVersion => {
                self.until(step, async || self.check_version().await).await?;
                // It runs, and is beside nothing any more.
                (self.beside, self.doubt) = (Beside::Nothing, None);
                Ok(())
            }
            NodeStep::WaitMember => self.until(step, async || self.votes().await).await,
            NodeStep::WaitReady => {
                self.until(step, async || self.runs().await).await?;
                let ready = self.workloads.wait_ready(name).await;
                self.workload("the node is not ready", ready)
            }
            NodeStep::Uncordon => {
                let done = self.workloads.uncordon(name).await;
                self.cordoned = false;
                self.workload("the node takes no pods", done)
            }
        }
    }

    /// Repeats a look until it finds no refusal.
    pub(super) async fn until(
        &self,
        step: &NodeStep,
        look: impl AsyncFn() -> Result<(), Refusal>,
    ) -> Result<(), Error> {
        let done = wait::until(OPERATION, self.wanted.limit, |why| self.tell(step, why), look);
        done.await.map_err(|error| error.at(self.target.client.address()))
    }

    async fn quorum(&self) -> Result<(), Refusal> {
        let etcd = Etcd::of(&observe(self.targets).await)?;
        etcd.may_stop(&self.target.name, self.wanted.downtime)
    }

    async fn check_version(&self) -> Result<(), Refusal> {
        let version = self.target.client.version().await.map_err(|error| {
            // A node that has just booted may cut a connection once more.
            Refusal { reason: error.to_string(), waiting_helps: error.is_retryable() }
        })?;
        if self.wanted.is_run_by(&version.tag) {
            return Ok(());
        }
        let reason = format!(
            "the node came back with {} and not with {}: either the image installs another version, or \
             the node could not boot it and fell back",
            version.tag, self.wanted.tag
        );
        Err(Refusal::ever(reason))
    }

    /// The member votes and has all that the others had.
    async fn votes(&self) -> Result<(), Refusal> {
        let wait = |reason: String| Refusal::now(reason);
        let observation = observe(self.targets).await;
        let status = |node: &crate::health::NodeFacts| node.etcd_status.clone();
        let mut own = None;
        let mut most = 0;
        for node in observation.nodes.iter().filter(|node| node.control_plane) {
            match (node.name == self.target.name, status(node)) {
                (true, Ok(status)) => own = Some(status),
                (true, Err(gap)) => return Err(wait(gap.reason)),
                (false, Ok(status)) => most = most.max(status.raft_applied_index),
                // Others are looked at before the next node.
                (false, Err(_)) => {}
            }
        }
        let own = own.ok_or_else(|| wait("the node's etcd is not known".to_owned()))?;
        if own.is_learner {
            return Err(wait("its etcd does not vote yet".to_owned()));
        }
        if own.leader == 0 {
            return Err(wait("its etcd follows no leader".to_owned()));
        }
        if let Some(error) = own.errors.first() {
            return Err(wait(format!("etcd says: {error}")));
        }
        // What was written while it was looked at does not count.
        if own.raft_applied_index.saturating_add(BEHIND) < most {
            let text = format!("its etcd is at {} of {most}", own.raft_applied_index);
            return Err(wait(text));
        }
        Ok(())
    }

    async fn runs(&self) -> Result<(), Refusal> {
        let wait = |reason: String| Refusal::now(reason);
        match self.target.client.machine_status().await {
            Err(error) => Err(wait(error.message().to_owned())),
            Ok(status) if status.stage == Stage::Running => Ok(()),
            Ok(status) => Err(wait(format!("the machine is {}", status.stage))),
        }
    }
}

/// Writes of a moment that a member may lack.
const BEHIND: u64 = 1000;
