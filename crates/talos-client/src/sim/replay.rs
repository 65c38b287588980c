//! Nodes in the states that recordings ask for.

use std::path::Path;

use super::disk::Installed;
use super::net::{SimError, SimNet};
use super::node::SimNode;
use super::spec::{BootDevice, BootMark, CloudInit, DiskSpec, NetConfig, NicSpec, NodeSpec, Pace};

/// A state that recordings ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayGroup {
    /// No configuration, blank disk.
    Maintenance,
    /// As before, on platform nocloud with a drive.
    Nocloud,
    /// Installed control plane that waits for Bootstrap.
    Configured,
    /// The same after Bootstrap.
    Etcd,
    /// Two control planes and a worker, installed, without configuration.
    Cluster,
}

impl std::str::FromStr for ReplayGroup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "maintenance" => Self::Maintenance,
            "nocloud" => Self::Nocloud,
            "configured" => Self::Configured,
            "etcd" => Self::Etcd,
            "cluster" => Self::Cluster,
            other => return Err(format!("unknown group {other:?}")),
        })
    }
}

const VERSION: &str = "v1.13.9";

/// Start the nodes of a group, with configurations from a folder, and wait until they are in their state.
///
/// # Errors
/// When a configuration cannot be read or a port cannot be had.
pub async fn replay(
    group: ReplayGroup,
    configs: &Path,
) -> Result<(SimNet, Vec<(String, SimNode)>), SimError> {
    let net =
        SimNet::new(NetConfig { pace: Pace::quick(), stub_kubelet: true, ..NetConfig::default() })?;
    let mut nodes = Vec::new();
    match group {
        ReplayGroup::Maintenance => {
            nodes.push(("node".into(), net.power_on(spec("node", "metal"))));
        }
        ReplayGroup::Nocloud => {
            let network = "version: 1\nconfig:\n    - type: physical\n      name: eth0\n      mac_address: '52:54:00:12:34:56'\n      subnets:\n      - type: static\n        address: '10.0.2.15'\n        netmask: '255.255.255.0'\n        gateway: '10.0.2.2'\n    - type: nameserver\n      address:\n      - '10.0.2.3'\n      search:\n      - 'lab.test'\n";
            let drive = CloudInit {
                user: "#cloud-config\nhostname: pve-name\nfqdn: pve-name.lab.test\nuser: root\n"
                    .into(),
                meta: "instance-id: 0a1b2c3d\n".into(),
                network: network.into(),
            };
            nodes.push((
                "node".into(),
                net.power_on(NodeSpec { cloud_init: Some(drive), ..spec("node", "nocloud") }),
            ));
        }
        ReplayGroup::Configured | ReplayGroup::Etcd => {
            let path = configs.join("cp.yaml");
            let read = |error| SimError::new(format!("read {}", path.display()), error);
            let text = tokio::fs::read_to_string(&path).await.map_err(read)?;
            preinstall(&net, "node", Some(text));
            nodes.push(("node".into(), net.power_on(spec("node", "metal"))));
        }
        ReplayGroup::Cluster => {
            for (name, dhcp) in
                [("cp1", "10.0.11.15/16"), ("cp2", "10.0.12.15/16"), ("w1", "10.0.21.15/16")]
            {
                preinstall(&net, name, None);
                let mut spec = spec(name, "metal");
                if let Some(first) = spec.nics.first_mut() {
                    first.dhcp = dhcp.parse().into_iter().collect();
                }
                spec.nics.push(NicSpec {
                    name: "eth1".into(),
                    mac: "52:54:00:12:34:57".into(),
                    ..NicSpec::default()
                });
                nodes.push((name.to_owned(), net.power_on(spec)));
            }
        }
    }
    for (_, node) in &nodes {
        settle(group, node).await;
    }
    Ok((net, nodes))
}

fn preinstall(net: &SimNet, name: &str, config: Option<String>) {
    net.0.disks.change(&format!("{name}-disk"), |c| {
        c.installed = Some(Installed {
            version: VERSION.into(),
            schematic: String::new(),
            platform: "metal".into(),
            architecture: "amd64".into(),
        });
        c.config = config;
        c.node_id = uuid::Uuid::new_v4().simple().to_string();
    });
}

fn spec(name: &str, platform: &str) -> NodeSpec {
    NodeSpec {
        name: name.to_owned(),
        media: Some(BootMark {
            talos: VERSION.into(),
            schematic: String::new(),
            platform: platform.into(),
            architecture: "amd64".into(),
        }),
        boot: vec![BootDevice::Disk("virtio0".into()), BootDevice::Cdrom],
        disks: vec![DiskSpec {
            key: "virtio0".into(),
            dev: "vda".into(),
            size: 12_884_901_888,
            serial: Some("rigdisk0".into()),
            content_id: format!("{name}-disk"),
            ..DiskSpec::default()
        }],
        nics: vec![NicSpec {
            name: "eth0".into(),
            mac: "52:54:00:12:34:56".into(),
            dhcp: "10.0.2.15/24".parse().into_iter().collect(),
            ..NicSpec::default()
        }],
        ..NodeSpec::default()
    }
}

async fn settle(group: ReplayGroup, node: &SimNode) {
    let wait = || tokio::time::sleep(std::time::Duration::from_millis(10));
    match group {
        ReplayGroup::Maintenance | ReplayGroup::Nocloud | ReplayGroup::Cluster => {
            while node.stage() != "maintenance" {
                wait().await;
            }
        }
        ReplayGroup::Configured | ReplayGroup::Etcd => {
            while !node.0.machine().services.contains_key("kubelet") {
                wait().await;
            }
            if group == ReplayGroup::Etcd {
                node.0.machine().bootstrap_asked = true;
                node.0.wake.notify_one();
                while node.0.machine().etcd != super::node::EtcdState::Running {
                    wait().await;
                }
            }
        }
    }
    wait().await;
}
