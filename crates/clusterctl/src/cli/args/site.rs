//! Arguments of verbs that look at a site, and of `destroy`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// Remove what apply has made: machines, files, networks
///
/// Only what is proven to be ours goes: machines by their UUID and tags, networks and files by
/// their mark or by the ledger in clusterctl.lock. Everything else stays and is listed with the
/// reason. The secrets of a cluster are never removed. Nothing asks a cluster whether it is well,
/// so a broken one can be removed too. A run that was cut goes on when the command is typed again.
///
/// One cluster is confirmed by typing its name, more by typing the site's.
#[derive(Debug, Args)]
pub struct Destroy {
    /// Paths of the tree or names of clusters, such as artifacts, clusters/cluster-101/compute or
    /// sol; without one the working folder, at the root everything
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Only show what would be removed and what would stay
    #[arg(long)]
    pub dry_run: bool,
}

/// Show what is there beside what the tree wants, node by node
///
/// Machines, Talos and Kubernetes of each node, and how many steps `apply` would take. Changes
/// nothing, and tells what cannot be told.
#[derive(Debug, Args)]
pub struct Status {
    /// Only these clusters (name, id or folder)
    pub clusters: Vec<String>,
}

/// Check whether clusters are well; exit 4 when one is not
///
/// Named checks from the machine API up to nodes that are ready, each with the reason while it
/// does not hold.
#[derive(Debug, Args)]
pub struct Health {
    /// Only these clusters (name, id or folder)
    pub clusters: Vec<String>,
    /// Wait until all checks hold
    #[arg(long)]
    pub wait: bool,
    /// Longest wait, such as 90s, 10m or 1h30m
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration,
        requires = "wait")]
    pub timeout: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    let seconds =
        talos_client::talosconfig::lifetime(text).map_err(|_| "write 90s, 10m or 1h30m")?;
    u64::try_from(seconds).map(Duration::from_secs).map_err(|_| "a wait is not negative".to_owned())
}

/// Print values that a stage gives to others
///
/// Everything is derived from the tree and the lock file: nothing has to exist. The names are
/// those that users of Terragrunt know, such as talos_image_file_ids.
#[derive(Debug, Args)]
pub struct Output {
    /// The stage, such as artifacts/registry or clusters/cluster-101/compute
    pub stage: String,
    /// Only this value, without its name
    pub name: Option<String>,
}

/// Print a file that opens a cluster, or merge it into a file
///
/// The file that apply wrote is used while it serves; otherwise a new one is made of the cluster's
/// secrets. Its context is called as the cluster is.
#[derive(Debug, Args)]
pub struct Access {
    /// The cluster (name, id or folder)
    pub cluster: String,
    /// Merge it into this file, or the one that kubectl or talosctl uses: the cluster's context is
    /// added or replaced, everything else stays
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub merge: Option<Option<PathBuf>>,
    /// Make the cluster's context the current one of the merged file
    #[arg(long, requires = "merge")]
    pub use_context: bool,
    /// Make new certificates even if the old ones serve
    #[arg(long)]
    pub renew: bool,
}

/// Remove the lock of a site whose owner is gone
///
/// Shows who holds it, and refuses while that is a process of this host that is alive.
#[derive(Debug, Args)]
pub struct Unlock {}

/// Look for what would stop a plan: names, TLS, clocks, privileges, storages, reach
///
/// Every finding says what to do. Exits with 1 when something would stop a plan.
#[derive(Debug, Args)]
pub struct Doctor {
    /// What the plan would be about, as for apply
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
}
