//! The texts of a cloud-init drive, as Proxmox VE writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::auth::percent_encoding_lite::decode;
use super::digest;
use super::event::CloudInit;

/// Keys whose change makes a new drive.
pub(crate) fn is_key(key: &str) -> bool {
    matches!(
        key,
        "citype"
            | "ciuser"
            | "cipassword"
            | "cicustom"
            | "ciupgrade"
            | "searchdomain"
            | "nameserver"
            | "sshkeys"
    ) || key.strip_prefix("ipconfig").is_some_and(|rest| rest.parse::<u8>().is_ok())
}

type Conf = BTreeMap<String, String>;

fn host_and_fqdn(conf: &Conf, vmid: u32) -> (String, String) {
    let name = conf.get("name").cloned().unwrap_or_else(|| format!("VM{vmid}"));
    match (
        name.split_once('.'),
        conf.get("searchdomain").filter(|domain| !domain.trim().is_empty()),
    ) {
        (Some((host, _)), _) => (host.to_owned(), name.clone()),
        (None, Some(domain)) => (
            name.clone(),
            format!("{name}.{}", domain.split_whitespace().next().unwrap_or_default()),
        ),
        (None, None) => (name, String::new()),
    }
}

/// `user-data`.
pub(crate) fn user(conf: &Conf, vmid: u32) -> String {
    let (host, fqdn) = host_and_fqdn(conf, vmid);
    let mut out = format!("#cloud-config\nhostname: {host}\nmanage_etc_hosts: true\n");
    let set = |key: &str| conf.get(key).filter(|value| !value.trim().is_empty());
    if !fqdn.is_empty() {
        let _ = writeln!(out, "fqdn: {fqdn}");
    }
    if let Some(name) = set("ciuser") {
        let _ = writeln!(out, "user: {name}");
    }
    if let Some(password) = set("cipassword") {
        let _ = writeln!(out, "password: {password}");
    }
    if let Some(keys) = set("sshkeys") {
        out.push_str("ssh_authorized_keys:\n");
        for key in decode(keys, false).lines().filter(|line| !line.trim().is_empty()) {
            let _ = writeln!(out, "  - {key}");
        }
    }
    out.push_str("chpasswd:\n  expire: False\n");
    if set("ciuser").is_none_or(|name| name != "root") {
        out.push_str("users:\n  - default\n");
    }
    let upgrade = conf.get("ciupgrade").is_none_or(|flag| flag != "0");
    let _ = writeln!(out, "package_upgrade: {upgrade}");
    out
}

fn options(text: &str) -> BTreeMap<&str, &str> {
    text.split(',').filter_map(|part| part.split_once('=')).collect()
}

fn mask(length: &str) -> String {
    let bits: u32 = length.parse().unwrap_or(0).min(32);
    let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
    std::net::Ipv4Addr::from(mask).to_string()
}

fn interface(out: &mut String, number: u8, mac: &str, config: &str) {
    let _ = write!(
        out,
        "    - type: physical\n      name: eth{number}\n      mac_address: '{}'\n      subnets:\n",
        mac.to_lowercase()
    );
    let options = options(config);
    match options.get("ip").copied() {
        Some("dhcp") => out.push_str("      - type: dhcp4\n"),
        Some(cidr) => {
            let (address, length) = cidr.split_once('/').unwrap_or((cidr, "32"));
            let _ = write!(
                out,
                "      - type: static\n        address: '{address}'\n        netmask: '{}'\n",
                mask(length)
            );
            if let Some(gateway) = options.get("gw") {
                let _ = writeln!(out, "        gateway: '{gateway}'");
            }
        }
        None => {}
    }
    match options.get("ip6").copied() {
        Some("dhcp") => out.push_str("      - type: dhcp6\n"),
        Some("auto") => out.push_str("      - type: ipv6_slaac\n"),
        Some(cidr) => {
            let _ = write!(out, "      - type: static6\n        address: '{cidr}'\n");
            if let Some(gateway) = options.get("gw6") {
                let _ = writeln!(out, "        gateway: '{gateway}'");
            }
        }
        None => {}
    }
}

/// `network-config`, version 1.
pub(crate) fn network(conf: &Conf) -> String {
    let mut out = "version: 1\nconfig:\n".to_owned();
    for number in 0..32u8 {
        let (Some(config), Some(net)) =
            (conf.get(&format!("ipconfig{number}")), conf.get(&format!("net{number}")))
        else {
            continue;
        };
        let mac = net
            .split(',')
            .next()
            .and_then(|first| first.split_once('='))
            .map(|(_, mac)| mac)
            .unwrap_or_default();
        interface(&mut out, number, mac, config);
    }
    let words = |key: &str| -> Vec<String> {
        let text = conf.get(key).map(String::as_str).unwrap_or_default();
        text.split([' ', ',', ';']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let (servers, domains) = (words("nameserver"), words("searchdomain"));
    if !servers.is_empty() || !domains.is_empty() {
        out.push_str("    - type: nameserver\n");
        for (title, rows) in [("address", servers), ("search", domains)] {
            if !rows.is_empty() {
                let _ = writeln!(out, "      {title}:");
                for row in rows {
                    let _ = writeln!(out, "      - '{row}'");
                }
            }
        }
    }
    out
}

/// `meta-data`: an instance id that changes with the other texts.
pub(crate) fn meta(conf: &Conf, vmid: u32) -> String {
    format!(
        "instance-id: {}\n",
        digest::sha1(format!("{}{}", user(conf, vmid), network(conf)).as_bytes())
    )
}

/// All texts; `custom` answers the text of a snippet.
pub(crate) fn texts(conf: &Conf, vmid: u32, custom: impl Fn(&str) -> Option<String>) -> CloudInit {
    let own = conf.get("cicustom").map(|text| options(text)).unwrap_or_default();
    let pick = |key: &str| own.get(key).and_then(|volid| custom(volid));
    let linux = conf.get("ostype").is_none_or(|kind| !kind.starts_with('w'));
    let kind = conf
        .get("citype")
        .cloned()
        .unwrap_or_else(|| if linux { "nocloud" } else { "configdrive2" }.to_owned());
    CloudInit {
        user: pick("user").unwrap_or_else(|| user(conf, vmid)),
        network: pick("network").unwrap_or_else(|| network(conf)),
        meta: pick("meta").unwrap_or_else(|| meta(conf, vmid)),
        kind,
    }
}
