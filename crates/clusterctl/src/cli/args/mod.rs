//! The command line: one clap type a verb; the doc comments are the help.

mod config;
mod image;
mod site;

use std::path::PathBuf;

pub use config::{Config, ConfigDiff, ConfigMode, ConfigPatch, ConfigRender, ConfigValidate};
pub use image::{
    Image, ImageBuild, ImageExtension, ImageGc, ImageInspect, ImageMirror, ImageSchematic,
};
pub use site::{Access, Destroy, Doctor, Health, Output, Status, Unlock};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Turn one declarative tree into running Talos Linux clusters on Proxmox VE
///
/// The tree is the folder `live/` that holds `common/versions.hcl`; it is found upward from the
/// working folder, or named with --live.
///
/// Exit codes: 0 done, no changes; 1 failed; 2 changes present (with --detailed-exitcode); 3 partly
/// applied; 4 a cluster is not healthy; 5 somebody else is at work; 6 refused by policy; 64 usage;
/// 70 bug; 130 interrupted.
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
#[command(next_help_heading = "Options of every verb")]
pub struct Global {
    /// Work as if started in this folder
    #[arg(short = 'C', long = "chdir", global = true, value_name = "DIR")]
    pub chdir: Option<PathBuf>,
    /// Use this tree instead of the nearest one upward
    #[arg(long, global = true, value_name = "DIR", env = "CLUSTERCTL_LIVE")]
    pub live: Option<PathBuf>,
    /// Print data in this form; a verb that has no such form refuses it
    #[arg(short, long, global = true, value_name = "FORM", default_value = "table")]
    pub output: OutputForm,
    /// Print without colour
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Work in the lab, a simulated site for this tree; it is started when it does not run
    #[arg(long, global = true)]
    pub lab: bool,
    /// Answer all questions with yes
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Steps that may be under way at once
    #[arg(long, global = true, value_name = "N", default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub parallelism: u16,
    /// Tell more on standard error: -v what is called, -vv with details, -vvv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Form of progress on standard error
    #[arg(long, global = true, value_name = "FORM", default_value = "text")]
    pub log_format: LogFormat,
}

/// Forms of progress on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object an event
    Json,
}

impl OutputForm {
    /// What the user types for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Wide => "wide",
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Name => "name",
            Self::Markdown => "markdown",
        }
    }
}

/// Forms of data on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputForm {
    /// Aligned columns for people
    Table,
    /// Columns with everything
    Wide,
    /// JSON
    Json,
    /// The same as YAML
    Yaml,
    /// Names only, one a line
    Name,
    /// A document in Markdown
    Markdown,
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
    /// Show what it would take to make the site as the tree says; changes nothing
    Plan(Plan),
    /// Make the site as the tree says
    Apply(Apply),
    /// Remove what apply has made: machines, files, networks
    Destroy(Destroy),
    /// Show what is there beside what the tree wants, node by node
    Status(Status),
    /// Check whether clusters are well; exit 4 when one is not
    Health(Health),
    /// Print values that a stage gives to others
    Output(Output),
    /// Print the kubeconfig of a cluster, or merge it into a file
    Kubeconfig(Access),
    /// Print the talosconfig of a cluster, or merge it into a file
    Talosconfig(Access),
    /// Make, take over or hand out the secrets bundle of a cluster
    #[command(subcommand)]
    Secrets(Secrets),
    /// Remove the lock of a site whose owner is gone
    Unlock(Unlock),
    /// Look for what would stop a plan: names, TLS, clocks, privileges, storages, reach
    Doctor(Doctor),
    /// Start, end or show the lab: a simulated site for this tree
    #[command(subcommand)]
    Lab(Lab),
    /// Render, compare, check and patch machine configurations of Talos
    #[command(subcommand)]
    Config(Config),
    /// Build, look at and copy Talos images and system extensions
    #[command(subcommand)]
    Image(Image),
    /// List the versions that the tree asks for, cluster by cluster
    Versions,
    /// Draw what depends on what
    Graph(Graph),
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

/// Make, take over or hand out the secrets bundle of a cluster
///
/// A bundle is everything of a cluster that must never be lost: its authorities, keys and tokens.
/// It lies beside cluster.hcl as secrets.sops.yaml, encrypted for the recipients that the nearest
/// .sops.yaml names, and is never written over.
#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// Make bundles for clusters that have none
    Generate(SecretsGenerate),
    /// Take over the bundle of a cluster that runs
    Import(SecretsImport),
    /// Write a bundle in the clear, for talosctl
    Export(SecretsExport),
}

/// Make bundles for clusters that have none
#[derive(Debug, Args)]
pub struct SecretsGenerate {
    /// Only these clusters (name, id or folder)
    pub clusters: Vec<String>,
}

/// Take over the bundle of a cluster that runs
#[derive(Debug, Args)]
pub struct SecretsImport {
    /// The cluster (name, id or folder)
    pub cluster: String,
    /// A bundle of talosctl, or the machine configuration of a control plane; either may be
    /// encrypted with SOPS
    pub file: PathBuf,
}

/// Write a bundle in the clear, for talosctl
#[derive(Debug, Args)]
pub struct SecretsExport {
    /// The cluster (name, id or folder)
    pub cluster: String,
    /// File to write, of mode 0600; it must not be there yet
    pub file: PathBuf,
}

/// Start, end or show the lab: a simulated site for this tree
///
/// The lab is a simulated Proxmox VE cluster, Talos nodes, image factory and registry in one
/// process, reached over real sockets on this machine. Everything of it lies below
/// `.clusterctl/lab` in the tree; nothing of a real site is touched.
#[derive(Debug, Subcommand)]
pub enum Lab {
    /// Start the lab, or tell the one that runs what the tree plans now
    Up(LabUp),
    /// End the lab; what it holds is kept for the next one
    Down,
    /// Show what runs in the lab
    Status,
    /// Be the lab
    #[command(hide = true)]
    Serve(LabServe),
}

/// Start the lab, or tell the one that runs what the tree plans now
#[derive(Debug, Args)]
pub struct LabUp {
    /// How fast it is
    #[command(flatten)]
    pub manners: LabManners,
}

/// How fast a lab is; holds for one that is started.
#[derive(Debug, Args)]
pub struct LabManners {
    /// Factor on the times of a real Talos node; without it everything is as fast as it can be
    #[arg(long, value_name = "FACTOR")]
    pub pace: Option<f64>,
    /// Milliseconds that every call of the Proxmox API takes longer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub latency_ms: u64,
    /// Milliseconds that every call of a Talos node takes longer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub node_latency_ms: u64,
    /// Milliseconds that Proxmox tasks of a kind take, such as `qmcreate=500`; `*` for all others
    #[arg(long, value_name = "KIND=MS", value_parser = task_time)]
    pub task_ms: Vec<(String, u64)>,
}

fn task_time(text: &str) -> Result<(String, u64), String> {
    let (kind, time) = text.split_once('=').ok_or("write KIND=MS")?;
    let time = time.parse().map_err(|_| format!("{time:?} is no number of milliseconds"))?;
    Ok((kind.to_owned(), time))
}

/// Be the lab
#[derive(Debug, Args)]
pub struct LabServe {
    /// Folder of the lab
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Build that starts it
    #[arg(long, value_name = "ID")]
    pub build: String,
    /// How fast it is
    #[command(flatten)]
    pub manners: LabManners,
}

/// Show what it would take to make the site as the tree says; changes nothing
///
/// A path of the tree is a target; a cluster may be called by its name. What a target needs of other
/// parts and is not there yet is planned too; what exists there stays as it is.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  clusterctl plan                      everything\n  clusterctl plan sol                  one cluster, and what it needs\n  clusterctl plan artifacts --out p    part of the tree, saved for `apply --plan p`\n  clusterctl plan -o markdown          for a merge request"
)]
pub struct Plan {
    /// Paths of the tree or names of clusters, such as artifacts, clusters/cluster-101/compute or
    /// sol; without one the working folder, at the root everything
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Save the plan, for `apply --plan`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Exit with 2 when there are changes
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Remove machines and networks that the tree has no more
    #[arg(long)]
    pub allow_remove: bool,
}

/// Make the site as the tree says
///
/// The plan is made first, whole, and shown; then it asks. A run that was cut goes on where it was:
/// type the same command again. Ctrl-C lets the calls that run finish and starts nothing new, a
/// second one ends the program at once.
#[derive(Debug, Args)]
pub struct Apply {
    /// Paths of the tree or names of clusters, such as artifacts, clusters/cluster-101/compute or
    /// sol; without one the working folder, at the root everything
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Carry out this saved plan, and only if nothing changed since
    #[arg(long, value_name = "FILE", conflicts_with = "targets")]
    pub plan: Option<PathBuf>,
    /// Only show what would be done
    #[arg(long, conflicts_with = "plan")]
    pub dry_run: bool,
    /// With --dry-run: exit with 2 when there are changes
    #[arg(long, requires = "dry_run")]
    pub detailed_exitcode: bool,
    /// Remove machines and networks that the tree has no more
    #[arg(long)]
    pub allow_remove: bool,
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
    /// Path of a value: file or folder of the tree, then keys, such as
    /// clusters.cluster-101.cluster_id or common.versions.talos_version; the end of one will do, and
    /// what lies below it counts too
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
