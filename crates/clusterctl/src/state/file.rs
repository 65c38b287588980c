//! Atomic writes: a file is either what it was or what it should be, also after a crash.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Who may read a file that we write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As the user's umask says; for files that are committed.
    Shared,
    /// The user alone (0600).
    Private,
}

/// A file that could not be read or written.
#[derive(Debug)]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self { action, path, source }
    }

    /// Which file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action, self.path.display())
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Writes a file: into a temporary one beside it, flushed, renamed, folder flushed. Folders on
/// the way are made.
///
/// # Errors
/// Any step fails; the old file, if there was one, is whole then.
pub fn write(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
    let temp = beside(path, bytes, mode)?;
    temp.persist(path).map_err(|error| FileError::at("replace", path)(error.error))?;
    flush_folder(path)
}

/// As [`write()`], for a file that must not be there yet.
///
/// # Errors
/// Any step fails, or there is a file; that one is untouched.
pub fn write_new(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
    let temp = beside(path, bytes, mode)?;
    temp.persist_noclobber(path).map_err(|error| FileError::at("create", path)(error.error))?;
    flush_folder(path)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path, bytes: &[u8], mode: Mode) -> Result<tempfile::NamedTempFile, FileError> {
    let dir = folder_of(path);
    std::fs::create_dir_all(dir).map_err(FileError::at("make folder", dir))?;
    let mut temp = tempfile::Builder::new()
        .prefix(".clusterctl-")
        .suffix(".tmp")
        .tempfile_in(dir)
        .map_err(FileError::at("write beside", path))?;
    temp.write_all(bytes).map_err(FileError::at("write", path))?;
    if mode == Mode::Shared {
        // A temporary file is private; one that is committed has the mode a plain write gives.
        set_mode(temp.path(), 0o644).map_err(FileError::at("set the mode of", path))?;
    }
    temp.as_file().sync_all().map_err(FileError::at("flush", path))?;
    Ok(temp)
}

fn flush_folder(path: &Path) -> Result<(), FileError> {
    std::fs::File::open(folder_of(path))
        .and_then(|dir| dir.sync_all())
        .map_err(FileError::at("flush the folder of", path))
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

/// Reads a file; `None` when there is none.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::at("read", path)(error)),
    }
}

/// Reads a file of text; `None` when there is none.
///
/// # Errors
/// The file is there and cannot be read, or is not UTF-8.
pub fn read_text_if_present(path: &Path) -> Result<Option<String>, FileError> {
    let invalid =
        |error| FileError::at("read", path)(io::Error::new(io::ErrorKind::InvalidData, error));
    read_if_present(path)?.map(|bytes| String::from_utf8(bytes).map_err(invalid)).transpose()
}

/// Removes a file; one that is not there is fine.
///
/// # Errors
/// The file is there and cannot be removed.
pub fn remove_if_present(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::at("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Copies a file that everybody may read; it appears whole or not at all.
///
/// # Errors
/// One of the two cannot be read or written.
pub fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs_err::create_dir_all(dir)?;
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(dir)?;
    io::copy(&mut fs_err::File::open(from)?, file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        write(&path, b"one", Mode::Private).unwrap();
        write(&path, b"two", Mode::Private).unwrap();
        assert_eq!(read_text_if_present(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(std::fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
        remove_if_present(&path).unwrap();
        remove_if_present(&path).unwrap();
        assert_eq!(read_if_present(&path).unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write(&path, b"x", Mode::Private).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write(&path, b"x", Mode::Shared).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    }
}
