//! What is said over the control socket: one line of JSON there, one back.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::file::LabFile;
use super::world::World;

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub(super) enum Request {
    /// Take over what a tree wants; answers with [`LabFile`].
    Sync {
        /// What it wants.
        world: Box<World>,
    },
    /// Answers with [`LabStatus`].
    Status,
    /// Answers with the state of all simulators.
    Snapshot,
    /// Break or change something; answers with nothing.
    Faults {
        /// What.
        spec: Value,
    },
    /// End; answers before it does.
    Stop,
}

/// An answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// Done.
    Done(Value),
    /// Not done.
    Refused {
        /// Why.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// What runs in the lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabStatus {
    /// The process.
    pub pid: u32,
    /// Its build.
    pub build: String,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Where its servers are.
    pub endpoints: Pieces,
    /// Simulated Proxmox nodes, and whether they are online.
    pub nodes: Vec<(String, bool)>,
    /// Virtual machines.
    pub guests: Vec<GuestStatus>,
    /// Addresses of the plan that can be dialled.
    pub routes: usize,
}

/// Where the servers of a lab are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    /// The Proxmox API.
    pub proxmox: String,
    /// The image factory.
    pub factory: String,
    /// The registry.
    pub registry: String,
}

impl Pieces {
    /// Those of a lab.
    pub fn of(file: &LabFile) -> Self {
        Self {
            proxmox: file.proxmox.endpoint.clone(),
            factory: format!("https://{}", file.factory),
            registry: format!("https://{}", file.registry),
        }
    }
}

/// A virtual machine and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestStatus {
    /// VM id.
    pub vmid: u32,
    /// Its name.
    pub name: String,
    /// The Proxmox node that it is on.
    pub node: String,
    /// Whether it is switched on.
    pub running: bool,
    /// What the guest does: a stage of Talos, `off`, or `no system`.
    pub stage: String,
    /// Talos version that runs or is installed.
    pub talos: Option<String>,
    /// Addresses that it has.
    pub addresses: Vec<String>,
    /// Why it is not a node.
    pub problem: Option<String>,
}
