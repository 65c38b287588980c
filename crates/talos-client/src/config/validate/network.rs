//! Rules of the interfaces in the machine's section.

use std::collections::BTreeMap;

use super::text::{is_address_or_prefix, is_prefix, is_wireguard_key};
use super::{Findings, Part};

/// Options of a bond that are words, with the words that they take.
const BOND_WORDS: [(&str, &[&str]); 9] = [
    (
        "mode",
        &[
            "balance-rr",
            "active-backup",
            "balance-xor",
            "broadcast",
            "802.3ad",
            "balance-tlb",
            "balance-alb",
        ],
    ),
    ("xmitHashPolicy", &["layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4"]),
    ("lacpRate", &["slow", "fast"]),
    (
        "arpValidate",
        &["none", "active", "backup", "all", "filter", "filter-active", "filter-backup"],
    ),
    ("arpAllTargets", &["any", "all"]),
    ("primaryReselect", &["always", "better", "failure"]),
    ("failOverMac", &["none", "active", "follow"]),
    ("adSelect", &["stable", "bandwidth", "count"]),
    ("primary", &[]),
];

pub(super) fn check(findings: &mut Findings, network: Part<'_>) {
    let interfaces: Vec<Part<'_>> = network.at("interfaces").items().collect();
    let parents = membership(findings, &interfaces);
    for interface in &interfaces {
        if interface.at("ignore").is_on() {
            continue;
        }
        identity(findings, *interface);
        bond(findings, interface.at("bond"));
        wireguard(findings, interface.at("wireguard"));
        vlans(findings, *interface);
        addressing(findings, *interface, parents.contains_key(interface.at("interface").text()));
        routes(findings, *interface);
    }
}

fn name(interface: Part<'_>) -> &str {
    interface.at("interface").text()
}

/// Which links belong to a bond or bridge; one that belongs to two is told.
fn membership<'a>(findings: &mut Findings, interfaces: &[Part<'a>]) -> BTreeMap<&'a str, &'a str> {
    let mut parents: BTreeMap<&str, &str> = BTreeMap::new();
    for interface in interfaces {
        let (bond, bridge) = (interface.at("bond"), interface.at("bridge"));
        if bond.is_there() && bridge.is_there() {
            findings
                .of(*interface)
                .error("bond-and-bridge", format!("{:?} is a bond and a bridge", name(*interface)));
            continue;
        }
        if bond.at("interfaces").items().next().is_some()
            && bond.at("deviceSelectors").items().next().is_some()
        {
            findings.of(*interface).error(
                "bond-interfaces-and-selectors",
                format!("{:?} names its links in two ways", name(*interface)),
            );
        }
        for link in bond.at("interfaces").texts().chain(bridge.at("interfaces").texts()) {
            let parent = name(*interface);
            match parents.get(link) {
                Some(other) if *other != parent => findings.of(*interface).error(
                    "link-in-two-parents",
                    format!("{link:?} belongs to {other:?} and {parent:?}"),
                ),
                _ => drop(parents.insert(link, parent)),
            }
        }
    }
    parents
}

fn identity(findings: &mut Findings, interface: Part<'_>) {
    let selector = interface.at("deviceSelector");
    let is_named = !name(interface).is_empty();
    match (is_named, selector.is_there()) {
        (false, false) => findings
            .of(interface)
            .error("interface-unnamed", "an interface has neither a name nor a selector"),
        (true, true) => findings
            .of(interface)
            .error("interface-and-selector", format!("{:?} has a selector too", name(interface))),
        (false, true) if selector.entries().is_empty() => {
            findings
                .of(interface)
                .error("selector-empty", "a selector of an interface selects nothing");
        }
        _ => {}
    }
}

fn bond(findings: &mut Findings, bond: Part<'_>) {
    if !bond.is_there() {
        return;
    }
    for (key, class) in
        [("arpIPTarget", "bond-option-unsupported"), ("adActorSystem", "bond-option-unsupported")]
    {
        let value = bond.at(key);
        if value.items().next().is_some() || !value.text().is_empty() {
            findings.of(bond).error(class, format!("`bond.{key}` is not supported"));
        }
    }
    for (key, words) in BOND_WORDS.iter().filter(|(_, words)| !words.is_empty()) {
        let value = bond.at(key).text();
        if !value.is_empty() && !words.contains(&value) {
            findings.of(bond).error("bond-option-invalid", format!("`bond.{key}` is {value:?}"));
        }
    }
    // A mode that there is not counts as the first one.
    let words = BOND_WORDS.iter().find(|(key, _)| *key == "mode").map(|(_, words)| *words);
    let mode = match bond.at("mode").text() {
        mode if words.is_some_and(|words| words.contains(&mode)) => mode,
        _ => "balance-rr",
    };
    let set = |key: &str| {
        let value = bond.at(key);
        !value.text().is_empty() || value.number().is_some_and(|number| number != 0)
    };
    let only: [(&str, &[&str]); 10] = [
        ("lacpRate", &["802.3ad"]),
        ("adActorSysPrio", &["802.3ad"]),
        ("adUserPortKey", &["802.3ad"]),
        ("minLinks", &[]),
        ("lpInterval", &[]),
        ("packetsPerSlave", &["balance-rr"]),
        ("tlbDynamicLb", &["balance-tlb"]),
        ("arpInterval", &["balance-rr", "active-backup", "balance-xor", "broadcast"]),
        ("arpValidate", &["active-backup"]),
        ("primary", &["active-backup", "balance-tlb", "balance-alb"]),
    ];
    for (key, modes) in only {
        if set(key) && !modes.is_empty() && !modes.contains(&mode) {
            findings.of(bond).error(
                "bond-option-wrong-mode",
                format!("`bond.{key}` does not belong to the mode {mode}"),
            );
        }
    }
    let miimon = bond.at("miimon").number().unwrap_or(0);
    for key in ["updelay", "downdelay"] {
        let delay = bond.at(key).number().unwrap_or(0);
        if delay != 0 && miimon == 0 {
            findings
                .of(bond)
                .error("bond-delay-without-miimon", format!("`bond.{key}` needs `miimon`"));
        } else if delay != 0 && delay % miimon != 0 {
            findings.of(bond).error(
                "bond-delay-not-multiple",
                format!("`bond.{key}` is no multiple of `miimon`"),
            );
        }
    }
}

fn wireguard(findings: &mut Findings, wireguard: Part<'_>) {
    if !wireguard.is_there() {
        return;
    }
    if !is_wireguard_key(wireguard.at("privateKey").text()) {
        findings.of(wireguard).error(
            "wireguard-private-key-invalid",
            "the private key of a WireGuard link is not 32 bytes of base64",
        );
    }
    for peer in wireguard.at("peers").items() {
        if !is_wireguard_key(peer.at("publicKey").text()) {
            findings.of(peer).error(
                "wireguard-public-key-invalid",
                "the public key of a WireGuard peer is not 32 bytes of base64",
            );
        }
        let endpoint = peer.at("endpoint").text();
        if !endpoint.is_empty() && !super::text::is_host_port(endpoint) {
            findings
                .of(peer)
                .error("wireguard-endpoint-invalid", format!("{endpoint:?} has no port"));
        }
        for text in peer.at("allowedIPs").texts().filter(|text| !is_prefix(text)) {
            findings
                .of(peer)
                .error("wireguard-allowed-ip-invalid", format!("{text:?} is no prefix"));
        }
    }
}

fn vlans(findings: &mut Findings, interface: Part<'_>) {
    for vlan in interface.at("vlans").items() {
        let place = format!("{}.{}", name(interface), vlan.at("vlanId").number().unwrap_or(0));
        let cidr = vlan.at("cidr").text();
        if !cidr.is_empty() && vlan.at("addresses").items().next().is_some() {
            findings
                .of(vlan)
                .error("vlan-cidr-and-addresses", format!("{place} has `cidr` and `addresses`"));
        }
        if !cidr.is_empty() && !is_address_or_prefix(cidr) {
            findings
                .of(vlan)
                .error("vlan-cidr-invalid", format!("{place}: {cidr:?} is no address"));
        }
        for text in vlan.at("addresses").texts().filter(|text| !is_address_or_prefix(text)) {
            findings
                .of(vlan)
                .error("vlan-address-invalid", format!("{place}: {text:?} is no address"));
        }
    }
}

fn addressing(findings: &mut Findings, interface: Part<'_>, is_member: bool) {
    let place = name(interface);
    let cidr = interface.at("cidr").text();
    let has_addresses = interface.at("addresses").items().next().is_some();
    let vip = interface.at("vip.ip").text();
    if is_member
        && (has_addresses
            || !cidr.is_empty()
            || interface.at("dhcp").is_on()
            || interface.at("vip").is_there())
    {
        findings.of(interface).error(
            "enslaved-link-addressed",
            format!("{place:?} belongs to a bond or bridge and has addresses"),
        );
    }
    if !cidr.is_empty() {
        findings.of(interface).warning(
            "interface-cidr-deprecated",
            format!("{place:?} has `cidr`: write `addresses`"),
        );
        if has_addresses {
            findings.of(interface).error(
                "interface-cidr-and-addresses",
                format!("{place:?} has `cidr` and `addresses`"),
            );
        }
        if !is_address_or_prefix(cidr) {
            findings
                .of(interface)
                .error("interface-cidr-invalid", format!("{place:?}: {cidr:?} is no address"));
        }
    }
    for text in interface.at("addresses").texts().filter(|text| !is_address_or_prefix(text)) {
        findings
            .of(interface)
            .error("interface-address-invalid", format!("{place:?}: {text:?} is no address"));
    }
    if !vip.is_empty() && vip.parse::<std::net::IpAddr>().is_err() {
        findings
            .of(interface)
            .error("interface-vip-invalid", format!("{place:?}: {vip:?} is no address"));
    }
}

fn routes(findings: &mut Findings, interface: Part<'_>) {
    for (index, route) in interface.at("routes").items().enumerate() {
        let (network, gateway) = (route.at("network").text(), route.at("gateway").text());
        let source = route.at("source").text();
        let is_address = |text: &str| text.parse::<std::net::IpAddr>().is_ok();
        if network.is_empty() && gateway.is_empty() {
            findings
                .of(route)
                .error("route-empty", format!("route {index} has neither network nor gateway"));
        }
        if !network.is_empty() && !is_prefix(network) {
            findings
                .of(route)
                .error("route-network-invalid", format!("route {index}: {network:?} is no prefix"));
        }
        if !gateway.is_empty() && !is_address(gateway) {
            findings.of(route).error(
                "route-gateway-invalid",
                format!("route {index}: {gateway:?} is no address"),
            );
        }
        if !source.is_empty() && !is_address(source) {
            findings
                .of(route)
                .error("route-source-invalid", format!("route {index}: {source:?} is no address"));
        }
    }
}
