//! Conformance: answers to golden files, and the judgement of such answers.
//!
//! A golden file holds cases `{id, in, out}` of one `kind`; [`Golden::answer`] gives our `out`
//! for a case, [`check`] compares it with the golden one by the rules of [`compare`].

pub mod compare;
mod config;
mod hcl;
mod pve;
mod release;
mod schematic;
mod sops;
mod talos;

use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// A parsed golden file with the folder that its cases' files lie in.
#[derive(Debug)]
pub struct Golden {
    /// What the cases ask for.
    pub kind: String,
    cases: Vec<Value>,
    dir: std::path::PathBuf,
}

/// Which cases count: `in.KEY` must be one of the values.
#[derive(Debug, Clone)]
pub struct Filter {
    key: String,
    values: Vec<String>,
}

impl std::str::FromStr for Filter {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (key, values) = text.split_once('=').context("expected KEY=VALUE[,VALUE…]")?;
        let values = values.split(',').map(str::to_owned).collect();
        Ok(Self { key: key.to_owned(), values })
    }
}

impl Filter {
    fn takes(&self, case: &Value) -> bool {
        let value = &case["in"][&self.key];
        self.values.iter().any(|wanted| value == wanted.as_str())
    }
}

/// How many cases agreed, differed, and were not judged.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Cases that agree.
    pub passed: usize,
    /// Cases that differ.
    pub failed: usize,
    /// Cases that are kept for reference or filtered out.
    pub skipped: usize,
}

impl Golden {
    /// Reads a golden file.
    ///
    /// # Errors
    /// The file cannot be read, or is not of format `golden/1`.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs_err::read_to_string(path)?;
        let mut value: Value =
            serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        if value["format"] != "golden/1" {
            bail!("{}: format is {}, expected \"golden/1\"", path.display(), value["format"]);
        }
        let kind = value["kind"].as_str().context("no `kind`")?.to_owned();
        let Value::Array(cases) = value["cases"].take() else { bail!("no `cases`") };
        let dir = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self { kind, cases, dir })
    }

    /// The cases with their ids.
    pub fn cases(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.cases.iter().map(|case| (case["id"].as_str().unwrap_or_default(), case))
    }

    /// Our answer to one case, as JSON text (numbers keep all their digits).
    ///
    /// # Errors
    /// There is no answer to this kind of case.
    pub fn answer(&self, id: &str, case: &Value, tree: Option<&Path>) -> anyhow::Result<String> {
        answer(&self.kind, &self.dir, id, case, tree)
    }
}

fn answer(
    kind: &str,
    dir: &Path,
    id: &str,
    case: &Value,
    tree: Option<&Path>,
) -> anyhow::Result<String> {
    let input = &case["in"];
    let out = match kind {
        "hcl-eval" | "hcl-tree" | "hcl-deployed" => return hcl::answer(kind, tree, input),
        "pve-canonical" => pve::answer(input),
        "pve-validate" => pve::validate(input)?,
        "schematic-id" | "schematic-id-versions" => schematic::answer(input)?,
        "sops-decrypt" | "sops-encrypt" => sops::answer(kind, dir, id, input)?,
        "talos-talosconfig" => talos::talosconfig(dir, input)?,
        "talos-gen" => config::generate(dir, input)?,
        "talos-patch" => config::patch(input)?,
        "talos-validate" => config::validate(input)?,
        "talos-defaults" => release::answer(input)?,
        "talos-secrets" => talos::secrets(dir, input)?,
        _ => bail!("no answers to cases of kind {kind:?}"),
    };
    Ok(out.to_string())
}

/// Compares our answers with the golden ones; each difference goes to `report`.
///
/// # Errors
/// There is no answer to this kind of case.
pub fn check(
    golden: &Golden,
    tree: Option<&Path>,
    filters: &[Filter],
    mut report: impl FnMut(&str, &str),
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for (id, case) in golden.cases() {
        let wanted = filters.iter().all(|filter| filter.takes(case));
        if !wanted || compare::out_of_scope(&golden.kind, case) {
            tally.skipped += 1;
            continue;
        }
        let text = golden.answer(id, case, tree)?;
        let given: Value = serde_json::from_str(&text).context("our answer is not JSON")?;
        match compare::difference_of(&golden.kind, case, &given) {
            None => tally.passed += 1,
            Some(why) => {
                tally.failed += 1;
                report(id, &why);
            }
        }
    }
    Ok(tally)
}
