//! The program as a whole: its size, how fast it starts, checks, plans, and applies.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::measure::{median, ms};
use super::{Better, Line, Scale};
use crate::site::{Site, example, operator};

/// How long one verb may take before it counts as stuck.
const LIMIT: Duration = Duration::from_mins(3);

/// Size of the program as it is shipped.
pub(super) fn binary(_: &Scale) -> anyhow::Result<Vec<Line>> {
    let path = operator()?.with_file_name("clusterctl");
    let Ok(data) = fs_err::metadata(&path) else {
        let why = format!("{} is not built", path.display());
        return Ok(vec![Line::missing("binary", "MB", Better::Less, why).target(30.0)]);
    };
    let bytes = u32::try_from(data.len())?;
    let note =
        if cfg!(debug_assertions) { "not a release build" } else { "stripped release build" };
    Ok(vec![
        Line::new("binary", f64::from(bytes) / 1e6, "MB", Better::Less).target(30.0).note(note),
    ])
}

/// Median and least time of a command, in ms.
fn times(
    mut command: impl FnMut() -> anyhow::Result<Command>,
    runs: usize,
) -> anyhow::Result<(f64, f64)> {
    let mut all = Vec::new();
    for run in 0..=runs {
        let mut one = command()?;
        one.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let begun = Instant::now();
        let output = one.output()?;
        let took = ms(begun.elapsed());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{one:?}: {said}");
        // The first run brings the program into memory.
        if run > 0 {
            all.push(took);
        }
    }
    let middle = median(&mut all);
    Ok((middle, all.first().copied().unwrap_or_default()))
}

fn line(name: &str, target: f64, runs: usize, (middle, least): (f64, f64), what: &str) -> Line {
    let note = format!("{what}: median of {runs} runs, least {least:.1} ms");
    Line::new(name, middle, "ms", Better::Less).target(target).note(note)
}

/// The program starts and ends.
pub(super) fn start(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let (program, runs) = (operator()?, scale.pick(60, 2));
    let found = times(
        || {
            let mut command = Command::new(&program);
            command.arg("--version").env_clear();
            Ok(command)
        },
        runs,
    )?;
    Ok(vec![line("start", 10.0, runs, found, "process of `--version`")])
}

/// The example tree is checked.
pub(super) fn validate(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let (program, runs) = (operator()?, scale.pick(60, 2));
    let found = times(
        || {
            let mut command = Command::new(&program);
            command.arg("validate").current_dir(example().join("live")).env_clear();
            Ok(command)
        },
        runs,
    )?;
    Ok(vec![line("validate-example", 20.0, runs, found, "process of `validate`, 3 clusters")])
}

/// A plan of the example tree when there is nothing to do.
pub(super) fn plan_noop(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let site = Site::new()?;
    site.expect(&["lab", "up"], 0, LIMIT)?;
    site.expect(&["apply"], 0, LIMIT)?;
    let runs = scale.pick(20, 1);
    let found = times(|| site.command(&["plan", "--detailed-exitcode"]), runs)?;
    let what = "process of `plan`, 3 clusters of 13 nodes, lab of the same machine";
    Ok(vec![line("plan-noop-example", 300.0, runs, found, what)])
}

/// What a journal says: begin and end of the run, and of each step, in ms.
struct Run {
    wall: f64,
    steps: BTreeMap<String, f64>,
}

/// What a run told of itself: a step takes from where it is given its tokens to its end, its look
/// at what is there included.
fn told(events: &str) -> anyhow::Result<Run> {
    let mut steps = BTreeMap::new();
    let (mut first, mut last) = (None, 0.0);
    for event in events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let Some(step) = event["step"].as_str() else { continue };
        let time = event["elapsed_ms"].as_f64().context("an event without a time")?;
        first.get_or_insert(time);
        last = time;
        if let Some(took) = event["kind"]["took_ms"].as_f64() {
            steps.insert(step.to_owned(), took);
        }
    }
    Ok(Run { wall: last - first.context("a run without steps")?, steps })
}

/// The longest path along the edges, and the largest sum over one token that one step holds.
fn limits(plan: &Value, times: &BTreeMap<String, f64>) -> (f64, f64) {
    let steps = plan["steps"].as_object();
    let mut ends: BTreeMap<&str, f64> = BTreeMap::new();
    let mut tokens: BTreeMap<String, f64> = BTreeMap::new();
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut left: Vec<(&str, &Value)> =
        steps.into_iter().flatten().map(|(id, step)| (id.as_str(), step)).collect();
    for (id, step) in &left {
        for token in step["tokens"].as_array().into_iter().flatten() {
            // Several steps may use a storage at once.
            if token["class"] != "storage" {
                *tokens.entry(token.to_string()).or_default() +=
                    times.get(*id).copied().unwrap_or_default();
            }
        }
    }
    while !left.is_empty() {
        let before = left.len();
        left.retain(|(id, step)| {
            let after = texts(&step["after"]);
            let known: Option<Vec<f64>> =
                after.iter().map(|name| ends.get(name.as_str()).copied()).collect();
            let Some(known) = known else { return true };
            let begin = known.into_iter().fold(0.0, f64::max);
            ends.insert(id, begin + times.get(*id).copied().unwrap_or_default());
            false
        });
        if left.len() == before {
            break;
        }
    }
    (ends.into_values().fold(0.0, f64::max), tokens.into_values().fold(0.0, f64::max))
}

/// How near an apply comes to what its order allows.
pub(super) fn critical_path(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let runs = scale.pick(3, 1);
    let (mut ratios, mut note) = (Vec::new(), String::new());
    for _ in 0..runs {
        let site = Site::new()?;
        let up = ["lab", "up", "--latency-ms=20", "--node-latency-ms=20", "--task-ms=*=400"];
        site.expect(&up, 0, LIMIT)?;
        site.expect(&["plan", "--out", "saved.plan"], 0, LIMIT)?;
        let plan: Value =
            serde_json::from_str(&fs_err::read_to_string(site.live().join("saved.plan"))?)?;
        let args = ["--log-format", "json", "apply", "--plan", "saved.plan"];
        let run = told(&site.expect(&args, 0, LIMIT)?)?;
        let (path, token) = limits(&plan, &run.steps);
        ensure!(path > 0.0 && !run.steps.is_empty(), "the run told of no steps of the plan");
        ratios.push(run.wall / path.max(token));
        note = format!(
            "run of {} steps, 20 ms a call, 400 ms a task: wall {:.0} ms, longest path {path:.0} ms, \
             largest token {token:.0} ms; median of {runs}",
            run.steps.len(),
            run.wall
        );
    }
    let value = median(&mut ratios);
    Ok(vec![Line::new("apply-critical-path", value, "ratio", Better::Less).target(1.05).note(note)])
}
