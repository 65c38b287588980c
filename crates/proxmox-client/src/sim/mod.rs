//! A simulated Proxmox VE cluster that speaks the real HTTP API over TLS on loopback.
//!
//! The server takes its validation from the published API schema (see `schema/ORIGIN.md`), keeps
//! state instead of echoing requests, runs worker tasks, and can misbehave on request. It shares
//! nothing with the client side of this crate.
//!
//! ```no_run
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! use proxmox_client::sim::SimCluster;
//!
//! let sim = SimCluster::builder().nodes(["pve01", "pve02"]).start().await?;
//! println!("{} {}", sim.base_url(), sim.fingerprint());
//! sim.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod answer;
mod api;
mod auth;
mod builder;
mod clock;
mod cloudinit;
mod decode;
mod digest;
mod disorder;
mod disturb;
mod drive;
mod event;
mod fail;
mod fault;
mod firewall;
mod guest;
mod ha;
mod handle;
mod http;
mod multipart;
mod outage;
mod perm;
mod persist;
mod reply;
pub(crate) mod schema;
mod server;
mod state;
mod storages;
mod task;
mod upload;

pub use builder::{AcpiReaction, Dialect, SimBuilder, SimCluster, SimError, TimeMode};
pub use event::{BootDisk, BootMedium, BootNic, CloudInit, GuestEvent, GuestStart};
pub use fault::{CallRecord, EndpointCalls, Fault, FaultAction, Faults};
pub use handle::{PciDevice, SimHandle};
pub use schema::Verdict;
pub use storages::SimStorage;
