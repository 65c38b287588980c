//! High availability: what is kept, and the manager that acts on it with a lag.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::guest;
use super::server::Inner;
use super::state::State;

/// What the manager knows of a resource.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Service {
    /// `queued`, `started`, `request_stop`, `stopped`, `migrate`, `recovery`, `error`.
    pub(crate) state: String,
    pub(crate) node: String,
    /// Starts that failed since the last good one.
    pub(crate) failures: u64,
    /// Where it is to move.
    pub(crate) target: Option<String>,
    /// When the manager acts next, milliseconds; `None` when there is nothing to do.
    pub(crate) due_ms: Option<u64>,
}

/// A managed resource.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Resource {
    pub(crate) keys: BTreeMap<String, String>,
    /// Absent until the manager has seen the resource.
    pub(crate) service: Option<Service>,
    pub(crate) since_ms: u64,
}

/// A rule about places.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) order: u64,
    pub(crate) keys: BTreeMap<String, String>,
}

/// High availability of the cluster.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ha {
    /// By `vm:ID`.
    pub(crate) resources: BTreeMap<String, Resource>,
    pub(crate) rules: BTreeMap<String, Rule>,
    pub(crate) groups: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) disarmed: bool,
}

impl Resource {
    /// What was asked for, `started` when nothing was said.
    pub(crate) fn wanted(&self) -> &str {
        self.keys.get("state").map_or("started", String::as_str)
    }
}

impl Ha {
    /// The resource of a machine when the manager is in charge of it.
    pub(crate) fn managed(&self, vmid: u32) -> Option<&Resource> {
        let found = self.resources.get(&format!("vm:{vmid}"))?;
        (found.wanted() != "ignored").then_some(found)
    }

    /// Records that a machine shall be on or off.
    pub(crate) fn request(&mut self, vmid: u32, state: &str, now_ms: u64) {
        if let Some(found) = self.resources.get_mut(&format!("vm:{vmid}")) {
            found.keys.insert("state".to_owned(), state.to_owned());
            found.since_ms = now_ms;
        }
    }

    /// Nodes that a resource may be on with their priorities, and whether it may be on no other.
    fn places(&self, sid: &str) -> (BTreeMap<String, i64>, bool) {
        let parse = |text: &str| {
            let rows = super::schema::split_list(text).into_iter().map(|one| {
                let (node, priority) = one.split_once(':').unwrap_or((one, "0"));
                (node.to_owned(), priority.parse().unwrap_or(0))
            });
            rows.collect::<BTreeMap<String, i64>>()
        };
        for rule in self.rules.values() {
            let text = |key: &str| rule.keys.get(key).map(String::as_str).unwrap_or_default();
            let about = super::schema::split_list(text("resources")).contains(&sid);
            if text("type") == "node-affinity" && about && text("disable") != "1" {
                return (parse(text("nodes")), text("strict") == "1");
            }
        }
        let group = self.resources.get(sid).and_then(|one| one.keys.get("group"));
        if let Some(group) = group.and_then(|name| self.groups.get(name)) {
            let nodes = group.get("nodes").map(String::as_str).unwrap_or_default();
            return (parse(nodes), group.get("restricted").is_some_and(|flag| flag == "1"));
        }
        (BTreeMap::new(), false)
    }
}

/// The node where a resource should be: the place of the highest priority that is online, where
/// it is when nothing is better. `None` when it may be nowhere.
fn best_node(state: &State, sid: &str, here: &str) -> Option<String> {
    let online = |node: &str| state.nodes.get(node).is_some_and(|node| node.online);
    let (places, strict) = state.ha.places(sid);
    let top = places.iter().filter(|(node, _)| online(node)).map(|(_, priority)| *priority).max();
    if let Some(top) = top {
        let mut best = places.iter().filter(|(node, priority)| **priority == top && online(node));
        let stays = best.clone().any(|(node, _)| node == here);
        return if stays { Some(here.to_owned()) } else { best.next().map(|row| row.0.clone()) };
    }
    if strict {
        return None;
    }
    if online(here) {
        return Some(here.to_owned());
    }
    state.nodes.iter().find(|(_, node)| node.online).map(|(name, _)| name.clone())
}

/// Lets the manager act until the server stops.
pub(crate) async fn manage(inner: Arc<Inner>) {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut state = inner.lock();
        if state.ha.resources.is_empty() || !state.quorate() || state.ha.disarmed {
            continue;
        }
        let now = inner.clock.now_ms();
        let lag = inner.clock.work(inner.config.ha_lag);
        let lag = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
        let mut changed = false;
        for sid in state.ha.resources.keys().cloned().collect::<Vec<_>>() {
            changed |= step(&mut state, &inner, &sid, now, lag);
        }
        drop(state);
        if changed {
            inner.save_soon();
        }
    }
}

/// One look of the manager at a resource; whether something changed.
fn step(state: &mut State, inner: &Arc<Inner>, sid: &str, now: u64, lag: u64) -> bool {
    let Some(vmid) = sid.strip_prefix("vm:").and_then(|id| id.parse::<u32>().ok()) else {
        return false;
    };
    let Some(resource) = state.ha.resources.get(sid).cloned() else { return false };
    let Some(vm) = state.vms.get(&vmid) else { return false };
    let (node, running) = (vm.node.clone(), vm.running.is_some());
    let locked = vm.conf.contains_key("lock");
    let wanted = resource.wanted().to_owned();
    if now < resource.since_ms.saturating_add(lag) {
        return false;
    }
    if wanted == "ignored" {
        let had = resource.service.is_some();
        if let Some(found) = state.ha.resources.get_mut(sid) {
            found.service = None;
        }
        return had;
    }
    let mut service = resource.service.clone().unwrap_or_else(|| Service {
        state: "queued".to_owned(),
        node: node.clone(),
        ..Service::default()
    });
    let before = (service.state.clone(), service.node.clone(), service.failures);
    let online = state.nodes.get(&node).is_some_and(|node| node.online);
    if !online {
        recover(state, inner, sid, vmid, &mut service, (now, lag));
    } else if locked {
        return false;
    } else if service.state == "error" {
        if wanted == "disabled" {
            service = Service { state: "stopped".to_owned(), node, ..Service::default() };
        }
    } else if matches!(wanted.as_str(), "stopped" | "disabled") {
        if running {
            guest::stop(state, inner, vmid);
        }
        "stopped".clone_into(&mut service.state);
        service.target = None;
        service.failures = 0;
    } else {
        start(state, inner, sid, vmid, &mut service, running);
    }
    let after = (service.state.clone(), service.node.clone(), service.failures);
    let changed = before != after || resource.service.is_none();
    if let Some(found) = state.ha.resources.get_mut(sid) {
        found.service = Some(service);
    }
    changed
}

/// A node was lost: after the time to fence it the machine is taken over by another one.
#[expect(clippy::too_many_arguments, reason = "a resource and its machine")]
fn recover(
    state: &mut State,
    inner: &Arc<Inner>,
    sid: &str,
    vmid: u32,
    service: &mut Service,
    (now, lag): (u64, u64),
) {
    let Some(due) = service.due_ms else {
        "fence".clone_into(&mut service.state);
        service.due_ms = Some(now.saturating_add(lag.saturating_mul(6)));
        return;
    };
    if now < due {
        return;
    }
    "recovery".clone_into(&mut service.state);
    if let Some(target) = best_node(state, sid, &service.node.clone())
        && state.nodes.get(&target).is_some_and(|node| node.online)
        && let Some(vm) = state.vms.get_mut(&vmid)
    {
        vm.node.clone_from(&target);
        service.node = target;
        service.due_ms = None;
        let wanted = state.ha.resources.get(sid).map(|found| found.wanted().to_owned());
        "stopped".clone_into(&mut service.state);
        if wanted.as_deref() == Some("started") {
            start(state, inner, sid, vmid, service, false);
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "a resource and its machine")]
fn start(
    state: &mut State,
    inner: &Arc<Inner>,
    sid: &str,
    vmid: u32,
    service: &mut Service,
    running: bool,
) {
    let here = service.node.clone();
    let target = service.target.take().or_else(|| best_node(state, sid, &here));
    if let Some(target) = target.filter(|target| *target != here)
        && state.nodes.get(&target).is_some_and(|node| node.online)
        && let Some(vm) = state.vms.get_mut(&vmid)
    {
        vm.node.clone_from(&target);
        service.node = target;
        inner.save_soon();
    }
    if running {
        "started".clone_into(&mut service.state);
        service.failures = 0;
        return;
    }
    let limit = state
        .ha
        .resources
        .get(sid)
        .and_then(|found| found.keys.get("max_restart")?.parse().ok())
        .unwrap_or(1_u64);
    match guest::start(state, inner, vmid) {
        Ok(()) => {
            "started".clone_into(&mut service.state);
            service.failures = 0;
        }
        Err(_) if service.failures < limit => {
            service.failures += 1;
            "starting".clone_into(&mut service.state);
        }
        Err(_) => "error".clone_into(&mut service.state),
    }
}
