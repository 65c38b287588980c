//! Storages and what lies in them.

use std::path::Path;
use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::{Client, escape};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{NodeName, Upid};
use crate::upload::FilePart;

/// How long the server may take to put an uploaded file into place.
const PLACING: Duration = Duration::from_mins(30);

/// How long the removal of a volume may take.
const REMOVAL: Duration = Duration::from_mins(10);

/// A row of `GET /nodes/{node}/storage`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct StorageStatus {
    /// Its id.
    pub storage: String,
    /// `dir`, `rbd`, `lvmthin` …
    #[serde(rename = "type")]
    pub kind: String,
    /// What it may hold, separated by commas: `iso`, `images`, `import` …
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub content: Option<String>,
    /// It can be used now.
    #[serde(default, deserialize_with = "crate::loose::flag")]
    pub active: bool,
    /// It is not disabled.
    #[serde(default, deserialize_with = "crate::loose::flag")]
    pub enabled: bool,
    /// All nodes see the same content.
    #[serde(default, deserialize_with = "crate::loose::flag")]
    pub shared: bool,
    /// Its size in bytes.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub total: Option<u64>,
    /// What is free, in bytes.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub avail: Option<u64>,
}

impl StorageStatus {
    /// Whether it may hold content of a class, such as `iso`.
    pub fn holds(&self, content: &str) -> bool {
        let list = self.content.as_deref().unwrap_or_default();
        list.split(',').any(|one| one.trim() == content)
    }
}

/// A row of `GET /nodes/{node}/storage/{storage}/content`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Volume {
    /// Such as `local:iso/talos.iso`.
    pub volid: String,
    /// Its size in bytes.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub size: Option<u64>,
    /// `iso`, `raw`, `qcow2` …
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub format: Option<String>,
    /// The machine that it belongs to.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub vmid: Option<u64>,
    /// When it was made, in seconds since 1970.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub ctime: Option<u64>,
}

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

/// The storages of one node.
#[derive(Debug, Clone)]
pub struct NodeStorage<'a> {
    client: &'a Client,
    base: String,
}

impl Client {
    /// The storages of a node.
    pub fn storage(&self, node: &NodeName) -> NodeStorage<'_> {
        NodeStorage { client: self, base: format!("/nodes/{node}/storage") }
    }
}

impl NodeStorage<'_> {
    /// `GET /nodes/{node}/storage`: those that are enabled for the node.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn list(&self) -> Result<Vec<StorageStatus>> {
        self.client.get(&self.base, &[]).await
    }

    /// `GET /nodes/{node}/storage/{storage}/content`, all or of one class.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn content(&self, storage: &str, class: Option<&str>) -> Result<Vec<Volume>> {
        let class = class.map(|class| ("content", class));
        let path = format!("{}/{}/content", self.base, escape(storage));
        self.client.get(&path, class.as_slice()).await
    }

    /// The file of a name in a storage, if it is there.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn find(&self, storage: &str, class: &str, name: &str) -> Result<Option<Volume>> {
        let volid = format!("{storage}:{class}/{name}");
        let volumes = self.content(storage, Some(class)).await?;
        Ok(volumes.into_iter().find(|volume| volume.volid == volid))
    }

    /// `POST /nodes/{node}/storage/{storage}/upload`: sends a file in constant memory and waits
    /// until it is in place. A file of that name is replaced.
    ///
    /// `moved` is told how many bytes are sent, and of how many. The file is hashed on its way.
    /// Nothing is sent twice: when the connection breaks, the error says so with
    /// [`Error::may_have_been_applied`], and the caller looks at the content again.
    ///
    /// # Errors
    /// The file cannot be read, its SHA-256 is not the one expected, or as [`Client::call`].
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
        let (upid, sha256) = self.client.upload(&path, &fields, file, moved).await?;
        let upid: Upid = upid.parse().map_err(|source| {
            Error::new(ErrorKind::Protocol, operation.clone(), "the answer names no task")
                .applied(true)
                .because(source)
        })?;
        self.client.tasks().wait(&upid, PLACING).await?;
        if upload.sha256.is_some_and(|wanted| !wanted.eq_ignore_ascii_case(&sha256)) {
            let text = format!("the file sent has SHA-256 {sha256}, which is not the one expected");
            return Err(Error::new(ErrorKind::Conflict, operation, text).applied(true));
        }
        let volid = format!("{storage}:{}/{}", upload.content, upload.filename);
        Ok(Uploaded { volid, size, sha256 })
    }

    /// `DELETE /nodes/{node}/storage/{storage}/content/{volume}`, and waits for its end. A volume
    /// that a machine uses is not protected: look first.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete(&self, storage: &str, volid: &str) -> Result<()> {
        let path = format!("{}/{}/content/{}", self.base, escape(storage), escape(volid));
        let answer: Option<String> = self.client.call(Method::DELETE, &path, &[]).await?;
        match answer.map(|text| text.parse::<Upid>()) {
            Some(Ok(upid)) => self.client.tasks().wait(&upid, REMOVAL).await.map(drop),
            _ => Ok(()),
        }
    }

    /// `GET /storage`: the definitions, as the server has them.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn definitions(&self) -> Result<Vec<Value>> {
        self.client.get("/storage", &[]).await
    }
}
