//! `clusterctl.lock`: digests, pins and the ledger. It speeds things up and proves what we made.
//! Without it what it protects from is looked for in what can be seen alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::{self, FileError, Mode};

/// Format of the lock file.
pub const LOCK_FORMAT: u32 = 1;

/// What is known of an image, which Proxmox cannot tell: it gives no hash of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagePin {
    /// The schematic that the image was made from.
    pub schematic: String,
    /// The Talos version in it.
    pub talos_version: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Length of the file in bytes.
    pub size: u64,
}

/// What a running cluster was made with; moved by upgrades alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterPin {
    /// The cluster's id.
    pub cluster_id: u16,
    /// The Talos version that its configuration was generated for.
    pub talos_version: String,
    /// The Kubernetes version of its configuration.
    pub kubernetes_version: String,
    /// Its etcd was seen to run: it is never started as a new one again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub etcd_started: bool,
    /// The image of the Job that installs Cilium, by digest or by tag: what the first control plane
    /// was given. None as long as no control plane has one; in lock files of before also where it
    /// was given by tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cilium_cli_image: Option<String>,
}

/// Kinds of things that cannot carry a mark of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThingKind {
    /// An SDN zone.
    SdnZone,
    /// An SDN controller.
    SdnController,
    /// A VNet. It has a mark, which does not tell whose tree it is of.
    SdnVnet,
    /// An SDN subnet.
    SdnSubnet,
    /// A file in a storage of a node.
    StorageFile,
}

/// A thing that we created and that cannot say so itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerEntry {
    /// What it is.
    pub kind: ThingKind,
    /// Its id, such as `evpn` or `pve01/local:iso/talos.iso`.
    pub id: String,
}

/// The lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// [`LOCK_FORMAT`].
    pub format: u32,
    /// Images by file name or reference.
    #[serde(default)]
    pub images: BTreeMap<String, ImagePin>,
    /// Digests of references that were given by tag.
    #[serde(default)]
    pub references: BTreeMap<String, String>,
    /// Clusters by name.
    #[serde(default)]
    pub clusters: BTreeMap<String, ClusterPin>,
    /// SHA-256 of the files that we put into storages, in hex, by the id that the ledger has.
    #[serde(default)]
    pub uploads: BTreeMap<String, String>,
    /// Things that we created.
    #[serde(default)]
    pub ledger: BTreeSet<LedgerEntry>,
}

/// What a file in a storage is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredFile {
    /// The wanted one, as far as can be told.
    Wanted,
    /// One of ours with other content, or with content that nothing tells.
    Ours,
    /// Somebody else's, and another one: it is never written over.
    Foreign,
}

impl Default for LockFile {
    fn default() -> Self {
        Self {
            format: LOCK_FORMAT,
            images: BTreeMap::new(),
            references: BTreeMap::new(),
            uploads: BTreeMap::new(),
            clusters: BTreeMap::new(),
            ledger: BTreeSet::new(),
        }
    }
}

/// Why the lock file cannot be used.
#[derive(Debug)]
pub enum LockFileError {
    /// It cannot be read or written.
    File(FileError),
    /// It is not a lock file.
    Text {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It was written by a newer program.
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        format: u64,
    },
}

impl fmt::Display for LockFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Text { path, .. } => write!(
                f,
                "{} is not a lock file: restore it; without it images are verified again, and what was \
                 made here is told by what can be seen alone",
                path.display()
            ),
            Self::Newer { path, format } => write!(
                f,
                "{} has format {format}, this program knows {LOCK_FORMAT}: use a newer clusterctl",
                path.display()
            ),
        }
    }
}

impl std::error::Error for LockFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => error.source(),
            Self::Text { source, .. } => Some(source),
            Self::Newer { .. } => None,
        }
    }
}

impl LockFile {
    /// What a cluster was made with; none when it was never configured, or destroyed since.
    pub fn cluster(&self, id: u16) -> Option<&ClusterPin> {
        self.clusters.values().find(|pin| pin.cluster_id == id)
    }

    /// The image that installs Cilium in a cluster whose tree says `wanted`, by digest where one is
    /// known.
    pub fn cilium_cli_image(&self, cluster_id: u16, wanted: &str) -> String {
        let kept = self.kept_cilium_cli_image(cluster_id, wanted);
        kept.unwrap_or_else(|| self.by_digest(wanted))
    }

    /// A reference by digest where one is known; as it is otherwise.
    pub fn by_digest(&self, reference: &str) -> String {
        match self.references.get(reference) {
            Some(digest) if !reference.contains('@') => format!("{reference}@{digest}"),
            _ => reference.to_owned(),
        }
    }

    /// The same where control planes have it already, or none: a cluster keeps what it began with,
    /// be it a tag, for another image is another Job, which would install again.
    pub fn kept_cilium_cli_image(&self, cluster_id: u16, wanted: &str) -> Option<String> {
        let pin = self.cluster(cluster_id)?;
        match &pin.cilium_cli_image {
            Some(image) if image == wanted || is_pinned_form(image, wanted) => Some(image.clone()),
            // The tree asks for another image since.
            Some(_) => Some(wanted.to_owned()),
            // Lock files of before have no word for a tag.
            None => pin.etcd_started.then(|| wanted.to_owned()),
        }
    }

    /// Reads the lock file; an empty one when there is none.
    ///
    /// # Errors
    /// It cannot be read, is no lock file, or is of a newer format.
    pub fn read(path: &Path) -> Result<Self, LockFileError> {
        let Some(text) = file::read_text_if_present(path).map_err(LockFileError::File)? else {
            return Ok(Self::default());
        };
        let bad = |source| LockFileError::Text { path: path.to_path_buf(), source };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(bad)?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format > u64::from(LOCK_FORMAT) => {
                return Err(LockFileError::Newer { path: path.to_path_buf(), format });
            }
            _ => {}
        }
        serde_json::from_value(value).map_err(bad)
    }

    /// What a file in a storage is to us, where `id` is the ledger's and `size` what Proxmox tells:
    /// it gives no hash. A file of others that has the wanted length is taken for the wanted one.
    pub fn stored(&self, id: &str, size: Option<u64>, wanted: &ImagePin) -> StoredFile {
        let entry = LedgerEntry { kind: ThingKind::StorageFile, id: id.to_owned() };
        let has_length = size == Some(wanted.size);
        match (self.ledger.contains(&entry), self.uploads.get(id)) {
            (true, Some(sha256)) if *sha256 == wanted.sha256 && has_length => StoredFile::Wanted,
            (true, _) => StoredFile::Ours,
            (false, _) if has_length => StoredFile::Wanted,
            (false, _) => StoredFile::Foreign,
        }
    }

    /// Whether the copy of an image that is under `copy` is that of `source`.
    pub fn is_copied(&self, source: &str, copy: &str) -> bool {
        let digest = |reference: &str| self.references.get(reference);
        digest(copy).is_some() && digest(copy) == digest(source)
    }

    /// Writes the lock file, if it differs from what is there.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), LockFileError> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|source| LockFileError::Text { path: path.to_path_buf(), source })?;
        text.push('\n');
        let there = file::read_text_if_present(path).map_err(LockFileError::File)?;
        if there.as_deref() == Some(text.as_str()) {
            return Ok(());
        }
        file::write(path, text.as_bytes(), Mode::Shared).map_err(LockFileError::File)
    }
}

/// Whether `image` is the reference `wanted`, by digest.
pub fn is_pinned_form(image: &str, wanted: &str) -> bool {
    image.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_keeps_the_image_that_it_began_with() {
        let mut lock = LockFile::default();
        assert_eq!(lock.cilium_cli_image(101, "cli:v1"), "cli:v1");
        lock.references.insert("cli:v1".into(), "sha256:aa".into());
        assert_eq!(lock.cilium_cli_image(101, "cli:v1"), "cli:v1@sha256:aa");
        let mut pin = ClusterPin {
            cluster_id: 101,
            talos_version: "v1.11.5".into(),
            kubernetes_version: "v1.31.4".into(),
            etcd_started: true,
            cilium_cli_image: None,
        };
        let mut with = |image: Option<&str>, etcd_started: bool, wanted: &str| {
            pin.cilium_cli_image = image.map(str::to_owned);
            pin.etcd_started = etcd_started;
            lock.clusters.insert("sol".into(), pin.clone());
            (lock.kept_cilium_cli_image(101, wanted), lock.cilium_cli_image(101, wanted))
        };
        let kept = |image: &str| (Some(image.to_owned()), image.to_owned());
        // It began by tag, or by another digest: it stays so, whatever others were pinned to since.
        assert_eq!(with(Some("cli:v1"), false, "cli:v1"), kept("cli:v1"));
        assert_eq!(with(Some("cli:v1@sha256:bb"), true, "cli:v1"), kept("cli:v1@sha256:bb"));
        assert_eq!(with(Some("cli:v1@sha256:bb"), true, "cli:v2"), kept("cli:v2"));
        // A lock file of before tells of a tag by telling nothing.
        assert_eq!(with(None, true, "cli:v1"), kept("cli:v1"));
        // Workers alone settle nothing.
        assert_eq!(with(None, false, "cli:v1"), (None, "cli:v1@sha256:aa".to_owned()));
        assert_eq!(lock.kept_cilium_cli_image(102, "cli:v1"), None);
        assert_eq!(lock.cilium_cli_image(102, "cli:v1"), "cli:v1@sha256:aa");
    }

    #[test]
    fn what_is_written_reads_back_and_a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clusterctl.lock");
        assert_eq!(LockFile::read(&path).unwrap(), LockFile::default());
        let mut lock = LockFile::default();
        lock.references.insert("a:1".into(), "sha256:00".into());
        lock.ledger.insert(LedgerEntry { kind: ThingKind::SdnZone, id: "evpn".into() });
        lock.write(&path).unwrap();
        assert_eq!(LockFile::read(&path).unwrap(), lock);
        fs_err::write(&path, r#"{"format": 2, "new": 1}"#).unwrap();
        assert!(matches!(LockFile::read(&path), Err(LockFileError::Newer { format: 2, .. })));
        fs_err::write(&path, r#"{"format": 1, "imagse": {}}"#).unwrap();
        assert!(matches!(LockFile::read(&path), Err(LockFileError::Text { .. })));
    }
    #[test]
    fn a_file_of_others_is_not_taken_for_ours() {
        let pin = |sha256: &str| ImagePin {
            schematic: "s".into(),
            talos_version: "v1.11.5".into(),
            sha256: sha256.into(),
            size: 9,
        };
        let id = "pve01/local:iso/talos.iso";
        let mut lock = LockFile::default();
        assert_eq!(lock.stored(id, Some(9), &pin("a")), StoredFile::Wanted);
        assert_eq!(lock.stored(id, Some(8), &pin("a")), StoredFile::Foreign);
        assert_eq!(lock.stored(id, None, &pin("a")), StoredFile::Foreign);
        // One that we began to put there and did not finish.
        lock.ledger.insert(LedgerEntry { kind: ThingKind::StorageFile, id: id.into() });
        assert_eq!(lock.stored(id, Some(9), &pin("a")), StoredFile::Ours);
        lock.uploads.insert(id.into(), "a".into());
        assert_eq!(lock.stored(id, Some(9), &pin("a")), StoredFile::Wanted);
        assert_eq!(lock.stored(id, Some(8), &pin("a")), StoredFile::Ours);
        // Another schematic may give an image of the same length.
        assert_eq!(lock.stored(id, Some(9), &pin("b")), StoredFile::Ours);
    }

    #[test]
    fn a_copy_is_one_of_a_certain_image() {
        let mut lock = LockFile::default();
        assert!(!lock.is_copied("factory/one:v1", "site:v1"));
        lock.references.insert("site:v1".into(), "sha256:1".into());
        assert!(!lock.is_copied("factory/one:v1", "site:v1"));
        lock.references.insert("factory/one:v1".into(), "sha256:1".into());
        assert!(lock.is_copied("factory/one:v1", "site:v1"));
        assert!(!lock.is_copied("factory/two:v1", "site:v1"));
    }
}
