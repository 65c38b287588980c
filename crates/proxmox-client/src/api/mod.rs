//! Typed calls, one module for each part of the API.

mod access;
mod cluster;
mod copies;
mod fabrics;
mod file;
mod firewall;
mod ha;
mod mapping;
mod node;
mod pool;
mod qemu;
mod routing;
mod sdn;
mod storage;
mod task;
mod users;
mod version;
mod vms;

pub use access::{Access, AclRow, Permissions, RoleRow, TokenRow, UserRow};
pub use cluster::{ClusterRow, ResourceRow};
pub use copies::{CloneOptions, DiskTarget, Migratable, Snapshot};
pub use fabrics::{Fabric, FabricInterface, FabricNeighbor, FabricNode, FabricRoute};
pub use file::{Download, Ensured, Upload, Uploaded, UrlMetadata};
pub use firewall::{Firewall, FirewallAlias, FirewallLevel, FirewallName, FirewallRef, RuleList};
pub use ha::{Ha, HaKind, HaRow, HaStatus};
pub use mapping::{MappingCheck, Mappings, PciMapping, UsbMapping};
pub use node::{Node, NodeRow, PciRow};
pub use pool::{Pool, PoolMember, Pools};
pub use qemu::{GuestAddress, GuestInterface, PendingRow, Qemu, VmRow};
pub use routing::{PrefixList, PrefixRule, RouteMapEntry};
pub use sdn::{Preview, Sdn, ZoneStatus};
pub use storage::{NodeStorage, StorageStatus, Volume};
pub use task::{LogLine, TaskEnd, TaskRow, Tasks};
pub use users::{GroupRow, NewToken};
pub use version::Version;
pub use vms::Vms;
