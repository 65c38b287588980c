//! Rules of the other documents, and of what they say beside the main one.
//!
//! Expressions (CEL) are not compiled here: a node tells of them.

use std::net::IpAddr;

use super::super::DocumentId;
use super::super::load::LINKS;
use super::super::url::GoUrl;
use super::text::{is_host_port, is_prefix, is_subnet_filter, is_wireguard_key};
use super::{Environment, Findings, Part, Wanted, other, volume};

pub(super) fn check(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    let kind = id.kind.as_str();
    if LINKS.contains(&kind) {
        link(findings, id, document);
    }
    match kind {
        "HostnameConfig" => hostname(findings, document),
        "Layer2VIPConfig" | "HCloudVIPConfig" => vip(findings, id, document),
        "LinkAliasConfig" => alias(findings, id, document),
        "DHCPv4Config" | "DHCPv6Config" => dhcp(findings, id, document),
        "EthernetConfig" => named(findings, id),
        "RegistryTLSConfig" => other::tls(findings, id, document),
        "RegistryAuthConfig" => other::auth(findings, id, document),
        "RoutingRuleConfig" => other::routing(findings, id, document),
        "TCPProbeConfig" => other::probe(findings, id, document),
        "SideroLinkConfig" => other::siderolink(findings, document),
        "ImageVerificationConfig" => other::images(findings, document),
        "VolumeConfig"
        | "UserVolumeConfig"
        | "RawVolumeConfig"
        | "SwapVolumeConfig"
        | "ExistingVolumeConfig"
        | "ExternalVolumeConfig" => volume::check(findings, id, document),
        "TimeSyncConfig" => time(findings, document),
        "StaticHostConfig" => static_host(findings, id, document),
        "BlackholeRouteConfig" => {
            named(findings, id);
            if !is_prefix(&id.name) {
                findings.error("name-not-prefix", format!("{:?} is no prefix", id.name));
            }
        }
        "KubeSpanConfig" => kubespan(findings, document),
        "RegistryMirrorConfig" => mirror(findings, id, document),
        "NetworkRuleConfig" => rule(findings, id, document),
        "ExtensionServiceConfig" => service(findings, id, document),
        "KmsgLogConfig" => kmsg(findings, id, document),
        "EventSinkConfig" => {
            let endpoint = document.at("endpoint").text();
            if !is_host_port(endpoint) {
                findings.error("sink-endpoint-invalid", format!("{endpoint:?} is not host:port"));
            }
        }
        "OOMConfig" => other::memory(findings, document),
        "WatchdogTimerConfig" => watchdog(findings, document),
        "ZswapConfig" => {
            let percent = document.at("maxPoolPercent").number().unwrap_or(0);
            if !(0..=100).contains(&percent) {
                findings.error("zswap-percent-range", format!("maxPoolPercent is {percent}"));
            }
        }
        "EnvironmentConfig" => {
            for (name, _) in document.at("variables").entries() {
                let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
                let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                if !first || !rest {
                    findings.error(
                        "environment-name-invalid",
                        format!("{name:?} is no name of a variable"),
                    );
                }
            }
        }
        _ => {}
    }
}

pub(super) fn named(findings: &mut Findings, id: &DocumentId) {
    if id.name.is_empty() {
        findings.error("name-required", format!("a {} needs a name", id.kind));
    }
}

fn is_unspecified(text: &str) -> bool {
    let address = text.split('/').next().unwrap_or(text);
    address.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

fn link(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    named(findings, id);
    match id.kind.as_str() {
        "VLANConfig" => {
            if !(1..=4094).contains(&document.at("vlanID").number().unwrap_or(0)) {
                findings.error("vlan-id-range", "vlanID is not between 1 and 4094");
            }
            if document.at("parent").text().is_empty() {
                findings.error("vlan-parent-required", "a VLAN needs a parent");
            }
        }
        "BondConfig" => {
            if document.at("links").items().next().is_none() {
                findings.error("bond-links-required", "a bond needs links");
            }
            let mode = document.at("bondMode").text();
            if mode.is_empty() {
                findings.error("bond-mode-required", "a bond needs a mode");
            }
            if mode == "802.3ad" {
                for option in ["miimon", "updelay", "downdelay"] {
                    if !document.at(option).is_there() {
                        findings.warning(
                            "bond-option-missing",
                            format!("{option} of the 802.3ad bond is not set"),
                        );
                    }
                }
            }
        }
        "WireguardConfig" => wireguard(findings, document),
        "VRFConfig" => {
            let table = document.at("table");
            if ["", "unspec", "default", "main", "local"].contains(&table.text())
                && table.number().is_none()
            {
                findings.error("vrf-table-reserved", "a VRF needs a table of its own");
            }
        }
        _ => {}
    }
    for (index, address) in document.at("addresses").items().enumerate() {
        let text = address.at("address").text();
        if text.is_empty() {
            findings
                .of(address)
                .error("link-address-required", format!("address {index} is empty"));
        } else if is_unspecified(text) {
            findings
                .of(address)
                .error("link-address-invalid", format!("address {index} is {text:?}"));
        }
    }
    for (index, route) in document.at("routes").items().enumerate() {
        // A default route is written without a destination.
        let destination = route.at("destination").text();
        if is_unspecified(destination) {
            findings.of(route).error(
                "link-route-destination-invalid",
                format!("the destination of route {index} is {destination:?}"),
            );
        }
        for (key, class) in
            [("gateway", "link-route-gateway-invalid"), ("source", "link-route-source-invalid")]
        {
            if is_unspecified(route.at(key).text()) {
                findings
                    .of(route)
                    .error(class, format!("the {key} of route {index} is not specified"));
            }
        }
    }
}

fn wireguard(findings: &mut Findings, document: Part<'_>) {
    let key = document.at("privateKey").text();
    if key.is_empty() {
        findings.error("wireguard-doc-key-required", "a WireGuard link needs a private key");
    } else if !is_wireguard_key(key) {
        findings.error("wireguard-doc-key-invalid", "the private key is not 32 bytes of base64");
    }
    if !(0..=65535).contains(&document.at("listenPort").number().unwrap_or(0)) {
        findings.error("wireguard-doc-port-range", "listenPort is not between 0 and 65535");
    }
    for (index, peer) in document.at("peers").items().enumerate() {
        let (public, shared) = (peer.at("publicKey").text(), peer.at("presharedKey").text());
        if public.is_empty() {
            findings.of(peer).error(
                "wireguard-doc-peer-key-required",
                format!("peer {index} has no public key"),
            );
        } else if !is_wireguard_key(public) {
            findings.of(peer).error(
                "wireguard-doc-peer-key-invalid",
                format!("the public key of peer {index} is not 32 bytes of base64"),
            );
        }
        if !shared.is_empty() && !is_wireguard_key(shared) {
            findings.of(peer).error(
                "wireguard-doc-preshared-invalid",
                format!("the shared key of peer {index} is not 32 bytes of base64"),
            );
        }
        if peer.at("persistentKeepaliveInterval").text().starts_with('-') {
            findings.of(peer).error(
                "wireguard-doc-keepalive-negative",
                format!("the keepalive of peer {index} is negative"),
            );
        }
    }
}

fn hostname(findings: &mut Findings, document: Part<'_>) {
    let (auto, name) = (document.at("auto").text(), document.at("hostname").text());
    if auto.is_empty() && name.is_empty() {
        findings.error("hostname-neither", "neither `auto` nor `hostname` is set");
    }
    if !["", "stable", "off"].contains(&auto) {
        findings.error("hostname-auto-invalid", format!("`auto` is {auto:?}"));
    }
    if !name.is_empty() {
        if !["", "off"].contains(&auto) {
            findings.error("hostname-both", "`hostname` needs `auto: off`");
        }
        let label = name.split('.').next().unwrap_or_default();
        if label.is_empty() || label.len() > 63 {
            findings.error(
                "hostname-label-invalid",
                "the first label of the host name is empty or longer than 63",
            );
        }
        if name.len() > 253 {
            findings.error("hostname-too-long", "the host name is longer than 253");
        }
    }
}

fn vip(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    named(findings, id);
    if !id.name.is_empty() && id.name.parse::<IpAddr>().is_err() {
        findings.error("name-not-ip", format!("{:?} is no address", id.name));
    }
    if document.at("link").text().is_empty() {
        findings.error("vip-link-required", "a shared address needs a link");
    }
    if id.kind == "HCloudVIPConfig" && document.at("apiToken").text().is_empty() {
        findings.error("vip-token-required", "a shared address of Hetzner Cloud needs a token");
    }
}

fn alias(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    named(findings, id);
    if findings.minor >= 13 && id.name.contains('%') {
        let is_pattern = id
            .name
            .strip_suffix("%d")
            .is_some_and(|front| !front.is_empty() && !front.contains('%'));
        if !is_pattern {
            findings.error(
                "name-pattern-invalid",
                format!("{:?} has a `%` that is no `%d` at its end", id.name),
            );
        }
    }
    let selector = document.at("selector.match");
    if !findings.expression(selector, Environment::Link, Wanted::Bool, "link-selector-invalid") {
        findings.error("link-selector-required", "an alias needs a selector");
    }
}

fn dhcp(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    named(findings, id);
    let by_duid = document.at("clientIdentifier").text() == "duid";
    let has_duid = !document.at("duidRaw").text().is_empty();
    if by_duid && !has_duid {
        findings.error("dhcp-duid-required", "a DUID needs `duidRaw`");
    } else if !by_duid && has_duid {
        findings.error("dhcp-duid-unwanted", "`duidRaw` needs `clientIdentifier: duid`");
    }
}

fn time(findings: &mut Findings, document: Part<'_>) {
    if document.at("bootTimeout").text().starts_with('-') {
        findings.error("time-boot-timeout-negative", "bootTimeout is negative");
    }
    if document.at("ntp").is_there() && document.at("ptp").is_there() {
        findings.error("time-ntp-and-ptp", "there are `ntp` and `ptp`");
    }
}

fn static_host(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    named(findings, id);
    if id.name.parse::<IpAddr>().is_err() {
        findings.error("name-not-ip", format!("{:?} is no address", id.name));
    }
    if document.at("hostnames").items().next().is_none() {
        findings.error("static-host-names-required", "a static host needs host names");
    }
}

fn kubespan(findings: &mut Findings, document: Part<'_>) {
    if document.at("mtu").number().is_some_and(|mtu| mtu < 1280) {
        findings.error("kubespan-mtu-small", "the MTU of KubeSpan is below 1280");
    }
    for text in document.at("filters.endpoints").texts().filter(|text| !is_subnet_filter(text)) {
        findings.error("kubespan-filter-invalid", format!("{text:?} is no filter of endpoints"));
    }
}

fn mirror(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    named(findings, id);
    for endpoint in document.at("endpoints").items() {
        let url = endpoint.at("url").text();
        if url.is_empty() {
            findings.of(endpoint).error("mirror-url-required", "an endpoint has no URL");
        } else if !GoUrl::parse(url).is_ok_and(|url| ["http", "https"].contains(&url.scheme())) {
            findings
                .of(endpoint)
                .error("mirror-url-scheme", format!("{url:?} is neither http nor https"));
        }
    }
}

fn rule(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    if id.name.is_empty() {
        return named(findings, id);
    }
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for port in document.at("portSelector.ports").items() {
        let (low, high) = match port.number() {
            Some(port) => (port, port),
            None => {
                let (low, high) = port.text().split_once('-').unwrap_or((port.text(), port.text()));
                (low.trim().parse().unwrap_or(0), high.trim().parse().unwrap_or(0))
            }
        };
        if low > high {
            return findings
                .of(port)
                .error("rule-ports-reversed", format!("{low}-{high} is reversed"));
        }
        ranges.push((low, high));
    }
    if ranges.is_empty() {
        return findings.error("rule-ports-required", "a rule needs ports");
    }
    ranges.sort_unstable();
    let overlap = ranges.windows(2).any(|pair| matches!(pair, [a, b] if b.0 <= a.1));
    if overlap {
        return findings.error("rule-ports-overlap", "ranges of ports overlap");
    }
    for ingress in document.at("ingress").items() {
        if !is_prefix(ingress.at("subnet").text()) {
            return findings
                .of(ingress)
                .error("rule-subnet-invalid", "an ingress rule has no subnet");
        }
    }
}

fn service(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    if id.name.is_empty() {
        return named(findings, id);
    }
    let files: Vec<Part<'_>> = document.at("configFiles").items().collect();
    if files.is_empty() && document.at("environment").items().next().is_none() {
        return findings
            .error("service-nothing", "an extension service has neither files nor environment");
    }
    for file in files {
        if file.at("content").text().is_empty() {
            return findings
                .of(file)
                .error("service-content-required", "a configuration file has no content");
        }
        if file.at("mountPath").text().is_empty() {
            return findings
                .of(file)
                .error("service-mount-path-required", "a configuration file has no path");
        }
    }
}

fn kmsg(findings: &mut Findings, id: &DocumentId, document: Part<'_>) {
    if id.name.is_empty() {
        return named(findings, id);
    }
    let text = document.at("url").text();
    let Some(url) = GoUrl::parse(text).ok().filter(|_| !text.is_empty()) else {
        return findings.error("url-required", "there is no URL");
    };
    if !["tcp", "udp"].contains(&url.scheme()) {
        findings.error("url-scheme", format!("{text:?} is neither tcp nor udp"));
    } else if !matches!(url.path(), "" | "/") {
        findings.error("url-path", format!("{text:?} has a path"));
    } else if url.port().is_empty() {
        findings.error("url-port-required", format!("{text:?} has no port"));
    }
}

fn watchdog(findings: &mut Findings, document: Part<'_>) {
    if document.at("device").text().is_empty() {
        return findings.error("watchdog-device-required", "a watchdog needs a device");
    }
    let timeout = document.at("timeout").text();
    let seconds = crate::talosconfig::lifetime(timeout).ok().filter(|_| !timeout.is_empty());
    if seconds.is_some_and(|seconds| seconds != 0 && seconds < 10) {
        findings.error("watchdog-timeout-small", "the watchdog's timeout is below 10s");
    }
}

/// What the main document and another one say of the same thing; the first such field is told.
pub(super) fn conflict(findings: &mut Findings, main: Part<'_>, document: Part<'_>) {
    let machine = main.at("machine");
    let network = machine.at("network");
    match document.at("kind").text() {
        "HostnameConfig" => {
            if !network.at("hostname").text().is_empty() {
                findings.error(
                    "conflict-hostname",
                    "`machine.network.hostname` and HostnameConfig name the host",
                );
            } else if machine.at("features.stableHostname").is_on() {
                findings.error(
                    "conflict-stable-hostname",
                    "`features.stableHostname` and HostnameConfig name the host",
                );
            }
        }
        "ResolverConfig" => {
            let fields = ["searchDomains", "nameservers"];
            let found = fields.iter().find(|name| network.at(name).is_there()).copied();
            let off = network.at("disableSearchDomain").is_on().then_some("disableSearchDomain");
            if let Some(name) = found.or(off) {
                findings.error(
                    "conflict-resolver",
                    format!("`machine.network.{name}` and ResolverConfig set resolvers"),
                );
            }
        }
        "TimeSyncConfig" => {
            let time = machine.at("time");
            let found = if time.at("disabled").is_on() {
                Some("disabled")
            } else {
                ["servers", "bootTimeout"].into_iter().find(|name| time.at(name).is_there())
            };
            if let Some(name) = found {
                findings.error(
                    "conflict-time",
                    format!("`machine.time.{name}` and TimeSyncConfig set the time"),
                );
            }
        }
        "KubeSpanConfig" if findings.minor >= 13 && network.at("kubespan").is_there() => {
            findings.error(
                "conflict-kubespan",
                "`machine.network.kubespan` and KubeSpanConfig are both there",
            );
        }
        "VolumeConfig" => {
            let name = document.at("name").text().to_ascii_lowercase();
            let has = document.at("encryption").is_there();
            if has && machine.at("systemDiskEncryption").at(&name).is_there() {
                findings
                    .error("conflict-encryption", format!("the encryption of {name} is set twice"));
            }
        }
        _ => {}
    }
}
