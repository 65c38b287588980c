//! Nodes and their devices.

use http::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::client::Client;
use crate::error::Result;
use crate::id::NodeName;

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

/// A row of `GET /nodes/{node}/hardware/pci`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct PciRow {
    /// Its address, such as `0000:00:02.1`.
    pub id: String,
    /// Such as `0x030000`.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub class: Option<String>,
    /// Such as `0x8086`.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub vendor: Option<String>,
    /// Such as `0x4680`.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub device: Option<String>,
    /// Name of the vendor for people.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub vendor_name: Option<String>,
    /// Name of the device for people.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub device_name: Option<String>,
    /// Vendor of the board.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub subsystem_vendor: Option<String>,
    /// Device of the board.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub subsystem_device: Option<String>,
    /// Its IOMMU group; none where it has none.
    #[serde(default, deserialize_with = "crate::loose::number")]
    pub iommugroup: Option<u64>,
    /// It can be cut into mediated devices.
    #[serde(default, deserialize_with = "crate::loose::flag")]
    pub mdev: bool,
}

/// One node.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    client: &'a Client,
    base: String,
}

impl Client {
    /// `GET /nodes`.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn nodes(&self) -> Result<Vec<NodeRow>> {
        self.get("/nodes", &[]).await
    }

    /// One node.
    pub fn node(&self, node: &NodeName) -> Node<'_> {
        Node { client: self, base: format!("/nodes/{node}") }
    }
}

impl Node<'_> {
    /// PCI devices, but for bridges, memory controllers and processors:
    /// `GET /nodes/{node}/hardware/pci`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn pci(&self) -> Result<Vec<PciRow>> {
        self.client.get(&format!("{}/hardware/pci", self.base), &[]).await
    }

    /// `GET /nodes/{node}/status`: load, memory, versions, as the server has them.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn status(&self) -> Result<Value> {
        self.client.get(&format!("{}/status", self.base), &[]).await
    }

    /// The clock of the node, in seconds since 1970: `GET /nodes/{node}/time`. None where the
    /// server does not tell it.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn time(&self) -> Result<Option<u64>> {
        let answer: Value = self.client.get(&format!("{}/time", self.base), &[]).await?;
        Ok(answer.get("time").and_then(crate::loose::number_of))
    }

    /// Changes of the node's own network that are saved and not applied, as a text of differences:
    /// `GET /nodes/{node}/network` tells them beside its data. Applying the networks of the cluster
    /// would apply these too.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn network_changes(&self) -> Result<Option<String>> {
        let path = format!("{}/network", self.base);
        let (_, changes): (Value, Option<String>) = self.client.get_with_changes(&path).await?;
        Ok(changes.filter(|text| !text.trim().is_empty()))
    }

    /// `DELETE /nodes/{node}/network`: forgets changes of the node's network that are not applied.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn revert_network(&self) -> Result<()> {
        let path = format!("{}/network", self.base);
        self.client.call::<Option<Value>>(Method::DELETE, &path, &[]).await.map(drop)
    }
}
