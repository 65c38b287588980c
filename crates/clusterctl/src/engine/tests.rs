use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::*;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Toy {
    Work(u64),
    Busy(u32),
    Lost,
    Fail,
    Panic,
    /// Can begin once that step is done.
    After(String),
    /// Is carried out, and never seen.
    Unseen,
    /// Goes on, and tells something.
    Remark,
}

#[derive(Debug, Default)]
struct World {
    log: Mutex<Vec<String>>,
    tries: Mutex<BTreeMap<String, u32>>,
    running: Mutex<BTreeMap<String, usize>>,
    most: Mutex<BTreeMap<String, usize>>,
    done: Mutex<BTreeSet<String>>,
}

impl Executor<Toy> for World {
    async fn check(&self, step: &Step<Toy>, _: &StepContext) -> Result<Check, StepError> {
        let done = self.done.lock().unwrap().contains(step.id.as_str());
        if let Toy::After(other) = &step.action
            && !self.done.lock().unwrap().contains(other)
        {
            return Ok(Check::NotYet(format!("{other} is not done")));
        }
        Ok(if done { Check::Done("it is there".into()) } else { Check::Ready })
    }

    async fn perform(&self, step: &Step<Toy>, context: &StepContext) -> Result<(), StepError> {
        let id = step.id.as_str().to_owned();
        let tries = {
            let mut tries = self.tries.lock().unwrap();
            let count = tries.entry(id.clone()).or_default();
            *count += 1;
            *count
        };
        match step.action {
            Toy::Busy(times) if tries <= times => return Err(StepError::Later("locked".into())),
            Toy::Lost => {
                self.done.lock().unwrap().insert(id);
                return Err(StepError::Uncertain("the reply was cut".into()));
            }
            Toy::Fail => return Err(StepError::failed("no")),
            Toy::Panic => panic!("toy"),
            Toy::Remark => context.remark("it goes another way"),
            Toy::Work(ms) => {
                for token in &step.tokens {
                    let mut running = self.running.lock().unwrap();
                    let count = running.entry(token.key.clone()).or_default();
                    *count += 1;
                    let mut most = self.most.lock().unwrap();
                    let seen = most.entry(token.key.clone()).or_default();
                    *seen = (*seen).max(*count);
                }
                tokio::time::sleep(Duration::from_millis(ms)).await;
                for token in &step.tokens {
                    *self.running.lock().unwrap().get_mut(&token.key).unwrap() -= 1;
                }
            }
            Toy::Busy(_) | Toy::After(_) | Toy::Unseen => {}
        }
        self.done.lock().unwrap().insert(id.clone());
        self.log.lock().unwrap().push(id);
        Ok(())
    }

    async fn verify(&self, step: &Step<Toy>, _: &StepContext) -> Result<(), StepError> {
        match step.action {
            Toy::Unseen => Err(StepError::Later("nothing is seen of it".into())),
            _ => Ok(()),
        }
    }
}

fn step(id: &str, action: Toy, after: &[&str], tokens: &[(&str, &str)]) -> Step<Toy> {
    Step {
        id: StepId::new(id),
        stage: "toy".into(),
        title: id.into(),
        action,
        impact: Impact::None,
        reasons: Vec::new(),
        after: after.iter().map(|id| StepId::new(*id)).collect(),
        tokens: tokens.iter().map(|(class, key)| Token::new(*class, *key)).collect(),
        estimate_ms: 10,
        budget_ms: 60_000,
    }
}

fn plan(steps: Vec<Step<Toy>>) -> Result<Plan<Toy>, PlanError> {
    let base = Base { tree: "t".into(), observation: "o".into() };
    Plan::new(base, vec![], steps)
}

fn options(stop: &CancellationToken) -> RunOptions {
    RunOptions {
        run: "r1".into(),
        limits: Limits { parallelism: 8, per_class: BTreeMap::from([("node".into(), 2)]) },
        retry_first: Duration::from_millis(100),
        retry_longest: Duration::from_secs(5),
        stop: stop.clone(),
    }
}

struct Ran {
    summary: Summary,
    world: Arc<World>,
    records: Vec<Record>,
    events: Vec<Event>,
    _dir: tempfile::TempDir,
}

async fn carry_out(steps: Vec<Step<Toy>>, world: World, stop: CancellationToken) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(Journal::create(dir.path(), "r1", || 7).unwrap());
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let world = Arc::new(world);
    let plan = Arc::new(plan(steps).unwrap());
    let path = journal.path().to_path_buf();
    let summary = run(plan, Arc::clone(&world), journal, sender, options(&stop)).await.unwrap();
    let mut events = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        events.push(event);
    }
    Ran { summary, world, records: Journal::read(&path).unwrap(), events, _dir: dir }
}

#[test]
fn order_depends_on_ids_and_a_cycle_is_shown_as_a_path() {
    let chain = plan(vec![
        step("c", Toy::Work(1), &["b"], &[]),
        step("a", Toy::Work(1), &[], &[]),
        step("b", Toy::Work(1), &["a"], &[]),
    ])
    .unwrap();
    let ids: Vec<String> = chain.order().unwrap().sequence.iter().map(StepId::to_string).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let cycle = plan(vec![
        step("a", Toy::Work(1), &["c"], &[]),
        step("b", Toy::Work(1), &["a"], &[]),
        step("c", Toy::Work(1), &["b"], &[]),
    ]);
    let Err(PlanError::Graph(error)) = cycle else { panic!("a cycle must be refused") };
    assert_eq!(error.to_string(), "steps wait for one another: a -> b -> c -> a");
    let missing = plan(vec![step("a", Toy::Work(1), &["x"], &[])]);
    assert!(matches!(missing, Err(PlanError::Graph(GraphError::Missing { .. }))));
    let twice = plan(vec![step("a", Toy::Fail, &[], &[]), step("a", Toy::Fail, &[], &[])]);
    assert!(matches!(twice, Err(PlanError::Duplicate(_))));
}

#[test]
fn a_plan_survives_being_saved_and_a_newer_format_is_refused() {
    let plan = plan(vec![step("a", Toy::Busy(2), &[], &[("vmid", "1")])]).unwrap();
    let text = plan.to_json().unwrap();
    assert_eq!(Plan::<Toy>::from_json(&text).unwrap(), plan);
    let newer = text.replacen("\"format\": 1", "\"format\": 2", 1);
    assert!(matches!(Plan::<Toy>::from_json(&newer), Err(PlanError::Format(2))));
    let typo = text.replacen("\"stage\"", "\"stagy\"", 1);
    assert!(matches!(Plan::<Toy>::from_json(&typo), Err(PlanError::Text(_))));
}

#[tokio::test(start_paused = true)]
async fn tokens_limit_what_runs_at_once() {
    let steps = (0..6)
        .map(|n| {
            let id = format!("s{n}");
            step(
                &id,
                Toy::Work(50),
                &[],
                &[("node", "n1"), ("vmid", if n < 3 { "a" } else { "b" })],
            )
        })
        .collect();
    let ran = carry_out(steps, World::default(), CancellationToken::new()).await;
    assert!(ran.summary.is_success());
    assert_eq!(
        *ran.world.most.lock().unwrap(),
        BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 1), ("n1".to_owned(), 2),])
    );
    assert_eq!(ran.summary.elapsed_ms, 150);
}

#[tokio::test(start_paused = true)]
async fn what_a_step_remarks_on_is_told_and_stops_nothing() {
    let steps = vec![step("a", Toy::Remark, &[], &[])];
    let ran = carry_out(steps, World::default(), CancellationToken::new()).await;
    assert_eq!(ran.summary.changed(), 1);
    let told = ran.events.iter().find(|event| matches!(event.kind, EventKind::Remark { .. }));
    let json = serde_json::to_value(told.unwrap()).unwrap();
    let kind = serde_json::json!({ "event": "remark", "text": "it goes another way" });
    assert_eq!((&json["step"], &json["kind"]), (&"a".into(), &kind));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_cannot_begin_yet_holds_nothing() {
    let domain = [("disruption", "sol")];
    let steps = vec![
        step("a", Toy::After("b".into()), &[], &domain),
        step("b", Toy::Work(1), &[], &domain),
        step("c", Toy::After("a".into()), &[], &domain),
    ];
    let ran = carry_out(steps, World::default(), CancellationToken::new()).await;
    assert!(ran.summary.is_success(), "{:?}", ran.summary);
    assert_eq!(*ran.world.log.lock().unwrap(), ["b", "a", "c"]);
    assert!(ran.summary.elapsed_ms < 1000, "{}", ran.summary.elapsed_ms);
    let begun = ran.events.iter().filter(|event| matches!(event.kind, EventKind::Started));
    assert_eq!(begun.count(), 3, "a step that is tried again does not begin again");

    // It is given up in its own time, and when the run stops.
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(90)).await;
        asked.cancel();
    });
    let mut long = step("long", Toy::After("never".into()), &[], &domain);
    long.budget_ms = 600_000;
    let short = step("short", Toy::After("never".into()), &[], &domain);
    let ran = carry_out(vec![long, short], World::default(), stop).await;
    let outcome = |id: &str| &ran.summary.outcomes[&StepId::new(id)];
    let reason = "stopped while waiting: never is not done".to_owned();
    assert_eq!(outcome("long"), &Outcome::Skipped { reason });
    assert!(
        matches!(outcome("short"), Outcome::Failed { message, .. } if message.contains("gave up"))
    );
    assert!((90_000..91_000).contains(&ran.summary.elapsed_ms), "{}", ran.summary.elapsed_ms);
}

#[tokio::test(start_paused = true)]
async fn a_failure_skips_dependents_only() {
    let steps = vec![
        step("a", Toy::Fail, &[], &[]),
        step("b", Toy::Work(1), &["a"], &[]),
        step("c", Toy::Work(1), &["b"], &[]),
        step("d", Toy::Work(1), &[], &[]),
        step("e", Toy::Panic, &[], &[]),
    ];
    let ran = carry_out(steps, World::default(), CancellationToken::new()).await;
    assert_eq!((ran.summary.changed(), ran.summary.failed(), ran.summary.skipped()), (1, 2, 2));
    let skipped = Outcome::Skipped { reason: "a failed".into() };
    assert_eq!(ran.summary.outcomes.get(&StepId::new("c")), Some(&skipped));
    assert_eq!(*ran.world.log.lock().unwrap(), ["d"]);
}

#[tokio::test(start_paused = true)]
async fn busy_is_tried_later_and_an_uncertain_reply_is_looked_at_again() {
    let steps = vec![step("a", Toy::Busy(3), &[], &[]), step("b", Toy::Lost, &["a"], &[])];
    let ran = carry_out(steps, World::default(), CancellationToken::new()).await;
    assert!(ran.summary.is_success());
    let tries = ran.world.tries.lock().unwrap();
    assert_eq!((tries["a"], tries["b"]), (4, 1));
    let waits: Vec<&EventKind> = ran
        .events
        .iter()
        .map(|event| &event.kind)
        .filter(|kind| matches!(kind, EventKind::Waiting { .. }))
        .collect();
    assert_eq!(waits.len(), 5, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn the_budget_ends_waiting_with_the_reason() {
    let mut busy = step("a", Toy::Busy(1000), &[], &[]);
    busy.budget_ms = 3_000;
    let ran = carry_out(vec![busy], World::default(), CancellationToken::new()).await;
    let Some(Outcome::Failed { message, .. }) = ran.summary.outcomes.get(&StepId::new("a")) else {
        panic!("the step must fail")
    };
    assert!(message.ends_with("locked"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn what_is_done_already_is_not_repeated() {
    let world = World::default();
    world.done.lock().unwrap().insert("a".into());
    let steps = vec![step("a", Toy::Work(1), &[], &[]), step("b", Toy::Work(1), &["a"], &[])];
    let ran = carry_out(steps, world, CancellationToken::new()).await;
    assert_eq!((ran.summary.unchanged(), ran.summary.changed()), (1, 1));
    assert_eq!(*ran.world.log.lock().unwrap(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_starts_nothing_new_and_finishes_what_runs() {
    let stop = CancellationToken::new();
    let steps = vec![step("a", Toy::Work(100), &[], &[]), step("b", Toy::Work(1), &["a"], &[])];
    let later = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        later.cancel();
    });
    let ran = carry_out(steps, World::default(), stop).await;
    assert!(ran.summary.cancelled);
    assert_eq!((ran.summary.changed(), ran.summary.skipped()), (1, 1));
    assert_eq!(*ran.world.log.lock().unwrap(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_carried_out_and_not_yet_seen_is_told_so_when_the_run_stops() {
    let stop = CancellationToken::new();
    let steps = vec![step("a", Toy::Unseen, &[], &[]), step("b", Toy::Work(1), &["a"], &[])];
    let later = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        later.cancel();
    });
    let ran = carry_out(steps, World::default(), stop).await;
    let outcome = |id: &str| &ran.summary.outcomes[&StepId::new(id)];
    let reason = "stopped while waiting: nothing is seen of it".to_owned();
    assert_eq!(outcome("a"), &Outcome::Unverified { reason });
    assert_eq!(outcome("b"), &Outcome::Skipped { reason: "a is not verified yet".to_owned() });
    assert!(ran.summary.cancelled && !ran.summary.is_success());
    assert_eq!((ran.summary.changed(), ran.summary.failed()), (0, 0));
    assert_eq!((ran.summary.unverified(), ran.summary.skipped()), (1, 1));
    let ends = ran.records.iter().filter_map(|record| match &record.what {
        RecordKind::End { ok, .. } => Some(*ok),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), [false], "the next run has to look at it");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_step_is_on_the_disk_before_its_dependents_begin() {
    let steps = vec![step("a", Toy::Work(1), &[], &[]), step("b", Toy::Work(1), &["a"], &[])];
    let ran = carry_out(steps, World::default(), CancellationToken::new()).await;
    let lines: Vec<String> = ran
        .records
        .iter()
        .map(|record| {
            let step = record.step.as_ref().map_or("-", StepId::as_str);
            let what = match record.what {
                RecordKind::Run { .. } => "run",
                RecordKind::Start => "start",
                RecordKind::Mark { .. } => "mark",
                RecordKind::End { .. } => "end",
                RecordKind::Closed { .. } => "closed",
            };
            format!("{step} {what}")
        })
        .collect();
    assert_eq!(lines, ["- run", "a start", "a end", "b start", "b end", "- closed"]);
}

#[test]
fn a_run_that_was_cut_is_found_and_its_last_half_line_ignored() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(look_back(&dir.path().join("none")).unwrap(), Past::default());
    let journal = Journal::create(dir.path(), "r9", || 9).unwrap();
    let run = RecordKind::Run { format: 1, run: "r9".into(), tree: "t".into(), steps: 3 };
    journal.write(None, run).unwrap();
    let (a, b) = (StepId::new("a"), StepId::new("b"));
    journal.write(Some(&a), RecordKind::Start).unwrap();
    journal.write(Some(&a), RecordKind::End { ok: true, note: "changed".into() }).unwrap();
    journal.write(Some(&b), RecordKind::Start).unwrap();
    let mark = RecordKind::Mark { key: "upid".into(), value: "UPID:x".into() };
    journal.write(Some(&b), mark).unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(journal.path()).unwrap();
    std::io::Write::write_all(&mut file, b"{\"seq\":5,\"ti").unwrap();
    let found = look_back(dir.path()).unwrap().cut.unwrap();
    assert_eq!(found.done, [a]);
    assert_eq!(found.begun, std::slice::from_ref(&b));
    assert_eq!(found.marks, [(b, "upid".to_owned(), "UPID:x".to_owned())]);
    assert!(Journal::create(dir.path(), "r9", || 9).is_err(), "a journal is never overwritten");
    journal.write(None, RecordKind::Closed { ok: true }).unwrap_or(());
}
