//! From the main document to documents of their own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::machine::{MachineConfig, id_of};
use super::{Converted, Left, Main, document, field, is_nothing, items, left, link, text};

/// What is found on the way.
pub(super) struct Out {
    pub(super) documents: Vec<Value>,
    pub(super) left: Vec<Left>,
}

pub(super) fn split(config: &MachineConfig, minor: u32) -> Converted {
    let mut documents = config.documents().to_vec();
    let position = documents.iter().position(|document| document.get("kind").is_none());
    let Some(position) = position.filter(|_| minor >= 12) else {
        return Converted { config: config.clone(), left: Vec::new() };
    };
    let mut main = Main { document: documents.remove(position) };
    let mut out = Out { documents, left: Vec::new() };
    hostname(&mut main, &mut out);
    resolvers(&mut main, &mut out);
    time(&mut main, &mut out);
    hosts(&mut main, &mut out);
    link::split(&mut main, &mut out);
    registries(&mut main, &mut out);
    encryption(&mut main, &mut out);
    if minor >= 13 {
        renamed(&mut main, &mut out, &["machine", "network", "kubespan"], "KubeSpanConfig");
        if let Some(variables) = out.free("EnvironmentConfig", &mut main, &["machine", "env"]) {
            out.documents.push(document("EnvironmentConfig", [("variables", variables)]));
        }
    }
    let mut documents = vec![main.document];
    documents.extend(out.documents);
    Converted { config: MachineConfig::of_documents(documents), left: out.left }
}

impl Out {
    fn has(&self, kind: &str, name: &str) -> bool {
        let is_it = |id: super::super::DocumentId| id.kind == kind && id.name == name;
        self.documents.iter().map(id_of).any(is_it)
    }

    /// Adds a document where there is none of its kind and name.
    pub(super) fn add(&mut self, place: &str, made: Value) {
        let id = id_of(&made);
        match self.has(&id.kind, &id.name) {
            true => self.left.push(left(place, format!("there is a document {id} already"))),
            false => self.documents.push(made),
        }
    }

    /// Takes a field out, where no document says the same.
    fn free(&mut self, kind: &str, main: &mut Main, path: &[&str]) -> Option<Value> {
        main.get(path)?;
        if self.has(kind, "") {
            self.left.push(left(path.join("."), format!("there is a document {kind} already")));
            return None;
        }
        main.take(path).filter(|value| !is_nothing(value))
    }
}

fn hostname(main: &mut Main, out: &mut Out) {
    const STABLE: [&str; 3] = ["machine", "features", "stableHostname"];
    if let Some(name) = out.free("HostnameConfig", main, &["machine", "network", "hostname"]) {
        main.take(&STABLE);
        out.documents
            .push(document("HostnameConfig", [("auto", json!("off")), ("hostname", name)]));
    } else if main.get(&STABLE) == Some(&json!(true))
        && out.free("HostnameConfig", main, &STABLE).is_some()
    {
        out.documents.push(document("HostnameConfig", [("auto", json!("stable"))]));
    }
}

fn resolvers(main: &mut Main, out: &mut Out) {
    const FIELDS: [&str; 3] = ["nameservers", "searchDomains", "disableSearchDomain"];
    let path = |name| ["machine", "network", name];
    if !FIELDS.iter().any(|name| main.get(&path(name)).is_some()) {
        return;
    }
    if out.has("ResolverConfig", "") {
        out.left.push(left("machine.network", "there is a document ResolverConfig already"));
        return;
    }
    let [servers, domains, off] = FIELDS.map(|name| main.take(&path(name)).unwrap_or_default());
    let servers = servers.as_array().into_iter().flatten();
    let servers: Vec<Value> = servers.map(|address| json!({ "address": address })).collect();
    let mut search = serde_json::Map::new();
    search.extend((!is_nothing(&domains)).then(|| ("domains".to_owned(), domains)));
    search.extend((!off.is_null()).then(|| ("disableDefault".to_owned(), off)));
    let fields = [("nameservers", json!(servers)), ("searchDomains", Value::Object(search))];
    out.documents.push(document("ResolverConfig", fields));
}

fn time(main: &mut Main, out: &mut Out) {
    let Some(time) = out.free("TimeSyncConfig", main, &["machine", "time"]) else { return };
    let is_device = |server: &Value| server.as_str().is_some_and(|one| one.starts_with("/dev/"));
    let (devices, servers): (Vec<Value>, Vec<Value>) =
        items(&time, "servers").cloned().partition(is_device);
    if !devices.is_empty() && !servers.is_empty() {
        out.left.push(left("machine.time", "it has both clocks and servers"));
        main.put(&["machine", "time"], time);
        return;
    }
    let list = |name: &str, all: Vec<Value>| match all.is_empty() {
        true => Value::Null,
        false => json!({ name: all }),
    };
    let enabled =
        time.get("disabled").and_then(Value::as_bool).map_or(Value::Null, |off| json!(!off));
    let fields = [
        ("enabled", enabled),
        ("bootTimeout", field(&time, "bootTimeout")),
        ("ntp", list("servers", servers)),
        ("ptp", list("devices", devices)),
    ];
    out.documents.push(document("TimeSyncConfig", fields));
}

fn hosts(main: &mut Main, out: &mut Out) {
    let entries = main.take(&["machine", "network", "extraHostEntries"]).unwrap_or_default();
    for entry in entries.as_array().into_iter().flatten() {
        let fields = [("name", field(entry, "ip")), ("hostnames", field(entry, "aliases"))];
        out.add("machine.network.extraHostEntries", document("StaticHostConfig", fields));
    }
}

/// A section whose document has the same fields.
fn renamed(main: &mut Main, out: &mut Out, path: &[&str], kind: &str) {
    let Some(Value::Object(fields)) = out.free(kind, main, path) else { return };
    let mut made = document(kind, []);
    if let Some(map) = made.as_object_mut() {
        map.extend(fields);
    }
    out.documents.push(made);
}

fn registries(main: &mut Main, out: &mut Out) {
    let all = main.take(&["machine", "registries"]).unwrap_or_default();
    let of = |name: &str| all.get(name).and_then(Value::as_object).into_iter().flatten();
    for (host, mirror) in of("mirrors") {
        let override_path = field(mirror, "overridePath");
        let endpoint = |url: &Value| match override_path.is_null() {
            true => json!({ "url": url }),
            false => json!({ "url": url, "overridePath": override_path }),
        };
        let endpoints: Vec<Value> = items(mirror, "endpoints").map(endpoint).collect();
        let fields = [
            ("name", json!(host)),
            ("endpoints", json!(endpoints)),
            ("skipFallback", field(mirror, "skipFallback")),
        ];
        out.add("machine.registries.mirrors", document("RegistryMirrorConfig", fields));
    }
    for (host, config) in of("config") {
        if let Some(auth) = config.get("auth").filter(|auth| !is_nothing(auth)) {
            let names = ["username", "password", "auth", "identityToken"];
            let fields = names.map(|name| (name, field(auth, name)));
            let fields = std::iter::once(("name", json!(host))).chain(fields);
            out.add("machine.registries.config", document("RegistryAuthConfig", fields));
        }
        if let Some(tls) = config.get("tls").filter(|tls| !is_nothing(tls)) {
            let identity = tls
                .get("clientIdentity")
                .map(|pair| json!({ "cert": pem(pair.get("crt")), "key": pem(pair.get("key")) }));
            let fields = [
                ("name", json!(host)),
                ("clientIdentity", identity.unwrap_or_default()),
                ("ca", pem(tls.get("ca"))),
                ("insecureSkipVerify", field(tls, "insecureSkipVerify")),
            ];
            out.add("machine.registries.config", document("RegistryTLSConfig", fields));
        }
    }
}

/// The PEM text that a field holds in base64.
fn pem(value: Option<&Value>) -> Value {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    let decoded = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.filter(|text| !text.is_empty()).map_or(Value::Null, Value::from)
}

fn encryption(main: &mut Main, out: &mut Out) {
    for (field, name) in [("state", "STATE"), ("ephemeral", "EPHEMERAL")] {
        let path = ["machine", "systemDiskEncryption", field];
        let Some(encryption) = main.get(&path).cloned() else { continue };
        let is_it =
            |one: &&mut Value| text(one, "kind") == "VolumeConfig" && text(one, "name") == name;
        let there = out.documents.iter_mut().find(is_it);
        match there.map(|one| one.as_object_mut()) {
            Some(Some(volume)) if volume.contains_key("encryption") => {
                let why = format!("the document VolumeConfig/{name} has an encryption already");
                out.left.push(left(path.join("."), why));
                continue;
            }
            Some(Some(volume)) => drop(volume.insert("encryption".into(), encryption)),
            _ => {
                let fields = [("name", json!(name)), ("encryption", encryption)];
                out.documents.push(document("VolumeConfig", fields));
            }
        }
        main.take(&path);
    }
}
