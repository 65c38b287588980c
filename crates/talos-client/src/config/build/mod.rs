//! What a machine's configuration says beside what is generated, in the form of its version of Talos.
//!
//! Settings know nothing of versions: the same ones are fields of the main document for 1.11, documents of
//! their own for 1.12 and 1.13, and those of Kubernetes too for 1.14.
//!
//! ```
//! use talos_client::config::{Link, Route, Settings};
//!
//! let settings = Settings::new()
//!     .hostname("cp01")
//!     .link(
//!         Link::by_hardware_address("BC:24:11:00:00:01")
//!             .address("10.0.0.5/24".parse()?)
//!             .route(&Route { network: None, gateway: "10.0.0.1".parse()?, metric: None })
//!             .shared_address("10.0.0.100".parse()?),
//!     )
//!     .resolver("10.0.0.1".parse()?)
//!     .sysctl("vm.nr_hugepages", "1024")
//!     .label("rack", "a");
//! for minor in 11..=14 {
//!     let patch = settings.patch(minor)?;
//!     # let _ = patch;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod kubernetes;
mod link;

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

pub use link::{Link, Route};

use super::convert::{document, put};
use super::machine::{ConfigError, MachineConfig};
use super::patch::Patch;

/// Settings of a machine.
#[derive(Clone, Default, PartialEq)]
pub struct Settings {
    /// The main document of 1.11.
    main: Map<String, Value>,
    /// Documents that all versions have, or that came later: with the first minor version.
    documents: Vec<(u32, Value)>,
    /// What is laid out anew for 1.14.
    kubernetes: kubernetes::Kubernetes,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Files and environments may hold secrets.
        f.debug_struct("Settings").field("documents", &self.documents.len()).finish_non_exhaustive()
    }
}

/// A file of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where; below /var, but for files that Talos allows elsewhere.
    pub path: String,
    /// What is in it.
    pub content: String,
    /// Its mode, such as `0o644`.
    pub permissions: u32,
}

/// A volume of the user's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserVolume {
    /// Its name: it is mounted at `/var/mnt/NAME`.
    pub name: String,
    /// The disks that it may lie on, as an expression such as `disk.transport == "nvme"`.
    pub disks: String,
    /// Least size, such as `10GiB`.
    pub min_size: Option<String>,
    /// Largest size.
    pub max_size: Option<String>,
}

/// A neighbour that speaks BGP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BgpNeighbor {
    /// Its address.
    pub address: IpAddr,
    /// Its number.
    pub asn: u32,
}

impl Settings {
    /// Nothing is said.
    pub fn new() -> Self {
        Self::default()
    }

    fn put(mut self, path: &[&str], value: Value) -> Self {
        put(&mut self.main, path, value);
        self
    }

    fn push(self, path: &[&str], value: Value) -> Self {
        let there = path.split_first().and_then(|(first, rest)| {
            rest.iter().try_fold(self.main.get(*first)?, |value, name| value.get(name))
        });
        let mut all = there.and_then(Value::as_array).cloned().unwrap_or_default();
        all.push(value);
        self.put(path, all.into())
    }

    fn document(mut self, since: u32, value: Value) -> Self {
        self.documents.push((since, value));
        self
    }

    /// The name of the machine.
    #[must_use]
    pub fn hostname(self, name: &str) -> Self {
        self.put(&["machine", "network", "hostname"], json!(name))
    }

    /// Adds a link.
    #[must_use]
    pub fn link(self, link: Link) -> Self {
        self.push(&["machine", "network", "interfaces"], link.to_value())
    }

    /// Adds a name server.
    #[must_use]
    pub fn resolver(self, address: IpAddr) -> Self {
        self.push(&["machine", "network", "nameservers"], json!(address.to_string()))
    }

    /// Adds a domain in which short names are looked for.
    #[must_use]
    pub fn search_domain(self, domain: &str) -> Self {
        self.push(&["machine", "network", "searchDomains"], json!(domain))
    }

    /// Adds a server of time.
    #[must_use]
    pub fn time_server(self, name: &str) -> Self {
        self.push(&["machine", "time", "servers"], json!(name))
    }

    /// Says where images of a registry are pulled from.
    #[must_use]
    pub fn mirror(self, host: &str, endpoints: &[&str]) -> Self {
        let mirror = json!({ "endpoints": endpoints });
        self.put(&["machine", "registries", "mirrors", host], mirror)
    }

    /// Adds a volume.
    #[must_use]
    pub fn user_volume(self, volume: &UserVolume) -> Self {
        let size = |size: &Option<String>| size.as_ref().map_or(Value::Null, |size| json!(size));
        let provisioning = [
            ("diskSelector", json!({ "match": volume.disks })),
            ("minSize", size(&volume.min_size)),
            ("maxSize", size(&volume.max_size)),
        ];
        let provisioning = provisioning.into_iter().filter(|(_, value)| !value.is_null());
        let provisioning: Map<String, Value> =
            provisioning.map(|(name, value)| (name.to_owned(), value)).collect();
        let fields = [("name", json!(volume.name)), ("provisioning", provisioning.into())];
        self.document(0, document("UserVolumeConfig", fields))
    }

    /// Encrypts a volume of the system, such as `EPHEMERAL`, with a key that only this machine has.
    #[must_use]
    pub fn encrypted_volume(self, name: &str) -> Self {
        let encryption = json!({ "provider": "luks2", "keys": [{ "slot": 0, "nodeID": {} }] });
        self.document(
            0,
            document("VolumeConfig", [("name", json!(name)), ("encryption", encryption)]),
        )
    }

    /// Files and environment of the service of an extension.
    #[must_use]
    pub fn extension_service(
        self,
        name: &str,
        files: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Self {
        let file =
            |(path, content): &(&str, &str)| json!({ "content": content, "mountPath": path });
        let files: Vec<Value> = files.iter().map(file).collect();
        let environment = environment.iter().map(|(name, value)| format!("{name}={value}"));
        let fields = [
            ("name", json!(name)),
            ("configFiles", files.into()),
            ("environment", json!(environment.collect::<Vec<_>>())),
        ];
        self.document(0, document("ExtensionServiceConfig", fields))
    }

    /// Loads a module of the kernel.
    #[must_use]
    pub fn kernel_module(self, name: &str, parameters: &[&str]) -> Self {
        let module = match parameters {
            [] => json!({ "name": name }),
            parameters => json!({ "name": name, "parameters": parameters }),
        };
        self.push(&["machine", "kernel", "modules"], module)
    }

    /// Sets a parameter of the kernel.
    #[must_use]
    pub fn sysctl(self, name: &str, value: &str) -> Self {
        self.put(&["machine", "sysctls", name], json!(value))
    }

    /// Writes a file.
    #[must_use]
    pub fn file(self, file: &File) -> Self {
        let made = json!({
            "content": file.content,
            "permissions": file.permissions,
            "path": file.path,
            "op": "create",
        });
        self.push(&["machine", "files"], made)
    }

    /// Sends the machine's logs to `tcp://` or `udp://` HOST:PORT, as JSON lines.
    #[must_use]
    pub fn log_to(self, url: &str) -> Self {
        let destination = json!({ "endpoint": url, "format": "json_lines" });
        self.push(&["machine", "logging", "destinations"], destination)
    }

    /// Lets the hardware start the machine again when it hangs for longer, such as `1m0s`.
    #[must_use]
    pub fn watchdog(self, device: &str, timeout: &str) -> Self {
        let fields = [("device", json!(device)), ("timeout", json!(timeout))];
        self.document(0, document("WatchdogTimerConfig", fields))
    }

    /// Says when memory is short, and what ends then, as expressions; from 1.12 on.
    #[must_use]
    pub fn out_of_memory(self, trigger: &str, ranking: &str) -> Self {
        let fields =
            [("triggerExpression", json!(trigger)), ("cgroupRankingExpression", json!(ranking))];
        self.document(12, document("OOMConfig", fields))
    }

    /// Lets packets in: ports such as `50000` or `30000-32767` of a protocol, from these networks.
    #[must_use]
    pub fn allow(self, name: &str, protocol: &str, ports: &[&str], from: &[IpNet]) -> Self {
        let port =
            |text: &&str| text.parse::<u16>().map_or_else(|_| json!(text), |port| json!(port));
        let ports: Vec<Value> = ports.iter().map(port).collect();
        let from: Vec<Value> =
            from.iter().map(|net| json!({ "subnet": net.to_string() })).collect();
        let fields = [
            ("name", json!(name)),
            ("portSelector", json!({ "ports": ports, "protocol": protocol })),
            ("ingress", from.into()),
        ];
        self.document(0, document("NetworkRuleConfig", fields))
    }

    /// Lets no packets in but those that are allowed.
    #[must_use]
    pub fn block_by_default(self) -> Self {
        self.document(0, document("NetworkDefaultActionConfig", [("ingress", json!("block"))]))
    }

    /// Speaks BGP; from 1.14 on.
    #[must_use]
    pub fn bgp(self, name: &str, asn: u32, advertise: &[IpNet], neighbors: &[BgpNeighbor]) -> Self {
        let neighbor =
            |one: &BgpNeighbor| json!({ "address": one.address.to_string(), "peerASN": one.asn });
        let neighbors: Vec<Value> = neighbors.iter().map(neighbor).collect();
        let advertise: Vec<String> = advertise.iter().map(ToString::to_string).collect();
        let fields = [
            ("name", json!(name)),
            ("localASN", json!(asn)),
            ("advertise", json!(advertise)),
            ("neighbors", neighbors.into()),
        ];
        self.document(14, document("BGPInstanceConfig", fields))
    }

    /// The partial documents for a minor version of Talos 1.
    ///
    /// # Errors
    /// That version cannot be told one of the settings.
    pub fn documents(&self, minor: u32) -> Result<Vec<Value>, ConfigError> {
        if let Some((since, value)) = self.documents.iter().find(|(since, _)| *since > minor) {
            let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
            return Err(ConfigError::new(format!("{kind} needs Talos 1.{since} or newer")));
        }
        let mut main = self.main.clone();
        let mut documents: Vec<Value> = Vec::new();
        self.kubernetes.put(minor, &mut main, &mut documents);
        if minor >= 14 {
            kubernetes::kernel(&mut main, &mut documents);
        }
        documents.extend(self.documents.iter().map(|(_, value)| value.clone()));
        let all = std::iter::once(Value::Object(main)).chain(documents).collect();
        let split = MachineConfig::of_documents(all).split(minor);
        if let Some(left) = split.left.first() {
            return Err(ConfigError::new(left.to_string()));
        }
        let is_said = |one: &Value| one.as_object().is_some_and(|map| !map.is_empty());
        Ok(split.config.into_documents().into_iter().filter(is_said).collect())
    }

    /// A patch for a minor version of Talos 1.
    ///
    /// # Errors
    /// As [`Self::documents`], or a value is not one that Talos takes.
    pub fn patch(&self, minor: u32) -> Result<Patch, ConfigError> {
        Patch::of_documents("the settings", &self.documents(minor)?)
    }
}

#[cfg(test)]
mod tests;
