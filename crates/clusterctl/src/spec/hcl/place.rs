//! Where a text stands: what relative paths and Terragrunt's path functions mean there.

use std::path::{Path, PathBuf};

use super::func;

/// The folders and files that functions of one text go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    /// Folder of the file whose text it is.
    pub(super) text_dir: PathBuf,
    /// The file that is evaluated or read; for an included text the including file.
    pub(super) unit: PathBuf,
    /// The outermost file.
    pub(super) original: PathBuf,
    /// The folder that is worked in.
    pub(super) work_dir: PathBuf,
    /// Files that the unit includes, by name; in an included text that text alone.
    pub(super) includes: Vec<(String, PathBuf)>,
}

impl Site {
    /// The folder of the unit.
    pub(super) fn unit_dir(&self) -> &Path {
        folder(&self.unit)
    }
}

/// The folder of a file.
pub(super) fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("/"))
}

/// A path joined to a folder and cleaned of `.` and `..`.
pub(super) fn join(dir: &Path, path: &str) -> PathBuf {
    let joined = dir.join(path);
    PathBuf::from(func::clean_path(&joined.to_string_lossy()))
}

/// The way from one folder to another, with `..`.
pub(super) fn relative(from: &Path, to: &Path) -> String {
    let from: Vec<_> = from.components().collect();
    let to: Vec<_> = to.components().collect();
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let ups = from.len() - shared;
    let mut parts: Vec<String> = vec!["..".to_owned(); ups];
    parts
        .extend(to.iter().skip(shared).map(|part| part.as_os_str().to_string_lossy().into_owned()));
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

/// The nearest folder upwards that holds `.git`.
pub(super) fn repository(from: &Path) -> Option<PathBuf> {
    from.ancestors().find(|dir| dir.join(".git").exists()).map(Path::to_path_buf)
}
