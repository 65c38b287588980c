//! Virtual machines: desired and observed configuration, and the changes between them.
//!
//! Upstream: `POST /nodes/{node}/qemu`, `GET`/`POST /nodes/{node}/qemu/{vmid}/config`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::VmId;
use crate::wire::{Format, PropertyString, Scalar, Size, split_list};

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

/// What a change costs whoever uses the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Impact {
    /// It runs on.
    Live,
    /// It takes effect when the machine is stopped and started.
    StopStart,
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

    /// What it costs while the machine runs.
    pub fn impact(&self) -> Impact {
        match self {
            Self::Grow { .. } => Impact::Live,
            Self::Set { key, before, after } => impact_of(key, before.as_deref(), after),
            Self::Delete { key, .. } if is_hot(key) => Impact::Live,
            Self::Delete { .. } => Impact::StopStart,
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
}

impl VmDiff {
    /// It is as it should be.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.refused.is_empty() && self.waiting.is_empty()
    }

    /// The worst that any change costs.
    pub fn impact(&self) -> Option<Impact> {
        let waiting = (!self.waiting.is_empty()).then_some(Impact::StopStart);
        self.changes.iter().map(VmChange::impact).max().max(waiting)
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

/// What it takes to make an observed machine the desired one. The medium is left alone: what lies
/// in a drive is a matter of the machine's life, not of its description.
pub fn diff(desired: &VmDesired, observed: &VmObserved) -> VmDiff {
    let mut diff = VmDiff::default();
    for (key, wanted) in &desired.keys {
        let current = observed.config.get(key);
        if current == Some(wanted) {
            continue;
        }
        let after = keep_mac(key, wanted, current);
        if !current.is_some_and(|current| is_same(key, &after, current)) {
            diff.changes.push(VmChange::Set { key: key.clone(), before: current.cloned(), after });
        }
    }
    for key in &desired.absent {
        if let Some(before) = observed.config.get(key) {
            diff.changes.push(VmChange::Delete { key: key.clone(), before: before.clone() });
        }
    }
    let tags = observed.tags();
    if !desired.tags.is_subset(&tags) {
        let all: Vec<String> = tags.union(&desired.tags).cloned().collect();
        diff.changes.push(VmChange::Set {
            key: "tags".into(),
            before: observed.config.get("tags").cloned(),
            after: all.join(";"),
        });
    }
    if let Some(storage) = &desired.efi_storage
        && !observed.config.contains_key("efidisk0")
    {
        diff.changes.push(VmChange::Set {
            key: "efidisk0".into(),
            before: None,
            after: format!("{storage}:1,efitype=4m,pre-enrolled-keys=0"),
        });
    }
    if let Some((key, storage)) = &desired.cloud_init
        && observed.medium(key).is_none()
    {
        let before = observed.config.get(key).cloned();
        let after = format!("{storage}:cloudinit");
        diff.changes.push(VmChange::Set { key: key.clone(), before, after });
    }
    for disk in &desired.disks {
        disk_diff(disk, observed, &mut diff);
    }
    if observed.running {
        let is_ours = |key: &&String| {
            desired.keys.contains_key(*key)
                || desired.absent.contains(*key)
                || desired.disks.iter().any(|disk| disk.key == **key)
        };
        let waits = observed.pending.iter().filter(is_ours);
        let changes = |key: &&String| diff.changes.iter().any(|change| change.key() == **key);
        diff.waiting = waits.filter(|key| !changes(key)).cloned().collect();
    }
    diff
}

fn disk_diff(disk: &Disk, observed: &VmObserved, diff: &mut VmDiff) {
    let key = &disk.key;
    let Some(text) = observed.config.get(key) else {
        let set = VmChange::Set { key: key.clone(), before: None, after: disk.allocation() };
        diff.changes.push(set);
        return;
    };
    let parsed = Format::of_key(key).and_then(|format| PropertyString::parse(format, text).ok());
    let Some(parsed) = parsed else {
        diff.refused.push(format!("{key}: {text:?} is not understood"));
        return;
    };
    let volume = parsed.get("file").map(ToString::to_string).unwrap_or_default();
    let storage = volume.split(':').next().unwrap_or_default();
    if storage != disk.storage {
        diff.refused.push(format!(
            "{key} lies on storage {storage}, not on {}: move it (qm disk move) or change the tree",
            disk.storage
        ));
    }
    if let Some(Scalar::Size(size)) = parsed.get("size") {
        size_diff(disk, *size, diff);
    }
    let differs = disk.options.iter().any(|(name, value)| {
        let current = parsed.get(name).map(ToString::to_string);
        current.as_deref() != Some(value.as_str())
            && current.as_deref() != Some(scalar_text(key, name, value).as_str())
    });
    if differs {
        // What the tree does not know of the drive stays as it is.
        let mut parts = vec![volume];
        let kept = parsed.values().filter(|(name, _)| {
            !matches!(*name, "file" | "size") && !disk.options.contains_key(*name)
        });
        parts.extend(kept.map(|(name, value)| format!("{name}={value}")));
        parts.extend(disk.options.iter().map(|(name, value)| format!("{name}={value}")));
        diff.changes.push(VmChange::Set {
            key: key.clone(),
            before: Some(text.clone()),
            after: parts.join(","),
        });
    }
}

fn size_diff(disk: &Disk, size: Size, diff: &mut VmDiff) {
    let wanted = u64::from(disk.size_gib) << 30;
    let gib = |bytes: u64| bytes >> 30;
    if size.bytes() < wanted {
        diff.changes.push(VmChange::Grow {
            key: disk.key.clone(),
            before_gib: gib(size.bytes()),
            after_gib: gib(wanted),
        });
    } else if size.bytes() > wanted {
        diff.refused.push(format!(
            "{} has {} GiB and cannot shrink to {} GiB: set its size in the tree to what it is, or replace the machine",
            disk.key,
            gib(size.bytes()),
            disk.size_gib
        ));
    }
}

/// An option's value in the form that a parsed property string has it.
fn scalar_text(key: &str, name: &str, value: &str) -> String {
    let parsed = Format::of_key(key)
        .and_then(|format| PropertyString::parse(format, &format!("x:1,{name}={value}")).ok());
    let found = parsed.as_ref().and_then(|parsed| parsed.get(name)).map(ToString::to_string);
    found.unwrap_or_else(|| value.to_owned())
}

/// Whether two texts of a key mean the same.
fn is_same(key: &str, one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    if let Some(format) = Format::of_key(key) {
        let parse = |text: &str| PropertyString::parse(format, text).ok();
        return match (parse(one), parse(other)) {
            (Some(one), Some(other)) => canonical(&one) == canonical(&other),
            _ => false,
        };
    }
    match key {
        "nameserver" | "searchdomain" => split_list(one) == split_list(other),
        "tags" | "hotplug" => set(one) == set(other),
        "description" => one.trim_end() == other.trim_end(),
        _ => false,
    }
}

/// The values of a property string, those that only say the default left out, MAC addresses and
/// addresses in one case.
fn canonical(parsed: &PropertyString) -> BTreeMap<&'static str, String> {
    parsed
        .values()
        .map(|(key, value)| (key, value.to_string()))
        .filter(|(key, value)| {
            !matches!(
                (*key, value.as_str()),
                ("firewall" | "link_down" | "x-vga" | "pcie", "0")
                    | ("rombar" | "backup" | "replicate", "1")
            )
        })
        .map(|(key, value)| match key {
            "macaddr" => (key, value.to_ascii_uppercase()),
            "ip6" | "gw6" | "uuid" => (key, value.to_ascii_lowercase()),
            _ => (key, value),
        })
        .collect()
}

fn set(text: &str) -> BTreeSet<String> {
    split_list(text).into_iter().collect()
}

/// A network card keeps the MAC address it has when the tree names none.
fn keep_mac(key: &str, wanted: &str, current: Option<&String>) -> String {
    if Format::of_key(key) != Some(Format::Net) {
        return wanted.to_owned();
    }
    let mac = |text: &str| {
        let parsed = PropertyString::parse(Format::Net, text).ok()?;
        Some(parsed.get("macaddr").map(ToString::to_string))
    };
    match (mac(wanted), current.and_then(|current| mac(current)).flatten()) {
        (Some(None), Some(mac)) => format!("{wanted},macaddr={mac}"),
        _ => wanted.to_owned(),
    }
}

/// Keys that take effect on a running machine.
fn is_hot(key: &str) -> bool {
    let name = key.trim_end_matches(|c: char| c.is_ascii_digit());
    matches!(
        name,
        "name"
            | "description"
            | "onboot"
            | "protection"
            | "startup"
            | "tags"
            | "ipconfig"
            | "nameserver"
            | "searchdomain"
            | "ciuser"
            | "cipassword"
            | "citype"
            | "ciupgrade"
            | "sshkeys"
            | "cpulimit"
            | "cpuunits"
            | "net"
            | "usb"
            | "balloon"
    )
}

fn impact_of(key: &str, before: Option<&str>, after: &str) -> Impact {
    if is_hot(key) {
        return Impact::Live;
    }
    match Format::of_key(key) {
        // A new disk is plugged in; another medium in a drive too.
        Some(Format::Scsi | Format::Virtio) if before.is_none() => Impact::Live,
        Some(Format::Ide | Format::Sata | Format::Scsi) if after.contains("media=cdrom") => {
            Impact::Live
        }
        _ => Impact::StopStart,
    }
}

#[cfg(test)]
mod tests;
