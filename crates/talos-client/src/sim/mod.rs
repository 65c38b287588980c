//! Simulated Talos nodes, for tests and labs.
//!
//! A [`SimNet`] is a fabric on loopback. Machines that are powered on in it boot, wait in maintenance mode, take a
//! configuration, install, reboot, form an etcd cluster and serve a small Kubernetes API, all over real sockets with
//! TLS made from the configuration that they were given. Nothing of the client is used here: requests and answers go
//! through a table of the protocol's own, configurations are read by a reader of their own.

mod api;
mod cluster;
mod config;
mod cosi;
mod discovery;
mod disk;
mod event;
mod fact;
mod fault;
mod grpc;
mod kube;
mod life;
mod link;
mod machine;
mod net;
mod node;
mod pki;
mod quorum;
mod replay;
mod snapshot;
mod spec;
#[cfg(test)]
mod tests;
mod wire;

pub use fault::{Fault, FaultAction, Faults};
pub use net::{Route, SimError, SimNet};
pub use node::SimNode;
pub use quorum::QuorumLoss;
pub use replay::{ReplayGroup, replay};
pub use spec::{
    BootDevice, BootMark, CloudInit, DiskSpec, NetConfig, NicSpec, NodeEvent, NodeEventKind,
    NodeSpec, Pace, Segment,
};
