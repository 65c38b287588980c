//! What happens to simulated guests, published for others to attach something that runs.

use serde::{Deserialize, Serialize};

/// Something that the simulated hypervisor did to a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GuestEvent {
    /// The machine was switched on.
    Start(Box<GuestStart>),
    /// The machine was switched off, by whomever.
    Stop {
        /// Node the machine ran on.
        node: String,
        /// Machine id.
        vmid: u32,
    },
    /// The machine was reset; disks and memory size stay, the guest boots anew.
    Reset {
        /// Node the machine runs on.
        node: String,
        /// Machine id.
        vmid: u32,
    },
    /// An ACPI shutdown request was sent; the guest may answer with
    /// [`SimHandle::guest_poweroff`](super::SimHandle::guest_poweroff).
    Shutdown {
        /// Node the machine runs on.
        node: String,
        /// Machine id.
        vmid: u32,
    },
    /// An API reboot was asked for: a shutdown request follows, then a stop and a start.
    Reboot {
        /// Node the machine runs on.
        node: String,
        /// Machine id.
        vmid: u32,
    },
    /// The machine was destroyed with its disks.
    Destroy {
        /// Node the machine was on.
        node: String,
        /// Machine id.
        vmid: u32,
    },
}

impl GuestEvent {
    /// The machine that the event is about.
    pub fn vmid(&self) -> u32 {
        match self {
            Self::Start(start) => start.vmid,
            Self::Stop { vmid, .. }
            | Self::Reset { vmid, .. }
            | Self::Shutdown { vmid, .. }
            | Self::Reboot { vmid, .. }
            | Self::Destroy { vmid, .. } => *vmid,
        }
    }
}

/// A guest as its firmware and cloud-init would find it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestStart {
    /// Node the machine starts on.
    pub node: String,
    /// Machine id.
    pub vmid: u32,
    /// Name in the configuration.
    pub name: String,
    /// SMBIOS UUID, lower case.
    pub uuid: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Number of CPUs (`sockets * cores`).
    pub cpus: u32,
    /// `seabios` or `ovmf`.
    pub bios: String,
    /// Boot devices in order (`scsi0`, `ide0`, `net0`).
    pub boot: Vec<String>,
    /// Hard disks.
    pub disks: Vec<BootDisk>,
    /// Optical drives that hold a medium (the cloud-init drive apart).
    pub media: Vec<BootMedium>,
    /// The cloud-init drive as Proxmox writes it; `None` without such a drive.
    pub cloud_init: Option<CloudInit>,
    /// Network cards.
    pub nics: Vec<BootNic>,
}

/// A hard disk of a starting guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootDisk {
    /// Configuration key (`scsi0`).
    pub key: String,
    /// Volume id.
    pub volid: String,
    /// World-wide name when one is set (`0x…`).
    pub wwn: Option<String>,
    /// Serial when one is set.
    pub serial: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// Identity of the content: stays with the volume until it is destroyed.
    pub content_id: String,
    /// Free text that a guest stored on the volume (see
    /// [`SimHandle::set_disk_tag`](super::SimHandle::set_disk_tag)); empty means a blank disk.
    pub tag: String,
}

/// An optical medium of a starting guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootMedium {
    /// Configuration key (`ide0`).
    pub key: String,
    /// Volume id.
    pub volid: String,
    /// SHA-256 of the whole file, lower-case hex.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
    /// Where the simulator keeps the bytes on this machine.
    pub path: std::path::PathBuf,
}

/// The texts of a cloud-init drive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudInit {
    /// `user-data`.
    pub user: String,
    /// `meta-data`.
    pub meta: String,
    /// `network-config`.
    pub network: String,
    /// `nocloud`, `configdrive2` or `opennebula`.
    pub kind: String,
}

/// A network card of a starting guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootNic {
    /// Configuration key (`net0`).
    pub key: String,
    /// MAC address as configured.
    pub mac: String,
    /// Bridge or `VNet`.
    pub bridge: String,
    /// VLAN tag.
    pub tag: Option<u16>,
    /// Effective MTU: the one set, else that of the bridge.
    pub mtu: u32,
}
