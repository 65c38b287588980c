//! Virtual machines.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::task::upid_of;
use crate::client::{Client, Parameters, escape};
use crate::error::{ErrorKind, Result, found};
use crate::id::{NodeName, Upid, VmId};
use crate::plan::vm::VmObserved;
use crate::wire::split_list;

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

/// A row of `GET /nodes/{node}/qemu/{vmid}/pending`: a key as it is and as it will be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct PendingRow {
    /// The key.
    pub key: String,
    /// Its value now.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub value: Option<String>,
    /// Its value after the next full stop and start.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub pending: Option<String>,
    /// Not 0: it goes at the next full stop and start; 2: with its volume.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub delete: Option<u64>,
}

impl PendingRow {
    /// Whether something waits for a stop and start.
    pub fn waits(&self) -> bool {
        self.pending.is_some() || self.delete.is_some_and(|delete| delete != 0)
    }
}

#[derive(Deserialize)]
struct AgentResult<T> {
    result: T,
}

/// A network card as the guest sees it.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct GuestInterface {
    /// Such as `eth0`.
    pub name: String,
    /// Its MAC address.
    #[serde(default, rename = "hardware-address", deserialize_with = "crate::loose::text")]
    pub mac: Option<String>,
    /// Its addresses.
    #[serde(default, rename = "ip-addresses")]
    pub addresses: Vec<GuestAddress>,
}

/// An address of a guest.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct GuestAddress {
    /// The address.
    #[serde(rename = "ip-address")]
    pub address: IpAddr,
    /// Length of its prefix.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub prefix: Option<u64>,
}

impl Client {
    /// The virtual machines of a node.
    pub fn qemu(&self, node: &NodeName) -> Qemu<'_> {
        Qemu { client: self, node: node.clone(), base: format!("/nodes/{node}/qemu") }
    }
}

/// The virtual machines of one node.
#[derive(Debug, Clone)]
pub struct Qemu<'a> {
    pub(super) client: &'a Client,
    node: NodeName,
    pub(super) base: String,
}

impl Qemu<'_> {
    /// `GET /nodes/{node}/qemu`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn list(&self) -> Result<Vec<VmRow>> {
        self.client.get(&self.base, &[]).await
    }

    /// A machine as [`plan::vm`](crate::plan::vm) compares it, none when it is not on this node. Of
    /// a machine that runs, what waits for a stop and start counts as done and is named.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn observe(&self, id: VmId) -> Result<Option<VmObserved>> {
        let Some(row) = found(self.status(id).await)? else { return Ok(None) };
        self.observe_row(id, &row).await
    }

    /// As [`Self::observe`], of a row that was listed before: one call.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn observe_row(&self, id: VmId, row: &VmRow) -> Result<Option<VmObserved>> {
        let running = row.status == "running";
        let mut observed = VmObserved {
            vmid: id,
            node: self.node.to_string(),
            running,
            lock: row.lock.clone(),
            config: BTreeMap::new(),
            pending: BTreeSet::new(),
        };
        // Of a machine that is off, nothing waits.
        let read = if running {
            self.pending(id).await.map(|rows| {
                for row in rows {
                    if row.waits() {
                        observed.pending.insert(row.key.clone());
                    }
                    if row.delete.is_none_or(|delete| delete == 0)
                        && let Some(value) = row.pending.or(row.value)
                    {
                        observed.config.insert(row.key, value);
                    }
                }
            })
        } else {
            self.config(id, false).await.map(|config| {
                let texts = config
                    .into_iter()
                    .filter_map(|(key, value)| Some((key, crate::loose::text_of(&value)?)));
                observed.config = texts.collect();
            })
        };
        if found(read)?.is_none() {
            return Ok(None);
        }
        if let Some(lock) = observed.config.remove("lock") {
            observed.lock = Some(lock);
        }
        observed.config.remove("digest");
        Ok(Some(observed))
    }

    /// `POST /nodes/{node}/qemu`: `vmid` and the keys of its configuration.
    ///
    /// # Errors
    /// As [`Client::call`]. The task can fail later: see [`Tasks::wait`](crate::Tasks::wait).
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
        text.map(|text| upid_of(&format!("POST {path}"), &text)).transpose()
    }

    /// `GET /nodes/{node}/qemu/{vmid}/pending`: every key, as it is and as it will be.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn pending(&self, id: VmId) -> Result<Vec<PendingRow>> {
        self.client.get(&format!("{}/{id}/pending", self.base), &[]).await
    }

    /// `PUT /nodes/{node}/qemu/{vmid}/cloudinit`: makes
    /// the cloud-init drive anew from what the configuration says.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn regenerate_cloud_init(&self, id: VmId) -> Result<()> {
        let path = format!("{}/{id}/cloudinit", self.base);
        self.client.call::<Option<Value>>(Method::PUT, &path, &[]).await.map(drop)
    }

    /// `PUT /nodes/{node}/qemu/{vmid}/unlink`: takes disks out of the configuration, and with
    /// `destroy` out of the storage too. Unused volumes (`unused0`) are always destroyed.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn unlink(&self, id: VmId, disks: &[&str], destroy: bool) -> Result<()> {
        let (path, list) = (format!("{}/{id}/unlink", self.base), disks.join(","));
        let keys = [("idlist", list.as_str()), ("force", if destroy { "1" } else { "0" })];
        self.client.call::<Option<Value>>(Method::PUT, &path, &keys).await.map(drop)
    }

    /// `POST /nodes/{node}/qemu/{vmid}/agent/ping`: whether the agent in the guest answers.
    ///
    /// # Errors
    /// As [`Client::call`]; a machine without agent, or one that is off, answers `false`.
    pub async fn agent_answers(&self, id: VmId) -> Result<bool> {
        let path = format!("{}/{id}/agent/ping", self.base);
        match self.client.call::<Option<Value>>(Method::POST, &path, &[]).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Server => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What the agent in the guest tells of its network cards, none where no agent answers:
    /// `GET /nodes/{node}/qemu/{vmid}/agent/network-get-interfaces`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn agent_interfaces(&self, id: VmId) -> Result<Option<Vec<GuestInterface>>> {
        let path = format!("{}/{id}/agent/network-get-interfaces", self.base);
        match self.client.get::<AgentResult<Vec<GuestInterface>>>(&path, &[]).await {
            Ok(answer) => Ok(Some(answer.result)),
            Err(error) if error.kind() == ErrorKind::Server => Ok(None),
            Err(error) => Err(error),
        }
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
