//! Progress of a run: lines on a terminal with bars for bytes, plain lines elsewhere, or JSON.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::engine::{Event, EventKind, Outcome, StepId, Summary};

/// How often a line tells what still runs when there is no terminal.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// What is shown of a step.
#[derive(Debug, Clone)]
pub struct Label {
    /// The stage that it belongs to.
    pub stage: String,
    /// What it does.
    pub title: String,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Live lines on a terminal.
    Terminal,
    /// One line an event.
    Plain,
    /// One JSON object an event.
    Json,
}

struct Running {
    since: Instant,
    reason: Option<String>,
    bytes: Option<(u64, Option<u64>)>,
    bar: Option<ProgressBar>,
}

/// How the steps of a stage ended.
#[derive(Debug, Default)]
struct Tally {
    all: usize,
    changed: usize,
    unchanged: usize,
    failed: usize,
    unverified: usize,
    skipped: usize,
}

impl Tally {
    fn add(&mut self, outcome: &Outcome) {
        *match outcome {
            Outcome::Changed => &mut self.changed,
            Outcome::Unchanged { .. } => &mut self.unchanged,
            Outcome::Failed { .. } => &mut self.failed,
            Outcome::Unverified { .. } => &mut self.unverified,
            Outcome::Skipped { .. } => &mut self.skipped,
        } += 1;
    }

    fn is_over(&self) -> bool {
        let good = self.changed + self.unchanged;
        good + self.failed + self.unverified + self.skipped == self.all
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} changed, {} unchanged", self.changed, self.unchanged)?;
        if self.failed + self.unverified + self.skipped > 0 {
            write!(f, ", {} FAILED, {} skipped", self.failed, self.skipped)?;
        }
        f.write_str(&not_verified(self.unverified))
    }
}

/// A live line is cut where the terminal ends: one that wraps cannot be drawn over.
const LINE: &str = "{spinner} {wide_msg} {elapsed:>4}";
/// The same for a step that moves bytes.
const BYTES: &str = "{spinner} {wide_msg} {bytes}/{total_bytes} {bytes_per_sec} {elapsed:>4}";

/// Shows events on standard error until the run ends.
pub struct Progress {
    style: Style,
    labels: BTreeMap<StepId, Label>,
    running: BTreeMap<StepId, Running>,
    stages: BTreeMap<String, Tally>,
    bars: MultiProgress,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("style", &self.style).finish_non_exhaustive()
    }
}

impl Progress {
    /// Shows the steps that have these labels.
    pub fn new(style: Style, labels: BTreeMap<StepId, Label>) -> Self {
        let target = match style {
            Style::Terminal => ProgressDrawTarget::stderr(),
            Style::Plain | Style::Json => ProgressDrawTarget::hidden(),
        };
        let mut stages: BTreeMap<String, Tally> = BTreeMap::new();
        for label in labels.values() {
            stages.entry(label.stage.clone()).or_default().all += 1;
        }
        Self {
            style,
            labels,
            running: BTreeMap::new(),
            stages,
            bars: MultiProgress::with_draw_target(target),
        }
    }

    /// Shows events until the stream ends.
    pub async fn follow(mut self, mut events: UnboundedReceiver<Event>) {
        let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.show(&event),
                    None => break,
                },
                _ = heartbeat.tick(), if self.style == Style::Plain => self.still_running(),
            }
        }
    }

    fn line(&self, text: &str) {
        if self.style == Style::Terminal {
            // Above the live lines; a closed terminal is no reason to stop.
            drop(self.bars.println(text));
        } else {
            drop(writeln!(std::io::stderr().lock(), "{text}"));
        }
    }

    fn title(&self, step: &StepId) -> String {
        self.labels.get(step).map_or_else(|| step.to_string(), |label| label.title.clone())
    }

    fn show(&mut self, event: &Event) {
        if self.style == Style::Json {
            if let Ok(text) = serde_json::to_string(event) {
                self.line(&text);
            }
            return;
        }
        match (&event.step, &event.kind) {
            (Some(step), EventKind::Started) => self.started(step),
            (Some(step), EventKind::Waiting { reason }) => self.waiting(step, reason),
            // It stays to be read, where a reason for waiting is drawn over.
            (Some(step), EventKind::Remark { text }) => {
                self.line(&format!("note     {}: {text}", self.title(step)));
            }
            (Some(step), EventKind::Progress { done, total }) => self.moved(step, *done, *total),
            (Some(step), EventKind::Finished { outcome, took_ms }) => {
                self.finished(step, outcome, *took_ms);
            }
            (None, EventKind::Stopping) => {
                self.line(
                    "stopping: running steps finish, nothing new starts (again to stop at once)",
                );
            }
            (None, EventKind::RunFinished { summary }) => self.summary(summary),
            _ => {}
        }
    }

    fn started(&mut self, step: &StepId) {
        let title = self.title(step);
        let bar = (self.style == Style::Terminal).then(|| {
            let bar = self.bars.add(ProgressBar::new_spinner());
            style(&bar, LINE);
            bar.set_message(title.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if self.style == Style::Plain {
            self.line(&format!("start    {title}"));
        }
        let since = Instant::now();
        self.running.insert(step.clone(), Running { since, reason: None, bytes: None, bar });
    }

    fn waiting(&mut self, step: &StepId, reason: &str) {
        let title = self.title(step);
        let Some(running) = self.running.get_mut(step) else { return };
        let changed = running.reason.as_deref() != Some(reason);
        running.reason = Some(reason.to_owned());
        match &running.bar {
            Some(bar) => bar.set_message(format!("{title}: {reason}")),
            None if changed => self.line(&format!("wait     {title}: {reason}")),
            None => {}
        }
    }

    fn moved(&mut self, step: &StepId, done: u64, total: Option<u64>) {
        let Some(running) = self.running.get_mut(step) else { return };
        running.bytes = Some((done, total));
        let Some(bar) = &running.bar else { return };
        if let Some(total) = total {
            if bar.length() != Some(total) {
                style(bar, BYTES);
                bar.set_length(total);
            }
            bar.set_position(done);
        }
    }

    fn finished(&mut self, step: &StepId, outcome: &Outcome, took_ms: u64) {
        let title = self.title(step);
        if let Some(Running { bar: Some(bar), .. }) = self.running.remove(step) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        let took = seconds(took_ms);
        match outcome {
            Outcome::Changed => self.line(&format!("done     {title} ({took})")),
            Outcome::Unchanged { reason } => self.line(&format!("same     {title}: {reason}")),
            Outcome::Failed { message, help } => {
                self.line(&format!("FAILED   {title} ({took}): {message}"));
                if let Some(help) = help {
                    self.line(&format!("         {help}"));
                }
            }
            Outcome::Unverified { reason } => {
                self.line(&format!("unsure   {title}: carried out, not verified yet: {reason}"));
            }
            Outcome::Skipped { reason } => self.line(&format!("skipped  {title}: {reason}")),
        }
        let Some(label) = self.labels.get(step) else { return };
        let Some(tally) = self.stages.get_mut(&label.stage) else { return };
        tally.add(outcome);
        if tally.is_over() {
            let text = format!("stage    {}: {tally}", label.stage);
            self.line(&text);
        }
    }

    fn still_running(&self) {
        for (step, running) in &self.running {
            let title = self.title(step);
            let elapsed = running.since.elapsed().as_secs();
            let reason = match (running.bytes, &running.reason) {
                (Some((done, total)), _) => moved(done, total),
                (None, Some(reason)) => reason.clone(),
                (None, None) => "running".to_owned(),
            };
            self.line(&format!("still    {title} ({elapsed} s): {reason}"));
        }
    }

    fn summary(&self, summary: &Summary) {
        self.line(&format!(
            "{} changed, {} unchanged, {} failed, {} skipped{} in {}",
            summary.changed(),
            summary.unchanged(),
            summary.failed(),
            summary.skipped(),
            not_verified(summary.unverified()),
            seconds(summary.elapsed_ms),
        ));
    }
}

/// Steps that a stop has cut between their work and its proof; nothing when there are none.
fn not_verified(count: usize) -> String {
    if count == 0 { String::new() } else { format!(", {count} not verified yet") }
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

/// How much was moved: `12 of 104 MiB`.
fn moved(done: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("{} of {} MiB", done >> 20, total.div_ceil(1 << 20)),
        None => format!("{} MiB", done >> 20),
    }
}

/// A time for people: `0.4 s`, `75 s`.
pub fn seconds(millis: u64) -> String {
    match millis {
        0..10_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        _ => format!("{} s", millis / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_failed_says_so() {
        let mut tally = Tally { all: 2, ..Tally::default() };
        tally.add(&Outcome::Changed);
        assert!(!tally.is_over());
        tally.add(&Outcome::Failed { message: String::new(), help: None });
        assert!(tally.is_over());
        assert_eq!(tally.to_string(), "1 changed, 0 unchanged, 1 FAILED, 0 skipped");
        tally.add(&Outcome::Unverified { reason: String::new() });
        assert!(tally.to_string().ends_with("0 skipped, 1 not verified yet"), "{tally}");
    }

    #[test]
    fn live_lines_fit_every_terminal() {
        for template in [LINE, BYTES] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
        assert_eq!(moved(12 << 20, Some((104 << 20) - 1)), "12 of 104 MiB");
    }
}
