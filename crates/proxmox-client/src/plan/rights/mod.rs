//! What a plan needs to be allowed, so that it is told before the first change.
//!
//! Upstream: the `permissions` of each call in the API schema, and the tables of keys that the
//! server checks inside `POST /nodes/{node}/qemu` and `…/config`.

mod vm;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::sdn::{Kind, SdnChange};
use crate::dialect::Release;
use crate::id::VmId;

/// A privilege on a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Right {
    /// Such as `/vms/100`.
    pub path: String,
    /// Such as `VM.Allocate`.
    pub privilege: &'static str,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.privilege, self.path)
    }
}

/// A collection of what is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    needed: BTreeSet<Right>,
    root: BTreeSet<String>,
    /// Zones by VNet; a bridge that is in none is one of the node's own.
    zones: BTreeMap<String, String>,
}

impl Rights {
    /// Nothing. `zones` says in which zone a VNet is, as planned or as it is there.
    pub fn new(zones: BTreeMap<String, String>) -> Self {
        Self { needed: BTreeSet::new(), root: BTreeSet::new(), zones }
    }

    /// What only `root@pam` itself may do, with a ticket: no token may, whatever it is granted.
    /// Each says what of which machine it is. See
    /// [`Client::is_root`](crate::Client::is_root).
    pub fn root_only(&self) -> impl Iterator<Item = &str> {
        self.root.iter().map(String::as_str)
    }

    /// What was collected.
    pub fn iter(&self) -> impl Iterator<Item = &Right> {
        self.needed.iter()
    }

    /// As pairs of path and privilege, for
    /// [`Permissions::missing`](crate::Permissions::missing).
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.needed.iter().map(|right| (right.path.as_str(), right.privilege))
    }

    fn add(&mut self, path: impl Into<String>, privilege: &'static str) {
        self.needed.insert(Right { path: path.into(), privilege });
    }

    /// Reading what lies in a storage.
    pub fn see_storage(&mut self, storage: &str) {
        self.add(format!("/storage/{storage}"), "Datastore.Audit");
    }

    /// Putting a file into a storage.
    pub fn upload(&mut self, storage: &str) {
        self.see_storage(storage);
        self.add(format!("/storage/{storage}"), "Datastore.AllocateTemplate");
    }

    /// Removing a file from a storage.
    pub fn delete_file(&mut self, storage: &str) {
        self.see_storage(storage);
        self.add(format!("/storage/{storage}"), "Datastore.Allocate");
    }

    /// Making, changing and removing a pool.
    pub fn pool(&mut self, id: &str) {
        self.add(format!("/pool/{id}"), "Pool.Audit");
        self.add(format!("/pool/{id}"), "Pool.Allocate");
    }

    /// Changing the networks of the cluster and applying that.
    pub fn networks(&mut self, changes: &[SdnChange]) {
        // Locking, rolling back and applying.
        self.add("/sdn", "SDN.Allocate");
        for change in changes {
            let object = change.object();
            let path = match object.kind {
                Kind::Controller => {
                    self.add("/sdn/controllers", "SDN.Allocate");
                    format!("/sdn/controllers/{}", object.id)
                }
                Kind::Zone => {
                    if matches!(change, SdnChange::Create { .. }) {
                        self.add("/sdn/zones", "SDN.Allocate");
                    }
                    format!("/sdn/zones/{}", object.id)
                }
                Kind::Vnet => {
                    let zone = object.fields.get("zone").cloned().unwrap_or_default();
                    self.add(format!("/sdn/zones/{zone}"), "SDN.Allocate");
                    format!("/sdn/zones/{zone}/{}", object.id)
                }
                Kind::Subnet => {
                    let zone = object.id.split('-').next().unwrap_or_default();
                    format!("/sdn/zones/{zone}/{}", object.vnet.as_deref().unwrap_or_default())
                }
            };
            // What may not be read is as if it was not there.
            self.add(path.clone(), "SDN.Audit");
            self.add(path, "SDN.Allocate");
        }
    }

    /// Changing the firewall of the cluster: its rules, groups, sets, names and options.
    pub fn firewall_of_cluster(&mut self) {
        self.add("/", "Sys.Audit");
        self.add("/", "Sys.Modify");
    }

    /// Changing the firewall of a node.
    pub fn firewall_of_node(&mut self, node: &str) {
        self.add(format!("/nodes/{node}"), "Sys.Audit");
        self.add(format!("/nodes/{node}"), "Sys.Modify");
    }

    /// Changing the firewall of a machine.
    pub fn firewall_of_vm(&mut self, id: VmId) {
        self.vm(id, "VM.Audit");
        self.vm(id, "VM.Config.Network");
    }

    /// Changing the firewall of a `VNet` in a zone.
    pub fn firewall_of_vnet(&mut self, zone: &str, vnet: &str) {
        self.add(format!("/sdn/zones/{zone}/{vnet}"), "SDN.Audit");
        self.add(format!("/sdn/zones/{zone}/{vnet}"), "SDN.Allocate");
    }

    /// Changing high availability: resources, rules, groups.
    pub fn high_availability(&mut self) {
        self.add("/", "Sys.Audit");
        self.add("/", "Sys.Console");
    }

    /// Making, changing and removing a name for devices; `class` is `pci` or `usb`.
    pub fn mapping(&mut self, class: &str, id: &str) {
        self.add(format!("/mapping/{class}"), "Mapping.Modify");
        self.add(format!("/mapping/{class}/{id}"), "Mapping.Audit");
        self.add(format!("/mapping/{class}/{id}"), "Mapping.Modify");
    }

    /// Making, changing and removing roles.
    pub fn roles(&mut self) {
        self.add("/access", "Sys.Modify");
    }

    /// Making, changing and removing a user: `name@realm`.
    pub fn user(&mut self, id: &str) {
        let realm = id.rsplit('@').next().unwrap_or_default();
        self.add(format!("/access/realm/{realm}"), "Realm.AllocateUser");
        self.tokens_of_others();
    }

    /// Making, changing and removing tokens of somebody else; those of oneself need nothing.
    pub fn tokens_of_others(&mut self) {
        self.add("/access/groups", "User.Modify");
    }

    /// Making, changing and removing groups of users.
    pub fn groups(&mut self) {
        self.add("/access/groups", "Group.Allocate");
    }

    /// Granting a role on a path, and taking it back.
    pub fn grant(&mut self, path: &str) {
        self.add(path, "Permissions.Modify");
    }

    /// Looking whether a node has changes of its own network waiting.
    pub fn see_node(&mut self, node: &str) {
        self.add(format!("/nodes/{node}"), "Sys.Audit");
    }
}

/// Whether a release knows a privilege.
pub fn is_known(release: Release, privilege: &str) -> bool {
    let is_new = privilege.starts_with("VM.GuestAgent.") || privilege == "VM.Replicate";
    match privilege {
        "VM.Monitor" => release.major() < 9,
        _ => !is_new || release.major() >= 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_know_different_privileges() {
        let (old, new) = (Release::new(8, 4), Release::new(9, 1));
        assert!(is_known(old, "VM.Monitor") && !is_known(new, "VM.Monitor"));
        assert!(!is_known(old, "VM.GuestAgent.Audit") && is_known(new, "VM.GuestAgent.Audit"));
        assert!(is_known(old, "VM.Audit"));
    }
}
