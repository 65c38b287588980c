//! What a simulated machine is made of, and how fast it lives.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

/// A network on which addresses are reachable.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    /// Name, for messages.
    pub name: String,
    /// Bridge or VNet that a network card must be on.
    pub bridge: String,
    /// VLAN tag that it must have, by the card or inside the machine.
    pub tag: Option<u16>,
    /// Addresses that belong to it.
    pub prefixes: Vec<IpNet>,
}

/// Configuration of the fabric.
#[derive(Clone, Debug, Default)]
pub struct NetConfig {
    /// Where disks and clusters outlive the process; in memory when unset.
    pub state_dir: Option<PathBuf>,
    /// How fast nodes live.
    pub pace: Pace,
    /// Added to every call.
    pub latency: Duration,
    /// Networks; without any, every address is reachable.
    pub segments: Vec<Segment>,
    /// The kubelet answers its health check and does nothing else; there is no Kubernetes API.
    pub stub_kubelet: bool,
}

/// How fast nodes live, as a factor on the times of a real machine.
///
/// They wait by tokio's clock. On a runtime of one thread whose clock is paused (`tokio::time::pause`) they live in
/// virtual time, and clients on it with them: a cluster comes up at the pace of real machines, and whoever tests it
/// waits for the work alone. Times of day that nodes tell are those of the real clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace(f64);

impl Default for Pace {
    fn default() -> Self {
        Self::quick()
    }
}

impl Pace {
    /// A cluster comes up in a few seconds.
    pub const fn quick() -> Self {
        Self(0.01)
    }

    /// No delays beyond those that keep the order of events.
    pub const fn instant() -> Self {
        Self(0.0005)
    }

    /// A factor on the times of a real machine.
    pub fn scaled(factor: f64) -> Self {
        Self(factor.clamp(0.0, 1000.0))
    }

    /// A time of a real machine at this pace.
    pub(crate) fn of(self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.0)
    }
}

/// What can be booted from, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootDevice {
    /// A disk by its key.
    Disk(String),
    /// The inserted medium.
    Cdrom,
}

/// The mark of a boot medium.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootMark {
    /// Talos version, with `v`.
    pub talos: String,
    /// Schematic id.
    pub schematic: String,
    /// Platform: `nocloud` or `metal`.
    pub platform: String,
    /// Architecture: `amd64` or `arm64`.
    pub architecture: String,
}

/// A disk of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskSpec {
    /// Key in the machine's definition, as `scsi0`.
    pub key: String,
    /// Device name without `/dev/`, as `sda`.
    pub dev: String,
    /// Size in bytes.
    pub size: u64,
    /// World-wide name.
    pub wwn: Option<String>,
    /// Serial that the guest sees.
    pub serial: Option<String>,
    /// What identifies the content: a new disk has a new one.
    pub content_id: String,
}

/// A network card of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NicSpec {
    /// Name of the link in the guest.
    pub name: String,
    /// MAC address.
    pub mac: String,
    /// Bridge or VNet.
    pub bridge: String,
    /// VLAN tag.
    pub tag: Option<u16>,
    /// MTU.
    pub mtu: Option<u32>,
    /// What a DHCP server gives it.
    pub dhcp: Vec<IpNet>,
    /// Gateway that a DHCP server gives it.
    pub dhcp_gateway: Option<IpAddr>,
}

/// Texts of a cloud-init drive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudInit {
    /// `user-data`.
    pub user: String,
    /// `meta-data`.
    pub meta: String,
    /// `network-config`.
    pub network: String,
}

/// A simulated machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// SMBIOS UUID: the identity of the node.
    pub uuid: String,
    /// Name, for messages and faults.
    pub name: String,
    /// Inserted medium with a mark; none cannot be booted.
    pub media: Option<BootMark>,
    /// Boot order.
    pub boot: Vec<BootDevice>,
    /// Disks.
    pub disks: Vec<DiskSpec>,
    /// Network cards.
    pub nics: Vec<NicSpec>,
    /// Cloud-init drive.
    pub cloud_init: Option<CloudInit>,
    /// Memory.
    pub memory_mib: u64,
    /// Processors.
    pub cpus: u32,
}

impl Default for NodeSpec {
    fn default() -> Self {
        Self {
            uuid: uuid::Uuid::new_v4().to_string(),
            name: String::new(),
            media: None,
            boot: vec![BootDevice::Disk("scsi0".to_owned()), BootDevice::Cdrom],
            disks: Vec::new(),
            nics: Vec::new(),
            cloud_init: None,
            memory_mib: 4096,
            cpus: 2,
        }
    }
}

impl NodeSpec {
    /// A machine that boots the `nocloud` medium of a version of Talos (with `v`): one empty disk of
    /// 40 GiB, one card, and a cloud-init drive that gives the card its address.
    pub fn nocloud(talos: &str, name: &str, uuid: &str, nic: NicSpec, address: Ipv4Net) -> Self {
        let network = format!(
            "version: 1\nconfig:\n    - type: physical\n      name: {}\n      mac_address: '{}'\n      \
             subnets:\n      - type: static\n        address: '{}'\n        netmask: '{}'\n",
            nic.name,
            nic.mac,
            address.addr(),
            address.netmask()
        );
        Self {
            uuid: uuid.to_owned(),
            name: name.to_owned(),
            media: Some(BootMark {
                talos: talos.to_owned(),
                schematic: "5".repeat(64),
                platform: "nocloud".to_owned(),
                architecture: "amd64".to_owned(),
            }),
            disks: vec![DiskSpec {
                key: "scsi0".to_owned(),
                dev: "vda".to_owned(),
                size: 40 << 30,
                content_id: format!("disk of {uuid}"),
                ..DiskSpec::default()
            }],
            nics: vec![nic],
            cloud_init: Some(CloudInit {
                user: format!("#cloud-config\nhostname: {name}\n"),
                meta: "instance-id: a\n".to_owned(),
                network,
            }),
            ..Self::default()
        }
    }
}

/// Something that happened to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvent {
    /// The node.
    pub uuid: String,
    /// What happened.
    pub kind: NodeEventKind,
}

/// What happened to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeEventKind {
    /// It entered a stage.
    Stage(String),
    /// It took a configuration.
    ConfigApplied,
    /// It installed itself.
    Installed {
        /// Device name.
        disk: String,
        /// Content that was written.
        content_id: String,
    },
    /// The guest reboots itself.
    GuestReboot,
    /// The guest powers itself off.
    GuestPowerOff,
    /// Nothing could be booted, or the drive could not be read.
    BootFailed(String),
}
