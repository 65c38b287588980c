//! Names for devices of nodes: what they stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// A name as it should be, or as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingState {
    /// The name.
    pub id: String,
    /// Devices, as property strings: `node=pve01,path=0000:00:02.1,id=8086:4680`.
    pub map: BTreeSet<String>,
    /// What is written on it.
    pub description: String,
    /// Of PCI: machines get mediated devices of it. Where none, it stays as it is.
    #[serde(default)]
    pub mdev: Option<bool>,
    /// Of PCI: a machine that runs can move with such a device. Where none, it stays as it is.
    #[serde(default)]
    pub live_migration: Option<bool>,
}

impl MappingState {
    /// Flags that are told, by the server's names.
    pub(crate) fn flags(&self) -> BTreeMap<&'static str, bool> {
        let all = [("mdev", self.mdev), ("live-migration-capable", self.live_migration)];
        all.into_iter().filter_map(|(key, flag)| Some((key, flag?))).collect()
    }
}

/// What it takes: one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum MappingChange {
    /// The name is made.
    Create {
        /// As it will be.
        mapping: MappingState,
    },
    /// It stands for other devices: the server replaces all of them at once.
    Set {
        /// As it will be.
        mapping: MappingState,
        /// Devices that are new in it.
        added: BTreeSet<String>,
        /// Devices that are no longer in it. A machine that uses the name gets none of them at its
        /// next start.
        removed: BTreeSet<String>,
        /// Flags that change, with their new values.
        #[serde(default)]
        flags: BTreeMap<String, bool>,
    },
}

impl fmt::Display for MappingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { mapping } => {
                write!(f, "create mapping {} of {} devices", mapping.id, mapping.map.len())
            }
            Self::Set { mapping, added, removed, flags } => {
                write!(f, "mapping {}:", mapping.id)?;
                for (sign, entries) in [('+', added), ('-', removed)] {
                    for entry in entries {
                        write!(f, " {sign}{entry}")?;
                    }
                }
                for (key, flag) in flags {
                    write!(f, " {key}={}", u8::from(*flag))?;
                }
                if added.is_empty() && removed.is_empty() && flags.is_empty() {
                    write!(f, " {:?}", mapping.description)?;
                }
                Ok(())
            }
        }
    }
}

/// The one spelling of a device: keys in their order, hexadecimal numbers bare and in lower case.
fn normal(entry: &str) -> BTreeMap<&str, String> {
    let parts = entry.split(',').filter_map(|part| part.split_once('='));
    let value = |key: &str, value: &str| match key {
        "id" | "subsystem-id" => value.to_ascii_lowercase().replace("0x", ""),
        _ => value.to_owned(),
    };
    parts.map(|(key, text)| (key, value(key, text))).collect()
}

/// What it takes to have a name stand for these devices and no others. None where it does.
pub fn diff(desired: &MappingState, observed: Option<&MappingState>) -> Option<MappingChange> {
    let mapping = desired.clone();
    let Some(now) = observed else { return Some(MappingChange::Create { mapping }) };
    let missing = |from: &MappingState, other: &MappingState| -> BTreeSet<String> {
        let there: BTreeSet<_> = other.map.iter().map(|entry| normal(entry)).collect();
        from.map.iter().filter(|entry| !there.contains(&normal(entry))).cloned().collect()
    };
    let (added, removed) = (missing(desired, now), missing(now, desired));
    let there = now.flags();
    let flags: BTreeMap<String, bool> = desired
        .flags()
        .into_iter()
        .filter(|(key, flag)| there.get(key).copied().unwrap_or(false) != *flag)
        .map(|(key, flag)| (key.to_owned(), flag))
        .collect();
    let same_text = now.description.trim_end() == desired.description.trim_end();
    let same = added.is_empty() && removed.is_empty() && flags.is_empty() && same_text;
    (!same).then_some(MappingChange::Set { mapping, added, removed, flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(entries: &[&str]) -> MappingState {
        let map = entries.iter().map(|entry| (*entry).to_owned()).collect();
        MappingState { id: "gpu".into(), map, ..MappingState::default() }
    }

    #[test]
    fn flags_that_are_not_told_stay() {
        let plain = mapping(&["node=a,path=0000:00:02.0,id=8086:4680"]);
        let shared = MappingState { mdev: Some(true), ..plain.clone() };
        assert_eq!(diff(&plain, Some(&shared)), None);
        let off = MappingState { mdev: Some(false), live_migration: Some(true), ..plain.clone() };
        let change = diff(&off, Some(&shared)).unwrap();
        assert_eq!(change.to_string(), "mapping gpu: live-migration-capable=1 mdev=0");
        // what is not set is off
        assert_eq!(diff(&MappingState { mdev: Some(false), ..plain.clone() }, Some(&plain)), None);
    }

    #[test]
    fn devices_are_compared_by_what_they_are() {
        let wanted =
            mapping(&["node=a,path=0000:00:02.0,id=0x8086:0x4680", "node=b,id=1:2,path=x"]);
        let told = mapping(&["id=8086:4680,node=a,path=0000:00:02.0", "node=b,path=x,id=1:2"]);
        assert_eq!(diff(&wanted, Some(&told)), None);
        assert!(matches!(diff(&wanted, None), Some(MappingChange::Create { .. })));
        let other = mapping(&["node=b,path=x,id=1:2", "node=c,path=y,id=3:4"]);
        let change = diff(&wanted, Some(&other)).unwrap();
        assert_eq!(
            change.to_string(),
            "mapping gpu: +node=a,path=0000:00:02.0,id=0x8086:0x4680 -node=c,path=y,id=3:4"
        );
    }
}
