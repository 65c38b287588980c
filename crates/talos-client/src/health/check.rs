//! The checks.

use super::etcd;
use super::{CHECKS, CheckResult, Fact, Gap, NodeFacts, Observation, State};
use crate::api::{Service, Stage};

/// Memory that a control plane needs: 2 GiB, less what firmware and kernel keep.
const CONTROL_PLANE_MEMORY: u64 = (1848 - 150) << 20;

/// The same for a worker: 1 GiB.
const WORKER_MEMORY: u64 = (1024 - 150) << 20;

/// Size that the system disk needs.
const DISK: u64 = 6 << 30;

/// What keeps a check from holding: on which node, why, and whether waiting helps.
pub(super) struct Problem {
    node: String,
    pub(super) gap: Gap,
}

impl Problem {
    pub(super) fn new(node: &str, gap: Gap) -> Self {
        Self { node: node.to_owned(), gap }
    }

    fn text(&self) -> String {
        if self.node.is_empty() {
            return self.gap.reason.clone();
        }
        format!("{}: {}", self.node, self.gap.reason)
    }
}

/// How many problems a reason tells of.
const TOLD: usize = 3;

/// All checks over what was observed, in the order of [`CHECKS`].
pub fn check(observation: &Observation) -> Vec<CheckResult> {
    let nodes = observation.nodes.as_slice();
    CHECKS.iter().map(|(name, _)| CheckResult { name, state: one(name, nodes) }).collect()
}

fn one(name: &str, nodes: &[NodeFacts]) -> State {
    if nodes.is_empty() {
        return State::Failed("the cluster has no nodes".to_owned());
    }
    let problems = match name {
        "apid" => each(nodes, |node| known(&node.version, |_| Ok(()))),
        "time" => each(nodes, |node| {
            known(&node.time_synced, |synced| {
                if *synced { Ok(()) } else { waits("the time is not in sync") }
            })
        }),
        "memory" => each(nodes, memory),
        "disk" => each(nodes, disk),
        "etcd-service" => each_control_plane(nodes, |node| service(node, "etcd")),
        "etcd-consistent" => etcd::consistent(nodes),
        "etcd-members" => etcd::members(nodes),
        "etcd-leader" => etcd::leader(nodes),
        "etcd-alarms" => etcd::alarms(nodes),
        "kubelet" => each(nodes, |node| service(node, "kubelet")),
        "services" => each(nodes, services),
        "boot" => each(nodes, boot),
        "diagnostics" => each(nodes, |node| {
            known(&node.diagnostics, |list| match list.as_slice() {
                [] => Ok(()),
                [first, ..] => waits(first.clone()),
            })
        }),
        "registered" => each(nodes, |node| {
            known(&node.kubernetes, |status| match status {
                Some(_) => Ok(()),
                None => waits("its kubelet has not registered it yet"),
            })
        }),
        "static-pods" => each_control_plane(nodes, static_pods),
        "schedulable" => each(nodes, |node| {
            known(&node.kubernetes, |status| match status {
                Some(status) if status.unschedulable => waits("it is cordoned"),
                _ => Ok(()),
            })
        }),
        _ => each(nodes, ready),
    };
    summed(&problems)
}

/// One state out of the problems: those that waiting does not help come first.
fn summed(problems: &[Problem]) -> State {
    let (ended, open): (Vec<&Problem>, Vec<&Problem>) =
        problems.iter().partition(|problem| problem.gap.is_final);
    let is_final = !ended.is_empty();
    let all = if is_final { ended } else { open };
    if all.is_empty() {
        return State::Ok;
    }
    let mut told: Vec<String> = all.iter().take(TOLD).map(|problem| problem.text()).collect();
    if all.len() > TOLD {
        told.push(format!("and {} more", all.len() - TOLD));
    }
    let text = told.join("; ");
    if is_final { State::Failed(text) } else { State::Waiting(text) }
}

fn each(nodes: &[NodeFacts], test: impl Fn(&NodeFacts) -> Result<(), Gap>) -> Vec<Problem> {
    let problem = |node: &NodeFacts| test(node).err().map(|gap| Problem::new(&node.name, gap));
    nodes.iter().filter_map(problem).collect()
}

fn each_control_plane(
    nodes: &[NodeFacts],
    test: impl Fn(&NodeFacts) -> Result<(), Gap>,
) -> Vec<Problem> {
    if !nodes.iter().any(|node| node.control_plane) {
        return vec![Problem::new("", Gap::ended("the cluster has no control plane"))];
    }
    each(nodes, |node| if node.control_plane { test(node) } else { Ok(()) })
}

/// A test of something that has to be known.
fn known<T>(fact: &Fact<T>, test: impl FnOnce(&T) -> Result<(), Gap>) -> Result<(), Gap> {
    match fact {
        Ok(value) => test(value),
        Err(gap) => Err(gap.clone()),
    }
}

fn waits(reason: impl Into<String>) -> Result<(), Gap> {
    Err(Gap::new(reason))
}

fn memory(node: &NodeFacts) -> Result<(), Gap> {
    let needed = if node.control_plane { CONTROL_PLANE_MEMORY } else { WORKER_MEMORY };
    known(&node.memory, |found| {
        if *found >= needed {
            return Ok(());
        }
        let text = format!("it has {} MiB of memory, {} MiB are needed", found >> 20, needed >> 20);
        Err(Gap::ended(text))
    })
}

fn disk(node: &NodeFacts) -> Result<(), Gap> {
    known(&node.disks, |disks| {
        let Some(system) = disks.iter().find(|disk| disk.system) else {
            return waits("Talos is not installed on a disk yet");
        };
        if system.size >= DISK {
            return Ok(());
        }
        let text = format!(
            "the system disk {} has {} MiB, {} MiB are needed",
            system.dev_path,
            system.size >> 20,
            DISK >> 20
        );
        Err(Gap::ended(text))
    })
}

fn service(node: &NodeFacts, id: &str) -> Result<(), Gap> {
    known(&node.services, |services| match services.iter().find(|service| service.id == id) {
        None => waits(format!("{id} is not there yet")),
        Some(service) if service.is_up() && service.healthy.is_some() => Ok(()),
        Some(service) if service.state == "Running" && service.healthy.is_none() => {
            waits(format!("{id} has just started"))
        }
        Some(service) => waits(format!("{id}: {}", service.reason())),
    })
}

fn services(node: &NodeFacts) -> Result<(), Gap> {
    // A service that ended, or is not wanted, is well.
    let is_well = |service: &Service| {
        service.is_up() || matches!(service.state.as_str(), "Finished" | "Skipped")
    };
    known(&node.services, |services| {
        let mut open = services.iter().filter(|service| !is_well(service));
        match open.next() {
            None => Ok(()),
            Some(first) => waits(format!("{}: {}", first.id, first.reason())),
        }
    })
}

fn boot(node: &NodeFacts) -> Result<(), Gap> {
    known(&node.status, |status| {
        if status.stage == Stage::Running {
            return Ok(());
        }
        let unmet: Vec<String> = status.unmet.iter().map(ToString::to_string).collect();
        if unmet.is_empty() {
            return waits(format!("the machine is {}", status.stage));
        }
        waits(format!("the machine is {} ({})", status.stage, unmet.join(", ")))
    })
}

fn static_pods(node: &NodeFacts) -> Result<(), Gap> {
    known(&node.static_pods, |pods| {
        let mut open = pods.iter().filter_map(|pod| Some((&pod.name, pod.problem.as_ref()?)));
        match open.next() {
            Some((name, why)) => waits(format!("{name}: {why}")),
            None if pods.is_empty() => waits("it has no pods of a control plane yet"),
            None => Ok(()),
        }
    })
}

fn ready(node: &NodeFacts) -> Result<(), Gap> {
    known(&node.status, |status| {
        if status.ready && status.stage == Stage::Running {
            return Ok(());
        }
        match status.unmet.as_slice() {
            [] => waits(format!("the machine is {}", status.stage)),
            unmet => waits(unmet.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        }
    })
}
