//! Everything that a simulated cluster remembers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::firewall::Firewall;
use super::ha::Ha;
use super::handle::PciDevice;

/// Keys of an interface of a node.
pub(crate) type Iface = BTreeMap<String, String>;

/// A node.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) number: u32,
    pub(crate) online: bool,
    pub(crate) started: u64,
    pub(crate) bridges: BTreeMap<String, u32>,
    pub(crate) pci: Vec<PciDevice>,
    pub(crate) dns: BTreeMap<String, String>,
    pub(crate) hosts: String,
    pub(crate) timezone: Option<String>,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) reload_works: bool,
    /// Interfaces that are applied, once they were changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ifaces: Option<BTreeMap<String, Iface>>,
    /// Interfaces that are saved and not applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ifaces_new: Option<BTreeMap<String, Iface>>,
    /// `VNets` that the last network reload made: name, zone, MTU.
    pub(crate) vnets: BTreeMap<String, (String, u32)>,
}

/// A running machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) since: u64,
    pub(crate) paused: bool,
}

/// A virtual machine.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Vm {
    pub(crate) node: String,
    pub(crate) conf: BTreeMap<String, String>,
    pub(crate) pending: BTreeMap<String, String>,
    /// Pending removals, 2 when forced.
    pub(crate) removed: BTreeMap<String, u8>,
    pub(crate) running: Option<Running>,
    pub(crate) created_ms: u64,
    /// Keys of the cloud-init drive when it was last written.
    pub(crate) cloud_init: BTreeMap<String, String>,
    pub(crate) snapshots: BTreeMap<String, BTreeMap<String, String>>,
}

/// A container that others made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Container {
    pub(crate) node: String,
    pub(crate) conf: BTreeMap<String, String>,
    /// What waits for a restart.
    pub(crate) pending: BTreeMap<String, String>,
}

/// A volume of a storage.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) content: String,
    pub(crate) format: String,
    pub(crate) size: u64,
    pub(crate) ctime: u64,
    pub(crate) vmid: Option<u32>,
    pub(crate) sha256: String,
    /// Name of the file that holds the bytes, when they are kept.
    pub(crate) file: Option<String>,
    /// Virtual size of an image inside the file.
    pub(crate) virtual_size: Option<u64>,
    pub(crate) content_id: String,
    pub(crate) tag: String,
    pub(crate) notes: Option<String>,
}

/// A worker task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) upid: String,
    pub(crate) node: String,
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) pid: u64,
    pub(crate) pstart: u64,
    pub(crate) start: u64,
    pub(crate) end: Option<u64>,
    pub(crate) exit: Option<String>,
    pub(crate) log: Vec<String>,
    /// Its log is not there yet: who asks for it first does not find the task.
    #[serde(skip)]
    pub(crate) hidden: bool,
}

/// An API token; the secret is kept as a hash.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) privsep: bool,
    pub(crate) expire: u64,
    pub(crate) comment: Option<String>,
    pub(crate) secret_sha256: String,
}

/// A user; the password is kept as a hash.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) enable: bool,
    pub(crate) expire: u64,
    pub(crate) password_sha256: Option<String>,
    /// One-time codes that are left, of a user with a second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) codes: Option<Vec<String>>,
    pub(crate) groups: BTreeSet<String>,
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) tokens: BTreeMap<String, Token>,
}

/// One access rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AclRow {
    pub(crate) path: String,
    /// `user`, `group` or `token`.
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) role: String,
    pub(crate) propagate: bool,
}

/// A pool.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub(crate) comment: Option<String>,
    pub(crate) vms: BTreeSet<u32>,
    pub(crate) storages: BTreeSet<String>,
}

/// One layer of SDN configuration: kind (`zones`, …) to id to keys.
pub(crate) type Layer = BTreeMap<String, BTreeMap<String, Map<String, Value>>>;

/// SDN configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sdn {
    pub(crate) saved: Layer,
    pub(crate) running: Layer,
    pub(crate) lock: Option<String>,
    pub(crate) version: u64,
    /// IPAMs and DNS servers, which are in force when they are saved.
    #[serde(default)]
    pub(crate) services: Layer,
    /// Hardware addresses by `ZONE VNET ADDRESS`.
    #[serde(default)]
    pub(crate) addresses: BTreeMap<String, String>,
}

/// A mapping of devices.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Mapping {
    pub(crate) map: Vec<String>,
    pub(crate) fields: BTreeMap<String, String>,
}

/// The whole state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) cluster_name: Option<String>,
    pub(crate) quorum: bool,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) vms: BTreeMap<u32, Vm>,
    #[serde(default)]
    pub(crate) containers: BTreeMap<u32, Container>,
    pub(crate) storages: BTreeMap<String, BTreeMap<String, String>>,
    /// Volumes by place: `STORE@NODE`, or `STORE` for a shared storage.
    pub(crate) volumes: BTreeMap<String, BTreeMap<String, Volume>>,
    pub(crate) pools: BTreeMap<String, Pool>,
    pub(crate) sdn: Sdn,
    pub(crate) mappings: BTreeMap<String, Mapping>,
    #[serde(default)]
    pub(crate) usb_mappings: BTreeMap<String, Mapping>,
    #[serde(default)]
    pub(crate) ha: Ha,
    #[serde(default)]
    pub(crate) backup_jobs: BTreeMap<String, Map<String, Value>>,
    /// By `GUEST-NUMBER`.
    #[serde(default)]
    pub(crate) replication_jobs: BTreeMap<String, Map<String, Value>>,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) groups: BTreeMap<String, Option<String>>,
    pub(crate) roles: BTreeMap<String, BTreeSet<String>>,
    pub(crate) acl: Vec<AclRow>,
    pub(crate) datacenter: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) firewall: Firewall,
    /// Tasks in the order of their start.
    pub(crate) tasks: BTreeMap<u64, Task>,
    pub(crate) serial: u64,
    pub(crate) ticket_key: String,
    /// The server tells why it lets somebody not in.
    #[serde(skip)]
    pub(crate) tells_why: bool,
    /// The cluster is of 8.4.
    #[serde(skip)]
    pub(crate) old: bool,
    #[serde(skip)]
    pub(crate) upids: BTreeMap<String, u64>,
    #[serde(skip)]
    pub(crate) flocks: BTreeMap<u32, u64>,
    #[serde(skip)]
    pub(crate) agents: BTreeMap<u32, Value>,
}

impl State {
    /// The next number of a counter that never repeats.
    pub(crate) fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Whether a number is taken, by a machine or a container.
    pub(crate) fn has_guest(&self, vmid: u32) -> bool {
        self.vms.contains_key(&vmid) || self.containers.contains_key(&vmid)
    }

    /// Where a storage keeps the volumes that a node sees.
    pub(crate) fn place(&self, storage: &str, node: &str) -> String {
        if self.is_shared(storage) { storage.to_owned() } else { format!("{storage}@{node}") }
    }

    /// Whether all nodes see the same volumes.
    pub(crate) fn is_shared(&self, storage: &str) -> bool {
        self.storages.get(storage).is_some_and(|keys| {
            matches!(
                keys.get("type").map(String::as_str),
                Some("cephfs" | "rbd" | "nfs" | "cifs" | "pbs" | "iscsi" | "esxi")
            ) || keys.get("shared").is_some_and(|shared| shared == "1")
        })
    }

    /// Whether a storage keeps files (and not block devices).
    pub(crate) fn is_file_storage(&self, storage: &str) -> bool {
        let kind = self.storages.get(storage).and_then(|keys| keys.get("type"));
        matches!(kind.map(String::as_str), Some("dir" | "nfs" | "cifs" | "cephfs" | "btrfs"))
    }

    pub(crate) fn volume(&self, volid: &str, node: &str) -> Option<&Volume> {
        let (storage, name) = volid.split_once(':')?;
        self.volumes.get(&self.place(storage, node))?.get(name)
    }

    pub(crate) fn volume_mut(&mut self, volid: &str, node: &str) -> Option<&mut Volume> {
        let (storage, name) = volid.split_once(':')?;
        let place = self.place(storage, node);
        self.volumes.get_mut(&place)?.get_mut(name)
    }

    pub(crate) fn volume_remove(&mut self, volid: &str, node: &str) -> Option<Volume> {
        let (storage, name) = volid.split_once(':')?;
        let place = self.place(storage, node);
        self.volumes.get_mut(&place)?.remove(name)
    }

    /// A volume by its id, on whichever node it lies.
    pub(crate) fn find_volume_any(&self, volid: &str) -> Option<&Volume> {
        let (storage, name) = volid.split_once(':')?;
        let here = |place: &&String| place.split('@').next() == Some(storage);
        self.volumes.iter().filter(|(place, _)| here(place)).find_map(|(_, rows)| rows.get(name))
    }

    pub(crate) fn volume_set_tag(&mut self, volid: &str, tag: &str) -> bool {
        let Some((storage, name)) = volid.split_once(':') else { return false };
        let mut done = false;
        for (place, rows) in &mut self.volumes {
            if place.split('@').next() == Some(storage)
                && let Some(volume) = rows.get_mut(name)
            {
                tag.clone_into(&mut volume.tag);
                done = true;
            }
        }
        done
    }

    pub(crate) fn mapping_set(&mut self, id: &str, entries: &[&str]) {
        let map = entries.iter().map(|entry| (*entry).to_owned()).collect();
        self.mappings.insert(id.to_owned(), Mapping { map, fields: BTreeMap::new() });
    }

    pub(crate) fn agents_set(&mut self, vmid: u32, interfaces: Option<Value>) {
        match interfaces {
            Some(value) => self.agents.insert(vmid, value),
            None => self.agents.remove(&vmid),
        };
    }

    pub(crate) fn vm_set_lock(&mut self, vmid: u32, lock: Option<&str>) -> bool {
        let Some(vm) = self.vms.get_mut(&vmid) else { return false };
        match lock {
            Some(lock) => vm.conf.insert("lock".to_owned(), lock.to_owned()),
            None => vm.conf.remove("lock"),
        };
        true
    }

    /// The whole state without secrets.
    pub(crate) fn snapshot(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or(Value::Null);
        if let Some(map) = value.as_object_mut() {
            map.remove("ticket_key");
            let tasks: Vec<Value> = self.tasks.values().map(|task| json!(task)).collect();
            map.insert("tasks".to_owned(), Value::Array(tasks));
        }
        if let Some(users) = value.get_mut("users").and_then(Value::as_object_mut) {
            for user in users.values_mut().filter_map(Value::as_object_mut) {
                user.remove("password_sha256");
                user.remove("codes");
                let tokens = user.get_mut("tokens").and_then(Value::as_object_mut);
                for token in
                    tokens.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut)
                {
                    token.remove("secret_sha256");
                }
            }
        }
        value
    }
}

impl Vm {
    /// A key as the machine will have it: pending over current.
    pub(crate) fn wanted(&self, key: &str) -> Option<&str> {
        if let Some(value) = self.pending.get(key) {
            return Some(value);
        }
        if self.removed.contains_key(key) {
            return None;
        }
        self.conf.get(key).map(String::as_str)
    }

    /// A number of the current configuration.
    pub(crate) fn number(&self, key: &str, default: u64) -> u64 {
        self.conf.get(key).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    /// Number of CPUs.
    pub(crate) fn cpus(&self) -> u64 {
        let all = self.number("sockets", 1) * self.number("cores", 1);
        self.number("vcpus", all)
    }

    /// Memory in MiB.
    pub(crate) fn memory(&self) -> u64 {
        let text = self.conf.get("memory").map(String::as_str).unwrap_or_default();
        text.trim_start_matches("current=").parse().unwrap_or(512)
    }

    /// SHA-1 of the configuration file.
    pub(crate) fn digest(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.conf {
            text.extend([key, ": ", value, "\n"]);
        }
        text.push_str("[PENDING]\n");
        for (key, value) in &self.pending {
            text.extend([key, ": ", value, "\n"]);
        }
        for (key, force) in &self.removed {
            text.extend(["delete: ", key, if *force == 2 { "!" } else { "" }, "\n"]);
        }
        super::digest::sha1(text.as_bytes())
    }
}
