//! Nodes and their devices.

use std::collections::BTreeMap;

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
    pub(super) client: &'a Client,
    pub(super) base: String,
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

    /// `GET /nodes/{node}/dns`: `search`, `dns1` to `dns3`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn dns(&self) -> Result<BTreeMap<String, String>> {
        self.client.get(&format!("{}/dns", self.base), &[]).await
    }

    /// `PUT /nodes/{node}/dns`: the domain and the servers, at most three; others go.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn set_dns(&self, search: &str, servers: &[&str]) -> Result<()> {
        let names = ["dns1", "dns2", "dns3"];
        let mut keys = vec![("search", search)];
        keys.extend(names.into_iter().zip(servers.iter().copied()));
        let path = format!("{}/dns", self.base);
        self.client.call::<Option<Value>>(Method::PUT, &path, &keys).await.map(drop)
    }

    /// `GET /nodes/{node}/hosts`: the text of `/etc/hosts` and its digest.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn hosts(&self) -> Result<(String, Option<String>)> {
        #[derive(Deserialize)]
        struct Hosts {
            #[serde(default)]
            data: String,
            #[serde(default, deserialize_with = "crate::loose::text")]
            digest: Option<String>,
        }
        let hosts: Hosts = self.client.get(&format!("{}/hosts", self.base), &[]).await?;
        Ok((hosts.data, hosts.digest))
    }

    /// `POST /nodes/{node}/hosts`: writes `/etc/hosts`, where it still has this digest.
    ///
    /// # Errors
    /// As [`Client::call`]; [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) where it was
    /// changed meanwhile.
    pub async fn set_hosts(&self, data: &str, digest: Option<&str>) -> Result<()> {
        let mut keys = vec![("data", data)];
        keys.extend(digest.map(|digest| ("digest", digest)));
        let path = format!("{}/hosts", self.base);
        self.client.call::<Option<Value>>(Method::POST, &path, &keys).await.map(drop)
    }

    /// `PUT /nodes/{node}/time`: the time zone, such as `Europe/Berlin`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn set_timezone(&self, zone: &str) -> Result<()> {
        let path = format!("{}/time", self.base);
        let keys = [("timezone", zone)];
        self.client.call::<Option<Value>>(Method::PUT, &path, &keys).await.map(drop)
    }
}
