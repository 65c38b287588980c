//! What a change costs whoever uses the machine.

use serde::{Deserialize, Serialize};

use crate::wire::Format;

/// What a change costs whoever uses the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Impact {
    /// It runs on.
    Live,
    /// It takes effect when the machine is stopped and started.
    StopStart,
}

/// Keys that take effect on a running machine.
pub(super) fn is_hot(key: &str) -> bool {
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

pub(super) fn impact_of(key: &str, before: Option<&str>, after: &str) -> Impact {
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
