//! Names for devices that several nodes have: `/cluster/mapping/pci` and `…/usb`.

use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::{Client, escape};
use crate::error::{ErrorKind, Result};
use crate::id::NodeName;

/// A name for PCI devices.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct PciMapping {
    /// The name.
    #[serde(default)]
    pub id: String,
    /// Devices: `node=pve01,path=0000:00:02.1,id=8086:4680,…`.
    #[serde(default)]
    pub map: Vec<String>,
    /// What is written on it.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub description: Option<String>,
    /// What the asked node finds wrong with it.
    #[serde(default)]
    pub checks: Vec<MappingCheck>,
}

/// A name for USB devices.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct UsbMapping {
    /// The name.
    #[serde(default)]
    pub id: String,
    /// Devices: `node=pve01,id=8087:0aaa,…`, with `path=1-2` where a port is meant.
    #[serde(default)]
    pub map: Vec<String>,
    /// What is written on it.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub description: Option<String>,
    /// What the asked node finds wrong with it.
    #[serde(default)]
    pub checks: Vec<MappingCheck>,
}

/// Something that is wrong with a mapping on a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct MappingCheck {
    /// `error` or `warning`.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub severity: Option<String>,
    /// What.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub message: Option<String>,
}

impl PciMapping {
    /// The devices of a node: their PCI addresses.
    pub fn paths_of(&self, node: &NodeName) -> Vec<&str> {
        self.map
            .iter()
            .filter(|entry| value_of(entry, "node") == Some(node.as_str()))
            .filter_map(|entry| value_of(entry, "path"))
            .collect()
    }
}

fn value_of<'a>(entry: &'a str, key: &str) -> Option<&'a str> {
    let mut parts = entry.split(',').filter_map(|part| part.split_once('='));
    parts.find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// Names for devices.
#[derive(Debug, Clone, Copy)]
pub struct Mappings<'a> {
    client: &'a Client,
}

impl Client {
    /// Names for devices.
    pub fn mappings(&self) -> Mappings<'_> {
        Mappings { client: self }
    }
}

impl Mappings<'_> {
    async fn all<T: DeserializeOwned>(
        &self,
        class: &str,
        check: Option<&NodeName>,
    ) -> Result<Vec<T>> {
        let key = check.map(|node| ("check-node", node.as_str()));
        self.client.get(&format!("/cluster/mapping/{class}"), key.as_slice()).await
    }

    async fn one<T: DeserializeOwned>(&self, class: &str, id: &str) -> Result<Option<T>> {
        match self.client.get(&own_path(class, id), &[]).await {
            Ok(mapping) => Ok(Some(mapping)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn make(
        &self,
        class: &str,
        id: &str,
        map: &[&str],
        description: Option<&str>,
    ) -> Result<()> {
        let mut keys = vec![("id", id)];
        keys.extend(map.iter().map(|entry| ("map", *entry)));
        keys.extend(description.map(|text| ("description", text)));
        let path = format!("/cluster/mapping/{class}");
        self.client.call::<Option<Value>>(Method::POST, &path, &keys).await.map(drop)
    }

    async fn set(&self, class: &str, id: &str, map: &[&str]) -> Result<()> {
        let keys: Vec<_> = map.iter().map(|entry| ("map", *entry)).collect();
        self.client.call::<Option<Value>>(Method::PUT, &own_path(class, id), &keys).await.map(drop)
    }

    async fn delete(&self, class: &str, id: &str) -> Result<()> {
        let path = own_path(class, id);
        self.client.call::<Option<Value>>(Method::DELETE, &path, &[]).await.map(drop)
    }

    /// `GET /cluster/mapping/pci`; with a node, that node checks its devices.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn pci(&self, check: Option<&NodeName>) -> Result<Vec<PciMapping>> {
        self.all("pci", check).await
    }

    /// `GET /cluster/mapping/pci/{id}`, none when it is not there.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get_pci(&self, id: &str) -> Result<Option<PciMapping>> {
        let found: Option<PciMapping> = self.one("pci", id).await?;
        Ok(found.map(|mapping| PciMapping { id: id.to_owned(), ..mapping }))
    }

    /// `POST /cluster/mapping/pci`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn create_pci(
        &self,
        id: &str,
        map: &[&str],
        description: Option<&str>,
    ) -> Result<()> {
        self.make("pci", id, map, description).await
    }

    /// `PUT /cluster/mapping/pci/{id}`: its devices are these and no others.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn set_pci(&self, id: &str, map: &[&str]) -> Result<()> {
        self.set("pci", id, map).await
    }

    /// `DELETE /cluster/mapping/pci/{id}`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete_pci(&self, id: &str) -> Result<()> {
        self.delete("pci", id).await
    }

    /// `GET /cluster/mapping/usb`; with a node, that node checks its devices.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn usb(&self, check: Option<&NodeName>) -> Result<Vec<UsbMapping>> {
        self.all("usb", check).await
    }

    /// `GET /cluster/mapping/usb/{id}`, none when it is not there.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get_usb(&self, id: &str) -> Result<Option<UsbMapping>> {
        let found: Option<UsbMapping> = self.one("usb", id).await?;
        Ok(found.map(|mapping| UsbMapping { id: id.to_owned(), ..mapping }))
    }

    /// `POST /cluster/mapping/usb`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn create_usb(
        &self,
        id: &str,
        map: &[&str],
        description: Option<&str>,
    ) -> Result<()> {
        self.make("usb", id, map, description).await
    }

    /// `PUT /cluster/mapping/usb/{id}`: its devices are these and no others.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn set_usb(&self, id: &str, map: &[&str]) -> Result<()> {
        self.set("usb", id, map).await
    }

    /// `DELETE /cluster/mapping/usb/{id}`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete_usb(&self, id: &str) -> Result<()> {
        self.delete("usb", id).await
    }
}

fn own_path(class: &str, id: &str) -> String {
    format!("/cluster/mapping/{class}/{}", escape(id))
}
