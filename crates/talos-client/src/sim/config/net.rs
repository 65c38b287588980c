//! What a machine configuration or a cloud-init drive says about the network.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::Config;
use super::yaml;

/// What is configured for one link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// Which network card: a name, or a MAC address.
    pub(crate) name: String,
    /// MAC address that it must have.
    pub(crate) mac: Option<String>,
    /// VLAN inside the machine.
    pub(crate) vlan: Option<u16>,
    /// Addresses.
    pub(crate) addresses: Vec<IpNet>,
    /// Whether it asks for an address.
    pub(crate) dhcp: bool,
    /// Gateways of default routes.
    pub(crate) gateways: Vec<IpAddr>,
    /// Shared addresses.
    pub(crate) vips: Vec<IpAddr>,
    /// MTU.
    pub(crate) mtu: Option<u32>,
}

/// Network of a drive or configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkPlan {
    /// Links.
    pub(crate) links: Vec<Link>,
    /// Resolvers.
    pub(crate) nameservers: Vec<IpAddr>,
}

/// What a nocloud drive says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seed {
    /// Host name.
    pub(crate) hostname: Option<String>,
    /// Instance id.
    pub(crate) instance_id: Option<String>,
    /// Network.
    pub(crate) network: NetworkPlan,
    /// Machine configuration, when user-data is one.
    pub(crate) user_data: Option<String>,
}

/// Read the texts of a nocloud drive.
///
/// # Errors
/// Why the node cannot use them.
pub(crate) fn seed(user: &str, meta: &str, network: &str) -> Result<Seed, String> {
    let mut out = Seed::default();
    let meta = first(meta)?;
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    out.instance_id = text(&meta, "instance-id");
    let is_cloud_config = user.lines().next().is_some_and(|l| l.trim_end() == "#cloud-config");
    if !user.trim().is_empty() && !is_cloud_config {
        out.user_data = Some(user.to_owned());
    }
    if network.trim().is_empty() {
        return Ok(out);
    }
    out.hostname = text(&meta, "hostname").or_else(|| text(&meta, "local-hostname"));
    if out.hostname.is_none() && is_cloud_config {
        let user = first(user)?;
        out.hostname = text(&user, "hostname").or_else(|| text(&user, "local-hostname"));
    }
    out.network = network_config(&first(network)?)?;
    Ok(out)
}

fn first(text: &str) -> Result<Value, String> {
    let docs = yaml::parse(text).map_err(|e| e.to_string())?;
    Ok(docs.first().map(yaml::Node::value).unwrap_or_default())
}

fn network_config(value: &Value) -> Result<NetworkPlan, String> {
    let inner = value.get("network").filter(|v| v.get("version").is_some()).unwrap_or(value);
    match inner.get("version").and_then(Value::as_i64) {
        Some(1) => Ok(version1(inner)),
        Some(2) => Ok(version2(inner)),
        other => Err(format!(
            "network-config metadata version={} is not supported",
            other.unwrap_or_default()
        )),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn version1(value: &Value) -> NetworkPlan {
    let mut out = NetworkPlan::default();
    for entry in list(value, "config") {
        match text(entry, "type") {
            "nameserver" => {
                let many = list(entry, "address").filter_map(Value::as_str);
                let one = entry.get("address").and_then(Value::as_str);
                out.nameservers.extend(many.chain(one).filter_map(|a| a.parse::<IpAddr>().ok()));
            }
            kind @ ("physical" | "vlan") => out.links.push(version1_link(entry, kind == "vlan")),
            _ => {}
        }
    }
    out
}

fn version1_link(entry: &Value, is_vlan: bool) -> Link {
    let name = if is_vlan { text(entry, "vlan_link") } else { text(entry, "name") };
    let mac = text(entry, "mac_address");
    let mut link = Link {
        name: name.to_owned(),
        mac: (!mac.is_empty()).then(|| mac.to_ascii_lowercase()),
        vlan: entry.get("vlan_id").and_then(Value::as_u64).and_then(|v| u16::try_from(v).ok()),
        mtu: number(entry, "mtu"),
        ..Link::default()
    };
    for subnet in list(entry, "subnets") {
        match text(subnet, "type") {
            "dhcp" | "dhcp4" => link.dhcp = true,
            "static" | "static6" => {
                link.addresses.extend(address(text(subnet, "address"), text(subnet, "netmask")));
                link.gateways.extend(text(subnet, "gateway").parse::<IpAddr>());
            }
            _ => {}
        }
    }
    link
}

fn number(value: &Value, key: &str) -> Option<u32> {
    value.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok())
}

fn address(text: &str, netmask: &str) -> Option<IpNet> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Some(net);
    }
    let ip: IpAddr = text.parse().ok()?;
    if let Ok(bits) = netmask.parse::<u8>() {
        return IpNet::new(ip, bits).ok();
    }
    let full = if ip.is_ipv4() { 32 } else { 128 };
    match netmask.parse::<IpAddr>() {
        Ok(mask) => IpNet::with_netmask(ip, mask).ok(),
        Err(_) => IpNet::new(ip, full).ok(),
    }
}

fn version2(value: &Value) -> NetworkPlan {
    let mut out = NetworkPlan::default();
    for (section, is_vlan) in [("ethernets", false), ("vlans", true)] {
        for (name, entry) in value.get(section).and_then(Value::as_object).into_iter().flatten() {
            let matched = entry.get("match").cloned().unwrap_or_default();
            let mac = text(&matched, "macaddress");
            let named = text(&matched, "name");
            let base = if is_vlan { text(entry, "link") } else { name };
            let mut link = Link {
                name: if named.is_empty() { base } else { named }.to_owned(),
                mac: (!mac.is_empty()).then(|| mac.to_ascii_lowercase()),
                vlan: entry.get("id").and_then(Value::as_u64).and_then(|v| u16::try_from(v).ok()),
                mtu: number(entry, "mtu"),
                dhcp: entry.get("dhcp4").and_then(Value::as_bool).unwrap_or(false),
                ..Link::default()
            };
            let addresses = list(entry, "addresses").filter_map(Value::as_str);
            link.addresses.extend(addresses.filter_map(|a| address(a, "")));
            for key in ["gateway4", "gateway6"] {
                link.gateways.extend(text(entry, key).parse::<IpAddr>());
            }
            for route in list(entry, "routes") {
                if matches!(text(route, "to"), "default" | "0.0.0.0/0" | "::/0") {
                    link.gateways.extend(text(route, "via").parse::<IpAddr>());
                }
            }
            let servers = entry.get("nameservers").cloned().unwrap_or_default();
            let parsed = list(&servers, "addresses").filter_map(Value::as_str);
            out.nameservers.extend(parsed.filter_map(|a| a.parse::<IpAddr>().ok()));
            out.links.push(link);
        }
    }
    out
}

/// What a machine configuration says about links.
pub(crate) fn of_config(config: &Config) -> NetworkPlan {
    let mut out = NetworkPlan::default();
    let devices = config.at("machine.network.interfaces").and_then(Value::as_array);
    for device in devices.into_iter().flatten() {
        let selector = device.get("deviceSelector").cloned().unwrap_or_default();
        let mac = [text(&selector, "hardwareAddr"), text(&selector, "permanentAddr")];
        let mac = mac.into_iter().find(|m| !m.is_empty()).map(str::to_ascii_lowercase);
        let base = Link { name: text(device, "interface").to_owned(), mac, ..Link::default() };
        out.links.push(device_link(device, base.clone()));
        for vlan in list(device, "vlans") {
            let id = vlan.get("vlanId").and_then(Value::as_u64).and_then(|v| u16::try_from(v).ok());
            out.links.push(device_link(vlan, Link { vlan: id, ..base.clone() }));
        }
    }
    documents(config, &mut out);
    let servers = config.texts("machine.network.nameservers");
    out.nameservers.extend(servers.iter().filter_map(|a| a.parse::<IpAddr>().ok()));
    out
}

fn device_link(device: &Value, base: Link) -> Link {
    let mut link = base;
    let given = list(device, "addresses").filter_map(Value::as_str);
    link.addresses.extend(given.filter_map(|a| address(a, "")));
    link.addresses.extend(address(text(device, "cidr"), ""));
    link.dhcp = device.get("dhcp").and_then(Value::as_bool).unwrap_or(false);
    link.mtu = number(device, "mtu");
    for route in list(device, "routes") {
        if matches!(text(route, "network"), "" | "0.0.0.0/0" | "::/0") {
            link.gateways.extend(text(route, "gateway").parse::<IpAddr>());
        }
    }
    let vip = device.get("vip").cloned().unwrap_or_default();
    link.vips.extend(text(&vip, "ip").parse::<IpAddr>());
    link
}

fn documents(config: &Config, out: &mut NetworkPlan) {
    let aliases: Vec<(String, String)> =
        config.documents("LinkAliasConfig").filter_map(alias).collect();
    let resolve = |name: &str| {
        let mac = aliases.iter().find(|(alias, _)| alias == name).map(|(_, mac)| mac.clone());
        Link { name: name.to_owned(), mac, ..Link::default() }
    };
    let mut vlans = Vec::new();
    for (kind, document) in config.others() {
        let name = text(document, "name");
        match kind {
            "LinkConfig" => out.links.push(document_link(document, resolve(name))),
            "VLANConfig" => {
                let id = document
                    .get("vlanID")
                    .and_then(Value::as_u64)
                    .and_then(|v| u16::try_from(v).ok());
                vlans.push((name.to_owned(), out.links.len()));
                out.links.push(document_link(
                    document,
                    Link { vlan: id, ..resolve(text(document, "parent")) },
                ));
            }
            "DHCPv4Config" => out.links.push(Link { dhcp: true, ..resolve(name) }),
            "Layer2VIPConfig" => {
                let mut link = resolve(text(document, "link"));
                link.vips.extend(name.parse::<IpAddr>());
                if let Some((_, at)) = vlans.iter().find(|(v, _)| *v == link.name) {
                    if let Some(parent) = out.links.get_mut(*at) {
                        parent.vips.append(&mut link.vips);
                    }
                } else {
                    out.links.push(link);
                }
            }
            "ResolverConfig" => {
                let servers = list(document, "nameservers").map(|n| text(n, "address"));
                out.nameservers.extend(servers.filter_map(|a| a.parse::<IpAddr>().ok()));
            }
            _ => {}
        }
    }
}

fn document_link(document: &Value, base: Link) -> Link {
    let mut link = base;
    let given = list(document, "addresses").map(|a| text(a, "address"));
    link.addresses.extend(given.filter_map(|a| address(a, "")));
    link.mtu = number(document, "mtu");
    for route in list(document, "routes") {
        if text(route, "destination").is_empty() {
            link.gateways.extend(text(route, "gateway").parse::<IpAddr>());
        }
    }
    link
}

/// The MAC address that an alias document's expression names.
fn alias(document: &Value) -> Option<(String, String)> {
    let name = text(document, "name").to_owned();
    let expression = document.pointer("/selector/match").and_then(Value::as_str)?;
    let is_mac = |t: &&str| t.len() == 17 && t.split(':').count() == 6;
    let mac = expression.split(['"', '\'']).find(is_mac)?;
    Some((name, mac.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: &str = "version: 1\nconfig:\n    - type: physical\n      name: eth0\n      mac_address: 'BC:24:11:00:00:01'\n      subnets:\n      - type: static\n        address: '10.101.0.11'\n        netmask: '255.255.255.0'\n        gateway: '10.101.0.254'\n      - type: static6\n        address: 'fd00:101::11/64'\n        gateway: 'fd00:101::fffe'\n    - type: nameserver\n      address:\n      - '10.0.0.53'\n      search:\n      - 'lab'\n";

    #[test]
    fn a_drive_of_proxmox_gives_addresses_and_name() {
        let seed =
            seed("#cloud-config\nhostname: solcp01\n", "instance-id: abc\n", NETWORK).unwrap();
        let link = &seed.network.links[0];
        assert_eq!(seed.hostname.as_deref(), Some("solcp01"));
        assert_eq!(link.mac.as_deref(), Some("bc:24:11:00:00:01"));
        assert_eq!(
            link.addresses,
            ["10.101.0.11/24".parse().unwrap(), "fd00:101::11/64".parse().unwrap()]
        );
        assert_eq!(seed.network.nameservers, ["10.0.0.53".parse::<IpAddr>().unwrap()]);
        assert!(seed.user_data.is_none());
    }

    #[test]
    fn a_drive_without_version_is_refused() {
        assert!(seed("#cloud-config\n", "", "ethernets: {}\n").unwrap_err().contains("version=0"));
    }

    #[test]
    fn without_network_config_the_host_name_is_not_read() {
        let seed = seed("#cloud-config\nhostname: x\n", "hostname: y\n", "").unwrap();
        assert_eq!(seed.hostname, None);
    }
}
