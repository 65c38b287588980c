//! etcd of a cluster made again from a snapshot, as [`crate::plan::restore_steps`] orders it.
//!
//! What a control plane holds is wiped only when its etcd gave no answer for a while, or when the caller said
//! that a cluster that works shall be given up. No control plane is wiped before all were asked, and the
//! bootstrap is made on one alone: two would be two clusters with the same certificates.

mod observe;

use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::time::{Instant, sleep};

pub use observe::observe;

use crate::again::{leave, repeat};
use crate::api::{ResetOptions, Snapshot, WipeMode};
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::health::{self, Target};
use crate::plan::{Refusal, RestoreStep, restore_steps};

const OPERATION: &str = "restore etcd";

/// Between two looks.
const POLL: Duration = Duration::from_secs(1);

/// How etcd is restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The control plane that it begins with; the first one by name if it is not named.
    pub first: Option<String>,
    /// A cluster that works may be given up.
    pub discard: bool,
    /// How long an etcd that gives no answer is asked before it counts as stalled.
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

    /// Whether a cluster that works may be given up.
    #[must_use]
    pub fn discard(mut self, allowed: bool) -> Self {
        self.discard = allowed;
        self
    }

    /// How long an etcd that gives no answer is asked before it counts as stalled.
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
/// [`ErrorKind::FailedPrecondition`] if etcd works and may not be given up; [`ErrorKind::NotReady`] if a control
/// plane cannot be asked, since its etcd may work. Nothing was done then. Else what its steps gave: called
/// again after that, it goes on where the nodes are.
pub async fn restore<R: AsyncRead + Unpin>(
    targets: &[Target],
    snapshot: Snapshot,
    open: impl AsyncFn() -> std::io::Result<R>,
    options: &Options,
    progress: &impl Fn(Progress),
) -> Result<(), Error> {
    let nodes = observe(targets, options.patience).await;
    let steps = restore_steps(&nodes, snapshot, options.first.as_deref(), options.discard);
    let mut run = Run { targets, options, progress, told: String::new() };
    for step in steps.map_err(|why| refused(&why))? {
        run.tell(&step, "");
        match &step {
            RestoreStep::Wipe(name) => run.wipe(&step, name).await?,
            RestoreStep::WaitEmpty(name) => {
                run.until(&step, name, async |client| waits_for_bootstrap(client).await).await?;
            }
            RestoreStep::Upload(name) => {
                let client = run.client(name)?;
                let upload = async || {
                    let unread = |error: std::io::Error| {
                        Error::config(OPERATION, format!("the snapshot cannot be read: {error}"))
                    };
                    client.etcd_recover(open().await.map_err(unread)?).await
                };
                repeat(upload).await?;
            }
            RestoreStep::Bootstrap { node, skip_check } => {
                run.client(node)?.bootstrap_from_snapshot(*skip_check).await?;
            }
            RestoreStep::WaitMember(name) => {
                run.until(&step, name, async |client| votes(client).await).await?;
            }
            RestoreStep::WaitHealthy => run.healthy(&step).await?,
        }
    }
    Ok(())
}

fn refused(why: &Refusal) -> Error {
    let kind = if why.waiting_helps { ErrorKind::NotReady } else { ErrorKind::FailedPrecondition };
    Error::new(kind, OPERATION, why.reason.clone())
}

struct Run<'a, P> {
    targets: &'a [Target],
    options: &'a Options,
    progress: &'a P,
    /// What was told last.
    told: String,
}

impl<'a, P: Fn(Progress)> Run<'a, P> {
    fn tell(&mut self, step: &RestoreStep, text: &str) {
        if text.is_empty() || text != self.told {
            text.clone_into(&mut self.told);
            (self.progress)(Progress { step: step.clone(), text: text.to_owned() });
        }
    }

    fn client(&self, name: &str) -> Result<&'a Client, Error> {
        let found = self.targets.iter().find(|target| target.name == name);
        let target = found
            .ok_or_else(|| Error::config(OPERATION, format!("the cluster has no node {name}")))?;
        Ok(&target.client)
    }

    /// Wipes what etcd holds; the node keeps its system and its configuration.
    async fn wipe(&mut self, step: &RestoreStep, name: &str) -> Result<(), Error> {
        let client = self.client(name)?;
        let mut reset = ResetOptions::default().graceful(false).mode(WipeMode::SystemDisk);
        reset.partitions = vec!["EPHEMERAL".to_owned()];
        let (progress, limit) = (self.progress, self.options.limit);
        let tell = |text: &str| progress(Progress { step: step.clone(), text: text.to_owned() });
        let before = leave(client, limit, tell, async || client.reset(&reset).await).await?;
        client.wait_for_boot(before, limit).await?;
        Ok(())
    }

    /// Looks at a node until nothing is open.
    async fn until(
        &mut self,
        step: &RestoreStep,
        name: &str,
        look: impl AsyncFn(&Client) -> Result<(), String>,
    ) -> Result<(), Error> {
        let (client, limit) = (self.client(name)?, self.options.limit);
        let end = Instant::now() + limit;
        loop {
            let Err(why) = look(client).await else { return Ok(()) };
            if Instant::now() >= end {
                let text = format!("not within {limit:?}: {why}");
                return Err(Error::new(ErrorKind::Timeout, OPERATION, text).at(client.address()));
            }
            self.tell(step, &why);
            sleep(POLL.min(limit / 100)).await;
        }
    }

    async fn healthy(&mut self, step: &RestoreStep) -> Result<(), Error> {
        let (targets, options) = (self.targets, self.options);
        let tell = |results: &[health::CheckResult]| {
            if let Some(problem) = health::first_problem(results, &options.except) {
                self.tell(step, &problem.to_string());
            }
        };
        health::wait(targets, &options.except, options.limit, tell).await.map(drop)
    }
}

async fn waits_for_bootstrap(client: &Client) -> Result<(), String> {
    let services = client.services().await.map_err(|error| error.to_string())?;
    match services.iter().find(|service| service.id == "etcd") {
        Some(etcd) if matches!(etcd.state.as_str(), "Preparing" | "Failed") => Ok(()),
        Some(etcd) => Err(format!("etcd: {}", etcd.reason())),
        None => Err("etcd is not there yet".to_owned()),
    }
}

async fn votes(client: &Client) -> Result<(), String> {
    let status = client.etcd_status().await.map_err(|error| error.to_string())?;
    match (status.is_learner, status.leader) {
        (true, _) => Err("its etcd does not vote yet".to_owned()),
        (_, 0) => Err("its etcd follows no leader".to_owned()),
        _ => Ok(()),
    }
}
