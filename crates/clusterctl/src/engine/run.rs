//! The scheduler: one task owns all state, steps only report to it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::drive::{Driver, Ended, Later};
use super::event::{Event, EventKind, Outcome, Summary};
use super::graph::Order;
use super::journal::{Journal, JournalError, RecordKind};
use super::plan::Plan;
use super::step::{Action, Check, Step, StepError, StepId, Token};

/// Carries out the actions of a plan.
pub trait Executor<A: Action>: Send + Sync + 'static {
    /// Looks whether the step's effect is there, and whether it can be carried out.
    fn check(
        &self,
        step: &Step<A>,
        context: &StepContext,
    ) -> impl Future<Output = Result<Check, StepError>> + Send;

    /// Carries the step out. Called only after [`Executor::check`] said [`Check::Ready`], again
    /// after it failed in a way that may pass; so it must be safe to repeat.
    fn perform(
        &self,
        step: &Step<A>,
        context: &StepContext,
    ) -> impl Future<Output = Result<(), StepError>> + Send;

    /// Proves that the step had the effect it is there for.
    fn verify(
        &self,
        step: &Step<A>,
        context: &StepContext,
    ) -> impl Future<Output = Result<(), StepError>> + Send;
}

/// How much may happen at once.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Steps at once, over all.
    pub parallelism: usize,
    /// Steps at once that hold one key of a token's class; 1 for a class that is not named.
    pub per_class: BTreeMap<String, usize>,
}

impl Limits {
    fn of(&self, token: &Token) -> usize {
        self.per_class.get(&token.class).copied().unwrap_or(1).max(1)
    }
}

/// How a run is carried out.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The run's id.
    pub run: String,
    /// How much may happen at once.
    pub limits: Limits,
    /// First pause before something is tried again; doubled each time.
    pub retry_first: Duration,
    /// Longest pause before something is tried again.
    pub retry_longest: Duration,
    /// When cancelled, no new step is started; steps that run finish their call.
    pub stop: CancellationToken,
}

/// What a step's code may use beside its action.
#[derive(Debug, Clone)]
pub struct StepContext {
    pub(super) step: StepId,
    begun: Instant,
    pub(super) deadline: Instant,
    pub(super) stop: CancellationToken,
    events: UnboundedSender<Event>,
    pub(super) journal: Arc<Journal>,
}

impl StepContext {
    fn emit(&self, kind: EventKind) {
        let elapsed_ms = millis(self.begun.elapsed());
        let event = Event { step: Some(self.step.clone()), elapsed_ms, kind };
        // Nobody listening is no reason to stop working.
        drop(self.events.send(event));
    }

    /// Tells why the step waits.
    pub fn waiting(&self, reason: impl Into<String>) {
        self.emit(EventKind::Waiting { reason: reason.into() });
    }

    /// Tells something that does not stop the step and that whoever started the run should know.
    pub fn remark(&self, text: impl Into<String>) {
        self.emit(EventKind::Remark { text: text.into() });
    }

    /// Tells how many bytes were moved.
    pub fn progress(&self, done: u64, total: Option<u64>) {
        self.emit(EventKind::Progress { done, total });
    }

    /// Notes something in the journal that a later run can use; never a secret.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn mark(&self, key: &str, value: &str) -> Result<(), StepError> {
        let what = RecordKind::Mark { key: key.to_owned(), value: value.to_owned() };
        self.journal.write(Some(&self.step), what).map_err(|error| journal_failed(&error))
    }

    /// The run was asked to stop; a step that waits gives up then.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// When the step's budget ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

pub(super) fn journal_failed(error: &JournalError) -> StepError {
    let mut message = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        message = format!("{message}: {source}");
    }
    StepError::failed_with_help(message, "free space or mend permissions, then run it again")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Carries out a plan. Independent steps go on when one fails; its dependents are skipped.
///
/// The returned summary has an outcome for every step.
///
/// # Errors
/// The journal cannot be written: steps that run are waited for, nothing new is started.
///
/// # Cancel safety
/// Not cancel safe: use [`RunOptions::stop`].
pub async fn run<A: Action, E: Executor<A>>(
    plan: Arc<Plan<A>>,
    executor: Arc<E>,
    journal: Arc<Journal>,
    events: UnboundedSender<Event>,
    options: RunOptions,
) -> Result<Summary, JournalError> {
    let order = plan.order().unwrap_or_else(|_| Order {
        sequence: Vec::new(),
        dependents: BTreeMap::new(),
        weight: BTreeMap::new(),
    });
    let begun = Instant::now();
    let what = RecordKind::Run {
        format: super::journal::JOURNAL_FORMAT,
        run: options.run.clone(),
        tree: plan.base.tree.clone(),
        steps: plan.steps.len(),
    };
    journal.write(None, what)?;
    let mut dispatcher = Dispatcher {
        waiting: plan.steps.iter().map(|(id, step)| (id.clone(), step.after.len())).collect(),
        ready: BTreeSet::new(),
        held: BTreeMap::new(),
        running: BTreeMap::new(),
        postponed: BTreeMap::new(),
        outcomes: BTreeMap::new(),
        tasks: JoinSet::new(),
        broken: None,
        begun,
        plan,
        order,
        executor,
        journal,
        events,
        options,
    };
    dispatcher.emit(
        None,
        EventKind::RunStarted {
            run: dispatcher.options.run.clone(),
            steps: dispatcher.plan.steps.len(),
        },
    );
    dispatcher.work().await;
    dispatcher.close()
}

struct Dispatcher<A, E> {
    plan: Arc<Plan<A>>,
    order: Order,
    executor: Arc<E>,
    journal: Arc<Journal>,
    events: UnboundedSender<Event>,
    options: RunOptions,
    begun: Instant,
    /// For each step that has not ended, how many it still waits for.
    waiting: BTreeMap<StepId, usize>,
    /// Steps that wait for nothing but tokens: heaviest chain first, then by id.
    ready: BTreeSet<(std::cmp::Reverse<u64>, StepId)>,
    held: BTreeMap<Token, usize>,
    running: BTreeMap<tokio::task::Id, (StepId, Instant)>,
    /// Steps that could not begin yet, with what their next try goes on from. They hold nothing.
    postponed: BTreeMap<StepId, Postponed>,
    outcomes: BTreeMap<StepId, Outcome>,
    tasks: JoinSet<Ended>,
    broken: Option<JournalError>,
}

/// A step between two tries to begin.
#[derive(Debug)]
struct Postponed {
    /// When it is tried again; none while it is.
    due: Option<Instant>,
    reason: String,
    pause: Duration,
    deadline: Instant,
    begun: Instant,
}

impl<A: Action, E: Executor<A>> Dispatcher<A, E> {
    fn emit(&self, step: Option<&StepId>, kind: EventKind) {
        let elapsed_ms = millis(self.begun.elapsed());
        // Nobody listening is no reason to stop working.
        drop(self.events.send(Event { step: step.cloned(), elapsed_ms, kind }));
    }

    fn stopping(&self) -> bool {
        self.options.stop.is_cancelled() || self.broken.is_some()
    }

    async fn work(&mut self) {
        let free: Vec<StepId> = self
            .waiting
            .iter()
            .filter(|(_, count)| **count == 0)
            .map(|(id, _)| id.clone())
            .collect();
        for id in free {
            self.enqueue(id);
        }
        let stop = self.options.stop.clone();
        let mut told = false;
        loop {
            if self.stopping() {
                self.give_up_what_waits();
            } else {
                self.start_what_fits();
            }
            let due = self.postponed.values().filter_map(|step| step.due).min();
            if self.tasks.is_empty() && due.is_none() {
                break;
            }
            tokio::select! {
                ended = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => match ended {
                    Some(Ok((task, Ended::Over(outcome)))) => self.ended(task, outcome),
                    Some(Ok((task, Ended::Later(later)))) => self.postpone(task, later),
                    Some(Err(error)) => {
                        let message = format!("the step's code stopped: {error}");
                        let outcome = Outcome::Failed { message, help: None };
                        self.ended(error.id(), outcome);
                    }
                    None => {}
                },
                () = sleep_until(due), if due.is_some() => self.take_up_what_is_due(),
                () = stop.cancelled(), if !told => {
                    told = true;
                    self.emit(None, EventKind::Stopping);
                }
            }
        }
    }

    /// Frees what a step holds.
    fn release(&mut self, id: &StepId) {
        let plan = Arc::clone(&self.plan);
        for token in plan.steps.get(id).into_iter().flat_map(|step| &step.tokens) {
            if let Some(count) = self.held.get_mut(token) {
                *count = count.saturating_sub(1);
            }
        }
    }

    fn postpone(&mut self, task: tokio::task::Id, later: Later) {
        let Some((id, begun)) = self.running.remove(&task) else { return };
        self.release(&id);
        let Later { reason, wait, pause, deadline } = later;
        let due = Some(Instant::now() + wait);
        self.postponed.insert(id, Postponed { due, reason, pause, deadline, begun });
    }

    fn take_up_what_is_due(&mut self) {
        let now = Instant::now();
        let mut ready = Vec::new();
        for (id, step) in &mut self.postponed {
            if step.due.is_some_and(|due| due <= now) {
                step.due = None;
                ready.push(id.clone());
            }
        }
        for id in ready {
            self.enqueue(id);
        }
    }

    /// The run stops: what has not begun will not.
    fn give_up_what_waits(&mut self) {
        let running: BTreeSet<&StepId> = self.running.values().map(|(id, _)| id).collect();
        let waits: Vec<StepId> =
            self.postponed.keys().filter(|id| !running.contains(id)).cloned().collect();
        for id in waits {
            let Some(step) = self.postponed.remove(&id) else { continue };
            let reason = format!("stopped while waiting: {}", step.reason);
            self.over(id, step.begun, Outcome::Skipped { reason });
        }
    }

    fn enqueue(&mut self, id: StepId) {
        let weight = self.order.weight.get(&id).copied().unwrap_or(0);
        self.ready.insert((std::cmp::Reverse(weight), id));
    }

    /// Starts every ready step whose tokens are free, heaviest first. A step that has to wait for
    /// a token holds none meanwhile.
    fn start_what_fits(&mut self) {
        let plan = Arc::clone(&self.plan);
        let candidates: Vec<_> = self.ready.iter().cloned().collect();
        for entry in candidates {
            if self.running.len() >= self.options.limits.parallelism.max(1) {
                return;
            }
            let Some(step) = plan.steps.get(&entry.1) else { continue };
            let fits = step.tokens.iter().all(|token| {
                self.held.get(token).copied().unwrap_or(0) < self.options.limits.of(token)
            });
            if fits {
                self.ready.remove(&entry);
                self.start(step);
            }
        }
    }

    fn start(&mut self, step: &Step<A>) {
        for token in &step.tokens {
            *self.held.entry(token.clone()).or_default() += 1;
        }
        let now = Instant::now();
        // One that was postponed goes on with its time and its pauses.
        let (begun, deadline, pause) = match self.postponed.get(&step.id) {
            Some(before) => (before.begun, before.deadline, before.pause),
            None => {
                self.emit(Some(&step.id), EventKind::Started);
                (now, now + step.budget(), self.options.retry_first)
            }
        };
        let context = StepContext {
            step: step.id.clone(),
            begun: self.begun,
            deadline,
            stop: self.options.stop.clone(),
            events: self.events.clone(),
            journal: Arc::clone(&self.journal),
        };
        let driver = Driver {
            plan: Arc::clone(&self.plan),
            executor: Arc::clone(&self.executor),
            pause,
            longest: self.options.retry_longest,
            context,
        };
        let task = self.tasks.spawn(driver.drive()).id();
        self.running.insert(task, (step.id.clone(), begun));
    }

    fn ended(&mut self, task: tokio::task::Id, outcome: Outcome) {
        let Some((id, begun)) = self.running.remove(&task) else { return };
        self.postponed.remove(&id);
        self.release(&id);
        self.over(id, begun, outcome);
    }

    /// Writes down and tells how a step ended, and goes on behind it.
    fn over(&mut self, id: StepId, begun: Instant, outcome: Outcome) {
        let (ok, note) = match &outcome {
            Outcome::Changed => (true, "changed".to_owned()),
            Outcome::Unchanged { reason } => (true, format!("unchanged: {reason}")),
            Outcome::Failed { message, .. } => (false, format!("failed: {message}")),
            Outcome::Unverified { reason } => (false, format!("not verified: {reason}")),
            Outcome::Skipped { reason } => (false, format!("skipped: {reason}")),
        };
        // On the disk before any step that depends on it is started.
        if let Err(error) = self.journal.write(Some(&id), RecordKind::End { ok, note }) {
            self.broken.get_or_insert(error);
        }
        let took_ms = millis(begun.elapsed());
        let finished = EventKind::Finished { outcome: outcome.clone(), took_ms };
        self.emit(Some(&id), finished);
        self.settle(id, outcome);
    }

    /// Records an outcome, frees or skips the steps behind it.
    fn settle(&mut self, id: StepId, outcome: Outcome) {
        let mut settled = vec![(id, outcome)];
        while let Some((id, outcome)) = settled.pop() {
            self.waiting.remove(&id);
            let dependents = self.order.dependents.get(&id).cloned().unwrap_or_default();
            for next in dependents {
                let Some(count) = self.waiting.get_mut(&next) else { continue };
                if outcome.is_success() {
                    *count -= 1;
                    if *count == 0 {
                        self.enqueue(next);
                    }
                } else {
                    let reason = match &outcome {
                        Outcome::Skipped { reason } => reason.clone(),
                        Outcome::Unverified { .. } => format!("{id} is not verified yet"),
                        _ => format!("{id} failed"),
                    };
                    let skipped = Outcome::Skipped { reason };
                    let kind = EventKind::Finished { outcome: skipped.clone(), took_ms: 0 };
                    self.emit(Some(&next), kind);
                    self.waiting.remove(&next);
                    settled.push((next, skipped));
                }
            }
            self.outcomes.insert(id, outcome);
        }
    }

    fn close(mut self) -> Result<Summary, JournalError> {
        let left: Vec<StepId> =
            self.plan.steps.keys().filter(|id| !self.outcomes.contains_key(id)).cloned().collect();
        for id in left {
            let outcome = Outcome::Skipped { reason: "the run was stopped".to_owned() };
            let kind = EventKind::Finished { outcome: outcome.clone(), took_ms: 0 };
            self.emit(Some(&id), kind);
            self.outcomes.insert(id, outcome);
        }
        let summary = Summary {
            outcomes: std::mem::take(&mut self.outcomes),
            cancelled: self.options.stop.is_cancelled(),
            elapsed_ms: millis(self.begun.elapsed()),
        };
        self.emit(None, EventKind::RunFinished { summary: summary.clone() });
        if let Some(error) = self.broken {
            return Err(error);
        }
        self.journal.write(None, RecordKind::Closed { ok: summary.is_success() })?;
        Ok(summary)
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
