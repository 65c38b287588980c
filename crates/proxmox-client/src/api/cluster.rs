//! The cluster as a whole.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::client::{Client, Parameters};
use crate::error::{Error, ErrorKind, Result};
use crate::id::VmId;
use crate::loose::text_of;

/// A row of `GET /cluster/resources`, up to ten seconds old.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct ResourceRow {
    /// Such as `qemu/100`.
    pub id: String,
    /// `qemu`, `lxc`, `node`, `storage`, `sdn`, `network`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The node it is on.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub node: Option<String>,
    /// Number of the guest.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub vmid: Option<u64>,
    /// Name of the guest; absent for a moment after its creation.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub name: Option<String>,
    /// Its state, or `unknown`.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub status: Option<String>,
    /// Tags, separated by `;`.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub tags: Option<String>,
}

/// A row of `GET /cluster/status`: the cluster itself or one of its nodes.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct ClusterRow {
    /// `cluster` or `node`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name of the cluster or the node.
    pub name: String,
    /// Of the cluster: most of its nodes are there, it can be written to.
    #[serde(default, deserialize_with = "crate::loose::flag")]
    pub quorate: bool,
    /// Of a node: it answers.
    #[serde(default, deserialize_with = "crate::loose::flag")]
    pub online: bool,
    /// Of a node: its address.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub ip: Option<String>,
}

impl Client {
    /// `GET /cluster/status`. A node that is in no cluster gives only its own row.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn cluster_status(&self) -> Result<Vec<ClusterRow>> {
        self.get("/cluster/status", &[]).await
    }

    /// `GET /cluster/resources`, all or those of one `type`: `vm`, `storage`, `node` or `sdn`.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn resources(&self, kind: Option<&str>) -> Result<Vec<ResourceRow>> {
        let kind = kind.map(|kind| ("type", kind));
        self.get("/cluster/resources", kind.as_slice()).await
    }

    /// Whether a number is free: `GET /cluster/nextid?vmid=`.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn is_free(&self, id: VmId) -> Result<bool> {
        let text = id.to_string();
        match self.get::<Value>("/cluster/nextid", &[("vmid", &text)]).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// `GET /cluster/nextid`: the lowest free number. Nothing is reserved.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn next_id(&self) -> Result<VmId> {
        let answer: Value = self.get("/cluster/nextid", &[]).await?;
        let text = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
        text.parse::<u32>().ok().and_then(|number| VmId::try_from(number).ok()).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "GET /cluster/nextid", format!("{text:?} is no VMID"))
        })
    }

    /// `GET /cluster/options`: what is set for the whole cluster, property strings as texts.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn cluster_options(&self) -> Result<BTreeMap<String, String>> {
        let row: Map<String, Value> = self.get("/cluster/options", &[]).await?;
        let texts = row.into_iter().filter_map(|(key, value)| Some((key, text_of(&value)?)));
        Ok(texts.collect())
    }

    /// `PUT /cluster/options`; `delete` names what is no longer set, separated by commas.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn set_cluster_options(&self, keys: &Parameters<'_>) -> Result<()> {
        self.call::<Option<Value>>(Method::PUT, "/cluster/options", keys).await.map(drop)
    }

    /// `GET /cluster/backup`: the jobs that back up machines.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn backup_jobs(&self) -> Result<Vec<Map<String, Value>>> {
        self.get("/cluster/backup", &[]).await
    }

    /// `GET /cluster/replication`: the jobs that copy volumes to other nodes.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn replication_jobs(&self) -> Result<Vec<Map<String, Value>>> {
        self.get("/cluster/replication", &[]).await
    }
}
