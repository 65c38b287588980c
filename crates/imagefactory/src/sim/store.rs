//! What the simulators know: schematics, manifests, blobs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A manifest of a repository.
#[derive(Debug, Clone)]
pub(super) struct StoredManifest {
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
}

/// Everything but the content of blobs.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    /// Canonical text by id.
    schematics: BTreeMap<String, String>,
    /// Blobs that a repository has.
    blobs: BTreeMap<String, BTreeSet<String>>,
    /// Media type of the manifests that a repository has, by digest.
    manifests: BTreeMap<String, BTreeMap<String, String>>,
    /// Digest by tag of a repository.
    tags: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Default)]
struct State {
    index: Index,
    content: BTreeMap<String, Bytes>,
    uploads: BTreeMap<u64, Vec<u8>>,
    next_upload: u64,
    tokens: BTreeMap<String, String>,
}

/// The state of both servers.
#[derive(Debug)]
pub(super) struct Store {
    dir: Option<PathBuf>,
    state: Mutex<State>,
}

impl Store {
    pub(super) fn open(dir: Option<&Path>) -> io::Result<Self> {
        let mut state = State::default();
        if let Some(dir) = dir {
            fs_err::create_dir_all(dir.join("content"))?;
            match fs_err::read(dir.join("index.json")) {
                Ok(bytes) => state.index = serde_json::from_slice(&bytes)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            for entry in fs_err::read_dir(dir.join("content"))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if !name.starts_with('.') {
                    let bytes = fs_err::read(entry.path())?;
                    state.content.insert(format!("sha256:{name}"), bytes.into());
                }
            }
        }
        Ok(Self { dir: dir.map(Path::to_path_buf), state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, state: &State) -> io::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let text = serde_json::to_vec_pretty(&state.index)?;
        write_whole(&dir.join("index.json"), &text)
    }

    fn keep(&self, state: &mut State, bytes: &Bytes) -> io::Result<String> {
        let digest = Digest::of(bytes);
        if let Some(dir) = &self.dir {
            write_whole(&dir.join("content").join(digest.hex()), bytes)?;
        }
        state.content.insert(digest.to_string(), bytes.clone());
        Ok(digest.to_string())
    }

    pub(super) fn add_schematic(&self, id: &str, text: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.index.schematics.insert(id.to_owned(), text.to_owned());
        self.save(&state)
    }

    pub(super) fn schematic(&self, id: &str) -> Option<String> {
        self.lock().index.schematics.get(id).cloned()
    }

    pub(super) fn add_blob(&self, repository: &str, bytes: &Bytes) -> io::Result<String> {
        let mut state = self.lock();
        let digest = self.keep(&mut state, bytes)?;
        let blobs = state.index.blobs.entry(repository.to_owned()).or_default();
        blobs.insert(digest.clone());
        self.save(&state)?;
        Ok(digest)
    }

    /// Gives a repository a blob that another has.
    pub(super) fn mount(&self, from: &str, to: &str, digest: &str) -> io::Result<bool> {
        let mut state = self.lock();
        if !state.index.blobs.get(from).is_some_and(|blobs| blobs.contains(digest)) {
            return Ok(false);
        }
        state.index.blobs.entry(to.to_owned()).or_default().insert(digest.to_owned());
        self.save(&state)?;
        Ok(true)
    }

    pub(super) fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        let state = self.lock();
        state.index.blobs.get(repository).filter(|blobs| blobs.contains(digest))?;
        state.content.get(digest).cloned()
    }

    pub(super) fn add_manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: &StoredManifest,
    ) -> io::Result<String> {
        let mut state = self.lock();
        let digest = self.keep(&mut state, &manifest.bytes)?;
        let manifests = state.index.manifests.entry(repository.to_owned()).or_default();
        manifests.insert(digest.clone(), manifest.media_type.clone());
        if !reference.starts_with("sha256:") {
            let tags = state.index.tags.entry(repository.to_owned()).or_default();
            tags.insert(reference.to_owned(), digest.clone());
        }
        self.save(&state)?;
        Ok(digest)
    }

    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<StoredManifest> {
        let state = self.lock();
        let index = &state.index;
        let tagged = index.tags.get(repository).and_then(|tags| tags.get(reference));
        let digest = tagged.map_or(reference, String::as_str);
        let media_type = index.manifests.get(repository)?.get(digest)?.clone();
        Some(StoredManifest { media_type, bytes: state.content.get(digest)?.clone() })
    }

    pub(super) fn remove_manifest(&self, repository: &str, digest: &str) -> io::Result<bool> {
        let mut state = self.lock();
        let manifests = state.index.manifests.get_mut(repository);
        let there = manifests.is_some_and(|manifests| manifests.remove(digest).is_some());
        if let Some(tags) = state.index.tags.get_mut(repository) {
            tags.retain(|_, named| named != digest);
        }
        self.save(&state)?;
        Ok(there)
    }

    pub(super) fn tags(&self, repository: &str) -> Option<Vec<String>> {
        let state = self.lock();
        state.index.manifests.get(repository)?;
        let tags = state.index.tags.get(repository);
        Some(tags.map(|tags| tags.keys().cloned().collect()).unwrap_or_default())
    }

    pub(super) fn begin_upload(&self) -> u64 {
        let mut state = self.lock();
        state.next_upload += 1;
        let id = state.next_upload;
        state.uploads.insert(id, Vec::new());
        id
    }

    /// Appends to an upload; its size then, or `None` if there is no such upload.
    pub(super) fn append(&self, id: u64, bytes: &[u8]) -> Option<usize> {
        let mut state = self.lock();
        let upload = state.uploads.get_mut(&id)?;
        upload.extend_from_slice(bytes);
        Some(upload.len())
    }

    pub(super) fn end_upload(&self, id: u64) -> Option<Vec<u8>> {
        self.lock().uploads.remove(&id)
    }

    pub(super) fn add_token(&self, token: &str, scope: &str) {
        self.lock().tokens.insert(token.to_owned(), scope.to_owned());
    }

    pub(super) fn scope_of(&self, token: &str) -> Option<String> {
        self.lock().tokens.get(token).cloned()
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.new"));
    fs_err::write(&temporary, bytes)?;
    fs_err::rename(temporary, path)
}
