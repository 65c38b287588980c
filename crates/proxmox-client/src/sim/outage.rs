//! Nodes that go down with all that runs on them, and come back.

use std::sync::Arc;
use std::time::Duration;

use super::api::reload_node;
use super::guest;
use super::server::Inner;
use super::state::State;

/// How the log of a task reads that a crash cut: its last line is no end.
const CUT: &str = "unexpected status";

impl State {
    /// Whether writes are possible: more than half of the nodes are there.
    pub(crate) fn quorate(&self) -> bool {
        let online = self.nodes.values().filter(|node| node.online).count();
        self.quorum && 2 * online > self.nodes.len()
    }
}

/// Takes a node down or brings it back. False when there is no such node.
pub(crate) fn set_online(inner: &Arc<Inner>, name: &str, online: bool) -> bool {
    let mut state = inner.lock();
    let now = inner.clock.now();
    let Some(node) = state.nodes.get_mut(name) else { return false };
    let was = std::mem::replace(&mut node.online, online);
    match (was, online) {
        (true, false) => die(&mut state, inner, name, now),
        (false, true) => {
            node.started = now;
            // what was applied meanwhile is put into effect when the node boots
            reload_node(&mut state, name);
        }
        _ => {}
    }
    drop(state);
    inner.save_soon();
    true
}

/// Guests stop and tasks end where they are: what they have reserved stays reserved.
fn die(state: &mut State, inner: &Arc<Inner>, name: &str, now: u64) {
    let guests: Vec<u32> =
        state.vms.iter().filter(|(_, vm)| vm.node == name).map(|(id, _)| *id).collect();
    for id in guests {
        guest::stop(state, inner, id);
    }
    for (number, task) in &mut state.tasks {
        if task.node == name && task.end.is_none() {
            task.end = Some(now);
            task.exit = Some(CUT.to_owned());
            state.flocks.retain(|_, owner| owner != number);
        }
    }
}

/// Takes a node down for a while, unless it is down already.
pub(crate) fn interrupt(inner: &Arc<Inner>, name: &str, time: Duration) {
    if !inner.lock().nodes.get(name).is_some_and(|node| node.online) {
        return;
    }
    set_online(inner, name, false);
    let (inner, name) = (Arc::clone(inner), name.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        set_online(&inner, &name, true);
    });
}
