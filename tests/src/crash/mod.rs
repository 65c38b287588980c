//! The crash sweep: a run is killed, or its network cut, at many points; the next run must end in
//! the state of one that nobody disturbed.

mod judge;
mod point;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;

pub use judge::{Verdict, truth_of};
pub use point::{How, Point, When, points};

use crate::site::{Site, nap};

/// What is applied: one cluster with all that it needs.
const TARGET: &str = "terra";
/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(90);
/// How long a network stays cut.
const CUT: Duration = Duration::from_millis(400);

/// What an undisturbed run is like.
#[derive(Debug, Clone)]
pub struct Reference {
    /// What it ends in.
    pub truth: serde_json::Value,
    /// Lines that it writes to its journal.
    pub journal_lines: usize,
    /// Calls that it makes to Proxmox.
    pub calls: u64,
    /// How long it takes.
    pub took: Duration,
}

fn calls(site: &Site) -> anyhow::Result<u64> {
    let truth = site.truth()?;
    let counters = truth.get("pve_calls").and_then(|calls| calls.as_object()).cloned();
    let counts = counters.unwrap_or_default();
    Ok(counts.values().filter_map(|one| one.get("count")?.as_u64()).sum())
}

/// Runs once, undisturbed.
///
/// # Errors
/// It does not succeed.
pub fn reference() -> anyhow::Result<Reference> {
    let site = Site::new()?;
    site.expect(&["lab", "up"], 0, LIMIT)?;
    let before = calls(&site)?;
    let begun = Instant::now();
    site.expect(&["apply", TARGET], 0, LIMIT)?;
    let took = begun.elapsed();
    let calls = calls(&site)? - before;
    Ok(Reference { truth: truth_of(&site)?, journal_lines: site.journal_lines(), calls, took })
}

/// Disturbs one run at a point, lets the next one go on, and judges.
///
/// # Errors
/// A program does not start, or the runs after it do not succeed.
pub fn disturb(reference: &Reference, point: &Point) -> anyhow::Result<Verdict> {
    let site = Site::new()?;
    site.expect(&["lab", "up"], 0, LIMIT)?;
    let lab = site.lab()?;
    let base = calls(&site)?;
    if let When::Call(number) = point.when {
        // The call hangs until the blow falls.
        let fault =
            json!({ "path": "*", "action": { "delay-ms": 20_000 }, "after": number, "times": 1 });
        lab.faults(json!({ "pve": [fault] }))?;
    }
    let mut child = site.spawn(&["apply", TARGET])?;
    let mut ended = false;
    let mut over = |child: &mut std::process::Child| {
        ended |= matches!(child.try_wait(), Ok(Some(_)));
        ended
    };
    match point.when {
        When::Journal { lines, then } => {
            Site::until(LIMIT, || site.journal_lines() >= lines || over(&mut child));
            nap(then);
        }
        When::Call(number) => {
            Site::until(LIMIT, || {
                nap(Duration::from_millis(5));
                calls(&site).is_ok_and(|now| now > base + number) || over(&mut child)
            });
        }
    }
    let bundle = judge::bundle(&site);
    match point.how {
        How::Kill => {
            child.kill().context("kill the run")?;
            child.wait()?;
        }
        How::Cut => {
            lab.faults(json!({
                "pve": [{ "path": "*", "action": "cut-before-reply" }],
                "talos": [{ "action": "refuse-connect" }, { "action": "drop-after" }],
            }))?;
            nap(CUT);
            lab.faults(json!({ "clear": true }))?;
            if !Site::until(LIMIT, || matches!(child.try_wait(), Ok(Some(_)))) {
                child.kill().context("kill the run")?;
                child.wait()?;
                bail!("the run did not end after its network was cut");
            }
        }
    }
    lab.faults(json!({ "clear": true }))?;
    // What one step could not do any more the next run does.
    let mut said = String::new();
    for _ in 0..3 {
        let output = site.run(&["apply", TARGET], LIMIT)?;
        if output.status.success() {
            site.expect(&["plan", TARGET, "--detailed-exitcode"], 0, LIMIT)?;
            return judge::judge(&site, reference, bundle);
        }
        said = String::from_utf8_lossy(&output.stderr).into_owned();
        if point.how == How::Kill {
            break;
        }
    }
    bail!("the next run failed:\n{said}")
}

/// Disturbs a run at each of these points, some at once. Gives what failed.
pub fn sweep(
    reference: &Reference,
    points: &[Point],
    at_once: usize,
    tell: &(dyn Fn(usize, &Point, &Result<(), String>) + Sync),
) -> Vec<(Point, String)> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(point) = points.get(index) else { return };
                    let outcome = match disturb(reference, point) {
                        Ok(Verdict::Same) => Ok(()),
                        Ok(Verdict::Other(what)) => Err(what),
                        Err(error) => Err(format!("{error:#}")),
                    };
                    tell(index, point, &outcome);
                    if let Err(why) = outcome
                        && let Ok(mut failed) = failed.lock()
                    {
                        failed.push((point.clone(), why));
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_default()
}
