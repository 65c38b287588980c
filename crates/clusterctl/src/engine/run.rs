//! The scheduler: one task owns all state, steps only report to it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::event::{Event, EventKind, Outcome, Summary};
use super::graph::Order;
use super::journal::{Journal, JournalError, RecordKind, UNCERTAIN};
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
    step: StepId,
    begun: Instant,
    deadline: Instant,
    stop: CancellationToken,
    events: UnboundedSender<Event>,
    journal: Arc<Journal>,
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

fn journal_failed(error: &JournalError) -> StepError {
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
    outcomes: BTreeMap<StepId, Outcome>,
    tasks: JoinSet<Outcome>,
    broken: Option<JournalError>,
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
            if !self.stopping() {
                self.start_what_fits();
            }
            tokio::select! {
                ended = self.tasks.join_next_with_id() => match ended {
                    Some(Ok((task, outcome))) => self.ended(task, outcome),
                    Some(Err(error)) => {
                        let message = format!("the step's code stopped: {error}");
                        let outcome = Outcome::Failed { message, help: None };
                        self.ended(error.id(), outcome);
                    }
                    None => break,
                },
                () = stop.cancelled(), if !told => {
                    told = true;
                    self.emit(None, EventKind::Stopping);
                }
            }
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
        let context = StepContext {
            step: step.id.clone(),
            begun: self.begun,
            deadline: now + step.budget(),
            stop: self.options.stop.clone(),
            events: self.events.clone(),
            journal: Arc::clone(&self.journal),
        };
        self.emit(Some(&step.id), EventKind::Started);
        let driver = Driver {
            plan: Arc::clone(&self.plan),
            executor: Arc::clone(&self.executor),
            pause: self.options.retry_first,
            longest: self.options.retry_longest,
            context,
        };
        let task = self.tasks.spawn(driver.drive()).id();
        self.running.insert(task, (step.id.clone(), now));
    }

    fn ended(&mut self, task: tokio::task::Id, outcome: Outcome) {
        let Some((id, begun)) = self.running.remove(&task) else { return };
        let plan = Arc::clone(&self.plan);
        if let Some(step) = plan.steps.get(&id) {
            for token in &step.tokens {
                if let Some(count) = self.held.get_mut(token) {
                    *count = count.saturating_sub(1);
                }
            }
        }
        let (ok, note) = match &outcome {
            Outcome::Changed => (true, "changed".to_owned()),
            Outcome::Unchanged { reason } => (true, format!("unchanged: {reason}")),
            Outcome::Failed { message, .. } => (false, format!("failed: {message}")),
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

/// Takes one step from its first check to its outcome.
struct Driver<A, E> {
    plan: Arc<Plan<A>>,
    executor: Arc<E>,
    context: StepContext,
    pause: Duration,
    longest: Duration,
}

enum Pause {
    Over,
    Ended(Outcome),
}

impl<A: Action, E: Executor<A>> Driver<A, E> {
    async fn drive(mut self) -> Outcome {
        let plan = Arc::clone(&self.plan);
        let Some(step) = plan.steps.get(&self.context.step) else {
            return Outcome::Skipped { reason: "the step is not in the plan".to_owned() };
        };
        match self.until_performed(step).await {
            Ok(()) => self.until_verified(step).await,
            Err(outcome) => outcome,
        }
    }

    async fn until_performed(&mut self, step: &Step<A>) -> Result<(), Outcome> {
        let mut begun = false;
        loop {
            let problem = match self.executor.check(step, &self.context).await {
                Ok(Check::Done(reason)) if begun => {
                    self.context.waiting(format!("took effect: {reason}"));
                    return Ok(());
                }
                Ok(Check::Done(reason)) => return Err(Outcome::Unchanged { reason }),
                Ok(Check::NotYet(reason)) => StepError::Later(reason),
                Err(error) => error,
                Ok(Check::Ready) => {
                    if !begun {
                        begun = true;
                        self.context
                            .journal
                            .write(Some(&step.id), RecordKind::Start)
                            .map_err(|error| failed(journal_failed(&error)))?;
                    }
                    match self.executor.perform(step, &self.context).await {
                        Ok(()) => return Ok(()),
                        Err(error) => error,
                    }
                }
            };
            self.pause_or_end(problem).await?;
        }
    }

    async fn until_verified(&mut self, step: &Step<A>) -> Outcome {
        loop {
            let problem = match self.executor.verify(step, &self.context).await {
                Ok(()) => return Outcome::Changed,
                Err(error) => error,
            };
            if let Err(outcome) = self.pause_or_end(problem).await {
                return outcome;
            }
        }
    }

    /// Waits before the next try, unless the problem does not pass or the budget is used up.
    async fn pause_or_end(&mut self, problem: StepError) -> Result<(), Outcome> {
        let reason = match problem {
            StepError::Later(reason) => reason,
            StepError::Uncertain(reason) => {
                // A later run must know that this one may have done more than was seen.
                self.context.mark(UNCERTAIN, &reason).map_err(failed)?;
                format!("looking again after: {reason}")
            }
            StepError::Failed { .. } => return Err(failed(problem)),
        };
        match self.sleep(&reason).await {
            Pause::Over => Ok(()),
            Pause::Ended(outcome) => Err(outcome),
        }
    }

    async fn sleep(&mut self, reason: &str) -> Pause {
        if Instant::now() + self.pause > self.context.deadline {
            let message = format!("gave up when the time for this step was used up: {reason}");
            return Pause::Ended(Outcome::Failed { message, help: None });
        }
        self.context.waiting(reason);
        let pause = self.pause;
        self.pause = (self.pause * 2).min(self.longest);
        tokio::select! {
            () = tokio::time::sleep(pause) => Pause::Over,
            () = self.context.stop.cancelled() => {
                let reason = format!("stopped while waiting: {reason}");
                Pause::Ended(Outcome::Skipped { reason })
            }
        }
    }
}

fn failed(error: StepError) -> Outcome {
    match error {
        StepError::Failed { message, help } => Outcome::Failed { message, help },
        StepError::Later(message) | StepError::Uncertain(message) => {
            Outcome::Failed { message, help: None }
        }
    }
}
