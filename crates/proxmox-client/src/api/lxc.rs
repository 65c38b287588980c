//! Containers, as far as others have to know of them: they share numbers and networks with
//! machines.

use serde::Deserialize;

use super::qemu::PendingRow;
use crate::client::Client;
use crate::error::Result;
use crate::id::{NodeName, VmId};

/// A row of `GET /nodes/{node}/lxc`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct ContainerRow {
    /// Its number, out of the same range as those of machines.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub vmid: Option<u64>,
    /// Its host name.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub name: Option<String>,
    /// `running` or `stopped`.
    pub status: String,
}

impl Client {
    /// The containers of a node.
    pub fn lxc(&self, node: &NodeName) -> Lxc<'_> {
        Lxc { client: self, base: format!("/nodes/{node}/lxc") }
    }
}

/// The containers of one node.
#[derive(Debug, Clone)]
pub struct Lxc<'a> {
    client: &'a Client,
    base: String,
}

impl Lxc<'_> {
    /// `GET /nodes/{node}/lxc`: those that the caller may see.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn list(&self) -> Result<Vec<ContainerRow>> {
        self.client.get(&self.base, &[]).await
    }

    /// `GET /nodes/{node}/lxc/{vmid}/pending`: keys such as `net0`
    /// (`name=eth0,bridge=vmbr0,ip=dhcp`), as they are and as they will be.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn pending(&self, id: VmId) -> Result<Vec<PendingRow>> {
        self.client.get(&format!("{}/{id}/pending", self.base), &[]).await
    }
}
