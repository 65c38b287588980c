//! The handle of a running simulator: everything a test or a lab may look at or change.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{broadcast, watch};

use super::event::GuestEvent;
use super::fault::Faults;
use super::guest;
use super::outage;
use super::server::Inner;
use super::state::Container;

/// A PCI device of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciDevice {
    /// Address (`0000:00:02.0`).
    pub id: String,
    /// Class (`0x030000`).
    pub class: String,
    /// Vendor (`0x8086`).
    pub vendor: String,
    /// Device (`0x4680`).
    pub device: String,
    /// Subsystem vendor.
    pub subsystem_vendor: String,
    /// Subsystem device.
    pub subsystem_device: String,
    /// IOMMU group, -1 for none.
    pub iommugroup: i32,
    /// Name of the device for people.
    pub device_name: String,
    /// Name of the vendor for people.
    pub vendor_name: String,
}

/// A running simulated cluster. Dropping it ends the server.
#[derive(Debug)]
pub struct SimHandle {
    pub(crate) inner: Arc<Inner>,
    pub(crate) addr: SocketAddr,
    pub(crate) ca_pem: String,
    pub(crate) fingerprint: String,
    pub(crate) secret: String,
    pub(crate) password: String,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: Option<tokio::task::JoinHandle<()>>,
}

impl SimHandle {
    /// `https://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("https://{}", self.addr)
    }

    /// Address of the server.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Certificate of the authority that signed the server's one, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// SHA-256 fingerprint of the server's certificate, upper-case pairs joined with `:`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The whole token of root: `root@pam!lab=SECRET`. It has root's rights.
    pub fn token(&self) -> String {
        format!("root@pam!lab={}", self.secret)
    }

    /// Password of `root@pam`.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Guest events from now on.
    pub fn events(&self) -> broadcast::Receiver<GuestEvent> {
        self.inner.events.subscribe()
    }

    /// Faults and the record of calls.
    pub fn faults(&self) -> Faults {
        self.inner.faults.clone()
    }

    /// The whole state as JSON: `nodes`, `vms` (by id: `node`, `conf`, `pending`, `running`),
    /// `storages`, `volumes`, `pools`, `sdn`, `tasks`, `users`, …; secrets are left out.
    pub fn snapshot(&self) -> Value {
        self.inner.lock().snapshot()
    }

    /// The start events of all machines that run now: what somebody who attaches late needs.
    pub fn running_guests(&self) -> Vec<GuestEvent> {
        guest::running(&self.inner)
    }

    /// Switches a machine on or off without an API call, as a crash or an outside hand does.
    /// False when there is no such machine.
    pub fn set_guest_state(&self, vmid: u32, running: bool) -> bool {
        guest::force(&self.inner, vmid, running)
    }

    /// The guest powers itself off. False when it does not run.
    pub fn guest_poweroff(&self, vmid: u32) -> bool {
        guest::poweroff(&self.inner, vmid)
    }

    /// Whether the guest agent of a machine answers, and with which interfaces
    /// (`network-get-interfaces` result rows).
    pub fn set_agent(&self, vmid: u32, interfaces: Option<Value>) {
        self.inner.lock().agents_set(vmid, interfaces);
    }

    /// Text that a guest left on a volume; `None` when there is no such volume.
    pub fn disk_tag(&self, volid: &str) -> Option<String> {
        self.inner.lock().find_volume_any(volid).map(|volume| volume.tag.clone())
    }

    /// Sets the text that a guest leaves on a volume. It stays through stop and start and goes
    /// with the volume. False when there is no such volume.
    pub fn set_disk_tag(&self, volid: &str, tag: &str) -> bool {
        let done = self.inner.lock().volume_set_tag(volid, tag);
        self.inner.save_soon();
        done
    }

    /// Adds a PCI device to a node. False when there is no such node.
    pub fn add_pci(&self, node: &str, device: PciDevice) -> bool {
        let done =
            self.inner.lock().nodes.get_mut(node).map(|node| node.pci.push(device)).is_some();
        self.inner.save_soon();
        done
    }

    /// Adds or replaces a container that others made, with keys such as `hostname` and `net0`, and
    /// those that wait for its restart. False when there is no such node, or a machine has the
    /// number.
    pub fn add_container(
        &self,
        node: &str,
        vmid: u32,
        keys: BTreeMap<String, String>,
        pending: BTreeMap<String, String>,
    ) -> bool {
        let mut state = self.inner.lock();
        if !state.nodes.contains_key(node) || state.vms.contains_key(&vmid) {
            return false;
        }
        state.containers.insert(vmid, Container { node: node.to_owned(), conf: keys, pending });
        drop(state);
        self.inner.save_soon();
        true
    }

    /// Adds or replaces a PCI mapping; `entries` are property strings
    /// (`node=pve01,path=0000:00:02.1,id=8086:4680`).
    pub fn add_pci_mapping(&self, id: &str, entries: &[&str]) {
        self.inner.lock().mapping_set(id, entries);
        self.inner.save_soon();
    }

    /// Adds or replaces a job that backs machines up, with keys such as `schedule`, `storage`,
    /// `vmid`.
    pub fn add_backup_job(&self, id: &str, keys: Map<String, Value>) {
        self.inner.lock().backup_jobs.insert(id.to_owned(), keys);
        self.inner.save_soon();
    }

    /// Adds or replaces a job that copies the volumes of a machine to another node, with keys such
    /// as `target`, `schedule`; its id is `NUMBER-COUNT`.
    pub fn add_replication_job(&self, id: &str, keys: Map<String, Value>) {
        self.inner.lock().replication_jobs.insert(id.to_owned(), keys);
        self.inner.save_soon();
    }

    /// Holds the lock of a machine for this time: writes to it wait and end with `got timeout`.
    pub fn hold_lock(&self, vmid: u32, time: Duration) {
        guest::hold_lock(&self.inner, vmid, time);
    }

    /// Sets or removes the `lock` key of a machine's configuration.
    pub fn set_config_lock(&self, vmid: u32, lock: Option<&str>) -> bool {
        self.inner.lock().vm_set_lock(vmid, lock)
    }

    /// Takes a node down, or brings it back. Its guests stop and its tasks end where they are;
    /// without more than half of the nodes the cluster has no quorum.
    pub fn set_node_online(&self, node: &str, online: bool) -> bool {
        outage::set_online(&self.inner, node, online)
    }

    /// Whether a network reload works on a node.
    pub fn set_network_reload(&self, node: &str, works: bool) -> bool {
        self.inner.lock().nodes.get_mut(node).map(|node| node.reload_works = works).is_some()
    }

    /// Whether the nodes that are up see one another: without a quorum writes fail.
    pub fn set_quorum(&self, quorum: bool) {
        self.inner.lock().quorum = quorum;
    }

    /// Latency of every call from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.inner.set_latency(latency);
    }

    /// Lets the simulator's clock jump ahead: tickets and tokens age.
    pub fn advance(&self, time: Duration) {
        self.inner.clock.advance(time);
    }

    /// Ends the server, after the state is saved.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            drop(task.await);
        }
    }

    /// Waits until the server ended.
    pub async fn wait(mut self) {
        if let Some(task) = self.task.take() {
            drop(task.await);
        }
    }
}

impl Drop for SimHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
