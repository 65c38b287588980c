//! The network section of the main document.

use serde_json::{Map, Value, json};

use super::input::{GenerateInput, LinkSelector, LinkSetting, NetworkOption};

/// Fields of an interface in the order in which they are written.
const ORDER: [&str; 8] =
    ["interface", "deviceSelector", "addresses", "mtu", "dhcp", "ignore", "dhcpOptions", "vip"];

/// The section; `None` where the contract leaves it out.
pub(super) fn section(input: &GenerateInput, minor: u32) -> Option<Value> {
    let legacy_kubespan = input.kubespan.filter(|_| minor <= 12);
    if minor > 12 && input.network.is_empty() {
        return None;
    }
    let mut links: Vec<(&LinkSelector, Map<String, Value>)> = Vec::new();
    let mut nameservers: Vec<&String> = Vec::new();
    let mut kubespan = legacy_kubespan;
    for option in &input.network {
        match option {
            NetworkOption::Nameservers(list) => nameservers.extend(list),
            NetworkOption::KubeSpan => kubespan = Some(true),
            NetworkOption::Link(_, LinkSetting::Vip(_))
                if !input.machine_type.is_controlplane() => {}
            NetworkOption::Link(selector, setting) => {
                let known = links.iter().position(|(other, _)| *other == selector);
                let index = known.unwrap_or_else(|| {
                    links.push((selector, named(selector)));
                    links.len() - 1
                });
                if let Some((_, link)) = links.get_mut(index) {
                    set(link, setting);
                }
            }
        }
    }
    let mut section = Map::new();
    if !links.is_empty() {
        let links: Vec<Value> = links.into_iter().map(|(_, link)| ordered(link)).collect();
        section.insert("interfaces".into(), json!(links));
    }
    if !nameservers.is_empty() {
        section.insert("nameservers".into(), json!(nameservers));
    }
    if let Some(enabled) = kubespan {
        section.insert("kubespan".into(), json!({ "enabled": enabled }));
    }
    Some(Value::Object(section))
}

fn named(selector: &LinkSelector) -> Map<String, Value> {
    let (key, value) = match selector {
        LinkSelector::Name(name) => ("interface", json!(name)),
        LinkSelector::Mac(mac) => ("deviceSelector", json!({ "hardwareAddr": mac })),
    };
    [(key.to_owned(), value)].into_iter().collect()
}

fn set(link: &mut Map<String, Value>, setting: &LinkSetting) {
    let mut dhcp_option = |family: &str, value: bool| {
        let options = link.entry("dhcpOptions").or_insert_with(|| json!({ "routeMetric": 0 }));
        if let Some(options) = options.as_object_mut() {
            options.insert(family.to_owned(), json!(value));
        }
    };
    match setting {
        LinkSetting::DhcpV4(value) => dhcp_option("ipv4", *value),
        LinkSetting::DhcpV6(value) => dhcp_option("ipv6", *value),
        LinkSetting::Dhcp => drop(link.insert("dhcp".into(), json!(true))),
        LinkSetting::Mtu(bytes) => drop(link.insert("mtu".into(), json!(bytes))),
        LinkSetting::Vip(ip) => drop(link.insert("vip".into(), json!({ "ip": ip }))),
        LinkSetting::Ignore => drop(link.insert("ignore".into(), json!(true))),
        LinkSetting::Address(address) => {
            let list = link.entry("addresses").or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(json!(address));
            }
        }
    }
}

fn ordered(mut link: Map<String, Value>) -> Value {
    let fields = ORDER.iter().filter_map(|name| Some(((*name).to_owned(), link.remove(*name)?)));
    Value::Object(fields.collect())
}
