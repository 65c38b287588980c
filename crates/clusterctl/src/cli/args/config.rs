//! Arguments of `config`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

/// Render, compare, check and patch machine configurations of Talos; no node is asked
///
/// Files may be encrypted with SOPS; `-` is standard input.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print the configurations that the tree gives the nodes of a cluster
    Render(ConfigRender),
    /// Show what changes from one configuration to another, and what that takes
    Diff(ConfigDiff),
    /// Check configurations as a node does, with lines and hints
    Validate(ConfigValidate),
    /// Merge patches into a configuration
    Patch(ConfigPatch),
}

/// Print the configurations that the tree gives the nodes of a cluster
///
/// Secrets are told by fingerprints, files, manifests and environments by their hash. A cluster
/// without secrets is rendered with others, which are thrown away.
#[derive(Debug, Args)]
pub struct ConfigRender {
    /// The cluster (name, id or folder)
    pub cluster: String,
    /// Only these nodes
    #[arg(long = "node", value_name = "NODE")]
    pub nodes: Vec<String>,
    /// Show everything in the clear
    #[arg(long)]
    pub show_secrets: bool,
    /// Write NODE.yaml to this folder, each of mode 0600, and print nothing
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
}

/// Show what changes from one configuration to another, and what that takes
///
/// Each change is followed by what a node does with it: it takes it live, starts services again,
/// or needs a reboot or a new installation. Secrets are told by fingerprints.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("other").required(true).args(["after", "node"]),
    after_long_help = "Examples:\n  clusterctl config diff old.yaml new.yaml\n  talosctl -n solcp01 get mc v1alpha1 -o jsonpath='{.spec}' | clusterctl config diff - --node solcp01"
)]
pub struct ConfigDiff {
    /// The configuration before
    pub before: PathBuf,
    /// The configuration after
    pub after: Option<PathBuf>,
    /// Compare with what the tree gives this node
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// Version of Talos that the node runs [default: that of the node's cluster, or 1.13]
    #[arg(long, value_name = "VERSION")]
    pub talos: Option<String>,
    /// Exit with 2 when there are changes
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// Check configurations as a node does, with lines and hints
///
/// Beside what Talos refuses and warns of, it tells what Talos takes without a word and users regret:
/// classes that begin with `lint-`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  clusterctl config validate --mode cloud controlplane.yaml worker.yaml\n  clusterctl config validate --talos 1.11 --strict node.yaml"
)]
pub struct ConfigValidate {
    /// The configurations
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How the machine runs Talos; images of the platform nocloud run as cloud
    #[arg(short, long, value_enum, default_value = "metal")]
    pub mode: ConfigMode,
    /// Count warnings of the main document as errors
    #[arg(long)]
    pub strict: bool,
    /// Version of Talos whose rules apply [default: 1.13]
    #[arg(long, value_name = "VERSION")]
    pub talos: Option<String>,
}

/// How a machine runs Talos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfigMode {
    /// Installed to a disk of its own
    Metal,
    /// From an image of a cloud
    #[value(alias = "nocloud")]
    Cloud,
    /// In a container
    Container,
    /// In an agent that waits
    MetalAgent,
}

impl ConfigMode {
    /// What the user types for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metal => "metal",
            Self::Cloud => "cloud",
            Self::Container => "container",
            Self::MetalAgent => "metal-agent",
        }
    }
}

/// Merge patches into a configuration
///
/// A patch is a partial configuration (strategic merge) or a list of operations (RFC 6902), as
/// talosctl takes it. The outcome is not validated.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  clusterctl config patch node.yaml -p @vlan.yaml\n  clusterctl config patch node.yaml -p '{machine: {sysctls: {vm.nr_hugepages: \"1024\"}}}' --out node.yaml"
)]
pub struct ConfigPatch {
    /// The configuration
    pub file: PathBuf,
    /// @FILE, or the patch itself; they are merged in their order
    #[arg(
        short,
        long = "patch",
        value_name = "PATCH",
        required = true,
        allow_hyphen_values = true
    )]
    pub patches: Vec<String>,
    /// Write the outcome to this file, of mode 0600; it may be the same
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
