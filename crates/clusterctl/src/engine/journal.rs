//! The journal: JSON lines, flushed to the disk before anything depends on them.
//!
//! One file a run, `<run>.jsonl`. A line that was cut by a crash is the last one and is ignored.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::step::StepId;

/// Format of a journal's lines.
pub const JOURNAL_FORMAT: u32 = 1;

/// Gives the time in milliseconds since 1970.
pub type Clock = fn() -> u64;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Number of the line, from 0.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// The step, where the line is of one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub step: Option<StepId>,
    /// What happened.
    pub what: RecordKind,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RecordKind {
    /// A run began.
    Run {
        /// [`JOURNAL_FORMAT`].
        format: u32,
        /// The run's id.
        run: String,
        /// Fingerprint of the tree.
        tree: String,
        /// How many steps the plan has.
        steps: usize,
    },
    /// A step is about to be carried out.
    Start,
    /// Something that a later run can use, such as a task's id.
    Mark {
        /// What it is.
        key: String,
        /// Its value; never a secret.
        value: String,
    },
    /// A step ended.
    End {
        /// Whether its effect is there.
        ok: bool,
        /// What happened, in short.
        note: String,
    },
    /// The run ended by itself.
    Closed {
        /// Whether every step's effect is there.
        ok: bool,
    },
}

/// Why a journal cannot be written or read.
#[derive(Debug)]
pub struct JournalError {
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "use journal {}", self.path.display())
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// An open journal of one run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    clock: Clock,
    /// Called after each line is on the disk, with its number: tests stop the process there.
    after_write: Option<fn(u64)>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: std::fs::File,
    next: u64,
}

impl Journal {
    /// Begins the journal of a run in `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// The folder or file cannot be made, or a journal of that run exists.
    pub fn create(dir: &Path, run: &str, clock: Clock) -> Result<Self, JournalError> {
        let path = dir.join(format!("{run}.jsonl"));
        let at = |source| JournalError { path: path.clone(), source };
        std::fs::create_dir_all(dir).map_err(at)?;
        let mut options = std::fs::OpenOptions::new();
        options.append(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let file = options.open(&path).map_err(at)?;
        // The name must survive a crash as well as the lines.
        std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(at)?;
        let inner = Mutex::new(Inner { file, next: 0 });
        Ok(Self { path, clock, after_write: None, inner })
    }

    /// Calls `hook` after each line that is on the disk, with the line's number.
    #[must_use]
    pub fn with_hook(mut self, hook: fn(u64)) -> Self {
        self.after_write = Some(hook);
        self
    }

    /// Where the journal lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one line and flushes it to the disk.
    ///
    /// # Errors
    /// The line cannot be written; the run must stop then.
    pub fn write(&self, step: Option<&StepId>, what: RecordKind) -> Result<(), JournalError> {
        let at = |source| JournalError { path: self.path.clone(), source };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = inner.next;
        let record = Record { seq, time_ms: (self.clock)(), step: step.cloned(), what };
        let mut line = serde_json::to_vec(&record).map_err(|error| at(io::Error::other(error)))?;
        line.push(b'\n');
        inner.file.write_all(&line).map_err(at)?;
        inner.file.sync_data().map_err(at)?;
        inner.next += 1;
        drop(inner);
        if let Some(hook) = self.after_write {
            hook(seq);
        }
        Ok(())
    }

    /// Reads the lines of a journal; a last line that was cut short is left out.
    ///
    /// # Errors
    /// The file cannot be read, or a line that is not the last is no record.
    pub fn read(path: &Path) -> Result<Vec<Record>, JournalError> {
        let at = |source| JournalError { path: path.to_path_buf(), source };
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut std::fs::File::open(path).map_err(at)?, &mut bytes)
            .map_err(at)?;
        let mut records = Vec::new();
        let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            if line.is_empty() {
                continue;
            }
            match serde_json::from_slice(line) {
                Ok(record) => records.push(record),
                Err(_) if lines.peek().is_none() => break,
                Err(error) => {
                    return Err(at(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            }
        }
        Ok(records)
    }
}

/// A run that did not end by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// Its id.
    pub run: String,
    /// How many steps its plan had.
    pub steps: usize,
    /// Steps whose effect it left.
    pub done: Vec<StepId>,
    /// Steps that it had begun.
    pub begun: Vec<StepId>,
    /// What it noted of them.
    pub marks: Vec<(StepId, String, String)>,
}

/// Looks at the newest journal in `dir`: `None` when there is none or its run ended by itself.
///
/// # Errors
/// The folder or the journal cannot be read.
pub fn last_run(dir: &Path) -> Result<Option<Interrupted>, JournalError> {
    let at = |source| JournalError { path: dir.to_path_buf(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(error)),
    };
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in entries {
        let path = entry.map_err(at)?.path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let begun = Journal::read(&path)?.first().map_or(0, |record| record.time_ms);
        if newest.as_ref().is_none_or(|(time, other)| (begun, &path) > (*time, other)) {
            newest = Some((begun, path));
        }
    }
    match newest {
        Some((_, path)) => Ok(interrupted(Journal::read(&path)?)),
        None => Ok(None),
    }
}

fn interrupted(records: Vec<Record>) -> Option<Interrupted> {
    let mut found: Option<Interrupted> = None;
    for record in records {
        match (record.what, record.step, &mut found) {
            (RecordKind::Run { run, steps, .. }, _, _) => {
                found = Some(Interrupted {
                    run,
                    steps,
                    done: Vec::new(),
                    begun: Vec::new(),
                    marks: Vec::new(),
                });
            }
            (RecordKind::Start, Some(step), Some(run)) => run.begun.push(step),
            (RecordKind::Mark { key, value }, Some(step), Some(run)) => {
                run.marks.push((step, key, value));
            }
            (RecordKind::End { ok, .. }, Some(step), Some(run)) => {
                run.begun.retain(|begun| *begun != step);
                if ok {
                    run.done.push(step);
                }
            }
            (RecordKind::Closed { .. }, _, _) => return None,
            _ => {}
        }
    }
    found
}
