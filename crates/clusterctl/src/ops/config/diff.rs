//! `config diff`: what it takes to get from one configuration to another.

use std::path::PathBuf;

use serde::Serialize;
use talos_client::config::{Effect, FieldChange, Hidden, MachineConfig, Prediction};

use super::super::{Context, Error};
use super::render::Tree;
use super::{minor_of, text_of};

/// The version whose habits count where none is named.
const NEWEST: u32 = 13;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration before.
    pub before: PathBuf,
    /// The one after.
    pub after: After,
    /// The version of Talos that the node runs.
    pub talos: Option<String>,
    /// With the secrets of the lab.
    pub lab: bool,
}

/// What a configuration is compared with.
#[derive(Debug, Clone)]
pub enum After {
    /// A file.
    File(PathBuf),
    /// What the tree gives a node.
    Node(String),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The document: kind and name.
    pub document: String,
    /// The field; empty for a whole document.
    pub path: String,
    /// The value before; none where it was not there. Secrets are fingerprints.
    pub before: Option<String>,
    /// The value after; none where it is removed.
    pub after: Option<String>,
    /// What it takes: `live`, `restart of` services, `reboot` or `reinstall`.
    pub effect: String,
    /// All of it on a line.
    #[serde(skip)]
    pub line: String,
}

/// All changes, and what they take together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The version of Talos whose habits count, such as `1.13`.
    pub talos: String,
    /// The changes.
    pub changes: Vec<Change>,
    /// What they take together.
    pub effect: String,
    /// The mode in which they are applied.
    pub mode: &'static str,
    /// Both, for people.
    pub verdict: String,
}

/// Compares two configurations.
///
/// # Errors
/// A file cannot be read or is no configuration, or the tree has no such node or no secrets for it.
pub fn diff(context: &Context, options: &Options) -> Result<Report, Error> {
    let read = |file: &PathBuf| {
        let text = text_of(context, file)?;
        MachineConfig::parse(&text)
            .map_err(|error| Error::failed(format!("read {}", file.display())).because(error))
    };
    let before = read(&options.before)?;
    let (after, hidden, minor) = match &options.after {
        After::File(file) => (read(file)?, Hidden::default(), NEWEST),
        After::Node(node) => Tree::open(context, options.lab)?.successor(node, &before)?,
    };
    let minor = options.talos.as_deref().map_or(Ok(minor), minor_of)?;
    let changes = before.diff_hiding(&after, &hidden);
    let all = Prediction::of(&changes, minor);
    let mode = if all.is_taken_live { "no-reboot" } else { "reboot" };
    let changes = changes.into_iter().map(|field| {
        let effect = words(&field.prediction(minor).effect);
        let line = format!("{field}  [{effect}]");
        let FieldChange { document, path, before, after } = field;
        Change { document, path, before, after, effect, line }
    });
    Ok(Report {
        talos: format!("1.{minor}"),
        changes: changes.collect(),
        verdict: verdict(&all.effect, mode),
        effect: words(&all.effect),
        mode,
    })
}

/// What all changes take, and how they are applied. A node may take as it runs what holds only later.
fn verdict(effect: &Effect, mode: &str) -> String {
    let later = match effect {
        Effect::Reboot => "reboot",
        Effect::Reinstall => "installation or upgrade",
        _ => return format!("{}; apply with --mode={mode}", words(effect)),
    };
    match mode {
        "no-reboot" => {
            format!("taken as it runs with --mode=no-reboot, holds from the next {later} on")
        }
        _ => format!("{}; apply with --mode={mode}", words(effect)),
    }
}

fn words(effect: &Effect) -> String {
    match effect {
        Effect::Live => "live".to_owned(),
        Effect::Restart(services) => format!("restart of {}", services.join(", ")),
        Effect::Reboot => "reboot".to_owned(),
        _ => "reinstall".to_owned(),
    }
}
