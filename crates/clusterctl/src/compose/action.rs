//! What a step does: the closed set of things that a plan can hold.
//!
//! An action names things of the tree; what they are like is read from the tree again when it is
//! carried out, which a plan's fingerprint ties to what it was when the plan was made. So no plan
//! holds a secret.

use proxmox_client::plan::sdn::SdnPlan;
use proxmox_client::plan::vm::VmChange;
use serde::{Deserialize, Serialize};
pub use talos_client::health::Level;

/// How configuration takes effect on a running node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApplyMode {
    /// At once, without a reboot.
    NoReboot,
    /// With a reboot.
    Reboot,
    /// At the next reboot, whenever that is.
    Staged,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do", deny_unknown_fields)]
pub enum Action {
    /// Changes networks in one transaction and makes them take effect.
    Networks {
        /// The changes in order, and what is saved and only has to be applied.
        plan: SdnPlan,
    },
    /// Makes the extension of the tree and pushes it.
    MakeExtension,
    /// Tells the factory what is baked into the images.
    Schematic,
    /// Fetches the ISO of a Talos version and pins it.
    FetchIso {
        /// The version, without `v`.
        version: String,
    },
    /// Copies the installer of a Talos version to the registry of the site.
    CopyInstaller {
        /// The version, without `v`.
        version: String,
    },
    /// Writes down which image a tag means now.
    PinImage {
        /// The reference, with a tag.
        reference: String,
    },
    /// Puts the ISO of a Talos version on a storage.
    Upload {
        /// The version, without `v`.
        version: String,
        /// The Proxmox node.
        node: String,
        /// The storage.
        storage: String,
    },
    /// Makes the secrets of a cluster.
    MakeSecrets {
        /// The cluster's folder.
        cluster: String,
    },
    /// Makes the machine of a node, stopped.
    CreateMachine {
        /// The cluster's folder.
        cluster: String,
        /// The node.
        node: String,
    },
    /// Changes the machine of a node.
    ChangeMachine {
        /// The cluster's folder.
        cluster: String,
        /// The node.
        node: String,
        /// What changes.
        changes: Vec<VmChange>,
    },
    /// Starts the machine of a node.
    StartMachine {
        /// The cluster's folder.
        cluster: String,
        /// The node.
        node: String,
    },
    /// Gives a node its first configuration: it waits in maintenance mode.
    Configure {
        /// The cluster's folder.
        cluster: String,
        /// The node.
        node: String,
    },
    /// Waits until a node that was installed before answers, and looks that its configuration is
    /// the one of the tree.
    Reach {
        /// The cluster's folder.
        cluster: String,
        /// The node.
        node: String,
    },
    /// Changes the configuration of a node that runs.
    Reconfigure {
        /// The cluster's folder.
        cluster: String,
        /// The node.
        node: String,
        /// How it takes effect.
        mode: ApplyMode,
    },
    /// Takes the installation medium out of a machine's drive.
    EjectMedium {
        /// The cluster's folder.
        cluster: String,
        /// The node.
        node: String,
    },
    /// Starts etcd on one control plane, once in the life of a cluster.
    Bootstrap {
        /// The cluster's folder.
        cluster: String,
    },
    /// Waits until the cluster is as far as it should be.
    AwaitCluster {
        /// The cluster's folder.
        cluster: String,
        /// How far.
        level: Level,
    },
    /// Writes kubeconfig and talosconfig.
    WriteAccess {
        /// The cluster's folder.
        cluster: String,
    },
    /// Stops and removes the machine of a node, with its disks.
    DestroyMachine {
        /// The Proxmox node.
        node: String,
        /// Its number.
        vmid: u32,
        /// Its SMBIOS UUID: looked at again before anything is removed.
        uuid: String,
        /// Its name, for people.
        name: String,
    },
    /// Removes the files that open a cluster.
    RemoveAccess {
        /// The cluster's folder.
        cluster: String,
    },
    /// Removes the ISO of a Talos version from a storage.
    RemoveIso {
        /// The file's name.
        file: String,
        /// The Proxmox node.
        node: String,
        /// The storage.
        storage: String,
    },
}
