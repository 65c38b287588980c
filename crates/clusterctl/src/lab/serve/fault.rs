//! Breaking things on request.

use std::collections::BTreeMap;
use std::time::Duration;

use imagefactory::sim::{Fault as ImageFault, Side};
use proxmox_client::sim::{Fault as ProxmoxFault, FaultAction as ProxmoxAction, SimHandle};
use serde::Deserialize;
use serde_json::Value;
use talos_client::sim::{Fault as NodeFault, FaultAction as NodeAction};

use super::super::error::{LabError, LabErrorKind};
use super::site::LabSite;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Spec {
    /// Forgets what was asked before.
    clear: bool,
    pve: Vec<OfProxmox>,
    talos: Vec<OfNode>,
    factory: Vec<OfImages>,
    set: Settings,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfProxmox {
    #[serde(default = "any")]
    method: String,
    path: String,
    action: InProxmox,
    #[serde(default)]
    after: u64,
    times: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum InProxmox {
    Refuse { status: u16, message: String },
    Answer { status: u16, body: String },
    CutBeforeReply,
    CutBeforeCall,
    CutInBody,
    DelayMs(u64),
    ProxyUnreachable,
    ProxyLost,
    ProxyOther,
    LockTimeout,
    Unauthorized,
    TaskFails(String),
    TaskWarns(u32),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfNode {
    #[serde(default = "any")]
    node: String,
    #[serde(default = "any")]
    method: String,
    action: InNode,
    #[serde(default)]
    after: u64,
    times: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum InNode {
    Refuse { code: i32, message: String },
    RefuseConnect,
    DropAfter,
    DropBefore,
    SlowMs(u64),
    RebootMidCall,
    SwapDisks,
    InstallFails,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfImages {
    side: InWhich,
    method: Option<String>,
    prefix: String,
    action: InImages,
    #[serde(default = "once")]
    times: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum InWhich {
    Factory,
    Registry,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum InImages {
    Status(u16),
    CutAfter(u64),
    DelayMs(u64),
    Corrupt,
}

/// States that somebody's hand would bring about.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    pve_latency_ms: Option<u64>,
    quorum: Option<bool>,
    /// Proxmox nodes that are online or not.
    nodes: BTreeMap<String, bool>,
    /// Nodes on which a reload of the network works or not.
    network_reload: BTreeMap<String, bool>,
    /// The `lock` key of machines; null removes it.
    config_lock: BTreeMap<u32, Option<String>>,
    /// Machines whose lock is held for so long.
    hold_lock_ms: BTreeMap<u32, u64>,
    /// Machines that are switched on or off by somebody else.
    guests: BTreeMap<u32, bool>,
    /// Containers that somebody made: by number the node, keys, and keys that wait for a restart.
    containers: BTreeMap<u32, (String, Keys, Keys)>,
    /// Clusters (`cluster.id`) that get a CNI.
    cni: Vec<String>,
}

type Keys = BTreeMap<String, String>;

fn any() -> String {
    "*".to_owned()
}

fn once() -> u32 {
    1
}

fn refused(why: impl Into<String>) -> LabError {
    LabError::new(LabErrorKind::Refused, why)
}

/// Breaks what the request says.
///
/// # Errors
/// It is not understood, or names what is not there. Faults that came before the mistake hold.
pub(super) async fn inject(site: &LabSite, spec: Value) -> Result<(), LabError> {
    let spec: Spec = serde_json::from_value(spec)
        .map_err(|error| refused("the faults are not understood").because(error))?;
    let slot = site.pve.read().await;
    let pve = slot.as_ref().ok_or_else(|| refused("the simulated Proxmox does not run"))?;
    let factory = site.factory.lock().await;
    let images = factory.as_ref().ok_or_else(|| refused("the simulated factory does not run"))?;
    if spec.clear {
        pve.faults().clear();
        site.net.faults().clear();
        images.faults().clear();
    }
    for fault in spec.pve {
        pve.faults().add(of_proxmox(fault));
    }
    for fault in spec.talos {
        site.net.faults().add(of_node(fault));
    }
    for fault in spec.factory {
        let side = match fault.side {
            InWhich::Factory => Side::Factory,
            InWhich::Registry => Side::Registry,
        };
        let action = match fault.action {
            InImages::Status(status) => ImageFault::Status(status),
            InImages::CutAfter(bytes) => ImageFault::CutAfter(bytes),
            InImages::DelayMs(time) => ImageFault::Delay(Duration::from_millis(time)),
            InImages::Corrupt => ImageFault::Corrupt,
        };
        match fault.method {
            None => images.faults().inject(side, &fault.prefix, action, fault.times),
            Some(method) => {
                for _ in 0..fault.times {
                    images.faults().inject_method(side, &method, &fault.prefix, action);
                }
            }
        }
    }
    set(site, pve, spec.set)
}

fn of_proxmox(fault: OfProxmox) -> ProxmoxFault {
    let action = match fault.action {
        InProxmox::Refuse { status, message } => ProxmoxAction::Refuse { status, message },
        InProxmox::Answer { status, body } => {
            ProxmoxAction::Answer { status, body: body.into_bytes() }
        }
        InProxmox::CutBeforeReply => ProxmoxAction::CutBeforeReply,
        InProxmox::CutBeforeCall => ProxmoxAction::CutBeforeCall,
        InProxmox::CutInBody => ProxmoxAction::CutInBody,
        InProxmox::DelayMs(time) => ProxmoxAction::Delay(Duration::from_millis(time)),
        InProxmox::ProxyUnreachable => ProxmoxAction::ProxyUnreachable,
        InProxmox::ProxyLost => ProxmoxAction::ProxyLost,
        InProxmox::ProxyOther => ProxmoxAction::ProxyOther,
        InProxmox::LockTimeout => ProxmoxAction::LockTimeout,
        InProxmox::Unauthorized => ProxmoxAction::Unauthorized,
        InProxmox::TaskFails(text) => ProxmoxAction::TaskFails(text),
        InProxmox::TaskWarns(count) => ProxmoxAction::TaskWarns(count),
    };
    let made = ProxmoxFault::new(fault.method, fault.path, action).after(fault.after);
    match fault.times {
        Some(times) => made.times(times),
        None => made,
    }
}

fn of_node(fault: OfNode) -> NodeFault {
    let action = match fault.action {
        InNode::Refuse { code, message } => NodeAction::Refuse { code, message },
        InNode::RefuseConnect => NodeAction::RefuseConnect,
        InNode::DropAfter => NodeAction::DropAfter,
        InNode::DropBefore => NodeAction::DropBefore,
        InNode::SlowMs(time) => NodeAction::Slow(Duration::from_millis(time)),
        InNode::RebootMidCall => NodeAction::RebootMidCall,
        InNode::SwapDisks => NodeAction::SwapDisks,
        InNode::InstallFails => NodeAction::InstallFails,
    };
    let made = NodeFault::new(action).node(fault.node).method(fault.method).after(fault.after);
    made.times(fault.times.unwrap_or(u64::MAX))
}

fn set(site: &LabSite, pve: &SimHandle, settings: Settings) -> Result<(), LabError> {
    let known = |done: bool, what: String| {
        if done { Ok(()) } else { Err(refused(format!("there is no {what}"))) }
    };
    if let Some(time) = settings.pve_latency_ms {
        pve.set_latency(Duration::from_millis(time));
    }
    if let Some(quorum) = settings.quorum {
        pve.set_quorum(quorum);
    }
    for (node, online) in &settings.nodes {
        known(pve.set_node_online(node, *online), format!("node {node}"))?;
    }
    for (node, works) in &settings.network_reload {
        known(pve.set_network_reload(node, *works), format!("node {node}"))?;
    }
    for (vmid, lock) in &settings.config_lock {
        known(pve.set_config_lock(*vmid, lock.as_deref()), format!("VM {vmid}"))?;
    }
    for (vmid, time) in &settings.hold_lock_ms {
        pve.hold_lock(*vmid, Duration::from_millis(*time));
    }
    for (vmid, on) in &settings.guests {
        known(pve.set_guest_state(*vmid, *on), format!("VM {vmid}"))?;
    }
    for (vmid, (node, keys, pending)) in settings.containers {
        let added = pve.add_container(&node, vmid, keys, pending);
        known(added, format!("node {node} with {vmid} free"))?;
    }
    for cluster in &settings.cni {
        site.net.declare_cni(cluster);
    }
    Ok(())
}
