//! Diagnostics: what is wrong with a tree, and where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::spec::hcl::{Failure, Place};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know; `validate` does not print it.
    Info,
    /// Works, but hardly as meant.
    Warning,
    /// Nothing can be planned.
    Error,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// A place for people: lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// The file.
    pub file: PathBuf,
    /// Line; 0 when the file as a whole is meant.
    pub line: usize,
    /// Column in characters.
    pub column: usize,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = self.file.display();
        if self.line == 0 {
            write!(f, "{file}")
        } else {
            write!(f, "{file}:{}:{}", self.line, self.column)
        }
    }
}

/// Something to tell about a tree. It holds no sensitive value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub level: Level,
    /// A code that stays: `net-0001`, `tree-0001`, or the class of an evaluation failure.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Where.
    pub location: Option<Location>,
    /// Bytes of the file, for a snippet.
    pub span: Option<(usize, usize)>,
    /// Other places that belong to it.
    pub related: Vec<(Location, String)>,
    /// The chain of references that led there, innermost first.
    pub chain: Vec<String>,
}

impl Diagnostic {
    /// Something to tell, without a place.
    pub fn new(level: Level, code: &str, message: impl Into<String>) -> Self {
        Self {
            level,
            code: code.to_owned(),
            message: message.into(),
            help: None,
            location: None,
            span: None,
            related: Vec::new(),
            chain: Vec::new(),
        }
    }

    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub(super) fn at(mut self, place: Option<&Place>, sources: &Sources) -> Self {
        if let Some(place) = place {
            self.location = Some(sources.locate(place));
            self.span = (place.end > 0).then_some((place.start, place.end));
        }
        self
    }

    #[must_use]
    pub(super) fn related(mut self, location: Location, words: impl Into<String>) -> Self {
        self.related.push((location, words.into()));
        self
    }

    pub(super) fn of_failure(failure: &Failure, sources: &Sources) -> Self {
        let mut diagnostic = Self::new(Level::Error, failure.class().name(), failure.message())
            .at(failure.place(), sources);
        diagnostic.help = failure.help_text().map(str::to_owned);
        diagnostic.chain = failure.chain().to_vec();
        diagnostic
    }

    /// One line, then help, related places and the chain, each on a line of its own; paths are
    /// told from `root`.
    pub fn render(&self, root: &Path) -> String {
        let short = |location: &Location| {
            let file = location.file.strip_prefix(root).unwrap_or(&location.file).to_path_buf();
            Location { file, ..location.clone() }.to_string()
        };
        let mut lines = vec![match &self.location {
            Some(location) => {
                format!("{}[{}] {}: {}", self.level, self.code, short(location), self.message)
            }
            None => format!("{}[{}] {}", self.level, self.code, self.message),
        }];
        let related = self.related.iter();
        lines.extend(related.map(|(place, words)| format!("  see {}: {words}", short(place))));
        if self.chain.len() > 1 {
            lines.push(format!("  asked for by {}", self.chain.join(" <- ")));
        }
        lines.extend(self.help.iter().map(|help| format!("  help: {help}")));
        lines.join("\n").replace(&format!("{}/", root.display()), "")
    }
}

/// The texts of all files that were read.
#[derive(Debug, Clone, Default)]
pub struct Sources(pub Arc<BTreeMap<PathBuf, Arc<str>>>);

impl Sources {
    /// Line and column of a place.
    pub fn locate(&self, place: &Place) -> Location {
        let file = place.file.clone();
        let before = self.0.get(&place.file).and_then(|text| text.get(..place.start));
        match before {
            Some(before) if place.end > 0 => {
                let line_start = before.rfind('\n').map_or(0, |at| at + 1);
                let column = before.get(line_start..).map_or(0, |text| text.chars().count());
                Location { file, line: before.matches('\n').count() + 1, column: column + 1 }
            }
            _ => Location { file, line: 0, column: 0 },
        }
    }
}
