//! Disks of a node.

use std::time::Duration;

use serde::Deserialize;

use super::kinds;
use super::resource::Resource;
use crate::client::{Client, call};
use crate::error::Error;
use crate::proto::storage::{self, block_device_wipe_descriptor::Method};

/// A disk of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Disk {
    /// Name, such as `sda`.
    #[serde(skip)]
    pub name: String,
    /// Device, such as `/dev/sda`.
    pub dev_path: String,
    /// Size in bytes.
    pub size: u64,
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// World-wide identity.
    pub wwid: String,
    /// UUID of an NVMe disk.
    pub uuid: String,
    /// Where it is attached.
    pub bus_path: String,
    /// How it is attached, such as `virtio`, `sata`, `nvme`.
    pub transport: String,
    /// What the kernel calls its kind.
    pub modalias: String,
    /// Other names of the device.
    pub symlinks: Vec<String>,
    /// It turns.
    pub rotational: bool,
    /// It cannot be written.
    pub readonly: bool,
    /// It is a drive for discs.
    pub cdrom: bool,
    /// Size of a sector.
    pub sector_size: u64,
    /// Talos is installed on it.
    #[serde(skip)]
    pub system: bool,
}

impl Disk {
    /// Talos could be installed on it: it can be written, is not empty, and is no loop device.
    pub fn is_usable(&self) -> bool {
        !self.readonly && !self.cdrom && self.size > 0 && self.bus_path != "/virtual"
    }

    fn from_resource(resource: &Resource, system: Option<&str>) -> Result<Self, Error> {
        let mut disk: Self = resource.typed()?;
        disk.name.clone_from(&resource.id);
        disk.system = system == Some(resource.id.as_str());
        Ok(disk)
    }
}

/// How to wipe a block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wipe {
    /// Begin and end of the device and the marks of file systems.
    #[default]
    Fast,
    /// Zeros all over.
    Zeroes,
}

/// What to wipe, and in spite of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WipeOptions {
    /// How.
    pub method: Wipe,
    /// Volumes that Talos uses are wiped too. Dangerous.
    pub used_by_volumes: bool,
    /// The device is a partition, and is taken out of its table.
    pub drop_partition: bool,
}

impl WipeOptions {
    /// How.
    #[must_use]
    pub fn method(mut self, method: Wipe) -> Self {
        self.method = method;
        self
    }

    /// Volumes that Talos uses are wiped too. Dangerous.
    #[must_use]
    pub fn used_by_volumes(mut self) -> Self {
        self.used_by_volumes = true;
        self
    }

    /// The device is a partition, and is taken out of its table.
    #[must_use]
    pub fn drop_partition(mut self) -> Self {
        self.drop_partition = true;
        self
    }
}

impl Client {
    /// The disks of the node, in maintenance mode too, ordered by name.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn disks(&self) -> Result<Vec<Disk>, Error> {
        let (namespace, kind) = kinds::DISK;
        let resources = self.list(namespace, kind).await?;
        let (namespace, kind) = kinds::SYSTEM_DISK;
        let system = self.find(namespace, kind, "system-disk").await?;
        let system = system.as_ref().and_then(|resource| resource.text("/diskID"));
        let disks: Result<Vec<Disk>, Error> =
            resources.iter().map(|resource| Disk::from_resource(resource, system)).collect();
        let mut disks = disks.map_err(|error| error.at(self.address()))?;
        disks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(disks)
    }

    /// Wipes block devices, named with or without `/dev/`. Nodes refuse devices that are in use.
    ///
    /// # Errors
    /// See [`Error`]. An empty list is refused here: a node would take it.
    pub async fn wipe(&self, devices: &[&str], method: Wipe) -> Result<(), Error> {
        self.wipe_with(devices, WipeOptions { method, ..WipeOptions::default() }).await
    }

    /// The same with more to say.
    ///
    /// # Errors
    /// As for [`Client::wipe`].
    pub async fn wipe_with(&self, devices: &[&str], options: WipeOptions) -> Result<(), Error> {
        if devices.is_empty() || devices.iter().any(|device| bare(device).is_empty()) {
            return Err(self.refused(&call::WIPE, "no device is named: nothing would be wiped"));
        }
        let method = match options.method {
            Wipe::Fast => Method::Fast,
            Wipe::Zeroes => Method::Zeroes,
        };
        let devices = devices.iter().map(|device| storage::BlockDeviceWipeDescriptor {
            device: bare(device).to_owned(),
            method: method.into(),
            skip_volume_check: options.used_by_volumes,
            drop_partition: options.drop_partition,
            ..Default::default()
        });
        let request = storage::BlockDeviceWipeRequest { devices: devices.collect() };
        // Zeros all over a disk take as long as the disk does.
        let limit = match options.method {
            Wipe::Fast => self.timeouts().long,
            Wipe::Zeroes => self.timeouts().long.max(ZEROES),
        };
        self.ask_within::<_, storage::BlockDeviceWipeResponse>(&call::WIPE, request, limit).await?;
        Ok(())
    }
}

/// How long zeros all over may take.
const ZEROES: Duration = Duration::from_hours(12);

/// A device's name as nodes take it.
fn bare(device: &str) -> &str {
    device.strip_prefix("/dev/").unwrap_or(device)
}
