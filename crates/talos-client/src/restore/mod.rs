//! etcd of a cluster made again from a snapshot, as [`crate::plan::restore_steps`] orders it.
//!
//! What a control plane holds is wiped only when its etcd gave no answer for a while, or when the caller said
//! that a cluster that works shall be given up. No control plane is wiped before all were asked, then all are
//! at the same time, and the bootstrap is made on one alone: two would be two clusters with the same certificates.

mod observe;
mod outcome;

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::AsyncRead;
use tokio::time::{Instant, sleep};

pub use observe::observe;

use self::outcome::{Look, Outcome, ended, failed, unfinished};
use crate::again::{is_lost, leave, repeat};
use crate::api::{Bootstrap, EtcdPhase, ResetOptions, Snapshot, WipeMode, kinds};
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::health::{self, Target};
use crate::plan::{Refusal, RestoreStep, finish_steps, restore_steps};
use crate::wait::{POLL, refused, until};

const OPERATION: &str = "restore etcd";

/// How etcd is restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The control plane that it begins with; the first one by name if it is not named.
    pub first: Option<String>,
    /// A cluster that works, or may come back, may be given up.
    pub discard: bool,
    /// How long an etcd must look the same before [`observe`] judges it: stalled, empty, or not to be asked. One
    /// that answers and never looks the same that long is unsettled after four times as much. [`finish`] waits as
    /// long for an etcd that starts, before it says that none was started.
    pub patience: Duration,
    /// How long each step may take that waits for something.
    pub limit: Duration,
    /// Checks of [`health::CHECKS`] that need not hold at the end.
    pub except: Vec<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            first: None,
            discard: false,
            patience: Duration::from_secs(30),
            limit: Duration::from_mins(15),
            except: Vec::new(),
        }
    }
}

impl Options {
    /// The control plane that it begins with.
    #[must_use]
    pub fn first(mut self, name: impl Into<String>) -> Self {
        self.first = Some(name.into());
        self
    }

    /// Whether a cluster that works, or may come back, may be given up.
    #[must_use]
    pub fn discard(mut self, allowed: bool) -> Self {
        self.discard = allowed;
        self
    }

    /// How long an etcd must look the same before it is judged, as [`Options::patience`] says.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long each step may take that waits for something.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Checks that need not hold at the end.
    #[must_use]
    pub fn except(mut self, checks: &[&'static str]) -> Self {
        self.except = checks.to_vec();
        self
    }
}

/// What a restoration does now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Its step.
    pub step: RestoreStep,
    /// What the step waits for; empty at its beginning.
    pub text: String,
}

/// Makes etcd of a cluster again from a snapshot. `targets` are all nodes of the cluster. `open` opens the
/// snapshot, once more if an upload was cut.
///
/// # Errors
/// [`ErrorKind::FailedPrecondition`] if etcd works and may not be given up, or lies where a wipe would not reach it;
/// [`ErrorKind::NotReady`] if a control plane cannot be asked, since its etcd may work, or its etcd is unsettled and may
/// not be given up. Nothing was done then.
/// [`ErrorKind::AlreadyExists`] if another etcd was started meanwhile. Else what its steps gave. Called again after
/// an error, it begins anew with what is not wiped yet, until etcd was started from the snapshot: from then on etcd
/// works, so that another call is refused, or with [`Options::discard`] wipes what was just restored. The message
/// of an error says that it was started, or may have been; [`finish`] does what is left, or says that nothing was.
pub async fn restore<R: AsyncRead + Unpin>(
    targets: &[Target],
    snapshot: Snapshot,
    open: impl AsyncFn() -> std::io::Result<R>,
    options: &Options,
    progress: &impl Fn(Progress),
) -> Result<(), Error> {
    let nodes = observe(targets, options.patience).await;
    let steps = restore_steps(&nodes, snapshot, options.first.as_deref(), options.discard);
    let steps = steps.map_err(|why| refused(OPERATION, &why))?;
    let run = Run { targets, options, progress };
    let is_wipe = |step: &&RestoreStep| matches!(step, RestoreStep::Wipe(_));
    let (wipes, rest) = steps.split_at(steps.iter().take_while(is_wipe).count());
    let reached = wipes.iter().map(|step| run.is_reached(step));
    join_all(reached).await.into_iter().collect::<Result<(), Error>>()?;
    // At the same time: one that comes back while others still work would join them, and have data again.
    let wiped = join_all(wipes.iter().map(|step| run.step(step))).await;
    wiped.into_iter().collect::<Result<(), Error>>()?;
    let mut is_started = false;
    for step in rest {
        let done = match step {
            RestoreStep::Upload(name) => run.upload(step, name, &open).await,
            step => run.step(step).await,
        };
        let is_start = matches!(step, RestoreStep::Bootstrap { .. });
        if let Err(error) = done {
            let is_open = is_started || is_start && is_lost(&error);
            return Err(if is_open { run.unfinished(is_started, &error).await } else { error });
        }
        is_started |= is_start;
    }
    Ok(())
}

/// Does what is left of a restoration that failed after etcd was started from the snapshot: waits until all
/// control planes vote and the cluster is healthy. Changes nothing, and may be called again.
///
/// # Errors
/// [`ErrorKind::FailedPrecondition`] if etcd of no control plane was started, or failed and runs nowhere, so that it
/// has to be restored again; the message has the reason. Else what its steps gave.
pub async fn finish(
    targets: &[Target],
    options: &Options,
    progress: &impl Fn(Progress),
) -> Result<(), Error> {
    let run = Run { targets, options, progress };
    let is_known = match run.outcome().await {
        Outcome::NotStarted => {
            let text = "all control planes wait for a bootstrap: no etcd was started, neither from the snapshot \
                        nor else; restore again";
            return Err(Error::new(ErrorKind::FailedPrecondition, OPERATION, text));
        }
        Outcome::Failed(why) => return Err(failed(&why)),
        Outcome::Started => true,
        Outcome::Unknown => false,
    };
    let steps = finish_steps(run.control_planes().map(|target| target.name.clone()));
    for step in &steps {
        run.step(step).await.map_err(|error| unfinished(is_known, &error))?;
    }
    Ok(())
}

struct Run<'a, P> {
    targets: &'a [Target],
    options: &'a Options,
    progress: &'a P,
}

impl<'a, P: Fn(Progress)> Run<'a, P> {
    fn tell(&self, step: &RestoreStep, text: &str) {
        (self.progress)(Progress { step: step.clone(), text: text.to_owned() });
    }

    fn client(&self, name: &str) -> Result<&'a Client, Error> {
        let found = self.targets.iter().find(|target| target.name == name);
        let target = found
            .ok_or_else(|| Error::config(OPERATION, format!("the cluster has no node {name}")))?;
        Ok(&target.client)
    }

    fn control_planes(&self) -> impl Iterator<Item = &'a Target> {
        self.targets.iter().filter(|target| target.control_plane)
    }

    /// What came of the etcd that was to start. What a bootstrap began shows after some seconds.
    async fn outcome(&self) -> Outcome {
        let patience = self.options.patience;
        let end = Instant::now() + patience;
        loop {
            let looks = self.looks(|_| true).await;
            let comes = |phase: &EtcdPhase| phase.member().is_some() && phase.failure().is_none();
            if looks.iter().any(|(_, look)| look.as_ref().is_ok_and(comes)) {
                return Outcome::Started;
            }
            if Instant::now() >= end {
                return ended(&looks);
            }
            sleep(POLL.min(patience / 10)).await;
        }
    }

    /// How far etcd of some control planes is, all asked at once.
    async fn looks(&self, which: impl Fn(&Target) -> bool) -> Vec<Look<'a>> {
        let some = self.control_planes().filter(|target| which(target));
        join_all(some.map(|target| async move { (target, target.client.etcd_phase().await) })).await
    }

    /// An error after which etcd was started, or may have been.
    async fn unfinished(&self, is_started: bool, error: &Error) -> Error {
        match self.outcome().await {
            Outcome::Failed(why) => failed(&why),
            Outcome::Started => unfinished(true, error),
            Outcome::NotStarted | Outcome::Unknown => unfinished(is_started, error),
        }
    }

    async fn step(&self, step: &RestoreStep) -> Result<(), Error> {
        self.tell(step, "");
        match step {
            RestoreStep::Wipe(name) => self.wipe(step, name).await,
            RestoreStep::WaitEmpty(name) => self.until(step, name, waits_for_bootstrap).await,
            // It needs the snapshot, and has a function of its own.
            RestoreStep::Upload(_) => Ok(()),
            RestoreStep::Bootstrap { node, skip_check } => {
                self.bootstrap(step, node, *skip_check).await
            }
            RestoreStep::WaitMember(name) => self.until(step, name, votes).await,
            RestoreStep::WaitHealthy => self.healthy(step).await,
        }
    }

    async fn upload<R: AsyncRead + Unpin>(
        &self,
        step: &RestoreStep,
        name: &str,
        open: &impl AsyncFn() -> std::io::Result<R>,
    ) -> Result<(), Error> {
        self.tell(step, "");
        let client = self.client(name)?;
        let unread = |error: std::io::Error| {
            Error::config(OPERATION, format!("the snapshot cannot be read: {error}"))
        };
        repeat(async || client.etcd_recover(open().await.map_err(unread)?).await).await
    }

    /// Starts etcd with the snapshot, unless another one was started since the nodes were looked at: wiping and
    /// uploading take minutes.
    async fn bootstrap(
        &self,
        step: &RestoreStep,
        name: &str,
        skip_check: bool,
    ) -> Result<(), Error> {
        let look = async || self.other_etcd(name).await;
        if let Some(other) =
            until(OPERATION, self.options.limit, |why| self.tell(step, why), look).await?
        {
            return Err(other);
        }
        let client = self.client(name)?;
        match client.bootstrap_from_snapshot(skip_check).await? {
            Bootstrap::Started => Ok(()),
            Bootstrap::AlreadyDone => {
                Err(conflict(client, "etcd has data already, and not from the snapshot"))
            }
        }
    }

    /// Looks at the other control planes, all at once. Gives the error that an etcd of theirs is, or nothing if none
    /// has any. Refused while that shows for none but not for all: those that boot are waited for.
    async fn other_etcd(&self, name: &str) -> Result<Option<Error>, Refusal> {
        let mut waits = None;
        for (other, look) in self.looks(|other| other.name != name).await {
            let why = match look {
                Ok(phase) => match (phase.member(), bootable(&phase)) {
                    (Some(etcd), _) => {
                        let why = etcd.reason();
                        let text = format!(
                            "{} does not wait for a bootstrap any more: etcd: {why}",
                            other.name
                        );
                        return Ok(Some(conflict(&other.client, &text)));
                    }
                    (None, Ok(())) => continue,
                    (None, Err(why)) => why,
                },
                Err(error) if error.is_retryable() => error.to_string(),
                Err(error) => return Ok(Some(error)),
            };
            waits.get_or_insert_with(|| Refusal::now(format!("{}: {why}", other.name)));
        }
        waits.map_or(Ok(None), Err)
    }

    /// Whether a wipe of `EPHEMERAL` takes etcd's data with it, which from 1.14 on may lie on a volume of its own.
    async fn is_reached(&self, step: &RestoreStep) -> Result<(), Error> {
        let RestoreStep::Wipe(name) = step else { return Ok(()) };
        let client = self.client(name)?;
        let (namespace, kind) = kinds::VOLUME_STATUS;
        let volume = client.find(namespace, kind, "ETCD").await?;
        let kind = volume.as_ref().and_then(|volume| volume.text("/type")).unwrap_or("directory");
        if kind == "directory" {
            return Ok(());
        }
        let text = format!(
            "etcd of {name} has a volume of its own ({kind}), which a wipe of EPHEMERAL does not reach: reset \
             the node as a whole, and restore with the others"
        );
        Err(Error::new(ErrorKind::FailedPrecondition, OPERATION, text).at(client.address()))
    }

    /// Wipes what etcd holds; the node keeps its system and its configuration.
    async fn wipe(&self, step: &RestoreStep, name: &str) -> Result<(), Error> {
        let client = self.client(name)?;
        let mut reset = ResetOptions::default().graceful(false).mode(WipeMode::SystemDisk);
        reset.partitions = vec!["EPHEMERAL".to_owned()];
        let (limit, tell) = (self.options.limit, |text: &str| self.tell(step, text));
        let before = leave(client, limit, tell, async || client.reset(&reset).await).await?;
        client.wait_for_boot(before, limit).await?;
        Ok(())
    }

    /// Looks at a node until nothing is open.
    async fn until(
        &self,
        step: &RestoreStep,
        name: &str,
        look: impl AsyncFn(&Client) -> Result<(), Refusal>,
    ) -> Result<(), Error> {
        let client = self.client(name)?;
        let look = async || look(client).await;
        let done = until(OPERATION, self.options.limit, |why| self.tell(step, why), look).await;
        done.map_err(|error| error.at(client.address()))
    }

    async fn healthy(&self, step: &RestoreStep) -> Result<(), Error> {
        let (except, limit) = (&self.options.except, self.options.limit);
        let mut told = String::new();
        let tell = |results: &[health::CheckResult]| {
            let now = health::first_problem(results, except).map(ToString::to_string);
            if let Some(now) = now.filter(|now| *now != told) {
                self.tell(step, &now);
                told = now;
            }
        };
        health::wait(self.targets, except, limit, tell).await.map(drop)
    }
}

/// Somebody else was quicker.
fn conflict(client: &Client, why: &str) -> Error {
    let text = format!(
        "{why}: somebody else started an etcd while this wiped and uploaded; look at what it has, and restore \
         again if it shall be given up"
    );
    Error::new(ErrorKind::AlreadyExists, OPERATION, text).at(client.address())
}

/// Whether etcd of a node waits for a bootstrap, or can be started by one after it ended; else why not.
fn bootable(phase: &EtcdPhase) -> Result<(), String> {
    match phase {
        EtcdPhase::Empty | EtcdPhase::Ended { has_data: false, .. } => Ok(()),
        EtcdPhase::Absent => Err("etcd is not there yet".to_owned()),
        EtcdPhase::Coming(why) => Err(why.clone()),
        EtcdPhase::Returning(etcd)
        | EtcdPhase::Started(etcd)
        | EtcdPhase::Ended { etcd, has_data: true } => {
            Err(format!("etcd has data: {}", etcd.reason()))
        }
    }
}

async fn waits_for_bootstrap(client: &Client) -> Result<(), Refusal> {
    let phase = client.etcd_phase().await.map_err(|error| Refusal::now(error.to_string()))?;
    bootable(&phase).map_err(Refusal::now)
}

async fn votes(client: &Client) -> Result<(), Refusal> {
    let status = match client.etcd_status().await {
        Ok(status) => status,
        Err(error) => {
            let failure = client.etcd_phase().await.ok().and_then(|phase| phase.failure());
            return Err(match failure {
                Some(why) => Refusal::ever(format!("etcd: {why}")),
                None => Refusal::now(error.to_string()),
            });
        }
    };
    match (status.is_learner, status.leader) {
        (true, _) => Err(Refusal::now("its etcd does not vote yet")),
        (_, 0) => Err(Refusal::now("its etcd follows no leader")),
        _ => Ok(()),
    }
}
