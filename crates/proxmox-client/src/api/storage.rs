//! Storages and what lies in them.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::{Client, Parameters, escape};
use crate::error::Result;
use crate::id::NodeName;

/// A row of `GET /nodes/{node}/storage`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct StorageStatus {
    /// Its id.
    #[serde(default)]
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

/// The storages of one node.
#[derive(Debug, Clone)]
pub struct NodeStorage<'a> {
    pub(super) client: &'a Client,
    pub(super) base: String,
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

    /// `GET /nodes/{node}/storage/{storage}/status`.
    ///
    /// # Errors
    /// As [`Client::call`]; [`NotFound`](crate::ErrorKind::NotFound) where there is no such storage.
    pub async fn status(&self, storage: &str) -> Result<StorageStatus> {
        let path = format!("{}/{}/status", self.base, escape(storage));
        let mut status: StorageStatus = self.client.get(&path, &[]).await?;
        storage.clone_into(&mut status.storage);
        Ok(status)
    }

    /// `GET /storage`: the definitions, as the server has them.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn definitions(&self) -> Result<Vec<Value>> {
        self.client.get("/storage", &[]).await
    }

    /// `POST /storage`: defines a storage of a type such as `dir`, with the keys that it needs. It
    /// is of the cluster; the key `nodes` names the nodes that have it.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn define(&self, storage: &str, kind: &str, keys: &Parameters<'_>) -> Result<()> {
        let mut all = vec![("storage", storage), ("type", kind)];
        all.extend_from_slice(keys);
        self.client.call::<Option<Value>>(Method::POST, "/storage", &all).await.map(drop)
    }

    /// `PUT /storage/{storage}`; what was fixed at its definition cannot be changed.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn redefine(&self, storage: &str, keys: &Parameters<'_>) -> Result<()> {
        let path = format!("/storage/{}", escape(storage));
        self.client.call::<Option<Value>>(Method::PUT, &path, keys).await.map(drop)
    }

    /// `DELETE /storage/{storage}`: the definition only; what is in the storage stays.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn undefine(&self, storage: &str) -> Result<()> {
        let path = format!("/storage/{}", escape(storage));
        self.client.call::<Option<Value>>(Method::DELETE, &path, &[]).await.map(drop)
    }
}
