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
    /// USB devices; it takes an `ostype` whose drivers can: Linux, or Windows from 8 on.
    pub usb: bool,
    /// Processors: `vcpus`, not cores and sockets.
    pub cpu: bool,
    /// Memory; it takes `numa` too.
    pub memory: bool,
}

impl Default for Hotplug {
    /// As of a Linux machine that says nothing of it.
    fn default() -> Self {
        Self { network: true, disk: true, usb: true, cpu: false, memory: false }
    }
}

impl Hotplug {
    /// As a machine is configured.
    pub fn of(config: &BTreeMap<String, String>) -> Self {
        let get = |key: &str| config.get(key).map(|text| text.trim());
        let mut found = match get("hotplug") {
            None | Some("1") => Self::default(),
            Some(text) => {
                let features = split_list(text);
                let has = |feature: &str| features.iter().any(|one| one == feature);
                Self {
                    network: has("network"),
                    disk: has("disk"),
                    usb: has("usb"),
                    cpu: has("cpu"),
                    memory: has("memory"),
                }
            }
        };
        found.usb &= matches!(get("ostype"), Some("l26" | "win8" | "win10" | "win11"));
        found.memory &= get("numa") == Some("1");
        found
    }

    /// What it costs to give a key another value, or none.
    pub(super) fn impact(&self, key: &str, before: Option<&str>, after: Option<&str>) -> Impact {
        if self.is_live(key, before, after) { Impact::Live } else { Impact::StopStart }
    }

    fn is_live(&self, key: &str, before: Option<&str>, after: Option<&str>) -> bool {
        match key.trim_end_matches(|c: char| c.is_ascii_digit()) {
            "name" | "description" | "onboot" | "protection" | "startup" | "tags" | "shares"
            | "hookscript" | "vmstatestorage" | "migrate_downtime" | "migrate_speed"
            | "ipconfig" | "nameserver" | "searchdomain" | "ciuser" | "cipassword" | "citype"
            | "cicustom" | "ciupgrade" | "sshkeys" | "cpulimit" | "cpuunits" => return true,
            // Memory and processors are only plugged into a machine that was started for it.
            "hotplug" => return ![before, after].into_iter().flatten().any(needs_a_start),
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
            // A new drive is plugged in, where its bus can do that.
            Some(Format::Scsi | Format::Virtio) if before.is_none() => self.disk,
            Some(format @ (Format::Ide | Format::Sata | Format::Scsi | Format::Virtio)) => {
                before.is_some_and(|before| {
                    // A CD drive that is there takes another medium; no disk becomes one.
                    (is_cd(before) && is_cd(after)) || same_drive(format, before, after)
                })
            }
            _ => false,
        }
    }
}

/// Whether these features of `hotplug` have some among them that a machine is started with.
fn needs_a_start(features: &str) -> bool {
    split_list(features).iter().any(|one| one == "memory" || one == "cpu")
}

/// Whether a drive is one for media that come and go.
fn is_cd(drive: &str) -> bool {
    drive.split(',').any(|option| option.trim() == "media=cdrom")
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
        let linux = ("ostype", "l26");
        let (unset, off) = (of(&[linux]), of(&[linux, ("hotplug", "0")]));
        let all = of(&[linux, ("hotplug", "network,disk,usb,cpu,memory"), ("numa", "1")]);
        let no_numa = of(&[("hotplug", "cpu,memory")]);
        assert_eq!(unset, Hotplug::default());
        assert_eq!(of(&[linux, ("hotplug", "1")]), Hotplug::default());
        let (other, old) = (of(&[]), of(&[("ostype", "win7"), ("hotplug", "usb")]));
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
            (&unset, "ide2", None, Some("none,media=cdrom"), false),
            (&all, "sata0", None, Some("iso:iso/t.iso,media=cdrom"), false),
            (&unset, "scsi2", None, Some("iso:iso/t.iso,media=cdrom"), true),
            (&off, "scsi2", None, Some("iso:iso/t.iso,media=cdrom"), false),
            (&all, "sata0", Some("rbd:x"), Some("iso:iso/t.iso,media=cdrom"), false),
            (&all, "sata0", Some("iso:iso/t.iso,media=cdrom"), Some("rbd:x"), false),
            (&off, "usb0", None, Some("mapping=zigbee"), false),
            (&unset, "usb0", None, Some("mapping=zigbee"), true),
            (&other, "usb0", None, Some("mapping=zigbee"), false),
            (&old, "usb0", None, Some("mapping=zigbee"), false),
            (&other, "net1", Some("virtio"), None, true),
            (&unset, "memory", Some("1024"), Some("2048"), false),
            (&no_numa, "memory", Some("1024"), Some("2048"), false),
            (&all, "memory", Some("1024"), Some("2048"), true),
            (&no_numa, "vcpus", Some("1"), Some("2"), true),
            (&all, "cores", Some("1"), Some("2"), false),
            (&unset, "balloon", Some("512"), Some("1024"), true),
            (&unset, "balloon", Some("0"), Some("1024"), false),
            (&unset, "balloon", None, Some("0"), false),
            (&off, "name", Some("a"), Some("b"), true),
            (&off, "hotplug", Some("0"), Some("network,disk"), true),
            (&unset, "hotplug", None, Some("0"), true),
            (&all, "hotplug", Some("network,memory"), Some("network"), false),
            (&unset, "hotplug", None, Some("network,memory"), false),
            (&unset, "hotplug", Some("1"), Some("network,cpu"), false),
            (&all, "hotplug", Some("memory"), None, false),
            (&no_numa, "hotplug", Some("cpu,disk"), Some("disk"), false),
            (&off, "hookscript", None, Some("local:snippets/a.pl"), true),
            (&off, "shares", Some("1000"), Some("500"), true),
            (&off, "migrate_downtime", None, Some("0.5"), true),
            (&off, "migrate_speed", Some("100"), None, true),
            (&off, "vmstatestorage", None, Some("rbd"), true),
            (&off, "cicustom", None, Some("user=local:snippets/a.yaml"), true),
        ] {
            let told = hotplug.impact(key, before, after) == Impact::Live;
            assert_eq!(told, live, "{key}: {before:?} -> {after:?} with {hotplug:?}");
        }
    }
}
