//! Resource pools.

use http::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::client::Client;
use crate::error::Result;
use crate::id::VmId;

/// A pool: `GET /pools`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Pool {
    /// Its id.
    pub poolid: String,
    /// What is written on it.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub comment: Option<String>,
    /// What is in it; told of one pool only.
    #[serde(default)]
    pub members: Vec<PoolMember>,
}

/// What is in a pool.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct PoolMember {
    /// Such as `qemu/100` or `storage/pve01/local`.
    pub id: String,
    /// `qemu`, `lxc` or `storage`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The number of a guest.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub vmid: Option<u64>,
    /// The id of a storage.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub storage: Option<String>,
}

/// The pools of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Pools<'a> {
    client: &'a Client,
}

impl Client {
    /// Resource pools.
    pub fn pools(&self) -> Pools<'_> {
        Pools { client: self }
    }
}

impl Pools<'_> {
    /// `GET /pools`: those that the user may see.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn list(&self) -> Result<Vec<Pool>> {
        self.client.get("/pools", &[]).await
    }

    /// One pool, `None` when it is not there.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get(&self, id: &str) -> Result<Option<Pool>> {
        let pools: Option<Vec<Pool>> = self.client.find("/pools", &[("poolid", id)]).await?;
        Ok(pools.into_iter().flatten().find(|pool| pool.poolid == id))
    }

    /// `POST /pools`: makes a pool. Of several that try at once one succeeds.
    ///
    /// # Errors
    /// As [`Client::call`]; [`AlreadyExists`](crate::ErrorKind::AlreadyExists) when it is there.
    pub async fn create(&self, id: &str, comment: &str) -> Result<()> {
        let keys = [("poolid", id), ("comment", comment)];
        self.client.call::<Option<Value>>(Method::POST, "/pools", &keys).await.map(drop)
    }

    /// `PUT /pools`: writes another comment on a pool.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn set_comment(&self, id: &str, comment: &str) -> Result<()> {
        let keys = [("poolid", id), ("comment", comment)];
        self.client.call::<Option<Value>>(Method::PUT, "/pools", &keys).await.map(drop)
    }

    /// `PUT /pools`: puts machines into a pool. One that is in another pool moves.
    ///
    /// # Errors
    /// As [`Client::call`]; [`AlreadyExists`](crate::ErrorKind::AlreadyExists) where one is in the
    /// pool already.
    pub async fn add(&self, id: &str, machines: &[VmId]) -> Result<()> {
        let list = list_of(machines);
        let keys = [("poolid", id), ("vms", list.as_str()), ("allow-move", "1")];
        self.client.call::<Option<Value>>(Method::PUT, "/pools", &keys).await.map(drop)
    }

    /// `PUT /pools` with `delete`: takes machines out of a pool.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn remove(&self, id: &str, machines: &[VmId]) -> Result<()> {
        let list = list_of(machines);
        let keys = [("poolid", id), ("vms", list.as_str()), ("delete", "1")];
        self.client.call::<Option<Value>>(Method::PUT, "/pools", &keys).await.map(drop)
    }

    /// `DELETE /pools`: removes an empty pool.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete(&self, id: &str) -> Result<()> {
        let keys = [("poolid", id)];
        self.client.call::<Option<Value>>(Method::DELETE, "/pools", &keys).await.map(drop)
    }
}

fn list_of(machines: &[VmId]) -> String {
    machines.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
