//! The network of a node: interfaces that are saved, and put into force by a reload.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Map, Value};

use crate::api::Node;
use crate::client::{Parameters, escape};
use crate::error::Result;
use crate::id::Upid;
use crate::loose::text_of;

/// An interface: its keys as texts, such as `iface`, `type`, `cidr`, `bridge_ports`.
pub type Interface = BTreeMap<String, String>;

fn texts(row: Map<String, Value>) -> Interface {
    row.into_iter().filter_map(|(key, value)| Some((key, text_of(&value)?))).collect()
}

impl Node<'_> {
    fn interface_path(&self, name: &str) -> String {
        format!("{}/network/{}", self.base, escape(name))
    }

    async fn save(&self, method: Method, path: &str, keys: &Parameters<'_>) -> Result<()> {
        self.client.call::<Option<Value>>(method, path, keys).await.map(drop)
    }

    /// `GET /nodes/{node}/network`: the interfaces as they are saved; see
    /// [`Self::network_changes`] for what of it is not applied.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn interfaces(&self) -> Result<Vec<Interface>> {
        let rows: Vec<Map<String, Value>> =
            self.client.get(&format!("{}/network", self.base), &[]).await?;
        Ok(rows.into_iter().map(texts).collect())
    }

    /// `GET /nodes/{node}/network/{iface}`, none when it is not there.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn interface(&self, name: &str) -> Result<Option<Interface>> {
        Ok(self.client.find(&self.interface_path(name), &[]).await?.map(texts))
    }

    /// `POST /nodes/{node}/network`: saves an interface of a type such as `bridge`, `bond`, `vlan`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn create_interface(
        &self,
        name: &str,
        kind: &str,
        keys: &Parameters<'_>,
    ) -> Result<()> {
        let mut all = vec![("iface", name), ("type", kind)];
        all.extend_from_slice(keys);
        self.save(Method::POST, &format!("{}/network", self.base), &all).await
    }

    /// `PUT /nodes/{node}/network/{iface}`. Addresses must be sent each time: one that is left out
    /// is not configured any more.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn set_interface(&self, name: &str, kind: &str, keys: &Parameters<'_>) -> Result<()> {
        let mut all = vec![("type", kind)];
        all.extend_from_slice(keys);
        self.save(Method::PUT, &self.interface_path(name), &all).await
    }

    /// `DELETE /nodes/{node}/network/{iface}`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn delete_interface(&self, name: &str) -> Result<()> {
        self.save(Method::DELETE, &self.interface_path(name), &[]).await
    }

    /// `PUT /nodes/{node}/network`: the node reloads its network, with all that is saved. A
    /// mistake there may cut the node off.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn apply_network(&self) -> Result<Upid> {
        self.client.task(Method::PUT, &format!("{}/network", self.base), &[]).await
    }
}
