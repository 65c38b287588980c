//! Interfaces of the main document, and documents of links.

use serde_json::{Map, Value, json};

use super::split::Out;
use super::{Main, document, field, is_nothing, items, left, text, unknown};

/// Options of a bond that both layouts have: the older name, the newer one.
pub(super) const BOND: [(&str, &str); 24] = [
    ("mode", "bondMode"),
    ("miimon", "miimon"),
    ("updelay", "updelay"),
    ("downdelay", "downdelay"),
    ("useCarrier", "useCarrier"),
    ("xmitHashPolicy", "xmitHashPolicy"),
    ("arpInterval", "arpInterval"),
    ("arpValidate", "arpValidate"),
    ("arpAllTargets", "arpAllTargets"),
    ("lacpRate", "lacpRate"),
    ("failOverMac", "failOverMac"),
    ("adSelect", "adSelect"),
    ("adActorSysPrio", "adActorSysPrio"),
    ("adUserPortKey", "adUserPortKey"),
    ("primaryReselect", "primaryReselect"),
    ("resendIgmp", "resendIGMP"),
    ("minLinks", "minLinks"),
    ("lpInterval", "lpInterval"),
    ("packetsPerSlave", "packetsPerSlave"),
    ("numPeerNotif", "numPeerNotif"),
    ("tlbDynamicLb", "tlbLogicalLb"),
    ("allSlavesActive", "allSlavesActive"),
    ("peerNotifyDelay", "peerNotifDelay"),
    ("interfaces", "links"),
];

/// What a selector of the main document tells a link by: its name there, the expression's field, and
/// whether that is a hardware address.
pub(super) const SELECTORS: [(&str, &str, bool); 5] = [
    ("busPath", "link.bus_path", false),
    ("hardwareAddr", "link.hardware_addr", true),
    ("permanentAddr", "link.permanent_addr", true),
    ("pciID", "link.pciid", false),
    ("driver", "link.driver", false),
];

const INTERFACE: [&str; 12] = [
    "interface",
    "deviceSelector",
    "addresses",
    "cidr",
    "routes",
    "mtu",
    "dhcp",
    "dhcpOptions",
    "vlans",
    "vip",
    "dummy",
    "ignore",
];

const VLAN: [&str; 8] =
    ["vlanId", "addresses", "cidr", "routes", "mtu", "dhcp", "dhcpOptions", "vip"];

/// Each interface is moved as a whole, or stays.
pub(super) fn split(main: &mut Main, out: &mut Out) {
    let path = ["machine", "network", "interfaces"];
    let all = main.take(&path).unwrap_or_default();
    let mut kept = Vec::new();
    for (index, interface) in all.as_array().into_iter().flatten().enumerate() {
        match documents(interface, index, out) {
            Ok(made) => out.documents.extend(made),
            Err(why) => {
                out.left.push(left(format!("machine.network.interfaces[{index}]"), why));
                kept.push(interface.clone());
            }
        }
    }
    if !kept.is_empty() {
        main.put(&path, kept.into());
    }
}

fn documents(interface: &Value, index: usize, out: &Out) -> Result<Vec<Value>, String> {
    let is_on = |name: &str| interface.get(name).and_then(Value::as_bool) == Some(true);
    let special = ["bond", "bridge", "wireguard"].map(|name| (name, field(interface, name)));
    let known: Vec<&str> =
        INTERFACE.iter().copied().chain(special.iter().map(|(name, _)| *name)).collect();
    if let Some(name) = unknown(interface, &known) {
        return Err(format!("`{name}` has no document"));
    }
    if is_on("ignore") {
        return Err("`ignore` has no document".to_owned());
    }
    let mut made = Vec::new();
    let name = match (text(interface, "interface"), interface.get("deviceSelector")) {
        ("", Some(selector)) => {
            let name = format!("net{index}");
            made.push(alias(&name, selector)?);
            name
        }
        ("", None) => return Err("it has no name".to_owned()),
        (name, _) => name.to_owned(),
    };
    let mut own: Vec<(&'static str, Value)> = vec![("name", json!(name))];
    let kind = match special.iter().find(|(_, value)| !is_nothing(value)) {
        Some(("bond", bond)) => {
            own.extend(self::bond(bond)?);
            "BondConfig"
        }
        Some(("bridge", bridge)) => {
            own.extend(self::bridge(bridge)?);
            "BridgeConfig"
        }
        Some((_, wireguard)) => {
            let names = ["privateKey", "listenPort", "firewallMark", "peers"];
            own.extend(names.map(|name| (name, field(wireguard, name))));
            "WireguardConfig"
        }
        None if is_on("dummy") => "DummyLinkConfig",
        None => "LinkConfig",
    };
    own.extend(common(interface)?);
    made.push(document(kind, own));
    made.extend(dhcp(&name, interface)?);
    made.extend(vip(&name, interface)?);
    for vlan in items(interface, "vlans") {
        if let Some(name) = unknown(vlan, &VLAN) {
            return Err(format!("`{name}` of a VLAN has no document"));
        }
        let id = vlan.get("vlanId").and_then(Value::as_u64).unwrap_or_default();
        let inner = format!("{name}.{id}");
        let own = [("name", json!(inner)), ("vlanID", json!(id)), ("parent", json!(name))];
        made.push(document("VLANConfig", own.into_iter().chain(common(vlan)?)));
        made.extend(dhcp(&inner, vlan)?);
        made.extend(vip(&inner, vlan)?);
    }
    let taken = |one: &Value| {
        out.documents.iter().any(|other| {
            other.get("kind") == one.get("kind") && other.get("name") == one.get("name")
        })
    };
    match made.iter().find(|one| taken(one)) {
        Some(one) => {
            Err(format!("there is a document {}/{} already", text(one, "kind"), text(one, "name")))
        }
        None => Ok(made),
    }
}

/// A name for the link that a selector means.
fn alias(name: &str, selector: &Value) -> Result<Value, String> {
    let names: Vec<&str> = SELECTORS.iter().map(|(name, ..)| *name).collect();
    if let Some(name) = unknown(selector, &names) {
        return Err(format!("`deviceSelector.{name}` has no expression"));
    }
    let terms = SELECTORS.iter().filter_map(|(name, field, is_address)| {
        let value = selector.get(name)?.as_str()?.to_owned();
        let is_pattern = value.contains(['*', '?', '[']);
        let field = if *is_address { format!("mac({field})") } else { (*field).to_owned() };
        let value = if *is_address { value.to_ascii_lowercase() } else { value };
        Some(match is_pattern {
            true => format!("glob({}, {field})", json!(value)),
            false => format!("{field} == {}", json!(value)),
        })
    });
    let terms: Vec<String> = terms.collect();
    if terms.is_empty() {
        return Err("`deviceSelector` selects nothing".to_owned());
    }
    let selector = json!({ "match": terms.join(" && ") });
    Ok(document("LinkAliasConfig", [("name", json!(name)), ("selector", selector)]))
}

/// What all links have.
fn common(link: &Value) -> Result<[(&'static str, Value); 4], String> {
    let old = link.get("cidr").filter(|cidr| cidr.as_str() != Some(""));
    let addresses = old.into_iter().chain(items(link, "addresses"));
    let addresses: Vec<Value> = addresses.map(|one| json!({ "address": one })).collect();
    let routes = items(link, "routes").map(route).collect::<Result<Vec<_>, _>>()?;
    Ok([
        ("up", json!(true)),
        ("mtu", field(link, "mtu")),
        ("addresses", json!(addresses)),
        ("routes", json!(routes)),
    ])
}

fn route(route: &Value) -> Result<Value, String> {
    let mut made = Map::new();
    // A default route does not say where it goes to: its gateway tells the family.
    let gateway = route.get("gateway").and_then(Value::as_str).unwrap_or_default();
    let default = if gateway.contains(':') { "::/0" } else { "0.0.0.0/0" };
    let network = route.get("network").and_then(Value::as_str).unwrap_or_default();
    if network.ends_with("/0") && network != default {
        return Err(format!("a route to {network} without a gateway of its kind has no document"));
    }
    for (old, new) in [
        ("network", "destination"),
        ("gateway", "gateway"),
        ("source", "source"),
        ("metric", "metric"),
        ("mtu", "mtu"),
    ] {
        let value = field(route, old);
        if !is_nothing(&value) && value != "" && value != default {
            made.insert(new.to_owned(), value);
        }
    }
    Ok(Value::Object(made))
}

fn dhcp(name: &str, link: &Value) -> Result<Vec<Value>, String> {
    if link.get("dhcp").and_then(Value::as_bool) != Some(true) {
        return Ok(Vec::new());
    }
    let options = field(link, "dhcpOptions");
    if let Some(name) = unknown(&options, &["routeMetric", "ipv4", "ipv6", "duidv6"]) {
        return Err(format!("`dhcpOptions.{name}` has no document"));
    }
    let is = |name: &str| options.get(name).and_then(Value::as_bool);
    let mut made = Vec::new();
    let metric = || field(&options, "routeMetric");
    if is("ipv4") != Some(false) {
        let fields = [("name", json!(name)), ("routeMetric", metric())];
        made.push(document("DHCPv4Config", fields));
    }
    if is("ipv6") == Some(true) {
        let duid = options.get("duidv6").filter(|duid| duid.as_str() != Some("")).cloned();
        let identifier = duid.as_ref().map_or(Value::Null, |_| json!("duid"));
        let fields = [
            ("name", json!(name)),
            ("routeMetric", metric()),
            ("clientIdentifier", identifier),
            ("duidRaw", duid.unwrap_or_default()),
        ];
        made.push(document("DHCPv6Config", fields));
    }
    Ok(made)
}

fn vip(name: &str, link: &Value) -> Result<Option<Value>, String> {
    let Some(vip) = link.get("vip").filter(|vip| !is_nothing(vip)) else { return Ok(None) };
    if let Some(name) = unknown(vip, &["ip", "hcloud"]) {
        return Err(format!("`vip.{name}` has no document"));
    }
    let own = [("name", field(vip, "ip")), ("link", json!(name))];
    Ok(Some(match vip.get("hcloud") {
        Some(cloud) if !is_nothing(cloud) => {
            let token = ("apiToken", field(cloud, "apiToken"));
            document("HCloudVIPConfig", own.into_iter().chain([token]))
        }
        _ => document("Layer2VIPConfig", own),
    }))
}

fn bond(bond: &Value) -> Result<Vec<(&'static str, Value)>, String> {
    let names: Vec<&str> = BOND.iter().map(|(old, _)| *old).collect();
    if let Some(name) = unknown(bond, &names) {
        return Err(format!("`bond.{name}` has no document"));
    }
    Ok(BOND.iter().map(|(old, new)| (*new, field(bond, old))).collect())
}

fn bridge(bridge: &Value) -> Result<Vec<(&'static str, Value)>, String> {
    if let Some(name) = unknown(bridge, &["interfaces", "stp", "vlan"]) {
        return Err(format!("`bridge.{name}` has no document"));
    }
    let filtering = bridge.pointer("/vlan/vlanFiltering");
    let vlan = filtering.map_or(Value::Null, |on| json!({ "filtering": on }));
    Ok(vec![("links", field(bridge, "interfaces")), ("stp", field(bridge, "stp")), ("vlan", vlan)])
}
