//! How fast everything in a lab is.

use std::time::Duration;

/// How fast everything is; by default as fast as it can be while the order of events holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manners {
    /// Factor on the times of a real Talos node; none: quick.
    pub pace: Option<f64>,
    /// Added to every call of the Proxmox API.
    pub proxmox_latency: Duration,
    /// Added to every call of a node.
    pub node_latency: Duration,
    /// Time that Proxmox tasks of a kind (`qmcreate`, …) take; `*` for all others.
    pub task_times: Vec<(String, Duration)>,
}

impl Manners {
    /// As arguments of the process.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut out = Vec::new();
        if let Some(pace) = self.pace {
            out.push(format!("--pace={pace}"));
        }
        for (name, time) in
            [("latency-ms", self.proxmox_latency), ("node-latency-ms", self.node_latency)]
        {
            if !time.is_zero() {
                out.push(format!("--{name}={}", time.as_millis()));
            }
        }
        for (kind, time) in &self.task_times {
            out.push(format!("--task-ms={kind}={}", time.as_millis()));
        }
        out
    }
}
