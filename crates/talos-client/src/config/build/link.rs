//! Links of a machine.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

/// A link with its addresses.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    fields: Map<String, Value>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to; none is everywhere.
    pub network: Option<IpNet>,
    /// By whom.
    pub gateway: IpAddr,
    /// Which of several counts: the lowest.
    pub metric: Option<u32>,
}

impl Link {
    fn with(name: &str, value: Value) -> Self {
        Self { fields: Map::from_iter([(name.to_owned(), value)]) }
    }

    /// A link that the machine has, by its name.
    pub fn named(name: &str) -> Self {
        Self::with("interface", json!(name))
    }

    /// A link by its hardware address, whatever it is called.
    pub fn by_hardware_address(address: &str) -> Self {
        Self::with("deviceSelector", json!({ "hardwareAddr": address.to_ascii_lowercase() }))
    }

    /// A link by where it is plugged in, such as `0000:00:12.0`.
    pub fn by_bus_path(path: &str) -> Self {
        Self::with("deviceSelector", json!({ "busPath": path }))
    }

    /// Several links as one. The mode is such as `802.3ad`; `options` are those of the kernel, such as
    /// `miimon`.
    pub fn bond(name: &str, links: &[&str], mode: &str, options: &[(&str, Value)]) -> Self {
        let mut bond = Map::new();
        bond.insert("interfaces".into(), json!(links));
        bond.insert("mode".into(), json!(mode));
        bond.extend(options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let mut made = Self::named(name);
        made.fields.insert("bond".into(), bond.into());
        made
    }

    /// A link that leads nowhere, for addresses of the machine itself.
    pub fn dummy(name: &str) -> Self {
        let mut made = Self::named(name);
        made.fields.insert("dummy".into(), json!(true));
        made
    }

    fn push(&mut self, list: &str, value: Value) {
        let all = self.fields.entry(list).or_insert_with(|| json!([]));
        if let Some(items) = all.as_array_mut() {
            items.push(value);
        }
    }

    /// Adds an address.
    #[must_use]
    pub fn address(mut self, address: IpNet) -> Self {
        self.push("addresses", json!(address.to_string()));
        self
    }

    /// Adds a route.
    #[must_use]
    pub fn route(mut self, route: &Route) -> Self {
        let network = route.network.map_or_else(
            || if route.gateway.is_ipv6() { "::/0" } else { "0.0.0.0/0" }.to_owned(),
            |net| net.to_string(),
        );
        let mut made = Map::new();
        made.insert("network".into(), json!(network));
        made.insert("gateway".into(), json!(route.gateway.to_string()));
        made.extend(route.metric.map(|metric| ("metric".to_owned(), json!(metric))));
        self.push("routes", made.into());
        self
    }

    /// Sets the largest packet.
    #[must_use]
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.fields.insert("mtu".into(), json!(mtu));
        self
    }

    /// Asks for addresses by DHCP (IPv4), or says that none are asked for.
    #[must_use]
    pub fn dhcp(mut self, on: bool) -> Self {
        self.fields.insert("dhcp".into(), json!(on));
        self
    }

    /// Holds a shared address, together with other control planes.
    #[must_use]
    pub fn shared_address(mut self, address: IpAddr) -> Self {
        self.fields.insert("vip".into(), json!({ "ip": address.to_string() }));
        self
    }

    /// Adds a VLAN: what is said of `link` is said of it, but for its name.
    #[must_use]
    pub fn vlan(mut self, id: u16, link: Self) -> Self {
        let mut fields = link.fields;
        fields.shift_remove("interface");
        fields.insert("vlanId".into(), json!(id));
        self.push("vlans", fields.into());
        self
    }

    pub(super) fn to_value(&self) -> Value {
        Value::Object(self.fields.clone())
    }
}
