//! The changes between a machine as it is and as it should be.

use std::collections::{BTreeMap, BTreeSet};

use super::{Disk, Hotplug, VmChange, VmDesired, VmDiff, VmObserved};
use crate::wire::{Format, PropertyString, Scalar, Size, split_list};

/// What it takes to make an observed machine the desired one. The medium is left alone: what lies
/// in a drive is a matter of the machine's life, not of its description.
pub fn diff(desired: &VmDesired, observed: &VmObserved) -> VmDiff {
    let mut diff = VmDiff { hotplug: Hotplug::of(&observed.config), ..VmDiff::default() };
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
