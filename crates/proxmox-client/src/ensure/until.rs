//! The course that smaller things share: read, make what is left, read again.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use super::{ATTEMPTS, may_work, pause};
use crate::error::{Error, ErrorKind, Result};

/// What a step will answer. Boxed, as whether a task of any thread may have it could not be told
/// of a future that borrows.
pub(super) type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// How often the same difference is seen after all of it was answered: a node that did not make a
/// change itself may show it a little later.
const SAME: u32 = 3;

/// What a look at the state led to.
enum Round {
    /// Nothing is left.
    Over,
    /// What was left was made.
    Made,
    /// What is left was made already, and answered.
    Same,
}

struct Work<C> {
    done: Vec<C>,
    /// What the last round made.
    answered: Vec<C>,
}

impl<C: Clone + PartialEq> Work<C> {
    async fn round<'a, T: Clone>(
        &mut self,
        left: &impl Fn() -> Later<'a, (Vec<C>, T)>,
        make: &impl Fn(C, T) -> Later<'a, ()>,
    ) -> Result<Round> {
        let (changes, seen) = left().await?;
        // What is left was not made, whatever the answer was.
        self.done.retain(|change| !changes.contains(change));
        if changes.is_empty() {
            return Ok(Round::Over);
        }
        if changes.iter().all(|change| self.answered.contains(change)) {
            return Ok(Round::Same);
        }
        self.answered.clear();
        for change in changes {
            let made = make(change.clone(), seen.clone()).await;
            if made.as_ref().err().is_none_or(Error::may_have_been_applied) {
                self.done.push(change.clone());
            }
            made?;
            self.answered.push(change);
        }
        Ok(Round::Made)
    }
}

/// Makes what is left until nothing is, and gives what was made. `left` reads the state; what it
/// reads beside is given to `make` with each change.
pub(super) async fn done<'a, C, T>(
    operation: &str,
    left: impl Fn() -> Later<'a, (Vec<C>, T)>,
    make: impl Fn(C, T) -> Later<'a, ()>,
) -> Result<Vec<C>>
where
    C: Clone + PartialEq + fmt::Display,
    T: Clone,
{
    let mut work = Work { done: Vec::new(), answered: Vec::new() };
    let (mut attempt, mut same) = (0, 0);
    loop {
        match work.round(&left, &make).await {
            Ok(Round::Over) => return Ok(work.done),
            Ok(Round::Made) => {}
            Ok(Round::Same) => {
                same += 1;
                if same >= SAME {
                    let texts: Vec<String> =
                        work.answered.iter().map(ToString::to_string).collect();
                    let text = format!(
                        "the server does not keep it as it was set: {}. It writes it in another way, or somebody else changes it",
                        texts.join("; ")
                    );
                    return Err(Error::new(ErrorKind::Conflict, operation, text).applied(true));
                }
                tokio::time::sleep(Duration::from_millis(150 << same)).await;
            }
            Err(error) if may_work(&error) && attempt < ATTEMPTS => {
                attempt += 1;
                pause(attempt, &error).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// What came of a call that was repeated until it was answered.
pub(super) struct Answered<T> {
    /// The last answer.
    pub(super) answer: Result<T>,
    /// A try before the last one may have done it: its answer was lost.
    pub(super) lost: bool,
}

/// Makes a call that ends the same however often it is made, until it is answered.
pub(super) async fn answered<'a, T>(call: impl Fn() -> Later<'a, T>) -> Answered<T> {
    let (mut attempt, mut lost) = (0, false);
    loop {
        match call().await {
            Err(error) if again(&error) && attempt < ATTEMPTS => {
                lost |= error.may_have_been_applied();
                attempt += 1;
                pause(attempt, &error).await;
            }
            answer => return Answered { answer, lost },
        }
    }
}

fn again(error: &Error) -> bool {
    may_work(error) || error.may_have_been_applied()
}

/// Removes what is there, and gives whether it was. An answered removal is the end of it: what is
/// there afterwards was made anew, and is somebody else's. Only one whose answer was lost is
/// repeated, after another look.
pub(super) async fn gone<'a>(
    is_there: impl Fn() -> Later<'a, bool>,
    remove: impl Fn() -> Later<'a, ()>,
) -> Result<bool> {
    let look = || -> Later<'a, Option<bool>> {
        let looking = is_there();
        Box::pin(async move { looking.await.map(Some) })
    };
    gone_unseen(look, remove).await
}

/// As [`gone`], of what the caller may not be allowed to see: the look gives none then, and the
/// removal is tried. One that is answered counts as a removal of what was there.
pub(super) async fn gone_unseen<'a>(
    is_there: impl Fn() -> Later<'a, Option<bool>>,
    remove: impl Fn() -> Later<'a, ()>,
) -> Result<bool> {
    let (mut was_there, mut attempt) = (false, 0);
    loop {
        match answered(&is_there).await.answer? {
            Some(false) => return Ok(was_there),
            Some(true) => was_there = true,
            None => {}
        }
        match remove().await {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(was_there),
            Err(error) if again(&error) && attempt < ATTEMPTS => {
                was_there |= error.may_have_been_applied();
                attempt += 1;
                pause(attempt, &error).await;
            }
            Err(error) => return Err(error),
        }
    }
}
