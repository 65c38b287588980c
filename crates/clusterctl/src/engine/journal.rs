//! The journal: JSON lines, flushed to the disk before anything depends on them.
//!
//! One file a run, `<run>.jsonl`. A line that was cut by a crash is the last one and is ignored: after
//! a line that could not be written whole, nothing more is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::step::StepId;

/// Format of a journal's lines.
pub const JOURNAL_FORMAT: u32 = 1;

/// Key of the mark that a step gets whose request may have had an effect that nobody saw.
pub(super) const UNCERTAIN: &str = "uncertain";

/// How many journals are looked at for what runs left half done. One that failed is repeated soon:
/// what is older than this many runs says nothing of today.
const LOOK_BACK: usize = 32;

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
    /// A line was not written: it may be there in part, and nothing may follow it.
    broken: bool,
}

impl Inner {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier line could not be written"));
        }
        let written = self.file.write_all(line).and_then(|()| self.file.sync_data());
        self.broken = written.is_err();
        written
    }
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
        let inner = Mutex::new(Inner { file, next: 0, broken: false });
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
    /// The line cannot be written, or an earlier one could not; the run must stop then.
    pub fn write(&self, step: Option<&StepId>, what: RecordKind) -> Result<(), JournalError> {
        let at = |source| JournalError { path: self.path.clone(), source };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = inner.next;
        let record = Record { seq, time_ms: (self.clock)(), step: step.cloned(), what };
        let mut line = serde_json::to_vec(&record).map_err(|error| at(io::Error::other(error)))?;
        line.push(b'\n');
        inner.append(&line).map_err(at)?;
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
        let (records, bad) = read_whole(path)?;
        match bad {
            Some(source) => Err(JournalError { path: path.to_path_buf(), source }),
            None => Ok(records),
        }
    }
}

/// The records up to the first line that is none, and what is wrong with that line unless it is the
/// last one.
fn read_whole(path: &Path) -> Result<(Vec<Record>, Option<io::Error>), JournalError> {
    let at = |source| JournalError { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut std::fs::File::open(path).map_err(at)?, &mut bytes).map_err(at)?;
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
                return Ok((records, Some(io::Error::new(io::ErrorKind::InvalidData, error))));
            }
        }
    }
    Ok((records, None))
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

/// What the runs before left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// The last run, if it did not end by itself.
    pub cut: Option<Interrupted>,
    /// Steps that may have had an effect which nobody saw: they had begun when their run was cut, or
    /// failed after a reply that tells nothing; and no later run took them to their end.
    pub unsettled: BTreeSet<StepId>,
    /// Journals with a line that is none, read up to there.
    pub unreadable: Vec<PathBuf>,
}

/// Looks at the newest journals in `dir`.
///
/// # Errors
/// The folder or a journal cannot be read.
pub fn look_back(dir: &Path) -> Result<Past, JournalError> {
    let at = |source| JournalError { path: dir.to_path_buf(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Past::default()),
        Err(error) => return Err(at(error)),
    };
    let mut journals: Vec<(u64, PathBuf)> = Vec::new();
    for entry in entries {
        let path = entry.map_err(at)?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            journals.push((began(&path)?, path));
        }
    }
    journals.sort_unstable_by(|one, other| other.cmp(one));
    let mut past = Past::default();
    let mut known = BTreeSet::new();
    for (age, (_, path)) in journals.into_iter().take(LOOK_BACK).enumerate() {
        let (records, bad) = read_whole(&path)?;
        if bad.is_some() {
            past.unreadable.push(path);
        }
        for (step, is_settled) in settled(&records) {
            if known.insert(step.clone()) && !is_settled {
                past.unsettled.insert(step);
            }
        }
        if age == 0 {
            past.cut = interrupted(records);
        }
    }
    Ok(past)
}

/// When a run began; 0 where its first line does not tell.
fn began(path: &Path) -> Result<u64, JournalError> {
    let at = |source| JournalError { path: path.to_path_buf(), source };
    let mut line = Vec::new();
    let mut file = io::BufReader::new(std::fs::File::open(path).map_err(at)?);
    file.read_until(b'\n', &mut line).map_err(at)?;
    Ok(serde_json::from_slice::<Record>(&line).map_or(0, |record| record.time_ms))
}

/// For each step that a run had begun or ended well, whether all that it did was seen.
fn settled(records: &[Record]) -> BTreeMap<StepId, bool> {
    let mut steps = BTreeMap::new();
    let mut uncertain = BTreeSet::new();
    for record in records {
        let Some(step) = &record.step else { continue };
        match &record.what {
            RecordKind::Start => {
                steps.insert(step.clone(), false);
            }
            RecordKind::Mark { key, .. } if key == UNCERTAIN => {
                uncertain.insert(step);
            }
            // One that never began settles nothing that an earlier run left.
            RecordKind::End { ok, .. } if *ok || steps.contains_key(step) => {
                steps.insert(step.clone(), *ok || !uncertain.contains(step));
            }
            _ => {}
        }
    }
    steps
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_line_that_was_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path(), "r1", || 1).unwrap();
        let step = StepId::new("a");
        journal.write(Some(&step), RecordKind::Start).unwrap();
        // As on a disk that is full for a moment.
        let read_only = std::fs::File::open(journal.path()).unwrap();
        let whole = std::mem::replace(&mut journal.inner.lock().unwrap().file, read_only);
        assert!(journal.write(Some(&step), RecordKind::Start).is_err());
        journal.inner.lock().unwrap().file = whole;
        let end = RecordKind::End { ok: true, note: String::new() };
        let error = journal.write(Some(&step), end).unwrap_err();
        assert_eq!(
            std::error::Error::source(&error).unwrap().to_string(),
            "an earlier line could not be written"
        );
        assert_eq!(Journal::read(journal.path()).unwrap().len(), 1);
    }

    fn journal(dir: &Path, run: &str, clock: Clock, lines: &[(&str, RecordKind)]) {
        let journal = Journal::create(dir, run, clock).unwrap();
        let what =
            RecordKind::Run { format: 1, run: run.into(), tree: String::new(), steps: lines.len() };
        journal.write(None, what).unwrap();
        for (step, what) in lines {
            journal.write(Some(&StepId::new(*step)), what.clone()).unwrap();
        }
    }

    fn end(ok: bool) -> RecordKind {
        RecordKind::End { ok, note: String::new() }
    }

    #[test]
    fn what_a_run_left_half_done_is_known_until_a_later_one_ends_it() {
        use RecordKind::Start;
        let uncertain = || RecordKind::Mark { key: UNCERTAIN.into(), value: "cut".into() };
        let dir = tempfile::tempdir().unwrap();
        let unsettled = || {
            let past = look_back(dir.path()).unwrap();
            past.unsettled.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let first = [("cut", Start), ("lost", Start), ("lost", uncertain()), ("lost", end(false))];
        journal(dir.path(), "z1", || 1, &first);
        assert_eq!(unsettled(), ["cut", "lost"]);
        // Ends before it comes to them, and fails at one in a way that says that nothing happened.
        journal(
            dir.path(),
            "y2",
            || 2,
            &[("clear", Start), ("clear", end(false)), ("cut", end(false))],
        );
        assert_eq!(unsettled(), ["cut", "lost"]);
        journal(dir.path(), "x3", || 3, &[("lost", Start), ("lost", end(true))]);
        assert_eq!(unsettled(), ["cut"]);
        // What another program wrote hides nothing of what stands before it.
        let mut file =
            std::fs::OpenOptions::new().append(true).open(dir.path().join("z1.jsonl")).unwrap();
        file.write_all(b"?\n{}\n").unwrap();
        assert_eq!(unsettled(), ["cut"]);
        let past = look_back(dir.path()).unwrap();
        assert_eq!(past.unreadable, [dir.path().join("z1.jsonl")]);
        assert_eq!(past.cut.unwrap().run, "x3");
    }
}
