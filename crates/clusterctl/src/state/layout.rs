//! Which file lies where, in a real tree and in the lab.

use std::path::{Path, PathBuf};

use super::file::{self, FileError, Mode};

/// The files of a tree that are ours to write.
///
/// In the lab all of them lie below `live/.clusterctl/lab/tree/`: nothing of the real tree is
/// written, and neither its secrets nor its lock file are opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    live: PathBuf,
    lab: bool,
}

impl Layout {
    /// The files of the tree at `live`.
    pub fn new(live: &Path, lab: bool) -> Self {
        Self { live: live.to_path_buf(), lab }
    }

    /// The tree.
    pub fn live(&self) -> &Path {
        &self.live
    }

    /// Whether this is the lab's view.
    pub fn is_lab(&self) -> bool {
        self.lab
    }

    /// Our own folder, ignored by git: journal, caches, the lab.
    pub fn own(&self) -> PathBuf {
        let own = self.live.join(".clusterctl");
        if self.lab { own.join("lab") } else { own }
    }

    fn base(&self) -> PathBuf {
        if self.lab { self.live.join(".clusterctl/lab/tree") } else { self.live.clone() }
    }

    /// Where the journals lie.
    pub fn journal(&self) -> PathBuf {
        self.own().join("journal")
    }

    /// Where downloads are kept.
    pub fn cache(&self) -> PathBuf {
        self.own().join("cache")
    }

    /// `clusterctl.lock`.
    pub fn lock_file(&self) -> PathBuf {
        self.base().join("clusterctl.lock")
    }

    /// The secrets bundle of a cluster, beside its `cluster.hcl`.
    pub fn bundle(&self, folder: &str) -> PathBuf {
        self.base().join("clusters").join(folder).join("secrets.sops.yaml")
    }

    /// The kubeconfig of a cluster.
    pub fn kubeconfig(&self, folder: &str) -> PathBuf {
        self.base().join("clusters").join(folder).join("kubeconfig")
    }

    /// The talosconfig of a cluster.
    pub fn talosconfig(&self, folder: &str) -> PathBuf {
        self.base().join("clusters").join(folder).join("talosconfig")
    }

    /// Makes our own folder, with a `.gitignore` that keeps it out of every commit.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn prepare(&self) -> Result<(), FileError> {
        let ignore = self.live.join(".clusterctl/.gitignore");
        match file::read_if_present(&ignore)? {
            Some(_) => Ok(()),
            None => file::write(&ignore, b"*\n", Mode::Shared),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lab_writes_nothing_outside_of_its_own_folder() {
        let lab = Layout::new(Path::new("/x/live"), true);
        for path in [
            lab.journal(),
            lab.cache(),
            lab.lock_file(),
            lab.bundle("cluster-101"),
            lab.kubeconfig("cluster-101"),
            lab.talosconfig("cluster-101"),
        ] {
            assert!(path.starts_with("/x/live/.clusterctl/lab"), "{}", path.display());
        }
        let real = Layout::new(Path::new("/x/live"), false);
        assert_eq!(
            real.bundle("cluster-101"),
            Path::new("/x/live/clusters/cluster-101/secrets.sops.yaml")
        );
    }
}
