//! Named scalar formats: what each accepts and what the server says otherwise.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

use crate::sim::firewall::{address, names, port};

/// Splits a list text at the separators of the API.
pub(crate) fn split_list(text: &str) -> Vec<&str> {
    text.split([',', ';', ' ', '\0', '\n', '\t']).filter(|part| !part.is_empty()).collect()
}

fn full(pattern: &str, text: &str) -> bool {
    static CACHE: LazyLock<std::sync::Mutex<std::collections::HashMap<String, Regex>>> =
        LazyLock::new(Default::default);
    let mut cache = CACHE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(found) = cache.get(pattern) {
        return found.is_match(text);
    }
    let Ok(compiled) = Regex::new(&format!("^(?:{pattern})$")) else { return true };
    let good = compiled.is_match(text);
    cache.insert(pattern.to_owned(), compiled);
    good
}

fn is_ip(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok()
}

fn cidr_v4(text: &str, min: u8) -> bool {
    let Some((addr, len)) = text.split_once('/') else { return false };
    addr.parse::<Ipv4Addr>().is_ok() && len.parse::<u8>().is_ok_and(|len| (min..=32).contains(&len))
}

fn cidr_v6(text: &str, min: u8) -> bool {
    let Some((addr, len)) = text.split_once('/') else { return false };
    addr.parse::<Ipv6Addr>().is_ok()
        && len.parse::<u8>().is_ok_and(|len| (min..=128).contains(&len))
}

/// Whether the text is a CIDR of either family.
pub(crate) fn is_cidr(text: &str) -> bool {
    cidr_v4(text, 8) || cidr_v6(text, 8)
}

const DNS: &str =
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?\.)*[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const NODE: &str = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const CONFIG_ID: &str = r"(?i:[a-z][a-z0-9_-]+)";
const STORAGE_ID: &str = r"(?i:[a-z][a-z0-9_.-]*[a-z0-9])";
const USER: &str = r"[^\s:/]+@[A-Za-z][A-Za-z0-9._-]+";

/// Checks a value of a named format; `…-list` formats check each part.
///
/// # Errors
/// The text of the server without its newline.
pub(super) fn check_named(name: &str, value: &str) -> Result<(), String> {
    if let Some(item) = name.strip_suffix("-list") {
        if name == "pve-qm-bootdev-list" {
            return split_list(value)
                .into_iter()
                .try_for_each(|part| check_one("pve-qm-bootdev", part));
        }
        return split_list(value).into_iter().try_for_each(|part| check_one(item, part));
    }
    if value.is_empty() && name.ends_with("-opt") {
        return Ok(());
    }
    check_one(name, value)
}

fn must(good: bool, text: &str) -> Result<(), String> {
    if good { Ok(()) } else { Err(text.to_owned()) }
}

fn check_one(name: &str, value: &str) -> Result<(), String> {
    match name {
        "pve-vmid" => must(full(r"[1-9][0-9]{2,8}", value), "value does not look like a valid VM ID"),
        "pve-node" => must(full(NODE, value), "value does not look like a valid node name"),
        "dns-name" => must(full(DNS, value), "value does not look like a valid DNS name"),
        "email-opt" | "email" => {
            must(full(r"[^\s@]+@[^\s@]+\.?[^\s@]*", value), "value does not look like a valid email address")
        }
        "pve-configid" => must(full(CONFIG_ID, value), &format!("invalid configuration ID '{value}'")),
        "pve-storage-id" => storage_id(value),
        "pve-bridge-id" => must(full(r"[-_.\w]+", value), &format!("invalid bridge ID '{value}'")),
        "pve-iface" => must(
            full(r"(?i:[a-z][a-z0-9_]{1,20}(?:[:.]\d+)?)", value),
            &format!("invalid network interface name '{value}'"),
        ),
        "pve-tag" => must(full(r"(?i:[a-z0-9_][a-z0-9_\-+.]*)", value), "invalid characters in tag"),
        "pve-volume-id-or-qm-path" if matches!(value, "none" | "cdrom") || value.starts_with('/') => Ok(()),
        "pve-volume-id-or-absolute-path" if value.starts_with('/') => Ok(()),
        "pve-volume-id" | "pve-volume-id-or-qm-path" | "pve-volume-id-or-absolute-path" => volume(value),
        "pve-startup-order" => must(
            full(r"(?:(?:order=)?\d+|up=\d+|down=\d+)(?:,(?:(?:order=)?\d+|up=\d+|down=\d+))*", value),
            "unable to parse startup options",
        ),
        "pve-hotplug-features" => hotplug(value),
        "pve-qm-bootdev" => must(
            full(r"(?:ide[0-3]|sata[0-5]|scsi(?:[0-9]|[12]\d|30)|virtio(?:\d|1[0-5])|net(?:[0-9]|[12]\d|3[01])|usb(?:\d|1[0-3])|hostpci(?:\d|1[0-5]))", value),
            &format!("invalid boot device '{value}'\n"),
        )
        .map_err(|text| text.trim_end().to_owned()),
        "pve-qm-bootdisk" => must(full(r"(?:ide|sata|scsi|virtio)\d+", value), &format!("invalid boot disk '{value}'")),
        "disk-size" => must(
            full(r"\d+(?:\.\d+)?[KMGT]?", value),
            &format!("value does not look like a valid disk size: {value}"),
        ),
        "urlencoded" => must(full(r"[-%a-zA-Z0-9_.!~*'()]*", value), &format!("invalid urlencoded string: {value}")),
        "pve-poolid" => pool(value),
        _ => check_net(name, value),
    }
}

fn check_net(name: &str, value: &str) -> Result<(), String> {
    match name {
        "ip" => must(is_ip(value), "value does not look like a valid IP address"),
        "ipv4" => {
            must(value.parse::<Ipv4Addr>().is_ok(), "value does not look like a valid IPv4 address")
        }
        "ipv6" => {
            must(value.parse::<Ipv6Addr>().is_ok(), "value does not look like a valid IPv6 address")
        }
        "ipv4mask" => {
            must(full(r"\d+\.\d+\.\d+\.\d+", value), "value does not look like a valid IP netmask")
        }
        "CIDR" => must(is_cidr(value), "value does not look like a valid CIDR network"),
        "CIDRv4" => must(cidr_v4(value, 8), "value does not look like a valid IPv4 network"),
        "CIDRv6" => must(cidr_v6(value, 8), "value does not look like a valid IPv6 network"),
        "IPorCIDR" => address::block(value),
        "IPorCIDRorAlias" if address::alias(value).is_some() => Ok(()),
        "IPorCIDRorAlias" => address::block(value),
        "address" => must(
            is_ip(value) || full(DNS, value),
            &format!("value does not look like a valid address: {value}"),
        ),
        "mac-addr" => must(
            full(r"(?i:[a-f0-9][02468ace](?::[a-f0-9]{2}){5})", value),
            "value does not look like a valid unicast MAC address",
        ),
        "mac-prefix" => must(
            full(r"(?i:[a-f0-9][02468ace](?::[a-f0-9]{2}){0,2}:?)", value),
            "value is not a valid unicast MAC address prefix",
        ),
        "pve-ipv4-config" => must(
            value == "dhcp" || cidr_v4(value, 8),
            "value does not look like a valid ipv4 network configuration",
        ),
        "pve-ipv6-config" => must(
            matches!(value, "dhcp" | "auto") || cidr_v6(value, 8),
            "value does not look like a valid ipv6 network configuration",
        ),
        "pve-sdn-subnet-id" => must(
            is_cidr(value) || full(r"[a-zA-Z][a-zA-Z0-9]*-.+-\d+", value),
            "value does not look like a valid CIDR network",
        ),
        "pve-sdn-prefix-list-id"
            if matches!(value, "only_default" | "only_default_v6" | "loopbacks_ips") =>
        {
            Err(format!("prefix list ID '{value}' is currently reserved and cannot be used"))
        }
        "pve-sdn-prefix-list-id" => must(
            full(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,30}[a-zA-Z0-9]?", value),
            &format!("prefix list ID '{value}' contains illegal characters"),
        ),
        "FullRangeCIDR" => must(
            cidr_v4(value, 0) || cidr_v6(value, 0),
            "value does not look like a valid CIDR network",
        ),
        "pve-sdn-fabric-id" => must(
            full(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,6}[a-zA-Z0-9]", value),
            &format!("Fabric ID '{value}' contains illegal characters"),
        ),
        "pve-sdn-bgp-rt" => {
            must(full(r"\d+:\d+", value), "value does not look like a valid bgp route-target")
        }
        "pve-fw-addr-spec" => address::list(value).map(drop),
        "pve-fw-dport-spec" => port::check(value, true),
        "pve-fw-sport-spec" => port::check(value, false),
        "pve-fw-protocol-spec" => must(
            matches!(value, "" | "0") || names::is_protocol(value),
            &format!("unknown protocol '{value}'"),
        ),
        "pve-fw-icmp-type-spec" => must(
            value.is_empty() || names::is_icmp_type(value) || names::is_icmp_v6_type(value),
            &format!("invalid icmp-type value '{value}'"),
        ),
        "pve-fw-conntrack-helper" => names::check_helpers(value),
        _ => check_access(name, value),
    }
}

fn check_access(name: &str, value: &str) -> Result<(), String> {
    match name {
        "pve-userid" => user(value),
        "pve-tokenid" => must(
            full(&format!("{USER}![A-Za-z][A-Za-z0-9._-]+"), value),
            &format!("value '{value}' does not look like a valid token ID"),
        ),
        "pve-groupid" => must(
            full(r"[A-Za-z0-9._-]+", value),
            &format!("group name '{value}' contains invalid characters"),
        ),
        "pve-roleid" => must(
            full(r"[A-Za-z0-9._-]+", value),
            &format!("role name '{value}' contains invalid characters"),
        ),
        "pve-realm" => {
            must(full(r"[A-Za-z][A-Za-z0-9._-]+", value), "value does not look like a valid realm")
        }
        "pve-priv" | "pve-priv-8" => must(
            super::super::perm::is_privilege(value, name == "pve-priv-8"),
            &format!("invalid privilege '{value}'"),
        ),
        "pve-storage-content" => must(
            matches!(
                value,
                "images" | "rootdir" | "vztmpl" | "iso" | "backup" | "snippets" | "import" | "none"
            ),
            &format!("invalid content type '{value}'"),
        ),
        "pve-storage-path" => must(
            full(r"(?:/[^/\s]+)+/?|/", value) && !value.contains("/../"),
            "value does not look like a valid absolute path",
        ),
        "pve-storage-server" => must(
            is_ip(value) || full(DNS, value),
            "value does not look like a valid DNS name or IP address",
        ),
        "pve-storage-options" => must(full(r"\S+", value), "invalid options"),
        "pve-storage-vgname" => must(
            full(r"(?i:[a-z0-9][a-z0-9._-]*[a-z0-9])", value),
            &format!("lvm name '{value}' contains illegal characters"),
        ),
        "pve-task-status-type" => must(
            full(r"(?i:ok|error|warning|unknown)", value),
            &format!("invalid status '{value}'"),
        ),
        "pve-ha-resource-id" => {
            must(full(r"[a-z]+:\S+", value), "value does not look like a valid ha resource id")
        }
        "pve-ha-resource-or-vm-id" => {
            must(full(r"[a-z]+:\S+|\d+", value), "value does not look like a valid ha resource id")
        }
        "pve-ha-node" => must(
            full(&format!("{NODE}(?::\\d+)?"), value),
            "value does not look like a valid node name",
        ),
        _ => Ok(()),
    }
}

fn storage_id(value: &str) -> Result<(), String> {
    if value.chars().count() < 2 {
        return Err(format!("storage ID '{value}' cannot be shorter than 2 characters"));
    }
    must(full(STORAGE_ID, value), &format!("storage ID '{value}' contains illegal characters"))
}

fn volume(value: &str) -> Result<(), String> {
    must(full(&format!("{STORAGE_ID}:.+"), value), &format!("unable to parse volume ID '{value}'"))
}

fn hotplug(value: &str) -> Result<(), String> {
    if matches!(value, "0" | "1") {
        return Ok(());
    }
    for feature in split_list(value) {
        if !matches!(feature, "network" | "disk" | "cpu" | "memory" | "usb" | "cloudinit") {
            return Err(format!("invalid hotplug feature '{feature}'"));
        }
    }
    Ok(())
}

fn pool(value: &str) -> Result<(), String> {
    if value.split('/').count() > 3 {
        return Err(format!("pool name '{value}' nested too deeply (max levels = 3)"));
    }
    must(
        full(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", value),
        &format!("pool name '{value}' contains invalid characters"),
    )
}

fn user(value: &str) -> Result<(), String> {
    let length = value.chars().count();
    if length < 3 {
        return Err(format!("user name '{value}' is too short"));
    }
    if length > 64 {
        return Err(format!("user name '{value}' is too long ({length} > 64)"));
    }
    must(full(USER, value), &format!("value '{value}' does not look like a valid user name"))
}
