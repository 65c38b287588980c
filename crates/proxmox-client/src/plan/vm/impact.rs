//! What a change costs whoever uses the machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::wire::{Format, PropertyString, split_list};

/// What a change costs whoever uses the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Impact {
    /// It runs on.
    Live,
    /// It takes effect when the machine is stopped and started.
    StopStart,
}

/// What of a machine changes while it runs: its key `hotplug`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a feature of its own")]
pub struct Hotplug {
    /// Network cards.
    pub network: bool,
    /// Disks.
    pub disk: bool,
    /// USB devices.
    pub usb: bool,
    /// Processors: `vcpus`, not cores and sockets.
    pub cpu: bool,
    /// Memory; it takes `numa` too.
    pub memory: bool,
}

impl Default for Hotplug {
    /// As of a machine that says nothing of it.
    fn default() -> Self {
        Self { network: true, disk: true, usb: true, cpu: false, memory: false }
    }
}

impl Hotplug {
    /// As a machine is configured.
    pub fn of(config: &BTreeMap<String, String>) -> Self {
        let features = match config.get("hotplug").map(|text| text.trim()) {
            None | Some("1") => return Self::default(),
            Some(text) => split_list(text),
        };
        let has = |feature: &str| features.iter().any(|one| one == feature);
        let numa = config.get("numa").is_some_and(|flag| flag == "1");
        Self {
            network: has("network"),
            disk: has("disk"),
            usb: has("usb"),
            cpu: has("cpu"),
            memory: has("memory") && numa,
        }
    }

    /// What it costs to give a key another value, or none.
    pub(super) fn impact(&self, key: &str, before: Option<&str>, after: Option<&str>) -> Impact {
        if self.is_live(key, before, after) { Impact::Live } else { Impact::StopStart }
    }

    fn is_live(&self, key: &str, before: Option<&str>, after: Option<&str>) -> bool {
        match key.trim_end_matches(|c: char| c.is_ascii_digit()) {
            "name" | "description" | "onboot" | "protection" | "startup" | "tags" | "ipconfig"
            | "nameserver" | "searchdomain" | "ciuser" | "cipassword" | "citype" | "ciupgrade"
            | "sshkeys" | "cpulimit" | "cpuunits" => return true,
            "net" => return self.network,
            "usb" => return self.usb,
            "vcpus" => return self.cpu,
            "memory" => return self.memory,
            // Its device comes and goes with a restart; how large it is does not.
            "balloon" => return (before == Some("0")) == (after == Some("0")),
            _ => {}
        }
        let Some(after) = after else { return false };
        match Format::of_key(key) {
            // A new disk is plugged in; another medium in a drive too.
            Some(Format::Scsi | Format::Virtio) if before.is_none() => self.disk,
            Some(Format::Ide | Format::Sata | Format::Scsi) if after.contains("media=cdrom") => {
                true
            }
            Some(format @ (Format::Ide | Format::Sata | Format::Scsi | Format::Virtio)) => {
                before.is_some_and(|before| same_drive(format, before, after))
            }
            _ => false,
        }
    }
}

/// Options of a drive that change at once: its limits, and what only the server makes use of. All
/// others are those of a device which QEMU makes when the drive is plugged in. Some of them, such as
/// `wwn` and `serial`, the server writes down at once: the guest sees the old ones all the same.
fn is_live_option(key: &str) -> bool {
    let is_limit = matches!(key.split('_').next(), Some("bps" | "iops" | "mbps"));
    is_limit || matches!(key, "backup" | "replicate" | "shared" | "size")
}

/// Whether it is the same drive of the same kind.
fn same_drive(format: Format, before: &str, after: &str) -> bool {
    let fixed = |text: &str| {
        let drive = PropertyString::parse(format, text).ok()?;
        let options = drive.values().filter(|(key, _)| !is_live_option(key));
        Some(options.map(|(key, value)| (key, value.to_string())).collect::<BTreeMap<_, _>>())
    };
    fixed(before).is_some_and(|before| fixed(after) == Some(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_change_costs_depends_on_the_machine() {
        let of = |keys: &[(&str, &str)]| {
            let keys = keys.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
            Hotplug::of(&keys.collect())
        };
        let (unset, off) = (of(&[]), of(&[("hotplug", "0")]));
        let all = of(&[("hotplug", "network,disk,usb,cpu,memory"), ("numa", "1")]);
        let no_numa = of(&[("hotplug", "cpu,memory")]);
        assert_eq!((&unset, &of(&[("hotplug", "1")])), (&Hotplug::default(), &Hotplug::default()));
        for (hotplug, key, before, after, live) in [
            (&unset, "net0", Some("virtio"), Some("virtio,tag=7"), true),
            (&off, "net0", Some("virtio"), Some("virtio,tag=7"), false),
            (&unset, "net1", Some("virtio"), None, true),
            (&unset, "scsi1", None, Some("rbd:8"), true),
            (&off, "scsi1", None, Some("rbd:8"), false),
            (&unset, "scsi1", Some("rbd:x"), Some("rbd:x,ssd=1"), false),
            (&off, "scsi1", Some("rbd:x,ssd=1"), Some("rbd:x,ssd=1,mbps_rd=10"), true),
            (&off, "scsi1", Some("rbd:x,size=1G"), Some("rbd:x,iops_rd_max_length=2"), true),
            (&off, "scsi1", Some("rbd:x,backup=0"), Some("rbd:x,replicate=0,shared=1"), true),
            (&unset, "scsi1", Some("rbd:x"), Some("rbd:x,wwn=0x0123456789abcdef"), false),
            (&unset, "scsi1", Some("rbd:x,serial=a-0"), Some("rbd:x,serial=a-1"), false),
            (&unset, "sata1", Some("rbd:x,detect_zeroes=0"), Some("rbd:x"), false),
            (&unset, "virtio1", Some("rbd:x"), Some("rbd:x,werror=stop"), false),
            (&off, "virtio1", Some("rbd:x"), Some("rbd:y"), false),
            (&off, "ide0", Some("none,media=cdrom"), Some("iso:iso/t.iso,media=cdrom"), true),
            (&off, "usb0", None, Some("mapping=zigbee"), false),
            (&unset, "memory", Some("1024"), Some("2048"), false),
            (&no_numa, "memory", Some("1024"), Some("2048"), false),
            (&all, "memory", Some("1024"), Some("2048"), true),
            (&no_numa, "vcpus", Some("1"), Some("2"), true),
            (&all, "cores", Some("1"), Some("2"), false),
            (&unset, "balloon", Some("512"), Some("1024"), true),
            (&unset, "balloon", Some("0"), Some("1024"), false),
            (&unset, "balloon", None, Some("0"), false),
            (&off, "name", Some("a"), Some("b"), true),
        ] {
            let told = hotplug.impact(key, before, after) == Impact::Live;
            assert_eq!(told, live, "{key}: {before:?} -> {after:?} with {hotplug:?}");
        }
    }
}
