//! Where a tree begins, and the repository around it.

use std::path::{Path, PathBuf};

/// The file that marks the root of a tree.
pub const MARKER: &str = "common/versions.hcl";

/// The root of a tree and of the repository that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The folder that holds `common/versions.hcl`, without symbolic links.
    pub live: PathBuf,
    /// The nearest folder upward with `.git`, else the parent of `live`.
    pub repository: PathBuf,
}

/// Why no root was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// No folder upward holds a tree.
    #[error("no tree here: neither {} nor a folder above it holds {MARKER}", from.display())]
    NotFound {
        /// The folder where the search began.
        from: PathBuf,
        /// The tree in its folder `live`, where there is one: it is not taken unasked.
        below: Option<PathBuf>,
    },
    /// The folder that was named holds no tree.
    #[error("{} is not a tree: it holds no {MARKER}", live.display())]
    NotATree {
        /// The folder that was named.
        live: PathBuf,
    },
    /// A folder cannot be read.
    #[error("cannot open {}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl Root {
    /// Finds the tree that `from` lies in.
    ///
    /// # Errors
    /// When `from` cannot be opened, or no folder upward holds `common/versions.hcl`.
    pub fn find(from: &Path) -> Result<Self, RootError> {
        let from = canonical(from)?;
        match from.ancestors().find(|folder| folder.join(MARKER).is_file()) {
            Some(live) => Ok(Self::of(live.to_path_buf())),
            None => {
                let below = Some(from.join("live")).filter(|live| live.join(MARKER).is_file());
                Err(RootError::NotFound { from, below })
            }
        }
    }

    /// Takes `live` as the root, as `--live` says.
    ///
    /// # Errors
    /// When `live` cannot be opened, or does not hold `common/versions.hcl`.
    pub fn at(live: &Path) -> Result<Self, RootError> {
        let live = canonical(live)?;
        if live.join(MARKER).is_file() {
            Ok(Self::of(live))
        } else {
            Err(RootError::NotATree { live })
        }
    }

    fn of(live: PathBuf) -> Self {
        let repository = live
            .ancestors()
            .find(|folder| folder.join(".git").exists())
            .or_else(|| live.parent())
            .unwrap_or(&live)
            .to_path_buf();
        Self { live, repository }
    }
}

fn canonical(path: &Path) -> Result<PathBuf, RootError> {
    fs_err::canonicalize(path).map_err(|source| RootError::Io { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(git: bool) -> std::io::Result<(tempfile::TempDir, PathBuf)> {
        let folder = tempfile::tempdir()?;
        let live = std::fs::canonicalize(folder.path())?.join("repo/live");
        std::fs::create_dir_all(live.join("common"))?;
        std::fs::create_dir_all(live.join("clusters/cluster-101"))?;
        fs_err::write(live.join(MARKER), "locals {}\n")?;
        if git {
            let top = live.ancestors().nth(2).unwrap_or(&live);
            std::fs::create_dir_all(top.join(".git"))?;
        }
        Ok((folder, live))
    }

    #[test]
    fn a_folder_below_finds_the_root() -> Result<(), Box<dyn std::error::Error>> {
        let (_folder, live) = tree(false)?;
        let root = Root::find(&live.join("clusters/cluster-101"))?;
        assert_eq!(root.live, live);
        assert_eq!(Some(root.repository.as_path()), live.parent());
        Ok(())
    }

    #[test]
    fn the_nearest_work_tree_is_the_repository() -> Result<(), Box<dyn std::error::Error>> {
        let (_folder, live) = tree(true)?;
        let root = Root::at(&live)?;
        assert_eq!(Some(root.repository.as_path()), live.ancestors().nth(2));
        Ok(())
    }

    #[test]
    fn a_named_folder_is_not_searched_upward() -> Result<(), Box<dyn std::error::Error>> {
        let (_folder, live) = tree(false)?;
        let refused = Root::at(&live.join("clusters"));
        assert!(matches!(refused, Err(RootError::NotATree { .. })));
        Ok(())
    }

    #[test]
    fn nothing_upward_is_an_error() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let refused = Root::find(folder.path());
        assert!(matches!(refused, Err(RootError::NotFound { below: None, .. })));
        Ok(())
    }

    #[test]
    fn a_tree_below_is_told_and_not_taken() -> Result<(), Box<dyn std::error::Error>> {
        let (_folder, live) = tree(false)?;
        let refused = Root::find(live.parent().ok_or("no folder above")?);
        assert!(
            matches!(&refused, Err(RootError::NotFound { below: Some(found), .. }) if *found == live),
            "{refused:?}"
        );
        Ok(())
    }
}
