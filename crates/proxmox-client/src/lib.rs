#![doc = include_str!("../README.md")]

mod api;
mod client;
mod config;
mod dialect;
pub mod ensure;
mod error;
mod id;
mod login;
mod loose;
pub mod plan;
#[cfg(feature = "sim")]
pub mod sim;
mod tls;
mod transport;
mod upload;
pub mod wire;

pub use api::{
    Access, AclRow, CloneOptions, ClusterRow, ContainerRow, DeviceMapping, DiskTarget, Download,
    Ensured, Fabric, FabricInterface, FabricNeighbor, FabricNode, FabricRoute, Firewall,
    FirewallAlias, FirewallLevel, FirewallName, FirewallRef, GroupRow, GuestAddress,
    GuestInterface, Ha, HaRow, HaStatus, Interface, LogLine, Lxc, MappingCheck, Mappings,
    Migratable, NewToken, Node, NodeRow, NodeStorage, PciRow, PendingRow, Permissions, Pool,
    PoolMember, Pools, PrefixList, PrefixRule, Preview, Qemu, ResourceRow, RoleRow, RouteMapEntry,
    RuleList, Sdn, Snapshot, StorageStatus, TaskEnd, TaskRow, Tasks, TokenRow, Upload, Uploaded,
    UrlMetadata, UserRow, Version, VmRow, Vms, Volume, ZoneStatus,
};
pub use client::{Client, Parameters};
pub use config::{Auth, ClientConfig};
pub use dialect::Release;
pub use error::{Error, ErrorKind, Result};
pub use http::Method;
pub use id::{IdError, NodeName, Upid, VmId};
pub use plan::ha::HaKind;
pub use secrecy::SecretString;
pub use tls::{Fingerprint, Trust, probe_fingerprint};
