//! From the main document to documents of their own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::machine::{MachineConfig, id_of};
use super::{Converted, Left, Main, document, field, is_nothing, items, left, link, text, unknown};

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

    /// Refuses where there is a document of a kind and name.
    fn none(&self, kind: &str, name: &str) -> Result<(), String> {
        match self.has(kind, name) {
            true => Err(format!("there is a document {kind}/{name} already")),
            false => Ok(()),
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
    let strange = unknown(&time, &["disabled", "servers", "bootTimeout"]);
    let why = match strange {
        Some(name) => Some(no_document(name)),
        None if devices.is_empty() || servers.is_empty() => None,
        None => Some("it has both clocks and servers".to_owned()),
    };
    if let Some(why) = why {
        out.left.push(left("machine.time", why));
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

/// Each entry is moved, or stays; those of one address are one document.
fn hosts(main: &mut Main, out: &mut Out) {
    let path = ["machine", "network", "extraHostEntries"];
    let Some(entries) = main.take(&path) else { return };
    let mut kept = Vec::new();
    let mut hosts: Vec<(String, Vec<Value>)> = Vec::new();
    for (index, entry) in entries.as_array().into_iter().flatten().enumerate() {
        match host(entry, out) {
            Ok((ip, names)) => match hosts.iter_mut().find(|(known, _)| *known == ip) {
                Some((_, all)) => {
                    let more: Vec<_> = names.into_iter().filter(|one| !all.contains(one)).collect();
                    all.extend(more);
                }
                None => hosts.push((ip, names)),
            },
            Err(why) => {
                out.left.push(left(format!("{}[{index}]", path.join(".")), why));
                kept.push(entry.clone());
            }
        }
    }
    for (ip, names) in hosts {
        let fields = [("name", json!(ip)), ("hostnames", json!(names))];
        out.documents.push(document("StaticHostConfig", fields));
    }
    if !kept.is_empty() {
        main.put(&path, kept.into());
    }
}

/// Address and names of an entry.
fn host(entry: &Value, out: &Out) -> Result<(String, Vec<Value>), String> {
    if let Some(name) = unknown(entry, &["ip", "aliases"]) {
        return Err(no_document(name));
    }
    let (ip, names) = (text(entry, "ip"), items(entry, "aliases").cloned().collect::<Vec<_>>());
    if ip.is_empty() || names.is_empty() {
        return Err("a document needs an address and a name".to_owned());
    }
    out.none("StaticHostConfig", ip)?;
    Ok((ip.to_owned(), names))
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
    each(main, out, "mirrors", |host, mirror, out, why| match moved_mirror(host, mirror, out) {
        Ok(made) => {
            out.documents.push(made);
            None
        }
        Err(reason) => {
            why.push((String::new(), reason));
            Some(mirror.clone())
        }
    });
    each(main, out, "config", |host, config, out, why| {
        let Some(sections) = config.as_object().filter(|map| !map.is_empty()) else {
            return Some(config.clone());
        };
        let mut rest = sections.clone();
        let both: [(&str, Section); 2] = [("auth", auth), ("tls", tls)];
        for (name, moved) in both {
            let Some(section) = sections.get(name).filter(|section| !is_nothing(section)) else {
                continue;
            };
            match moved(host, section, out) {
                Ok(made) => {
                    out.documents.push(made);
                    rest.shift_remove(name);
                }
                Err((field, reason)) => why.push((format!(".{name}{field}"), reason)),
            }
        }
        (!rest.is_empty()).then(|| Value::Object(rest))
    });
}

/// Takes what is said of a host into a document; or the field that prevents it, and why.
type Section = fn(&str, &Value, &Out) -> Result<Value, (String, String)>;

/// What of each registry in a section stays; the reasons tell the fields in it.
fn each(
    main: &mut Main,
    out: &mut Out,
    section: &str,
    mut moved: impl FnMut(&str, &Value, &mut Out, &mut Vec<(String, String)>) -> Option<Value>,
) {
    let path = ["machine", "registries", section];
    let Some(all) = main.take(&path) else { return };
    let mut kept = serde_json::Map::new();
    for (host, value) in all.as_object().into_iter().flatten() {
        let mut why = Vec::new();
        kept.extend(moved(host, value, out, &mut why).map(|rest| (host.clone(), rest)));
        let place = |field: &str| format!("{}.{host}{field}", path.join("."));
        out.left.extend(why.into_iter().map(|(field, why)| left(place(&field), why)));
    }
    if !kept.is_empty() {
        main.put(&path, kept.into());
    }
}

fn moved_mirror(host: &str, mirror: &Value, out: &Out) -> Result<Value, String> {
    if let Some(name) = unknown(mirror, &["endpoints", "overridePath", "skipFallback"]) {
        return Err(no_document(name));
    }
    out.none("RegistryMirrorConfig", host)?;
    let override_path = field(mirror, "overridePath");
    let endpoint = |url: &Value| match override_path.is_null() {
        true => json!({ "url": url }),
        false => json!({ "url": url, "overridePath": override_path }),
    };
    let endpoints: Vec<Value> = items(mirror, "endpoints").map(endpoint).collect();
    if endpoints.is_empty() && !override_path.is_null() {
        return Err("`overridePath` has no place without an endpoint".to_owned());
    }
    let fields = [
        ("name", json!(host)),
        ("endpoints", json!(endpoints)),
        ("skipFallback", field(mirror, "skipFallback")),
    ];
    Ok(document("RegistryMirrorConfig", fields))
}

fn auth(host: &str, auth: &Value, out: &Out) -> Result<Value, (String, String)> {
    let names = ["username", "password", "auth", "identityToken"];
    if let Some(name) = unknown(auth, &names) {
        return Err((String::new(), no_document(name)));
    }
    out.none("RegistryAuthConfig", host).map_err(whole)?;
    let fields = names.map(|name| (name, field(auth, name)));
    let fields = std::iter::once(("name", json!(host))).chain(fields);
    Ok(document("RegistryAuthConfig", fields))
}

fn tls(host: &str, tls: &Value, out: &Out) -> Result<Value, (String, String)> {
    if let Some(name) = unknown(tls, &["clientIdentity", "ca", "insecureSkipVerify"]) {
        return Err((String::new(), no_document(name)));
    }
    let pair = field(tls, "clientIdentity");
    if let Some(name) = unknown(&pair, &["crt", "key"]) {
        return Err((".clientIdentity".to_owned(), no_document(name)));
    }
    out.none("RegistryTLSConfig", host).map_err(whole)?;
    let pem = |value: &Value, name: &str, place: &str| {
        let why = "it is no base64 of a text, as a document needs it";
        pem(value.get(name)).ok_or_else(|| (format!("{place}.{name}"), why.to_owned()))
    };
    let cert = pem(&pair, "crt", ".clientIdentity")?;
    let key = pem(&pair, "key", ".clientIdentity")?;
    let identity = match cert.is_null() && key.is_null() {
        true => Value::Null,
        false => json!({ "cert": cert, "key": key }),
    };
    let fields = [
        ("name", json!(host)),
        ("clientIdentity", identity),
        ("ca", pem(tls, "ca", "")?),
        ("insecureSkipVerify", field(tls, "insecureSkipVerify")),
    ];
    Ok(document("RegistryTLSConfig", fields))
}

/// A reason that is about a whole section.
fn whole(why: String) -> (String, String) {
    (String::new(), why)
}

fn no_document(name: &str) -> String {
    format!("`{name}` has no document")
}

/// The PEM text that a field holds in base64, null where it holds nothing; none where it holds
/// something else.
fn pem(value: Option<&Value>) -> Option<Value> {
    let text = match value {
        None | Some(Value::Null) => "",
        Some(value) => value.as_str()?,
    };
    let decoded = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    Some(if decoded.is_empty() { Value::Null } else { decoded.into() })
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
