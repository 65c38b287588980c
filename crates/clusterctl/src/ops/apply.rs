//! `apply`: makes the site as the tree says. `destroy` uses the same way of carrying out a plan.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::plan::Report;
use super::session::{Session, runtime};
use super::{Context, Error, ErrorKind};
use crate::compose::action::Action;
use crate::compose::draft::Wish;
use crate::compose::execute::Hands;
use crate::compose::lock::{self, Holder, Lease};
use crate::compose::world::Etcd;
use crate::engine::{
    Event, Impact, Journal, Limits, Outcome, Plan, RunOptions, Summary, look_back, run,
};

/// How many steps are under way at once.
pub const PARALLELISM: usize = 16;

/// How many failed steps the last word of a run repeats.
const REPEATED: usize = 10;

/// How many machines are made on one storage at once. Each of a machine's three allocations waits
/// at most 10 s for the storage's lock and holds it for about half a second: eight machines queue
/// well within that. On a slower storage a creation that ran out of time is tried again later, and
/// while it waits it keeps its place here, so that fewer contend.
const AT_ONE_STORAGE: usize = 8;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Paths of the tree; the working folder when there are none.
    pub targets: Vec<String>,
    /// Work in the lab.
    pub lab: bool,
    /// Machines that the tree has no more may be removed.
    pub allow_remove: bool,
    /// A saved plan that is to be carried out, and no other.
    pub saved: Option<PathBuf>,
    /// Steps at once.
    pub parallelism: usize,
}

/// Who sees a plan before it is carried out, and what comes of it.
pub trait Console {
    /// Whether the plan is to be carried out.
    fn confirm(&self, report: &Report) -> Result<bool, Error>;

    /// Whether a plan that removes things is to be carried out; `word` has to be typed.
    fn confirm_removal(&self, report: &Report, word: &str) -> Result<bool, Error>;

    /// Shows events until there are no more.
    fn follow(
        &self,
        plan: &Plan<Action>,
        events: UnboundedReceiver<Event>,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// Cancelled when the user asks to stop.
    fn stop(&self) -> CancellationToken;

    /// Tells something.
    fn tell(&self, text: &str);
}

/// What came of it.
#[derive(Debug)]
pub struct Applied {
    /// How each step ended; none when there was nothing to do.
    pub summary: Option<Summary>,
    /// What it was about, as paths of the tree; empty for everything.
    pub target: Vec<String>,
}

/// Makes the site as the tree says.
///
/// # Errors
/// Something stands in the way, another operator is at work, or steps failed.
pub fn apply(
    context: &Context,
    options: &Options,
    console: &(impl Console + Sync),
) -> Result<Applied, Error> {
    let session = Session::open(context, options.lab)?;
    let target = session.target(context, &options.targets)?;
    let wish = Wish { target, allow_remove: options.allow_remove };
    let saved = options.saved.as_ref().map(|path| read_saved(context, path)).transpose()?;
    runtime()?.block_on(async {
        let at_work = AtWork::begin(context, &session, console).await?;
        let asked = Asked { wish, saved, parallelism: options.parallelism };
        let done = carry_out(&session, &at_work, asked, console).await;
        at_work.end(console).await;
        done
    })
}

fn read_saved(context: &Context, path: &std::path::Path) -> Result<Plan<Action>, Error> {
    let path = context.cwd.join(path);
    let failed = || Error::failed(format!("read the plan {}", path.display()));
    let text = fs_err::read_to_string(&path).map_err(|error| failed().because(error))?;
    Plan::from_json(&text).map_err(|error| failed().because(error))
}

/// What a run is asked for.
struct Asked {
    wish: Wish,
    saved: Option<Plan<Action>>,
    parallelism: usize,
}

async fn carry_out(
    session: &Session,
    at_work: &AtWork,
    asked: Asked,
    console: &(impl Console + Sync),
) -> Result<Applied, Error> {
    let Asked { wish, saved, parallelism } = asked;
    // A saved plan names its own target.
    let wish = match &saved {
        Some(plan) => Wish {
            target: crate::compose::target::Target::of(
                &session.crew.site,
                &session.crew.lock_file().ledger,
                &session.crew.site.live,
                &plan.target,
            )?,
            allow_remove: wish.allow_remove || has_removal(plan),
        },
        None => wish,
    };
    let made = unless_stopped(console, Box::pin(session.make(&wish))).await?;
    // Also where the lock file was lost since.
    for cluster in &session.crew.site.clusters {
        match (made.world.etcd(cluster), made.world.cilium_image(cluster)) {
            (Etcd::Runs, seen) => session.crew.note_etcd(cluster, seen)?,
            (_, Some(seen)) => session.crew.note_image(cluster, seen)?,
            (_, None) => {}
        }
    }
    let (storages, networks) = (made.world.storages.clone(), made.world.sdn.clone());
    let report = Report::of(session, made);
    if let Some(refusal) = report.refusal() {
        return Err(refusal);
    }
    if let Some(saved) = &saved {
        fresh(saved, &report.plan)?;
    }
    let is_empty = report.plan.is_empty();
    // A saved plan was agreed to when it was saved; one that has nothing to do is only told.
    if (saved.is_none() || is_empty) && !console.confirm(&report)? {
        return Err(Error::new(ErrorKind::Interrupted, "nothing was changed"));
    }
    session.forget_vanished(&networks).await?;
    if is_empty {
        return Ok(Applied { summary: None, target: report.plan.target });
    }
    let interrupted = at_work.interrupted.clone();
    let hands = Hands::new(Arc::clone(&session.crew), storages, interrupted);
    at_work.run(report.plan, hands, parallelism, console).await
}

/// A look at the site; when the user asks to stop it is given up, since it changes nothing.
pub(super) async fn unless_stopped<T>(
    console: &(impl Console + Sync),
    look: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let stop = console.stop();
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::new(ErrorKind::Interrupted, "nothing was changed")),
        seen = look => seen,
    }
}

/// Whether a plan was made with leave to remove things: only then it destroys anything.
fn has_removal(plan: &Plan<Action>) -> bool {
    plan.steps.values().any(|step| step.impact == Impact::Destroy)
}

/// A saved plan is carried out only while tree and site are what they were.
fn fresh(saved: &Plan<Action>, now: &Plan<Action>) -> Result<(), Error> {
    let what = if saved.base.tree != now.base.tree {
        "the tree changed"
    } else if saved.base.observation != now.base.observation || saved.steps != now.steps {
        "the site changed"
    } else {
        return Ok(());
    };
    Err(Error::refused(format!("the saved plan is stale: {what} since it was made"))
        .hint("make a new one with `clusterctl plan --out FILE`"))
}

/// A run that holds the lock and writes a journal.
pub(super) struct AtWork {
    lease: Lease,
    run: String,
    pub(super) interrupted: Vec<String>,
}

impl AtWork {
    /// Takes the lock and looks at what an earlier run left.
    pub(super) async fn begin(
        context: &Context,
        session: &Session,
        console: &(impl Console + Sync),
    ) -> Result<Self, Error> {
        let crew = &session.crew;
        crew.layout
            .prepare()
            .map_err(|error| Error::failed("make our own folder").because(error))?;
        let run = run_id();
        let holder = Holder::this(&run, &context.variables);
        let file = lock::local_path(&crew.layout.own());
        let lease = lock::acquire(&crew.proxmox, &crew.site_key, &file, holder).await?;
        if let Some(warning) = &lease.warning {
            console.tell(&format!("warning: {warning}"));
        }
        let at_work = Self { lease, run, interrupted: Vec::new() };
        match Self::before(session, console) {
            Ok(interrupted) => Ok(Self { interrupted, ..at_work }),
            Err(error) => {
                at_work.end(console).await;
                Err(error)
            }
        }
    }

    /// Steps that an earlier run may have left half done.
    fn before(session: &Session, console: &(impl Console + Sync)) -> Result<Vec<String>, Error> {
        let layout = &session.crew.layout;
        // A run that ended between our first look and our lock wrote it.
        session.crew.read_lock_file_again()?;
        let past = look_back(&layout.journal()).map_err(|error| {
            Error::failed("read the journals of earlier runs").because(error).hint(
                "they tell what a run that was cut left: mend the folder, or move them away once \
                 no run of this tree was cut",
            )
        })?;
        for path in past.unreadable {
            console.tell(&format!(
                "warning: {} is not readable to its end; move it away",
                path.display()
            ));
        }
        if let Some(cut) = past.cut {
            console.tell(&format!(
                "run {} was cut: {} of {} step(s) were done; going on from there",
                cut.run,
                cut.done.len(),
                cut.steps
            ));
        }
        Ok(past.unsettled.iter().map(ToString::to_string).collect())
    }

    /// Carries out a plan.
    pub(super) async fn run(
        &self,
        plan: Plan<Action>,
        hands: Hands,
        parallelism: usize,
        console: &(impl Console + Sync),
    ) -> Result<Applied, Error> {
        let journal = Journal::create(&hands.crew().layout.journal(), &self.run, now_ms)
            .map_err(|error| Error::failed("begin the journal").because(error))?;
        let (sender, receiver) = unbounded_channel();
        let shown = tokio::spawn(console.follow(&plan, receiver));
        let per_class = [("storage".to_owned(), AT_ONE_STORAGE)].into();
        let lab = hands.crew().is_lab();
        let stop = console.stop().child_token();
        let options = RunOptions {
            run: self.run.clone(),
            limits: Limits { parallelism, per_class },
            retry_first: Duration::from_millis(if lab { 100 } else { 500 }),
            retry_longest: Duration::from_secs(if lab { 1 } else { 5 }),
            stop: stop.clone(),
        };
        let lost = self.lease.lost();
        let watch = tokio::spawn({
            let lost = lost.clone();
            async move {
                lost.cancelled().await;
                stop.cancel();
            }
        });
        let (plan, hands, journal) = (Arc::new(plan), Arc::new(hands), Arc::new(journal));
        let ended = run(Arc::clone(&plan), hands, journal, sender, options).await;
        watch.abort();
        // The last lines are shown before anything else is said.
        drop(shown.await);
        if lost.is_cancelled() {
            return Err(Error::new(
                ErrorKind::Locked,
                "the lock of the site was taken away from this run",
            )
            .detail("steps that were under way have ended, nothing new was started")
            .hint("see who is at work before you run it again: somebody used `unlock`"));
        }
        let summary = ended.map_err(|error| Error::failed("write the journal").because(error))?;
        verdict(&plan, summary)
    }

    /// Ends the lock.
    pub(super) async fn end(self, console: &(impl Console + Sync)) {
        if let Err(error) = self.lease.release().await {
            console.tell(&format!(
                "warning: {} (the next run of this host takes it over)",
                super::chain(&error)
            ));
        }
    }
}

/// What a run that ended means.
fn verdict(plan: &Plan<Action>, summary: Summary) -> Result<Applied, Error> {
    // One that was asked to stop at its last step has ended all the same.
    if summary.is_success() {
        return Ok(Applied { summary: Some(summary), target: plan.target.clone() });
    }
    let failed: Vec<_> = summary
        .outcomes
        .iter()
        .filter_map(|(id, outcome)| match outcome {
            Outcome::Failed { message, .. } => Some((plan.steps.get(id)?, message)),
            _ => None,
        })
        .collect();
    let only_health =
        failed.iter().all(|(step, _)| matches!(step.action, Action::AwaitCluster { .. }));
    let kind = match (summary.cancelled, only_health, summary.changed()) {
        (true, _, _) => ErrorKind::Interrupted,
        (_, true, _) => ErrorKind::Health,
        (_, false, 0) => ErrorKind::Failed,
        (_, false, _) => ErrorKind::Partly,
    };
    let (failures, skipped) = (failed.len(), summary.skipped());
    let (text, hint) = if summary.cancelled {
        (
            format!(
                "the run was stopped: {failures} step(s) failed, {skipped} were not carried out, \
                 {} were and are not verified yet",
                summary.unverified()
            ),
            "the same command goes on from there",
        )
    } else {
        (
            format!("{failures} step(s) failed, {skipped} were not started"),
            "the same command goes on from there once the cause is gone",
        )
    };
    // Their lines have scrolled away by now.
    let error = failed.iter().take(REPEATED).fold(Error::new(kind, text), |error, (step, why)| {
        error.detail(format!("failed: {}: {why}", step.title))
    });
    Err(error.hint(hint))
}

fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}

/// Sorts by time, and no two are alike.
fn run_id() -> String {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S");
    let unique = uuid::Uuid::new_v4().simple().to_string();
    format!("{now}-{}", unique.get(..8).unwrap_or_default())
}
