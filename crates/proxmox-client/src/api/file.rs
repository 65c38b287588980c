//! Files on their way into a storage, and out of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use http::Method;
use serde::Deserialize;

use super::storage::{NodeStorage, Volume};
use super::task::upid_of;
use crate::client::escape;
use crate::error::{Error, ErrorKind, Result};
use crate::id::Upid;
use crate::plan::file::{FileChange, FileDesired, FileObserved, diff};
use crate::upload::{FilePart, Moved};

/// How long the server may take to put an uploaded file into place, or to fetch one.
const PLACING: Duration = Duration::from_hours(1);

/// How long the removal of a volume may take.
const REMOVAL: Duration = Duration::from_mins(10);

/// How often the content is looked at after an answer was lost, and how long between two looks.
const LOOKS: u32 = 6;
const LOOK: Duration = Duration::from_millis(400);

/// A file that is to be uploaded.
#[derive(Debug, Clone, Copy)]
pub struct Upload<'a> {
    /// The class of content: `iso`, `vztmpl` or `import`.
    pub content: &'a str,
    /// Its name in the storage: letters, digits, `.`, `_`, `-`.
    pub filename: &'a str,
    /// Where it lies here.
    pub path: &'a Path,
    /// SHA-256 that it must have, in hex. The server checks it too.
    pub sha256: Option<&'a str>,
}

/// A file that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Its volume id.
    pub volid: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of what was sent, in hex.
    pub sha256: String,
}

/// What [`NodeStorage::ensure`] found or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ensured {
    /// A file of that name and size was there; nothing was sent.
    There(Volume),
    /// It was uploaded.
    Uploaded(Uploaded),
}

/// A file that the server is to fetch.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// The class of content: `iso`, `vztmpl` or `import`.
    pub content: &'a str,
    /// Its name in the storage.
    pub filename: &'a str,
    /// Where the server finds it: `http` or `https`.
    pub url: &'a str,
    /// The algorithm and the hash that it must have, in hex: `sha256`, `sha512` …
    pub checksum: Option<(&'a str, &'a str)>,
    /// How it is packed, for `iso` only: `gz`, `lzo`, `zst` or `bz2`.
    pub compression: Option<&'a str>,
    /// Takes any certificate. The checksum must make up for it.
    pub any_certificate: bool,
}

/// What a server tells of a file that it could fetch.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct UrlMetadata {
    /// Its name.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub filename: Option<String>,
    /// Its size in bytes.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub size: Option<u64>,
    /// Its type.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub mimetype: Option<String>,
}

/// What was there before a call whose answer may be lost.
struct Before<'a> {
    storage: &'a str,
    class: &'a str,
    volid: &'a str,
    /// The size that the file will have, if it is known.
    size: Option<u64>,
    tasks: BTreeSet<String>,
    file: Option<Volume>,
}

impl NodeStorage<'_> {
    /// `POST /nodes/{node}/storage/{storage}/upload`: sends a file in constant memory and waits
    /// until it is in place. A file of that name is replaced.
    ///
    /// `moved` is told how many bytes are sent, and of how many. The file is hashed on its way.
    /// Nothing is sent twice: when the answer is lost, tasks and content tell whether the file
    /// came through.
    ///
    /// # Errors
    /// The file cannot be read, its SHA-256 is not the one expected, or as
    /// [`Client::call`](crate::Client::call).
    pub async fn upload(
        &self,
        storage: &str,
        upload: Upload<'_>,
        moved: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Uploaded> {
        let path = format!("{}/{}/upload", self.base, escape(storage));
        let operation = format!("POST {path}");
        let mut fields = vec![("content", upload.content)];
        if let Some(sha256) = upload.sha256 {
            fields.extend([("checksum-algorithm", "sha256"), ("checksum", sha256)]);
        }
        let file = FilePart::open(upload.path, upload.filename).await.map_err(|source| {
            let text = format!("cannot read {}", upload.path.display());
            Error::new(ErrorKind::Config, operation.clone(), text).because(source)
        })?;
        let size = file.size();
        let volid = format!("{storage}:{}/{}", upload.content, upload.filename);
        let before = self.before(storage, upload.content, &volid, Some(size)).await?;
        let (mut done, mut sha256) = (0, None);
        let mut told = |what: Moved| match what {
            Moved::Bytes(count) => {
                done += count;
                moved(done, size);
            }
            Moved::Whole(hash) => sha256 = Some(hash),
        };
        let answer = self.client.upload(&path, &fields, file, &mut told).await;
        // Of what did not leave here whole, nothing is done.
        let answer = answer.map_err(|error| match sha256 {
            Some(_) => error,
            None => error.applied(false),
        });
        let placed = match answer.and_then(|text| upid_of(&operation, &text)) {
            Ok(upid) => self.client.tasks().wait(&upid, PLACING).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = placed {
            self.settle(error, &before).await?;
        }
        let sha256 = sha256.ok_or_else(|| {
            let text = "the server answered before it had the whole file";
            Error::new(ErrorKind::Protocol, operation.clone(), text).applied(true)
        })?;
        if upload.sha256.is_some_and(|wanted| !wanted.eq_ignore_ascii_case(&sha256)) {
            let text = format!("the file sent has SHA-256 {sha256}, which is not the one expected");
            return Err(Error::new(ErrorKind::Conflict, operation, text).applied(true));
        }
        Ok(Uploaded { volid, size, sha256 })
    }

    /// Uploads a file unless one of that name and size is there. One of another size is somebody
    /// else's, or was cut short: it is replaced only with `replace`.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where a file of another size is there, or as [`Self::upload`].
    pub async fn ensure(
        &self,
        storage: &str,
        upload: Upload<'_>,
        replace: bool,
        moved: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Ensured> {
        let operation = format!("POST {}/{storage}/upload", self.base);
        let size = tokio::fs::metadata(upload.path).await.map_err(|source| {
            let text = format!("cannot read {}", upload.path.display());
            Error::new(ErrorKind::Config, operation.clone(), text).because(source)
        })?;
        let desired = FileDesired {
            storage: storage.to_owned(),
            content: upload.content.to_owned(),
            name: upload.filename.to_owned(),
            size: size.len(),
        };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let there = self.content(storage, Some(upload.content)).await?;
            let seen: Vec<FileObserved> = there
                .iter()
                .map(|volume| FileObserved { volid: volume.volid.clone(), size: volume.size })
                .collect();
            match diff(&desired, &seen) {
                None => {
                    let volid = desired.volid();
                    if let Some(volume) = there.into_iter().find(|one| one.volid == volid) {
                        return Ok(Ensured::There(volume));
                    }
                }
                Some(change @ FileChange::Replace { .. }) if !replace => {
                    let text = format!("another file of that name is there: {change}");
                    return Err(Error::new(ErrorKind::Conflict, operation, text));
                }
                Some(_) => {}
            }
            match self.upload(storage, upload, moved).await {
                Ok(done) => return Ok(Ensured::Uploaded(done)),
                Err(error) if error.is_retryable() && attempt < crate::ensure::ATTEMPTS => {
                    crate::ensure::pause(attempt, &error).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// `POST /nodes/{node}/storage/{storage}/download-url`: the server fetches a file, and this
    /// waits for its end. A file that is there is not replaced: with a checksum that fits it is
    /// taken as it is, otherwise it is an error.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn download(&self, storage: &str, download: Download<'_>) -> Result<()> {
        let path = format!("{}/{}/download-url", self.base, escape(storage));
        let mut keys = vec![
            ("content", download.content),
            ("filename", download.filename),
            ("url", download.url),
            ("verify-certificates", if download.any_certificate { "0" } else { "1" }),
        ];
        if let Some((algorithm, checksum)) = download.checksum {
            keys.extend([("checksum-algorithm", algorithm), ("checksum", checksum)]);
        }
        keys.extend(download.compression.map(|name| ("compression", name)));
        let volid = format!("{storage}:{}/{}", download.content, download.filename);
        let before = self.before(storage, download.content, &volid, None).await?;
        let done = match self.client.task(Method::POST, &path, &keys).await {
            Ok(upid) => self.client.tasks().wait(&upid, PLACING).await.map(drop),
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => Ok(()),
            Err(error) => self.settle(error, &before).await,
        }
    }

    /// `GET /nodes/{node}/query-url-metadata`: what the server would fetch.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call); the server's node needs the network.
    pub async fn url_metadata(&self, url: &str) -> Result<UrlMetadata> {
        let node = self.base.trim_end_matches("/storage");
        self.client.get(&format!("{node}/query-url-metadata"), &[("url", url)]).await
    }

    /// `DELETE /nodes/{node}/storage/{storage}/content/{volume}`, and waits for its end. A volume
    /// that is not there counts as deleted. One that a machine uses is not protected: look first.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn delete(&self, storage: &str, volid: &str) -> Result<()> {
        let path = format!("{}/{}/content/{}", self.base, escape(storage), escape(volid));
        let answer = self.client.call::<Option<String>>(Method::DELETE, &path, &[]).await;
        let ended = match answer.map(|text| text.and_then(|text| text.parse::<Upid>().ok())) {
            Ok(Some(upid)) => self.client.tasks().wait(&upid, REMOVAL).await.map(drop),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        let Err(error) = ended else { return Ok(()) };
        let lost = error.kind() == ErrorKind::Unreachable && error.may_have_been_applied();
        if !lost && error.kind() != ErrorKind::NotFound {
            return Err(error);
        }
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(LOOK).await;
            }
            let volumes = self.content(storage, None).await?;
            if !volumes.iter().any(|volume| volume.volid == volid) {
                return Ok(());
            }
        }
        Err(error)
    }

    /// Tasks that could be mistaken for the one that a call is about to start, and the file.
    async fn before<'a>(
        &self,
        storage: &'a str,
        class: &'a str,
        volid: &'a str,
        size: Option<u64>,
    ) -> Result<Before<'a>> {
        let tasks = self.client.tasks().recent().await?;
        let tasks = tasks.into_iter().map(|row| row.upid).collect();
        let volumes = self.content(storage, Some(class)).await?;
        let file = volumes.into_iter().find(|volume| volume.volid == volid);
        Ok(Before { storage, class, volid, size, tasks, file })
    }

    /// Finds out whether a call whose answer was lost put a file in place.
    async fn settle(&self, error: Error, before: &Before<'_>) -> Result<()> {
        if !(error.kind() == ErrorKind::Unreachable && error.may_have_been_applied()) {
            return Err(error);
        }
        let fits = |volume: &Volume| before.size.is_none_or(|size| volume.size == Some(size));
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(LOOK).await;
            }
            let recent = self.client.tasks().recent().await?;
            let kinds = ["imgcopy", "download"];
            let new = recent.iter().filter(|row| {
                kinds.contains(&row.kind.as_str()) && !before.tasks.contains(&row.upid)
            });
            let mut came_through = false;
            for upid in new.filter_map(|row| row.upid.parse::<Upid>().ok()) {
                match self.client.tasks().wait(&upid, PLACING).await {
                    Ok(_) => came_through = true,
                    Err(failed) => tracing::debug!(%failed, "a task that was not waited for"),
                }
            }
            let now = self.content(before.storage, Some(before.class)).await?;
            let now = now.into_iter().find(|volume| volume.volid == before.volid);
            if let Some(now) = now.filter(fits)
                && (came_through || before.file.as_ref() != Some(&now))
            {
                return Ok(());
            }
        }
        Err(error)
    }
}
