//! What a machine is called and where it is reached.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::node::Machine;

/// A link as it is at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveLink {
    pub(crate) name: String,
    pub(crate) mac: String,
    pub(crate) bridge: String,
    pub(crate) tag: Option<u16>,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) gateways: Vec<IpAddr>,
    pub(crate) vips: Vec<IpAddr>,
    pub(crate) mtu: u32,
}

impl Machine {
    /// Keep the power cord of the boot before.
    pub(crate) fn restore_life(&mut self, life: CancellationToken) {
        self.life = life;
    }

    /// Minor version of the Talos that runs.
    pub(crate) fn minor(&self) -> u64 {
        let version = self.system.version.trim_start_matches('v');
        version.split('.').nth(1).and_then(|m| m.parse().ok()).unwrap_or(13)
    }

    /// Whether the platform is bare metal.
    pub(crate) fn is_metal(&self) -> bool {
        self.system.platform != "nocloud"
    }

    /// Host name: documents, then the old field, then the platform's.
    pub(crate) fn hostname(&self) -> String {
        let document = self.config.documents("HostnameConfig").next();
        let named =
            document.and_then(|d| d.get("hostname")).and_then(Value::as_str).unwrap_or_default();
        let legacy = self.config.text("machine.network.hostname");
        let given = [named, legacy, self.seed.hostname.as_deref().unwrap_or_default()];
        if let Some(name) = given.into_iter().find(|n| !n.is_empty()) {
            return name.split('.').next().unwrap_or_default().to_owned();
        }
        if self.config.v1alpha1().is_some() {
            let digest = Sha256::digest(self.spec.uuid.as_bytes());
            let letters: String =
                digest.iter().take(6).map(|b| char::from(b'a' + b % 26)).collect();
            let (a, b) = letters.split_at_checked(3).unwrap_or_default();
            return format!("talos-{a}-{b}");
        }
        String::new()
    }

    /// Links with what configures them: the configuration, else the platform, else DHCP.
    pub(crate) fn links(&self) -> Vec<LiveLink> {
        let configured = super::config::net::of_config(&self.config);
        let fits = |link: &super::config::net::Link, nic: &super::spec::NicSpec| match &link.mac {
            Some(mac) => mac.eq_ignore_ascii_case(&nic.mac),
            None => link.name == nic.name,
        };
        let mut out = Vec::new();
        for nic in &self.spec.nics {
            let own: Vec<_> = configured.links.iter().filter(|l| fits(l, nic)).collect();
            let platform: Vec<_> =
                self.seed.network.links.iter().filter(|l| fits(l, nic)).collect();
            let addressed = own.iter().any(|l| !l.addresses.is_empty() || l.dhcp);
            let mut live = vec![LiveLink {
                name: nic.name.clone(),
                mac: nic.mac.to_ascii_lowercase(),
                bridge: nic.bridge.clone(),
                tag: nic.tag,
                mtu: nic.mtu.unwrap_or(1500),
                ..LiveLink::default()
            }];
            let lower = if addressed { Vec::new() } else { platform.clone() };
            let unconfigured = own.is_empty() && platform.is_empty();
            for link in own.iter().chain(&lower) {
                let at = match link.vlan {
                    None => 0,
                    Some(id) => {
                        let name = format!("{}.{id}", nic.name);
                        let base = LiveLink {
                            name,
                            tag: Some(id),
                            ..live.first().cloned().unwrap_or_default()
                        };
                        live.push(LiveLink {
                            addresses: vec![],
                            gateways: vec![],
                            vips: vec![],
                            ..base
                        });
                        live.len() - 1
                    }
                };
                if let Some(target) = live.get_mut(at) {
                    target.addresses.extend(&link.addresses);
                    target.gateways.extend(&link.gateways);
                    target.vips.extend(&link.vips);
                    target.mtu = link.mtu.unwrap_or(target.mtu);
                }
            }
            let dhcp = unconfigured || own.iter().chain(&lower).any(|l| l.dhcp && l.vlan.is_none());
            if let (true, Some(first)) = (dhcp, live.first_mut()) {
                first.addresses.extend(&nic.dhcp);
                first.gateways.extend(nic.dhcp_gateway);
            }
            out.append(&mut live);
        }
        out
    }

    /// All addresses, in the order in which the node lists them.
    pub(crate) fn addresses(&self) -> Vec<IpNet> {
        let mut out: Vec<IpNet> = self.links().into_iter().flat_map(|l| l.addresses).collect();
        out.sort_by_key(IpNet::addr);
        out.dedup();
        out
    }

    /// What identifies the content of the system disk.
    pub(crate) fn content_id(&self) -> Option<String> {
        let key = self.system_disk.as_ref()?;
        self.spec.disks.iter().find(|d| d.key == *key).map(|d| content_id(&self.spec.uuid, d))
    }
}

/// What identifies the content of a disk.
pub(crate) fn content_id(uuid: &str, disk: &super::spec::DiskSpec) -> String {
    if disk.content_id.is_empty() {
        format!("{uuid}/{}", disk.key)
    } else {
        disk.content_id.clone()
    }
}
