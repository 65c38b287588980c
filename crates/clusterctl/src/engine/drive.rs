//! One step: looked at, carried out, proven.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::event::Outcome;
use super::journal::{RecordKind, UNCERTAIN};
use super::plan::Plan;
use super::run::{Executor, StepContext, journal_failed};
use super::step::{Action, Check, Step, StepError};

/// What came of a step's task.
pub(super) enum Ended {
    /// The step is over.
    Over(Outcome),
    /// It has not begun, and is tried again later: what it waits for may need its tokens.
    Later(Later),
}

/// A step that could not begin yet.
pub(super) struct Later {
    pub(super) reason: String,
    /// How long the next try waits.
    pub(super) wait: Duration,
    /// How long the one after that does.
    pub(super) pause: Duration,
    pub(super) deadline: Instant,
}

/// Takes one step from a check to its outcome, or to the next try.
pub(super) struct Driver<A, E> {
    pub(super) plan: Arc<Plan<A>>,
    pub(super) executor: Arc<E>,
    pub(super) context: StepContext,
    pub(super) pause: Duration,
    pub(super) longest: Duration,
}

enum Pause {
    Over,
    Ended(Outcome),
}

impl<A: Action, E: Executor<A>> Driver<A, E> {
    pub(super) async fn drive(mut self) -> Ended {
        let plan = Arc::clone(&self.plan);
        let Some(step) = plan.steps.get(&self.context.step) else {
            return Ended::Over(Outcome::Skipped {
                reason: "the step is not in the plan".to_owned(),
            });
        };
        match self.until_performed(step).await {
            Ok(()) => Ended::Over(self.until_verified(step).await),
            Err(ended) => ended,
        }
    }

    async fn until_performed(&mut self, step: &Step<A>) -> Result<(), Ended> {
        let mut begun = false;
        loop {
            let problem = match self.executor.check(step, &self.context).await {
                Ok(Check::Done(reason)) if begun => {
                    self.context.waiting(format!("took effect: {reason}"));
                    return Ok(());
                }
                Ok(Check::Done(reason)) => {
                    return Err(Ended::Over(Outcome::Unchanged { reason }));
                }
                Ok(Check::NotYet(reason)) | Err(StepError::Later(reason)) if !begun => {
                    return Err(self.later(reason));
                }
                Ok(Check::NotYet(reason)) => StepError::Later(reason),
                Err(error) => error,
                Ok(Check::Ready) => {
                    if !begun {
                        begun = true;
                        self.context
                            .journal
                            .write(Some(&step.id), RecordKind::Start)
                            .map_err(|error| Ended::Over(failed(journal_failed(&error))))?;
                    }
                    match self.executor.perform(step, &self.context).await {
                        Ok(()) => return Ok(()),
                        Err(error) => error,
                    }
                }
            };
            self.pause_or_end(problem).await.map_err(Ended::Over)?;
        }
    }

    /// Tries again later, unless the budget is used up.
    fn later(&self, reason: String) -> Ended {
        if let Some(outcome) = self.used_up(&reason) {
            return Ended::Over(outcome);
        }
        self.context.waiting(reason.as_str());
        Ended::Later(Later {
            reason,
            wait: self.pause,
            pause: self.next_pause(),
            deadline: self.context.deadline,
        })
    }

    fn next_pause(&self) -> Duration {
        (self.pause * 2).min(self.longest)
    }

    fn used_up(&self, reason: &str) -> Option<Outcome> {
        (Instant::now() + self.pause > self.context.deadline).then(|| Outcome::Failed {
            message: format!("gave up when the time for this step was used up: {reason}"),
            help: None,
        })
    }

    async fn until_verified(&mut self, step: &Step<A>) -> Outcome {
        loop {
            let problem = match self.executor.verify(step, &self.context).await {
                Ok(()) => return Outcome::Changed,
                Err(error) => error,
            };
            match self.pause_or_end(problem).await {
                Ok(()) => {}
                // It is carried out, whatever stopped the look at it.
                Err(Outcome::Skipped { reason }) => return Outcome::Unverified { reason },
                Err(outcome) => return outcome,
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
        if let Some(outcome) = self.used_up(reason) {
            return Pause::Ended(outcome);
        }
        self.context.waiting(reason);
        let pause = self.pause;
        self.pause = self.next_pause();
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
