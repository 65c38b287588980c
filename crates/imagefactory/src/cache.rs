//! Content by digest, on disk.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::retry_on_intr;
use sha2::Digest as _;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result, io};

/// After this time without a write, what is half-written was left behind.
const ABANDONED: Duration = Duration::from_hours(24);

/// A folder of content, each file named by its SHA-256.
///
/// Several processes may share one: content appears whole or not at all. Whoever has it open, by a
/// handle or a clone of one, keeps the others from removing content; the end of the process ends
/// that too.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
    /// Locked together with other users. All clones share it: the last one gives it back.
    used: Arc<std::fs::File>,
}

impl Cache {
    /// Opens a cache, making its folder; waits while somebody removes content.
    ///
    /// # Errors
    /// The folder cannot be made, or its lock file cannot be made or locked.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        std::fs::create_dir_all(dir.join("sha256"))
            .map_err(io(format!("make the cache {}", dir.display())))?;
        let path = dir.join("lock");
        let what = || format!("lock {}", path.display());
        let file = std::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(io(what()))?;
        retry_on_intr(|| flock(&file, FlockOperation::LockShared))
            .map_err(|error| io(what())(error.into()))?;
        Ok(Self { dir, used: Arc::new(file) })
    }

    /// Where content lies, whether it is there or not.
    pub fn path_of(&self, digest: &Digest) -> PathBuf {
        self.dir.join("sha256").join(digest.hex())
    }

    /// Where content lies if it is there and is what its name says; damaged content is removed.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn get(&self, digest: &Digest) -> Result<Option<PathBuf>> {
        let path = self.path_of(digest);
        let mut file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(format!("open {}", path.display()))(error)),
        };
        // Before it is read: that may take long.
        touch(&path);
        let found = digest_of(&mut file).map_err(io(format!("read {}", path.display())))?;
        if found == *digest {
            return Ok(Some(path));
        }
        tracing::warn!(path = %path.display(), "damaged content is removed from the cache");
        std::fs::remove_file(&path).map_err(io(format!("remove {}", path.display())))?;
        Ok(None)
    }

    /// Begins to write content.
    ///
    /// # Errors
    /// No file can be made.
    pub(crate) fn writer(&self) -> Result<CacheWriter> {
        let (cache, file) = (self.clone(), self.file()?);
        Ok(CacheWriter { cache, file, hash: sha2::Sha256::new(), size: 0 })
    }

    /// A file beside the content, for [`keep_file`](Self::keep_file): for what is not written from
    /// start to end.
    ///
    /// # Errors
    /// No file can be made.
    pub(crate) fn file(&self) -> Result<tempfile::NamedTempFile> {
        tempfile::NamedTempFile::new_in(&self.dir)
            .map_err(io(format!("write to the cache {}", self.dir.display())))
    }

    /// Makes a file that is written content.
    ///
    /// # Errors
    /// It cannot be read or renamed.
    #[cfg(feature = "build")]
    pub(crate) fn keep_file(&self, mut file: tempfile::NamedTempFile) -> Result<Digest> {
        use std::io::Seek as _;
        file.as_file_mut().rewind().map_err(io("read what was written"))?;
        let digest = digest_of(file.as_file_mut()).map_err(io("read what was written"))?;
        keep(file, &self.path_of(&digest))?;
        Ok(digest)
    }

    /// Puts bytes into the cache.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let mut writer = self.writer()?;
        writer.write(bytes)?;
        let digest = Digest::of(bytes);
        writer.finish(&digest)?;
        Ok(digest)
    }

    /// Stores content, computed while it is written; `wanted` is what it must be.
    ///
    /// # Errors
    /// It cannot be read or written, or is not what it must be.
    #[cfg(feature = "build")]
    pub(crate) fn store(
        &self,
        content: &crate::build::format::Content,
        wanted: Option<&Digest>,
    ) -> Result<(Digest, PathBuf)> {
        let mut writer = self.writer()?;
        content.write_to(&mut writer)?;
        writer.keep(wanted)
    }

    /// What was noted under a name; a name is made of letters, digits, `-`, `_` and `.`.
    ///
    /// # Errors
    /// It cannot be read.
    #[cfg(feature = "build")]
    pub(crate) fn note(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.dir.join("notes").join(name);
        match fs_err::read(&path) {
            Ok(bytes) => {
                touch(&path);
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io(format!("read {}", path.display()))(error)),
        }
    }

    /// Notes something under a name, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    #[cfg(feature = "build")]
    pub(crate) fn write_note(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let dir = self.dir.join("notes");
        let what = || format!("write to the cache {}", dir.display());
        std::fs::create_dir_all(&dir).map_err(io(what()))?;
        let mut file = tempfile::NamedTempFile::new_in(&dir).map_err(io(what()))?;
        file.write_all(bytes).map_err(io(what()))?;
        file.as_file().sync_all().map_err(io(what()))?;
        file.persist(dir.join(name)).map_err(|error| io(what())(error.error))?;
        Ok(())
    }

    /// A folder for work beside the content, gone when it is dropped.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn work_folder(&self) -> Result<tempfile::TempDir> {
        let what = format!("write to the cache {}", self.dir.display());
        tempfile::Builder::new().prefix(".work-").tempdir_in(&self.dir).map_err(io(what))
    }

    /// Marks content as used now.
    #[cfg(feature = "build")]
    pub(crate) fn touch(&self, digest: &Digest) {
        touch(&self.path_of(digest));
    }

    /// Bytes of all content.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn size(&self) -> Result<u64> {
        let dir = self.dir.join("sha256");
        let what = || format!("read {}", dir.display());
        let mut size = 0;
        for entry in std::fs::read_dir(&dir).map_err(io(what()))? {
            // What is gone meanwhile has no size.
            let data = entry.map_err(io(what()))?.metadata();
            size += data.map(|data| data.len()).unwrap_or_default();
        }
        Ok(size)
    }

    /// Removes content that `keep` does not name; returns how many files that were.
    ///
    /// # Errors
    /// As [`prune_unused`](Self::prune_unused).
    pub fn prune(self, keep: &dyn Fn(&str) -> bool) -> Result<usize> {
        Ok(self.remove(&|entry| !keep(&entry.file_name().to_string_lossy()))?.files)
    }

    /// Removes what was neither made nor used for so long.
    ///
    /// # Errors
    /// The cache is in use, by a clone of this handle or by others (kind
    /// [`Busy`](ErrorKind::Busy)): nothing is removed. The folder cannot be read, or a file cannot be
    /// removed.
    pub fn prune_unused(self, for_so_long: Duration) -> Result<Pruned> {
        self.remove(&|entry| {
            let data = entry.metadata().and_then(|data| data.modified());
            // A time in the future is that of another clock: it tells nothing.
            let age = data.ok().and_then(|time| time.elapsed().ok());
            for_so_long.is_zero() || age.is_some_and(|age| age >= for_so_long)
        })
    }

    /// Makes the lock that is shared with others one's own, without waiting.
    fn alone(self) -> Result<(PathBuf, std::fs::File)> {
        let dir = self.dir;
        let busy = || {
            let text = format!("the cache {} is in use", dir.display());
            let help = "nothing was removed: call again when what uses it has ended";
            Error::new(ErrorKind::Busy, text).with_help(help)
        };
        // A clone works under the very same lock, and would not be seen by what follows.
        let file = Arc::try_unwrap(self.used).map_err(|_| busy())?;
        match retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok((dir, file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(busy()),
            Err(error) => Err(io(format!("lock the cache {}", dir.display()))(error.into())),
        }
    }

    fn remove(self, goes: &dyn Fn(&std::fs::DirEntry) -> bool) -> Result<Pruned> {
        let (top, _lock) = self.alone()?;
        let dir = top.join("sha256");
        let what = || format!("prune {}", dir.display());
        let mut removed = Pruned::default();
        for name in ["sha256", "notes"] {
            let entries = match std::fs::read_dir(top.join(name)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                found => found.map_err(io(what()))?,
            };
            for entry in entries {
                let entry = entry.map_err(io(what()))?;
                if !goes(&entry) {
                    continue;
                }
                let size = entry.metadata().map(|data| data.len()).unwrap_or_default();
                std::fs::remove_file(entry.path()).map_err(io(what()))?;
                removed.files += 1;
                removed.bytes += size;
            }
        }
        // What an ended program left half-written, too.
        for entry in std::fs::read_dir(&top).map_err(io(what()))? {
            let entry = entry.map_err(io(what()))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let path = entry.path();
            // Younger ones may belong to somebody at work.
            let age = entry.metadata().ok().and_then(|data| data.modified().ok()?.elapsed().ok());
            if age.is_none_or(|age| age < ABANDONED) {
                continue;
            }
            if name.starts_with(".tmp") {
                std::fs::remove_file(path).map_err(io(what()))?;
            } else if name.starts_with(".work-") {
                std::fs::remove_dir_all(path).map_err(io(what()))?;
            }
        }
        Ok(removed)
    }
}

/// What was removed from a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many files.
    pub files: usize,
    /// How many bytes they had.
    pub bytes: u64,
}

/// The digest of what is left to read of a file.
fn digest_of(file: &mut std::fs::File) -> std::io::Result<Digest> {
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer)?;
        match buffer.get(..read).filter(|chunk| !chunk.is_empty()) {
            Some(chunk) => hash.update(chunk),
            None => return Ok(Digest::from_bytes(hash.finalize().into())),
        }
    }
}

/// Gives a written file its name, once it is on disk.
fn keep(file: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    file.as_file().sync_all().map_err(io("sync the cache"))?;
    let renamed = file.persist(path);
    renamed.map_err(|error| io(format!("rename to {}", shown(path)))(error.error))?;
    Ok(())
}

/// Marks a file as used now, for whoever removes what is not.
fn touch(path: &Path) {
    let file = std::fs::File::options().append(true).open(path);
    let done = file.and_then(|file| file.set_modified(std::time::SystemTime::now()));
    if let Err(error) = done {
        tracing::debug!(path = %path.display(), %error, "the time of use is not kept");
    }
}

/// Content on its way into a cache.
#[derive(Debug)]
pub(crate) struct CacheWriter {
    cache: Cache,
    file: tempfile::NamedTempFile,
    hash: sha2::Sha256,
    size: u64,
}

impl CacheWriter {
    pub(crate) fn write(&mut self, chunk: &[u8]) -> Result<()> {
        self.file.write_all(chunk).map_err(io("write to the cache"))?;
        self.hash.update(chunk);
        self.size += chunk.len() as u64;
        Ok(())
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Gives the content its name, if it is what it should be.
    pub(crate) fn finish(self, wanted: &Digest) -> Result<PathBuf> {
        self.keep(Some(wanted)).map(|(_, path)| path)
    }

    /// Gives the content its name; `wanted` is what it must be, where that is known.
    pub(crate) fn keep(self, wanted: Option<&Digest>) -> Result<(Digest, PathBuf)> {
        let digest = Digest::from_bytes(self.hash.finalize().into());
        if let Some(wanted) = wanted.filter(|wanted| **wanted != digest) {
            let text = format!("{digest} came where {wanted} was expected");
            return Err(Error::new(ErrorKind::Mismatch, text));
        }
        let path = self.cache.path_of(&digest);
        keep(self.file, &path)?;
        Ok((digest, path))
    }
}

impl std::io::Write for CacheWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_goes_in_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let (old, used) = (cache.put(b"old").unwrap(), cache.put(b"used").unwrap());
        let long_ago = std::time::SystemTime::now() - Duration::from_hours(24 * 40);
        for digest in [&old, &used] {
            let file = std::fs::File::options().append(true).open(cache.path_of(digest)).unwrap();
            file.set_modified(long_ago).unwrap();
        }
        assert!(cache.get(&used).unwrap().is_some());
        let removed = cache.prune_unused(Duration::from_hours(24 * 30)).unwrap();
        assert_eq!(removed, Pruned { files: 1, bytes: 3 });
        let cache = Cache::open(dir.path()).unwrap();
        assert!(cache.get(&old).unwrap().is_none() && cache.get(&used).unwrap().is_some());
        assert_eq!(cache.prune_unused(Duration::ZERO).unwrap().files, 1);
    }

    #[test]
    fn nothing_is_removed_under_a_handle_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let worker = Cache::open(dir.path()).unwrap();
        let digest = worker.put(b"read by somebody").unwrap();
        let clone = worker.clone();
        for gone in [Cache::open(dir.path()).unwrap(), worker] {
            let error = gone.prune_unused(Duration::ZERO).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Busy);
            assert!(error.help().is_some());
        }
        assert!(clone.get(&digest).unwrap().is_some());
        drop(clone);
        let cache = Cache::open(dir.path()).unwrap();
        assert_eq!(cache.prune_unused(Duration::ZERO).unwrap().files, 1);
    }

    #[test]
    fn what_is_half_written_keeps_the_cache_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Cache::open(dir.path()).unwrap().writer().unwrap();
        let other = Cache::open(dir.path()).unwrap();
        assert_eq!(other.prune(&|_| false).unwrap_err().kind(), ErrorKind::Busy);
        writer.keep(None).unwrap();
        let other = Cache::open(dir.path()).unwrap();
        assert_eq!(other.prune(&|_| false).unwrap(), 1);
    }
}
