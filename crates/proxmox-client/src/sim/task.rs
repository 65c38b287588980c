//! Worker tasks: they start with the call and work afterwards.

use std::sync::Arc;
use std::time::Duration;

use super::auth::Identity;
use super::fail::lock_text;
use super::fault::FaultAction;
use super::reply::Call;
use super::server::Inner;
use super::state::{State, Task};

/// What a task does next.
pub(crate) enum Step {
    /// It is done.
    Done(Result<(), String>),
    /// It looks again after this real time.
    Again(Duration),
}

/// Work of a task: called with the state, possibly several times.
pub(crate) type Work = Box<dyn FnMut(&mut State, &Arc<Inner>, u64) -> Step + Send>;

/// A task that is to be started.
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) kind: String,
    /// The machine whose lock the task holds.
    pub(crate) lock: Option<u32>,
    /// The machine that the task makes, which is gone when it fails.
    pub(crate) makes: Option<u32>,
    pub(crate) work: Work,
}

/// Wraps work that is done in one step.
pub(crate) fn once(
    work: impl FnOnce(&mut State, &Arc<Inner>, u64) -> Result<(), String> + Send + 'static,
) -> Work {
    let mut work = Some(work);
    Box::new(move |state, inner, number| match work.take() {
        Some(work) => Step::Done(work(state, inner, number)),
        None => Step::Done(Ok(())),
    })
}

const KEEP: usize = 20_000;
/// The log of one task of so many is late, where answers are in disorder.
const LATE: u64 = 3;

impl State {
    /// Records a new task on a node.
    #[expect(clippy::too_many_arguments, reason = "the parts of a task id")]
    pub(crate) fn task_new(
        &mut self,
        node: &str,
        kind: &str,
        id: &str,
        user: &Identity,
        now: u64,
    ) -> (u64, String) {
        let number = self.next();
        let pid = 0x1000 + number % 0x3F_0000;
        let pstart = (number * 7 + now) % 0xFFFF_FFFF;
        let upid =
            format!("UPID:{node}:{pid:08X}:{pstart:08X}:{now:08X}:{kind}:{id}:{}:", user.full());
        let task = Task {
            upid: upid.clone(),
            node: node.to_owned(),
            kind: kind.to_owned(),
            id: id.to_owned(),
            user: user.full(),
            pid,
            pstart,
            start: now,
            end: None,
            exit: None,
            log: Vec::new(),
            hidden: false,
        };
        self.upids.insert(upid.clone(), number);
        self.tasks.insert(number, task);
        if self.tasks.len() > KEEP {
            let old =
                self.tasks.iter().find(|(_, task)| task.end.is_some()).map(|(number, _)| *number);
            if let Some(task) = old.and_then(|number| self.tasks.remove(&number)) {
                self.upids.remove(&task.upid);
            }
        }
        (number, upid)
    }

    /// Ends a task that still runs.
    pub(crate) fn task_end(&mut self, number: u64, exit: &str, now: u64) {
        if let Some(task) = self.tasks.get_mut(&number).filter(|task| task.end.is_none()) {
            task.log.push(match exit {
                "OK" => "TASK OK".to_owned(),
                warned if warned.starts_with("WARNINGS") => format!("TASK {warned}"),
                error => format!("TASK ERROR: {error}"),
            });
            task.end = Some(now);
            task.exit = Some(exit.to_owned());
        }
        self.flocks.retain(|_, owner| *owner != number);
    }

    /// Adds a line to the log of a task.
    pub(crate) fn task_log(&mut self, number: u64, line: impl Into<String>) {
        if let Some(task) = self.tasks.get_mut(&number) {
            task.log.push(line.into());
        }
    }

    fn task_runs(&self, number: u64) -> bool {
        self.tasks.get(&number).is_some_and(|task| task.end.is_none())
    }
}

impl Call<'_> {
    /// Starts a task on the node of the call and answers its UPID.
    pub(crate) fn start(
        &mut self,
        kind: &str,
        id: &str,
        lock: Option<u32>,
        work: Work,
    ) -> serde_json::Value {
        self.start_on_node(kind, id, lock, work)
    }

    fn start_on_node(
        &mut self,
        kind: &str,
        id: &str,
        lock: Option<u32>,
        work: Work,
    ) -> serde_json::Value {
        let (now, node) = (self.now(), self.node.clone());
        let (number, upid) = self.state.task_new(&node, kind, id, self.user, now);
        // In disorder the log of some is late.
        let hidden = self.inner.config.seed != 0 && number % LATE == 0;
        if let Some(task) = self.state.tasks.get_mut(&number) {
            task.hidden = hidden;
        }
        self.jobs.push(Job { number, kind: kind.to_owned(), lock, makes: None, work });
        serde_json::Value::String(upid)
    }
}

/// Runs a task to its end.
pub(crate) async fn run(inner: Arc<Inner>, mut job: Job, fault: Option<FaultAction>) {
    let limit = tokio::time::Instant::now() + inner.clock.limit(inner.config.lock_timeout);
    while let Some(vmid) = job.lock {
        let taken = {
            let mut state = inner.lock();
            let owner = *state.flocks.entry(vmid).or_insert(job.number);
            owner == job.number
        };
        if taken {
            break;
        }
        if tokio::time::Instant::now() >= limit {
            return finish(&inner, job.number, Err(lock_text(vmid)), None);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(inner.clock.work(inner.task_time(&job.kind))).await;
    if let Some(FaultAction::TaskFails(text)) = &fault {
        undo(&inner, &job);
        return finish(&inner, job.number, Err(text.clone()), None);
    }
    loop {
        let step = {
            let mut state = inner.lock();
            if !state.task_runs(job.number) {
                state.flocks.retain(|_, owner| *owner != job.number);
                return;
            }
            (job.work)(&mut state, &inner, job.number)
        };
        match step {
            Step::Done(result) => return finish(&inner, job.number, result, fault.as_ref()),
            Step::Again(time) => tokio::time::sleep(time).await,
        }
    }
}

/// A failed creation leaves no machine behind, and a failed task no lock of its own.
fn undo(inner: &Inner, job: &Job) {
    let mut state = inner.lock();
    let made = if job.kind == "qmcreate" { job.lock } else { job.makes };
    if let Some(vmid) = made {
        state.vms.remove(&vmid);
        for pool in state.pools.values_mut() {
            pool.vms.remove(&vmid);
        }
    }
    if job.kind == "qmigrate"
        && let Some(vm) = job.lock.and_then(|vmid| state.vms.get_mut(&vmid))
    {
        vm.conf.remove("lock");
    }
}

fn finish(
    inner: &Arc<Inner>,
    number: u64,
    result: Result<(), String>,
    fault: Option<&FaultAction>,
) {
    let exit = match (result, fault) {
        (Err(text), _) => text.lines().next().unwrap_or("unknown error").to_owned(),
        (Ok(()), Some(FaultAction::TaskWarns(count))) => format!("WARNINGS: {count}"),
        (Ok(()), _) => "OK".to_owned(),
    };
    let now = inner.clock.now();
    inner.lock().task_end(number, &exit, now);
    inner.save_soon();
}
