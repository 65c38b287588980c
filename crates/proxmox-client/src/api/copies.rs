//! Copies of machines and of their disks: clones, templates, snapshots, moves between storages and
//! nodes.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::Qemu;
use crate::client::{Parameters, escape};
use crate::error::Result;
use crate::id::{NodeName, Upid, VmId};

/// How a machine is cloned. The default takes what the server does: a template is linked, any
/// other machine is copied whole, on the same node.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloneOptions<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// Whether all is copied; a link needs a template.
    pub full: Option<bool>,
    /// Where whole copies of its disks lie.
    pub storage: Option<&'a str>,
    /// The format of whole copies.
    pub format: Option<&'a str>,
    /// The node that it is for; all its disks must be on shared storages.
    pub target: Option<&'a NodeName>,
    /// The pool that it comes into.
    pub pool: Option<&'a str>,
    /// The snapshot that it is made of.
    pub snapshot: Option<&'a str>,
}

/// Where a disk is moved to.
#[derive(Debug, Clone, Copy)]
pub enum DiskTarget<'a> {
    /// Another storage, perhaps in another format.
    Storage {
        /// The storage.
        storage: &'a str,
        /// The format.
        format: Option<&'a str>,
        /// Whether the old volume goes; otherwise it stays as an unused one.
        delete: bool,
    },
    /// Another machine, under a key such as `scsi1`.
    Machine {
        /// The machine.
        vmid: VmId,
        /// The key.
        disk: &'a str,
    },
}

/// A snapshot: `GET /nodes/{node}/qemu/{vmid}/snapshot`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// The one before it.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub parent: Option<String>,
    /// What is written on it.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub description: Option<String>,
    /// When it was made, in seconds since 1970.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub snaptime: Option<u64>,
    /// Whether the memory is in it.
    #[serde(default, deserialize_with = "crate::loose::flag")]
    pub vmstate: bool,
}

/// What stands against a migration: `GET /nodes/{node}/qemu/{vmid}/migrate`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Migratable {
    /// Whether it runs.
    #[serde(default, deserialize_with = "crate::loose::flag")]
    pub running: bool,
    /// Nodes that it can go to.
    #[serde(default)]
    pub allowed_nodes: Vec<String>,
    /// Other nodes, and why not.
    #[serde(default)]
    pub not_allowed_nodes: BTreeMap<String, Value>,
    /// Disks that only this node has.
    #[serde(default)]
    pub local_disks: Vec<Value>,
    /// Devices that only this node has.
    #[serde(default)]
    pub local_resources: Vec<Value>,
}

impl Qemu<'_> {
    fn of(&self, id: VmId, tail: &str) -> String {
        format!("{}/{id}/{tail}", self.base)
    }

    /// `POST /nodes/{node}/qemu/{vmid}/clone`: the copy has MAC addresses and a UUID of its own.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn clone_to(&self, id: VmId, new: VmId, how: &CloneOptions<'_>) -> Result<Upid> {
        let new = new.to_string();
        let mut keys = vec![("newid", new.as_str())];
        keys.extend(how.full.map(|full| ("full", if full { "1" } else { "0" })));
        let texts = [
            ("name", how.name),
            ("storage", how.storage),
            ("format", how.format),
            ("target", how.target.map(NodeName::as_str)),
            ("pool", how.pool),
            ("snapname", how.snapshot),
        ];
        keys.extend(texts.into_iter().filter_map(|(key, value)| Some((key, value?))));
        self.client.task(Method::POST, &self.of(id, "clone"), &keys).await
    }

    /// `POST /nodes/{node}/qemu/{vmid}/template`: there is no way back.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn make_template(&self, id: VmId) -> Result<Upid> {
        self.client.task(Method::POST, &self.of(id, "template"), &[]).await
    }

    /// `POST /nodes/{node}/qemu/{vmid}/move_disk`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn move_disk(&self, id: VmId, disk: &str, to: &DiskTarget<'_>) -> Result<Upid> {
        let mut keys = vec![("disk", disk)];
        let text;
        match to {
            DiskTarget::Storage { storage, format, delete } => {
                keys.push(("storage", storage));
                keys.extend(format.map(|format| ("format", format)));
                keys.extend(delete.then_some(("delete", "1")));
            }
            DiskTarget::Machine { vmid, disk } => {
                text = vmid.to_string();
                keys.extend([("target-vmid", text.as_str()), ("target-disk", *disk)]);
            }
        }
        self.client.task(Method::POST, &self.of(id, "move_disk"), &keys).await
    }

    /// `GET /nodes/{node}/qemu/{vmid}/snapshot`, without the entry for the present state.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn snapshots(&self, id: VmId) -> Result<Vec<Snapshot>> {
        let rows: Vec<Snapshot> = self.client.get(&self.of(id, "snapshot"), &[]).await?;
        Ok(rows.into_iter().filter(|row| row.name != "current").collect())
    }

    /// `POST /nodes/{node}/qemu/{vmid}/snapshot`, with the memory where that is wanted.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn snapshot(
        &self,
        id: VmId,
        name: &str,
        description: Option<&str>,
        memory: bool,
    ) -> Result<Upid> {
        let mut keys = vec![("snapname", name)];
        keys.extend(description.map(|text| ("description", text)));
        keys.extend(memory.then_some(("vmstate", "1")));
        self.client.task(Method::POST, &self.of(id, "snapshot"), &keys).await
    }

    /// `POST /nodes/{node}/qemu/{vmid}/snapshot/{name}/rollback`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn rollback(&self, id: VmId, name: &str) -> Result<Upid> {
        let path = self.of(id, &format!("snapshot/{}/rollback", escape(name)));
        self.client.task(Method::POST, &path, &[]).await
    }

    /// `DELETE /nodes/{node}/qemu/{vmid}/snapshot/{name}`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn delete_snapshot(&self, id: VmId, name: &str) -> Result<Upid> {
        let path = self.of(id, &format!("snapshot/{}", escape(name)));
        self.client.task(Method::DELETE, &path, &[]).await
    }

    /// `GET /nodes/{node}/qemu/{vmid}/migrate`: where it can go, and what stands against it.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn migratable(&self, id: VmId) -> Result<Migratable> {
        self.client.get(&self.of(id, "migrate"), &[]).await
    }

    /// `POST /nodes/{node}/qemu/{vmid}/migrate`; `keys` such as `online`, `with-local-disks`. The
    /// task of a machine with high availability ends before the machine has moved.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn migrate(&self, id: VmId, to: &NodeName, keys: &Parameters<'_>) -> Result<Upid> {
        let mut all = vec![("target", to.as_str())];
        all.extend_from_slice(keys);
        self.client.task(Method::POST, &self.of(id, "migrate"), &all).await
    }
}
