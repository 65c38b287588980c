//! Networks: resolvers, probes, pairs of links, BGP.

use std::net::IpAddr;

use super::super::super::DocumentId;
use super::super::super::url::GoUrl;
use super::super::document::named;
use super::super::{Findings, Part};
use super::is_negative;

/// Longest name of a link, in bytes.
const LONGEST_LINK: usize = 15;

pub(super) fn check(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    match id.kind.as_str() {
        "ResolverConfig" => resolvers(findings, document),
        "HTTPProbeConfig" => probe(findings, id, document),
        "VethConfig" => {
            let peer = document.at("peer.name").text();
            for name in [id.name.as_str(), peer] {
                link_name(findings, name);
            }
            if id.name == peer {
                findings.error("veth-same-name", "both ends have one name");
            }
        }
        "BGPInstanceConfig" => bgp(findings, id, document),
        "TimeSyncConfig" if document.at("ntp.useNTS").is_on() => {
            for server in document.at("ntp.servers").items() {
                if server.text().parse::<IpAddr>().is_ok() {
                    findings.of(server).error("nts-needs-names", "NTS needs names, not addresses");
                }
            }
        }
        _ => {}
    }
}

fn link_name(findings: &mut Findings, name: &str) {
    if name.is_empty() {
        findings.error("name-required", "a link needs a name");
        return;
    }
    let is_odd = |c: char| c == '/' || c == ':' || c.is_whitespace();
    if name.len() > LONGEST_LINK || matches!(name, "." | "..") || name.contains(is_odd) {
        findings.error("link-name-invalid", format!("{name:?} is no name of a link"));
    }
}

fn resolvers(findings: &mut Findings, document: Part<'_>) {
    let servers = document.at("nameservers");
    for (index, server) in servers.items().enumerate() {
        if server.at("address").text().is_empty() {
            findings
                .of(server)
                .error("nameserver-invalid", format!("name server {index} has no address"));
        }
        let has_name = !server.at("tlsServerName").text().is_empty();
        if is_encrypted(server) != has_name {
            findings.of(server).error(
                "nameserver-tls-name",
                format!(
                    "name server {index}: `tlsServerName` belongs to DoT and DoH, which need it"
                ),
            );
        }
    }
    let dns = document.at("hostDNS");
    for (name, class) in [
        ("forwardKubeDNSToHost", "hostdns-forward-needs-enabled"),
        ("resolveMemberNames", "hostdns-members-needs-enabled"),
    ] {
        if dns.at(name).is_on() && !dns.at("enabled").is_on() {
            findings.error(class, format!("`{name}` needs `hostDNS.enabled`"));
        }
    }
    if servers.items().next().is_some() && servers.items().all(is_encrypted) {
        findings.warning(
            "nameservers-all-encrypted",
            "all name servers are encrypted: a clock that is wrong leaves the machine without names",
        );
    }
}

/// Whether a name server is spoken to by TLS.
pub(super) fn is_encrypted(server: Part<'_>) -> bool {
    matches!(server.at("protocol").text(), "DoT" | "DoH")
}

fn probe(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    named(findings, id);
    let text = document.at("url").text();
    if text.is_empty() {
        findings.error("probe-endpoint-required", "the probe has no `url`");
    } else {
        let url = GoUrl::parse(text).ok();
        let scheme = url.as_ref().map(GoUrl::scheme).unwrap_or_default();
        let host = url.as_ref().map(GoUrl::host_name).unwrap_or_default();
        if !["http", "https"].contains(&scheme) || host.is_empty() {
            findings.error("probe-url-invalid", format!("{text:?} is no URL of http or https"));
        }
    }
    for key in ["interval", "failureThreshold", "timeout"] {
        if is_negative(document.at(key)) {
            findings.error("probe-negative", format!("{key} is negative"));
        }
    }
}

fn bgp(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    named(findings, id);
    if document.at("localASN").number().unwrap_or(0) == 0 {
        findings.error("bgp-asn-required", "there is no `localASN`");
    }
    let router = document.at("routerID").text();
    if !router.is_empty() && router.parse::<std::net::Ipv4Addr>().is_err() {
        findings.error("bgp-router-id", format!("{router:?} is no IPv4 address"));
    }
    let mut seen = std::collections::BTreeSet::new();
    for neighbor in document.at("neighbors").items() {
        let (address, link) = (neighbor.at("address").text(), neighbor.at("link").text());
        if address.is_empty() == link.is_empty() {
            findings
                .of(neighbor)
                .error("bgp-neighbor-identity", "a neighbor has either an address or a link");
        } else if !seen.insert((address, link)) {
            findings.of(neighbor).error("bgp-neighbor-twice", "two neighbors are the same");
        }
        if neighbor.at("peerASN").number().unwrap_or(0) == 0 {
            findings.of(neighbor).error("bgp-asn-required", "a neighbor has no `peerASN`");
        }
        if neighbor.at("bfd").is_there() && !document.at("vrf").text().is_empty() {
            findings.of(neighbor).error("bgp-bfd-in-vrf", "there is no BFD in a VRF");
        }
    }
}
