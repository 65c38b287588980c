//! High availability: resources, and where they belong: rules (9) or groups (8).

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::client::{Client, Parameters, escape};
use crate::error::Result;
use crate::id::NodeName;
use crate::loose::text_of;
use crate::plan::ha::HaKind;

/// A row of a list of high availability: all its keys as texts, without the digest.
pub type HaRow = BTreeMap<String, String>;

/// A service as the manager sees it: `GET /cluster/ha/status/current`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct HaStatus {
    /// Such as `service:vm:100`.
    pub id: String,
    /// `quorum`, `master`, `lrm` or `service`.
    #[serde(rename = "type", default, deserialize_with = "crate::loose::text")]
    pub kind: Option<String>,
    /// The node.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub node: Option<String>,
    /// Of a service: `started`, `stopped`, `error` …
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub state: Option<String>,
    /// In words.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub status: Option<String>,
}

/// Where entries of a kind are written, and the key that names one.
fn path_of(kind: HaKind) -> (&'static str, &'static str) {
    match kind {
        HaKind::Resource => ("/cluster/ha/resources", "sid"),
        HaKind::Rule => ("/cluster/ha/rules", "rule"),
        HaKind::Group => ("/cluster/ha/groups", "group"),
    }
}

/// High availability.
#[derive(Debug, Clone, Copy)]
pub struct Ha<'a> {
    client: &'a Client,
}

impl Client {
    /// High availability.
    pub fn ha(&self) -> Ha<'_> {
        Ha { client: self }
    }
}

fn texts(row: Map<String, Value>) -> HaRow {
    let texts = row.into_iter().filter_map(|(key, value)| Some((key, text_of(&value)?)));
    texts.filter(|(key, _)| key != "digest").collect()
}

impl Ha<'_> {
    /// `GET /cluster/ha/status/current`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn status(&self) -> Result<Vec<HaStatus>> {
        self.client.get("/cluster/ha/status/current", &[]).await
    }

    /// All entries of a kind.
    ///
    /// # Errors
    /// As [`Client::call`]; [`Unsupported`](crate::ErrorKind::Unsupported) where the release has no
    /// such kind.
    pub async fn list(&self, kind: HaKind) -> Result<Vec<HaRow>> {
        let rows: Vec<Map<String, Value>> = self.client.get(path_of(kind).0, &[]).await?;
        Ok(rows.into_iter().map(texts).collect())
    }

    /// One entry, none when it is not there.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get(&self, kind: HaKind, name: &str) -> Result<Option<HaRow>> {
        let path = format!("{}/{}", path_of(kind).0, escape(name));
        Ok(self.client.find(&path, &[]).await?.map(texts))
    }

    /// Makes an entry; a rule needs its `type` and `resources`, a group its `nodes`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn create(&self, kind: HaKind, name: &str, keys: &Parameters<'_>) -> Result<()> {
        let (path, key) = path_of(kind);
        let mut all = vec![(key, name)];
        all.extend_from_slice(keys);
        self.client.call::<Option<Value>>(Method::POST, path, &all).await.map(drop)
    }

    /// Changes keys of an entry; `delete` names those that go.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn update(&self, kind: HaKind, name: &str, keys: &Parameters<'_>) -> Result<()> {
        let path = format!("{}/{}", path_of(kind).0, escape(name));
        self.client.call::<Option<Value>>(Method::PUT, &path, keys).await.map(drop)
    }

    /// Removes an entry. The machine of a resource stays as it is.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete(&self, kind: HaKind, name: &str) -> Result<()> {
        let path = format!("{}/{}", path_of(kind).0, escape(name));
        self.client.call::<Option<Value>>(Method::DELETE, &path, &[]).await.map(drop)
    }

    /// Asks for a resource to be on a node: live with `POST …/migrate`, or by a stop and a start
    /// with `relocate`. It happens some seconds later.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn bring_to(&self, sid: &str, node: &NodeName, live: bool) -> Result<()> {
        let verb = if live { "migrate" } else { "relocate" };
        let path = format!("/cluster/ha/resources/{}/{verb}", escape(sid));
        let keys = [("node", node.as_str())];
        self.client.call::<Option<Value>>(Method::POST, &path, &keys).await.map(drop)
    }
}
