//! `plan`, `apply` and their kin on the command line.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::args::{self, Global, OutputForm};
use super::env::Environment;
use super::exit::Exit;
use super::form::structured;
use super::render::events::{Label, Progress, Style};
use super::render::plan::{self as words, Stakes};
use super::{data, say};
use crate::compose::action::Action;
use crate::compose::effect::{Counts, Effect};
use crate::engine::{Event, Plan};
use crate::ops::apply::{Console, Options as ApplyOptions, apply as carry_out};
use crate::ops::destroy::{Options as DestroyOptions, destroy as remove, plan as plan_removal};
use crate::ops::plan::{Options as PlanOptions, Report, plan as make};
use crate::ops::{Context, Error, ErrorKind};

/// How often a question that waits looks whether the user asks to stop.
const LOOK: Duration = Duration::from_millis(50);

fn stakes(report: &Report, removal: bool) -> Stakes {
    Stakes {
        clusters: report.clusters.clone(),
        calls: report.calls,
        problems: report.problems.len(),
        removal,
    }
}

/// `plan`.
pub(super) fn plan(context: &Context, options: args::Plan, global: &Global) -> Result<Exit, Error> {
    let wanted = PlanOptions {
        targets: options.targets,
        lab: global.lab,
        allow_remove: options.allow_remove,
        out: options.out.clone(),
    };
    let report = make(context, &wanted)?;
    tell_warnings(&report);
    show(&report, global.output, false)?;
    if let Some(refusal) = report.refusal() {
        return Err(refusal);
    }
    if let Some(path) = &options.out {
        say(&format!("saved; `clusterctl apply --plan {}` carries it out", path.display()));
    }
    let changes = options.detailed_exitcode && !report.plan.is_empty();
    Ok(if changes { Exit::Changes } else { Exit::Success })
}

/// Prints a plan.
fn show(report: &Report, form: OutputForm, removal: bool) -> Result<(), Error> {
    match form {
        OutputForm::Json | OutputForm::Yaml => {
            data(&structured(&as_json(report), form)?.unwrap_or_default());
        }
        OutputForm::Markdown => data(&words::markdown(&report.plan, &stakes(report, removal))),
        OutputForm::Name => {
            for id in report.plan.steps.keys() {
                data(&format!("{id}\n"));
            }
        }
        OutputForm::Table | OutputForm::Wide => {
            data(&words::text(&report.plan, &stakes(report, removal)));
        }
    }
    Ok(())
}

fn as_json(report: &Report) -> serde_json::Value {
    let problems: Vec<_> = report
        .problems
        .iter()
        .map(|problem| json!({ "text": problem.text, "help": problem.help }))
        .collect();
    let mut plan = json!(report.plan);
    for (id, step) in &report.plan.steps {
        if let Some(shown) = plan.get_mut("steps").and_then(|steps| steps.get_mut(id.as_str())) {
            shown["effect"] = json!(Effect::of(step));
        }
    }
    json!({
        "plan": plan,
        "counts": Counts::of(&report.plan),
        "problems": problems,
        "warnings": report.warnings,
        "clusters": report.clusters,
        "worst_impact": report.plan.worst_impact(),
        "estimated_calls": report.calls,
    })
}

fn tell_warnings(report: &Report) {
    for warning in &report.warnings {
        say(&format!("warning: {warning}"));
    }
}

/// `apply`.
pub(super) fn apply(
    context: &Context,
    options: args::Apply,
    global: &Global,
    environment: &Environment,
) -> Result<Exit, Error> {
    if options.dry_run {
        let options = args::Plan {
            targets: options.targets,
            out: None,
            detailed_exitcode: options.detailed_exitcode,
            allow_remove: options.allow_remove,
        };
        return plan(context, options, global);
    }
    let console = Terminal::new(global, environment);
    let wanted = ApplyOptions {
        targets: options.targets,
        lab: global.lab,
        allow_remove: options.allow_remove,
        saved: options.plan,
        parallelism: global.parallelism.into(),
    };
    let applied = carry_out(context, &wanted, &console)?;
    if applied.summary.is_some() {
        say(&match applied.target.as_slice() {
            [] => "the site is as the tree says".to_owned(),
            [one] => format!("{one} is as the tree says"),
            all => format!("{} are as the tree says", all.join(", ")),
        });
    }
    Ok(Exit::Success)
}

/// `destroy`.
pub(super) fn destroy(
    context: &Context,
    options: args::Destroy,
    global: &Global,
    environment: &Environment,
) -> Result<Exit, Error> {
    let wanted = DestroyOptions {
        targets: options.targets,
        lab: global.lab,
        parallelism: global.parallelism.into(),
    };
    if options.dry_run {
        let report = plan_removal(context, &wanted)?;
        tell_warnings(&report);
        show(&report, global.output, true)?;
        return match report.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(Exit::Success),
        };
    }
    let console = Terminal::new(global, environment);
    let done = remove(context, &wanted, &console)?;
    if done.summary.is_some() {
        say("what was made is gone");
    }
    Ok(Exit::Success)
}

/// The user's terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    yes: bool,
    can_ask: bool,
    style: Style,
    stop: CancellationToken,
}

impl Terminal {
    pub(super) fn new(global: &Global, environment: &Environment) -> Self {
        let style = match (global.log_format, environment.can_draw) {
            (args::LogFormat::Json, _) => Style::Json,
            (args::LogFormat::Text, true) => Style::Terminal,
            (args::LogFormat::Text, false) => Style::Plain,
        };
        let stop = CancellationToken::new();
        listen(&stop);
        Self { yes: global.yes, can_ask: environment.can_ask, style, stop }
    }

    /// Asks; the answer must be the whole word.
    pub(super) fn ask(&self, question: &str, word: &str) -> Result<bool, Error> {
        if self.yes {
            return Ok(true);
        }
        if !self.can_ask {
            return Err(Error::usage("nobody can be asked: standard input is no terminal")
                .hint("--yes answers all questions"));
        }
        let mut err = std::io::stderr().lock();
        drop(write!(err, "{question} Type {word:?} to go on: ").and_then(|()| err.flush()));
        drop(err);
        Ok(self.answer()?.trim() == word)
    }

    /// A line of standard input; an empty one when the user asks to stop instead.
    fn answer(&self) -> Result<String, Error> {
        // Reading cannot be given up, so another thread does it; it ends with the program.
        let (sender, receiver) = std::sync::mpsc::channel();
        let reader = std::thread::Builder::new().name("answer".to_owned()).spawn(move || {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line).map(|_| line);
            drop(sender.send(read));
        });
        let failed = |error: std::io::Error| Error::failed("read the answer").because(error);
        drop(reader.map_err(failed)?);
        loop {
            match receiver.recv_timeout(LOOK) {
                Ok(line) => return line.map_err(failed),
                Err(RecvTimeoutError::Disconnected) => return Ok(String::new()),
                Err(RecvTimeoutError::Timeout) if self.stop.is_cancelled() => {
                    say("");
                    return Ok(String::new());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// The first signal asks the run to stop, the second ends the program.
fn listen(stop: &CancellationToken) {
    let stop = stop.clone();
    let listener = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            wait_for_signal(true).await;
            stop.cancel();
            // A session that ends may say so more than once; that is no second wish.
            wait_for_signal(false).await;
            end_at_once();
        });
    });
    // Without the thread a signal ends the program, as it does by default.
    drop(listener);
}

async fn wait_for_signal(hangup_counts: bool) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // A terminal that goes away, as with a lost session, is no reason to stop in mid-call.
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::hangup()));
        if let (Ok(mut term), Ok(mut hangup)) = signals {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = term.recv() => {}
                _ = hangup.recv(), if hangup_counts => {}
            }
            return;
        }
    }
    let _ = hangup_counts;
    drop(tokio::signal::ctrl_c().await);
}

#[expect(clippy::exit, reason = "the user asked twice")]
fn end_at_once() {
    std::process::exit(i32::from(Exit::Failure(ErrorKind::Interrupted).code()));
}

impl Console for Terminal {
    fn confirm(&self, report: &Report) -> Result<bool, Error> {
        tell_warnings(report);
        say(words::text(&report.plan, &stakes(report, false)).trim_end());
        if report.plan.is_empty() {
            return Ok(true);
        }
        self.ask("Carry this out?", "yes")
    }

    fn confirm_removal(&self, report: &Report, word: &str) -> Result<bool, Error> {
        tell_warnings(report);
        say(words::text(&report.plan, &stakes(report, true)).trim_end());
        if report.plan.is_empty() {
            return Ok(true);
        }
        self.ask("This removes what is listed, for good.", word)
    }

    fn follow(
        &self,
        plan: &Plan<Action>,
        events: UnboundedReceiver<Event>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let labels: BTreeMap<_, _> = plan
            .steps
            .iter()
            .map(|(id, step)| {
                (id.clone(), Label { stage: step.stage.clone(), title: step.title.clone() })
            })
            .collect();
        Progress::new(self.style, labels).follow(events)
    }

    fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    fn tell(&self, text: &str) {
        say(text);
    }
}
