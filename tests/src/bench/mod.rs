//! Benchmarks: ratios against a peer or a limit that is measured in the same run.
//!
//! Each benchmark gives one or more [`Line`]s. The value of a line is the metric that its target
//! names; a peer that is not there gives a line without a value, never a pass.

mod client;
mod fleet;
mod image;
mod ipset;
mod measure;
mod oracle;
mod own;
mod peer;
mod program;
mod served;
mod stream;
mod tree;
mod upload;

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

pub use fleet::serve_fleet;
pub use served::serve;
pub use stream::serve_stream;
pub use tree::plan_alone;

/// Which way is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Smaller values.
    Less,
    /// Larger values.
    More,
}

/// One result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The metric.
    pub name: String,
    /// What was measured; none where it could not be, and the note says why.
    pub value: Option<f64>,
    /// `ms`, `MB` (10^6 bytes), `ratio`, `calls`, …
    pub unit: &'static str,
    /// What is aimed at, where there is an aim.
    pub target: Option<f64>,
    /// Which way is good.
    pub better: Better,
    /// Conditions and peer, or why there is no value.
    pub note: String,
}

impl Line {
    /// A result.
    pub fn new(name: &str, value: f64, unit: &'static str, better: Better) -> Self {
        // Three places are more than any measurement here is worth.
        let value = Some((value * 1000.0).round() / 1000.0);
        Self { name: name.to_owned(), value, unit, target: None, better, note: String::new() }
    }

    /// No result, and why.
    pub fn missing(name: &str, unit: &'static str, better: Better, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { name: name.to_owned(), value: None, unit, target: None, better, note: why }
    }

    /// Sets the aim.
    #[must_use]
    pub fn target(mut self, target: f64) -> Self {
        self.target = Some(target);
        self
    }

    /// Says how it was measured.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Whether the aim is met; none without an aim or a value.
    pub fn is_met(&self) -> Option<bool> {
        let (value, target) = (self.value?, self.target?);
        Some(match self.better {
            Better::Less => value <= target,
            Better::More => value >= target,
        })
    }
}

/// How much is done.
#[derive(Debug, Clone)]
pub struct Scale {
    /// Tiny sizes and one round: only whether everything works.
    pub smoke: bool,
    /// Where peers and golden data lie.
    pub shared: PathBuf,
}

impl Scale {
    /// One of two sizes.
    pub fn pick<T>(&self, whole: T, smoke: T) -> T {
        if self.smoke { smoke } else { whole }
    }
}

/// One benchmark; it may give several lines.
#[derive(Debug, Clone, Copy)]
pub struct Bench {
    /// What it is called on the command line: the name of its first line.
    pub name: &'static str,
    run: fn(&Scale) -> anyhow::Result<Vec<Line>>,
}

/// All benchmarks, quick ones first.
pub const ALL: &[Bench] = &[
    Bench { name: "binary", run: program::binary },
    Bench { name: "start", run: program::start },
    Bench { name: "validate-example", run: program::validate },
    Bench { name: "plan-noop-example", run: program::plan_noop },
    Bench { name: "apply-critical-path", run: program::critical_path },
    Bench { name: "plan-noop-900", run: tree::plan_noop },
    Bench { name: "ipset-edit", run: ipset::edit },
    Bench { name: "pve-throughput", run: client::throughput },
    Bench { name: "read-12000-vms", run: client::read_vms },
    Bench { name: "upload-vs-curl", run: upload::against_curl },
    Bench { name: "stream-vs-grpc", run: stream::against_grpc },
    Bench { name: "etcd-snapshot-1g", run: stream::snapshot },
    Bench { name: "fleet-200", run: fleet::fleet },
    Bench { name: "image-build", run: image::build },
    Bench { name: "gen-vs-oracle", run: oracle::generate },
    Bench { name: "gen-1", run: oracle::generate_1 },
    Bench { name: "gen-100", run: oracle::generate_100 },
    Bench { name: "gen-10000", run: oracle::generate_10000 },
    Bench { name: "gen-bytes-per-node", run: oracle::bytes_per_node },
    Bench { name: "validate-vs-oracle", run: oracle::validate },
    Bench { name: "patch-vs-oracle", run: oracle::patch },
];

/// The benchmarks of these names; all when there are none.
///
/// # Errors
/// A name is that of none.
pub fn chosen(names: &[String]) -> anyhow::Result<Vec<Bench>> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    names
        .iter()
        .map(|name| {
            ALL.iter().find(|bench| bench.name == name).copied().ok_or_else(|| {
                let known: Vec<&str> = ALL.iter().map(|bench| bench.name).collect();
                anyhow::anyhow!("no benchmark is called {name:?}; there are {}", known.join(", "))
            })
        })
        .collect()
}

impl Bench {
    /// Measures.
    ///
    /// # Errors
    /// What is measured does not work.
    pub fn run(&self, scale: &Scale) -> anyhow::Result<Vec<Line>> {
        (self.run)(scale)
    }
}

/// A line for people.
pub fn row(line: &Line) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |one| one.to_string());
    let verdict = match line.is_met() {
        Some(true) => "met",
        Some(false) => "MISSED",
        None if line.value.is_none() => "not measured",
        None => "",
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _: std::fmt::Result = write!(
        text,
        "{:<24}{:>12} {:<6}{:>8}  {verdict:<13}{}",
        line.name,
        number(line.value),
        line.unit,
        number(line.target),
        line.note
    );
    text
}
