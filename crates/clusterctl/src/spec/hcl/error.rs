//! What can be wrong with a file or an expression.

use std::fmt;
use std::path::PathBuf;

use super::ast::Span;

/// The kind of a failure; that of its cause, on every way up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Class {
    /// Not HCL.
    Parse,
    /// A block, label or attribute that has no place there.
    Schema,
    /// A name that does not exist.
    UnknownReference,
    /// An attribute, key or index that a value does not have.
    UnknownAttribute,
    /// Values that wait for one another.
    Cycle,
    /// Files that read one another.
    ReadCycle,
    /// A file that is not there.
    MissingFile,
    /// A file that no parent folder has.
    NotFoundInParents,
    /// An environment variable that is not set.
    EnvMissing,
    /// No repository around.
    Git,
    /// A wrong `include`.
    Include,
    /// A path of `dependencies` that is not there.
    Dependency,
    /// No such function.
    UnknownFunction,
    /// Everything a value can do wrong.
    Value,
    /// A file that cannot be decrypted.
    Sops,
    /// `run_cmd`
    RunCmd,
}

impl Class {
    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Schema => "schema",
            Self::UnknownReference => "unknown-reference",
            Self::UnknownAttribute => "unknown-attribute",
            Self::Cycle => "cycle",
            Self::ReadCycle => "read-cycle",
            Self::MissingFile => "missing-file",
            Self::NotFoundInParents => "not-found-in-parents",
            Self::EnvMissing => "env-missing",
            Self::Git => "git",
            Self::Include => "include",
            Self::Dependency => "dependency",
            Self::UnknownFunction => "unknown-function",
            Self::Value => "value",
            Self::Sops => "sops",
            Self::RunCmd => "run-cmd",
        }
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Bytes of it.
    pub start: usize,
    /// End of the bytes.
    pub end: usize,
}

/// A failure. Its text holds no sensitive value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    class: Class,
    message: String,
    help: Option<String>,
    span: Option<Span>,
    place: Option<Place>,
    chain: Vec<String>,
}

impl Failure {
    pub(in crate::spec) fn new(class: Class, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            class,
            message: message.into(),
            help: None,
            span: None,
            place: None,
            chain: Vec::new(),
        }))
    }

    pub(super) fn value(message: impl Into<String>) -> Self {
        Self::new(Class::Value, message)
    }

    /// Says where it is, unless that is known already.
    #[must_use]
    pub(super) fn at(mut self, span: &Span) -> Self {
        if self.0.span.is_none() && self.0.place.is_none() {
            self.0.span = Some(span.clone());
        }
        self
    }

    /// Moves its place: it was counted from `base`.
    #[must_use]
    pub(super) fn moved(mut self, base: usize) -> Self {
        if let Some(span) = &mut self.0.span {
            *span = span.start + base..span.end + base;
        }
        self
    }

    /// Says in which file it is, unless that is known already.
    #[must_use]
    pub(in crate::spec) fn in_file(mut self, file: &std::path::Path) -> Self {
        if self.0.place.is_none() {
            let span = self.0.span.take().unwrap_or(0..0);
            let file = file.to_path_buf();
            self.0.place = Some(Place { file, start: span.start, end: span.end });
        }
        self
    }

    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        if self.0.help.is_none() {
            self.0.help = Some(help.into());
        }
        self
    }

    /// Adds who asked for the value that failed.
    #[must_use]
    pub(super) fn asked_by(mut self, who: impl Into<String>) -> Self {
        self.0.chain.push(who.into());
        self
    }

    /// Its kind.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do.
    pub fn help_text(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// Where.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// The chain of references that led there, innermost first.
    pub fn chain(&self) -> &[String] {
        &self.0.chain
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Failure {}

/// The name among `known` that is nearest to a misspelt one; where words are joined by other signs,
/// or by none, is no misspelling.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    let own = plain(name);
    known
        .into_iter()
        .filter_map(|known| {
            let other = plain(known);
            // Every letter that one has more is an edit; names of foreign texts may be very long.
            let longer = own.chars().count().abs_diff(other.chars().count());
            let near = (longer <= limit).then(|| distance(name, known).min(distance(&own, &other)));
            near.filter(|distance| *distance <= limit).map(|distance| (distance, known))
        })
        .min()
        .map(|(_, known)| known)
}

/// Whether a name is one of `known` but for a slip: words joined otherwise, or an edit in a name that
/// is long enough to tell. Closer than [`did_you_mean`], for names that need not be known.
pub fn slip_of<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = plain(name);
    let limit = match name.chars().count() {
        0..6 => 0,
        6..12 => 1,
        _ => 2,
    };
    let near = known.into_iter().map(|known| (distance(&name, &plain(known)), known));
    near.filter(|(distance, _)| *distance <= limit).min().map(|(_, known)| known)
}

/// A name without what joins its words.
fn plain(name: &str) -> String {
    name.chars().filter(|sign| !matches!(sign, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Edit distance (Levenshtein) with swapped neighbours as one edit.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut best =
                (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        let known = ["cluster_name", "cluster_id", "workers"];
        assert_eq!(did_you_mean("cluster_nmae", known), Some("cluster_name"));
        assert_eq!(did_you_mean("worker", known), Some("workers"));
        assert_eq!(did_you_mean("banana", known), None);
        assert_eq!(did_you_mean("clusterId", known), Some("cluster_id"));
    }

    #[test]
    fn a_slip_is_closer_than_a_guess() {
        let known = ["controlplanes", "workers", "network", "cni"];
        assert_eq!(slip_of("control_planes", known), Some("controlplanes"));
        assert_eq!(slip_of("control-plane", known), Some("controlplanes"));
        assert_eq!(slip_of("netwrok", known), Some("network"));
        assert_eq!(slip_of("worker_nodes", known), None);
        assert_eq!(slip_of("cnis", known), None);
    }
}
