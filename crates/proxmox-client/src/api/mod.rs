//! Typed calls.

mod pool;
mod sdn;
mod storage;

pub use pool::{Pool, Pools};
pub use sdn::{Sdn, ZoneStatus};
pub use storage::{NodeStorage, StorageStatus, Upload, Uploaded, Volume};

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::client::{Client, Parameters, escape};
use crate::error::{Error, ErrorKind, Result, classify};
use crate::id::{NodeName, Upid, VmId};
use crate::wire::split_list;

/// What the server is: `GET /version`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Version {
    /// Such as `9.2`.
    pub release: String,
    /// Such as `9.2.11`.
    pub version: String,
}

/// A row of `GET /nodes`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct NodeRow {
    /// Its name.
    pub node: String,
    /// `online`, `offline` or `unknown`.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub status: Option<String>,
    /// Fingerprint of its certificate.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub ssl_fingerprint: Option<String>,
}

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

/// A row of `GET /nodes/{node}/qemu`, or its `status/current`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct VmRow {
    /// Its number.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub vmid: Option<u64>,
    /// Its name.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub name: Option<String>,
    /// `running` or `stopped`.
    pub status: String,
    /// The lock that its configuration holds.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub lock: Option<String>,
    /// Tags, separated by `;`.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub tags: Option<String>,
}

impl VmRow {
    /// Whether it carries a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.as_deref().is_some_and(|tags| split_list(tags).iter().any(|one| one == tag))
    }
}

#[derive(Deserialize)]
struct TaskState {
    status: String,
    exitstatus: Option<String>,
}

/// How a task ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskEnd {
    /// Without a warning.
    Ok,
    /// With warnings; the log has them.
    Warnings,
}

impl Client {
    /// `GET /version`.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn version(&self) -> Result<Version> {
        self.get("/version", &[]).await
    }

    /// `GET /nodes`.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn nodes(&self) -> Result<Vec<NodeRow>> {
        self.get("/nodes", &[]).await
    }

    /// `GET /cluster/resources`, all or those of one `type`: `vm`, `storage`, `node` or `sdn`.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn resources(&self, kind: Option<&str>) -> Result<Vec<ResourceRow>> {
        let kind = kind.map(|kind| ("type", kind));
        self.get("/cluster/resources", kind.as_slice()).await
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

    /// The virtual machines of a node.
    pub fn qemu(&self, node: &NodeName) -> Qemu<'_> {
        Qemu { client: self, base: format!("/nodes/{node}/qemu") }
    }

    /// Tasks of the cluster.
    pub fn tasks(&self) -> Tasks<'_> {
        Tasks { client: self }
    }

    async fn task(&self, method: Method, path: &str, parameters: &Parameters<'_>) -> Result<Upid> {
        let operation = format!("{method} {path}");
        let text: String = self.call(method, path, parameters).await?;
        text.parse::<Upid>().map_err(|source| {
            Error::new(ErrorKind::Protocol, operation, "the answer names no task")
                .applied(true)
                .because(source)
        })
    }
}

/// The virtual machines of one node.
#[derive(Debug, Clone)]
pub struct Qemu<'a> {
    client: &'a Client,
    base: String,
}

impl Qemu<'_> {
    /// `GET /nodes/{node}/qemu`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn list(&self) -> Result<Vec<VmRow>> {
        self.client.get(&self.base, &[]).await
    }

    /// `POST /nodes/{node}/qemu`: `vmid` and the keys of its configuration.
    ///
    /// # Errors
    /// As [`Client::call`]. The task can fail later: see [`Tasks::wait`].
    pub async fn create(&self, id: VmId, keys: &Parameters<'_>) -> Result<Upid> {
        let id = id.to_string();
        let mut all = vec![("vmid", id.as_str())];
        all.extend_from_slice(keys);
        self.client.task(Method::POST, &self.base, &all).await
    }

    /// `GET /nodes/{node}/qemu/{vmid}/config`: what it will be after its next full stop and start,
    /// or with `current` what it is now. Values are texts or numbers as the server has them.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn config(&self, id: VmId, current: bool) -> Result<BTreeMap<String, Value>> {
        let now = [("current", "1")];
        let parameters = if current { now.as_slice() } else { &[] };
        self.client.get(&format!("{}/{id}/config", self.base), parameters).await
    }

    /// `POST /nodes/{node}/qemu/{vmid}/config`: changes keys in a task, `None` where none was
    /// needed. Several keys are not changed atomically.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn update(&self, id: VmId, keys: &Parameters<'_>) -> Result<Option<Upid>> {
        let path = format!("{}/{id}/config", self.base);
        let text: Option<String> = self.client.call(Method::POST, &path, keys).await?;
        text.map(|text| {
            text.parse::<Upid>().map_err(|source| {
                Error::new(ErrorKind::Protocol, format!("POST {path}"), "the answer names no task")
                    .applied(true)
                    .because(source)
            })
        })
        .transpose()
    }

    /// `GET /nodes/{node}/qemu/{vmid}/status/current`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn status(&self, id: VmId) -> Result<VmRow> {
        self.client.get(&format!("{}/{id}/status/current", self.base), &[]).await
    }

    /// `POST /nodes/{node}/qemu/{vmid}/status/{verb}`: `start`, `stop`, `shutdown`, `reboot`,
    /// `reset`, `suspend` or `resume`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn power(&self, id: VmId, verb: &str, keys: &Parameters<'_>) -> Result<Upid> {
        let path = format!("{}/{id}/status/{}", self.base, escape(verb));
        self.client.task(Method::POST, &path, keys).await
    }

    /// `PUT /nodes/{node}/qemu/{vmid}/resize`: grows a disk to `size`, or by it with a leading `+`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn resize(&self, id: VmId, disk: &str, size: &str) -> Result<Upid> {
        let path = format!("{}/{id}/resize", self.base);
        self.client.task(Method::PUT, &path, &[("disk", disk), ("size", size)]).await
    }

    /// `DELETE /nodes/{node}/qemu/{vmid}`: with its disks, and out of pools, jobs and HA.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn destroy(&self, id: VmId) -> Result<Upid> {
        let keys = [("purge", "1"), ("destroy-unreferenced-disks", "1")];
        self.client.task(Method::DELETE, &format!("{}/{id}", self.base), &keys).await
    }
}

/// Tasks.
#[derive(Debug, Clone, Copy)]
pub struct Tasks<'a> {
    client: &'a Client,
}

impl Tasks<'_> {
    /// Waits until a task ends: `GET /nodes/{node}/tasks/{upid}/status`.
    ///
    /// # Errors
    /// Where the task failed (its text decides the kind), or has not ended after `limit`: then it
    /// goes on, and [`Error::may_have_been_applied`] holds.
    pub async fn wait(&self, upid: &Upid, limit: Duration) -> Result<TaskEnd> {
        let path = format!("/nodes/{}/tasks/{}/status", upid.node(), escape(upid.as_str()));
        let operation = format!("task {} {} on {}", upid.kind(), upid.id(), upid.node());
        let end = Instant::now() + limit;
        let mut pause = Duration::from_millis(100);
        let mut absent = 0;
        loop {
            match self.client.get::<TaskState>(&path, &[]).await {
                Ok(state) if state.status == "stopped" => {
                    return ended(
                        operation,
                        state.exitstatus.as_deref().unwrap_or("no exit status"),
                    );
                }
                Ok(_) => absent = 0,
                // For a moment after its start a task has no log yet.
                Err(error) if error.kind() == ErrorKind::NotFound && absent < 5 => absent += 1,
                Err(error) => return Err(error.applied(true)),
            }
            if Instant::now() >= end {
                let text = "the task has not ended in time; it goes on";
                return Err(Error::new(ErrorKind::Unreachable, operation, text).applied(true));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_secs(2));
        }
    }

    /// Stops a task: `DELETE /nodes/{node}/tasks/{upid}`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn stop(&self, upid: &Upid) -> Result<()> {
        let path = format!("/nodes/{}/tasks/{}", upid.node(), escape(upid.as_str()));
        self.client.call::<Option<Value>>(Method::DELETE, &path, &[]).await.map(drop)
    }
}

fn ended(operation: String, text: &str) -> Result<TaskEnd> {
    if text == "OK" {
        return Ok(TaskEnd::Ok);
    }
    if text.starts_with("WARNINGS") {
        return Ok(TaskEnd::Warnings);
    }
    let kind = match classify(500, text, &BTreeMap::new()) {
        ErrorKind::Server => ErrorKind::TaskFailed,
        kind => kind,
    };
    let busy = kind == ErrorKind::Busy;
    Err(Error::new(kind, operation, text).applied(!busy))
}
