//! `config validate`: what Talos says of configurations, with the lines that it is about.

use std::path::{Path, PathBuf};

use serde::Serialize;
use talos_client::config::{ConfigError, Finding, Lines, MachineConfig, Mode};

use super::super::{Context, Error};
use super::{minor_of, text_of};

/// The version whose rules apply where none is named.
const NEWEST: u32 = 13;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configurations.
    pub files: Vec<PathBuf>,
    /// How the machine runs Talos.
    pub mode: Mode,
    /// Warnings of the main document count as errors.
    pub strict: bool,
    /// The version of Talos; the newest one that is released where none is named.
    pub talos: Option<String>,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A node refuses the configuration.
    Error,
    /// Talos warns of it.
    Warning,
    /// Talos takes it without a word, and users regret it.
    Lint,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How bad it is.
    pub severity: Severity,
    /// The line, from 1, where one can be told.
    pub line: Option<usize>,
    /// The document: `v1alpha1`, or kind and name.
    pub document: String,
    /// The field; empty where it is the document as a whole, or none can be told.
    pub path: String,
    /// A word that stays the same whatever the text says.
    pub class: String,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What was found in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The file.
    pub file: PathBuf,
    /// Whether a node takes it.
    pub valid: bool,
    /// What was found, in the order of the lines.
    pub verdicts: Vec<Verdict>,
}

/// Checks configurations as a node does.
///
/// # Errors
/// A file cannot be read, or the version of Talos is not known.
pub fn validate(context: &Context, options: &Options) -> Result<Vec<Report>, Error> {
    let minor = options.talos.as_deref().map_or(Ok(NEWEST), minor_of)?;
    options.files.iter().map(|file| one(context, options, minor, file)).collect()
}

fn one(context: &Context, options: &Options, minor: u32, file: &Path) -> Result<Report, Error> {
    let text = text_of(context, file)?;
    let mut verdicts = match MachineConfig::load_for(&text, minor) {
        Err(error) => vec![refused(&error)],
        Ok(config) => {
            let lines = Lines::of(&text);
            let found = config.validate(options.mode, minor, options.strict);
            let of = |severity| move |finding| verdict(severity, finding);
            let errors = found.errors.into_iter().map(of(Severity::Error));
            let warnings = found.warnings.into_iter().map(of(Severity::Warning));
            let place = |mut one: Verdict| {
                one.line = lines.line(&one.document, &one.path);
                one
            };
            let regrets = config.lint(minor).into_iter().map(of(Severity::Lint));
            errors.chain(warnings).chain(regrets).map(place).collect()
        }
    };
    verdicts.sort_by_key(|one| one.line);
    let valid = !verdicts.iter().any(|one| one.severity == Severity::Error);
    Ok(Report { file: file.to_path_buf(), valid, verdicts })
}

fn refused(error: &ConfigError) -> Verdict {
    Verdict {
        severity: Severity::Error,
        line: error.line(),
        document: String::new(),
        path: String::new(),
        class: error.class().to_owned(),
        text: error.message().to_owned(),
        hint: error.hint().map(str::to_owned),
    }
}

fn verdict(severity: Severity, finding: Finding) -> Verdict {
    let hint = finding.hint().map(str::to_owned);
    let document = match finding.document.as_str() {
        // What is told of two documents is told at the main one.
        "" | "v1alpha1.Config" => "v1alpha1".to_owned(),
        _ => finding.document,
    };
    let class = finding.class.to_owned();
    Verdict { severity, line: None, document, path: finding.path, class, text: finding.text, hint }
}
