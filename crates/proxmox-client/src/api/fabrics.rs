//! Fabrics of software-defined networking (PVE 9): the underlay that nodes route through.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::api::Sdn;
use crate::client::{Parameters, escape};
use crate::error::Result;
use crate::id::NodeName;

/// A fabric as it is saved.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Fabric {
    /// Its id.
    pub id: String,
    /// `openfabric`, `ospf`; from 9.2 `wireguard` and `bgp` too.
    pub protocol: String,
    /// Network of the nodes' addresses.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub ip_prefix: Option<String>,
    /// The same for IPv6.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub ip6_prefix: Option<String>,
    /// Area of `ospf`.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub area: Option<String>,
    /// Digest of the file that holds all fabrics.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub digest: Option<String>,
    /// Other keys.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A node of a fabric.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct FabricNode {
    /// The fabric.
    pub fabric_id: String,
    /// The node.
    pub node_id: String,
    /// Its address in the fabric.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub ip: Option<String>,
    /// The same for IPv6.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub ip6: Option<String>,
    /// Its interfaces: `name=eth0,ip=…`.
    #[serde(default)]
    pub interfaces: Vec<String>,
}

/// An interface of a node in a fabric.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FabricInterface {
    /// Its name.
    pub name: String,
    /// `up` or `down`.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub state: Option<String>,
    /// Such as `Point-To-Point`.
    #[serde(default, rename = "type", deserialize_with = "crate::loose::text")]
    pub kind: Option<String>,
}

/// A node that another one sees in a fabric.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FabricNeighbor {
    /// Its address, or its name.
    pub neighbor: String,
    /// State of the relation, as the routing daemon of the protocol calls it: `Up`, `Full/-`.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub status: Option<String>,
    /// For how long.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub uptime: Option<String>,
}

/// A route that a node has learnt in a fabric.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FabricRoute {
    /// The network.
    pub route: String,
    /// Where to.
    #[serde(default)]
    pub via: Vec<String>,
}

fn path(id: &str) -> String {
    format!("/cluster/sdn/fabrics/fabric/{}", escape(id))
}

fn node_path(id: &str, node: Option<&NodeName>) -> String {
    let tail = node.map(|node| format!("/{node}")).unwrap_or_default();
    format!("/cluster/sdn/fabrics/node/{}{tail}", escape(id))
}

/// All of these calls save only: [`Sdn::apply`] and what else puts networks into force comes after.
/// While somebody holds the lock, `keys` must have its `lock-token`. Never send a key that the
/// protocol does not have: the server drops it in silence.
impl Sdn<'_> {
    async fn fabric_write(&self, method: Method, path: &str, keys: &Parameters<'_>) -> Result<()> {
        self.client.call::<Option<Value>>(method, path, keys).await.map(drop)
    }

    /// `GET /cluster/sdn/fabrics/fabric`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn fabrics(&self) -> Result<Vec<Fabric>> {
        self.client.get("/cluster/sdn/fabrics/fabric", &[]).await
    }

    /// One fabric, none when it is not there.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn fabric(&self, id: &str) -> Result<Option<Fabric>> {
        self.client.find(&path(id), &[]).await
    }

    /// `POST /cluster/sdn/fabrics/fabric`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn create_fabric(
        &self,
        id: &str,
        protocol: &str,
        keys: &Parameters<'_>,
    ) -> Result<()> {
        let mut all = vec![("id", id), ("protocol", protocol)];
        all.extend_from_slice(keys);
        self.fabric_write(Method::POST, "/cluster/sdn/fabrics/fabric", &all).await
    }

    /// `PUT /cluster/sdn/fabrics/fabric/{id}`; the protocol must be that of the fabric. `delete`
    /// is repeated for each key that goes.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn set_fabric(&self, id: &str, protocol: &str, keys: &Parameters<'_>) -> Result<()> {
        let mut all = vec![("protocol", protocol)];
        all.extend_from_slice(keys);
        self.fabric_write(Method::PUT, &path(id), &all).await
    }

    /// `DELETE /cluster/sdn/fabrics/fabric/{id}`, with its nodes.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn delete_fabric(&self, id: &str) -> Result<()> {
        self.fabric_write(Method::DELETE, &path(id), &[]).await
    }

    /// `GET /cluster/sdn/fabrics/node/{fabric_id}`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn fabric_nodes(&self, id: &str) -> Result<Vec<FabricNode>> {
        self.client.get(&node_path(id, None), &[]).await
    }

    /// `POST /cluster/sdn/fabrics/node/{fabric_id}`; `interfaces` is repeated for each.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn add_fabric_node(
        &self,
        id: &str,
        node: &NodeName,
        protocol: &str,
        keys: &Parameters<'_>,
    ) -> Result<()> {
        let mut all = vec![("node_id", node.as_str()), ("protocol", protocol)];
        all.extend_from_slice(keys);
        self.fabric_write(Method::POST, &node_path(id, None), &all).await
    }

    /// `PUT /cluster/sdn/fabrics/node/{fabric_id}/{node_id}`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn set_fabric_node(
        &self,
        id: &str,
        node: &NodeName,
        protocol: &str,
        keys: &Parameters<'_>,
    ) -> Result<()> {
        let mut all = vec![("protocol", protocol)];
        all.extend_from_slice(keys);
        self.fabric_write(Method::PUT, &node_path(id, Some(node)), &all).await
    }

    /// `DELETE /cluster/sdn/fabrics/node/{fabric_id}/{node_id}`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn delete_fabric_node(&self, id: &str, node: &NodeName) -> Result<()> {
        self.fabric_write(Method::DELETE, &node_path(id, Some(node)), &[]).await
    }

    async fn seen<T: serde::de::DeserializeOwned>(
        &self,
        node: &NodeName,
        id: &str,
        what: &str,
    ) -> Result<Vec<T>> {
        self.client.get(&format!("/nodes/{node}/sdn/fabrics/{}/{what}", escape(id)), &[]).await
    }

    /// `GET /nodes/{node}/sdn/fabrics/{fabric}/interfaces`, of a fabric that is applied.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn fabric_interfaces(
        &self,
        node: &NodeName,
        id: &str,
    ) -> Result<Vec<FabricInterface>> {
        self.seen(node, id, "interfaces").await
    }

    /// `GET /nodes/{node}/sdn/fabrics/{fabric}/neighbors`: whom the node reaches.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn fabric_neighbors(&self, node: &NodeName, id: &str) -> Result<Vec<FabricNeighbor>> {
        self.seen(node, id, "neighbors").await
    }

    /// `GET /nodes/{node}/sdn/fabrics/{fabric}/routes`: what the node has learnt.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn fabric_routes(&self, node: &NodeName, id: &str) -> Result<Vec<FabricRoute>> {
        self.seen(node, id, "routes").await
    }
}
