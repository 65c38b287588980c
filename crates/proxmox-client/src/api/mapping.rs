//! Names for devices that several nodes have: `/cluster/mapping/pci` and `…/usb`.

use http::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::client::{Client, Parameters, escape};
use crate::error::Result;
use crate::id::NodeName;

/// A name for devices.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct DeviceMapping {
    /// The name.
    #[serde(default)]
    pub id: String,
    /// Devices: `node=pve01,path=0000:00:02.1,id=8086:4680,…` of PCI; `node=pve01,id=8087:0aaa,…`
    /// of USB, with `path=1-2` where a port is meant.
    #[serde(default)]
    pub map: Vec<String>,
    /// What is written on it.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub description: Option<String>,
    /// Of PCI: machines get mediated devices of it.
    #[serde(default, deserialize_with = "crate::loose::flag")]
    pub mdev: bool,
    /// Of PCI: a machine that runs can move with such a device.
    #[serde(default, rename = "live-migration-capable", deserialize_with = "crate::loose::flag")]
    pub live_migration: bool,
    /// Of the file that holds all names of the class: a change can be bound to it.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub digest: Option<String>,
    /// What the asked node finds wrong with it. Of USB the server calls them errors.
    #[serde(default, alias = "errors")]
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

impl DeviceMapping {
    /// The devices of a node: their PCI addresses, or the USB ports that are meant.
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

/// Names for devices of one class: PCI or USB.
#[derive(Debug, Clone, Copy)]
pub struct Mappings<'a> {
    client: &'a Client,
    base: &'static str,
}

impl Client {
    /// Names for PCI devices: `/cluster/mapping/pci`.
    pub fn pci_mappings(&self) -> Mappings<'_> {
        Mappings { client: self, base: "/cluster/mapping/pci" }
    }

    /// Names for USB devices: `/cluster/mapping/usb`.
    pub fn usb_mappings(&self) -> Mappings<'_> {
        Mappings { client: self, base: "/cluster/mapping/usb" }
    }
}

impl Mappings<'_> {
    fn path(&self, id: &str) -> String {
        format!("{}/{}", self.base, escape(id))
    }

    async fn write(&self, method: Method, path: &str, keys: &Parameters<'_>) -> Result<()> {
        self.client.call::<Option<Value>>(method, path, keys).await.map(drop)
    }

    /// `GET /cluster/mapping/{pci|usb}`; with a node, that node checks its devices.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn list(&self, check: Option<&NodeName>) -> Result<Vec<DeviceMapping>> {
        let key = check.map(|node| ("check-node", node.as_str()));
        self.client.get(self.base, key.as_slice()).await
    }

    /// `GET /cluster/mapping/{pci|usb}/{id}`, none when it is not there.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get(&self, id: &str) -> Result<Option<DeviceMapping>> {
        let found: Option<DeviceMapping> = self.client.find(&self.path(id), &[]).await?;
        Ok(found.map(|mapping| DeviceMapping { id: id.to_owned(), ..mapping }))
    }

    /// `POST /cluster/mapping/{pci|usb}`: a name for these devices.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn create(&self, id: &str, map: &[&str], description: Option<&str>) -> Result<()> {
        let text = description.map(|text| ("description", text));
        self.create_with(id, map, text.as_slice()).await
    }

    /// As [`Self::create`], with keys such as `description`, and `mdev` of PCI.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn create_with(&self, id: &str, map: &[&str], keys: &Parameters<'_>) -> Result<()> {
        let mut all = vec![("id", id)];
        all.extend(map.iter().map(|entry| ("map", *entry)));
        all.extend_from_slice(keys);
        self.write(Method::POST, self.base, &all).await
    }

    /// `PUT /cluster/mapping/{pci|usb}/{id}`: its devices are these and no others.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn set(&self, id: &str, map: &[&str]) -> Result<()> {
        self.update(id, map, &[]).await
    }

    /// As [`Self::set`], with keys such as `description`, `delete`, `digest`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn update(&self, id: &str, map: &[&str], keys: &Parameters<'_>) -> Result<()> {
        let mut all: Vec<_> = map.iter().map(|entry| ("map", *entry)).collect();
        all.extend_from_slice(keys);
        self.write(Method::PUT, &self.path(id), &all).await
    }

    /// `DELETE /cluster/mapping/{pci|usb}/{id}`; one that is not there is no error.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete(&self, id: &str) -> Result<()> {
        self.write(Method::DELETE, &self.path(id), &[]).await
    }
}
