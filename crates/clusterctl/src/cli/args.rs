//! The command line: one clap type a verb; the doc comments are the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Turn one declarative tree into running Talos Linux clusters on Proxmox VE
///
/// The tree is the folder `live/` that holds `common/versions.hcl`. A path in it is a target:
/// `clusterctl apply` at the root applies everything in order, in `clusters/cluster-101` that
/// cluster, and `clusterctl apply artifacts` the images.
///
/// Exit codes: 0 done, or nothing to do; 1 failed; 2 changes present (with
/// --detailed-exitcode); 3 partly applied; 4 health gate failed; 5 lock held by another
/// operator; 6 refused by policy; 64 usage; 70 bug; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "clusterctl", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What every verb takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every verb.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Work as if started in this folder
    #[arg(short = 'C', long = "chdir", global = true, value_name = "DIR")]
    pub chdir: Option<PathBuf>,
    /// Use this tree instead of the nearest one upward
    #[arg(long, global = true, value_name = "DIR", env = "CLUSTERCTL_LIVE")]
    pub live: Option<PathBuf>,
    /// Print data in this form
    #[arg(short, long, global = true, value_name = "FORM", default_value = "table")]
    pub output: OutputForm,
    /// Print without colour
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Log more: -v info, -vv debug, -vvv trace
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Form of log lines and events on standard error
    #[arg(long, global = true, value_name = "FORM", default_value = "text")]
    pub log_format: LogForm,
    /// Answer every question with yes
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Steps at once
    #[arg(long, global = true, value_name = "N", default_value_t = 16)]
    pub parallelism: u16,
    /// Longest time that one step may take, such as 90s or 20m
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<std::time::Duration>,
    /// Use the simulated site: nothing real is read, written or asked
    #[arg(long, global = true)]
    pub lab: bool,
}

/// Forms of data on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputForm {
    /// Aligned columns for people
    Table,
    /// Columns with everything
    Wide,
    /// JSON with a documented shape
    Json,
    /// The same as YAML
    Yaml,
    /// Names only, one a line
    Name,
    /// A document in Markdown
    Markdown,
}

/// Forms of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Scaffold a tree, or add what a tree lacks
    Init(Init),
    /// Add a part to the tree
    #[command(subcommand)]
    New(New),
    /// Check the whole tree, offline and without any secret
    Validate(Validate),
    /// List every derived value: names, addresses, ids
    Inventory(Inventory),
    /// Tell where a value comes from: file, line, formula
    Why(Why),
    /// Evaluate an expression in the context of a file of the tree
    Eval(Eval),
    /// Compare the versions of tree, images and nodes
    Versions(Targets),
    /// Draw what depends on what
    Graph(Graph),
    /// Show what an apply would do
    Plan(Plan),
    /// Make the site as the tree says
    Apply(Apply),
    /// Remove what clusterctl made
    Destroy(Destroy),
    /// Show what is there, and in which state
    Status(Targets),
    /// Check that clusters are healthy
    Health(Health),
    /// Print values that a stage hands on
    Output(OutputArgs),
    /// Write or merge the kubeconfig of a cluster
    Kubeconfig(ContextFile),
    /// Write or merge the talosconfig of a cluster
    Talosconfig(ContextFile),
    /// Make, read and write secrets bundles
    #[command(subcommand)]
    Secrets(Secrets),
    /// Remove the lock of an operator who is gone
    Unlock(Unlock),
    /// Look for what would stop an apply: names, TLS, clock, privileges, storage, reach
    Doctor(Targets),
    /// Run the simulated site
    #[command(subcommand)]
    Lab(Lab),
    /// Print a completion script for a shell
    Completion(Completion),
    /// Write manual pages
    Man(Man),
    /// Terragrunt's `run-all`; tells what to type instead
    #[command(hide = true, name = "run-all")]
    RunAll(RunAll),
}

/// Scaffold a tree, or add what a tree lacks
#[derive(Debug, Args)]
pub struct Init {
    /// Folder of the tree
    #[arg(default_value = "live")]
    pub dir: PathBuf,
}

/// Add a part to the tree
#[derive(Debug, Subcommand)]
pub enum New {
    /// Add a cluster
    Cluster(NewCluster),
}

/// Add a cluster
#[derive(Debug, Args)]
pub struct NewCluster {
    /// Name of the cluster: lower case, RFC 1123
    pub name: String,
    /// Its id, 1 to 999; the next free one when it is not given
    #[arg(long)]
    pub id: Option<u16>,
    /// Control-plane nodes
    #[arg(long, default_value_t = 3)]
    pub controlplanes: u16,
    /// Workers
    #[arg(long, default_value_t = 2)]
    pub workers: u16,
}

/// Check the whole tree, offline and without any secret
#[derive(Debug, Args)]
pub struct Validate {
    /// Count warnings as errors
    #[arg(long)]
    pub strict: bool,
}

/// List every derived value: names, addresses, ids
#[derive(Debug, Args)]
pub struct Inventory {
    /// Only these clusters (name, id or folder)
    pub clusters: Vec<String>,
}

/// Tell where a value comes from: file, line, formula
#[derive(Debug, Args)]
pub struct Why {
    /// Path of a value, such as sol.nodes.solcp01.vmid or common/versions.`talos_version`
    pub path: String,
}

/// Evaluate an expression in the context of a file of the tree
#[derive(Debug, Args)]
pub struct Eval {
    /// The expression; read from standard input when it is not given
    pub expression: Option<String>,
    /// The file in whose context it is evaluated
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Print values that are marked as sensitive
    #[arg(long)]
    pub show_sensitive: bool,
}

/// Paths of the tree
#[derive(Debug, Args)]
pub struct Targets {
    /// Paths of the tree: a stage, a cluster or a folder; the working folder when none is given
    pub targets: Vec<String>,
}

/// Draw what depends on what
#[derive(Debug, Args)]
pub struct Graph {
    /// Form of the drawing
    #[arg(long, value_enum, default_value = "dot")]
    pub form: GraphForm,
}

/// Forms of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphForm {
    /// Graphviz
    Dot,
    /// Mermaid flowchart
    Mermaid,
}

/// What a plan takes into account.
#[derive(Debug, Clone, Args)]
pub struct PlanOptions {
    /// Allow nodes to be removed that the tree no longer has
    #[arg(long)]
    pub allow_remove: bool,
}

/// Show what an apply would do
#[derive(Debug, Args)]
pub struct Plan {
    /// Paths of the tree: a stage, a cluster or a folder; the working folder when none is given
    pub targets: Vec<String>,
    /// What it takes into account.
    #[command(flatten)]
    pub options: PlanOptions,
    /// Save the plan to this file; apply takes it with --plan
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Exit with 2 when there are changes
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// Make the site as the tree says
#[derive(Debug, Args)]
pub struct Apply {
    /// Paths of the tree: a stage, a cluster or a folder; the working folder when none is given
    pub targets: Vec<String>,
    /// What it takes into account.
    #[command(flatten)]
    pub options: PlanOptions,
    /// Apply this saved plan; refused when the tree or the site has moved since
    #[arg(long, value_name = "FILE", conflicts_with_all = ["targets", "allow_remove"])]
    pub plan: Option<PathBuf>,
    /// Show the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run, exit with 2 when there are changes
    #[arg(long, requires = "dry_run")]
    pub detailed_exitcode: bool,
}

/// Remove what clusterctl made
#[derive(Debug, Args)]
pub struct Destroy {
    /// Paths of the tree: a stage, a cluster or a folder; required
    #[arg(required = true)]
    pub targets: Vec<String>,
    /// Confirm by typing the name here instead of at the prompt
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,
}

/// Check that clusters are healthy
#[derive(Debug, Args)]
pub struct Health {
    /// Clusters; those of the working folder when none is given
    pub targets: Vec<String>,
    /// Wait until they are
    #[arg(long)]
    pub wait: bool,
}

/// Print values that a stage hands on
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// The stage, such as artifacts/registry
    pub stage: String,
    /// One value of it
    pub name: Option<String>,
}

/// Write or merge the kubeconfig or talosconfig of a cluster
#[derive(Debug, Args)]
pub struct ContextFile {
    /// Clusters; those of the working folder when none is given
    pub targets: Vec<String>,
    /// Merge into this file instead of printing
    #[arg(long, value_name = "FILE")]
    pub merge: Option<PathBuf>,
}

/// Make, read and write secrets bundles
#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// Make the bundle of a cluster that has none
    Generate(Targets),
    /// Take a bundle that talosctl made, or the secrets in a control plane's configuration
    Import(SecretsImport),
    /// Print the bundle of a cluster in the clear, in talosctl's form
    Export(SecretsExport),
}

/// Take a bundle that talosctl made, or the secrets in a control plane's configuration
#[derive(Debug, Args)]
pub struct SecretsImport {
    /// The cluster
    pub cluster: String,
    /// A secrets.yaml, or a machine configuration of a control plane
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
}

/// Print the bundle of a cluster in the clear, in talosctl's form
#[derive(Debug, Args)]
pub struct SecretsExport {
    /// The cluster
    pub cluster: String,
    /// Write to this file, readable by its owner alone, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}

/// Remove the lock of an operator who is gone
#[derive(Debug, Args)]
pub struct Unlock {
    /// The run id that the lock names
    pub run: String,
}

/// Run the simulated site
#[derive(Debug, Subcommand)]
pub enum Lab {
    /// Start it
    Up,
    /// Stop it
    Down(LabDown),
    /// Show whether it runs, and where
    Status,
    /// Serve it in this process; `lab up` starts this
    #[command(hide = true)]
    Serve,
}

/// Stop it
#[derive(Debug, Args)]
pub struct LabDown {
    /// Remove its state too
    #[arg(long)]
    pub purge: bool,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub struct Completion {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Write manual pages
#[derive(Debug, Args)]
pub struct Man {
    /// Folder to write to; the main page goes to standard output when it is not given
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Terragrunt's `run-all`
#[derive(Debug, Args)]
pub struct RunAll {
    /// What was asked of it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub rest: Vec<String>,
}

/// Reads `90`, `90s`, `20m`, `1h` or `500ms`.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 =
        digits.parse().map_err(|_| format!("{text:?} is not a time such as 90s or 20m"))?;
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let millis = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(format!("unknown unit {unit:?}; use ms, s, m or h")),
    };
    millis.map(std::time::Duration::from_millis).ok_or_else(|| format!("{text:?} is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("90").unwrap().as_secs(), 90);
        assert_eq!(duration("500ms").unwrap().as_millis(), 500);
        assert_eq!(duration("20m").unwrap().as_secs(), 1200);
        assert!(duration("1d").is_err());
        assert!(duration("m").is_err());
    }
}
