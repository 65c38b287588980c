//! Virtual machines: desired and observed configuration, and the changes between them.
//!
//! Upstream: `POST /nodes/{node}/qemu`, `GET`/`POST /nodes/{node}/qemu/{vmid}/config`.

mod diff;
mod impact;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

pub use diff::diff;
pub use impact::{Hotplug, Impact};

use crate::id::VmId;
use crate::wire::{Format, PropertyString, split_list};

/// A disk that is made with the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Where it is attached, such as `scsi0`.
    pub key: String,
    /// The storage that holds it.
    pub storage: String,
    /// Its size in GiB.
    pub size_gib: u32,
    /// Further options of the drive, such as `discard=on`.
    pub options: BTreeMap<String, String>,
}

/// A virtual machine as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmDesired {
    /// Its number.
    pub vmid: VmId,
    /// The node that it is made on. A machine that lives elsewhere by now stays there.
    pub node: String,
    /// SMBIOS UUID, lower case with dashes: what tells the machine apart.
    pub uuid: String,
    /// Tags that it must carry. Others that it has stay.
    pub tags: BTreeSet<String>,
    /// Keys that are plain values or property strings, but for disks: `name`, `cores`, `net0`,
    /// `hostpci0`, `ide2` …
    pub keys: BTreeMap<String, String>,
    /// Keys that it must not have.
    pub absent: BTreeSet<String>,
    /// Its disks.
    pub disks: Vec<Disk>,
    /// The storage of the EFI variables; none for SeaBIOS.
    pub efi_storage: Option<String>,
    /// The storage of the cloud-init drive and where it is attached.
    pub cloud_init: Option<(String, String)>,
    /// The medium in a drive when the machine is made: key and volume id.
    pub medium: Option<(String, String)>,
}

/// A virtual machine as it is: `GET …/config`, values as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmObserved {
    /// Its number.
    pub vmid: VmId,
    /// The node that it is on.
    pub node: String,
    /// Whether it runs.
    pub running: bool,
    /// The lock that its configuration holds, such as `create` or `backup`.
    pub lock: Option<String>,
    /// Its configuration, pending changes included.
    pub config: BTreeMap<String, String>,
    /// Keys whose change waits for a full stop and start.
    pub pending: BTreeSet<String>,
}

/// One change of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum VmChange {
    /// A key gets another value.
    Set {
        /// Which.
        key: String,
        /// What it was, if it was there.
        before: Option<String>,
        /// What it will be.
        after: String,
    },
    /// A key is removed.
    Delete {
        /// Which.
        key: String,
        /// What it was.
        before: String,
    },
    /// A disk grows.
    Grow {
        /// Which.
        key: String,
        /// Its size in GiB before.
        before_gib: u64,
        /// Its size in GiB after.
        after_gib: u64,
    },
}

impl VmChange {
    /// The key that changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Set { key, .. } | Self::Delete { key, .. } | Self::Grow { key, .. } => key,
        }
    }

    /// What it costs while the machine runs, where it says nothing of its `hotplug`.
    pub fn impact(&self) -> Impact {
        self.impact_with(&Hotplug::default())
    }

    /// What it costs while a machine with this `hotplug` runs.
    pub fn impact_with(&self, hotplug: &Hotplug) -> Impact {
        match self {
            Self::Grow { .. } => Impact::Live,
            Self::Set { key, before, after } => hotplug.impact(key, before.as_deref(), Some(after)),
            Self::Delete { key, before } => hotplug.impact(key, Some(before), None),
        }
    }
}

impl fmt::Display for VmChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { key, before: Some(before), after } => {
                write!(f, "{key}: {before} -> {after}")
            }
            Self::Set { key, before: None, after } => write!(f, "{key}: (unset) -> {after}"),
            Self::Delete { key, before } => write!(f, "{key}: {before} -> (unset)"),
            Self::Grow { key, before_gib, after_gib } => {
                write!(f, "{key}: {before_gib} GiB -> {after_gib} GiB")
            }
        }
    }
}

/// What stands between a machine as it is and as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmDiff {
    /// Changes that can be made.
    pub changes: Vec<VmChange>,
    /// Changes that cannot be made to a machine that exists, and why.
    pub refused: Vec<String>,
    /// Keys of the description that are as they should be from the next full stop and start on:
    /// the machine runs and was not restarted since they were set.
    #[serde(default)]
    pub waiting: Vec<String>,
    /// What of the machine changes while it runs.
    #[serde(default)]
    pub hotplug: Hotplug,
}

impl VmDiff {
    /// It is as it should be.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.refused.is_empty() && self.waiting.is_empty()
    }

    /// The worst that any change costs.
    pub fn impact(&self) -> Option<Impact> {
        let waiting = (!self.waiting.is_empty()).then_some(Impact::StopStart);
        let impacts = self.changes.iter().map(|change| change.impact_with(&self.hotplug));
        impacts.max().max(waiting)
    }
}

/// Why a machine under a wanted number is not the wanted one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    /// What differs, for people.
    pub reason: String,
}

impl VmDesired {
    /// The parameters that make it, stopped: for `POST /nodes/{node}/qemu`, without `vmid`.
    pub fn create_params(&self) -> Vec<(String, String)> {
        let mut keys = self.keys.clone();
        let tags: Vec<&str> = self.tags.iter().map(String::as_str).collect();
        if !tags.is_empty() {
            keys.insert("tags".into(), tags.join(";"));
        }
        keys.insert("smbios1".into(), format!("uuid={}", self.uuid));
        if let Some(storage) = &self.efi_storage {
            let text = format!("{storage}:1,efitype=4m,pre-enrolled-keys=0");
            keys.insert("efidisk0".into(), text);
        }
        if let Some((key, storage)) = &self.cloud_init {
            keys.insert(key.clone(), format!("{storage}:cloudinit"));
        }
        if let Some((key, volume)) = &self.medium {
            keys.insert(key.clone(), format!("{volume},media=cdrom"));
        }
        for disk in &self.disks {
            keys.insert(disk.key.clone(), disk.allocation());
        }
        keys.into_iter().collect()
    }

    /// Whether an observed machine is the one that was made for this; the reason if it is not.
    /// It is when its UUID is the wanted one and it carries all wanted tags.
    pub fn owns(&self, observed: &VmObserved) -> Result<(), Foreign> {
        let uuid = observed.uuid();
        let name = observed.config.get("name").map_or("without a name", String::as_str);
        if uuid.as_deref() != Some(self.uuid.as_str()) {
            let has = uuid.unwrap_or_else(|| "none".to_owned());
            let reason = format!("VM {} ({name}) has another UUID: {has}", self.vmid);
            return Err(Foreign { reason });
        }
        let tags = observed.tags();
        let missing: Vec<&str> =
            self.tags.iter().filter(|tag| !tags.contains(*tag)).map(String::as_str).collect();
        if !missing.is_empty() {
            let reason =
                format!("VM {} ({name}) lacks the tag {}", self.vmid, missing.join(" and "));
            return Err(Foreign { reason });
        }
        Ok(())
    }
}

impl Disk {
    /// The text that makes it: `STORAGE:GIB,option=value`.
    pub fn allocation(&self) -> String {
        let options = self.options.iter().map(|(key, value)| format!(",{key}={value}"));
        format!("{}:{}{}", self.storage, self.size_gib, options.collect::<String>())
    }
}

impl VmObserved {
    /// Its SMBIOS UUID, lower case.
    pub fn uuid(&self) -> Option<String> {
        let text = self.config.get("smbios1")?;
        let parsed = PropertyString::parse(Format::Smbios1, text).ok()?;
        Some(parsed.get("uuid")?.to_string().to_ascii_lowercase())
    }

    /// Its tags.
    pub fn tags(&self) -> BTreeSet<String> {
        self.config
            .get("tags")
            .map(|text| split_list(text).into_iter().collect())
            .unwrap_or_default()
    }

    /// The volume in a drive: `None` for an empty or absent one.
    pub fn medium(&self, key: &str) -> Option<String> {
        let text = self.config.get(key)?;
        let volume = text.split(',').next().unwrap_or_default();
        let volume = volume.strip_prefix("file=").unwrap_or(volume);
        (volume != "none" && !volume.is_empty()).then(|| volume.to_owned())
    }
}

#[cfg(test)]
mod tests;
