//! Where the lab keeps its files.

use std::path::{Path, PathBuf};

use super::error::LabError;

/// Longest path of a socket that every system takes (`sun_path` has 104 bytes on some).
const LONGEST_SOCKET: usize = 100;

/// The folder of a tree's lab and what lies in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    dir: PathBuf,
}

impl Paths {
    /// The lab of the tree at `live`.
    pub fn of(live: &Path) -> Self {
        Self { dir: live.join(".clusterctl/lab") }
    }

    /// A lab in this folder.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// The folder, of mode 0700.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `lab.json`: there while the lab runs and is ready.
    pub fn file(&self) -> PathBuf {
        self.dir.join("lab.json")
    }

    /// What the trees of this lab wanted so far.
    pub fn world(&self) -> PathBuf {
        self.dir.join("world.json")
    }

    /// What the process said.
    pub fn log(&self) -> PathBuf {
        self.dir.join("lab.log")
    }

    /// Held by the process while it lives.
    pub fn alive(&self) -> PathBuf {
        self.dir.join("alive.lock")
    }

    /// Held by whoever starts or ends it.
    pub fn change(&self) -> PathBuf {
        self.dir.join("change.lock")
    }

    /// State of the simulators.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The overlay: every file that would be written to the tree is written here.
    pub fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    /// Where the control socket is: in the folder, or where the path is short enough.
    ///
    /// `runtime` is the user's own folder for such things, if there is one.
    ///
    /// # Errors
    /// No folder that belongs to this user alone can be had.
    pub fn socket(&self, runtime: Option<&Path>) -> Result<PathBuf, LabError> {
        let here = self.dir.join("control.sock");
        if here.as_os_str().len() <= LONGEST_SOCKET {
            return Ok(here);
        }
        let name = format!("clusterctl-lab-{}", short_hash(&self.dir));
        let shared = std::env::temp_dir();
        for base in runtime.into_iter().chain([shared.as_path(), Path::new("/tmp")]) {
            let dir = base.join(&name);
            let socket = dir.join("control.sock");
            if socket.as_os_str().len() <= LONGEST_SOCKET && base.is_dir() {
                own_folder(&dir)?;
                return Ok(socket);
            }
        }
        Err(LabError::new(
            super::LabErrorKind::File,
            format!("no path for a socket is short enough: {}", here.display()),
        )
        .hint("move the tree to a folder with a shorter path, or set XDG_RUNTIME_DIR"))
    }
}

fn short_hash(path: &Path) -> String {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    let digest = sha2::Sha256::digest(path.as_os_str().as_encoded_bytes());
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Makes a folder that only this user can enter, or checks that it is one: in a folder that
/// everybody may write to, somebody else may have been there first.
///
/// # Errors
/// It cannot be made, or is somebody else's.
pub(super) fn own_folder(dir: &Path) -> Result<(), LabError> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    let made = std::fs::DirBuilder::new().mode(0o700).create(dir);
    match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => return made.map_err(LabError::file("make folder", dir)),
    }
    let data = std::fs::symlink_metadata(dir).map_err(LabError::file("look at", dir))?;
    let mine = data.uid() == rustix::process::geteuid().as_raw();
    if data.is_dir() && mine && data.mode() & 0o777 == 0o700 {
        return Ok(());
    }
    Err(LabError::new(
        super::LabErrorKind::File,
        format!("{} is not a folder of yours alone", dir.display()),
    )
    .hint("remove it, or give it mode 0700"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_moves_the_socket_to_a_private_folder() {
        use std::os::unix::fs::PermissionsExt as _;
        let short = Paths::at(Path::new("/x/lab"));
        assert_eq!(short.socket(None).unwrap(), Path::new("/x/lab/control.sock"));
        let runtime = tempfile::tempdir().unwrap();
        let deep = Paths::at(&Path::new("/x").join("d".repeat(120)));
        let socket = deep.socket(Some(runtime.path())).unwrap();
        assert!(socket.starts_with(runtime.path()), "{}", socket.display());
        assert!(socket.as_os_str().len() <= LONGEST_SOCKET);
        let dir = socket.parent().unwrap();
        assert_eq!(std::fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(deep.socket(Some(runtime.path())).unwrap(), socket);
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(deep.socket(Some(runtime.path())).is_err());
    }
}
