//! `plan`: what it would take to make the site as the tree says. Nothing is changed.

use std::path::PathBuf;

use super::session::{Session, onlooker};
use super::{Context, Error};
use crate::compose::action::Action;
use crate::compose::draft::{Problem, Wish};
use crate::engine::Plan;
use crate::state::{Mode, write};

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Paths of the tree; the working folder when there are none.
    pub targets: Vec<String>,
    /// Work in the lab.
    pub lab: bool,
    /// Machines that the tree has no more may be removed.
    pub allow_remove: bool,
    /// Where the plan is saved.
    pub out: Option<PathBuf>,
}

/// A plan for people and programs.
#[derive(Debug, Clone)]
pub struct Report {
    /// The plan.
    pub plan: Plan<Action>,
    /// What stops it.
    pub problems: Vec<Problem>,
    /// Clusters that change.
    pub clusters: Vec<String>,
    /// Requests that carrying it out will make, about.
    pub calls: u64,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Report {
    pub(super) fn of(session: &Session, made: super::session::Made) -> Self {
        Self {
            plan: made.drafted.plan,
            problems: made.drafted.problems,
            clusters: made.drafted.clusters.into_iter().collect(),
            calls: made.calls,
            warnings: session.warnings.clone(),
        }
    }

    /// The failure that the problems are.
    pub fn refusal(&self) -> Option<Error> {
        if self.problems.is_empty() {
            return None;
        }
        let mut error = Error::refused(match self.problems.len() {
            1 => "one thing stands in the way of this plan".to_owned(),
            count => format!("{count} things stand in the way of this plan"),
        });
        // What is said of every node of a site is advised once.
        let mut by_help: Vec<(&str, Vec<&str>)> = Vec::new();
        for problem in &self.problems {
            match by_help.iter_mut().find(|(help, _)| *help == problem.help) {
                Some((_, texts)) => texts.push(&problem.text),
                None => by_help.push((&problem.help, vec![&problem.text])),
            }
        }
        for (help, texts) in by_help {
            error = error.detail(format!("{}\n  help: {help}", texts.join("\n")));
        }
        Some(error)
    }
}

/// Makes the plan; saves it where asked to, unless something stands in its way.
///
/// # Errors
/// The tree has errors, the site cannot be seen, or the file cannot be written.
pub fn plan(context: &Context, options: &Options) -> Result<Report, Error> {
    let session = Session::open(context, options.lab)?;
    let target = session.target(context, &options.targets)?;
    let wish = Wish { target, allow_remove: options.allow_remove };
    let made = onlooker()?.block_on(session.make(&wish))?;
    let report = Report::of(&session, made);
    if let Some(path) = options.out.as_ref().filter(|_| report.problems.is_empty()) {
        let text = report
            .plan
            .to_json()
            .map_err(|error| Error::new(super::ErrorKind::Bug, "save the plan").because(error))?;
        write(&context.cwd.join(path), text.as_bytes(), Mode::Private)
            .map_err(|error| Error::failed("save the plan").because(error))?;
    }
    Ok(report)
}
