//! What is on disks: kept in memory and, if asked, in files that are replaced whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// An installed system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Installed {
    /// Talos version, with `v`.
    pub(crate) version: String,
    /// Schematic id.
    pub(crate) schematic: String,
    /// Platform.
    pub(crate) platform: String,
    /// Architecture.
    pub(crate) architecture: String,
}

/// Data of an etcd member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EtcdData {
    /// Which etcd cluster.
    pub(crate) cluster: String,
    /// Member id.
    pub(crate) member: u64,
}

/// Content of one disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    /// What it is the content of.
    pub(crate) id: String,
    /// The installed system.
    pub(crate) installed: Option<Installed>,
    /// The system before an upgrade.
    pub(crate) previous: Option<Installed>,
    /// Whether the installed system has not run yet: the boot loader still falls back.
    #[serde(default)]
    pub(crate) trial: bool,
    /// META: the installer image of an upgrade that an early boot is to do.
    #[serde(default)]
    pub(crate) upgrade: Option<String>,
    /// STATE: the configuration.
    pub(crate) config: Option<String>,
    /// META: a configuration for the next boot.
    pub(crate) staged: Option<String>,
    /// EPHEMERAL: etcd's data.
    pub(crate) etcd: Option<EtcdData>,
    /// EPHEMERAL: images of the runtime of Kubernetes that were pulled by a call, as they were named.
    #[serde(default)]
    pub(crate) images: BTreeSet<String>,
    /// EPHEMERAL: images that were pulled for the system itself.
    #[serde(default)]
    pub(crate) system_images: BTreeSet<String>,
    /// META: user's keys.
    pub(crate) meta: BTreeMap<u8, String>,
    /// STATE: identity of the node.
    pub(crate) node_id: String,
    /// How often it was installed.
    pub(crate) installs: u64,
}

/// A keyed store of texts, in files or in memory.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    dir: Option<PathBuf>,
    kind: &'static str,
}

impl Shelf {
    /// A shelf for one kind of thing.
    pub(crate) fn new(dir: Option<&Path>, kind: &'static str) -> std::io::Result<Self> {
        if let Some(dir) = dir {
            std::fs::create_dir_all(dir)?;
        }
        Ok(Self { dir: dir.map(Path::to_owned), kind })
    }

    /// Everything on it.
    pub(crate) fn load<T: for<'de> Deserialize<'de>>(&self) -> std::io::Result<Vec<T>> {
        let Some(dir) = &self.dir else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
            if name.starts_with(self.kind) && path.extension().is_some_and(|e| e == "json") {
                let file = std::fs::File::open(&path)?;
                out.push(serde_json::from_reader(std::io::BufReader::new(file))?);
            }
        }
        Ok(out)
    }

    /// Replace one thing.
    pub(crate) fn save<T: Serialize>(&self, id: &str, value: &T) -> std::io::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let path = dir.join(self.name(id));
        let temporary = path.with_extension("tmp");
        let mut file = private(&temporary)?;
        serde_json::to_writer(&mut file, value)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &path)
    }

    fn name(&self, id: &str) -> String {
        use std::fmt::Write as _;
        let digest = Sha256::digest(id.as_bytes());
        let mut hex = String::new();
        for byte in digest.iter().take(12) {
            let _ = write!(hex, "{byte:02x}");
        }
        format!("{}-{hex}.json", self.kind)
    }
}

fn private(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

/// All disks of a fabric.
#[derive(Debug)]
pub(crate) struct Disks {
    shelf: Shelf,
    all: Mutex<BTreeMap<String, Content>>,
}

impl Disks {
    /// Those of earlier runs.
    pub(crate) fn open(dir: Option<&Path>) -> std::io::Result<Self> {
        let shelf = Shelf::new(dir, "disk")?;
        let all = shelf.load::<Content>()?.into_iter().map(|c| (c.id.clone(), c)).collect();
        Ok(Self { shelf, all: Mutex::new(all) })
    }

    /// Content of a disk.
    pub(crate) fn get(&self, id: &str) -> Content {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(id).cloned().unwrap_or_else(|| Content { id: id.to_owned(), ..Content::default() })
    }

    /// Change the content of a disk.
    pub(crate) fn change(&self, id: &str, edit: impl FnOnce(&mut Content)) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let content = all
            .entry(id.to_owned())
            .or_insert_with(|| Content { id: id.to_owned(), ..Content::default() });
        edit(content);
        if let Err(error) = self.shelf.save(id, content) {
            tracing::error!(%error, disk = id, "write disk state");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        Disks::open(Some(dir.path())).unwrap().change("a", |c| c.config = Some("x".into()));
        assert_eq!(Disks::open(Some(dir.path())).unwrap().get("a").config.as_deref(), Some("x"));
        assert_eq!(Disks::open(None).unwrap().get("a").config, None);
    }
}
