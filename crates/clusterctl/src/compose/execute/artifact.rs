//! Schematics, ISO files, installers.

use imagefactory::{Digest, Expected, ImageReference};
use proxmox_client::Upload;
use semver::Version;

use super::Hands;
use super::verdict::{images, own, proxmox};
use crate::compose::image::{VersionImages, foreign_file, ledger_id};
use crate::compose::observe::node_name;
use crate::engine::{Check, StepContext, StepError};
use crate::state::{ImagePin, LedgerEntry, StoredFile, ThingKind};

/// How much of a file is hashed at once, in bytes.
const PIECE: usize = 1 << 20;

impl Hands {
    fn images_of(&self, version: &str) -> Result<(Version, VersionImages), StepError> {
        let absent =
            || StepError::failed(format!("the tree asks for no images of Talos {version}"));
        let version: Version = version.parse().map_err(|_| absent())?;
        let images = self.crew.images.versions.get(&version).cloned().ok_or_else(absent)?;
        Ok((version, images))
    }

    /// What the lock file knows of the ISO of a version.
    fn pin(&self, version: &Version, file: &str) -> Option<ImagePin> {
        self.crew.lock_file().images.get(file).cloned().filter(|pin| {
            pin.schematic == self.crew.images.identity && pin.talos_version == format!("v{version}")
        })
    }

    pub(super) async fn create_schematic(&self) -> Result<(), StepError> {
        let created = self
            .crew
            .factory
            .create_schematic(&self.crew.images.schematic)
            .await
            .map_err(images("tell the factory the schematic"))?;
        if created.is_as_computed() {
            return Ok(());
        }
        Err(StepError::failed_with_help(
            format!(
                "the factory calls the schematic {}, not {}",
                created.id.as_str(),
                self.crew.images.schematic_id.as_str()
            ),
            "the factory changes schematics: use another one, or tell us",
        ))
    }

    pub(super) async fn check_iso(&self, version: &str) -> Result<Check, StepError> {
        let (version, wanted) = self.images_of(version)?;
        let file = &wanted.factory.iso_name;
        let path = self.crew.iso_path(file);
        let Some(pin) = self.pin(&version, file) else { return Ok(Check::Ready) };
        let length = tokio::fs::metadata(&path).await.map(|data| data.len()).ok();
        if length != Some(pin.size) {
            return Ok(Check::Ready);
        }
        let hash = tokio::task::spawn_blocking(move || hash_file(&path))
            .await
            .map_err(|error| StepError::failed(format!("hash the ISO: {error}")))?;
        match hash {
            Ok(hash) if hash == pin.sha256 => Ok(Check::Done("it is in the cache".to_owned())),
            _ => Ok(Check::Ready),
        }
    }

    pub(super) async fn fetch_iso(
        &self,
        version: &str,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let (version, wanted) = self.images_of(version)?;
        if self.crew.images.build.is_some() {
            return self.build_iso(&version, &wanted, context).await;
        }
        let file = wanted.factory.iso_name.clone();
        let path = self.crew.iso_path(&file);
        if let Some(folder) = path.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(|error| {
                StepError::failed(format!("make {}: {error}", folder.display()))
            })?;
        }
        let pin = self.pin(&version, &file);
        let expected =
            Expected {
                digest: match &pin {
                    Some(pin) => Some(format!("sha256:{}", pin.sha256).parse::<Digest>().map_err(
                        |error| StepError::failed(format!("read the lock file: {error}")),
                    )?),
                    None => None,
                },
                size: pin.as_ref().map(|pin| pin.size),
            };
        let done = self
            .crew
            .factory
            .download(&wanted.factory.iso, &path, expected, &mut |have, total| {
                context.progress(have, total);
            })
            .await
            .map_err(images(&format!("fetch {file}")))?;
        let sha256 = done.digest.to_string().trim_start_matches("sha256:").to_owned();
        let pin = ImagePin {
            schematic: self.crew.images.identity.clone(),
            talos_version: format!("v{version}"),
            sha256,
            size: done.size,
        };
        self.crew.update_lock_file(|lock| drop(lock.images.insert(file, pin))).map_err(own)
    }

    pub(super) fn check_installer(&self, version: &str) -> Result<Check, StepError> {
        let (version, wanted) = self.images_of(version)?;
        if self.crew.images.build.is_some() {
            let built =
                wanted.installer_copy.is_some_and(|copy| self.pin(&version, &copy).is_some());
            return Ok(if built { Check::Done("it was built".to_owned()) } else { Check::Ready });
        }
        let source = &wanted.factory.installer;
        let copied = wanted
            .installer_copy
            .is_some_and(|copy| self.crew.lock_file().is_copied(source, &copy));
        Ok(if copied { Check::Done("it was copied".to_owned()) } else { Check::Ready })
    }

    pub(super) async fn copy_installer(
        &self,
        version: &str,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let (version, wanted) = self.images_of(version)?;
        let Some(copy) = wanted.installer_copy.clone() else { return Ok(()) };
        if self.crew.images.build.is_some() {
            return self.build_installer(&version, &copy, context).await;
        }
        let parse = |text: &str| {
            text.parse::<ImageReference>().map_err(images(&format!("read the reference {text}")))
        };
        let (from, to) = (parse(&wanted.factory.installer)?, parse(&copy)?);
        let cache = imagefactory::Cache::open(self.crew.layout.cache().join("oci"))
            .map_err(images("open the cache"))?;
        let what = format!("copy {} to {copy}", wanted.factory.installer);
        let done = self.crew.registry.copy(&from, &to, &cache).await.map_err(images(&what))?;
        let digest = done.digest.to_string();
        self.crew
            .update_lock_file(|lock| {
                // The same tag holds another image when the extensions change.
                lock.references.insert(wanted.factory.installer, digest.clone());
                lock.references.insert(copy, digest);
            })
            .map_err(own)
    }

    pub(super) async fn check_upload(
        &self,
        version: &str,
        node: &str,
        storage: &str,
    ) -> Result<Check, StepError> {
        let (version, wanted) = self.images_of(version)?;
        let file = &wanted.factory.iso_name;
        let Some(pin) = self.pin(&version, file) else {
            return Ok(Check::NotYet(format!("{file} was not fetched yet")));
        };
        let name = node_name(node).map_err(own)?;
        let there = self
            .crew
            .proxmox
            .storage(&name)
            .find(storage, "iso", file)
            .await
            .map_err(proxmox(&format!("look for {file} on {node}")))?;
        let Some(there) = there else { return Ok(Check::Ready) };
        match self.crew.lock_file().stored(&ledger_id(node, storage, file), there.size, &pin) {
            StoredFile::Wanted => Ok(Check::Done("it is there".to_owned())),
            StoredFile::Ours => Ok(Check::Ready),
            StoredFile::Foreign => {
                let (text, help) = foreign_file(file, node, storage);
                Err(StepError::failed_with_help(text, help))
            }
        }
    }

    pub(super) async fn upload(
        &self,
        version: &str,
        node: &str,
        storage: &str,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let (version, wanted) = self.images_of(version)?;
        let file = wanted.factory.iso_name.clone();
        let pin = self
            .pin(&version, &file)
            .ok_or_else(|| StepError::Later(format!("{file} was not fetched yet")))?;
        let path = self.crew.iso_path(&file);
        let name = node_name(node).map_err(own)?;
        let id = ledger_id(node, storage, &file);
        let entry = LedgerEntry { kind: ThingKind::StorageFile, id: id.clone() };
        // Written down first: whatever is cut from here on, the file is known as ours, and that
        // nothing tells what is in it.
        let mut is_new = false;
        self.crew
            .update_lock_file(|lock| {
                is_new = lock.ledger.insert(entry.clone());
                lock.uploads.remove(&id);
            })
            .map_err(own)?;
        let upload =
            Upload { content: "iso", filename: &file, path: &path, sha256: Some(&pin.sha256) };
        let sent = self
            .crew
            .proxmox
            .storage(&name)
            .upload(storage, upload, &mut |sent, all| context.progress(sent, Some(all)))
            .await;
        if let Err(error) = sent {
            if is_new && !error.may_have_been_applied() {
                self.crew
                    .update_lock_file(|lock| {
                        lock.ledger.remove(&entry);
                    })
                    .map_err(own)?;
            }
            return Err(proxmox(&format!("upload {file} to {node}"))(error));
        }
        self.crew.update_lock_file(|lock| drop(lock.uploads.insert(id, pin.sha256))).map_err(own)
    }

    pub(super) async fn check_remove_iso(
        &self,
        file: &str,
        node: &str,
        storage: &str,
    ) -> Result<Check, StepError> {
        let name = node_name(node).map_err(own)?;
        let there = self
            .crew
            .proxmox
            .storage(&name)
            .find(storage, "iso", file)
            .await
            .map_err(proxmox(&format!("look for {file} on {node}")))?;
        Ok(match there {
            Some(_) => Check::Ready,
            None => Check::Done("it is gone".to_owned()),
        })
    }

    pub(super) async fn remove_iso(
        &self,
        file: &str,
        node: &str,
        storage: &str,
    ) -> Result<(), StepError> {
        let name = node_name(node).map_err(own)?;
        let volid = format!("{storage}:iso/{file}");
        self.crew
            .proxmox
            .storage(&name)
            .delete(storage, &volid)
            .await
            .map_err(proxmox(&format!("remove {file} from {node}")))?;
        let id = ledger_id(node, storage, file);
        let entry = LedgerEntry { kind: ThingKind::StorageFile, id };
        self.crew
            .update_lock_file(|lock| {
                lock.ledger.remove(&entry);
                lock.uploads.remove(&entry.id);
            })
            .map_err(own)
    }
}

fn hash_file(path: &std::path::Path) -> std::io::Result<String> {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    use std::io::Read as _;
    let mut file = fs_err::File::open(path)?;
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; PIECE];
    loop {
        let count = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        hash.update(bytes);
    }
    Ok(hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}
