//! The lab: a simulated Proxmox VE cluster, Talos nodes, image factory and registry in one process
//! of their own, joined so that the same code that works on real ones works on them.
//!
//! A [`Lab`] is what a verb holds: [`Lab::ensure`] starts the process when it is not there and
//! tells it what the tree plans, so that every planned address has a port on loopback. Everything
//! that is written for the lab lies below `live/.clusterctl/lab/`.
//!
//! The simulators are spoken to over real sockets only; beside them there is a control socket for
//! what a real site has hands for: looking at the truth, and breaking things.

mod control;
mod error;
mod file;
mod handle;
mod launch;
mod manners;
mod paths;
mod process;
mod protocol;
#[cfg(feature = "lab")]
mod serve;
mod world;

pub use error::{LabError, LabErrorKind};
pub use file::{AddressRoute, HostRoute, LabFile, ProxmoxAccess};
pub use handle::Lab;
pub use launch::{Down, Launch, Started};
pub use manners::Manners;
pub use paths::Paths;
pub use protocol::{GuestStatus, LabStatus, Pieces};
#[cfg(feature = "lab")]
pub use serve::{ServeOptions, serve};
pub use world::{BuildPart, Device, Mapping, Segment, Storage, StorageKind, World};
