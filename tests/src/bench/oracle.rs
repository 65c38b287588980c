//! Machine configurations against Talos' own library, asked through the Go program in
//! `oracle/talos` of the shared folder; time on a processor on both sides.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use talos_client::config::{GenerateInput, MachineConfig, MachineType};
use talos_client::secrets::Bundle;

use super::measure::{median, memory, process_cpu, thread_cpu};
use super::{Better, Line, Scale};
use crate::conform::Golden;

/// Which release of the library is asked.
const MODULES: &str = "go.v1.13.mod";
const TARGET: f64 = 20.0;

/// The oracle; it ends with this.
struct Oracle {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// Builds the oracle once; why not, where it cannot be.
fn build(scale: &Scale, into: &Path) -> Result<PathBuf, String> {
    let source = scale.shared.join("oracle/talos");
    if !source.join(MODULES).exists() {
        return Err(format!(
            "the peer is missing: no {}; name its folder in CLUSTER_SHARED",
            source.display()
        ));
    }
    let program = into.join("oracle");
    let mut go = Command::new("go");
    go.current_dir(&source).args(["build", &format!("-modfile={MODULES}"), "-o"]).arg(&program);
    match go.arg(".").output() {
        Err(error) => Err(format!("the peer is missing: no Go compiler: {error}")),
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or_default();
            Err(format!("the peer is missing: `go build` of the oracle failed: {last}"))
        }
        Ok(_) => Ok(program),
    }
}

impl Oracle {
    fn start(program: &Path, scale: &Scale) -> anyhow::Result<Self> {
        let bundles = scale.shared.join("golden/talos/bundles");
        let mut child = Command::new(program)
            .env("ORACLE_BUNDLES", bundles)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let input = child.stdin.take();
        Ok(Self { child, input, output })
    }

    /// Asks all questions; the seconds on a processor that the answers took.
    fn ask(&mut self, questions: &[String]) -> anyhow::Result<f64> {
        let before = process_cpu(self.child.id())?;
        let input = self.input.as_mut().context("no input")?;
        let mut answer = String::new();
        for question in questions {
            writeln!(input, "{question}")?;
            input.flush()?;
            answer.clear();
            self.output.read_line(&mut answer)?;
            ensure!(!answer.contains("\"oracle: "), "the oracle refused: {answer}");
        }
        Ok(process_cpu(self.child.id())? - before)
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.wait());
    }
}

/// How many times faster ours is, both sides by turns; the first round warms up.
fn speed(
    rounds: usize,
    oracle: &mut Oracle,
    questions: &[String],
    mut ours: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let mut ratios = Vec::new();
    for round in 0..=rounds {
        let before = thread_cpu()?;
        ours()?;
        let mine = thread_cpu()? - before;
        ensure!(mine > 0.0, "the work is too short for the clock");
        let theirs = oracle.ask(questions)?;
        if round > 0 {
            ratios.push(theirs / mine);
        }
    }
    Ok(median(&mut ratios))
}

fn input(index: usize) -> anyhow::Result<GenerateInput> {
    let kind =
        if index.is_multiple_of(4) { MachineType::ControlPlane } else { MachineType::Worker };
    let contract = "1.13".parse().map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let endpoint = "https://[fd00:101::10]:6443";
    let mut input = GenerateInput::new(contract, kind, "sol", endpoint, "1.34.2");
    input.additional_sans = vec![format!("10.{}.{}.1", index / 250, index % 250)];
    Ok(input)
}

fn question(index: usize) -> anyhow::Result<String> {
    let input = input(index)?;
    Ok(json!({ "id": index.to_string(), "kind": "talos-gen", "in": {
        "contract": "1.13", "bundle": "sol.yaml", "cluster_name": input.cluster_name,
        "endpoint": input.endpoint, "kubernetes_version": input.kubernetes_version,
        "type": input.machine_type.name(), "options": { "additional_sans": input.additional_sans }
    } })
    .to_string())
}

fn generated(name: &'static str, scale: &Scale, nodes: usize) -> anyhow::Result<Vec<Line>> {
    let dir = tempfile::tempdir()?;
    let program = match build(scale, dir.path()) {
        Ok(program) => program,
        Err(why) => {
            return Ok(vec![Line::missing(name, "ratio", Better::More, why).target(TARGET)]);
        }
    };
    let nodes = scale.pick(nodes, 4.min(nodes));
    let bundle = scale.shared.join("golden/talos/bundles/sol.yaml");
    let bundle = fs_err::read_to_string(bundle)?;
    let mut oracle = Oracle::start(&program, scale)?;
    // A few nodes are asked for often: the clock has to see them.
    let repeat = scale.pick((1000 / nodes.max(1)).max(1), 1);
    let questions = (0..nodes * repeat)
        .map(|index| question(index % nodes))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let inputs = (0..nodes).map(input).collect::<anyhow::Result<Vec<_>>>()?;
    let ours = || {
        for _ in 0..repeat {
            let bundle = Bundle::parse(&bundle)?;
            for input in &inputs {
                let text = MachineConfig::generate(&bundle, input)?.to_yaml();
                ensure!(text.len() > 1000, "a configuration of {} bytes", text.len());
            }
        }
        Ok(())
    };
    let rounds = scale.pick(if nodes > 1000 { 2 } else { 5 }, 1);
    let value = speed(rounds, &mut oracle, &questions, ours)?;
    let note = format!(
        "{nodes} node(s) with one bundle, keys apart, text included; processor time of the \
         machinery library (its answers as data included) ÷ ours, one core each"
    );
    Ok(vec![Line::new(name, value, "ratio", Better::More).target(TARGET).note(note)])
}

pub(super) fn generate(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    generated("gen-vs-oracle", scale, 100)
}

pub(super) fn generate_1(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    generated("gen-1", scale, 1)
}

pub(super) fn generate_100(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    generated("gen-100", scale, 100)
}

pub(super) fn generate_10000(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    generated("gen-10000", scale, 10_000)
}

/// Memory of a configuration that is held.
pub(super) fn bytes_per_node(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let name = "gen-bytes-per-node";
    let nodes = scale.pick(10_000_u32, 100);
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
    let contract = "1.13".parse().map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let bundle = Bundle::generate(contract, now)?;
    let warm = MachineConfig::generate(&bundle, &input(0)?)?;
    let before = memory("self", "VmRSS")?;
    let mut held = Vec::new();
    for index in 0..nodes {
        held.push(MachineConfig::generate(&bundle, &input(usize::try_from(index)?)?)?);
    }
    let grown = (memory("self", "VmRSS")? - before) * 1e6 / f64::from(nodes);
    let text = warm.to_yaml().len();
    let note = format!(
        "growth of resident memory by {} configurations that are held, each {text} bytes of text",
        held.len()
    );
    Ok(vec![Line::new(name, grown.round(), "bytes", Better::Less).note(note)])
}

/// All questions of a golden file, put to both sides as JSON.
fn asked(name: &'static str, file: &str, scale: &Scale) -> anyhow::Result<Vec<Line>> {
    let missing =
        |why: String| Ok(vec![Line::missing(name, "ratio", Better::More, why).target(TARGET)]);
    let dir = tempfile::tempdir()?;
    let program = match build(scale, dir.path()) {
        Ok(program) => program,
        Err(why) => return missing(why),
    };
    let golden = Golden::read(&scale.shared.join("golden/talos").join(file))?;
    let is_asked = |case: &Value| {
        let machinery = case["in"]["machinery"].as_array();
        machinery.is_none_or(|list| list.iter().any(|minor| minor == "1.13"))
    };
    let cases: Vec<(&str, &Value)> =
        golden.cases().filter(|(_, case)| is_asked(case)).take(scale.pick(400, 2)).collect();
    let questions: Vec<String> = cases
        .iter()
        .map(|(id, case)| json!({ "id": id, "kind": golden.kind, "in": case["in"] }).to_string())
        .collect();
    if let Some((id, case)) = cases.first()
        && let Err(error) = golden.answer(id, case, None)
    {
        return missing(format!("not measured: {error:#}"));
    }
    let mut oracle = Oracle::start(&program, scale)?;
    let ours = || {
        for (id, case) in &cases {
            golden.answer(id, case, None)?;
        }
        Ok(())
    };
    let value = speed(scale.pick(5, 1), &mut oracle, &questions, ours)?;
    let note = format!(
        "{} cases of {file}, question and answer as JSON on both sides; processor time of the \
         machinery library ÷ ours",
        cases.len()
    );
    Ok(vec![Line::new(name, value, "ratio", Better::More).target(TARGET).note(note)])
}

pub(super) fn validate(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    asked("validate-vs-oracle", "talos-validate.json", scale)
}

pub(super) fn patch(scale: &Scale) -> anyhow::Result<Vec<Line>> {
    asked("patch-vs-oracle", "talos-patch.json", scale)
}
