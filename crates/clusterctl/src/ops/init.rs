//! `init`: a tree, or what a tree lacks. Nothing that is there is changed.

use std::path::{Path, PathBuf};

use super::{Context, Error};
use crate::state::{Mode, write};

const VERSIONS: &str = r#"# Versions that every cluster shares. This file also marks the root of the tree.

locals {
  talos_version      = "v1.11.5"
  kubernetes_version = "v1.31.4"
  cilium_version     = "1.18.4"

  talos_platform     = "nocloud"
  talos_architecture = "amd64"
}
"#;

const PROXMOX: &str = r#"# The Proxmox cluster: its nodes, and the storages to use.

locals {
  site          = "live"
  proxmox_nodes = ["pve01"]

  # Unset: the one shared storage with `iso` or `images` content.
  # storage = { datastore_id = "local", vm_datastore = "local-lvm" }
}
"#;

const CREDENTIALS: &str = r#"# Where the Proxmox endpoint and token come from. PROXMOX_VE_ENDPOINT, PROXMOX_VE_API_TOKEN and
# their like in the environment win over this file.

locals {
  # A SOPS file with pve_endpoint and pve_api_token:
  # secrets_file = "credentials.sops.yaml"
}
"#;

const GITIGNORE: &str = "# Ours to write, never to commit.\n.clusterctl/\nclusters/*/kubeconfig\nclusters/*/talosconfig\n";

/// The files of a new tree.
const FILES: [(&str, &str); 4] = [
    ("common/versions.hcl", VERSIONS),
    ("common/proxmox-infrastructure.hcl", PROXMOX),
    ("common/credentials.hcl", CREDENTIALS),
    (".gitignore", GITIGNORE),
];

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The tree.
    pub live: PathBuf,
    /// Files that were written.
    pub written: Vec<PathBuf>,
    /// Files that were there.
    pub kept: Vec<PathBuf>,
}

/// Scaffolds a tree.
///
/// # Errors
/// A file cannot be written.
pub fn init(context: &Context, dir: &Path) -> Result<Report, Error> {
    let live = context.cwd.join(context.live.as_deref().unwrap_or(dir));
    let mut report = Report { live: live.clone(), written: Vec::new(), kept: Vec::new() };
    for (name, text) in FILES {
        let path = live.join(name);
        if path.exists() {
            report.kept.push(path);
            continue;
        }
        write(&path, text.as_bytes(), Mode::Shared)
            .map_err(|error| Error::failed("scaffold the tree").because(error))?;
        report.written.push(path);
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_keeps_out_of_git_what_a_new_tree_does() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let path = root.join("examples/homelab/live/.gitignore");
        assert_eq!(fs_err::read_to_string(path).unwrap(), GITIGNORE);
    }
}
