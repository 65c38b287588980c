//! Links, addresses, routes.

use serde_json::json;

use super::super::node::{LiveLink, Machine};
use super::Facts;

/// Everything about the network.
pub(super) fn facts(machine: &Machine, out: &mut Facts) {
    let name = machine.hostname();
    if !name.is_empty() {
        let spec = json!({"hostname": name, "domainname": ""});
        out.add(
            ("network", "HostnameStatuses.net.talos.dev"),
            "network.HostnameSpecController",
            "hostname",
            spec,
        );
        let platform = machine.seed.hostname.as_deref() == Some(name.as_str());
        let layer = if platform && machine.config.v1alpha1().is_none() {
            "platform"
        } else {
            "configuration"
        };
        let spec = json!({"hostname": name, "domainname": "", "layer": layer});
        out.add(
            ("network", "HostnameSpecs.net.talos.dev"),
            "HostnameMergeControllers.net.talos.dev",
            "hostname",
            spec,
        );
        if let Some(fact) = out.0.last_mut() {
            fact.finalizers.push("network.HostnameSpecController");
        }
    }
    let all: Vec<String> = machine.addresses().iter().map(ToString::to_string).collect();
    let place = ("network", "NodeAddresses.net.talos.dev");
    let kubernetes = machine.config.v1alpha1().is_some();
    for id in ["accumulative", "current", "routed"] {
        let spec = |list: &[String]| json!({"addresses": list, "sortAlgorithm": "v1"});
        out.add(place, "network.NodeAddressController", id, spec(&all));
        if kubernetes {
            out.add(place, "network.NodeAddressController", format!("{id}-no-k8s"), spec(&all));
            out.add(place, "network.NodeAddressController", format!("{id}-only-k8s"), spec(&[]));
        }
    }
    let first: Vec<&String> = all.first().into_iter().collect();
    out.add(
        place,
        "network.NodeAddressController",
        "default",
        json!({"addresses": first, "sortAlgorithm": "v1"}),
    );
    for (index, link) in machine.links().iter().enumerate() {
        link_facts(link, index + 2, out);
    }
    let servers: Vec<String> =
        machine.seed.network.nameservers.iter().map(ToString::to_string).collect();
    let mut servers = servers;
    let configured = machine.config.texts("machine.network.nameservers");
    if !configured.is_empty() {
        servers = configured;
    }
    if servers.is_empty() {
        servers = vec!["1.1.1.1".into(), "8.8.8.8".into()];
    }
    let spec = json!({"dnsServers": servers, "searchDomains": []});
    out.add(
        ("network", "ResolverStatuses.net.talos.dev"),
        "network.ResolverSpecController",
        "resolvers",
        spec,
    );
    let ready = !all.is_empty();
    let spec = json!({"addressReady": ready, "connectivityReady": ready, "hostnameReady": !name.is_empty(), "etcFilesReady": true});
    out.add(
        ("network", "NetworkStatuses.net.talos.dev"),
        "network.StatusController",
        "status",
        spec,
    );
}

/// The link-local address that the kernel makes from a MAC address.
fn link_local(mac: &str) -> Option<std::net::Ipv6Addr> {
    let bytes: Vec<u16> = mac.split(':').filter_map(|b| u16::from_str_radix(b, 16).ok()).collect();
    let [m0, m1, m2, m3, m4, m5] = <[u16; 6]>::try_from(bytes).ok()?;
    let (first, last) = ((m0 ^ 2) << 8 | m1, m4 << 8 | m5);
    Some(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, first, m2 << 8 | 0xff, 0xfe00 | m3, last))
}

fn link_facts(link: &LiveLink, index: usize, out: &mut Facts) {
    let name = &link.name;
    let status = json!({
        "altNames": alternative_names(link), "broadcastAddr": "ff:ff:ff:ff:ff:ff", "busPath": "0000:00:04.0",
        "driver": "virtio_net", "driverVersion": "1.0.0", "duplex": "Unknown",
        "flags": "UP,BROADCAST,RUNNING,MULTICAST,LOWER_UP", "hardwareAddr": link.mac, "index": index, "kind": "",
        "linkIndex": 0, "linkState": true, "mtu": link.mtu, "operationalState": "up", "permanentAddr": link.mac,
        "port": "Other", "product": "Virtio network device", "productID": "0x1000", "queueDisc": "fq_codel",
        "slaveKind": "", "speedMbit": 4_294_967_295_u64, "type": "ether", "vendor": "Red Hat, Inc.",
        "vendorID": "0x1af4",
    });
    out.add(
        ("network", "LinkStatuses.net.talos.dev"),
        "network.LinkStatusController",
        name.clone(),
        status,
    );
    let local = link_local(&link.mac).map(|l| (format!("{l}/64"), "inet6", "link"));
    let own = link
        .addresses
        .iter()
        .map(|a| (a.to_string(), if a.addr().is_ipv4() { "inet4" } else { "inet6" }, "global"));
    let place = ("network", "AddressStatuses.net.talos.dev");
    for (address, family, scope) in own.chain(local) {
        let spec = json!({
            "address": address, "family": family, "flags": "permanent", "linkIndex": index, "linkName": name,
            "priority": 0, "scope": scope,
        });
        out.add(place, "network.AddressStatusController", format!("{name}/{address}"), spec);
    }
    routes(link, index, out);
}

fn alternative_names(link: &LiveLink) -> Vec<String> {
    vec!["enp0s4".into(), "ens4".into(), format!("enx{}", link.mac.replace(':', ""))]
}

struct Route<'a> {
    id: String,
    dst: String,
    gateway: String,
    src: String,
    family: &'a str,
    priority: u32,
    marks: (&'a str, &'a str, &'a str, &'a str),
}

fn routes(link: &LiveLink, index: usize, out: &mut Facts) {
    let name = &link.name;
    let mut list = Vec::new();
    for address in &link.addresses {
        let (ip, net) = (address.addr(), address.trunc());
        let family = if ip.is_ipv4() { "inet4" } else { "inet6" };
        let full = if ip.is_ipv4() { 32 } else { 128 };
        let make = |id: String, dst: String, marks| Route {
            id,
            dst,
            gateway: String::new(),
            src: ip.to_string(),
            family,
            priority: 0,
            marks,
        };
        list.push(make(
            format!("{family}//{net}/0"),
            net.to_string(),
            ("kernel", "link", "main", "unicast"),
        ));
        let own = format!("{ip}/{full}");
        list.push(make(
            format!("local/{family}//{own}/0"),
            own,
            ("kernel", "host", "local", "local"),
        ));
        if ip.is_ipv4() {
            let all = format!("{}/32", net.broadcast());
            list.push(make(
                format!("local/inet4//{all}/0"),
                all,
                ("kernel", "link", "local", "broadcast"),
            ));
        }
    }
    for gateway in &link.gateways {
        let family = if gateway.is_ipv4() { "inet4" } else { "inet6" };
        list.push(Route {
            id: format!("{family}/{gateway}//1024"),
            dst: String::new(),
            gateway: gateway.to_string(),
            src: String::new(),
            family,
            priority: 1024,
            marks: ("static", "global", "main", "unicast"),
        });
    }
    local_routes(link, &mut list);
    emit(list, (name, index), out);
}

fn emit(list: Vec<Route<'_>>, link: (&str, usize), out: &mut Facts) {
    let (name, index) = link;
    for route in list {
        let (protocol, scope, table, kind) = route.marks;
        let spec = json!({
            "dst": route.dst, "family": route.family, "flags": "", "gateway": route.gateway, "outLinkIndex": index,
            "outLinkName": name, "priority": route.priority, "protocol": protocol, "scope": scope, "src": route.src,
            "table": table, "type": kind,
        });
        out.add(
            ("network", "RouteStatuses.net.talos.dev"),
            "network.RouteStatusController",
            route.id,
            spec,
        );
    }
}

fn local_routes(link: &LiveLink, list: &mut Vec<Route<'_>>) {
    let name = &link.name;
    if let Some(local) = link_local(&link.mac) {
        let own = format!("{local}/128");
        let entries = [
            (
                format!("{name}/inet6//fe80::/64/256"),
                "fe80::/64".to_owned(),
                256,
                ("kernel", "global", "main", "unicast"),
            ),
            (
                format!("local/{name}/inet6//{own}/0"),
                own,
                0,
                ("kernel", "global", "local", "local"),
            ),
            (
                format!("local/{name}/inet6//ff00::/8/256"),
                "ff00::/8".to_owned(),
                256,
                ("kernel", "global", "local", "multicast"),
            ),
        ];
        list.extend(entries.map(|(id, dst, priority, marks)| Route {
            id,
            dst,
            gateway: String::new(),
            src: String::new(),
            family: "inet6",
            priority,
            marks,
        }));
    }
}
