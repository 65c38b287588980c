//! From documents of their own back to the main one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::machine::{MachineConfig, id_of};
use super::super::since;
use super::link::{BOND, SELECTORS};
use super::{Converted, Left, Main, field, is_nothing, items, left, text, unknown};

/// The version whose layout this is.
const OLD: u32 = 11;

type Moved = Result<(), String>;

pub(super) fn joined(config: &MachineConfig) -> Converted {
    let mut main = Main { document: json!({ "version": "v1alpha1" }) };
    let (mut documents, mut left_over): (Vec<Value>, Vec<Left>) = (Vec::new(), Vec::new());
    let mut links = Links::default();
    let is_main = |document: &&Value| document.get("kind").is_none();
    if let Some(found) = config.documents().iter().find(is_main) {
        main.document = found.clone();
    }
    for document in config.documents().iter().filter(|one| !is_main(one)) {
        let id = id_of(document);
        if Links::has(&id.kind) {
            links.documents.push(document);
        } else if since::has_kind(&id.kind, OLD) {
            documents.push(document.clone());
        } else if let Err(why) = other(&mut main, &id.kind, document) {
            left_over.push(left(id.to_string(), why));
            documents.push(document.clone());
        }
    }
    links.join(&mut main, &mut documents, &mut left_over);
    let mut all = vec![main.document];
    all.extend(documents);
    Converted { config: MachineConfig::of_documents(all), left: left_over }
}

/// Refuses what the older layout has no place for.
fn only(document: &Value, known: &[&str]) -> Moved {
    let known: Vec<&str> = ["apiVersion", "kind", "name"].iter().chain(known).copied().collect();
    match unknown(document, &known) {
        Some(name) => Err(format!("Talos 1.{OLD} has no place for `{name}`")),
        None => Ok(()),
    }
}

/// Puts a field where none is.
fn put(main: &mut Main, path: &[&str], value: Value) -> Moved {
    if is_nothing(&value) {
        return Ok(());
    }
    match main.get(path).is_some_and(|there| !is_nothing(there)) {
        true => Err(format!("{} says something already", path.join("."))),
        false => {
            main.put(path, value);
            Ok(())
        }
    }
}

fn other(main: &mut Main, kind: &str, document: &Value) -> Moved {
    match kind {
        "HostnameConfig" => {
            only(document, &["auto", "hostname"])?;
            let stable = text(document, "auto") == "stable";
            let stable = if stable { json!(true) } else { Value::Null };
            put(main, &["machine", "features", "stableHostname"], stable)?;
            put(main, &["machine", "network", "hostname"], field(document, "hostname"))
        }
        "ResolverConfig" => {
            only(document, &["nameservers", "searchDomains"])?;
            for server in items(document, "nameservers") {
                only(server, &["address"])?;
            }
            let servers = items(document, "nameservers").map(|one| field(one, "address"));
            let servers: Vec<Value> = servers.collect();
            put(main, &["machine", "network", "nameservers"], json!(servers))?;
            let search = field(document, "searchDomains");
            put(main, &["machine", "network", "searchDomains"], field(&search, "domains"))?;
            let off = field(&search, "disableDefault");
            put(main, &["machine", "network", "disableSearchDomain"], off)
        }
        "TimeSyncConfig" => {
            only(document, &["enabled", "bootTimeout", "ntp", "ptp"])?;
            only(&field(document, "ntp"), &["servers"])?;
            let (ntp, ptp) = (field(document, "ntp"), field(document, "ptp"));
            let servers = items(&ntp, "servers").chain(items(&ptp, "devices"));
            let servers: Vec<Value> = servers.cloned().collect();
            put(main, &["machine", "time", "servers"], json!(servers))?;
            let enabled = document.get("enabled").and_then(Value::as_bool);
            let disabled = enabled.map_or(Value::Null, |on| json!(!on));
            put(main, &["machine", "time", "disabled"], disabled)?;
            put(main, &["machine", "time", "bootTimeout"], field(document, "bootTimeout"))
        }
        "StaticHostConfig" => {
            only(document, &["hostnames"])?;
            let entry =
                json!({ "ip": text(document, "name"), "aliases": field(document, "hostnames") });
            let path = ["machine", "network", "extraHostEntries"];
            let mut all: Vec<Value> =
                main.get(&path).and_then(Value::as_array).cloned().unwrap_or_default();
            all.push(entry);
            main.put(&path, all.into());
            Ok(())
        }
        "KubeSpanConfig" => {
            let mut section = document.as_object().cloned().unwrap_or_default();
            section.retain(|name, _| name != "apiVersion" && name != "kind");
            if section
                .get("filters")
                .is_some_and(|filters| filters.get("excludeAdvertisedNetworks").is_some())
            {
                return Err(format!(
                    "Talos 1.{OLD} has no place for `filters.excludeAdvertisedNetworks`"
                ));
            }
            put(main, &["machine", "network", "kubespan"], Value::Object(section))
        }
        "EnvironmentConfig" => put(main, &["machine", "env"], field(document, "variables")),
        "RegistryMirrorConfig" => mirror(main, document),
        "RegistryAuthConfig" => {
            let names = ["username", "password", "auth", "identityToken"];
            only(document, &names)?;
            let fields = names.map(|name| (name.to_owned(), field(document, name)));
            let auth: Map<String, Value> =
                fields.into_iter().filter(|(_, v)| !v.is_null()).collect();
            let host = text(document, "name");
            put(main, &["machine", "registries", "config", host, "auth"], Value::Object(auth))
        }
        "RegistryTLSConfig" => {
            only(document, &["clientIdentity", "ca", "insecureSkipVerify"])?;
            let mut tls = Map::new();
            if let Some(pair) = document.get("clientIdentity").filter(|pair| !is_nothing(pair)) {
                let pair = json!({ "crt": encoded(pair, "cert"), "key": encoded(pair, "key") });
                tls.insert("clientIdentity".into(), pair);
            }
            if !text(document, "ca").is_empty() {
                tls.insert("ca".into(), json!(encoded(document, "ca")));
            }
            if let Some(skip) = document.get("insecureSkipVerify") {
                tls.insert("insecureSkipVerify".into(), skip.clone());
            }
            let host = text(document, "name");
            put(main, &["machine", "registries", "config", host, "tls"], Value::Object(tls))
        }
        _ => Err(format!("Talos 1.{OLD} has nothing like it")),
    }
}

fn encoded(value: &Value, name: &str) -> String {
    STANDARD.encode(text(value, name))
}

fn mirror(main: &mut Main, document: &Value) -> Moved {
    only(document, &["endpoints", "skipFallback"])?;
    let mut mirror = Map::new();
    let urls: Vec<Value> = items(document, "endpoints").map(|one| field(one, "url")).collect();
    let paths = items(document, "endpoints").map(|one| field(one, "overridePath"));
    let mut paths: Vec<Value> = paths.collect();
    paths.dedup();
    mirror.insert("endpoints".into(), json!(urls));
    match paths.as_slice() {
        [] => {}
        [path] => {
            drop((!path.is_null()).then(|| mirror.insert("overridePath".into(), path.clone())))
        }
        _ => return Err("its endpoints differ in `overridePath`".to_owned()),
    }
    let skip = field(document, "skipFallback");
    drop((!skip.is_null()).then(|| mirror.insert("skipFallback".into(), skip)));
    let host = text(document, "name");
    put(main, &["machine", "registries", "mirrors", host], Value::Object(mirror))
}

/// Documents that become interfaces.
#[derive(Default)]
struct Links<'a> {
    documents: Vec<&'a Value>,
}

impl<'a> Links<'a> {
    const MAIN: [&'static str; 5] =
        ["LinkConfig", "BondConfig", "BridgeConfig", "DummyLinkConfig", "WireguardConfig"];
    const BESIDE: [&'static str; 6] = [
        "LinkAliasConfig",
        "VLANConfig",
        "DHCPv4Config",
        "DHCPv6Config",
        "Layer2VIPConfig",
        "HCloudVIPConfig",
    ];

    fn has(kind: &str) -> bool {
        Self::MAIN.contains(&kind) || Self::BESIDE.contains(&kind)
    }

    fn of(&self, kind: &str, field: &str, name: &str) -> Vec<&'a Value> {
        let is_it = |one: &&&Value| text(one, "kind") == kind && text(one, field) == name;
        self.documents.iter().filter(is_it).copied().collect()
    }

    /// Each link with all that belongs to it is moved, or stays.
    fn join(&self, main: &mut Main, documents: &mut Vec<Value>, left_over: &mut Vec<Left>) {
        let path = ["machine", "network", "interfaces"];
        let there = main.get(&path).and_then(Value::as_array).cloned();
        let mut interfaces: Vec<Value> = there.unwrap_or_default();
        let mut moved: Vec<&Value> = Vec::new();
        for link in &self.documents {
            if !Self::MAIN.contains(&text(link, "kind")) {
                continue;
            }
            let mut used = vec![*link];
            match self.interface(link, &mut used) {
                Ok(interface) => {
                    interfaces.push(interface);
                    moved.extend(used);
                }
                Err(why) => left_over.push(left(id_of(link).to_string(), why)),
            }
        }
        for document in &self.documents {
            if moved.iter().any(|one| std::ptr::eq(*one, *document)) {
                continue;
            }
            if !Self::MAIN.contains(&text(document, "kind")) {
                let why = "the link that it belongs to is not there, or stays too";
                left_over.push(left(id_of(document).to_string(), why));
            }
            documents.push((*document).clone());
        }
        if !interfaces.is_empty() {
            main.put(&path, interfaces.into());
        }
    }

    fn interface(&self, link: &'a Value, used: &mut Vec<&'a Value>) -> Result<Value, String> {
        let name = text(link, "name");
        let mut made = Map::new();
        match self.of("LinkAliasConfig", "name", name).as_slice() {
            [] => drop(made.insert("interface".into(), json!(name))),
            [alias, ..] => {
                let selector = selector(alias.pointer("/selector/match").and_then(Value::as_str))?;
                made.insert("deviceSelector".into(), selector);
                used.push(alias);
            }
        }
        const COMMON: [&str; 4] = ["up", "mtu", "addresses", "routes"];
        let with = |own: &[&'static str]| COMMON.iter().chain(own).copied().collect::<Vec<_>>();
        match text(link, "kind") {
            "BondConfig" => {
                let names: Vec<&'static str> = BOND.iter().map(|(_, new)| *new).collect();
                only(link, &with(&names))?;
                let bond = BOND.iter().map(|(old, new)| ((*old).to_owned(), field(link, new)));
                let bond = bond.filter(|(_, value)| !is_nothing(value));
                made.insert("bond".into(), Value::Object(bond.collect()));
            }
            "BridgeConfig" => {
                only(link, &with(&["links", "stp", "vlan"]))?;
                let mut bridge = Map::new();
                bridge.insert("interfaces".into(), field(link, "links"));
                bridge.extend(link.get("stp").map(|stp| ("stp".to_owned(), stp.clone())));
                if let Some(on) = link.pointer("/vlan/filtering") {
                    bridge.insert("vlan".into(), json!({ "vlanFiltering": on }));
                }
                made.insert("bridge".into(), Value::Object(bridge));
            }
            "WireguardConfig" => {
                let names = ["privateKey", "listenPort", "firewallMark", "peers"];
                only(link, &with(&names))?;
                if items(link, "peers").any(|peer| peer.get("presharedKey").is_some()) {
                    return Err(format!("Talos 1.{OLD} has no place for `presharedKey`"));
                }
                let fields = names.map(|name| (name.to_owned(), field(link, name)));
                let fields = fields.into_iter().filter(|(_, value)| !is_nothing(value));
                made.insert("wireguard".into(), Value::Object(fields.collect()));
            }
            "DummyLinkConfig" => {
                only(link, &with(&[]))?;
                made.insert("dummy".into(), json!(true));
            }
            _ => only(link, &with(&[]))?,
        }
        self.rest(link, name, &mut made, used)?;
        let mut vlans = Vec::new();
        for vlan in self.of("VLANConfig", "parent", name) {
            only(vlan, &with(&["vlanID", "parent"]))?;
            let id = field(vlan, "vlanID");
            let inner = text(vlan, "name");
            if inner != format!("{name}.{id}") && !made.contains_key("deviceSelector") {
                return Err(format!("Talos 1.{OLD} calls the VLAN {name}.{id}, not {inner}"));
            }
            let mut fields = Map::new();
            fields.insert("vlanId".into(), id);
            self.rest(vlan, inner, &mut fields, used)?;
            used.push(vlan);
            vlans.push(Value::Object(fields));
        }
        if !vlans.is_empty() {
            made.insert("vlans".into(), vlans.into());
        }
        Ok(Value::Object(made))
    }

    /// Addresses, routes, DHCP and the shared address of a link or VLAN.
    fn rest(
        &self,
        link: &'a Value,
        name: &str,
        made: &mut Map<String, Value>,
        used: &mut Vec<&'a Value>,
    ) -> Moved {
        if link.get("up") == Some(&json!(false)) {
            return Err(format!("Talos 1.{OLD} keeps no link down"));
        }
        for address in items(link, "addresses") {
            only(address, &["address"])?;
        }
        let addresses: Vec<Value> =
            items(link, "addresses").map(|one| field(one, "address")).collect();
        let routes = items(link, "routes").map(route).collect::<Result<Vec<_>, _>>()?;
        let fields = [
            ("addresses", json!(addresses)),
            ("routes", json!(routes)),
            ("mtu", field(link, "mtu")),
        ];
        made.extend(
            fields.into_iter().filter(|(_, v)| !is_nothing(v)).map(|(n, v)| (n.to_owned(), v)),
        );
        let (four, six) =
            (self.of("DHCPv4Config", "name", name), self.of("DHCPv6Config", "name", name));
        let mut options = Map::new();
        for document in four.iter().chain(&six) {
            only(document, &["routeMetric", "clientIdentifier", "duidRaw"])?;
            let metric = field(document, "routeMetric");
            drop((!metric.is_null()).then(|| options.insert("routeMetric".into(), metric)));
            let duid = field(document, "duidRaw");
            drop((!duid.is_null()).then(|| options.insert("duidv6".into(), duid)));
            used.push(document);
        }
        if !four.is_empty() || !six.is_empty() {
            made.insert("dhcp".into(), json!(true));
            drop(four.is_empty().then(|| options.insert("ipv4".into(), json!(false))));
            drop((!six.is_empty()).then(|| options.insert("ipv6".into(), json!(true))));
            drop((!options.is_empty()).then(|| made.insert("dhcpOptions".into(), options.into())));
        }
        let mut shared = self.of("Layer2VIPConfig", "link", name);
        shared.extend(self.of("HCloudVIPConfig", "link", name));
        match shared.as_slice() {
            [] => {}
            [one] => {
                let mut vip = Map::from_iter([("ip".to_owned(), field(one, "name"))]);
                let token = field(one, "apiToken");
                drop(
                    (!token.is_null())
                        .then(|| vip.insert("hcloud".into(), json!({ "apiToken": token }))),
                );
                made.insert("vip".into(), vip.into());
                used.push(one);
            }
            _ => return Err(format!("a link of Talos 1.{OLD} holds one shared address")),
        }
        Ok(())
    }
}

fn route(route: &Value) -> Result<Value, String> {
    only(route, &["destination", "gateway", "source", "metric", "mtu"])?;
    let gateway = text(route, "gateway");
    let network = match text(route, "destination") {
        "" if gateway.contains(':') => "::/0",
        "" => "0.0.0.0/0",
        other => other,
    };
    let mut made = Map::from_iter([("network".to_owned(), json!(network))]);
    for name in ["gateway", "source", "metric", "mtu"] {
        let value = field(route, name);
        drop((!value.is_null()).then(|| made.insert(name.to_owned(), value)));
    }
    Ok(Value::Object(made))
}

/// The selector of an expression, where it is one of those that we write.
fn selector(expression: Option<&str>) -> Result<Value, String> {
    let other = || "its expression says more than a selector can".to_owned();
    let mut made = Map::new();
    for term in expression.unwrap_or_default().split(" && ") {
        let (found, value) = SELECTORS
            .iter()
            .find_map(|(name, field, is_address)| {
                let field = if *is_address { format!("mac({field})") } else { (*field).to_owned() };
                let equal = term.strip_prefix(&format!("{field} == "));
                let pattern = term
                    .strip_prefix("glob(")
                    .and_then(|rest| rest.strip_suffix(&format!(", {field})")));
                Some((*name, equal.or(pattern)?))
            })
            .ok_or_else(other)?;
        let value: String = serde_json::from_str(value).map_err(|_| other())?;
        if made.insert(found.to_owned(), value.into()).is_some() {
            return Err(other());
        }
    }
    Ok(Value::Object(made))
}
