//! Files in a storage: by name and size. The server tells no hash: that of the file is the caller's
//! to know.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A file as it should be in a storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDesired {
    /// The storage.
    pub storage: String,
    /// The class of content, such as `iso`.
    pub content: String,
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A file as it is: volume id and size, if the server tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileObserved {
    /// Such as `local:iso/talos.iso`.
    pub volid: String,
    /// Its size in bytes.
    pub size: Option<u64>,
}

/// What it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum FileChange {
    /// The file is uploaded.
    Upload {
        /// Its volume id.
        volid: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A file of that name and another size is there: somebody else's, or cut short. Whoever uses
    /// it would see it change.
    Replace {
        /// Its volume id.
        volid: String,
        /// The size that is there.
        before: Option<u64>,
        /// The size that it will have.
        after: u64,
    },
}

impl FileDesired {
    /// Its volume id.
    pub fn volid(&self) -> String {
        format!("{}:{}/{}", self.storage, self.content, self.name)
    }
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upload { volid, size } => write!(f, "upload {volid} ({size} bytes)"),
            Self::Replace { volid, before: Some(before), after } => {
                write!(f, "replace {volid}: {before} -> {after} bytes")
            }
            Self::Replace { volid, before: None, after } => {
                write!(f, "replace {volid}: of unknown size -> {after} bytes")
            }
        }
    }
}

/// What it takes to have a file in a storage of which this is the content. None where it is there.
pub fn diff(desired: &FileDesired, content: &[FileObserved]) -> Option<FileChange> {
    let volid = desired.volid();
    match content.iter().find(|file| file.volid == volid) {
        None => Some(FileChange::Upload { volid, size: desired.size }),
        Some(file) if file.size == Some(desired.size) => None,
        Some(file) => Some(FileChange::Replace { volid, before: file.size, after: desired.size }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_name_and_size() {
        let desired = FileDesired {
            storage: "local".into(),
            content: "iso".into(),
            name: "t.iso".into(),
            size: 7,
        };
        let file = |volid: &str, size| FileObserved { volid: volid.into(), size };
        let there = [file("local:iso/other.iso", Some(7)), file("local:iso/t.iso", Some(7))];
        assert_eq!(diff(&desired, &there), None);
        let change = diff(&desired, &there[..1]).unwrap();
        assert_eq!(change.to_string(), "upload local:iso/t.iso (7 bytes)");
        let short = diff(&desired, &[file("local:iso/t.iso", Some(3))]).unwrap();
        assert_eq!(short.to_string(), "replace local:iso/t.iso: 3 -> 7 bytes");
        let unknown = diff(&desired, &[file("local:iso/t.iso", None)]).unwrap();
        assert!(matches!(unknown, FileChange::Replace { before: None, .. }));
    }
}
